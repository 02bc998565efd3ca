"""Commits that are wrong, and the ones that fix them; and commits that bring things in one go."""

from __future__ import annotations

import time

import pytest

from tests.cluster.api import Object, condition
from tests.cluster.conftest import Figure, Worlds
from tests.cluster.node_agent import NEVER_READY
from tests.cluster.test_bootstrap import LABS
from tests.cluster.world import World

pytestmark = pytest.mark.xdist_group("external-ssh")


@pytest.fixture
def world(worlds: Worlds) -> World:
    """Return a lab whose repository lies elsewhere, so that it can be reached while GitLab is down."""
    name, changes = LABS["external-ssh"]
    return worlds.get(name, **changes).build()


def push(world: World, message: str) -> str:
    """Push, and tell Flux of it: nobody else does for this repository, but its owner may have set up a webhook."""
    commit = world.push(message)
    world.ask_flux()
    return commit


def test_the_fix_of_a_commit_that_never_becomes_ready_is_deployed_within_a_minute(world: World, figure: Figure) -> None:
    """With Flux's defaults the fix waits for the timeouts of the commit before it: up to 35 minutes."""
    namespace = world.answers["gitlab_namespace"]
    broken: set[str] = set()
    before = world.uids(namespace, "gitlab")
    breaking = True

    def fate(pod: Object) -> str:
        if breaking and pod["metadata"]["namespace"] == namespace and pod["metadata"]["uid"] not in before:
            broken.add(pod["metadata"]["uid"])
        return NEVER_READY if pod["metadata"]["uid"] in broken else ""

    world.agent.fate_of = fate
    settings = world.lab / "apps/gitlab/gitlab.rb"
    good = settings.read_text(encoding="utf-8")
    settings.write_text(good + "# a commit after which GitLab never becomes ready\n", encoding="utf-8")
    push(world, "Break GitLab")
    world.wait("the broken pod", lambda: broken, 60)
    time.sleep(10)  # Flux's health checks are well under way
    assert not world.gitlab.gitlab_is_ready()
    breaking = False
    settings.write_text(good + "# fixed\n", encoding="utf-8")
    push(world, "Fix GitLab")
    started = time.monotonic()
    world.wait(
        "GitLab", lambda: world.uids(namespace, "gitlab").isdisjoint(broken) and world.gitlab.gitlab_is_ready(), 120
    )
    taken = time.monotonic() - started
    figure(f"fix of a commit that never becomes ready: {taken:.0f} s")
    world.wait(
        "Flux", lambda: world.ready("kustomizations", "gitlab") and world.ready("helmreleases", "gitlab", namespace), 60
    )
    assert taken <= 60


def test_a_namespace_and_an_application_in_it_come_with_one_commit(world: World, figure: Figure) -> None:
    world.git("pull", "--quiet", "--rebase", str(world.repository), "main")
    namespaces = world.lab / "infrastructure/namespaces.yaml"
    more = "---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: elsewhere\n"
    namespaces.write_text(namespaces.read_text(encoding="utf-8") + more, encoding="utf-8")
    run = world.run("./new-app.sh", "far", "--project", "HomeLAB/far")
    assert run.status == 0, run.text
    kustomization = world.lab / "apps/far/kustomization.yaml"
    kustomization.write_text(
        kustomization.read_text(encoding="utf-8").replace("namespace: default", "namespace: elsewhere")
    )
    push(world, "A namespace and an application in it")
    started = time.monotonic()
    world.wait("the release", lambda: world.ready("helmreleases", "far", "elsewhere"), 90)
    taken = time.monotonic() - started
    figure(f"namespace and application in one commit: {taken:.0f} s")
    assert taken <= 60


# Faults that are put in on purpose: what these tests look at has to show each of them.


def test_an_object_that_the_api_server_refuses_is_named(world: World) -> None:
    file = world.lab / "infrastructure/wrong.yaml"
    file.write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: wrong, namespace: default}\nspec: {ports: [{port: 70000}]}\n"
    )
    listed = world.lab / "infrastructure/kustomization.yaml"
    good = listed.read_text(encoding="utf-8")
    listed.write_text(good.rstrip("\n") + "\n  - wrong.yaml\n", encoding="utf-8")
    commit = push(world, "An object that the API server refuses")
    world.wait(
        "Flux's word",
        lambda: (
            "Service/default/wrong" in condition(world.api.get("kustomizations", "infrastructure", "flux-system"))[1]
        ),
    )
    assert "70000" in world.report()
    file.unlink()
    listed.write_text(good, encoding="utf-8")
    push(world, "And without it")
    world.wait("Flux", lambda: world.ready("kustomizations", "infrastructure"))
    assert commit


def test_a_dependency_that_never_comes_is_named(world: World) -> None:
    file = world.lab / "clusters/homelab/demo.yaml"
    good = file.read_text(encoding="utf-8")
    file.write_text(good.replace("name: infrastructure", "name: infrastructur"), encoding="utf-8")
    push(world, "A dependency that nobody has")
    world.wait(
        "Flux's word", lambda: "infrastructur" in condition(world.api.get("kustomizations", "demo", "flux-system"))[1]
    )
    assert not world.ready("kustomizations", "demo")
    file.write_text(good, encoding="utf-8")
    push(world, "And the right one")
    world.wait("Flux", lambda: world.ready("kustomizations", "demo"))
