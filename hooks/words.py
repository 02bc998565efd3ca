"""What an update says to the terminal: the words of others (a Git server, the lab's files) move no cursor there."""

from __future__ import annotations

import re
import sys

# As in the lab's own program, which is not here when an update runs (template/lab_program/console.py).
ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?|[ -/]*[0-~])"
    r"|\x9b[0-?]*[ -/]*[@-~]|\r(?=\n)"
    # Line ends that a terminal may know and this program does not, and what turns the direction of writing.
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)


def clean(text: str) -> str:
    """Return *text* without escape sequences and control characters, so that it may be shown."""
    return ESCAPES.sub("", text)


def say(text: object, end: str = "\n") -> None:
    """Write to standard error, where an update speaks."""
    print(clean(str(text)), end=end, file=sys.stderr)
