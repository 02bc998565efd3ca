"""Turns: a test that measures is alone, and a long one lets it."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from functools import cache
from pathlib import Path

import pytest

from tests.cluster import turns


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the lock of a room of the test's: this process is in the real one."""

    def opened(name: str) -> int:
        return os.open(tmp_path / name, os.O_RDWR | os.O_CREAT)

    monkeypatch.setattr(turns, "_file", cache(opened))
    monkeypatch.setattr(turns, "TURN", {"shared": False})
    return tmp_path / "room"


def is_free(room: Path, how: int) -> bool:
    """Say whether another process could be in the room."""
    with room.open("r+") as other:
        try:
            fcntl.flock(other, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_who_is_alone_stays_alone_whatever_it_calls(room: Path) -> None:
    turns.enter(alone=True)
    turns.give_way()
    assert not is_free(room, fcntl.LOCK_SH)
    turns.leave()
    assert is_free(room, fcntl.LOCK_EX)


def test_a_long_test_lets_another_be_alone_and_goes_on_after_it(room: Path) -> None:
    turns.enter()
    assert is_free(room, fcntl.LOCK_SH) and not is_free(room, fcntl.LOCK_EX)
    measured = threading.Event()

    def measure() -> None:
        with (room.parent / "door").open("r+") as door, room.open("r+") as own:
            fcntl.flock(door, fcntl.LOCK_EX)
            fcntl.flock(own, fcntl.LOCK_EX)
            fcntl.flock(door, fcntl.LOCK_UN)
            time.sleep(0.3)
            measured.set()

    other = threading.Thread(target=measure)
    other.start()
    deadline = time.monotonic() + 10
    while is_free(room.parent / "door", fcntl.LOCK_EX) and time.monotonic() < deadline:
        time.sleep(0.01)
    turns.give_way()
    assert measured.is_set()
    assert not is_free(room, fcntl.LOCK_EX), "it is in the room again"
    other.join(10)
    turns.leave()


def test_who_has_no_turn_gives_none_away(room: Path) -> None:
    turns.give_way()
    assert not room.exists()
