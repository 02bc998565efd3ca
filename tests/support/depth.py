"""How deep a run of the tests looks: a few cases of each kind in `make test`, more in CI, all with LONG=1.

`make test` runs only the first cases of a test with the mark `slow` or `deep` (`keep=3`), or none. CI draws some of the others by the
commit: more of the slow ones, fewer of the deep ones, which add less for their time. What one commit leaves out another one tries, and
the same commit always has the same tests; `TEST_DRAW=<what the run printed>` repeats a draw. With `each_commit=True` CI runs them all:
what they judge may follow from any file. A test that is asked for by its name or its file always runs.

A world of the cluster tests takes minutes to build: of those with the mark `world`, `make cluster-test` draws one, with all
its tests.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Sequence

import pytest

from tests.support.rendering import ROOT, required

DRAW = "TEST_DRAW"
CLUSTER = "CLUSTER_TESTS"  # set by tests/cluster/run.py: `all`, or `named` if it was given tests
SHARES = {"slow": 9, "deep": 18}  # CI runs one in so many


def every() -> bool:
    """Say whether the run takes every test."""
    return os.environ.get("LONG") == "1"


def with_the_clusters_programs() -> bool:
    """Say whether the run takes tests with programs that are built for the cluster's: `make cluster-test` does, and LONG=1."""
    return every() or CLUSTER in os.environ


def settle_the_draw() -> str:
    """Return what the draw comes from, and hand it down to the workers: the commit, if nobody has said another."""
    if DRAW not in os.environ:
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout
        os.environ[DRAW] = head.strip()[:12] or "no commit"
    return os.environ[DRAW]


def draws() -> bool:
    """Say whether the run takes a draw of the slow tests, or none of them."""
    return required() or with_the_clusters_programs()


def _rank(name: str) -> bytes:
    return hashlib.sha256(f"{settle_the_draw()} {name}".encode()).digest()


def is_drawn(name: str, mark: str) -> bool:
    """Say whether CI, and `make cluster-test`, run this test of this commit."""
    return draws() and _rank(name)[0] % SHARES[mark] == 0


def left_out(config: pytest.Config, items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Return the tests that this run leaves out; it never leaves out one that is asked for by its name."""
    if every() or config.option.keyword or any("::" in argument for argument in config.args):
        return []
    # `make cluster-test` gives files, too, of which it takes a draw.
    files = [argument for argument in config.args if argument.endswith(".py") and os.environ.get(CLUSTER) != "all"]
    unnamed = [item for item in items if not any(str(item.path).endswith(file) for file in files)]
    undrawn = [
        item for mark in SHARES for item in _beyond(mark, unnamed) if not is_drawn(item.nodeid.split("@")[0], mark)
    ]
    return [*undrawn, *_of_other_worlds(unnamed)]


def _of_other_worlds(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Return the tests of the worlds but one, which is drawn."""
    world_of = {
        item.nodeid: str(group.args[0])
        for item in items
        if item.get_closest_marker("world") and (group := item.get_closest_marker("xdist_group"))
    }
    drawn = min(set(world_of.values()), key=_rank, default="")
    return [item for item in items if world_of.get(item.nodeid, drawn) != drawn]


def _beyond(name: str, items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Return the tests with a mark, but for the first `keep` cases of each."""
    seen: dict[tuple[str, str], int] = defaultdict(int)
    found = []
    for item in items:
        mark = item.get_closest_marker(name)
        if mark is None:
            continue
        place = (str(item.path), getattr(item, "originalname", ""))
        seen[place] += 1
        if seen[place] > int(mark.kwargs.get("keep", 0)) and not (required() and mark.kwargs.get("each_commit")):
            found.append(item)
    return found
