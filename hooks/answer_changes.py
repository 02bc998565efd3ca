"""What became of questions since they were first asked, by version: how a recorded answer becomes today's.

An entry stands here as soon as the question changes, under `unreleased` or the version to come. Each step looks before
it acts, so that taking it twice does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Answers = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """One question's change: what it was called, what the report says, and what is done to the answers, in place."""

    question: str
    says: str
    apply: Callable[[Answers], None]


def renamed(old: str, new: str) -> Change:
    """The question has another name; the answer stays."""

    def apply(answers: Answers) -> None:
        if old in answers:
            answers.setdefault(new, answers.pop(old))

    return Change(old, f"`{old}` is called `{new}` now", apply)


def split(old: str, parts: Mapping[str, Callable[[Any], Any]]) -> Change:
    """One question became several; each function makes one of the new answers from the old one."""

    def apply(answers: Answers) -> None:
        if old in answers:
            value = answers[old] if old in parts else answers.pop(old)
            for name, part in parts.items():
                answers[name] = part(value)

    return Change(old, f"`{old}` became " + " and ".join(f"`{name}`" for name in parts), apply)


def changed(question: str, convert: Callable[[Any], Any], says: str) -> Change:
    """The answer is written otherwise now: another type, or a form that a tightened rule still takes.

    Args:
        question: its name.
        convert: makes today's answer from the recorded one; returns it as it is where it is today's already.
        says: what the report tells the owner.
    """

    def apply(answers: Answers) -> None:
        if question in answers:
            answers[question] = convert(answers[question])

    return Change(question, says, apply)


def removed(question: str, says: str) -> Change:
    """The question is asked no more."""
    return Change(question, says, lambda answers: answers.pop(question, None) and None)


CHANGES: dict[str, tuple[Change, ...]] = {
    "unreleased": (),
}


def migrated(recorded: Mapping[str, Any], versions: Iterable[str]) -> tuple[Answers, list[str]]:
    """Return the recorded answers as today's questions want them, and what was done.

    Args:
        recorded: the answers file's content.
        versions: the sections of CHANGES that are newer than the lab, in order.
    """
    answers, done = dict(recorded), []
    for version in versions:
        for change in CHANGES[version]:
            before = dict(answers)
            change.apply(answers)
            if answers != before:
                done.append(change.says)
    return answers, done
