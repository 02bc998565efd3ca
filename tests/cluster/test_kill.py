"""A run that is killed, after each stage and in the middle of each: the next one goes on, and GitLab's pod stays the same."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Sequence

import pytest

from tests.cluster import turns
from tests.cluster.conftest import Figure, Worlds
from tests.cluster.world import World
from tests.support.depth import every, settle_the_draw
from tests.support.program import NAMES

pytestmark = pytest.mark.xdist_group("killed")
DRAW = random.Random(settle_the_draw())


def stages() -> list[str]:
    """Return the stages to kill a run in: half of them, drawn by the commit, and all with LONG=1."""
    return [*NAMES] if every() else sorted(DRAW.sample(NAMES, len(NAMES) // 2), key=NAMES.index)


def places() -> tuple[int, ...]:
    """Return after how many lines of a stage to kill: at its beginning, which is the end of the one before, or in its middle."""
    return (0, 1, 2) if every() else (DRAW.choice((0, 1, 2)),)


def kill_at(
    world: World, stage: str, lines: int, command: Sequence[str] = ("./bootstrap.sh", "--yes"), *, there: bool = False
) -> str:
    """Start a command and kill all of it once it has said so many lines within a stage; return what it said.

    Args:
        there: whether it is killed at the stage's end at the latest.
    """
    process = world.begin(*command)
    said: list[str] = []
    reached = threading.Event()

    def read() -> None:
        within = -1
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if line.startswith("== ") and f" {stage}:" in line:
                within = 0
            elif there and within >= 0 and line.startswith("== "):
                reached.set()
            elif within >= 0 and line.startswith("   "):
                within += 1
            if within >= lines:
                reached.set()
        reached.set()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    assert reached.wait(200), "".join(said)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    thread.join(10)
    if process.stdout is not None:
        process.stdout.close()
    return "".join(said)


def test_a_killed_run_is_gone_on_with_by_the_next(worlds: Worlds, figure: Figure) -> None:
    world = worlds.get("article", lab_name="killed")
    pods: set[str] = set()
    kills = 0
    started = time.monotonic()
    for stage in stages():
        for lines in places():
            kill_at(world, stage, lines)
            kills += 1
            turns.give_way()
            now = world.uids(world.answers["gitlab_namespace"], "gitlab")
            assert not pods or now == pods, f"GitLab's pod was replaced after a kill in {stage}"
            pods = now
    done = world.bootstrap()
    assert world.uids(world.answers["gitlab_namespace"], "gitlab") == pods
    again = world.bootstrap()
    assert "   done" not in again.text
    figure(f"{kills} kills and two runs: {time.monotonic() - started:.0f} s; the run after them {done.seconds:.0f} s")
    assert not world.gitlab.errors
