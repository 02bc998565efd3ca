"""What the owner is told: files, answers, how to go on and how to go back. tests/update/test_effects.py has the cluster."""

from __future__ import annotations

import pytest

from hooks import lab_chart
from hooks.update import report
from hooks.update.findings import Findings


def said(*parts: report.Part, **found: object) -> str:
    values = {"version_from": "1.0.0", "version_to": "1.1.0", "commit": "0" * 40, **found}
    return report.text(Findings(**values), parts)  # type: ignore[arg-type]


def test_answers_are_told_with_their_values() -> None:
    text = said(
        answers_before={"_commit": "1", "a": 1, "b": "x", "c": [1]},
        answers_after={"_commit": "2", "a": 2, "b": "x", "d": "neu"},
    )
    assert "- new: `d: neu`\n- changed: `a: 1` is `2` now\n- not asked any more: `c`, which was `[1]`\n" in text
    assert "_commit" not in text


@pytest.mark.parametrize(
    ("leader", "old", "new", "name", "value", "moved"),
    [
        ("base_domain", "lab", "home.example.org", "gitlab_host", "git.lab", "git.home.example.org"),
        ("runner_user", "me", "runner", "runner_home", "/home/me/it", "/home/runner/it"),
    ],
)
def test_answers_that_did_not_follow_are_told_with_the_command_that_moves_them(
    leader: str, old: str, new: str, name: str, value: str, moved: str
) -> None:
    before = {leader: old, name: value}
    text = said(answers_before=before, answers_after={**before, leader: new})
    part = text.split("## Answers that did not follow\n\n")[1].split("\n\n")[0]
    assert (
        part.startswith(f"- `{name}: {value}` is as it was; it would be `{moved}`")
        and f"`./lab update --data {name}={moved}`" in part
    )
    assert "did not follow" not in said(answers_before=before, answers_after=before)


def test_an_update_without_a_change_says_so() -> None:
    assert said(version_to="1.0.0").startswith("# The lab, still at 1.0.0\n\nNo file changed.\n")


def test_a_part_that_cannot_be_made_is_missing_and_says_so() -> None:
    def fails() -> list[str]:
        raise KeyError("spec")

    text = said(("In the cluster", fails), ("The chart", lambda: ["1 → 2"]), changed=["a.txt"])
    assert "## In the cluster\n\n- This part of the report could not be made (KeyError: 'spec'). The update" in text
    assert "## The chart\n\n- 1 → 2\n" in text and "- changed: `a.txt`" in text


def test_with_conflicts_open_nobody_is_told_to_commit_them() -> None:
    text = said(conflicts={"a.txt": [(1, 5)]}, changed=["a.txt"])
    assert "Nothing is committed. First resolve the conflicts above; then `git add --all . && git commit`." in text
    assert "To take it" not in text


def test_what_git_ignores_is_told_with_its_rule() -> None:
    text = said(
        added=["extra/new.yaml"],
        ignored={"extra/new.yaml": "`extra/` (line 3 of `.gitignore`) keeps it out of every commit."},
    )
    assert (
        "## In no commit\n\n- `extra/new.yaml`: `extra/` (line 3 of `.gitignore`) keeps it out of every commit." in text
    )


def test_the_undo_spares_what_the_owner_saved_and_every_file_that_is_not_the_updates() -> None:
    found = Findings("1.0.0", "1.1.0", "0" * 40, added=["new one.txt"], changed=["a.txt"], saved={"b's.txt": "1" * 40})
    assert report.undo(found) == (
        "git restore --no-recurse-submodules --source=HEAD --staged --worktree -- . ':(exclude,literal)b'\"'\"'s.txt'"
        " && rm -f -- 'new one.txt'"
    )


@pytest.mark.parametrize(
    ("text", "version"), [("version: 1.4.0\n", "1.4.0"), ('name: a\nversion: "2.0.0"\n', "2.0.0"), ("", "unknown")]
)
def test_a_charts_version_is_read(text: str, version: str) -> None:
    assert lab_chart.version(text) == version
