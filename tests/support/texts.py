"""The lab's templates rendered in this process thousands of times: the very extension and settings of Copier, without its files."""

from __future__ import annotations

from copy import deepcopy
from functools import cache, lru_cache
from typing import Any

import yaml
from copier._jinja_ext import SandboxedEnvironment
from jinja2 import FileSystemLoader, StrictUndefined

from extensions import all_answers
from extensions import copier_extension as adapter

from .questions import QUESTIONS
from .rendering import ROOT


@lru_cache(maxsize=1)
def environment() -> SandboxedEnvironment:
    """Return the environment that Copier makes of copier.yml's settings."""
    return SandboxedEnvironment(
        loader=FileSystemLoader(ROOT),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2_ansible_filters.AnsibleCoreFiltersExtension", adapter.LabExtension],
    )


def parse_yaml(text: str) -> Any:
    """Return what Copier reads in an answer. It reads in pure Python, and most answers are the same few defaults."""
    return deepcopy(_parsed(text))


@lru_cache(maxsize=1000)
def _parsed(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def render_value(value: Any, answers: Any) -> Any:
    return environment().from_string(value).render(answers) if isinstance(value, str) else value


@cache
def _compiled(value: str) -> Any:
    return environment().from_string(value)


def _render_cached(value: Any, answers: Any) -> Any:
    return _compiled(value).render(answers) if isinstance(value, str) else value


def problems(
    given: dict[str, Any], recorded: dict[str, Any] | None = None, folder: str = "lab", interactive: bool = False
) -> list[str]:
    """Return what is wrong with these answers, as Copier would be told."""
    return all_answers.refusals(
        QUESTIONS, given, recorded or {}, _render_cached, parse_yaml, {"_folder_name": folder}, interactive
    )


def answered(given: dict[str, Any]) -> dict[str, Any]:
    """Return the whole answers: the given ones, and defaults for the rest."""
    answers: dict[str, Any] = {"_folder_name": "lab"}
    for name, question in QUESTIONS.items():
        value = given[name] if name in given else _render_cached(question["default"], answers)
        if name not in given and question["type"] == "yaml":
            value = parse_yaml(value)
        if name not in given and question["type"] == "bool" and isinstance(value, str):
            value = value == "True"
        if name not in given and question["type"] == "int":
            value = int(value)
        answers[name] = value
    return answers


@lru_cache(maxsize=1)
def _templates() -> list[tuple[tuple[str, ...], str]]:
    """Return each template's path below template/, by its parts, and below the project."""
    files = sorted((ROOT / "template").rglob("*.jinja"))
    return [(file.relative_to(ROOT / "template").with_suffix("").parts, str(file.relative_to(ROOT))) for file in files]


def texts(answers: dict[str, Any]) -> dict[str, str]:
    """Return the lab's rendered files by path: those that hold an answer, and whose condition holds."""
    context = {**answers, "_copier_answers": answers, "_copier_conf": {"answers_file": ".copier-answers.yml"}}
    found = {}
    for path, template in _templates():
        parts = [_compiled(part).render(context) if "{" in part else part for part in path]
        if all(parts):
            found["/".join(parts)] = environment().get_template(template).render(context)
    return found
