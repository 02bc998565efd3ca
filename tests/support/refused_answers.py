"""The tables of tests/answers/invalid/: answers that the wizard refuses, a file a question, read once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from extensions.facts import DEFAULT_GITLAB_VERSION

from .rendering import ROOT

TABLES = ROOT / "tests" / "answers" / "invalid"


@dataclass(frozen=True)
class Refused:
    """One row: the answers, why they are refused, the whole message, and what is right instead of the answers that are wrong."""

    question: str
    reason: str
    answers: dict[str, Any]
    message: str
    neighbour: dict[str, Any]

    @property
    def name(self) -> str:
        """What pytest calls the row: `-k https_port` finds all of a question."""
        return f"{self.question}: {self.reason}"

    @property
    def put_right(self) -> dict[str, Any]:
        """The row's answers with those of its neighbour."""
        return self.answers | self.neighbour


def _rows() -> list[Refused]:
    found = []
    for table in sorted(TABLES.glob("*.yml")):
        for row in yaml.safe_load(table.read_text(encoding="utf-8")):
            # A new lab's version of GitLab changes with each release, and messages name it.
            row["message"] = row["message"].replace("{newest GitLab}", DEFAULT_GITLAB_VERSION)
            found.append(Refused(table.stem, **row))
    return found


REFUSED = _rows()
