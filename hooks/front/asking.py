"""What the wizard needs of a terminal; screen.py and plain.py are the two ways of having it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .template import Choice

# Reads what was typed or chosen: the answer that was meant, and why it is refused.
Judge = Callable[[Any], "tuple[Any, str | None]"]


class Back:
    """What is returned instead of an answer if the owner goes back."""


BACK = Back()


@dataclass(frozen=True)
class Prompt:
    """A question for the owner.

    Attributes:
        label: what the line of the answer begins with.
        about: where the question is: its page, its place among all.
        help: what it is about, in lines of any length.
        choices: what can be chosen; none: the answer is typed.
        suggested: what Enter answers, as text; with choices, the chosen value.
        name: the question's name, if it is one of the template's.
    """

    label: str
    suggested: Any
    about: str = ""
    help: str = ""
    choices: Sequence[Choice] = ()
    name: str = ""
    back: bool = True


class Asking(Protocol):
    """A way of asking."""

    def say(self, text: str) -> None:
        """Show lines; each is wrapped at the terminal's edge."""

    def show(self, lines: Sequence[str]) -> None:
        """Show many lines, which fit the terminal's width."""

    def width(self) -> int:
        """Return how many columns a line may have."""

    def ask(self, prompt: Prompt, judge: Judge) -> Any:
        """Ask until the answer is not refused, and return it, or BACK.

        Raises:
            KeyboardInterrupt: the owner stops.
        """
