"""What the stages decide from what they saw, without a cluster, a GitLab or a process."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import program
from tests.support.program import (
    findings,
    flux,
    gitlab,
    gitlab_runners,
    gitlab_stage,
    http,
    loop,
    objects,
    preflight_cluster,
    preflight_here,
    registry,
    runner,
    runner_machine,
    secret,
    sync,
    tokens,
)
from tests.support.program import probes as probes_module

K = objects.KubeObject


def deployment(name: str, version: str, **status: Any) -> objects.KubeObject:
    labels = {"app.kubernetes.io/version": version}
    return K(
        {
            "metadata": {"name": name, "labels": labels, "generation": 2},
            "status": {"observedGeneration": 2, "readyReplicas": 1} | status,
        }
    )


def test_a_controller_that_is_missing_or_older_is_named_and_a_newer_one_is_not() -> None:
    all_there = [deployment(name, "v2.9.4") for name in flux.CONTROLLERS]
    assert flux.missing_controllers(all_there, "2.9.4") == ""
    assert flux.missing_controllers(all_there[1:], "2.9.4") == "source-controller"
    assert flux.missing_controllers([deployment(flux.CONTROLLERS[0], "v2.10.0"), *all_there[1:]], "2.9.4") == ""
    older = [deployment(flux.CONTROLLERS[0], "v2.8.3"), *all_there[1:]]
    assert flux.missing_controllers(older, "2.9.4") == "source-controller is still v2.8.3"
    assert flux.not_ready(all_there) is None
    assert (
        flux.not_ready([deployment("a", "v1", readyReplicas=0), deployment("b", "v1", observedGeneration=1)])
        == "not ready: a, b"
    )


@pytest.mark.parametrize(
    ("quantity", "found"),
    [
        ("16308744Ki", 15926),
        ("4Gi", 4096),
        ("4G", 3814),
        ("4000000000", 3814),
        ("512Mi", 512),
        ("1Ti", 1048576),
        ("lots", 0),
        ("", 0),
    ],
)
def test_memory_is_read_in_each_unit_of_kubernetes(quantity: str, found: int) -> None:
    assert objects.mebibytes(quantity) == found
    node = K({"status": {"allocatable": {"memory": quantity}}})
    enough = not isinstance(preflight_cluster.memory([node], "small"), preflight_cluster.Problem)
    assert enough is (found >= 3686)


@pytest.mark.parametrize(
    ("spec", "exposure", "taken"),
    [
        ({"type": "LoadBalancer", "ports": [{"port": 2223}]}, "load-balancer", True),
        ({"type": "ClusterIP", "ports": [{"port": 2223}]}, "load-balancer", False),
        ({"type": "NodePort", "ports": [{"port": 1, "nodePort": 2223}]}, "load-balancer", False),
        ({"type": "NodePort", "ports": [{"port": 1, "nodePort": 2223}]}, "node-port", True),
        ({"type": "LoadBalancer", "ports": [{"port": 1, "nodePort": 2223}]}, "node-port", True),
        ({"type": "ExternalName"}, "load-balancer", False),
    ],
)
def test_a_port_is_taken_by_a_service_that_would_open_it(spec: dict[str, Any], exposure: str, taken: bool) -> None:
    settings = program.settings(ssh_exposure=exposure, ssh_port=2223)
    service = K({"metadata": {"namespace": "a", "name": "b"}, "spec": spec})
    assert preflight_cluster.who_has_port([service], settings) == ("a/b" if taken else "")
    ours = K({"metadata": {"namespace": settings.gitlab_namespace, "name": "gitlab-ssh"}, "spec": spec})
    assert preflight_cluster.who_has_port([ours], settings) == ""


def test_the_oldest_programs_that_will_do_are_told_from_older_ones() -> None:
    for name, oldest in preflight_here.OLDEST.items():
        major, minor = map(int, oldest.split("."))
        assert preflight_here.version_problem(name, f"{name} version v{oldest}.0") is None
        too_old = preflight_here.version_problem(name, f"{name} {major}.{minor - 1}.9")
        assert too_old and too_old.check == "tools" and f"{oldest} or newer" in too_old.what


READY = runner_machine.Found(
    user="me",
    host="host",
    docker="29.1.0",
    refused="",
    compose="2.40.0",
    trusts=True,
    caches=True,
    has_apt=True,
    root="yes",
    system="Debian",
    sent=("runner/setup.sh",),
)
NONE = {"docker": "", "compose": "", "refused": "sh: 1: docker: not found"}


@pytest.mark.parametrize(
    ("there", "kind", "words"),
    [
        ({}, findings.Good, "Docker 29.1.0, compose 2.40.0"),
        (NONE, findings.Good, "lacks Docker and its compose plugin: the stage runner brings that"),
        (NONE | {"has_apt": False, "system": "Alpine"}, findings.Problem, "knows only systems with apt, not Alpine"),
        (NONE | {"root": "password"}, findings.Problem, "sudo there asks me for a password"),
        ({"compose": ""}, findings.Good, "lacks Docker's compose plugin"),
        ({"docker": "", "refused": "permission denied"}, findings.Good, "me may use (permission denied)"),
        ({"trusts": False, "root": "missing"}, findings.Advice, "lacks the certificate of your authority"),
    ],
)
def test_what_is_wrong_with_the_runners_machine_is_told_apart(there: dict[str, Any], kind: type, words: str) -> None:
    found = preflight_here.machine_finding(dataclasses.replace(READY, **there))
    assert isinstance(found, kind) and words in str(found)


WAITING = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}, objects.RUNNING),
        (
            {"containerStatuses": [{"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]},
            objects.CRASH_LOOP,
        ),
        (
            {"containerStatuses": [{"restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]},
            "CrashLoopBackOff",
        ),
        ({"initContainerStatuses": [WAITING], "containerStatuses": []}, "ImagePullBackOff not found"),
        (
            {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "no room"}]},
            "no room",
        ),
        ({"phase": "Pending"}, "pending"),
    ],
)
def test_why_a_pod_does_not_run_is_read_from_its_status(status: dict[str, Any], reason: str) -> None:
    newest = K({"metadata": {"name": "new", "creationTimestamp": "2026-02-01T00:00:00Z"}, "status": status})
    older = K(
        {"metadata": {"name": "old", "creationTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Running"}}
    )
    leaving = K({"metadata": {"creationTimestamp": "2026-03-01T00:00:00Z", "deletionTimestamp": "now"}, "status": {}})
    assert objects.pod_reason([newest, leaving, older]) == reason
    assert objects.pod_reason([leaving]) == "no pod yet"


def test_an_image_that_will_never_come_is_told_from_one_that_may() -> None:
    assert probes_module.image_is_missing("ErrImagePull rpc error: manifest unknown")
    assert probes_module.image_is_missing("ImagePullBackOff docker.io/x: not found") and probes_module.image_is_missing(
        "InvalidImageName"
    )
    assert not probes_module.image_is_missing("ImagePullBackOff connection refused")


def key(number: int, title: str, material: str, may_write: bool = True) -> gitlab.DeployKey:
    return gitlab.DeployKey(number, title, f"ssh-ed25519 {material} a comment", may_write)


def test_of_a_projects_keys_fluxs_own_stays_and_what_is_in_its_way_goes() -> None:
    ours, read_only, old, owners = (
        key(1, "flux-lab", "AAA"),
        key(2, "x", "AAA", False),
        key(3, "flux-lab", "BBB"),
        key(4, "laptop", "CCC"),
    )
    found = sync.sort_keys([owners, old, read_only, ours], "flux-lab", "ssh-ed25519 AAA another comment")
    assert (found.ours, list(found.strays)) == (ours, [old, read_only])
    assert sync.sort_keys([owners], "flux-lab", "ssh-ed25519 AAA").ours is None


def test_of_the_webhooks_to_flux_one_stays() -> None:
    base = gitlab_stage.WEBHOOK_RECEIVER + "/hook/"
    urls = (
        "https://chat/x",
        f"{gitlab_stage.WEBHOOK_RECEIVER}.evil/hook/new",
        base + "old",
        base + "new",
        base + "new",
    )
    hooks = [gitlab.Hook.at(number, url) for number, url in enumerate(urls)]
    there, strays = sync.sort_hooks(hooks, secret.Secret(base + "new"))
    assert there == hooks[3] and strays == [hooks[2], hooks[4]]


NODE_ARGS = '["server","--disable","servicelb"{}]'


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        ({"k3s.io/node-args": NODE_ARGS.format("")}, "in the clear"),
        ({"k3s.io/node-args": NODE_ARGS.format(',"--secrets-encryption=false"')}, "in the clear"),
        ({"k3s.io/node-args": NODE_ARGS.format(',"--secrets-encryption"')}, "encrypts"),
        ({"k3s.io/node-args": NODE_ARGS.format(',"--secrets-encryption=true"')}, "encrypts"),
        ({"k3s.io/node-args": NODE_ARGS.format(""), "k3s.io/encryption-config-hash": "start-1"}, "encrypts"),
        ({"k3s.io/node-args": '["agent"]'}, ""),
        ({"k3s.io/node-args": "no JSON"}, ""),
        ({}, ""),
    ],
)
def test_k3s_without_encryption_is_said_where_it_can_be_seen(annotations: dict[str, str], said: str) -> None:
    """Another Kubernetes, an agent, and what cannot be read say nothing of it."""
    found = list(preflight_cluster.encryption([K({"metadata": {"name": "n1", "annotations": annotations}})]))
    words = [one.what for one in found if isinstance(one, (findings.Good, findings.Advice))]
    assert (said in words[0] and "n1" in words[0]) if said else words == []


def test_what_a_pull_secret_holds_is_removed_from_output() -> None:
    """Its own log-ins, those that the owner added, and one that is not to be read."""
    auth = base64.b64encode(b"me:the-owners-password").decode()
    config = {
        "auths": {
            "ghcr.io": {"auth": auth},
            "quay.io": {"username": "me", "password": "quay-password", "sometoken": "of-another-kind"},
        }
    }
    for text in (json.dumps(config), '{"auths": {"broken.io": {"password": "half-a-password'):
        registry.auths_of(K({"data": {registry.KEY: base64.b64encode(text.encode()).decode()}}))
        assert text not in secret.redact(f"cannot apply {text}")
        quoted = base64.b64encode(text.encode()).decode()
        # The last characters of base64 depend on what follows.
        assert re.fullmatch(r"cannot apply \[hidden\].{0,4}", secret.redact(f"cannot apply {quoted}"))
    for part in (auth, "the-owners-password", "quay-password", "of-another-kind"):
        assert part not in secret.redact(f"it says {part} here"), part


def test_the_address_of_a_webhook_is_removed_from_output() -> None:
    """With the server before it, and without."""
    url = f"{gitlab_stage.WEBHOOK_RECEIVER}/hook/{'0a1b' * 16}"
    hook = gitlab.Hook.at(1, url)
    for words in (url, url.removeprefix(gitlab_stage.WEBHOOK_RECEIVER), "0a1b" * 16, f"{hook}"):
        assert "0a1b0a1b" not in secret.redact(words)
    assert secret.redact("https://chat.example.com/hooks") == "https://chat.example.com/hooks"


def test_a_token_lasts_while_it_is_valid_for_another_month() -> None:
    today = datetime.date(2026, 11, 28)
    for expires_at, active, lasts in (
        ("", True, True),
        ("2026-12-28", True, False),
        ("2026-12-29", True, True),
        ("", False, False),
    ):
        token = gitlab.AccessToken(1, "x", active, expires_at, secret.Secret(""))
        assert tokens.lasts(token, today) is lasts


def test_the_runners_own_machine_tells_its_status_and_not_the_check_of_its_token() -> None:
    manager = gitlab_runners.RunnerManager
    assert runner.runner_status([]) == "never_contacted"
    assert runner.runner_status([manager(runner.TOKEN_CHECK, "online")]) == "never_contacted"
    assert (
        runner.runner_status([manager(runner.TOKEN_CHECK, "online"), manager("s_1", "stale"), manager("s_2", "online")])
        == "online"
    )


def test_only_a_pod_that_runs_with_an_older_token_is_replaced() -> None:
    running = {"containerStatuses": [{"state": {"running": {}}}]}
    pods = [
        K({"metadata": {"name": name, "creationTimestamp": created, **more}, "status": status})
        for name, created, status, more in (
            ("old", "2026-01-01T00:00:00Z", running, {}),
            ("new", "2026-01-03T00:00:00Z", running, {}),
            ("waiting", "2026-01-01T00:00:00Z", {"containerStatuses": [{"state": {"waiting": {}}}]}, {}),
            ("leaving", "2026-01-01T00:00:00Z", running, {"deletionTimestamp": "now"}),
        )
    ]
    assert [pod.name for pod in runner.outdated(pods, "2026-01-02T00:00:00Z")] == ["old"]


tags = st.lists(
    st.builds("{}{}.{}.{}".format, st.sampled_from(["", "v"]), *[st.integers(0, 30)] * 3)
    | st.sampled_from(["nightly", "1.2", "v1.2.3-rc1", ""])
)


@given(tags)
def test_the_next_tag_is_higher_than_each_there_is(existing: list[str]) -> None:
    newest = loop.newest_tag(existing)
    following = loop.next_tag(newest)
    assert following not in existing and loop.newest_tag([*existing, following]) == following
    assert not newest or newest.startswith("v") is following.startswith("v")


def test_a_deployment_runs_a_tag_and_not_one_that_ends_alike() -> None:
    def with_image(image: str) -> objects.KubeObject:
        spec = {"template": {"spec": {"containers": [{"image": image}]}}}
        return K({"spec": spec, "status": {"updatedReplicas": 1, "readyReplicas": 1}})

    assert loop.runs_tag(with_image("r/demo:1.0.0"), "1.0.0") and loop.runs_tag(
        with_image("r/demo:1.0.0@sha256:ab"), "1.0.0"
    )
    assert not loop.runs_tag(with_image("r/demo:11.0.0"), "1.0.0") and not loop.runs_tag(
        with_image("r/demo:1.0.0-rc1"), "1.0.0"
    )


# Credentials of registries


def test_what_is_the_owners_in_a_pull_secret_stays_as_it_is() -> None:
    kept = {"auth": secret.Secret("b3duZXI6dGhlaXJz"), "email": "me@lab"}
    there = {"ghcr.io": kept, "registry.lab": {"username": "old"}, "registry.lab/gone/": {"username": "old"}}
    ours = {
        "registry.lab/a/": {"username": "a"},
        "registry.lab/b/": {"username": "b"},
        "registry.lab/c/": {"username": "c"},
    }
    assert registry.merged_auths(there, ours, "registry.lab", ["A", "B"]) == {"ghcr.io": kept} | {
        k: ours[k] for k in list(ours)[:2]
    }


@pytest.mark.parametrize("content", ["", "no JSON", "[]", '{"auths": null}', '{"auths": {"x": 1}}'])
def test_a_pull_secret_that_cannot_be_read_counts_as_nothing(content: str) -> None:
    encoded = objects.secret_manifest("a", "regcred", {registry.KEY: content})
    assert registry.auths_of(K(encoded)) == {}
    assert registry.auths_of(K({"data": {registry.KEY: "%%%"}})) == registry.auths_of(objects.NOTHING) == {}


def test_a_log_in_is_known_only_where_there_is_one_token_and_its_user_has_a_password() -> None:
    token = gitlab.DeployToken(1, "flux-lab", "user-1", secret.Secret(""))
    entries = [{"username": "user-2"}, {"username": "user-1", "password": secret.Secret("open sesame")}]
    assert registry.login_of([token], entries) == registry.Login("user-1", secret.Secret("open sesame"))
    assert (
        registry.login_of([token, token], entries)
        is registry.login_of([], entries)
        is registry.login_of([token], entries[:1])
        is None
    )


def test_the_address_of_a_receiver_is_known_before_flux_has_seen_it() -> None:
    """https://fluxcd.io/flux/components/notification/receivers/#webhook-path: sha256 of token, name and namespace."""
    url = gitlab_stage.webhook_url(secret.Secret("token"), "registry").reveal()
    digest = "022aa2713ded57b2b1c04b42febd5aba75a86fd0a16de8c8eeb10c7e243449be"  # printf tokenregistryflux-system | sha256sum
    assert url == f"{gitlab_stage.WEBHOOK_RECEIVER}/hook/{digest}"


def test_names_below_localhost_are_this_machine() -> None:
    assert (http.name_to_look_up("gitlab.localhost"), http.name_to_look_up("gitlab.lab")) == ("localhost", "gitlab.lab")
