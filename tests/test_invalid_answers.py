"""Each file of tests/answers/invalid/ is refused before anything is written, with the message that its first line expects.

First line: `# <question>: <the whole message> | <why it must be refused>`, where `{newest GitLab}` stands for the version that a new
lab gets. Second: the nearest answer that is right.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from copy import deepcopy
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from copier import _template, _vcs
from copier.errors import UserMessageError
from support.questions import QUESTIONS
from support.rendering import ROOT, copy_lab, snapshot
from support.texts import problems

from extensions.facts import DEFAULT_GITLAB_VERSION
from extensions.rules import RULES, lab_name_of

FILES = sorted((ROOT / "tests" / "answers" / "invalid").glob("*.yml"))


@cache
def parts(file: Path) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
    """Return the question, what is said, the answers, and those that are right instead."""
    text = file.read_text(encoding="utf-8")
    first, second = text.split("\n")[:2]
    head = re.fullmatch(r"# (\w+): (.+) \| (.+)", first)
    assert head is not None and second.startswith("# valid instead: "), f"{file.name}: the first two lines"
    data = yaml.safe_load(text)
    return head[1], head[2].replace("{newest GitLab}", DEFAULT_GITLAB_VERSION), data, data | yaml.safe_load(second.removeprefix("# valid instead: "))


@pytest.fixture(scope="module")
def template(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the template, whose copier.yml Copier reads once for all files, and which it asks Git about once: most of what a refusal takes."""
    read = lru_cache(maxsize=None)(_template.load_template_config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_template, "load_template_config", lambda *arguments, **options: deepcopy(read(*arguments, **options)))
        for question in ("is_git_repo_root", "is_git_bundle"):
            patch.setattr(_vcs, question, lru_cache(maxsize=None)(getattr(_vcs, question)))
        yield snapshot(tmp_path_factory.mktemp("template"))


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


CLASHES = [
    (
        {"gitlab_host": "registry.lab.example.com"}, "registry_host",
        "`registry.lab.example.com` is GitLab's own host; the registry needs another, such as `images.lab.example.com`",
    ),
]


@pytest.mark.parametrize(("given", "question", "said"), CLASHES, ids=lambda value: str(value)[:20])
def test_a_default_that_clashes_with_an_answer_is_told_of_before_anything_is_asked(given: dict[str, Any], question: str, said: str) -> None:
    line = f"{question}: its default does not go with the other answers: {said}. Give another with `--data {question}=…`"
    assert problems(given) == [line]
    assert problems({}, given) == [line]
    # Who is asked for it sees the message under the prompt, and can give another there; "quick" does not ask.
    assert problems({**given, "setup_level": "full"}, interactive=True) == []
    assert problems({**given, "setup_level": "quick"}, interactive=True) == [line]


@pytest.mark.parametrize(("folder", "name"), [("demo", "demo-lab"), ("Wikis", "wikis-lab"), ("my lab", "my-lab"), ("..", "homelab"), ("new", "new-lab")])
def test_any_folder_suggests_a_name_for_the_lab_that_is_right(folder: str, name: str) -> None:
    assert lab_name_of(folder) == name
    assert problems({"timezone": "Etc/UTC"}, folder=folder) == []


@pytest.mark.parametrize(
    ("question", "value", "said"),
    [
        ("lab_name", datetime.date(2026, 1, 1), "`2026-01-01` is a date, not a text; give one such as `lab`, in quotes if YAML needs them"),
        ("lab_name", b"x", "`b'x'` is something else, not a text; give one such as `lab`, in quotes if YAML needs them"),
        ("https_port", "9" * 5000, f"`{'9' * 60}` is not a whole number; give one such as `443`"),
        ("https_port", "٤٤٣", "`٤٤٣` is not a whole number; give one such as `443`"),
    ],
)
def test_what_only_yaml_or_a_shell_can_give_is_refused_in_a_word(question: str, value: Any, said: str) -> None:
    assert problems({question: value}) == [f"{question}: {said}"]


def test_a_number_may_stand_between_blanks() -> None:
    assert problems({"https_port": " 443 "}) == []


def test_a_message_names_the_value(template: Path) -> None:
    for file in FILES:
        question, _, data, _ = parts(file)
        value = data[question]
        shown = value[-1] if isinstance(value, list) and value else value
        if question in QUESTIONS and isinstance(shown, (str, int)) and not isinstance(shown, bool) and 0 < len(str(shown)) < 20:
            line = problems(data)[0].lower()
            assert str(shown).lower().strip("~$()") in line or repr(shown).lower() in line or "password" in line or "the name" in line, (file.name, line)
