"""Three releases as real Git history, and labs of each, edited by their owners and updated to the newest by Copier's command."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.support.rendering import recorded_answers
from tests.update.support.histories import (
    REPORT,
    commit,
    edit,
    files,
    git,
    make_lab,
    packed,
    put,
    real_template,
    release,
    update,
)

ROWS = [f"row {number}\n" for number in range(1, 21)]
FIRST: dict[str, bytes | str] = {
    "extra/renamed.yaml": "".join(ROWS),
    "extra/tools/run.sh": "#!/bin/sh\necho one\necho two\necho three\n",
    "extra/tools/help.txt": "help\n",
    "extra/rules.yaml": "".join(ROWS),
    "extra/dropped.txt": "once\n",
    "extra/unedited.txt": "once\n",
    "extra/picture.png": b"\x89PNG\0first",
    "extra/answers.txt.jinja": "{{ nickname }} {{ motto }} {{ colour }} {{ tags }}\n",
    "clusters/{{ cluster_name }}/extra.yaml": "".join(ROWS),
}
QUESTIONS_1 = """
nickname: {type: str, default: bob, help: "A name. Example: bob."}
motto: {type: str, default: safe, help: "A motto. Example: safe.", validator: "{{ refusal('motto') }}"}
colour: {type: str, default: red, help: "A colour. Example: red."}
tags: {type: str, default: "a,b", help: "Tags. Example: a,b."}
"""
RULES_1 = '\nRULES["motto"] = lambda value, answers: None\n'


def second(template: Path) -> None:
    """1.1.0: a rename, a moved folder, a removed file, a renamed question, a changed default."""
    lab = template / "template"
    git(template, "mv", "template/extra/renamed.yaml", "template/extra/network.yaml")
    edit(lab / "extra" / "network.yaml", lambda text: text.replace("row 20\n", "row 20, newer\n"))
    git(template, "mv", "template/extra/tools", "template/tools")
    edit(lab / "tools" / "run.sh", lambda text: text.replace("three", "three and four"))
    (lab / "tools" / "run.sh").chmod(0o755)
    (lab / "extra" / "dropped.txt").unlink()
    (lab / "extra" / "unedited.txt").unlink()
    (lab / "extra" / "picture.png").write_bytes(b"\x89PNG\0second")
    edit(
        template / "questions" / "extras.yml",
        lambda text: text.replace("nickname:", "display_name:").replace("default: red", "default: blue"),
    )
    edit(lab / "extra" / "answers.txt.jinja", lambda text: text.replace("nickname", "display_name"))
    table = {
        "moved": {"extra/renamed.yaml": "extra/network.yaml", "extra/tools/": "tools/"},
        "removed": {"extra/dropped.txt": "Flux does this by itself now.", "extra/unedited.txt": "Nobody needs it."},
    }
    (template / "hooks" / "renames.yml").write_text(json.dumps({"1.1.0": table}))
    changes(template, '"1.1.0": (renamed("nickname", "display_name"),)')
    release(template, "1.1.0")


def third(template: Path) -> None:
    """1.2.0: a split file, a file in a folder named after an answer, a tightened validator, another type, a new question."""
    lab = template / "template"
    (lab / "extra" / "rules.yaml").unlink()
    put(
        lab,
        {
            "extra/rules/first.yaml": "# The first half.\n" + "".join(ROWS[:10]),
            "extra/rules/second.yaml": "".join(ROWS[10:]),
        },
    )
    edit(
        lab / "clusters" / "{{ cluster_name }}" / "extra.yaml", lambda text: text.replace("row 10\n", "row 10, newer\n")
    )
    edit(
        template / "questions" / "extras.yml",
        lambda text: (
            text.replace('tags: {type: str, default: "a,b"', 'tags: {type: yaml, default: "[a, b]"') + QUESTION_3
        ),
    )
    edit(template / "extensions" / "rules.py", lambda text: text + RULES_3)
    table = json.loads((template / "hooks" / "renames.yml").read_text())
    table["1.2.0"] = {"split": {"extra/rules.yaml": ["extra/rules/first.yaml", "extra/rules/second.yaml"]}}
    (template / "hooks" / "renames.yml").write_text(json.dumps(table))
    changes(
        template,
        '"1.1.0": (renamed("nickname", "display_name"),),\n'
        '    "1.2.0": (changed("tags", lambda value: value.split(",") if isinstance(value, str) else value, "`tags` is a list now"),)',
    )
    release(template, "1.2.0")


QUESTION_3 = 'pace: {type: int, default: 3, help: "A pace. Example: 3."}\n'
RULES_3 = 'RULES["motto"] = lambda value, answers: f"`{value}` is too long; ten letters at most" if len(value) > 10 else None\n'


def changes(template: Path, entries: str) -> None:
    file = template / "hooks" / "answer_changes.py"
    head = file.read_text(encoding="utf-8")
    start = head.index("\nCHANGES")
    file.write_text(
        head[:start] + f"\nCHANGES = {{\n    {entries},\n}}\n" + head[head.index("\n\n\ndef migrated") :],
        encoding="utf-8",
    )


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return this project's template with three releases."""
    folder = real_template(tmp_path_factory.mktemp("released") / "a template")
    put(folder / "template", FIRST)
    edit(folder / "questions" / "extras.yml", lambda text: text + QUESTIONS_1)
    edit(folder / "extensions" / "rules.py", lambda text: text + RULES_1)
    release(folder, "1.0.0")
    second(folder)
    third(folder)
    return packed(folder)


@dataclass
class Updated:
    """A lab after its update."""

    lab: Path
    before: str
    done: CompletedProcess[str]
    report: str
    answers: dict[str, Any]


def edit_the_lab(lab: Path, version: str) -> None:
    """Edit what the later releases change."""
    renamed = "extra/renamed.yaml" if version == "1.0.0" else "extra/network.yaml"
    tools = "extra/tools" if version == "1.0.0" else "tools"
    edit(lab / renamed, lambda text: text.replace("row 2\n", "row 2, mine\n"))
    edit(lab / tools / "run.sh", lambda text: text.replace("one", "one, mine"))
    put(lab, {f"{tools}/mine.sh": "mine\n", "notes/mine.md": "mine\n", "runner/.env": "TOKEN=secret\n"})
    edit(
        lab / "extra" / "rules.yaml",
        lambda text: text.replace("row 5\n", "row 5, mine\n").replace("row 15\n", "row 15, mine\n"),
    )
    edit(lab / "clusters" / "garage" / "extra.yaml", lambda text: text + "row 21, mine\n")
    (lab / "extra" / "picture.png").write_bytes(b"\x89PNG\0mine")
    if version == "1.0.0":
        edit(lab / "extra" / "dropped.txt", lambda text: text + "mine\n")
    edit(lab / "ssh_config", lambda text: "# Mine.\n" + text)
    (lab / ".editorconfig").unlink()


def updated(template: Path, folder: Path, version: str) -> Updated:
    data = {"cluster_name": "garage", "lab_name": "house", "motto": "short"}
    if version == "1.0.0":
        data |= {"nickname": "alice", "tags": "x,y"}
    lab = make_lab(template, folder / "My lab", data, f"v{version}")
    edit_the_lab(lab, version)
    before = commit(lab, "Mine")
    done = update(lab)
    return Updated(lab, before, done, (lab / REPORT).read_text(encoding="utf-8"), recorded_answers(lab))


@pytest.fixture(scope="module")
def from_first(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Updated:
    return updated(template, tmp_path_factory.mktemp("first"), "1.0.0")


@pytest.fixture(scope="module")
def from_second(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Updated:
    return updated(template, tmp_path_factory.mktemp("second"), "1.1.0")


@pytest.fixture(params=["from_first", "from_second"])
def any_updated(request: pytest.FixtureRequest) -> Updated:
    return request.getfixturevalue(request.param)


@pytest.mark.slow
def test_the_update_ends_well_and_says_from_where_to_where(from_first: Updated, from_second: Updated) -> None:
    for found, version in ((from_first, "1.0.0"), (from_second, "1.1.0")):
        assert found.done.returncode == 0, found.done.stderr
        assert found.report.startswith(f"# The lab, from {version} to 1.2.0\n")
        assert found.report.strip() in found.done.stderr


@pytest.mark.slow
def test_edits_of_a_renamed_file_go_along(any_updated: Updated) -> None:
    lab = any_updated.lab
    assert not (lab / "extra" / "renamed.yaml").exists()
    text = (lab / "extra" / "network.yaml").read_text()
    assert "row 2, mine\n" in text and "row 20, newer\n" in text


@pytest.mark.deep
def test_a_moved_folder_takes_edits_modes_and_the_owners_own_files_along(any_updated: Updated) -> None:
    lab = any_updated.lab
    text = (lab / "tools" / "run.sh").read_text()
    assert "one, mine" in text and "three and four" in text
    assert (lab / "tools" / "run.sh").stat().st_mode & 0o100
    assert (lab / "tools" / "mine.sh").read_text() == "mine\n"
    assert not (lab / "extra" / "tools").exists()


@pytest.mark.deep
def test_edits_of_a_split_file_find_their_half(any_updated: Updated) -> None:
    rules = any_updated.lab / "extra" / "rules"
    assert (
        "row 5, mine\n" in (rules / "first.yaml").read_text()
        and "# The first half.\n" in (rules / "first.yaml").read_text()
    )
    assert "row 15, mine\n" in (rules / "second.yaml").read_text()
    assert not (any_updated.lab / "extra" / "rules.yaml").exists()


@pytest.mark.slow
def test_a_file_in_a_folder_named_after_an_answer_is_merged(any_updated: Updated) -> None:
    text = (any_updated.lab / "clusters" / "garage" / "extra.yaml").read_text()
    assert "row 10, newer\n" in text and "row 21, mine\n" in text


@pytest.mark.slow
def test_a_dropped_file_stays_where_the_owner_edited_it_and_the_report_says_why(from_first: Updated) -> None:
    assert (from_first.lab / "extra" / "dropped.txt").read_text() == "once\nmine\n"
    assert "`extra/dropped.txt`: Flux does this by itself now. You had edited it" in from_first.report
    assert not (from_first.lab / "extra" / "unedited.txt").exists()
    assert "- removed: `extra/unedited.txt`: Nobody needs it." in from_first.report


@pytest.mark.slow
def test_a_changed_binary_stays_the_owners_and_the_templates_can_be_had(from_first: Updated) -> None:
    assert (from_first.lab / "extra" / "picture.png").read_bytes() == b"\x89PNG\0mine"
    line = next(line for line in from_first.report.splitlines() if line.startswith("- `extra/picture.png`"))
    command = line.split("new version: `")[1].split("`")[0]
    assert (
        subprocess.run(command.split(), cwd=from_first.lab, capture_output=True, check=True).stdout
        == b"\x89PNG\0second"
    )


@pytest.mark.slow(each_commit=True)
def test_what_was_deleted_stays_away_and_what_is_the_owners_stays(any_updated: Updated) -> None:
    assert not (any_updated.lab / ".editorconfig").exists()
    assert (any_updated.lab / "notes" / "mine.md").read_text() == "mine\n"
    assert (any_updated.lab / "runner" / ".env").read_text() == "TOKEN=secret\n"
    assert (any_updated.lab / "ssh_config").read_text(encoding="utf-8").startswith("# Mine.\n")


@pytest.mark.slow
def test_answers_are_migrated_and_the_report_lists_what_is_new(from_first: Updated, from_second: Updated) -> None:
    answers = from_first.answers
    assert answers["display_name"] == "alice" and answers["tags"] == ["x", "y"] and "nickname" not in answers
    assert (from_first.lab / "extra" / "answers.txt").read_text() == "alice short red ['x', 'y']\n"
    assert "- `nickname` is called `display_name` now.\n" in from_first.report
    assert "- new: `pace: 3`\n" in from_first.report
    assert from_second.answers["tags"] == ["a", "b"] and from_second.answers["colour"] == "blue"


@pytest.mark.slow
def test_a_changed_default_changes_no_lab(from_first: Updated) -> None:
    assert from_first.answers["colour"] == "red"


@pytest.mark.slow(each_commit=True)
def test_nothing_is_committed_and_nothing_is_left_behind(any_updated: Updated) -> None:
    assert git(any_updated.lab, "rev-parse", "HEAD").strip() == any_updated.before
    assert REPORT not in git(any_updated.lab, "status", "--porcelain")
    assert not list(any_updated.lab.rglob("*.rej"))


@pytest.mark.slow
def test_a_second_update_changes_nothing_and_a_revert_gives_back_the_lab(from_second: Updated, tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    shutil.copytree(from_second.lab, lab)
    commit(lab, "The update")
    tree, first = git(lab, "rev-parse", "HEAD^{tree}"), files(lab)
    again = update(lab)
    assert again.returncode == 0, again.stderr
    assert files(lab) == first and git(lab, "status", "--porcelain") == ""
    assert "# The lab, still at 1.2.0\n\nNo file changed." in (lab / REPORT).read_text()
    assert git(lab, "rev-parse", "HEAD^{tree}") == tree
    git(lab, "revert", "--no-edit", "HEAD")
    assert git(lab, "rev-parse", "HEAD^{tree}") == git(lab, "rev-parse", f"{from_second.before}^{{tree}}")


@pytest.mark.deep
def test_a_recorded_answer_that_is_refused_today_stops_the_update_with_its_name(template: Path, tmp_path: Path) -> None:
    lab = make_lab(template, tmp_path / "lab", {"motto": "much longer than ten"}, "v1.0.0")
    edit(lab / "extra" / "renamed.yaml", lambda text: "mine\n" + text)
    commit(lab)
    before = files(lab)
    done = update(lab)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "motto: the recorded answer is refused today: `much longer than ten` is too long" in done.stderr
    assert "Give another with `--data motto=…`" in done.stderr
    assert files(lab) == before and git(lab, "status", "--porcelain") == ""
    assert update(lab, "--data", "motto=brief").returncode == 0
    assert recorded_answers(lab)["motto"] == "brief"


@pytest.mark.deep
def test_the_report_tells_what_happens_in_the_cluster(template: Path, tmp_path: Path) -> None:
    lab = make_lab(template, tmp_path / "lab", {}, "v1.2.0")
    done = update(lab, "--data", "smtp_enabled=true", "--data", "runner_concurrent=7")
    assert done.returncode == 0, done.stderr
    report = (lab / REPORT).read_text()
    assert report.startswith("# The lab, still at 1.2.0\n")
    assert "- Pushing this restarts GitLab. Expect about 5 minutes of downtime. (`apps/gitlab/gitlab.rb`" in report
    assert (
        "`./lab up --only runner`: it makes the runners that the file names in GitLab, and restarts the runner."
        in report
    )
    assert "- changed: `runner_concurrent: 2` is `7` now" in report and "- new: `smtp_host: " in report
