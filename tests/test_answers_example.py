"""answers.example.yml, its schema and docs/questions.md are what questions/ says, and Copier takes the example."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import yaml

from tests.support.copier_cli import copier_cli
from tests.support.questions import QUESTIONS
from tests.support.rendering import ROOT, VALID, read_answers, recorded_answers, snapshot


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("answers_example", ROOT / "docs/tools/answers_example.py")
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


tool = _load()
EXAMPLE: str = tool.EXAMPLE.read_text(encoding="utf-8")
VALIDATOR = jsonschema.Draft7Validator(json.loads(tool.SCHEMA.read_text(encoding="utf-8")))
# Each answer that the file has in a comment, taken out of it.
WHOLE = re.sub(r"^# ([a-z_]+: )", r"\1", EXAMPLE, flags=re.MULTILINE)


@pytest.mark.parametrize("file", [tool.EXAMPLE, tool.SCHEMA, tool.PAGE], ids=lambda file: file.name)
def test_the_file_is_what_its_tool_writes(file: Path) -> None:
    assert file.read_text(encoding="utf-8") == tool.files()[file], "run `make answers`"


def test_the_example_has_every_question_once_and_what_quick_asks_as_an_answer() -> None:
    assert list(yaml.safe_load(WHOLE)) == list(QUESTIONS)
    quick = {name for name, question in QUESTIONS.items() if "ask" not in question}
    # The storage server is asked for only with NFS.
    assert set(yaml.safe_load(EXAMPLE)) == quick - {"nfs_server"}
    assert EXAMPLE.startswith("# yaml-language-server: $schema=docs/answers.schema.json\n")


@pytest.mark.slow(each_commit=True)
@pytest.mark.parametrize("whole", [False, True], ids=["as it is", "all that applies"])
def test_copier_takes_the_example_and_makes_the_same_lab(tmp_path: Path, whole: bool) -> None:
    """Each default in a comment is the default."""
    template = snapshot(tmp_path / "template")
    answers = yaml.safe_load(EXAMPLE)
    if whole:
        answers = {entry.name: yaml.safe_load(WHOLE)[entry.name] for entry in tool.Questions().entries if entry.applies}
    file = tmp_path / "answers.yml"
    file.write_text(yaml.safe_dump(answers), encoding="utf-8")
    lab = tmp_path / "homelab"
    done = copier_cli("copy", "--trust", "--defaults", "--data-file", file, template, lab)
    assert done.returncode == 0, done.stderr
    defaults = {entry.name: entry.value for entry in tool.Questions().entries if entry.applies}
    assert {name: value for name, value in recorded_answers(lab).items() if not name.startswith("_")} == defaults


@pytest.mark.parametrize("file", VALID, ids=lambda file: file.stem)
def test_the_schema_takes_every_labs_answers(file: Path) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(read_answers(file))] == []


@pytest.mark.parametrize(
    "text", [EXAMPLE, WHOLE, "_commit: v1.0.0\n_src_path: gh:someone/template\n"], ids=["example", "whole", "Copier's"]
)
def test_the_schema_takes(text: str) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(text))] == []


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"gitlab_hots": "gitlab.lab"}, "'gitlab_hots' does not match any of the regexes"),
        ({"https_port": "443"}, "'443' is not of type 'integer'"),
        ({"groups": "homelab"}, "'homelab' is not of type 'array'"),
        ({"groups": [1]}, "1 is not of type 'string'"),
        ({"backups": "yes"}, "'yes' is not of type 'boolean'"),
        ({"gitlab_version": 19.3}, "19.3 is not of type 'string'"),
        ({"tls_source": "letsencrypt"}, "'letsencrypt' is not one of"),
        (["a"], "is not of type 'object'"),
    ],
    ids=str,
)
def test_the_schema_refuses(answers: Any, said: str) -> None:
    assert said in " ".join(error.message for error in VALIDATOR.iter_errors(answers))


def test_every_question_is_on_the_page_at_the_address_that_the_wizard_shows() -> None:
    headings = re.findall(r"^#+ (.*)$", tool.PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [heading for heading in headings if heading in QUESTIONS] == list(QUESTIONS)
    anchors = [re.sub(r"[^\w -]", "", heading).replace(" ", "-").lower() for heading in headings]
    assert len(anchors) == len(set(anchors)), "a second one of the same name has another address"
