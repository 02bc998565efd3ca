"""Fixtures of the bootstrap's tests: worlds, and worlds that have come as far as a given stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.bootstrap.support.lab_world import Call, World, world_in
from tests.bootstrap.support.stand_in_flux import git
from tests.support.depth import every
from tests.support.program import NAMES

STAGES = NAMES
LONG = every()


@pytest.hookimpl(tryfirst=True)  # before xdist looks for groups, also where these tests are run by themselves
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The journey is made once: the tests that start from it belong on one worker."""
    for item in items:
        if Path(__file__).resolve().parents[1] in item.path.parents and "journey" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("journey"))


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Return a function that makes a world; the settings of the lab that differ are its arguments."""
    with ExitStack() as worlds:

        def make(**settings: Any) -> World:
            return worlds.enter_context(world_in(tmp_path / f"world {len(list(tmp_path.iterdir()))}", **settings))

        yield make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """Return a bare cluster and a fresh lab, with the settings of lab_folder."""
    return make_world()


def alone(stage: str) -> tuple[str, str]:
    """The arguments that run one stage as a whole run does; verify by itself would send another tag each time."""
    return ("--from" if stage == "verify" else "--only", stage)


class Journey:
    """One world, taken through the stages once; `to` brings it back to where a stage begins, again and again."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.before: dict[str, Any] = {}
        self.after: dict[str, Any] = {}
        self.changes: dict[str, list[str]] = {}
        self.calls: dict[str, list[Call]] = {}
        git(world.lab, "repack", "-adq")  # few files to copy for each of the many new starts
        for stage in STAGES:
            self.before[stage] = self.world.save(stage)
            self.world.changes, self.world.calls = [], []
            self.world.must_run(*alone(stage))
            self.changes[stage], self.calls[stage] = self.world.changes, self.world.calls
            self.after[stage] = self.world.summary()
        self.end = self.world.save("end")

    def to(self, stage: str) -> World:
        self.world.restore(self.end if stage == "end" else self.before[stage])
        return self.world


@pytest.fixture(scope="session")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    """Return a world that has been through every stage, with the group variable and an owner, so that every request occurs."""
    key = f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'Z' * 43}"
    owner = {"owner_username": "owner", "owner_email": "owner@lab.test", "owner_ssh_keys": [key], "smtp_enabled": False}
    with world_in(tmp_path_factory.mktemp("journey") / "world", pipeline_auth="group-variable", **owner) as world:
        yield Journey(world)
