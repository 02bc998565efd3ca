"""An update of a lab that nobody edited is a fresh copy with the same answers, but for the answers file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from tests.support.depth import every
from tests.support.rendering import VALID, copy_lab, read_answers
from tests.update.support.histories import edit, files, make_lab, packed, put, real_template, release, update_here

LONG = every()
# The others take their turn with LONG=1.
USUAL = {"article", "defaults", "pair-07"}
FILES = [file for file in VALID if file.stem in USUAL or LONG]


@pytest.fixture(scope="module")
def template(shared: Path) -> Path:
    """Return this project's template with two releases; both of pytest's workers share it."""
    return two_releases(shared, whole=LONG)


def two_releases(shared: Path, whole: bool) -> Path:
    folder = shared / ("two-releases-whole" if whole else "two-releases")
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            made = real_template(folder.with_suffix(".new"), whole)
            put(
                made / "template",
                {"gone/one.txt": "one\n", "same.txt": "same\n", "run.sh": "#!/bin/sh\n", "was-a-file": "file\n"},
            )
            release(made, "1.0.0")
            shutil.rmtree(made / "template" / "gone")
            (made / "template" / "run.sh").chmod(0o755)
            (made / "template" / "was-a-file").unlink()
            put(made / "template", {"new/two words.txt": "new\n", "ä.txt": "ä\n", "picture.png": b"\0\1", "empty": ""})
            for name in ("README.md", "apps/gitlab/gitlab.rb", "infrastructure/network.yaml"):
                edit(made / "template" / f"{name}.jinja", lambda text: text.replace("\n", "\n# newer\n", 3))
            release(made, "1.1.0")
            packed(made).rename(folder)
    return folder


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
@pytest.mark.deep(keep=1)
def test_an_unedited_lab_becomes_what_a_copy_would_be(shared: Path, template: Path, tmp_path: Path, file: Path) -> None:
    if file.stem == "defaults":
        # What no answer touches is the same in every lab; in one it is all there, with LONG=1 in each.
        template = two_releases(shared, whole=True)
    answers = read_answers(file)
    make_lab(template, tmp_path / "updated" / "lab", answers)
    update_here(tmp_path / "updated" / "lab")
    copy_lab(template, tmp_path / "fresh" / "lab", answers, vcs_ref="v1.1.0", skip_tasks=True)
    updated, fresh = files(tmp_path / "updated" / "lab"), files(tmp_path / "fresh" / "lab")
    recorded = updated.pop(".copier-answers.yml"), fresh.pop(".copier-answers.yml")
    assert sorted(updated) == sorted(fresh)
    assert [name for name in fresh if updated[name] != fresh[name]] == []
    assert recorded[0] == recorded[1]
    assert not (tmp_path / "updated" / "lab" / "gone").exists()
