"""Documents in Markdown: their headings, and the links in them."""

from __future__ import annotations

import re
from pathlib import Path


def headings(text: str) -> set[str]:
    """Return the anchors that GitLab and GitHub make of a document's headings."""
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", outside, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(document: Path, text: str) -> list[str]:
    """Return the links of a document into the project that lead nowhere: to no file, or to no heading."""
    found = []
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", text):
        if ":" in target:
            continue
        file = (document.parent / target) if target else document
        there = file.exists() and (
            not anchor or anchor in headings(text if file == document else file.read_text(encoding="utf-8"))
        )
        if not there:
            found.append(f"{document.name}: {target}{'#' if anchor else ''}{anchor}")
    return found
