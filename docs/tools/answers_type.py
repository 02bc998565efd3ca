"""Writes extensions/answers.py: the answers by question, each with its type, for mypy and for editors.

python docs/tools/answers_type.py
"""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "extensions/answers.py"
TYPES = {"str": "str", "int": "int", "bool": "bool", "yaml": "list[str]"}
HEAD = '''"""The answers by question, with their types: docs/tools/answers_type.py writes this file from questions/.

A rule sees the answers of the questions before its own, so any of them may be missing.
"""

from __future__ import annotations

from typing import TypedDict


class Answers(TypedDict, total=False):
    """What the owner has answered."""

'''


def pages() -> list[Path]:
    """Return the wizard's pages in the order in which copier.yml includes them."""
    lines = (ROOT / "copier.yml").read_text(encoding="utf-8").splitlines()
    return [ROOT / line.removeprefix("!include ") for line in lines if line.startswith("!include ")]


def written() -> str:
    """Return the file's text."""
    questions = [
        (name, question["type"])
        for page in pages()
        for name, question in yaml.safe_load(page.read_text(encoding="utf-8")).items()
    ]
    return HEAD + "".join(f"    {name}: {TYPES[kind]}\n" for name, kind in questions)


if __name__ == "__main__":
    TARGET.write_text(written(), encoding="utf-8")
