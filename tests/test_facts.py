"""What the lab derives from its answers, for answers that differ in each thing that a fact depends on."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from extensions import facts
from extensions.facts import Lab
from tests.support import program

DEFAULT: dict[str, Any] = {
    "tls_source": "cert-manager",
    "cluster_issuer": "mine",
    "cert_manager": "lab",
    "acme_server": "production",
    "acme_dns_provider": "route53",
    "lab_name": "home",
    "base_domain": "lab",
    "gitlab_host": "gitlab.lab",
    "registry_host": "registry.lab",
    "https_port": 443,
    "ssh_port": 2223,
    "gitlab_namespace": "git",
    "app_namespace": "default",
    "app_security": "enforced",
    "groups": ["HomeLAB", "b"],
    "lab_group": "ops",
    "gitops_source": "self",
    "gitops_url": "https://git.lab/a.git",
    "storage_backend": "nfs",
    "data_backend": "storage-class",
    "storage_root": "/storage",
    "config_size": "1Gi",
    "logs_size": "5Gi",
    "data_size": "50Gi",
    "gitlab_size": "small",
    "gitlab_version": "19.3.4",
    "build_method": "dind",
    "docker_version": "29.0.9",
    "private_ca": False,
    "runner_home": "/home/a",
    "runner_kind": "docker",
    "runner_scope": "groups",
    "trusted_proxies": ["10.42.0.0/16"],
    "node_networks": ["192.168.1.0/24"],
    "backup_keep_days": 7,
    "backups": False,
    "backup_target": "none",
    "backup_folder": "/mnt/usb",
    "backup_nfs_server": "",
    "backup_bucket": "b",
    "backup_prefix": "home",
    "age_recipients": [],
    "runner_machine": "existing",
    "aws": "none",
    "docker_hub_cache": False,
}
HUB = {"docker_hub_cache": True, "docker_hub_cache_host": "mirror.lab"}
CA = {"private_ca": True}
# What an answer leaves behind if its question is asked no longer.
ISSUER = {"aws_login": "oidc", "aws_issuer_bucket": "keys", "aws_region": "eu-west-3", "backups": True}
AWS = ISSUER | {"aws": "backups"}
POD_SECURITY = "pod-security.kubernetes.io"
TOLD = {f"{POD_SECURITY}/{mode}": "restricted" for mode in ("audit", "warn")}
GITLABS: dict[str, Any] = {"name": "git", "labels": {}}
FACTS: list[tuple[str, dict[str, Any], Any]] = [
    ("cluster_issuer", {}, "mine"),
    ("cluster_issuer", {"tls_source": "secret"}, ""),
    ("cluster_issuer", {"tls_source": "letsencrypt-dns"}, "lab-letsencrypt"),
    ("cluster_issuer", {"tls_source": "lab-authority"}, "lab-authority"),
    ("installs_cert_manager", {}, False),
    ("installs_cert_manager", {"tls_source": "lab-authority"}, True),
    ("installs_cert_manager", {"tls_source": "letsencrypt-http", "cert_manager": "existing"}, False),
    ("acme_directory", {"acme_server": "staging"}, "https://acme-staging-v02.api.letsencrypt.org/directory"),
    ("dns_secret", {"tls_source": "letsencrypt-http"}, []),
    (
        "dns_secret",
        {"tls_source": "letsencrypt-dns"},
        ["access-key-id=access key ID", "secret-access-key=secret access key"],
    ),
    ("acme_dns_server", {"acme_dns_server": "ns1.our-home.net"}, "ns1.our-home.net:53"),
    ("acme_dns_server", {"acme_dns_server": "192.0.2.7:5353"}, "192.0.2.7:5353"),
    ("acme_dns_server", {"acme_dns_server": "2001:db8::7"}, "[2001:db8::7]:53"),
    ("acme_dns_server", {"acme_dns_server": "[2001:db8::7]"}, "[2001:db8::7]:53"),
    ("acme_dns_server", {"acme_dns_server": "[2001:db8::7]:5353"}, "[2001:db8::7]:5353"),
    ("port_suffix", {}, ""),
    ("has_iac", {}, False),
    ("has_iac", AWS, True),
    ("iac_project", AWS, "ops/iac"),
    ("iac_project", AWS | {"gitops_source": "external"}, "home-ops/iac"),
    ("iac_project", ISSUER, ""),
    ("aws_login", ISSUER, ""),
    ("aws_login", AWS, "oidc"),
    ("publishes_issuer", ISSUER, False),
    ("publishes_issuer", AWS, True),
    ("publishes_issuer", AWS | {"aws_issuer_bucket": ""}, False),
    ("publishes_issuer", AWS | {"aws_login": "keys"}, False),
    ("token_issuer", AWS, "https://keys.s3.eu-west-3.amazonaws.com"),
    ("token_issuer", AWS | {"aws_issuer_bucket": "", "https_port": 443}, "https://gitlab.lab"),
    ("uploads_backups", ISSUER, False),
    ("uploads_backups", AWS, True),
    ("uploads_backups", AWS | {"backups": False}, False),
    ("port_suffix", {"https_port": 8443}, ":8443"),
    ("gitlab_url", {}, "https://gitlab.lab"),
    ("gitlab_url", {"https_port": 8443}, "https://gitlab.lab:8443"),
    ("registry_url", {"https_port": 8443}, "https://registry.lab:8443"),
    ("registry_address", {}, "registry.lab"),
    ("main_group", {}, "HomeLAB"),
    ("project", {}, "ops/home"),
    ("sample_project", {}, "HomeLAB/demo"),
    ("sample_image", {}, "registry.lab/homelab/demo"),
    ("sample_host", {}, "demo.lab"),
    ("git_service_host", {}, "gitlab-ssh.git.svc.cluster.local"),
    ("gitops_url", {}, "ssh://git@gitlab-ssh.git.svc.cluster.local:2223/ops/home.git"),
    ("gitops_url", {"gitops_source": "external"}, "https://git.lab/a.git"),
    ("repository_url", {}, "ssh://git@gitlab.lab:2223/ops/home.git"),
    ("repository_url", {"gitops_source": "external"}, "https://git.lab/a.git"),
    ("ssh_clone_prefix", {}, "ssh://git@gitlab.lab:2223"),
    ("backends", {}, {"config": "nfs", "logs": "nfs", "data": "storage-class"}),
    ("uses_nfs", {}, True),
    ("uses_nfs", {"storage_backend": "host-path"}, False),
    ("nfs_capacity", {}, "5Gi"),
    ("nfs_capacity", {"data_backend": "nfs"}, "50Gi"),
    ("gitlab_root", {}, "/storage/gitlab"),
    ("claim_sizes", {}, {"data": "50Gi"}),
    ("claim_sizes", {"storage_backend": "storage-class", "data_backend": "nfs"}, {"config": "1Gi", "logs": "5Gi"}),
    ("runner_name", {}, "lab-home"),
    ("runner_tag", {}, "alpine-v19.3.0"),
    ("runner_image", {}, "gitlab/gitlab-runner:alpine-v19.3.0"),
    ("runner_volumes", {}, ["/certs/client", "/cache"]),
    ("docker_hub_cache_address", {}, ""),
    ("docker_hub_cache_url", {}, ""),
    ("docker_hub_cache_address", HUB | {"https_port": 8443}, "mirror.lab:8443"),
    ("docker_hub_cache_url", HUB | {"https_port": 8443}, "https://mirror.lab:8443"),
    ("docker_hub_cache_url", HUB, "https://mirror.lab"),
    ("docker_hub_cache_networks", HUB, ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10"]),
    (
        "docker_hub_cache_networks",
        HUB
        | {"trusted_proxies": ["100.64.0.0/10", "fd42::/56"], "node_networks": ["2001:db8:7::/48", "100.64.0.0/10"]},
        ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10", "100.64.0.0/10", "2001:db8:7::/48"],
    ),
    ("machine_cache_file", {}, ""),
    ("machine_cache_file", HUB, "daemon.json"),
    ("machine_cache_file", HUB | {"build_method": "buildkit"}, "buildkitd.toml"),
    ("machine_cache_file", HUB | {"runner_kind": "kubernetes"}, ""),
    ("cache_file", HUB | {"runner_kind": "kubernetes"}, "daemon.json"),
    ("cache_file", HUB | {"runner_kind": "none"}, ""),
    ("cache_file_path", HUB | {"build_method": "buildkit"}, "/home/user/.config/buildkit/buildkitd.toml"),
    ("runner_volumes", {"build_method": "buildkit"}, ["/cache"]),
    ("job_image", {}, "docker:29.0.9-cli"),
    ("job_environment", {}, []),
    ("backup_keep_seconds", {}, 604800),
    ("sends_backups", {}, False),
    ("sends_backups", {"backups": True}, False),
    ("sends_backups", {"backup_target": "s3"}, False),
    ("sends_backups", {"backups": True, "backup_target": "s3"}, True),
    ("backup_place", {"backup_target": "s3"}, ""),
    ("backup_place", {"backups": True, "backup_target": "s3"}, "s3://b/home"),
    ("backup_place", {"backups": True, "backup_target": "folder"}, "/mnt/usb"),
    ("backup_place", {"backups": True, "backup_target": "folder", "backup_nfs_server": "nas"}, "nas:/mnt/usb"),
    ("backup_entries", {"backup_target": "s3"}, []),
    ("backup_entries", {"backups": True, "backup_target": "s3"}, ["access-key-id", "secret-access-key", "recipients"]),
    (
        "backup_entries",
        {"backups": True, "backup_target": "s3", "age_recipients": ["age1"]},
        ["access-key-id", "secret-access-key"],
    ),
    ("backup_entries", {"backups": True, "backup_target": "folder"}, ["recipients"]),
    ("backup_entries", {"backups": True, "backup_target": "folder", "age_recipients": ["age1"]}, []),
    ("unbanned_networks", {}, ["127.0.0.1", "192.168.1.0/24"]),
    ("unbanned_networks", {"node_networks": []}, ["127.0.0.1"]),
    ("own_public_networks", {}, []),
    (
        "own_public_networks",
        {"node_networks": ["8.8.4.0/24", "2a01:4f8::/32"], "trusted_proxies": ["9.0.0.0/16"]},
        ["9.0.0.0/16", "8.8.4.0/24", "2a01:4f8::/32"],
    ),
    ("isolates_app_namespace", {}, False),
    ("isolates_app_namespace", {"app_namespace": "apps"}, True),
    ("isolates_app_namespace", {"app_namespace": "apps", "app_security": "warned"}, False),
    # Pods of an earlier day are in a namespace that the lab did not make: Kubernetes warns there, and refuses nothing.
    ("namespaces", {}, [GITLABS, {"name": "default", "labels": TOLD}]),
    (
        "namespaces",
        {"app_namespace": "apps"},
        [GITLABS, {"name": "apps", "labels": {f"{POD_SECURITY}/enforce": "restricted", **TOLD}}],
    ),
    ("namespaces", {"app_namespace": "apps", "app_security": "warned"}, [GITLABS, {"name": "apps", "labels": TOLD}]),
]


@pytest.mark.parametrize(("name", "changed", "fact"), FACTS, ids=lambda value: str(value)[:40])
def test_a_fact_follows_from_the_answers(name: str, changed: dict[str, Any], fact: Any) -> None:
    assert getattr(Lab(DEFAULT | changed), name) == fact


def test_a_private_authority_reaches_every_job() -> None:
    lab = Lab(DEFAULT | CA)
    (certificate,) = [volume for volume in lab.runner_volumes if "ca.crt" in volume]
    source, target, mode = certificate.split(":")
    assert source == "/home/a/ca.crt" and target == f"{lab.job_ca_folder}/ca.crt" and mode == "ro"
    assert lab.job_environment == [f"SSL_CERT_DIR=/etc/ssl/certs:{lab.job_ca_folder}"]


@pytest.mark.parametrize(
    ("changed", "runners"),
    [
        (
            {},  # the lab's own project has a group of its own
            [
                ("lab-home of HomeLAB", "RUNNER_TOKEN_OF_HOMELAB"),
                ("lab-home of b", "RUNNER_TOKEN_OF_B"),
                ("lab-home of ops", "RUNNER_TOKEN_OF_OPS"),
                ("lab-home protected", "RUNNER_TOKEN_PROTECTED"),
            ],
        ),
        (
            {"lab_group": "HomeLAB"},
            [
                ("lab-home of HomeLAB", "RUNNER_TOKEN_OF_HOMELAB"),
                ("lab-home of b", "RUNNER_TOKEN_OF_B"),
                ("lab-home protected", "RUNNER_TOKEN_PROTECTED"),
            ],
        ),
        (
            {"runner_scope": "instance"},
            [("lab-home", "RUNNER_TOKEN"), ("lab-home protected", "RUNNER_TOKEN_PROTECTED")],
        ),
        ({"runner_scope": "instance", "gitops_source": "external"}, [("lab-home", "RUNNER_TOKEN")]),
        (
            {"runner_scope": "instance", "runner_machine": "proxmox"},
            [
                ("lab-home", "RUNNER_TOKEN"),
                ("lab-home protected", "RUNNER_TOKEN_PROTECTED"),
                ("lab-home machines", "RUNNER_TOKEN_MACHINES"),
            ],
        ),
        (
            {"gitops_source": "external", "groups": ["a", "A/b", "a-b"]},
            [("lab-home of a", "RUNNER_TOKEN_OF_A"), ("lab-home of a-b", "RUNNER_TOKEN_OF_A_2DB")],
        ),
    ],
)
def test_the_lab_has_a_runner_a_group_and_one_for_its_protected_branches(
    changed: dict[str, Any], runners: list[tuple[str, str]]
) -> None:
    lab = Lab(DEFAULT | changed)
    assert [(one["name"], one["variable"]) for one in lab.runners] == runners
    assert [one["protected"] for one in lab.runners] == [
        name in ("lab-home protected", "lab-home machines") for name, _ in runners
    ]


paths = st.from_regex(
    r"[A-Za-z0-9](?:[._-]?[A-Za-z0-9]){0,5}(?:/[A-Za-z0-9](?:[._-]?[A-Za-z0-9]){0,5})?", fullmatch=True
)


@settings(deadline=None)
@given(paths, paths)
@example("a_2d", "a-")
@example("a_b", "a/b")
@example("HomeLAB", "homelab")
def test_two_groups_never_share_a_variable_and_each_is_a_name_for_a_shell(one: str, other: str) -> None:
    assert (facts.token_variable(one) == facts.token_variable(other)) is (one.lower() == other.lower())
    assert re.fullmatch(r"RUNNER_TOKEN_OF_[A-Z0-9_]+", facts.token_variable(one))
    assert program.runners.token_variable(one) == facts.token_variable(one) and program.runners.is_token(
        facts.token_variable(one)
    )


@settings(deadline=None)
@given(st.lists(paths, min_size=1, max_size=6))
def test_the_groups_with_a_runner_cover_all_and_none_lies_below_another(groups: list[str]) -> None:
    found = [one.lower() for one in facts.top_groups(groups)]
    assert facts.top_groups(groups) == program.runners.top_groups(groups) and len(found) == len(set(found))
    for group in groups:
        assert [one for one in found if f"{group.lower()}/".startswith(f"{one}/")] != []
    assert not [one for one in found for other in found if one.startswith(f"{other}/")]


def test_the_cluster_runner_has_a_privileged_namespace() -> None:
    (namespace,) = [
        one for one in Lab(DEFAULT | {"runner_kind": "kubernetes"}).namespaces if one["name"] == "gitlab-runner"
    ]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"


def test_standard_asks_for_more_memory_than_small_and_limits_leave_room() -> None:
    small, standard = (Lab(DEFAULT | {"gitlab_size": size}).resources for size in ("small", "standard"))
    amounts = [
        int(one[kind]["memory"].removesuffix("Gi")) for one in (small, standard) for kind in ("requests", "limits")
    ]
    assert amounts == sorted(amounts) and amounts[0] >= 3 and amounts[3] >= 8
