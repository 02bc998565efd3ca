"""Asking with questionary, as Copier does: arrows choose, an answer is edited in its line."""

from __future__ import annotations

import importlib
import os
import sys
import termios
from collections.abc import Sequence
from typing import Any

import questionary
from prompt_toolkit.document import Document
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.validation import ValidationError, Validator

from hooks.words import clean

from . import layout
from .asking import BACK, Judge, Prompt
from .plain import KEY_BACK

# A question's rows beside its help: the line above it, the answer's line, two of a message, and one of the keys.
AROUND = 6
LINE_ABOVE_GOES = "\x1b[A\x1b[2K"
BOLD, DIM, USUAL = "\x1b[1m", "\x1b[2m", "\x1b[0m"


class Screen(layout.Speaker):
    """Asks in a terminal that can move its cursor."""

    def __init__(self) -> None:
        # Why an answer is refused takes as many lines as it needs.
        importlib.import_module("extensions.wizard").show_whole_messages()
        self.colours = not os.environ.get("NO_COLOR")

    def show(self, lines: Sequence[str]) -> None:
        """Show many lines, a screen at a time."""
        room = layout.size().rows - 2
        rest = [clean(line) for line in lines]
        while len(rest) > room:
            print("\n".join(self._bold(line) if line.isupper() else line for line in rest[:room]))
            rest = rest[room:]
            self._next_screen()
        print("\n".join(self._bold(line) if line.isupper() else line for line in rest), flush=True)

    def ask(self, prompt: Prompt, judge: Judge) -> Any:
        """Ask until the answer is not refused."""
        if not prompt.name:
            # A key that was pressed to see more of the summary is no answer to what comes after it.
            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
        self._present(prompt)
        if not prompt.choices:
            return self._typed(prompt, judge)
        suggested = prompt.suggested
        while True:
            chosen = self._chosen(prompt, suggested)
            if chosen is BACK:
                return BACK
            value, message = judge(chosen)
            if message is None:
                return value
            self.say(f"Not accepted: {message}")
            suggested = chosen

    def _present(self, prompt: Prompt) -> None:
        size, columns = layout.size(), self.width()
        left = f"-- {prompt.label}" + (f" ({prompt.about})" if prompt.about else "") + " "
        where = f" {layout.address(prompt.name)}" if prompt.name else ""
        rule = f"{left}{'-' * max(2, columns - len(left) - len(where))}{where}"
        # Two lines if one is too narrow for the address.
        heads = [rule] if len(rule) <= columns else [layout.cut(left, columns), layout.cut(where.strip(), columns)]
        print("\n" + "\n".join(self._bold(head) for head in heads))
        room = size.rows - AROUND - len(heads) - len(prompt.choices)
        if prompt.help:
            print("\n".join(layout.explained(clean(prompt.help), columns, max(1, room), prompt.name)))
        keys = layout.KEYS["choices" if prompt.choices else "typed"]
        back = f", {KEY_BACK} goes back" if prompt.back else ""
        print(self._dim(layout.cut(f"{keys}{back}, Ctrl-C stops and keeps the answers", columns)), flush=True)

    def _typed(self, prompt: Prompt, judge: Judge) -> Any:
        bindings = KeyBindings()

        @bindings.add(KEY_BACK)
        def _(event: KeyPressEvent) -> None:
            # As the first key it goes back; within an answer it is a character like any other.
            if prompt.back and event.current_buffer.text in {"", prompt.suggested}:
                event.app.exit(result=BACK)
            else:
                event.current_buffer.insert_text(KEY_BACK)

        class Judged(Validator):
            def validate(self, document: Document) -> None:
                _, message = judge(document.text)
                if message is not None:
                    raise ValidationError(message=message, cursor_position=len(document.text))

        question = questionary.text(
            prompt.label,
            default=prompt.suggested,
            qmark="?",
            validate=Judged(),
            key_bindings=bindings,
            validate_while_typing=False,
        )
        typed = question.unsafe_ask()
        return BACK if typed is BACK else judge(typed)[0]

    def _chosen(self, prompt: Prompt, suggested: Any) -> Any:
        # A pointer and a space are before each title.
        room = self.width() - 4
        choices = [questionary.Choice(layout.cut(one.title, room), value=one.value) for one in prompt.choices]
        default = next(one for one in choices if one.value == suggested)
        question = questionary.select(prompt.label, choices, default=default, qmark="?", instruction=" ")
        bindings = question.application.key_bindings
        if prompt.back and isinstance(bindings, KeyBindings):
            bindings.add(KEY_BACK, eager=True)(lambda event: event.app.exit(result=BACK))
        return question.unsafe_ask()

    def _next_screen(self) -> None:
        questionary.press_any_key_to_continue("-- a key shows more --").unsafe_ask()
        # The line itself goes, so that the answers are one list in the terminal's memory.
        print(LINE_ABOVE_GOES, end="", flush=True)

    def _bold(self, text: str) -> str:
        return f"{BOLD}{text}{USUAL}" if self.colours else text

    def _dim(self, text: str) -> str:
        return f"{DIM}{text}{USUAL}" if self.colours else text
