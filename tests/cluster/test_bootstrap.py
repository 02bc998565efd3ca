"""bootstrap.sh on a real cluster: from nothing to the end, in every kind of lab, and again without a change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import Figure, Worlds
from tests.cluster.world import World

EXTERNAL = {"gitops_source": "external"}
LABS: dict[str, tuple[str, dict[str, Any]]] = {
    "article": ("article", {}),
    "defaults": ("defaults", {}),
    "external-ssh": ("article", {**EXTERNAL, "gitops_url": "ssh://git@git.example/external/lab.git"}),
    "external-https": ("article", {**EXTERNAL, "gitops_url": "https://git.example/external/lab.git"}),
    # The lab's own cert-manager and authority, and the owner's account.
    "lab-authority": ("tls-authority", {}),
    "runner-in-the-cluster": (
        "defaults",
        {
            "setup_level": "full",
            "runner_kind": "kubernetes",
            "build_method": "buildkit",
            "groups": ["HomeLAB", "Tools/Apps"],
            "pipeline_auth": "group-variable",
            "app_namespace": "apps",
            "base_domain": "home.lan",
            "private_ca": True,
            "tls_source": "traefik",
        },
    ),
}


# These are built at each commit; the others are drawn.
EACH_COMMIT = {"article", "defaults", "external-ssh"}


def marks(name: str) -> list[pytest.MarkDecorator]:
    """Return the marks of the tests in one lab's world."""
    return [pytest.mark.xdist_group(name), *([] if name in EACH_COMMIT else [pytest.mark.world])]


@pytest.fixture(params=[pytest.param(name, marks=marks(name)) for name in LABS])
def world(request: pytest.FixtureRequest, worlds: Worlds) -> World:
    """Return the world of one lab."""
    name, changes = LABS[request.param]
    return worlds.get(name, **changes)


def test_the_bootstrap_builds_the_lab_and_flux_takes_gitlab_over_without_a_restart(
    world: World, figure: Figure, request: pytest.FixtureRequest
) -> None:
    world.bootstrap("--only", "preflight")
    # On a cluster that was made anew a rescue is the whole way: one of the labs is built by it.
    rescued = request.node.callspec.params["world"] == "defaults"
    first = world.run("./lab", "rescue", "--yes") if rescued else world.bootstrap()
    assert first.status == 0, first.text
    world.is_built = True
    namespace = world.answers["gitlab_namespace"]
    if world.answers["gitops_source"] == "self":
        assert "GitLab was not restarted" in first.text
    # The image of the sample application has just made a commit.
    if world.answers["tls_source"] == "lab-authority":
        assert "Kustomization cert-manager is ready" in first.text.replace("kustomizations", "Kustomization")
        assert "Kustomization cert-issuer is ready" in first.text.replace("kustomizations", "Kustomization")
        [made] = [one for one in world.gitlab.gitlab.accounts if one["username"] == world.answers["owner_username"]]
        assert made["is_admin"] and len(world.gitlab.gitlab.account_keys) == 1
    for name in ("flux-system", "infrastructure", "gitlab-check", "gitlab", "automation"):
        world.wait(f"Kustomization {name}", lambda name=name: world.ready("kustomizations", name), 30)
    for name in ("gitlab-check", "gitlab"):
        world.wait(f"the release {name}", lambda name=name: world.ready("helmreleases", name, namespace), 30)
    assert world.deployed_tag("demo", world.answers["app_namespace"]) == "v1.0.0"
    assert not world.gitlab.errors
    figure(f"{'./lab rescue' if rescued else 'bootstrap.sh'} from nothing: {first.seconds:.1f} s")


def test_a_second_run_changes_nothing(world: World, figure: Figure) -> None:
    world.build()
    pods = {pod["metadata"]["uid"] for pod in world.api.list("pods")}
    kinds = ("deployments", "secrets", "configmaps", "kustomizations", "helmreleases", "gitrepositories")
    before = {(kind, uid): version for kind in kinds for uid, version in generations(world, kind).items()}
    head, settled = world.tip(), world.gitlab.gitlab.numbers
    again = world.bootstrap()
    figure(f"bootstrap.sh with nothing to do: {again.seconds:.1f} s")
    assert "   done" not in again.text
    assert {pod["metadata"]["uid"] for pod in world.api.list("pods")} == pods
    assert {(kind, uid): version for kind in kinds for uid, version in generations(world, kind).items()} == before
    assert world.tip() == head
    assert world.gitlab.gitlab.numbers <= settled + 1, "nothing was made in GitLab but the token to look with"


def generations(world: World, kind: str) -> dict[str, str]:
    """Return what changes about an object when somebody changes what it asks for: its generation, or a Secret's content."""
    found = {}
    for item in world.api.list(kind):
        meta = item["metadata"]
        if (
            meta.get("annotations", {}).get("control-plane.alpha.kubernetes.io/leader")
            or meta["namespace"] == "kube-system"
        ):
            continue
        wanted = {key: value for key, value in item.items() if key not in ("metadata", "status")}
        found[meta["uid"]] = f"{meta.get('generation')} {wanted}"
    return found


def test_flux_runs_with_the_arguments_that_the_lab_gives_it(world: World) -> None:
    world.build()
    for name, wanted in (("kustomize-controller", "--concurrent=20"), ("helm-controller", "--concurrent=20")):
        process = world.processes.running[name]
        arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode().split("\0")
        assert wanted in arguments
        assert "--feature-gates=CancelHealthCheckOnNewRevision=true" in arguments
        assert world.flux.starts[name] == 1, "Flux kept its own controllers, and did not start them again"
