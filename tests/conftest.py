"""Fixtures: each lab of tests/answers/valid/, rendered and read once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from support.cluster import Lab, read_lab
from support.rendering import VALID, read_answers, recorded_answers, rendered
from support.texts import answered


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the developer's own Git and Copier settings out of what the tests see."""
    home = tmp_path_factory.mktemp("home")
    (home / "gitconfig").write_text(
        "[user]\nname = Owner\nemail = owner@example.com\n[init]\ndefaultBranch = main\n[commit]\ngpgsign = false\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        (home / "copier.yml").write_text("{}\n")
        patch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        patch.setenv("COPIER_SETTINGS_PATH", str(home / "copier.yml"))
        for name in [name for name in os.environ if name.startswith("GIT_") and not name.startswith("GIT_CONFIG_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return the folder that both workers share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@lru_cache(maxsize=None)
def _read(shared: Path, name: str) -> Lab:
    file = next(file for file in VALID if file.stem == name)
    path = rendered(shared, name, read_answers(file))
    return read_lab(path, recorded_answers(path))


@lru_cache(maxsize=None)
def _answers(file: Path) -> dict[str, Any]:
    return answered(read_answers(file))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `lab` for every valid file of answers; one lab's tests stay on one worker.

    Marked `labs(where=condition)`, it runs only for those whose answers fulfil the condition, of which there must be some.
    """
    if "lab" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("labs")
        chosen = [file for file in VALID if marker is None or marker.kwargs["where"](_answers(file))]
        assert chosen, f"{metafunc.definition.name}: no valid file of answers is of this kind"
        names = [pytest.param(file.stem, marks=pytest.mark.xdist_group(file.stem)) for file in chosen]
        metafunc.parametrize("lab", names, indirect=True)


@pytest.fixture
def lab(request: pytest.FixtureRequest, shared: Path) -> Lab:
    """Return one lab of tests/answers/valid/."""
    return _read(shared, request.param)


@pytest.fixture
def article(shared: Path) -> Lab:
    """Return the article's own lab."""
    return _read(shared, "article")
