"""How deep a run of the tests looks: a few cases of each kind in `make test`, more in CI, all with LONG=1.

Two marks tell `make test` to run only the first cases of a test (`keep=3`), or none. CI runs every case of a test with the mark `slow`.
Of one with the mark `deep`, which is slow beside what it adds, it draws some by the commit: what one commit leaves out another one tries,
and the same commit always has the same tests. `TEST_DRAW=<what the run printed>` repeats a draw.
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
SHARE = 6  # CI runs one in so many of the deep tests


def every() -> bool:
    """Say whether the run takes every test."""
    return os.environ.get("LONG") == "1"


def with_the_clusters_programs() -> bool:
    """Say whether the run takes tests with programs that are built for the cluster's: `make cluster-test` does, and LONG=1."""
    return every() or os.environ.get("CLUSTER_TESTS") == "1"


def settle_the_draw() -> str:
    """Return what the draw comes from, and hand it down to the workers: the commit, if nobody has said another."""
    if DRAW not in os.environ:
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout
        os.environ[DRAW] = head.strip()[:12] or "no commit"
    return os.environ[DRAW]


def is_drawn(name: str) -> bool:
    """Say whether CI runs this deep test of this commit."""
    digest = hashlib.sha256(f"{settle_the_draw()} {name}".encode()).digest()
    return required() and digest[0] % SHARE == 0


def left_out(config: pytest.Config, items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Return the tests that this run leaves out; it never leaves out one that is asked for by its name."""
    if every() or config.option.keyword or any("::" in argument for argument in config.args):
        return []
    undrawn = [item for item in _beyond("deep", items) if not is_drawn(item.nodeid.split("@")[0])]
    return undrawn if required() else [*undrawn, *_beyond("slow", items)]


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
        if seen[place] > int(mark.kwargs.get("keep", 0)):
            found.append(item)
    return found
