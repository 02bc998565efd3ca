"""`./lab rescue`: GitLab back from the owner's working tree, where a commit has stopped the GitLab that hosts the repository."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.api import Object
from tests.cluster.conftest import Figure, Worlds
from tests.cluster.node_agent import NEVER_READY
from tests.cluster.test_check import SETTINGS, deployed
from tests.cluster.test_kill import kill_at, places
from tests.cluster.world import World
from tests.support.program import rescue

pytestmark = [pytest.mark.xdist_group("check"), pytest.mark.world]
BROKEN = "# a commit after which GitLab never becomes ready"


@pytest.fixture
def world(worlds: Worlds) -> Iterator[World]:
    """Return the article's lab, whose own GitLab hosts its repository."""
    found = worlds.get("article").build()
    yield found
    found.agent.fate_of = lambda pod: ""


def stop_gitlab(world: World) -> tuple[str, Callable[[], bool]]:
    """Push a gitlab.rb that passes every check and with which GitLab never becomes ready; return the right one."""
    namespace = world.answers["gitlab_namespace"]

    def fate(pod: Object) -> str:
        if pod["metadata"]["namespace"] != namespace or "app" not in {c["name"] for c in pod["spec"]["containers"]}:
            return ""
        name = next(one["configMap"]["name"] for one in pod["spec"]["volumes"] if "configMap" in one)
        config = world.api.get("configmaps", name, namespace)
        return NEVER_READY if BROKEN in str(config) else ""

    world.agent.fate_of = fate
    world.git("pull", "--quiet", "--rebase", str(world.repository), "main")
    path = world.lab / SETTINGS
    good = path.read_text(encoding="utf-8")
    path.write_text(f"{good}{BROKEN}\n", encoding="utf-8")
    world.push("Break GitLab")
    world.wait("GitLab to stop", lambda: not world.gitlab.gitlab_is_ready(), 60)
    return good, lambda: deployed(world) and world.gitlab.gitlab_is_ready()


def fix(world: World, good: str, note: str) -> None:
    """Commit a gitlab.rb that is right. It cannot be pushed: GitLab is down."""
    (world.lab / SETTINGS).write_text(f"{good}# fixed: {note}\n", encoding="utf-8")
    world.git("commit", "--quiet", "--all", "--message", f"Fix GitLab: {note}")


def test_a_run_names_the_way_out_at_once(world: World, figure: Figure) -> None:
    good, well = stop_gitlab(world)
    fix(world, good, "the way out")
    run = world.run("./bootstrap.sh", "--yes", "--only", "gitlab")
    assert run.status == 1
    assert "./lab rescue" in run.text, run.text
    assert run.seconds < 30, run.text

    pretended = world.run("./lab", "rescue", "--dry-run")
    assert pretended.status == 0, pretended.text
    for one in ("Kustomization gitlab-check", "Kustomization gitlab", "HelmRelease gitlab-check", "HelmRelease gitlab"):
        for what in ("suspend", "resume"):
            assert re.search(rf"would .*{what} {one}$", pretended.text, re.MULTILINE), (what, one, pretended.text)
    assert not world.gitlab.gitlab_is_ready()

    run = world.run("./lab", "rescue", "--yes")
    assert run.status == 0, run.text
    figure(f"rescue: {run.seconds:.0f} s")
    assert well(), world.report()
    assert world.tip() == world.git("rev-parse", "HEAD")
    pods = world.uids(world.answers["gitlab_namespace"], "gitlab")
    again = world.run("./lab", "rescue", "--yes")
    assert again.status == 0, again.text
    assert world.uids(world.answers["gitlab_namespace"], "gitlab") == pods
    assert well(), world.report()


@pytest.mark.deep
def test_a_killed_rescue_is_gone_on_with_by_the_next(world: World, figure: Figure) -> None:
    good, well = stop_gitlab(world)
    fix(world, good, "killed at each step")
    kills = 0
    for stage in ("suspend", *(one.name for one in rescue.ORDER)):
        for lines in places():
            said = kill_at(world, stage, lines, ("./lab", "rescue", "--yes"))
            kills += f"== {stage}:" in said
    run = world.run("./lab", "rescue", "--yes")
    assert run.status == 0, run.text
    assert well(), world.report()
    assert world.tip() == world.git("rev-parse", "HEAD")
    figure(f"a rescue killed {kills} times; the run after that {run.seconds:.0f} s")
    pods = world.uids(world.answers["gitlab_namespace"], "gitlab")
    again = world.run("./lab", "rescue", "--yes")
    assert again.status == 0, again.text
    assert world.uids(world.answers["gitlab_namespace"], "gitlab") == pods


@pytest.mark.deep
def test_flux_may_be_down_as_well(world: World) -> None:
    good, well = stop_gitlab(world)
    for name in ("kustomize-controller", "helm-controller", "source-controller"):
        world.plane.kubectl("delete", "deployment", name, "--namespace=flux-system")
    fix(world, good, "without Flux")
    run = world.run("./lab", "rescue", "--yes")
    assert run.status == 0, run.text
    assert well(), world.report()
