"""Each row of the tables in tests/answers/invalid/ is refused before anything is written, with its message."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from copier import _template, _vcs
from copier.errors import UserMessageError

from extensions.rules import RULES, lab_name_of
from tests.support.questions import QUESTIONS
from tests.support.refused_answers import REFUSED, TABLES, Refused
from tests.support.rendering import copy_lab, snapshot
from tests.support.texts import problems

# Names that no question has.
UNKNOWN = {"colour", "gitlab_hots"}
EACH_ROW = pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.name)


@pytest.fixture(scope="module")
def template(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the template, whose copier.yml Copier reads once for all files, and which it asks Git about once: most of what a refusal takes."""
    read = lru_cache(maxsize=None)(_template.load_template_config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            _template, "load_template_config", lambda *arguments, **options: deepcopy(read(*arguments, **options))
        )
        for question in ("is_git_repo_root", "is_git_bundle"):
            patch.setattr(_vcs, question, lru_cache(maxsize=None)(getattr(_vcs, question)))
        yield snapshot(tmp_path_factory.mktemp("template"))


def test_each_question_has_its_table_and_each_table_its_question() -> None:
    assert len(REFUSED) >= 500
    assert set(QUESTIONS) | UNKNOWN == {row.question for row in REFUSED} == {file.stem for file in TABLES.iterdir()}
    assert set(RULES) <= set(QUESTIONS)


@pytest.mark.slow(keep=150)
@EACH_ROW
def test_the_answers_are_refused_with_their_message_and_nothing_is_written(
    template: Path, tmp_path: Path, row: Refused
) -> None:
    with pytest.raises(UserMessageError) as refused:
        copy_lab(template, tmp_path / "lab", row.answers, overwrite=False)
    lines = refused.value.message.splitlines()[1:]
    assert lines == [f"  {row.question}: {row.message}"]
    assert not (tmp_path / "lab").exists()


@EACH_ROW
def test_the_answers_are_refused_without_copier_too(row: Refused) -> None:
    assert problems(row.answers) == [f"{row.question}: {row.message}"]


@EACH_ROW
def test_their_nearest_valid_neighbour_passes(row: Refused) -> None:
    right = row.put_right
    if row.question in UNKNOWN:
        right = {name: value for name, value in right.items() if name in QUESTIONS}
    assert problems(right) == []


@EACH_ROW
def test_a_recorded_answer_that_is_refused_today_is_named(row: Refused) -> None:
    if row.question in QUESTIONS:
        lines = problems({}, row.answers)
        question = row.question
        assert lines == [
            f"{question}: the recorded answer is refused today: {row.message}. Give another with `--data {question}=…`"
        ]


@pytest.mark.parametrize(
    "question", [name for name, one in QUESTIONS.items() if one["type"] == "str" and "choices" not in one]
)
def test_no_text_may_hold_a_character_of_control(question: str) -> None:
    """Nothing that is read from an answer, such as a URL's host, may leave one out without a word."""
    row = next(row for row in REFUSED if row.question == question and str(row.put_right.get(question, "")))
    right = str(row.put_right[question])
    for character in "\0\t\n\u2028":
        for text in (right + character, right[: len(right) // 2] + character + right[len(right) // 2 :]):
            refused = [line.partition(": ")[0] for line in problems({**row.put_right, question: text})]
            assert question in refused, repr(text)


def test_all_problems_of_a_file_are_told_together(template: Path, tmp_path: Path) -> None:
    data = {
        "ssh_port": 22,
        "groups": [],
        "gitlab_hots": "a",
        "tls_source": "nobody",
        "https_port": "x",
        "timezone": "Mars",
    }
    with pytest.raises(UserMessageError) as refused:
        copy_lab(template, tmp_path / "lab", data)
    assert {line.split(":")[0].strip() for line in refused.value.message.splitlines()[1:]} == set(data)


CLASHES = [
    (
        {"gitlab_host": "registry.lab.example.com"},
        "registry_host",
        "`registry.lab.example.com` is GitLab's own host; the registry needs another, such as `images.lab.example.com`",
    ),
]


@pytest.mark.parametrize(("given", "question", "said"), CLASHES, ids=lambda value: str(value)[:20])
def test_a_default_that_clashes_with_an_answer_is_told_of_before_anything_is_asked(
    given: dict[str, Any], question: str, said: str
) -> None:
    line = (
        f"{question}: its default does not go with the other answers: {said}. Give another with `--data {question}=…`"
    )
    assert problems(given) == [line]
    assert problems({}, given) == [line]
    # Who is asked for it sees the message under the prompt, and can give another there; "quick" does not ask.
    assert problems({**given, "setup_level": "full"}, interactive=True) == []
    assert problems({**given, "setup_level": "quick"}, interactive=True) == [line]


@pytest.mark.parametrize(
    ("folder", "name"),
    [("demo", "demo-lab"), ("Wikis", "wikis-lab"), ("my lab", "my-lab"), ("..", "homelab"), ("new", "new-lab")],
)
def test_any_folder_suggests_a_name_for_the_lab_that_is_right(folder: str, name: str) -> None:
    assert lab_name_of(folder) == name
    assert problems({"timezone": "Etc/UTC"}, folder=folder) == []


@pytest.mark.parametrize(
    ("question", "value", "said"),
    [
        (
            "lab_name",
            datetime.date(2026, 1, 1),
            "`2026-01-01` is a date, not a text; give one such as `lab`, in quotes if YAML needs them",
        ),
        (
            "lab_name",
            b"x",
            "`b'x'` is something else, not a text; give one such as `lab`, in quotes if YAML needs them",
        ),
        ("https_port", "9" * 5000, f"`{'9' * 60}` is not a whole number; give one such as `443`"),
        ("https_port", "٤٤٣", "`٤٤٣` is not a whole number; give one such as `443`"),
    ],
)
def test_what_only_yaml_or_a_shell_can_give_is_refused_in_a_word(question: str, value: Any, said: str) -> None:
    assert problems({question: value}) == [f"{question}: {said}"]


def test_a_number_may_stand_between_blanks() -> None:
    assert problems({"https_port": " 443 "}) == []


def test_a_message_names_the_value() -> None:
    for row in REFUSED:
        value = row.answers[row.question]
        shown = value[-1] if isinstance(value, list) and value else value
        if (
            row.question in QUESTIONS
            and isinstance(shown, (str, int))
            and not isinstance(shown, bool)
            and 0 < len(str(shown)) < 20
        ):
            line = problems(row.answers)[0].lower()
            assert (
                str(shown).lower().strip("~$()") in line
                or repr(shown).lower() in line
                or "password" in line
                or "the name" in line
            ), (row.name, line)
