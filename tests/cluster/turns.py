"""Whose turn it is: a test that measures how fast Flux is has the machine's cores for itself.

Several processes run tests at once, each with a world of its own. A test with the mark `alone` waits until the others have ended
theirs, and they wait until it has ended. Locks of the kernel see to it, which go with the process that holds them.
"""

from __future__ import annotations

import fcntl
import os
from functools import cache

from tests.cluster.paths import BIN

MARK = "alone"
TURN = {"shared": False}  # whether this process is in the room together with others


@cache
def _file(name: str) -> int:
    """Return the descriptor of a file that stays open as long as this process."""
    BIN.parent.mkdir(exist_ok=True)
    return os.open(BIN.parent / f"{name}.lock", os.O_RDWR | os.O_CREAT)


def enter(*, alone: bool = False) -> None:
    """Wait for a turn. Who waits to be alone stands at the door: nobody else comes in before."""
    fcntl.flock(_file("door"), fcntl.LOCK_EX)
    fcntl.flock(_file("room"), fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
    fcntl.flock(_file("door"), fcntl.LOCK_UN)
    TURN["shared"] = not alone


def leave() -> None:
    """End a turn."""
    TURN["shared"] = False
    fcntl.flock(_file("room"), fcntl.LOCK_UN)


def give_way() -> None:
    """Let another test be alone now, in the middle of a long one; a test that is alone itself goes on.

    While one waits at the door, every other process waits behind it: what takes longer than half a minute calls this between its steps.
    """
    if TURN["shared"]:
        leave()
        enter()
