"""The wizard of `make lab` and Copier read the questions alike: what applies, defaults, types, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from copier._main import Worker

from extensions.walk import recorded
from hooks.front.conversation import typed
from hooks.front.template import Template, choices
from tests.support.questions import QUESTIONS, SETTINGS
from tests.support.refused_answers import REFUSED, Refused
from tests.support.rendering import ROOT, VALID, read_answers, recorded_answers, rendered


@pytest.mark.parametrize("file", VALID, ids=lambda file: file.stem)
@pytest.mark.slow(keep=3, each_commit=True)
def test_the_answers_are_those_that_copier_records(shared: Path, file: Path) -> None:
    made = recorded_answers(rendered(shared, file.stem, read_answers(file)))
    entries = Template(file.stem).walk(read_answers(file))
    assert recorded(entries) == {name: value for name, value in made.items() if not name.startswith("_")}
    assert not [entry.problem for entry in entries if entry.problem]


@pytest.fixture(scope="module")
def template() -> Template:
    return Template("lab")


@pytest.mark.parametrize("row", [row for row in REFUSED if row.question in QUESTIONS], ids=lambda row: row.name)
@pytest.mark.slow(keep=60)
def test_what_copier_refuses_is_refused_with_its_message(template: Template, row: Refused) -> None:
    question, data, said = row.question, row.answers, row.message
    entry = next(one for one in template.walk(data) if one.name == question)
    if not entry.applies:
        assert not entry.given and entry.problem is None, "an answer that does not apply is not recorded"
    elif entry.given:
        assert entry.problem == said
        # Blanks around what is typed are nobody's answer.
        blanks = isinstance(data[question], str) and data[question] != data[question].strip()
        assert blanks or template.judge(entry, data[question], template.walk(data))[1] == said
    else:
        assert entry.problem is not None and entry.problem in said, "its default is refused"
    assert not [one.problem for one in template.walk(row.put_right) if one.problem]


@pytest.mark.parametrize("file", VALID, ids=lambda file: file.stem)
def test_what_is_suggested_can_be_typed(template: Template, file: Path) -> None:
    """Enter on a default gives the default again, whatever its type."""
    entries = template.walk(read_answers(file))
    for entry in entries:
        if entry.applies:
            text = entry.value if choices(entry) else typed(entry.value)
            assert template.judge(entry, text, entries) == (entry.value, None), entry.name


def test_the_environment_is_copiers(template: Template, tmp_path: Path) -> None:
    copiers = Worker(str(ROOT), tmp_path / "lab", unsafe=True).jinja_env
    ours = template.environment
    for option in (
        "undefined",
        "keep_trailing_newline",
        "trim_blocks",
        "lstrip_blocks",
        "autoescape",
        "block_start_string",
    ):
        assert getattr(ours, option) == getattr(copiers, option), option
    assert set(ours.filters) == set(copiers.filters) and set(ours.tests) == set(copiers.tests)
    # `yield` and pathjoin are for files and their names, which the wizard renders none of.
    assert set(copiers.globals) - set(ours.globals) <= {"pathjoin"}
    assert (
        tuple(SETTINGS["_jinja_extensions"])
        == Worker(str(ROOT), tmp_path / "lab", unsafe=True).template.jinja_extensions
    )


def test_no_question_is_a_secret() -> None:
    """What is answered is kept in a file, shown in the summary and recorded in Git."""
    assert not [name for name, question in QUESTIONS.items() if question.get("secret")]


@pytest.mark.parametrize(
    "value",
    [["a"], [], ["10.42.0.0/16"], ["yes", "1", "a: b", "- c", "é", "#x"], "", "a b", 5, "0 3 * * *"],
    ids=str,
)
def test_an_answer_is_typed_as_it_is_read(value: Any) -> None:
    assert (yaml.safe_load(typed(value)) if isinstance(value, list) else typed(value)) == (
        value if isinstance(value, list) else str(value)
    )
