"""Pod Security as the real API server enforces it: in the namespace that a new lab makes for its applications."""

from __future__ import annotations

import pytest

from tests.cluster.api import condition
from tests.cluster.conftest import Worlds
from tests.cluster.test_bootstrap import LABS
from tests.cluster.world import World

pytestmark = [pytest.mark.xdist_group("runner-in-the-cluster"), pytest.mark.world]
NAMESPACE = "apps"
# What three owners may ask ./lab new-app for.
APPLICATIONS = {
    "shop": (),
    "wiki": ("--port", "3000", "--health", "/healthz", "--memory", "64Mi"),
    "api": ("--host", "api.home.lan", "--memory", "2Gi"),
}


@pytest.fixture
def world(worlds: Worlds) -> World:
    """Return a lab whose applications have a namespace of their own, built."""
    name, changes = LABS["runner-in-the-cluster"]
    return worlds.get(name, **changes).build()


def runs(world: World, name: str, tag: str) -> bool:
    """Say whether a ready pod of that tag is there."""
    pods = world.pods(NAMESPACE, name)
    images = [pod["spec"]["containers"][0]["image"] for pod in pods if condition(pod)[0] == "True"]
    return any(image.endswith(f":{tag}") for image in images)


def test_the_sample_application_and_three_new_ones_run_where_the_standard_is_enforced(world: World) -> None:
    labels = world.api.get("namespaces", NAMESPACE)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    world.wait("the sample application", lambda: runs(world, "demo", "v1.0.0"))
    world.git("pull", "--quiet", "--rebase", str(world.repository), "main")
    for name, options in APPLICATIONS.items():
        run = world.run("./lab", "new-app", name, "--project", f"HomeLAB/{name}", *options)
        assert run.status == 0, run.text
        world.gitlab.push_image(f"homelab/{name}", "v1.0.0")
    world.push("Three applications")
    for name in APPLICATIONS:
        world.wait(name, lambda name=name: runs(world, name, "v1.0.0"), 120)
    status = world.run("./lab", "status")
    assert "Kubernetes refuses its pods" not in status.text, status.text


def refusal(world: World, name: str) -> str:
    """Return the words with which Kubernetes refuses the pods of a Deployment; nothing if it does not."""
    found = (world.api.get("deployments", name, NAMESPACE) or {}).get("status", {}).get("conditions", [])
    return next((one["message"] for one in found if one["type"] == "ReplicaFailure" and one["status"] == "True"), "")


# A line of a release that the standard wants, and what an owner may write there instead.
BREAKS = {
    "it may escalate": (
        "allowPrivilegeEscalation: false",
        "allowPrivilegeEscalation: true",
        "allowPrivilegeEscalation != false",
    ),
    "it may be root": ("runAsNonRoot: true", "runAsNonRoot: false", "runAsNonRoot != true"),
}


@pytest.mark.deep(keep=2)
@pytest.mark.parametrize("what", BREAKS)
def test_a_pod_that_breaks_the_standard_is_refused_and_named_by_the_status(world: World, what: str) -> None:
    good, bad, why = BREAKS[what]
    world.git("pull", "--quiet", "--rebase", str(world.repository), "main")
    release = world.lab / "apps" / "demo" / "helmrelease.yaml"
    text = release.read_text(encoding="utf-8")
    assert good in text
    before = world.uids(NAMESPACE, "demo")
    release.write_text(text.replace(good, bad, 1), encoding="utf-8")
    world.push(f"The sample application: {what}")

    message = world.wait("the refusal", lambda: refusal(world, "demo"), 120)
    assert 'violates PodSecurity "restricted:latest"' in message and why in message
    run = world.run("./lab", "status")
    assert run.status == 1
    assert f"Kubernetes refuses its pods: {' '.join(message.split())}" in run.text, run.text
    assert world.uids(NAMESPACE, "demo") >= before, "what ran before runs on"
    release.write_text(text, encoding="utf-8")
    world.push("As it was")
    world.wait("the fixed one", lambda: not refusal(world, "demo"), 120)


def test_a_new_application_whose_pods_are_refused_is_named_by_the_status(world: World) -> None:
    """Its release is ready and no pod of it is there: the reason stands only in the Deployment."""
    world.git("pull", "--quiet", "--rebase", str(world.repository), "main")
    assert world.run("./lab", "new-app", "refused", "--project", "HomeLAB/refused").status == 0
    release = world.lab / "apps" / "refused" / "helmrelease.yaml"
    good, bad, _ = BREAKS["it may be root"]
    release.write_text(release.read_text(encoding="utf-8").replace(good, bad), encoding="utf-8")
    world.gitlab.push_image("homelab/refused", "v1.0.0")
    world.push("An application that may not run here")
    world.wait("the release", lambda: world.deployed_tag("refused", NAMESPACE) == "v1.0.0", 90)
    message = world.wait("the refusal", lambda: refusal(world, "refused"), 60)
    world.wait("the release", lambda: world.ready("helmreleases", "refused", NAMESPACE))
    run = world.run("./lab", "status")
    words = (
        f"Deployment {NAMESPACE}/refused: 0 of 1 pods ready; Kubernetes refuses its pods: {' '.join(message.split())}"
    )
    assert run.status == 1 and words in run.text and 'violates PodSecurity "restricted:latest"' in words, run.text
    assert f"Deployment {NAMESPACE}/demo: " not in run.text, "what ran before runs on"
