"""Copier accepts unknown keys in silence, so these tests read copier.yml and the pages with more care."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import jinja2.meta
import pytest
from copier._template import Template
from copier._user_data import Question
from jinja2 import Environment

from extensions import facts
from extensions.rules import RULES
from tests.support.questions import PAGES, QUESTIONS, SETTINGS
from tests.support.rendering import ROOT, copy_lab, recorded_answers, snapshot

PAGE_NAMES = [
    "lab",
    "domains",
    "ports",
    "storage",
    "gitlab",
    "groups",
    "registry",
    "sign_in",
    "runner",
    "docker_hub",
    "machines",
    "aws",
    "flux",
    "owner",
    "extras",
    "backups",
    "alerts",
]
QUICK = {"base_domain", "tls_source", "storage_backend", "nfs_server", "groups", "runner_kind", "runner_host"}
# Keys of a question are Copier's own constructor arguments, less what Copier fills in itself.
QUESTION_KEYS = {field.name for field in fields(Question)} - {"var_name", "answers", "context", "jinja_env", "settings"}
# Settings are what Copier's Template reads from a name with an underscore.
SETTING_KEYS = {f"_{name}" for name in vars(Template) if not name.startswith("_")} | {
    "_min_copier_version",
    "_migrations",
}


def test_copier_yml_is_a_table_of_contents_of_the_pages() -> None:
    text = (ROOT / "copier.yml").read_text(encoding="utf-8")
    assert re.findall(r"^!include (.*)$", text, re.MULTILINE) == [f"questions/{name}.yml" for name in PAGE_NAMES]
    assert {path.stem for path in (ROOT / "questions").iterdir()} == set(PAGE_NAMES)
    assert not [name for name in SETTINGS if not name.startswith("_")]


def test_no_setting_is_unknown_to_copier() -> None:
    assert set(SETTINGS) <= SETTING_KEYS


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_key_of_a_question_is_unknown_to_copier(name: str) -> None:
    assert set(QUESTIONS[name]) <= QUESTION_KEYS


def test_no_question_stands_on_two_pages() -> None:
    assert sum(len(page) for page in PAGES[1:]) == len(QUESTIONS)


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_has_a_type_a_default_and_help_with_an_example(name: str) -> None:
    question = QUESTIONS[name]
    assert question["type"] in {"str", "int", "bool", "yaml"}
    assert "default" in question
    assert re.search(r"Example: \S", question["help"])
    assert question["help"].rstrip().endswith(".")


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_answer_that_is_typed_has_a_rule(name: str) -> None:
    question = QUESTIONS[name]
    typed = "choices" not in question and question["type"] != "bool"
    assert (question.get("validator") == f"{{{{ refusal('{name}') }}}}") is (name in RULES)
    assert name in RULES or not typed


def test_setup_level_comes_first_and_quick_asks_at_most_seven_questions_more() -> None:
    assert next(iter(QUESTIONS)) == "setup_level"
    asked = {name for name, question in QUESTIONS.items() if "ask" not in question} - {"setup_level"}
    assert asked == QUICK and len(asked) <= 7
    # A yes or no cannot be refused under its prompt, so where only one answer is right it is not asked.
    conditions = {
        name: question["ask"] for name, question in QUESTIONS.items() if "ask" in question and name != "private_ca"
    }
    assert set(conditions.values()) == {"{{ setup_level == 'full' }}"}
    assert QUESTIONS["private_ca"]["ask"].startswith("{{ setup_level == 'full' and not (")


def test_every_question_is_used() -> None:
    """An answer counts as used where a template of the lab, a file's name or a derived fact reads it."""
    environment = Environment()
    used: set[str] = set(
        re.findall(r'self\._(?:answers)?[\[(]"(\w+)"', (ROOT / "extensions/facts.py").read_text(encoding="utf-8"))
    )
    used |= {f"{part}_size" for part in ("config", "logs", "data")}  # facts.py reads these by their part
    for path in [*(ROOT / "template").rglob("*"), *(ROOT / "partials").rglob("*")]:
        used |= jinja2.meta.find_undeclared_variables(environment.parse(path.name))
        if path.suffix == ".jinja":
            text = path.read_text(encoding="utf-8")
            for expression in re.findall(r"\{\{.*?\}\}|\{%.*?%\}", text, re.DOTALL):
                used |= set(re.findall(r"[a-z_]+", expression))
    wizard_only = {"setup_level", "base_domain"}
    assert set(QUESTIONS) - used - wizard_only == set()


def test_a_condition_stands_in_a_path_at_most_once() -> None:
    for path in (ROOT / "template").rglob("*"):
        assert str(path.relative_to(ROOT)).count("{% if") <= 1


def test_no_template_is_longer_than_a_few_screens() -> None:
    long = [
        path.name
        for path in (ROOT / "template").rglob("*.jinja")
        if len(path.read_text(encoding="utf-8").splitlines()) > 180
    ]
    assert long == []


def test_quick_and_full_record_the_same_answers(tmp_path: Path) -> None:
    template = snapshot(tmp_path / "template")
    recorded: list[dict[str, Any]] = []
    for level in ("quick", "full"):
        copy_lab(template, tmp_path / level / "lab", {"setup_level": level}, skip_tasks=True)
        recorded.append(recorded_answers(tmp_path / level / "lab") | {"setup_level": None})
    assert recorded[0] == recorded[1]


# Flux writes it of its version, and a test of its own compares the two.
GENERATED = {"gotk-components.yaml"}


def test_each_version_that_the_template_pins_stands_in_one_place() -> None:
    """In extensions/facts.py: a message, a help text or a file of the lab takes it from there. Its digest stands in images.py."""
    texts = {
        file: file.read_text(encoding="utf-8")
        for folder in ("extensions", "questions", "template", "partials", "hooks")
        for file in (ROOT / folder).rglob("*")
        if file.suffix != ".pyc" and file.is_file() and file.name not in GENERATED
    }
    for version in (
        facts.DEFAULT_GITLAB_VERSION,
        facts.DEFAULT_DOCKER_VERSION,
        facts.FLUX_VERSION,
        facts.KUBECTL_IMAGE,
        facts.BUILDKIT_IMAGE,
        facts.JOB_IMAGE,
        facts.TOFU_IMAGE,
        facts.PROXMOX_PROVIDER,
        facts.DEFAULT_VM_IMAGE["checksum"],
    ):
        assert [file.name for file, text in texts.items() if version in text and file.name != "images.py"] == [
            "facts.py"
        ], version
