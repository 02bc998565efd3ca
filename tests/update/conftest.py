"""A lab beside its template, with a release to come: a renamed file and a line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.compiled import share_compiled
from tests.support.rendering import ROOT
from tests.update.support.histories import commit, edit, git, make_lab, packed, put, release, small_template


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refusals")
    template = small_template(folder / "template", {"a.txt": "one\n" * 9, "feature.txt": "on\n", "bin/old": "old\n"})
    # What every lab has of its program, without its settings, which an update does not read.
    for name in ("update.sh", "bootstrap.sh", "lab"):
        shutil.copy2(ROOT / "template" / name, template / "template" / name)
    shutil.copytree(
        ROOT / "template" / "lab_program",
        template / "template" / "lab_program",
        ignore=shutil.ignore_patterns("*.jinja", "__pycache__"),
    )
    release(template, "1.0.1")
    lab = make_lab(template, folder / "lab", version="v1.0.1")
    edit(template / "template" / "a.txt", lambda text: text + "new\n")
    git(template, "mv", "template/bin/old", "template/new")
    (template / "hooks" / "renames.yml").write_text('{"1.1.0": {"moved": {"bin/old": "new"}}}')
    release(template, "1.1.0")
    packed(template)
    return packed(lab)


@pytest.fixture
def house(start: Path, tmp_path: Path) -> Path:
    """Return a lab, beside its template."""
    for name in ("lab", "template"):
        shutil.copytree(start.parent / name, tmp_path / name, symlinks=True)
    edit(
        tmp_path / "lab" / ".copier-answers.yml",
        lambda text: text.replace(str(start.parent / "template"), str(tmp_path / "template")),
    )
    put(tmp_path / "lab", {".env": "TOKEN=secret\n"})
    commit(tmp_path / "lab")
    return share_compiled(tmp_path / "lab")
