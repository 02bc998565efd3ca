"""The fixtures of these tests, and when they run: those with real engines in `make cluster-test` and CI, or with LONG=1."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machines.support import engines
from tests.support.depth import with_the_clusters_programs
from tests.support.rendering import VALID, read_answers, rendered, required

DEEP = with_the_clusters_programs()


@pytest.fixture(scope="session")
def code(shared: Path) -> Path:
    """Return iac/ of a lab that answers every question about machines."""
    return lab(shared, "machines") / "iac"


def lab(shared: Path, name: str) -> Path:
    """Return the lab of a valid file of answers."""
    answers = next(file for file in VALID if file.stem == name)
    return rendered(shared, name, read_answers(answers))


@pytest.fixture(scope="session")
def built() -> None:
    """Ask for the real engines."""
    missing = [name for name, file in engines.PROGRAMS.items() if not file.exists()]
    if not DEEP:
        pytest.skip("the real engines run in make cluster-test, and with LONG=1")
    if missing:
        message = f"{' and '.join(missing)} are not built; make cluster-test builds them"
        if required():
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture(scope="session", params=["tofu", "terraform"])
def engine(built: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> engines.Engine:
    """Return each of the two engines, with the real provider."""
    make = {"tofu": engines.tofu, "terraform": engines.terraform}[request.param]
    return make(tmp_path_factory.mktemp(request.param))


@pytest.fixture
def proxmox(built: None, tmp_path: Path) -> Iterator[engines.Fake]:
    """Return a Proxmox server whose node and storages the lab's answers name."""
    with engines.fake_proxmox(tmp_path / "proxmox", "pve-1") as fake:
        fake.ask(storage="images", **{"is": {"content": "import"}})
        fake.ask(
            storage="fast.ssd",
            **{"is": {"type": "lvmthin", "content": "images,rootdir", "vgname": "fast", "thinpool": "data"}},
        )
        yield fake


@pytest.fixture
def workplace(code: Path, engine: engines.Engine, tmp_path: Path) -> Iterator[Path]:
    """Return a copy of the code that the engine has prepared, with its state in the folder."""
    folder = engines.local_copy(code, tmp_path / "iac")
    done = engine.run(folder, "init", "-no-color")
    assert done.code == 0, done.said
    yield folder
    shutil.rmtree(folder)
