"""The template as somebody clones it, and the wizard in terminals."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.rendering import ROOT, snapshot
from tests.wizard.support.terminals import Labs


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with the template's files, committed."""
    folder = snapshot(tmp_path_factory.mktemp("wizard") / "template")
    # What Python compiles there is no change of the checkout.
    shutil.copy2(ROOT / ".gitignore", folder)
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "The template"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


@pytest.fixture
def labs(clone: Path, tmp_path: Path) -> Iterator[Labs]:
    """Return a place for labs, and for the answers that are kept until they are made."""
    found = Labs(clone, tmp_path)
    yield found
    for wizard in found.begun:
        wizard.give_up()
