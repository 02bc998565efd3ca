"""One walk through the questions with the answers that are there: what applies, what is asked, what every answer is.

It reads a question's `when`, `ask`, `default` and `validator` as Copier does; tests/wizard compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment

from . import all_answers, pages, rules

Render = Callable[[Any, Mapping[str, Any]], Any]


@dataclass(frozen=True)
class Entry:
    """A question, and its answer as things are.

    Attributes:
        page: the wizard's page that asks it.
        applies: whether this lab has such an answer; if not, `value` is the default and is not recorded.
        asked: whether the wizard asks it by itself at this setup_level.
        default: what Enter would answer.
        given: whether the owner has answered it.
        problem: why the answer is refused; None if it is not.
    """

    name: str
    page: str
    question: Mapping[str, Any]
    applies: bool
    asked: bool
    default: Any
    value: Any
    given: bool
    problem: str | None

    @property
    def filled_in(self) -> bool:
        """Whether nobody decided it: quick does not ask it, and it is as the template has it."""
        return self.applies and not self.asked and self.value == self.default


def renderer(environment: Environment) -> Render:
    """Return what renders a template string with answers, and returns anything else as it is."""
    return lambda value, answers: environment.from_string(value).render(answers) if isinstance(value, str) else value


def walk(
    by_page: Mapping[str, Mapping[str, Mapping[str, Any]]],
    given: Mapping[str, Any],
    render: Render,
    context: Mapping[str, Any],
) -> list[Entry]:
    """Return all questions in order, each with its answer.

    Args:
        by_page: the questions by page and name: pages.pages().
        given: the owner's answers by question. An answer to a question that does not apply is left alone.
        render: renders a template string with answers; anything else it returns as it is.
        context: what templates may use beside the answers: `_folder_name`.
    """
    answers, found = dict(context), []
    for page, questions in by_page.items():
        for name, question in questions.items():
            applies = _holds(question.get("when", True), answers, render)
            default, problem = meant(question, render(question["default"], answers), "")
            own = applies and name in given
            value = default
            if own:
                value, problem = meant(question, given[name], default)
            asked = applies and _holds(question.get("ask", True), answers, render)
            if applies and problem is None:
                problem = refused(name, question, value, answers, render)
            # What is refused would have the questions after it refused for strange reasons.
            answers[name] = default if problem and own else value
            found.append(Entry(name, page, question, applies, asked, default, value, own, problem if applies else None))
    return found


def meant(question: Mapping[str, Any], text: Any, default: Any) -> tuple[Any, str | None]:
    """Return the answer that is meant in the question's type, and why it has another; None if it has not."""
    value, message = all_answers.typed(question, text, default, pages.parse_yaml)
    return value, None if message is None else rules.one_line(message)


def refused(
    name: str, question: Mapping[str, Any], value: Any, answers: Mapping[str, Any], render: Render
) -> str | None:
    """Return why the question's validator refuses *value* with the answers before it; None if it does not."""
    return str(render(question.get("validator", ""), {**answers, name: value})).strip() or None


def _holds(condition: Any, answers: Mapping[str, Any], render: Render) -> bool:
    return all_answers.boolean(render(condition, answers)) is not False


def recorded(entries: list[Entry]) -> dict[str, Any]:
    """Return the answers that the lab will record, by question."""
    return {entry.name: entry.value for entry in entries if entry.applies}
