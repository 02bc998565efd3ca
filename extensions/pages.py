"""The wizard's settings and pages as copier.yml lists them: each question by its name, with the page that asks it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
Question = dict[str, Any]
# The question that picks between the few questions and all of them.
LEVEL = "setup_level"
# Set for Copier by the front end of `make lab`, which has said what a lab needs.
TOLD = "HOMELAB_NEEDS_ARE_TOLD"


class _Page(dict[str, Question]):
    """The questions of a file, and the page's name."""

    name = "more"


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads copier.yml with its pages."""


def _included(_: Any, node: yaml.ScalarNode) -> _Page:
    file = ROOT / str(node.value)
    page = _Page(_documents(file)[0])
    page.name = file.stem
    return page


Loader.add_constructor("!include", _included)


def _documents(file: Path) -> list[Any]:
    return list(yaml.load_all(file.read_text(encoding="utf-8"), Loader))


def settings() -> dict[str, Any]:
    """Return copier.yml's own settings, by name with its underscore."""
    found: dict[str, Any] = _documents(ROOT / "copier.yml")[0]
    return found


def pages() -> dict[str, dict[str, Question]]:
    """Return the questions of each page, by name, in the order in which they are asked."""
    found: dict[str, dict[str, Question]] = {}
    for page in _documents(ROOT / "copier.yml")[1:]:
        found.setdefault(getattr(page, "name", _Page.name), {}).update(page)
    return found


def questions() -> dict[str, Question]:
    """Return all questions, by name, in the order in which they are asked."""
    return {name: question for page in pages().values() for name, question in page.items()}


def parse_yaml(text: str) -> Any:
    """Return what a YAML text holds.

    Raises:
        ValueError: it is none.
    """
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
