"""A question as lines that fit a terminal, and how lines are said there."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass

from extensions.pages import LEVEL
from extensions.summary import wrapped
from extensions.walk import Entry
from hooks.words import clean

# The address of a question's part of that page ends in its name.
PAGE = "docs/questions.md"
KEYS = {"choices": "arrows and Enter choose", "typed": "Enter answers"}


@dataclass(frozen=True)
class Size:
    """A terminal's size."""

    columns: int = 80
    rows: int = 24


def size() -> Size:
    """Return the terminal's size; 80 by 24 if it does not tell."""
    try:
        found = os.get_terminal_size(sys.stdout.fileno())
    except (OSError, ValueError):
        found = os.terminal_size((0, 0))
    if 0 in found:
        # COLUMNS and LINES come second: a shell's may be those of another terminal.
        found = shutil.get_terminal_size()
    return Size(max(20, min(found.columns, 100)), max(8, found.lines))


class Speaker:
    """Says lines on standard output; how many lines are shown, and how it asks, is up to the class that inherits."""

    def width(self) -> int:
        """Return how many columns a line may have."""
        return size().columns

    def say(self, text: str) -> None:
        """Show lines, wrapped."""
        for line in text.split("\n"):
            print("\n".join(wrapped(clean(line), self.width())))
        sys.stdout.flush()


def address(name: str) -> str:
    """Return where a question is explained."""
    return f"{PAGE}#{name}"


def position(entry: Entry, entries: list[Entry]) -> str:
    """Return which question this is, of how many as things are."""
    asked = [one.name for one in entries if one.asked]
    if entry.name not in asked:
        return "not asked by itself"
    if entry.name == LEVEL:
        return "the first question"
    return f"{asked.index(entry.name) + 1} of {len(asked)}"


def explained(text: str, columns: int, rows: int, name: str) -> list[str]:
    """Return a help's lines, no more than *rows* of them; what is cut is at the address in the last one."""
    found = [part for line in text.rstrip("\n").split("\n") for part in wrapped(line, columns) or [""]]
    if len(found) <= rows:
        return found
    rest = wrapped(f"... more in {address(name)}", columns)
    return [*found[: max(0, rows - len(rest))], *rest]


def cut(text: str, columns: int) -> str:
    """Return a text of one line, cut at the terminal's edge."""
    return text if len(text) <= columns else f"{text[: max(0, columns - 3)]}..."
