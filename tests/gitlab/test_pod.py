"""GitLab's pod: it is told starting from broken, has time to stop, room to run, its own storage, and no callers but the right ones."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.gitlab.support.rendered_labs import Object, RenderedLab
from tests.support.cluster import Lab, documents, namespace_of
from tests.support.program import settings, storage
from tests.support.tools import run, tool

UNITS = {"Mi": 2**20, "Gi": 2**30}
DIRECTORIES = {"config": "/etc/gitlab", "logs": "/var/log/gitlab", "data": "/var/opt/gitlab"}


def size(quantity: str) -> int:
    return int(quantity[:-2]) * UNITS[quantity[-2:]]


def deployment(lab: Lab | RenderedLab) -> Object:
    namespace = lab.answers["gitlab_namespace"]
    return next(
        thing
        for thing in lab.of_kind("Deployment")
        if (namespace_of(thing), thing["metadata"]["name"]) == (namespace, "gitlab")
    )


def container(lab: Lab | RenderedLab) -> Object:
    return deployment(lab)["spec"]["template"]["spec"]["containers"][0]


def volumes(lab: Lab | RenderedLab) -> dict[str, tuple[Object, Object]]:
    """Return each mount of the pod with its volume, by path."""
    pod = deployment(lab)["spec"]["template"]["spec"]
    by_name = {volume["name"]: volume for volume in pod["volumes"]}
    return {mount["mountPath"]: (mount, by_name[mount["name"]]) for mount in pod["containers"][0]["volumeMounts"]}


# GitLab's life: whether its start is done, what its own check then says, and which probes have to succeed.
STATES: dict[str, tuple[bool, int, bool]] = {
    "starting, when its check would claim that all is well": (False, 0, False),
    "started, and answering": (True, 0, True),
    "started, and not answering yet or any more": (True, 22, False),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_a_probe_tells_starting_and_broken_from_well(tmp_path: Path, probe: str, state: str) -> None:
    """Runs the probe's own command, with /opt/gitlab moved. gitlab-healthcheck succeeds while its settings are missing (since 19.1)."""
    started, says, well = STATES[state]
    for folder in ("etc", "bin"):
        (tmp_path / folder).mkdir()
    if started:
        (tmp_path / "etc/gitlab-healthcheck-rc").write_text("url=http://localhost:80/help\n")
    check = tmp_path / "bin/gitlab-healthcheck"
    check.write_text(
        f'#!/bin/sh\necho "$@" >"{tmp_path}/asked"\n[ -f "{tmp_path}/etc/gitlab-healthcheck-rc" ] || exit 0\nexit {says}\n'
    )
    check.chmod(0o755)
    settings = container(RenderedLab({}))[probe]
    done = run(*[part.replace("/opt/gitlab", str(tmp_path)) for part in settings["exec"]["command"]])
    assert (done.returncode == 0) is well
    if started:
        asked = (tmp_path / "asked").read_text().split()
        assert "--fail" in asked and int(asked[asked.index("--max-time") + 1]) < settings["timeoutSeconds"]


def test_a_start_has_twenty_minutes_and_nobody_gives_up_before(article: Lab) -> None:
    startup = container(article)["startupProbe"]
    budget = startup["periodSeconds"] * startup["failureThreshold"]
    release = next(thing for thing in article.of_kind("HelmRelease") if thing["metadata"]["name"] == "gitlab")["spec"]
    kustomization = next(thing for thing in article.of_kind("Kustomization") if thing["metadata"]["name"] == "gitlab")[
        "spec"
    ]
    # Without it Kubernetes would call the start a failure after ten minutes, and Flux with it.
    deadline = deployment(article)["spec"]["progressDeadlineSeconds"]
    assert 20 * 60 == budget < deadline <= minutes(release["timeout"]) < minutes(kustomization["timeout"])


def minutes(duration: str) -> int:
    return int(duration.removesuffix("m")) * 60


def test_a_busy_gitlab_is_not_restarted_at_once() -> None:
    liveness = container(RenderedLab({}))["livenessProbe"]
    assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 300


def test_one_pod_at_a_time_as_root_with_time_to_stop(lab: Lab) -> None:
    spec = deployment(lab)["spec"]
    pod = spec["template"]["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    assert pod["terminationGracePeriodSeconds"] >= 120
    assert not {"runAsUser", "fsGroup", "runAsNonRoot"} & pod.get("securityContext", {}).keys()
    assert "securityContext" not in pod["containers"][0]
    assert (pod["enableServiceLinks"], pod["automountServiceAccountToken"]) == (False, False)


def test_memory_fits_the_size_that_was_answered() -> None:
    small, standard = (container(RenderedLab({"gitlab_size": one}))["resources"] for one in ("small", "standard"))
    assert size(small["requests"]["memory"]) < 4 * 2**30 < size(small["limits"]["memory"])
    assert size(standard["requests"]["memory"]) < 8 * 2**30 < size(standard["limits"]["memory"])
    # A slow node is better than a killed database.
    assert "cpu" not in small["limits"] and "cpu" not in standard["limits"]


def test_postgresql_and_puma_have_shared_memory(lab: Lab) -> None:
    _, volume = volumes(lab)["/dev/shm"]
    assert volume["emptyDir"]["medium"] == "Memory" and size(volume["emptyDir"]["sizeLimit"]) == 256 * 2**20
    assert size(volume["emptyDir"]["sizeLimit"]) < size(container(lab)["resources"]["limits"]["memory"])


def test_each_directory_lies_where_it_was_answered(lab: Lab) -> None:
    a, found = lab.answers, volumes(lab)
    claims = {one["metadata"]["name"]: one["spec"] for one in lab.of_kind("PersistentVolumeClaim")}
    backends = {"config": a["storage_backend"], "logs": a["storage_backend"], "data": a["data_backend"]}
    for name, path in DIRECTORIES.items():
        mount, volume = found[path]
        assert not mount.get("readOnly")
        if backends[name] == "storage-class":
            claim = claims[volume["persistentVolumeClaim"]["claimName"]]
            assert (claim["storageClassName"], claim["accessModes"]) == (a["storage_class"], ["ReadWriteOnce"])
            assert (claim["resources"]["requests"]["storage"], mount.get("subPath")) == (a[f"{name}_size"], None)
        elif backends[name] == "nfs":
            claim = claims[volume["persistentVolumeClaim"]["claimName"]]
            server = next(
                one for one in lab.of_kind("PersistentVolume") if one["metadata"]["name"] == claim["volumeName"]
            )["spec"]
            assert server["nfs"] == {"server": a["nfs_server"], "path": f"{a['storage_root']}/gitlab"}
            assert mount["subPath"] == name
        else:
            assert volume["hostPath"] == {"path": f"{a['storage_root']}/gitlab/{name}", "type": "Directory"}
            assert "subPath" not in mount


def test_no_claim_is_two_volumes_of_the_pod_which_kubelets_before_1_35_wait_for_for_ever(lab: Lab) -> None:
    found = [
        one["persistentVolumeClaim"]["claimName"]
        for one in deployment(lab)["spec"]["template"]["spec"]["volumes"]
        if "persistentVolumeClaim" in one
    ]
    assert len(found) == len(set(found))


def test_nfs_is_mounted_so_that_no_write_is_lost_and_nothing_deletes_it(lab: Lab) -> None:
    servers = lab.of_kind("PersistentVolume")
    assert bool(servers) is ("nfs" in (lab.answers["storage_backend"], lab.answers["data_backend"]))
    for volume in servers:
        assert {"hard", "nfsvers=4.1"} <= set(volume["spec"]["mountOptions"]) and "soft" not in volume["spec"][
            "mountOptions"
        ]
        assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
        claim = next(
            one
            for one in lab.of_kind("PersistentVolumeClaim")
            if one["spec"].get("volumeName") == volume["metadata"]["name"]
        )
        # Whichever claim asks first would get an unreserved volume, and GitLab's would wait for ever.
        assert volume["spec"]["claimRef"] == {"namespace": namespace_of(claim), "name": claim["metadata"]["name"]}
        assert claim["spec"]["storageClassName"] == volume["spec"]["storageClassName"] == ""
        for thing in (volume, claim):
            assert thing["metadata"]["annotations"]["kustomize.toolkit.fluxcd.io/prune"] == "disabled"


def test_another_size_changes_nothing_of_a_claim_that_kubernetes_does_not_resize() -> None:
    def rendered(**answers: str) -> tuple[str, Object]:
        lab = RenderedLab({"base_domain": "lab", "storage_backend": "nfs", "nfs_server": "storage.lan", **answers})
        volume, claim = documents(lab.text("infrastructure/{% if lab.uses_nfs %}storage.yaml{% endif %}"))
        capacity = volume["spec"]["capacity"]["storage"]
        assert size(claim["spec"]["resources"]["requests"]["storage"]) <= size(capacity)
        return capacity, claim

    (before, claim), (after, same) = rendered(data_backend="nfs"), rendered(data_backend="nfs", data_size="200Gi")
    assert (before, after) == ("50Gi", "200Gi") and claim == same
    assert rendered(data_backend="host-path", logs_size="100Mi") == ("100Mi", claim)


@pytest.mark.parametrize("backend", ["nfs", "host-path"])
def test_the_bootstrap_makes_the_very_folders_that_the_pod_mounts(backend: str) -> None:
    lab = RenderedLab(
        {"base_domain": "lab", "storage_backend": backend, "data_backend": backend, "storage_root": "/srv/storage"}
    )
    made = storage.folders_on(settings(storage_backend=backend, data_backend=backend), backend)
    mounted = [
        volume["hostPath"]["path"] if backend == "host-path" else f"/srv/storage/gitlab/{mount['subPath']}"
        for path, (mount, volume) in volumes(lab).items()
        if path in DIRECTORIES.values()
    ]
    assert sorted(f"/srv/storage/{folder}" for folder in made) == sorted(mounted)


def test_the_first_administrator_has_the_owners_address_and_the_secrets_password() -> None:
    env = {one["name"]: one for one in container(RenderedLab({"admin_email": "me@lab.example.com"}))["env"]}
    assert env["GITLAB_ROOT_EMAIL"]["value"] == "me@lab.example.com"
    assert env["GITLAB_ROOT_PASSWORD"]["valueFrom"]["secretKeyRef"] == {"name": "gitlab-root", "key": "password"}


# Who calls: the labels of the pod and of its namespace, or an address from outside.
TRAEFIK = ({"app.kubernetes.io/name": "traefik", "app.kubernetes.io/instance": "traefik-kube-system"}, "kube-system")
SSH, EVERYTHING = {"sshd"}, {"GitLab", "the registry", "sshd"}
CALLERS: dict[str, tuple[tuple[dict[str, str], str] | str, dict[str, set[str]]]] = {
    "k3s' Traefik": (TRAEFIK, {"k3s": EVERYTHING, "other": EVERYTHING}),
    "a Traefik of the owner's": (({"app": "proxy"}, "ingress"), {"k3s": SSH, "other": EVERYTHING}),
    "a Traefik on a node's own network": ("10.42.1.0", {"k3s": SSH, "other": EVERYTHING}),
    "a pod that calls itself Traefik elsewhere": ((TRAEFIK[0], "default"), {"k3s": SSH, "other": EVERYTHING}),
    "a job of the runner": (({"app": "job"}, "gitlab-runner"), {"k3s": SSH, "other": EVERYTHING}),
    "Flux' source-controller": (({"app": "source-controller"}, "flux-system"), {"k3s": SSH, "other": EVERYTHING}),
    "helm test": (({"app.kubernetes.io/name": "helm-test"}, "gitlab"), {"k3s": EVERYTHING, "other": EVERYTHING}),
    "somebody on the LAN": ("192.168.1.50", {"k3s": SSH, "other": SSH}),
}


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("kind", ["k3s", "other"])
def test_only_traefik_reaches_the_web_ports_and_everybody_ssh(kind: str, caller: str) -> None:
    lab = RenderedLab({"traefik_kind": kind, "http_port": 8181, "registry_port": 5555})
    who, reach = CALLERS[caller]
    ports = {
        8181: "GitLab",
        5555: "the registry",
        22: "sshd",
        80: "nobody",
        5000: "the registry itself",
        8080: "Puma",
        5432: "PostgreSQL",
    }
    policy = lab.one("NetworkPolicy", "gitlab")
    assert {ports[port] for port in ports if allows(policy["spec"], who, port, "gitlab")} == reach[kind]


def test_the_rules_are_those_of_gitlabs_pod(lab: Lab) -> None:
    policy = next(thing for thing in lab.of_kind("NetworkPolicy") if thing["metadata"]["name"] == "gitlab")
    labels = deployment(lab)["spec"]["template"]["metadata"]["labels"]
    assert namespace_of(policy) == lab.answers["gitlab_namespace"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


def allows(policy: Object, who: tuple[dict[str, str], str] | str, port: int, own: str) -> bool:
    """Say whether a NetworkPolicy lets somebody in on a port (kubernetes.io/docs/concepts/services-networking/network-policies/)."""
    for rule in policy["ingress"]:
        if port in {one["port"] for one in rule["ports"]} and (
            "from" not in rule or any(_fits(peer, who, own) for peer in rule["from"])
        ):
            return True
    return False


def _fits(peer: dict[str, Any], who: tuple[dict[str, str], str] | str, own: str) -> bool:
    if isinstance(who, str):
        return "ipBlock" in peer and ip_address(who) in ip_network(peer["ipBlock"]["cidr"])
    if "ipBlock" in peer:
        return False
    labels, namespace = who
    wanted = peer.get("namespaceSelector", {"matchLabels": {"kubernetes.io/metadata.name": own}}).get("matchLabels", {})
    pod = peer.get("podSelector", {}).get("matchLabels", {})
    return wanted.items() <= {"kubernetes.io/metadata.name": namespace}.items() and pod.items() <= labels.items()


def start(lab: RenderedLab, folder: Path, rails: str = "exit 0") -> list[str]:
    """Run what the image runs after each reconfigure (`eval` under `set -e`), and return what was asked of Rails."""
    script = (
        lab.values["env"].get("GITLAB_POST_RECONFIGURE_SCRIPT", "").replace("/var/opt/gitlab", str(folder / "data"))
    )
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin/gitlab-rails").write_text(f'#!/bin/sh\nprintf "%s\\n" "$2" >> {folder}/asked\n{rails}\n')
    (folder / "bin/gitlab-rails").chmod(0o755)
    (folder / "asked").unlink(missing_ok=True)
    done = run("bash", "-ec", 'eval "$1"', "_", script, env={"PATH": f"{folder}/bin:/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    return (folder / "asked").read_text().splitlines() if (folder / "asked").exists() else []


# What an administrator sets by Rails: docs.gitlab.com/administration/settings/sign_up_restrictions/.
SIGN_UP = {
    "closed": {"signup_enabled": False},
    "approval": {"signup_enabled": True, "require_admin_approval_after_user_signup": True},
    "open": {"signup_enabled": True, "require_admin_approval_after_user_signup": False},
}
RUBY = "require 'json'; module Gitlab; module CurrentSettings; def self.update!(settings); puts settings.to_json; end; end; end; "


@pytest.mark.parametrize("answer", SIGN_UP)
def test_who_may_sign_up_is_set_at_the_first_start_and_when_the_answer_changes(tmp_path: Path, answer: str) -> None:
    """At any other start nothing is: what the owner sets in GitLab stays, and Rails is not loaded for nothing."""
    lab = RenderedLab({"sign_up": answer})
    (asked,) = start(lab, tmp_path)
    assert json.loads(run(tool("ruby"), "--disable=gems", "-e", RUBY + asked).stdout) == SIGN_UP[answer]
    assert start(lab, tmp_path) == []
    other = RenderedLab({"sign_up": "open" if answer != "open" else "closed"})
    assert len(start(other, tmp_path)) == 1 and start(other, tmp_path) == [] and len(start(lab, tmp_path)) == 1


def test_a_gitlab_that_does_not_take_it_starts_all_the_same_and_is_asked_again(tmp_path: Path) -> None:
    lab = RenderedLab({})
    assert len(start(lab, tmp_path, "exit 1")) == 1 and len(start(lab, tmp_path, "exit 1")) == 1
    assert len(start(lab, tmp_path)) == 1 and start(lab, tmp_path) == []


def test_a_new_lab_is_closed_and_one_that_keeps_what_is_set_asks_nothing(tmp_path: Path) -> None:
    assert RenderedLab({}).answers["sign_up"] == "closed"
    assert start(RenderedLab({"sign_up": "as-set"}), tmp_path) == []
