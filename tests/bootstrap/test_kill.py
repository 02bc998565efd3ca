"""A run that is killed at any moment is fixed by the next one: the same end, and nothing twice.

A kill is the harshest end there is: SIGKILL to the program and all its children, right after the world has changed and
before the program hears of it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.bootstrap.support.journeys import LONG, STAGES, Journey, alone
from tests.bootstrap.support.lab_world import Call, World

# Changes whose answer is shown once, or that leave something half-made behind. LONG=1 kills after each change there is.
TELLING = ("deploy_tokens", "variables", "access_tokens", "user/runners", "helm upgrade", "repository/tags")


def killed_run(world: World, stage: str) -> None:
    run = world.run(*alone(stage))
    assert run.status == -signal.SIGKILL, (stage, run.text)
    assert not world.errors, world.errors


def check_fixed(world: World, journey: Journey, stage: str, point: str) -> None:
    world.changes.clear()
    run = world.run(*alone(stage))
    assert run.status == 0, (stage, point, run.text)
    assert not world.errors, (stage, point, world.errors)
    assert world.summary() == journey.after[stage], (stage, point)
    assert not list(world.private.iterdir()), "the folder that the killed run had to leave is gone as well"


@pytest.mark.parametrize("stage", [s for s in STAGES if s != "preflight"])
@pytest.mark.deep(keep=3)
def test_a_run_killed_after_a_change_is_fixed_by_the_next(journey: Journey, stage: str) -> None:
    for number, what in enumerate(journey.changes[stage], 1):
        if not LONG and not any(word in what for word in TELLING):
            continue
        world = journey.to(stage)
        world.kill_after = after_change(number)
        killed_run(world, stage)
        check_fixed(world, journey, stage, f"killed after change {number}: {what}")


def after_change(number: int) -> Callable[[str, int], bool]:
    return lambda _what, count: count == number


@pytest.mark.skipif(not LONG, reason="a kill at each of some 200 calls takes minutes: LONG=1")
@pytest.mark.parametrize("stage", STAGES)
def test_a_run_killed_before_any_call_is_fixed_by_the_next(journey: Journey, stage: str) -> None:
    for number in range(1, len(journey.calls[stage]) + 1):
        world = journey.to(stage)
        point: list[Call] = []

        def kill(call: Call, count: int, number: int = number, point: list[Call] = point) -> bool:
            if count == number:
                point.append(call)
            return count == number

        world.kill_before = kill
        killed_run(world, stage)
        check_fixed(world, journey, stage, f"killed before call {number}: {point}")


@pytest.mark.slow
def test_a_run_killed_before_the_runner_starts_does_not_forget_the_start(journey: Journey) -> None:
    """The new file is on the machine already; only a mark tells that the container does not know of it."""
    world = journey.to("end")
    (world.lab / "runner" / "compose.yaml").write_text("services: {new: {}}\n")
    world.kill_before = lambda call, _count: "docker compose up" in call.detail
    killed_run(world, "runner")
    assert not world.summary()["runner up to date"]
    world.must_run("--only", "runner")
    assert world.summary()["runner up to date"]
    assert "   done " not in world.must_run("--only", "runner").out


def test_a_killed_run_leaves_no_token_that_stays_valid(journey: Journey) -> None:
    """A kill cannot be caught, so the root token of that run outlives it; the next run removes it."""
    world = journey.to("registry")
    world.kill_before = lambda call, _count: call.detail.startswith("POST")
    killed_run(world, "registry")
    (left,) = world.summary()["root tokens that are valid"]
    assert left.startswith("bootstrap-homelab-")
    world.must_run("--only", "registry")
    assert world.summary()["root tokens that are valid"] == []


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_stopped_run_cleans_up_and_says_how_to_go_on(journey: Journey, number: int, status: int) -> None:
    world = journey.to("registry")

    def stop(call: Call, _count: int) -> bool:
        if call.detail.startswith("GET /groups") and world.running:
            os.killpg(world.running.pid, number)
        return False

    world.kill_before = stop
    run = world.run("--only", "registry")
    assert run.status == status, run.text
    assert "run ./lab up again" in run.err
    assert world.summary()["root tokens that are valid"] == []
    assert not list(world.private.iterdir()), "no temporary file is left"
    world.kill_before = None
    check_fixed(world, journey, "registry", f"signal {number}")


def test_helm_is_called_again_only_where_something_would_change(journey: Journey) -> None:
    """Before Flux keeps the release, a second run installs what the owner has fixed meanwhile, and only that."""
    world = journey.to("groups")
    world.must_run("--only", "gitlab")
    assert not [c for c in world.calls if c.source == "helm" and "--install" in c.arguments]
    (world.lab / "apps/gitlab/values.yaml").write_text("image: {tag: 19.3.0-ce.0}\nresources: {}\n")
    world.must_run("--only", "gitlab")
    installed = [c.arguments[1] for c in world.calls if c.source == "helm" and "--install" in c.arguments]
    assert installed == ["gitlab-check", "gitlab"]


def test_a_helm_that_was_killed_does_not_block_the_next_run(journey: Journey) -> None:
    """Helm's record of an installation that was cut short says "pending", and Helm refuses to go on from there."""
    world = journey.to("gitlab")
    labels: dict[str, Any] = {"owner": "helm", "name": "gitlab", "status": "pending-install"}
    world.cluster.put("Namespace", "", "gitlab")
    world.cluster.put(
        "Secret",
        "gitlab",
        "sh.helm.release.v1.gitlab.v1",
        type="helm.sh/release.v1",
        data={},
        metadata={"labels": labels},
    )
    run = world.must_run("--only", "gitlab")
    assert "cut short" in run.out
    assert world.cluster.find("Secret", "gitlab", "sh.helm.release.v1.gitlab.v1") is None
