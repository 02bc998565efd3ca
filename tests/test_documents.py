"""What README.md, CONTRIBUTING.md and docs/ name is there: files, headings, commands, packages, folders."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.documents import broken_links
from tests.support.questions import QUESTIONS
from tests.support.rendering import DOCUMENTS, ROOT, project_files

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
DECISIONS = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))


def test_every_link_into_the_project_leads_somewhere() -> None:
    texts = {document: document.read_text(encoding="utf-8") for document in DOCUMENTS}
    assert sum(text.count("](") for text in texts.values()) > 60
    assert [link for document, text in texts.items() for link in broken_links(document, text)] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[a](docs/nowhere.md)", ["README.md: docs/nowhere.md"]),
        ("# One\n[a](#one) [b](#two)", ["README.md: #two"]),
        ("[a](CONTRIBUTING.md#run-tests) [b](CONTRIBUTING.md#run-away)", ["README.md: CONTRIBUTING.md#run-away"]),
        ("[a](https://example.com/nowhere#x)", []),
    ],
)
def test_a_link_that_leads_nowhere_would_be_noticed(text: str, found: list[str]) -> None:
    assert broken_links(ROOT / "README.md", text) == found


def test_every_command_of_make_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        name
        for document in DOCUMENTS
        for name in re.findall(r"(?:^|`)make ([a-z-]+)", document.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert named <= targets and {"lab", "test", "bench", "example", "release"} <= named


def test_contributing_says_of_every_package_that_is_installed_by_name_why() -> None:
    lines = [
        line
        for file in ("run.in", "test.in")
        for line in (ROOT / "requirements" / file).read_text(encoding="utf-8").splitlines()
    ]
    packages = [re.split(r"[ >=<;\[]", line)[0] for line in lines if line and line[0] not in "#-"]
    programs = json.loads((ROOT / "requirements/package.json").read_text(encoding="utf-8"))
    for package in [*packages, *programs["dependencies"], *programs["optionalDependencies"]]:
        assert re.search(rf"^\|.*{re.escape(package)}.* \|", CONTRIBUTING, re.MULTILINE), package


def test_the_steps_by_hand_add_up_and_the_decisions_are_what_quick_asks() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.split("## What is left to do by hand\n")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| ")
    ][1:]
    *steps, totals, decisions = [row for row in rows if set(row[0]) != {"-"}]
    for column in (1, 2, 3):
        found = [int(match[0]) for row in steps if (match := re.match(r"\d+", row[column]))]
        assert f"**{sum(found)}**" in totals[column], (column, found)
    asked = [name for name, question in QUESTIONS.items() if "ask" not in question and name != "setup_level"]
    # nfs_server is asked with a storage server alone.
    assert decisions[1].startswith(f"**{len(asked) - 1}**") and "nfs_server" in asked


def test_the_page_on_the_architecture_names_every_folder() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    folders = {name.split("/")[0] for name in project_files() if "/" in name}
    assert {
        folder for folder in folders if f"({folder}/" not in page.replace("](../", "](") and f"`{folder}/`" not in page
    } == set()


def test_the_page_on_the_architecture_names_every_folder_of_tests() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    folders = {str(Path(name).parent) for name in project_files() if re.fullmatch(r"tests/\w+/test_\w+\.py", name)}
    assert len(folders) > 5
    assert {folder for folder in folders if f"`{folder}/`" not in page} == set()


@pytest.mark.parametrize("record", DECISIONS, ids=lambda file: file.stem)
def test_a_decision_says_what_why_and_what_was_refused_and_is_listed(record: Path) -> None:
    lines = record.read_text(encoding="utf-8").splitlines()
    number, title = int(record.stem[:4]), lines[0].split(". ", 1)[1]
    assert lines[0] == f"# {number}. {title}" and number == DECISIONS.index(record) + 1
    for section in ("", "## Why", "## Refused"):
        text = lines[lines.index(section) + 1 :]
        assert next(line for line in text if line).strip("- "), f"nothing below {section or 'the title'}"
    assert f"| {number} | [{title}]({record.name}) |" in (record.parent / "README.md").read_text(encoding="utf-8")
    assert len(lines) <= 30
