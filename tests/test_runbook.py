"""A lab's README is a runbook: a table of contents, a heading for each task, and links that lead somewhere."""

from __future__ import annotations

import re

from tests.support.cluster import Lab
from tests.support.documents import broken_links, headings


def test_every_link_of_the_runbook_leads_somewhere(lab: Lab) -> None:
    readme = lab.path / "README.md"
    assert broken_links(readme, readme.read_text(encoding="utf-8")) == []


def test_the_table_of_contents_has_every_section_in_their_order(lab: Lab) -> None:
    text = (lab.path / "README.md").read_text(encoding="utf-8")
    contents = re.findall(r"^- .*?\[[^]]+\]\(#([^)]+)\)", text.partition("\n## ")[0], re.MULTILINE)
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert contents == [anchor for section in sections for anchor in headings(f"## {section}")]


def test_a_task_has_a_heading_and_never_begins_with_a_bold_sentence(lab: Lab) -> None:
    text = (lab.path / "README.md").read_text(encoding="utf-8")
    tasks = text.partition("\n## What to do when\n")[2].partition("\n## ")[0]
    assert len(re.findall(r"^### ", tasks, re.MULTILINE)) >= 9
    assert re.findall(r"^\*\*.*", tasks, re.MULTILINE) == []
    for task in re.split(r"^### ", tasks, flags=re.MULTILINE)[1:]:
        title, _, body = task.partition("\n")
        assert "`" in body, f"{title}: no command, file or answer to act on"
