"""Asking with plain lines: no cursor is moved, nothing is coloured or drawn again, and choices are numbered.

A screen reader reads it in order; a terminal that can do nothing else shows it.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Sequence
from typing import Any

from hooks.words import clean

from . import layout
from .asking import BACK, Judge, Prompt

KEY_BACK = "<"
EMPTY = "''"


class Plain(layout.Speaker):
    """Speaks to standard output, listens to standard input."""

    def show(self, lines: Sequence[str]) -> None:
        """Show many lines. A reader may stop and go back in them, so nothing waits in between."""
        print("\n".join(clean(line) for line in lines), flush=True)

    def ask(self, prompt: Prompt, judge: Judge) -> Any:
        """Ask, and ask again after saying why an answer is refused."""
        self._present(prompt)
        while True:
            typed = self._line(prompt, empty=judge("")[1] is None)
            if typed == KEY_BACK:
                if prompt.back:
                    return BACK
                self.say("This is the first question.")
                continue
            answer, unclear = _meant(prompt, typed)
            value, message = (None, unclear) if unclear else judge(answer)
            if message is None:
                return value
            self.say(f"Not accepted: {message}")

    def _present(self, prompt: Prompt) -> None:
        place = f", {prompt.about}" if prompt.about else ""
        self.say(f"\nQuestion: {prompt.label}{place}.")
        if prompt.name:
            self.say(f"Page: {layout.address(prompt.name)}")
        if prompt.help:
            self.say(prompt.help.rstrip("\n"))
        for number, choice in enumerate(prompt.choices, 1):
            self.say(
                f"{number}. {choice.title}"
                + (f" ({choice.value})" if prompt.name and choice.title != choice.value else "")
            )

    def _line(self, prompt: Prompt, *, empty: bool) -> str:
        if prompt.choices:
            number = next(n for n, choice in enumerate(prompt.choices, 1) if choice.value == prompt.suggested)
            self.say(f"A number; Enter for {number}, {prompt.choices[number - 1].title}.")
        elif prompt.suggested == "" and empty:
            self.say("Enter leaves it empty.")
        elif prompt.suggested:
            self.say(f"Enter for {prompt.suggested}{f'; {EMPTY} for nothing' if empty else ''}.")
        print(f"{prompt.label}: ", end="", flush=True)
        _wait_for_a_line()
        line = sys.stdin.readline()
        if not line:  # Ctrl-D
            raise KeyboardInterrupt
        return clean(line).strip()


def _wait_for_a_line() -> None:
    """Wait until there is a line to read.

    Python notices a signal between two of its steps. A Ctrl-C after the last step before a read, but before the read
    itself, would be noticed only after the next line; so the signal also ends this wait.
    https://docs.python.org/3/library/signal.html#signal.set_wakeup_fd

    Raises:
        KeyboardInterrupt: the owner pressed Ctrl-C.
    """
    heard, bell = os.pipe()
    os.set_blocking(bell, False)
    before = signal.set_wakeup_fd(bell)
    try:
        while sys.stdin not in select.select([sys.stdin, heard], [], [])[0]:
            os.read(heard, 64)
    finally:
        signal.set_wakeup_fd(before)
        os.close(heard)
        os.close(bell)


def _meant(prompt: Prompt, typed: str) -> tuple[Any, str | None]:
    """Return the answer that a line means, and what is unclear about it."""
    if typed == "":
        return prompt.suggested, None
    if not prompt.choices:
        return "" if typed == EMPTY else typed, None
    if typed.isdecimal() and 1 <= int(typed) <= len(prompt.choices):
        return prompt.choices[int(typed) - 1].value, None
    for choice in prompt.choices:
        if typed.lower() in {str(choice.title).lower(), str(choice.value).lower()}:
            return choice.value, None
    return None, f"`{typed}` is not a choice; give a number from 1 to {len(prompt.choices)}"
