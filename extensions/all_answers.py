"""All answers that are given from outside, checked together before the first question: one message a problem, none lost.

Copier checks answers one by one as it comes to them, and drops a recorded answer that is refused today without a word. This
walks through the questions once before Copier does, so that a file of answers, `--data`, and an update are refused whole.
"""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from . import rules
from .answers import Answers

Render = Callable[[Any, Mapping[str, Any]], Any]
_TRUE = {"y", "yes", "t", "true", "on"}
_FALSE = {"n", "no", "f", "false", "off"}
# What YAML makes of a text that lacks its quotes.
_WHAT = (
    (list, "a list"),
    (dict, "a mapping"),
    (bool, "a yes or no"),
    (type(None), "nothing"),
    (datetime.date, "a date"),
)


def refusals(  # noqa: PLR0913, PLR0917 - what Copier knows, in its own terms
    questions: Mapping[str, Mapping[str, Any]],
    given: Mapping[str, Any],
    recorded: Mapping[str, Any],
    render: Render,
    parse_yaml: Callable[[str], Any],
    context: Mapping[str, Any],
    interactive: bool = False,
    replayed: bool = False,
    outdated: list[str] | None = None,
) -> list[str]:
    """Return what is wrong with the answers, one line each.

    Args:
        questions: copier.yml's questions in order, by name.
        given: answers from `--data` and `--data-file`, by name. A name with an underscore is Copier's own.
        recorded: answers from the lab's answers file.
        render: renders a template string with answers; anything else it returns as it is.
        parse_yaml: reads a YAML text; raises ValueError where it is none.
        context: what templates may use beside the answers.
        interactive: whether Copier asks; a default that is refused is then corrected under its prompt.
        replayed: whether the given answers are those that an earlier version recorded; whatever it knew is fine then.
        outdated: takes the names of recorded answers that are refused today, where Copier asks for them again; without it they are
            refused here.
    """
    found = [_unknown(str(name), questions) for name in given if not replayed and not _known(str(name), questions)]
    answers: dict[str, Any] = dict(context)
    for name, question in questions.items():
        applies = boolean(render(question.get("when", True), answers)) is not False
        default = typed(question, render(question["default"], answers), "", parse_yaml)[0]
        if name not in given and (name not in recorded or not applies):
            answers[name] = default
            asked = interactive and boolean(render(question.get("ask", True), answers)) is not False
            message = _refused(name, answers) if applies and not asked else None
            if message is not None:
                found.append(
                    f"{name}: its default does not go with the other answers: {message}. Give another with `--data {name}=…`"
                )
            continue
        value, message = typed(question, given.get(name, recorded.get(name)), default, parse_yaml)
        answers[name] = value
        # Copier checks a given answer even where its question does not apply.
        if message is None and (applies or name in given):
            message = _refused(name, answers)
        if message is not None and name not in given and outdated is not None:
            outdated.append(name)
        elif message is not None:
            found.append(rules.one_line(f"{name}: {message}" if name in given else _outdated(name, message)))
            answers[name] = default
    return found


def _refused(name: str, answers: Mapping[str, Any]) -> str | None:
    """Return why a rule refuses an answer, if one does; nothing where an answer that it leans on is refused already."""
    try:
        return rules.refusal(name, cast("Answers", answers)) if name in rules.RULES else None
    except (AttributeError, KeyError, TypeError):
        return None


def _known(name: str, questions: Mapping[str, Any]) -> bool:
    return name in questions or name.startswith("_")


def _unknown(name: str, questions: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, questions, n=1)
    return f"{name}: no question has this name" + (
        f"; did you mean `{near[0]}`?" if near else "; see questions/ for those there are"
    )


def _outdated(name: str, message: str) -> str:
    return f"{name}: the recorded answer is refused today: {message}. Give another with `--data {name}=…`"


def typed(
    question: Mapping[str, Any], value: Any, default: Any, parse_yaml: Callable[[str], Any]
) -> tuple[Any, str | None]:
    """Return the answer in the question's type, and why it is refused, if it is."""
    kind, shown = question["type"], f"`{str(value)[:60]}`"
    if "choices" in question:
        choices = list(question["choices"].values())
        if value in choices:
            return value, None
        near = difflib.get_close_matches(str(value), choices, n=1)
        return value, f"{shown} is not a choice; give {' or '.join(choices)}" + (
            f"; did you mean `{near[0]}`?" if near else ""
        )
    if kind == "bool":
        meant = boolean(value)
        return (
            value if meant is None else meant,
            f"{shown} is neither yes nor no; give true or false" if meant is None else None,
        )
    if kind == "int":
        # No answer has more digits than that, and Python itself refuses to read thousands of them.
        if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,40}\s*", value):
            return int(value), None
        whole = isinstance(value, int) and not isinstance(value, bool)
        return value, None if whole else f"{shown} is not a whole number; give one such as `{default}`"
    if kind == "yaml":
        if not isinstance(value, str):
            return value, None
        try:
            return parse_yaml(value), None
        except ValueError:
            return value, f"{shown} is not a list; give one such as `{question['default']}`"
    if isinstance(value, str):
        return value, None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value), None
    what = next((word for of, word in _WHAT if isinstance(value, of)), "something else")
    return value, f"{shown} is {what}, not a text; give one such as `{default}`, in quotes if YAML needs them"


def boolean(value: Any) -> bool | None:
    """Return what a yes or no means, or None where it is neither."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    return True if word in _TRUE else False if word in _FALSE else None
