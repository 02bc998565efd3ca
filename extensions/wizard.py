"""The line under a prompt of the wizard, whole: the terminal library cuts a message where the terminal ends."""

from __future__ import annotations

import importlib
import re

from prompt_toolkit.application.current import get_app
from prompt_toolkit.filters import has_validation_error
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.layout.containers import ConditionalContainer, Window
from prompt_toolkit.layout.controls import FormattedTextControl
from prompt_toolkit.widgets import ValidationToolbar

from . import rules


class WholeMessage(ValidationToolbar):
    """Shows why an answer is refused on as many lines as it takes, without Copier's words before it."""

    def __init__(self, show_position: bool = False) -> None:
        super().__init__(show_position)
        self.control = FormattedTextControl(_message)
        self.container = ConditionalContainer(
            Window(self.control, wrap_lines=True, dont_extend_height=True), filter=has_validation_error
        )


def message(said: str, typed: str) -> str:
    """Return what to show for what Copier says of an answer: nobody needs its preface, and a number or list that it cannot
    read is only `Invalid input` to it."""
    if said == "Invalid input":
        return rules.one_line(f"`{typed}` has another form than what is asked for; write it like the example above")
    return re.sub(r"^Validation error for question '\w+': ", "", said)


def _message() -> StyleAndTextTuples:
    buffer = get_app().current_buffer
    error = buffer.validation_error
    return [] if error is None else [("class:validation-toolbar", message(error.message, buffer.text))]


def show_whole_messages() -> None:
    """Let each prompt of this process show its messages so."""
    # By name: the package has a function of the module's name, which an import would bring.
    importlib.import_module("prompt_toolkit.shortcuts.prompt").ValidationToolbar = WholeMessage  # type: ignore[attr-defined]
