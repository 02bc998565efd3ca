"""What the wizard asks next, and what becomes of the answers: back, resumed, changed, shown before anything is written.

All that it remembers are the owner's answers in their order. What they mean is found out anew for each question:
extensions/walk.py.
"""

from __future__ import annotations

import difflib
from typing import Any

import yaml

from extensions import summary
from extensions.pages import LEVEL
from extensions.walk import Entry, recorded

from . import layout
from .asking import BACK, Asking, Prompt
from .kept import Begun, Kept, Unreadable
from .template import Choice, Template, choices

WRITE, CHANGE, RETURN, STOP = "write", "change", "back", "stop"
REVIEW = [
    Choice("write the lab", WRITE),
    Choice("change one answer, by its name", CHANGE),
    Choice("back to the last question", RETURN),
    Choice("stop here and keep the answers", STOP),
]
GO_ON, ANEW = "go on", "anew"


class Conversation:
    """A wizard's run.

    Args:
        kept: where each answer is kept as soon as it is given.
    """

    def __init__(self, template: Template, asking: Asking, kept: Kept) -> None:
        self.template, self.asking, self.kept = template, asking, kept
        self.given: dict[str, Any] = {}
        self.unkept = False
        # What was answered before the owner went back, if it was not the default.
        self.taken_back: dict[str, Any] = {}

    def run(self) -> dict[str, Any]:
        """Ask until the owner says that the lab may be written, and return its answers.

        Raises:
            KeyboardInterrupt: the owner stops.
        """
        self._begin()
        while True:
            entries = self.template.walk(self.given)
            entry = next((one for one in entries if one.problem or (one.asked and not one.given)), None)
            if entry is not None:
                self._next(entry, entries)
            elif self._reviewed(entries):
                return recorded(entries)

    def _begin(self) -> None:
        try:
            begun = self.kept.read()
        except Unreadable as problem:
            self.asking.say(f"{problem}. It is now {self.kept.set_aside()}; the questions begin anew.\n")
            begun = None
        if begun is None or not begun.answers or not self._wants(begun):
            self.asking.say(self.template.before())
            return
        questions = {entry.name for entry in self.template.walk({})}
        self.given = {name: value for name, value in begun.answers.items() if name in questions}
        gone = begun.answers.keys() - questions
        if gone:
            self.asking.say(f"Not asked any more, and left out: {', '.join(sorted(gone))}.")

    def _wants(self, begun: Begun) -> bool:
        count = len(begun.answers)
        self.asking.say(
            f"You began to answer for this lab on {begun.when:%d %B %Y at %H:%M}: {count} answer{'s' * (count != 1)}."
        )
        options = [Choice("go on with these answers", GO_ON), Choice("begin anew", ANEW)]
        prompt = Prompt("Resume", GO_ON, choices=options, back=False)
        return bool(self.asking.ask(prompt, _as_it_is) == GO_ON)

    def _next(self, entry: Entry, entries: list[Entry]) -> None:
        """Ask a question that has no answer yet, or one that is refused."""
        if entry.problem and entry.given:
            self.asking.say(f"\nWith the other answers, this one is not accepted any more: {entry.problem}")
            self.taken_back.pop(entry.name, None)
        elif entry.problem and not entry.asked:
            self.asking.say(f"\nThe template's own answer does not go with yours: {entry.problem}")
        suggested = self.taken_back.get(entry.name, entry.default)
        answer = self._ask(entry, entries, suggested)
        if answer is BACK:
            self._back(entries)
        else:
            self._record(entry, answer, entries)

    def _ask(self, entry: Entry, entries: list[Entry], suggested: Any) -> Any:
        options = choices(entry)
        if options and suggested not in [one.value for one in options]:
            suggested = options[0].value
        prompt = Prompt(
            entry.name,
            suggested if options else typed(suggested),
            about=f"page {entry.page.replace('_', '-')}, {layout.position(entry, entries)}",
            help=self.template.help(entry, entries),
            choices=options,
            name=entry.name,
            back=any(one.given and one.asked for one in entries if one.name != entry.name) or not entry.asked,
        )
        return self.asking.ask(prompt, lambda text: self.template.judge(entry, text, entries))

    def _record(self, entry: Entry, answer: Any, entries: list[Entry]) -> None:
        self.given[entry.name] = answer
        self.taken_back.pop(entry.name, None)
        self._let_defaults_follow(entries, entry.name)
        self._keep()

    def _keep(self) -> None:
        """Keep the answers so far; a state folder that cannot be written stops nobody from making a lab."""
        try:
            self.kept.write(self.given)
        except OSError as error:
            if not self.unkept:
                self.asking.say(f"Your answers cannot be kept: {error}. If you stop now, they are lost.")
            self.unkept = True

    def _let_defaults_follow(self, before: list[Entry], changed: str) -> None:
        """Give answers that were the template's own, such as hosts of the old domain, what the template says now."""
        was = {entry.name: entry for entry in before}
        moved: dict[str, Any] = {}
        while True:
            stale = next(
                (
                    entry
                    for entry in self.template.walk(self.given)
                    if entry.given
                    and entry.name not in {changed, *moved}
                    and was[entry.name].value == was[entry.name].default != entry.default
                ),
                None,
            )
            if stale is None:
                break
            self.given[stale.name] = moved[stale.name] = stale.default
        if moved:
            told = ", ".join(f"{name} is now {summary.shown(value)}" for name, value in moved.items())
            self.asking.say(f"These were the template's own, and follow: {told}.")

    def _back(self, entries: list[Entry]) -> None:
        """Take the last answer back; its question comes again, with that answer suggested."""
        asked = {entry.name: entry for entry in entries if entry.asked and entry.given}
        last = next((name for name in reversed(self.given) if name in asked), None)
        if last is None:
            return
        del self.given[last]
        if asked[last].value != asked[last].default:
            self.taken_back[last] = asked[last].value
        self._keep()

    def _reviewed(self, entries: list[Entry]) -> bool:
        """Show the summary; say whether the lab may be written."""
        self.asking.say("\nNothing is written yet. This is what the lab will be:\n")
        self.asking.show(summary.lines(entries, min(self.asking.width(), summary.WIDTH)))
        prompt = Prompt("What now", WRITE, choices=REVIEW)
        decided = self.asking.ask(prompt, _as_it_is)
        if decided == WRITE:
            return True
        if decided == STOP:
            raise KeyboardInterrupt
        if decided == CHANGE:
            self._change(entries)
        else:
            self._back(entries)
        return False

    def _change(self, entries: list[Entry]) -> None:
        own = {entry.name: entry for entry in entries if entry.applies}
        others = {entry.name for entry in entries} - own.keys()

        def named(text: str) -> tuple[str, str | None]:
            name = text.strip()
            if name in own:
                return name, None
            if name in others:
                return name, f"`{name}` does not apply with these answers"
            near = difflib.get_close_matches(name, own, n=1)
            guess = f"; did you mean `{near[0]}`?" if near else "; give one of the names above, such as `timezone`"
            return name, f"`{name}` is no answer's name{guess}"

        name = self.asking.ask(Prompt("Name of the answer", "", help=f"For example: {LEVEL}, timezone."), named)
        if name is BACK:
            return
        answer = self._ask(own[name], entries, own[name].value)
        if answer is not BACK:
            self._record(own[name], answer, entries)


def typed(value: Any) -> str:
    """Return an answer as it is typed: a list in YAML's brackets, everything else as it is."""
    if isinstance(value, list):
        return str(yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)).strip()
    return str(value)


def _as_it_is(chosen: Any) -> tuple[Any, str | None]:
    return chosen, None
