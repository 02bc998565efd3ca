"""Writes what owners and editors read of the questions: answers.example.yml, docs/answers.schema.json, docs/questions.md.

    python docs/tools/answers_example.py

All of it is in questions/; what is said of an answer is said there.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import yaml  # noqa: E402 - found with the line above

from extensions.pages import LEVEL  # noqa: E402
from extensions.walk import Entry  # noqa: E402
from hooks.front.layout import address  # noqa: E402
from hooks.front.template import Template, choices  # noqa: E402

EXAMPLE, SCHEMA, PAGE = ROOT / "answers.example.yml", ROOT / "docs/answers.schema.json", ROOT / "docs/questions.md"
# The folder whose name suggests the lab's.
FOLDER = "homelab"
# Pages by what they ask about; the others are named so that they need no words.
TITLES = {"sign_in": "sign-in", "aws": "AWS", "gitlab": "GitLab", "flux": "Flux"}
TYPES: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "bool": {"type": "boolean"},
    "yaml": {"type": "array", "items": {"type": "string"}},
}
HEAD = """\
# yaml-language-server: $schema=docs/answers.schema.json
#
# All answers of the wizard, for `make lab DEST=../my-lab ANSWERS=my-answers.yml` or `copier copy --data-file`.
# Copy this file and keep what you want to decide: an answer that is not in your file has its default.
# A line that begins with `#` and a name is such a default. It may follow from other answers.
# No secret belongs here: the lab's program asks for those.
# `make answers` writes this file from questions/.
"""


def value(answer: Any) -> str:
    """Return an answer as YAML, on one line."""
    text: str = yaml.safe_dump(answer, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()


def title(page: str) -> str:
    """Return what a person calls a page."""
    found = TITLES.get(page, page)
    return found[0].upper() + found[1:]


def condition(entry: Entry) -> str:
    """Return when a question applies, as its file says it; nothing if always."""
    when = str(entry.question.get("when", ""))
    return "" if "answers_are_sound" in when else when.removeprefix("{{").removesuffix("}}").strip()


class Questions:
    """All questions, with the answers of a lab that decides nothing."""

    def __init__(self) -> None:
        self.template = Template(FOLDER)
        self.entries = self.template.walk({})

    def help(self, entry: Entry) -> str:
        """Return a question's help."""
        return self.template.help(entry, self.entries).rstrip("\n")

    def example(self) -> str:
        """Return answers.example.yml."""
        parts, page = [HEAD], ""
        for entry in self.entries:
            if entry.page != page:
                page = entry.page
                parts.append(f"\n# {'-' * 10} {title(page)} {'-' * 10}\n")
            parts.append(self._commented(entry))
        return "".join(parts)

    def _commented(self, entry: Entry) -> str:
        lines = self.help(entry).split("\n")
        lines += [f"  {choice.value}: {choice.title}" for choice in choices(entry) if choice.title != choice.value]
        if condition(entry):
            lines.append(f"Only if {condition(entry)}.")
        # What quick asks is what a person has to decide; the rest is there to be looked at.
        decided = entry.applies and "ask" not in entry.question
        answer = f"{entry.name}: {value(entry.value)}"
        return (
            "\n" + "".join(f"## {line}".rstrip() + "\n" for line in lines) + ("" if decided else "# ") + answer + "\n"
        )

    def schema(self) -> str:
        """Return docs/answers.schema.json."""
        found = {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": "Answers of the wizard",
            "description": "`make answers` writes this file from questions/.",
            "type": "object",
            "additionalProperties": False,
            # Another lab's answers have those of Copier's own.
            "patternProperties": {"^_": {}},
            "properties": {entry.name: self._property(entry) for entry in self.entries},
        }
        return json.dumps(found, indent=2, ensure_ascii=False) + "\n"

    def _property(self, entry: Entry) -> dict[str, Any]:
        found = {"description": self.help(entry), **TYPES[entry.question["type"]]}
        if "choices" in entry.question:
            found["enum"] = [choice.value for choice in choices(entry)]
        if "{{" not in str(entry.question["default"]):
            found["default"] = entry.default
        return found

    def page(self) -> str:
        """Return docs/questions.md."""
        asked = [entry for entry in self.entries if "ask" not in entry.question]
        made = "Each question of the wizard, with its default. `make answers` writes this page from [questions/](../questions/)."
        levels = f"`{LEVEL}: quick` asks {len(asked) - 1} of them at most beside itself, `full` all that apply."
        parts = [f"# All questions\n\n{made}\n{levels}\n"]
        page = ""
        for entry in self.entries:
            if entry.page != page:
                page = entry.page
                parts.append(f"\n## The page {title(page)}\n")
            parts.append(self._section(entry))
        return "".join(parts)

    def _section(self, entry: Entry) -> str:
        rows = [
            (
                "default",
                f"`{value(entry.default)}`"
                + (", follows from other answers" if "{{" in str(entry.question["default"]) else ""),
            )
        ]
        rows += (
            [("choices", "<br>".join(f"`{one.value}`: {one.title}" for one in choices(entry)))]
            if "choices" in entry.question
            else []
        )
        rows += [("applies", f"if `{condition(entry)}`")] if condition(entry) else []
        rows += [("asked by", "quick and full")] if "ask" not in entry.question else []
        table = "".join(f"| {name} | {text.replace('|', chr(92) + '|')} |\n" for name, text in rows)
        said = re.sub(
            r"`[^`]*`|[<>*_]", lambda found: found[0] if found[0][0] == "`" else f"\\{found[0]}", self.help(entry)
        )
        anchor = address(entry.name).partition("#")[2]
        return f"\n### {anchor}\n\n{said}\n\n| | |\n| --- | --- |\n{table}"


def files() -> dict[Path, str]:
    """Return each file with its text."""
    questions = Questions()
    return {EXAMPLE: questions.example(), SCHEMA: questions.schema(), PAGE: questions.page()}


def main() -> None:
    """Write them."""
    for file, text in files().items():
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
