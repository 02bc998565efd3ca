"""The stand-in for jq answers as a jq does that is started for this one question."""

from __future__ import annotations

import pytest

from stand_in_jq import ask_jq, run_jq

QUESTIONS = {
    "a string as it is": (["--raw-output", ".a"], '{"a": "b\\nc"}'),
    "a number of GitLab's": ([".id"], '{"id": 1234567890123}'),
    "an object over several lines": (["."], '{"a": [1, {"b": "ä"}]}'),
    "several inputs": (["--compact-output", "[.]"], "1 [2]\n{}"),
    "several inputs as one": (["--slurp", "add"], '[1]\n["a"]'),
    "no input": (["."], " \n"),
    "no input as one": (["--slurp", "length"], ""),
    "text": (["--raw-input", "--slurp", 'split("\\u001f")'], 'a "b"\nc\x1f\U0001f600'),
    "lines": (["--raw-input", "."], "a\nb\n"),
    "nothing to answer": (["empty"], "{}"),
    "a variable": (["--arg", "name", "--slurp", "--argjson", "id", "3", ".[$name] == $id"], '{"--slurp": 3}'),
    "an object as a variable": (["--argjson", "new", '{"b": 1}', ". + $new"], '{"a": 2}'),
    "a variable that is no JSON": (["--argjson", "id", "x", "$id"], "1"),
    "a variable that is missing": (["--arg", "name", "$other"], "1"),
    "a function": (["def twice: . * 2; twice"], "4"),
    "a filter that fails": ([".a.b"], '{"a": "c"}'),
    "a filter that is none": ([".a |"], "{}"),
    "half an input": (["."], '{"a": '),
    "an input that only Python knows": (["."], "Infinity"),
    "another option": (["--null-input", "1"], ""),
    "a version": (["--version"], ""),
}


@pytest.mark.parametrize(("arguments", "text"), QUESTIONS.values(), ids=list(QUESTIONS))
def test_a_jq_that_stays_answers_like_one_that_is_started_anew(arguments: list[str], text: str) -> None:
    """Asked for two inputs: what came before leaves nothing behind."""
    for asked in (text, text + " "):
        assert ask_jq(tuple(arguments), asked) == run_jq(tuple(arguments), asked)
