"""The check before GitLab: a commit that would stop GitLab does not touch it, is named, and does not hold up the next one.

The check's own commands run, with a real Ruby and a real curl, on the mounts of their Job. What they cannot see is that of
job_runner.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.api import condition
from tests.cluster.conftest import Figure, Worlds
from tests.cluster.world import World
from tests.support.depth import every

pytestmark = [pytest.mark.xdist_group("check"), pytest.mark.world]
SETTINGS, VALUES = "apps/gitlab/gitlab.rb", "apps/gitlab/values.yaml"


@pytest.fixture
def world(worlds: Worlds) -> Iterator[World]:
    """Return the article's lab, whose own GitLab hosts its repository."""
    found = worlds.get("article").build()
    yield found
    found.gitlab.unpublished.clear()


def adds(text: str) -> Callable[[str], str]:
    return lambda before: before + text


def version(new: str) -> Callable[[str], str]:
    def change(before: str) -> str:
        lines = before.splitlines(keepends=True)
        (place,) = [number for number, line in enumerate(lines) if line.startswith("  tag: ")]
        lines[place] = f"  tag: {new}-ce.0\n"
        return "".join(lines)

    return change


# What is wrong: the file, its change, and words of the reason.
REFUSED = {
    "a missing quote": (SETTINGS, adds("gitlab_rails['time_zone'] = 'Europe/Warsaw\n"), "no Ruby"),
    "an end too many": (SETTINGS, adds("end\n"), "no Ruby"),
    "a section that GitLab does not know": (SETTINGS, adds("gitlab_reils['time_zone'] = 'UTC'\n"), "gitlab_reils"),
    "a setting that was removed": (
        SETTINGS,
        adds("gitlab_rails['gravatar_plain_url'] = 'https://a.example'\n"),
        "gravatar_plain_url",
    ),
    "an error that only running it shows": (SETTINGS, adds("gitlab_rails['env'] = Integer('many')\n"), "many"),
    "an image that does not exist": (VALUES, version("19.4.77"), "does not exist"),
    "a jump over a required stop": (VALUES, version("19.9.1"), "19.5"),
    "a version that is older": (VALUES, version("19.2.4"), "cannot go back"),
}


# The fix of each of these is pushed and followed; the others are refused one after another, and fixed by one commit.
FIXED = (
    "a missing quote",
    "a section that GitLab does not know",
    "an image that does not exist",
    "a jump over a required stop",
)


def refused(world: World, figure: Figure, what: str, good: dict[str, str]) -> None:
    """Push a commit that would stop GitLab, and see it refused and named while GitLab's pod stays.

    Args:
        good: what the two files hold when they are right; all else but this change is as there.
    """
    file, change, reason = REFUSED[what]
    namespace = world.answers["gitlab_namespace"]
    before = world.uids(namespace, "gitlab")
    for name, text in good.items():
        (world.lab / name).write_text(change(text) if name == file else text, encoding="utf-8")
    commit = world.push(f"Break GitLab: {what}")
    pushed = time.monotonic()
    failed = world.wait(
        "the commit's status",
        lambda: [one for one in world.statuses(commit).values() if one.state == "failed"],
        60,
    )
    figure(f"{what}: told after {time.monotonic() - pushed:.0f} s")
    assert all("gitlab-check" in one.name and "./lab status" in one.name for one in failed), failed
    assert "gitlab-check" in condition(world.api.get("kustomizations", "gitlab-check", "flux-system"))[1]
    told = world.run("./lab", "status")
    assert told.status == 1
    assert reason in told.text, told.text
    assert world.gitlab.gitlab_is_ready()
    assert world.uids(namespace, "gitlab") == before


def read_good(world: World) -> dict[str, str]:
    world.gitlab.unpublished.add("gitlab/gitlab-ce:19.4.77-ce.0")
    world.git("pull", "--quiet", "--rebase", str(world.repository), "main")
    return {name: (world.lab / name).read_text(encoding="utf-8") for name in (SETTINGS, VALUES)}


def fixed(world: World, figure: Figure, what: str, good: dict[str, str]) -> None:
    """Push a right commit after what was refused, and see it deployed."""
    file, namespace = REFUSED[what][0], world.answers["gitlab_namespace"]
    before = world.uids(namespace, "gitlab")
    for name, text in good.items():
        text_now = text + f"# right again: {what}\n" if name == file else text
        (world.lab / name).write_text(text_now, encoding="utf-8")
    world.push(f"Fix GitLab: {what}")
    pushed = time.monotonic()
    world.wait("GitLab's release", lambda: deployed(world) and world.gitlab.gitlab_is_ready(), 60)
    figure(f"the commit after {what}: deployed after {time.monotonic() - pushed:.0f} s")
    if file == SETTINGS:
        assert world.uids(namespace, "gitlab").isdisjoint(before)
    else:
        assert world.uids(namespace, "gitlab") == before


@pytest.mark.deep(keep=2)
@pytest.mark.parametrize("what", FIXED)
def test_a_commit_that_would_stop_gitlab_is_refused_and_the_next_is_deployed(
    world: World, figure: Figure, what: str
) -> None:
    good = read_good(world)
    refused(world, figure, what, good)
    fixed(world, figure, what, good)


@pytest.mark.deep
def test_one_refused_commit_after_another_and_the_fix_of_them_all(world: World, figure: Figure) -> None:
    good = read_good(world)
    others = [what for what in REFUSED if what not in FIXED]
    for what in others:
        refused(world, figure, what, good)
    fixed(world, figure, others[-1], good)


def test_an_image_that_nobody_can_pull_does_not_hold_up_the_next_commit(world: World, figure: Figure) -> None:
    """Its registry does not say that it is missing: the Job's pod waits for it, and would do so for ever."""
    namespace, elsewhere = world.answers["gitlab_namespace"], "registry.nowhere.example/gitlab/gitlab-ce"
    world.gitlab.unpublished.add(f"{elsewhere}:19.3.2-ce.0")
    before = world.uids(namespace, "gitlab")
    world.git("pull", "--quiet", "--rebase", str(world.repository), "main")
    path = world.lab / VALUES
    good = path.read_text(encoding="utf-8")
    path.write_text(good.replace("gitlab/gitlab-ce\n", f"{elsewhere}\n"), encoding="utf-8")
    world.push("An image from nowhere")

    def waits_for_its_image() -> bool:
        pods = world.pods(namespace, "gitlab-check")
        return any(
            one["spec"]["containers"][0]["image"].startswith(elsewhere)
            and "ImagePullBackOff" in str(one["status"].get("containerStatuses"))
            for one in pods
        )

    world.wait("the check's pod", waits_for_its_image, 60)
    assert world.gitlab.gitlab_is_ready()
    path.write_text(good, encoding="utf-8")
    world.push("And the right image again")
    pushed = time.monotonic()
    world.wait("GitLab's release", lambda: deployed(world), 60)
    figure(f"the commit after an image that nobody can pull: deployed after {time.monotonic() - pushed:.0f} s")
    assert world.uids(namespace, "gitlab") == before


def test_the_next_image_is_on_the_node_before_the_old_pod_ends(world: World, figure: Figure) -> None:
    """The first pull of an image takes long. The check pays for it, while the old GitLab serves."""
    namespace, image = world.answers["gitlab_namespace"], "gitlab/gitlab-ce:19.3.7-ce.0"
    pull = 90 if every() else 20
    world.agent.pull_seconds = lambda one: pull if one == image else 0
    before = world.uids(namespace, "gitlab")
    world.git("pull", "--quiet", "--rebase", str(world.repository), "main")
    path = world.lab / VALUES
    path.write_text(version("19.3.7")(path.read_text(encoding="utf-8")), encoding="utf-8")
    world.push("A newer patch")

    def goes() -> float | None:
        return time.monotonic() if world.uids(namespace, "gitlab").isdisjoint(before) else None

    ended = world.wait("the old pod to go", goes, pull + 60)
    up = world.wait("GitLab", lambda: time.monotonic() if world.gitlab.gitlab_is_ready() else None, 60)
    assert world.agent.pulled[image] <= ended
    figure(f"upgrade with a pull of {pull} s: the pod is gone for {up - ended:.0f} s")
    assert up - ended < pull
    world.wait("Flux", lambda: deployed(world), 60)
    # The answer gitlab_version still names the old one: what counts is what the values ask for.
    world.bootstrap("--only", "gitlab")


def deployed(world: World) -> bool:
    """Say whether Flux has deployed the newest commit."""
    tip, namespace = world.tip(), world.answers["gitlab_namespace"]
    item = world.api.get("kustomizations", "gitlab", "flux-system")
    applied = str((item or {}).get("status", {}).get("lastAppliedRevision", ""))
    return (
        applied.endswith(tip)
        and world.ready("kustomizations", "gitlab")
        and world.ready("helmreleases", "gitlab", namespace)
    )
