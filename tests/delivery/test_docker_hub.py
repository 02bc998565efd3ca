"""A lab with a cache of Docker Hub: what it runs, who is led to it, and that a lab without one has nothing of it."""

from __future__ import annotations

import itertools
import json
import re
import sys
from typing import Any

import pytest
import yaml

from tests.chart.support.rendering import render
from tests.support.cluster import Lab
from tests.support.texts import answered, texts

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HUB = {"docker_hub_cache": True, "base_domain": "lab.example.com", "node_networks": ["2001:db8:7::/48"]}
RELEASE, NAME = "apps/docker-hub-cache/helmrelease.yaml", "docker-hub-cache"
cached = pytest.mark.labs(docker_hub_cache=[True])
plain = pytest.mark.labs(docker_hub_cache=[False])


def files_of(**changed: Any) -> dict[str, str]:
    return texts(answered({**HUB, **changed}))


def objects_of(files: dict[str, str]) -> list[dict[str, Any]]:
    return list(render(yaml.safe_load(files[RELEASE])["spec"]["values"], NAME, "apps"))


def one(objects: list[dict[str, Any]], kind: str, name: str = NAME) -> dict[str, Any]:
    (found,) = [thing for thing in objects if (thing["kind"], thing["metadata"]["name"]) == (kind, name)]
    return found


def runners_of(files: dict[str, str]) -> list[dict[str, Any]]:
    """Return the runners of config.toml, wherever it lies."""
    if "runner/config.toml" in files:
        return tomllib.loads(files["runner/config.toml"])["runners"]
    release = yaml.safe_load(files["runner/helmrelease.yaml"])
    return tomllib.loads(release["spec"]["values"]["configMaps"]["config"]["data"]["config.toml"])["runners"]


@plain
def test_a_lab_without_a_cache_has_nothing_of_it(lab: Lab) -> None:
    found = [thing for thing in [*lab.objects] if NAME in json.dumps(thing)]
    assert (
        found == []
        and not list(lab.path.rglob("apps/docker-hub-cache"))
        and not (lab.path / "runner/daemon.json").exists()
    )
    if (lab.path / "runner/setup.sh").exists():
        assert "registry-mirrors" not in (lab.path / "runner/setup.sh").read_text(encoding="utf-8")


@cached
def test_its_pod_keeps_to_the_restricted_standard_with_a_limit_and_traefik_alone_may_call_it(lab: Lab) -> None:
    deployment, policy = (
        next(one for one in lab.of_kind(kind) if one["metadata"]["name"] == NAME)
        for kind in ("Deployment", "NetworkPolicy")
    )
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"] == {
        "type": "RuntimeDefault"
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (
        "memory" in container["resources"]["limits"]
        and "@sha256:" in container["image"]
        and not pod["automountServiceAccountToken"]
    )
    callers = [source for rule in policy["spec"]["ingress"] for source in rule["from"]]
    labels = [source["podSelector"]["matchLabels"] for source in callers if "podSelector" in source]
    assert {"app.kubernetes.io/name": "traefik"} in labels and not [source for source in callers if "ipBlock" in source]


@pytest.mark.parametrize(("kind", "method"), list(itertools.product(["docker", "kubernetes"], ["dind", "buildkit"])))
def test_the_builder_of_each_job_is_led_to_the_cache_and_the_jobs_of_protected_branches_are_not(
    kind: str, method: str
) -> None:
    files = files_of(runner_kind=kind, build_method=method, https_port=8443)
    name, path = {
        "dind": ("daemon.json", "/etc/docker/daemon.json"),
        "buildkit": ("buildkitd.toml", "/home/user/.config/buildkit/buildkitd.toml"),
    }[method]
    for runner in runners_of(files):
        inside = runner[{"docker": "docker"}.get(runner["executor"], "kubernetes")]
        if kind == "docker":
            mounted = [one for one in inside["volumes"] if one.endswith(f"/{name}:{path}:ro")]
        else:
            mounted = [
                one
                for one in inside.get("volumes", {}).get("config_map", [])
                if (one["mount_path"], one["sub_path"], one["read_only"]) == (path, name, True)
            ]
        assert bool(mounted) is ("protected" not in runner["name"]), runner["name"]
    if kind == "docker":
        content = files[f"runner/{name}"]
    else:
        release = yaml.safe_load(files["runner/helmrelease.yaml"])
        (config_map,) = [
            thing
            for thing in render(release["spec"]["values"], "gitlab-runner", "gitlab-runner")
            if thing["kind"] == "ConfigMap" and name in thing["data"]
        ]
        assert config_map["metadata"]["name"] == mounted_name(files), "the runner names the object that the chart makes"
        content = config_map["data"][name]
    if method == "dind":
        assert json.loads(content) == {"registry-mirrors": ["https://mirror.lab.example.com:8443"]}
    else:
        assert tomllib.loads(content) == {"registry": {"docker.io": {"mirrors": ["mirror.lab.example.com:8443"]}}}


def mounted_name(files: dict[str, str]) -> str:
    names = {
        one["name"]
        for runner in runners_of(files)
        for one in runner["kubernetes"].get("volumes", {}).get("config_map", [])
    }
    (found,) = names
    return str(found)


TLS: list[tuple[dict[str, Any], Any]] = [
    ({"tls_source": "cert-manager", "cluster_issuer": "mine"}, "mine"),
    ({"tls_source": "letsencrypt-http"}, "lab-letsencrypt"),
    ({"tls_source": "letsencrypt-dns"}, "lab-letsencrypt"),
    ({"tls_source": "lab-authority", "private_ca": True}, "lab-authority"),
    ({"tls_source": "secret", "tls_secret_name": "wild"}, None),
    ({"tls_source": "traefik"}, None),
]


@pytest.mark.parametrize(
    ("answers", "issuer"), TLS, ids=lambda value: value["tls_source"] if isinstance(value, dict) else ""
)
def test_its_host_has_a_certificate_of_the_labs_kind_and_the_list_of_who_may_come_in(
    answers: dict[str, Any], issuer: str | None
) -> None:
    objects = objects_of(files_of(**answers))
    ingress = one(objects, "Ingress", f"{NAME}-mirror.lab.example.com")
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == ["mirror.lab.example.com"]
    secret = ingress["spec"].get("tls", [{}])[0].get("secretName")
    found = json.dumps(objects)
    assert (f'"{issuer}"' in found) if issuer else secret == answers.get("tls_secret_name")
    annotations = ingress["metadata"]["annotations"]
    assert "apps-docker-hub-cache-at-home@kubernetescrd" in annotations[
        "traefik.ingress.kubernetes.io/router.middlewares"
    ].split(",")
    ranges = one(objects, "Middleware", "docker-hub-cache-at-home")["spec"]["ipAllowList"]
    assert ranges == {
        "sourceRange": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10", "2001:db8:7::/48"]
    }


@pytest.mark.parametrize(
    ("storage", "source"),
    [
        ({}, "persistentVolumeClaim"),
        ({"storage_backend": "nfs", "data_backend": "storage-class"}, "persistentVolumeClaim"),
        ({"storage_backend": "nfs", "data_backend": "nfs"}, "emptyDir"),
        ({"storage_backend": "host-path", "data_backend": "host-path"}, "emptyDir"),
    ],
)
def test_what_it_keeps_has_an_end_to_its_room_and_goes_with_the_release(storage: dict[str, Any], source: str) -> None:
    objects = objects_of(files_of(docker_hub_cache_size="33Gi", **storage))
    volumes = {one["name"]: one for one in one(objects, "Deployment")["spec"]["template"]["spec"]["volumes"]}
    (images,) = [volume for volume in volumes.values() if source in volume]
    if source == "emptyDir":
        assert images["emptyDir"] == {"sizeLimit": "33Gi"}
    else:
        (claim,) = [thing for thing in objects if thing["kind"] == "PersistentVolumeClaim"]
        assert claim["spec"]["resources"]["requests"]["storage"] == "33Gi" and "helm.sh/resource-policy" not in claim[
            "metadata"
        ].get("annotations", {})


def test_an_account_of_docker_hub_is_read_from_a_secret_that_may_be_missing_and_is_in_no_file() -> None:
    files = files_of()
    (container,) = one(objects_of(files), "Deployment")["spec"]["template"]["spec"]["containers"]
    found = {entry["name"]: entry["valueFrom"]["secretKeyRef"] for entry in container["env"] if "valueFrom" in entry}
    assert found == {
        f"REGISTRY_PROXY_{key.upper()}": {"name": "docker-hub-account", "key": key, "optional": True}
        for key in ("username", "password")
    }


def test_renovate_moves_the_tag_and_the_digest_of_its_image_together() -> None:
    files = files_of()
    settings = json.loads(files["renovate.json"])
    (manager,) = [
        one
        for one in settings["customManagers"]
        if any("docker-hub-cache" in pattern for pattern in one["managerFilePatterns"])
    ]
    (pattern,) = manager["matchStrings"]
    found = re.search(pattern.replace("(?<", "(?P<"), files[RELEASE])
    assert found is not None and found["depName"] == "docker.io/library/registry" and found["currentValue"] == "3.1.1"
    moved = (
        manager["autoReplaceStringTemplate"]
        .replace("{{{depName}}}", found["depName"])
        .replace("{{{newValue}}}", "3.2.0")
        .replace("{{{newDigest}}}", f"sha256:{'0' * 64}")
    )
    image = yaml.safe_load(files[RELEASE].replace(found[0], moved))["spec"]["values"]["image"]
    assert image == {"repository": "docker.io/library/registry", "tag": "3.2.0", "digest": f"sha256:{'0' * 64}"}
