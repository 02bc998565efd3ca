"""The valid answers use every choice of every question, and every pair of the choices that matter most."""

from __future__ import annotations

from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest

from tests.answers import generate_pairs
from tests.support.questions import QUESTIONS
from tests.support.rendering import VALID, read_answers, recorded_answers, rendered
from tests.support.texts import answered, problems

# The lab's own issuers change little else: tls-*.yml has each of them once.
PAIRED = {
    "storage_backend": {"storage-class", "nfs", "host-path"},
    "data_backend": {"storage-class", "nfs", "host-path"},
    "tls_source": {"cert-manager", "secret", "traefik"},
    "ssh_exposure": {"load-balancer", "traefik", "node-port"},
    "runner_kind": {"docker", "kubernetes", "none"},
    "build_method": {"dind", "buildkit"},
    "gitops_source": {"self", "external"},
    "private_ca": {True, False},
}


@pytest.fixture(scope="module")
def recorded(shared: Path) -> list[dict[str, Any]]:
    return [recorded_answers(rendered(shared, file.stem, read_answers(file))) for file in VALID]


def test_there_are_at_least_sixteen_files() -> None:
    assert len(VALID) >= 16


@pytest.mark.slow(each_commit=True)
def test_every_choice_of_every_question_is_used(recorded: list[dict[str, Any]]) -> None:
    for name, question in QUESTIONS.items():
        if question["type"] == "bool":
            choices: set[Any] = {True, False}
        elif "choices" in question:
            choices = set(question["choices"].values())
        else:
            continue
        assert {answers[name] for answers in recorded if name in answers} == choices, name


@pytest.mark.slow(each_commit=True)
def test_every_pair_of_choices_meets(recorded: list[dict[str, Any]]) -> None:
    for first, second in combinations(PAIRED, 2):
        met = {(answers[first], answers[second]) for answers in recorded}
        assert met >= set(product(PAIRED[first], PAIRED[second])), (first, second)


def test_the_generated_files_are_fresh() -> None:
    there = {file.name: file.read_text(encoding="utf-8") for file in VALID if file.name.startswith("pair-")}
    assert there == generate_pairs.files(), "run `make answers`"


@pytest.mark.slow(each_commit=True)
def test_every_question_that_applies_is_recorded_whatever_the_level(recorded: list[dict[str, Any]]) -> None:
    always = {name for name, question in QUESTIONS.items() if "when" not in question}
    for answers in recorded:
        assert always <= answers.keys()


@pytest.mark.parametrize(
    "given",
    [
        {"https_port": 2223},
        {"https_port": 2223, "ssh_exposure": "traefik"},
        {"https_port": 30022, "traefik_kind": "other", "ssh_exposure": "node-port"},
        {"https_port": 30022, "traefik_kind": "other"},
        {"http_port": 5050},
    ],
    ids=str,
)
def test_a_port_that_is_taken_by_an_answer_is_no_later_questions_default(given: dict[str, Any]) -> None:
    assert problems(answered(given)) == []
