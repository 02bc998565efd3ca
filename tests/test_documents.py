"""What README.md and docs/ name is there: files, commands, packages."""

from __future__ import annotations

import json
import re

from support.questions import QUESTIONS
from support.rendering import ROOT, project_files

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_link_into_the_project_leads_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
            assert ":" in target or (document.parent / target).exists(), f"{document.name}: {target}"


def test_every_command_of_make_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    named = {name for document in DOCUMENTS for name in re.findall(r"(?:^|`)make ([a-z-]+)", document.read_text(encoding="utf-8"), re.M)}
    assert named <= targets and {"lab", "test", "bench", "example", "release"} <= named


def test_the_readme_says_of_every_package_that_is_installed_by_name_why() -> None:
    lines = [line for file in ("run.in", "test.in") for line in (ROOT / "requirements" / file).read_text(encoding="utf-8").splitlines()]
    packages = [re.split(r"[ >=<;\[]", line)[0] for line in lines if line and line[0] not in "#-"]
    programs = json.loads((ROOT / "requirements/package.json").read_text(encoding="utf-8"))
    for package in [*packages, *programs["dependencies"], *programs["optionalDependencies"]]:
        assert re.search(rf"^\|.*{re.escape(package)}.* \|", README, re.M), package


def test_the_readme_names_every_folder() -> None:
    folders = {name.split("/")[0] for name in project_files() if "/" in name} - {".ci", "requirements"}
    assert {folder for folder in folders if f"({folder}/" not in README} == set()


def test_the_steps_by_hand_add_up_and_the_decisions_are_what_quick_asks() -> None:
    table = README.split("## What is left to do by hand\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| ")][1:]
    *steps, totals, decisions = [row for row in rows if set(row[0]) != {"-"}]
    for column in (1, 2, 3):
        found = [int(match[0]) for row in steps if (match := re.match(r"\d+", row[column]))]
        assert f"**{sum(found)}**" in totals[column], (column, found)
    asked = [name for name, question in QUESTIONS.items() if "ask" not in question and name != "setup_level"]
    # nfs_server is asked with a storage server alone.
    assert decisions[1].startswith(f"**{len(asked) - 1}**") and "nfs_server" in asked
