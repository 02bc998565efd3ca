"""Every answer that was ever recorded is an answer today, as it is or migrated; and the ways in which a question may change."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
import yaml

from hooks import answer_changes, renames
from tests.support.rendering import ROOT, VALID, read_answers
from tests.support.texts import answered, problems
from tests.update.support.histories import git


def released() -> list[tuple[str, str]]:
    """Return each file of answers of each released version: its tag, and its path then."""
    done = subprocess.run(["git", "tag", "--list", "v*"], cwd=ROOT, capture_output=True, text=True, check=False)
    return [
        (tag, path)
        for tag in done.stdout.split()
        for path in git(
            ROOT, "ls-tree", "-r", "--name-only", tag, "tests/answers/valid", "example/.copier-answers.yml"
        ).split()
        if path.endswith(".yml")
    ]


def test_every_answers_file_that_was_released_is_valid_today() -> None:
    for tag, path in released():
        recorded = yaml.safe_load(git(ROOT, "show", f"{tag}:{path}")) or {}
        migrated, _ = answer_changes.migrated(recorded, renames.newer(answer_changes.CHANGES, tag[1:]))
        assert problems({}, migrated) == [], f"{path} of {tag}"


@pytest.mark.parametrize("file", VALID, ids=lambda file: file.stem)
def test_every_answers_file_of_today_is_valid_as_a_recorded_one(file: Any) -> None:
    recorded = {name: value for name, value in answered(read_answers(file)).items() if not name.startswith("_")}
    assert problems({}, recorded) == []
    assert answer_changes.migrated(recorded, answer_changes.CHANGES)[0] == recorded


CHANGES = {
    "renamed": (answer_changes.renamed("old", "new"), {"old": 1}, {"new": 1}),
    "renamed, and answered already": (answer_changes.renamed("old", "new"), {"old": 1, "new": 2}, {"new": 2}),
    "split": (
        answer_changes.split("address", {"host": lambda v: v.split(":")[0], "port": lambda v: int(v.split(":")[1])}),
        {"address": "a:1"},
        {"host": "a", "port": 1},
    ),
    "retyped": (answer_changes.changed("n", int, "a number now"), {"n": "3"}, {"n": 3}),
    "removed": (answer_changes.removed("gone", "not asked"), {"gone": 1, "stays": 2}, {"stays": 2}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_answer_follows_its_question_and_twice_is_once(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    change, recorded, expected = CHANGES[name]
    monkeypatch.setattr(answer_changes, "CHANGES", {"1.1.0": (change,)})
    once, said = answer_changes.migrated(recorded, ["1.1.0"])
    assert once == expected and said == [change.says]
    assert answer_changes.migrated(once, ["1.1.0"]) == (expected, [])


def test_only_what_is_newer_than_the_lab_is_done_oldest_first() -> None:
    sections = ["1.10.0", "unreleased", "1.2.0", "1.1.0"]
    assert renames.newer(sections, "1.1.0") == ["1.2.0", "1.10.0", "unreleased"]
    assert renames.newer(sections, "1.1.0.post3.dev0+abc") == ["1.2.0", "1.10.0", "unreleased"]
    assert renames.newer(sections, "2.0.0") == ["unreleased"]
