"""Each file of tests/answers/invalid/ is refused before anything is written, with the message that its first line expects.

First line: `# <question>: <the whole message> | <why it must be refused>`. Second: the nearest answer that is right.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from copier.errors import UserMessageError

from extensions.rules import RULES
from support.questions import QUESTIONS
from support.rendering import ROOT, copy_lab, snapshot
from support.texts import problems

FILES = sorted((ROOT / "tests" / "answers" / "invalid").glob("*.yml"))


@lru_cache(maxsize=None)
def parts(file: Path) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
    """Return the question, what is said, the answers, and those that are right instead."""
    text = file.read_text(encoding="utf-8")
    first, second = text.split("\n")[:2]
    head = re.fullmatch(r"# (\w+): (.+) \| (.+)", first)
    assert head is not None and second.startswith("# valid instead: "), f"{file.name}: the first two lines"
    data = yaml.safe_load(text)
    return head[1], head[2], data, data | yaml.safe_load(second.removeprefix("# valid instead: "))


@pytest.fixture(scope="module")
def template(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return snapshot(tmp_path_factory.mktemp("template"))


def test_there_are_at_least_150_files_and_each_question_has_some() -> None:
    assert len(FILES) >= 150
    assert set(QUESTIONS) <= {parts(file)[0] for file in FILES}
    assert set(RULES) <= set(QUESTIONS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_file_is_refused_with_its_message_and_nothing_is_written(template: Path, tmp_path: Path, file: Path) -> None:
    question, said, data, _ = parts(file)
    with pytest.raises(UserMessageError) as refused:
        copy_lab(template, tmp_path / "lab", data, overwrite=False)
    lines = refused.value.message.splitlines()[1:]
    assert lines == [f"  {question}: {said}"]
    assert not (tmp_path / "lab").exists()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_file_is_refused_without_copier_too(file: Path) -> None:
    question, said, data, _ = parts(file)
    assert problems(data) == [f"{question}: {said}"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_its_nearest_valid_neighbour_passes(file: Path) -> None:
    question, _, data, instead = parts(file)
    if question not in QUESTIONS:
        instead = {name: value for name, value in instead.items() if name in QUESTIONS}
    assert problems(instead) == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recorded_answer_that_is_refused_today_is_named(file: Path) -> None:
    question, said, data, _ = parts(file)
    if question in QUESTIONS:
        lines = problems({}, data)
        assert lines == [f"{question}: the recorded answer is refused today: {said}. Give another with `--data {question}=…`"]


def test_all_problems_of_a_file_are_told_together(template: Path, tmp_path: Path) -> None:
    data = {"ssh_port": 22, "groups": [], "gitlab_hots": "a", "tls_source": "nobody", "https_port": "x", "timezone": "Mars"}
    with pytest.raises(UserMessageError) as refused:
        copy_lab(template, tmp_path / "lab", data)
    assert {line.split(":")[0].strip() for line in refused.value.message.splitlines()[1:]} == set(data)


def test_a_message_names_the_value(template: Path) -> None:
    for file in FILES:
        question, _, data, _ = parts(file)
        value = data[question]
        shown = value[-1] if isinstance(value, list) and value else value
        if question in QUESTIONS and isinstance(shown, (str, int)) and not isinstance(shown, bool) and 0 < len(str(shown)) < 20:
            line = problems(data)[0].lower()
            assert str(shown).lower().strip("~$()") in line or repr(shown).lower() in line or "password" in line or "the name" in line, (file.name, line)
