"""extensions/answers.py has every question, with the type that its answers have."""

from __future__ import annotations

import importlib.util
from typing import Any, get_type_hints

import pytest

from extensions.answers import Answers
from tests.support.questions import QUESTIONS
from tests.support.rendering import ROOT, VALID, read_answers


def test_the_file_is_what_its_tool_writes() -> None:
    spec = importlib.util.spec_from_file_location("answers_type", ROOT / "docs/tools/answers_type.py")
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.TARGET.read_text(encoding="utf-8") == tool.written(), "run: .venv/bin/python docs/tools/answers_type.py"


def test_every_question_has_a_type() -> None:
    assert list(get_type_hints(Answers)) == list(QUESTIONS)


@pytest.mark.parametrize("file", VALID, ids=lambda file: file.stem)
def test_the_answers_of_every_lab_have_their_types(file: Any) -> None:
    hints = get_type_hints(Answers)
    for name, answer in read_answers(file).items():
        kind = hints[name]
        assert isinstance(answer, getattr(kind, "__origin__", kind)), name
        assert not isinstance(answer, list) or all(isinstance(item, str) for item in answer), name
