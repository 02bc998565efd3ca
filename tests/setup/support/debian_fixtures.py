"""Fixtures of the tests of runner/setup.sh: machines with a real Debian, one a test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.gitlab.support.authority import Authority
from tests.setup.support.debian_machine import Machine
from tests.setup.support.debian_roots import CACHE, lacking
from tests.support.rendering import required
from tests.support.texts import answered, texts

ANSWERS = {"base_domain": "lab", "private_ca": True, "runner_host": "runner", "runner_kind": "docker"}
MakeMachine = Callable[[str], Machine]


@cache
def rendered(**answers: object) -> dict[str, str]:
    """Return the files of a lab of these answers, by path."""
    return texts(answered({**ANSWERS, **answers}))


@pytest.fixture
def machine_with() -> Iterator[MakeMachine]:
    """Return what makes a bare machine with a Debian: setup.sh lies in root's home, and the authority's certificate."""
    missing = lacking()
    if missing:
        message = f"runner/setup.sh was not run: this machine lacks {missing}"
        if required():
            pytest.fail(message)
        pytest.skip(message)
    # A disk: swap on a file system in memory would take that memory.
    folder = Path(tempfile.mkdtemp(prefix="work-", dir=CACHE))
    authority = Authority(folder / "authority")
    made: list[Machine] = []

    def make(suite: str) -> Machine:
        machine = Machine(folder / str(len(made)), suite, authority)
        made.append(machine)
        machine.write("/root/setup.sh", rendered()["runner/setup.sh"])
        machine.write("/root/ca.crt", machine.authority.crt.read_text())
        return machine

    yield make
    shutil.rmtree(folder, ignore_errors=True)
