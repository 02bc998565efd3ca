"""Fixtures of the cluster tests. Each test process has a network and mounts of its own, and one world at a time in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.labs import answers_of, make_lab
from tests.cluster.namespaces import Surroundings
from tests.cluster.world import World, world_of

Figure = Callable[[str], None]
STARTED = "CLUSTER_TESTS" in os.environ
collect_ignore_glob = [] if STARTED else ["test_*.py"]


# The longest first: what comes last should be short, for the other processes wait for it.
ORDER = (
    "article",
    "old-lab",
    "check",
    "effects",
    "alerts",
    "backups",
    "runner-in-the-cluster",
    "secrets",
    "external-ssh",
    "killed",
    "upgrade",
    "lab-authority",
    "defaults",
    "network",
    "certificates",
    "external-https",
)


def group_of(item: pytest.Item) -> str:
    """Return the group whose tests share a process, and so a world."""
    mark = item.get_closest_marker("xdist_group")
    return str(mark.args[0]) if mark else ""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the groups into their order; within a group the tests keep theirs."""
    if STARTED:
        items.sort(key=lambda item: ORDER.index(group_of(item)) if group_of(item) in ORDER else len(ORDER))


@pytest.fixture(scope="session")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Surroundings:
    """Return the network and the files of this test process."""
    return Surroundings(tmp_path_factory.mktemp("surroundings"))


@pytest.fixture(scope="session")
def lab_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return what renders a lab from a file of answers, with some changed, and commits it."""
    base = tmp_path_factory.mktemp("labs")

    def make(name: str, **changes: Any) -> Path:
        number = len(list(base.iterdir()))
        return make_lab(base / "template", base / f"{number}-{name}", answers_of(name, **changes))

    return make


class Worlds:
    """The world that runs in this process: started for the first test that asks for it, ended for the first that asks for another."""

    def __init__(self, surroundings: Surroundings, lab_of: Callable[..., Path]) -> None:
        self.surroundings, self.lab_of = surroundings, lab_of
        self.stack = ExitStack()
        self.key: object = None
        self.current: World | None = None

    def get(self, name: str, **changes: Any) -> World:
        """Return a world of this lab, in which nothing has run yet or only tests that asked for the same one."""
        key = (name, repr(sorted(changes.items())))
        if key != self.key or self.current is None:
            self.close()
            self.current = self.stack.enter_context(world_of(self.surroundings, self.lab_of(name, **changes), name))
            self.key = key
        return self.current

    def close(self) -> None:
        self.stack.close()
        self.key = self.current = None


@pytest.fixture(scope="session")
def worlds(surroundings: Surroundings, lab_of: Callable[..., Path]) -> Iterator[Worlds]:
    """Return the worlds of this process."""
    found = Worlds(surroundings, lab_of)
    yield found
    found.close()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Return what keeps a measured figure for the end of the run's output."""

    def keep(text: str) -> None:
        request.node.user_properties.append(("figure", text))

    return keep


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print every figure that a test has measured."""
    reports = [
        report for found in terminalreporter.stats.values() for report in found if hasattr(report, "user_properties")
    ]
    figures = [(report.nodeid, text) for report in reports for name, text in report.user_properties if name == "figure"]
    if figures:
        terminalreporter.section("figures")
    for place, text in dict.fromkeys(figures):
        terminalreporter.line(f"{text}    [{place.rpartition('::')[2].split('@')[0]}]")
