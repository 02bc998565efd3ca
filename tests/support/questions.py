"""The wizard's pages as data, read as Copier reads them: several YAML documents, with includes."""

from __future__ import annotations

from typing import Any

import yaml

from .rendering import ROOT, VALID, read_answers


class _Loader(yaml.SafeLoader):
    pass


_Loader.add_constructor(
    "!include", lambda loader, node: yaml.safe_load((ROOT / loader.construct_scalar(node)).read_text(encoding="utf-8"))
)
PAGES: list[dict[str, Any]] = list(yaml.load_all((ROOT / "copier.yml").read_text(encoding="utf-8"), _Loader))
SETTINGS: dict[str, Any] = PAGES[0]
QUESTIONS: dict[str, dict[str, Any]] = {name: question for page in PAGES[1:] for name, question in page.items()}


def labs_with(**wanted: list[Any]) -> list[str]:
    """Return the names of the valid files of answers that answer each of these questions with one of these answers.

    A question that the file leaves out has its default, which has to be a plain value: nothing is rendered here.
    """
    for question in wanted:
        assert "{{" not in str(QUESTIONS[question]["default"]), f"{question}: its default depends on other answers"

    def fits(answers: dict[str, Any]) -> bool:
        return all(
            answers.get(question, QUESTIONS[question]["default"]) in values for question, values in wanted.items()
        )

    return [file.stem for file in VALID if fits(read_answers(file))]
