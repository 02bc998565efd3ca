"""The template's questions, evaluated as Copier does it: the same extension, in an environment of the same settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jinja2
from jinja2.sandbox import SandboxedEnvironment

from extensions import pages
from extensions.walk import Entry, meant, refused, renderer, walk

# Copier adds it to the extensions that copier.yml names: copier.readthedocs.io/en/stable/configuring/#jinja_extensions
COPIERS_OWN = "jinja2_ansible_filters.AnsibleCoreFiltersExtension"
UNDEFINED = {"jinja2.Undefined": jinja2.Undefined, "jinja2.StrictUndefined": jinja2.StrictUndefined}


@dataclass(frozen=True)
class Choice:
    """One of a question's choices: what a person reads, and the answer."""

    title: str
    value: Any


class Template:
    """The questions for a lab in a folder of this name."""

    def __init__(self, folder_name: str) -> None:
        settings = pages.settings()
        options = dict(settings["_envops"])
        options["undefined"] = UNDEFINED[options.get("undefined", "jinja2.Undefined")]
        self.environment = SandboxedEnvironment(
            loader=jinja2.FileSystemLoader(pages.ROOT),
            extensions=[COPIERS_OWN, *settings["_jinja_extensions"]],
            **options,
        )
        self.render = renderer(self.environment)
        self.needs: str = settings["_message_before_copy"]
        self.pages = pages.pages()
        self.context = {"_folder_name": folder_name}

    def walk(self, given: Mapping[str, Any]) -> list[Entry]:
        """Return all questions in order, with what the answers so far make of them."""
        return walk(self.pages, given, self.render, self.context)

    def before(self) -> str:
        """Return what Copier would say before its first question."""
        return str(self.render(self.needs, self.context)).strip("\n")

    def help(self, entry: Entry, entries: list[Entry]) -> str:
        """Return a question's help."""
        return str(self.render(entry.question["help"], self._answers(entries)))

    def judge(self, entry: Entry, text: Any, entries: list[Entry]) -> tuple[Any, str | None]:
        """Return the answer that was meant, and why it is refused; None if it is not.

        Args:
            text: what was typed, or a choice's value.
        """
        if isinstance(text, str) and "choices" not in entry.question:
            text = text.strip()
        value, message = meant(entry.question, text, entry.default)
        if message is None:
            message = refused(entry.name, entry.question, value, self._answers(entries), self.render)
        return value, message

    def _answers(self, entries: list[Entry]) -> dict[str, Any]:
        return {**self.context, **{entry.name: entry.value for entry in entries}}


def choices(entry: Entry) -> list[Choice]:
    """Return a question's choices; none if its answer is typed."""
    if entry.question["type"] == "bool":
        return [Choice("yes", value=True), Choice("no", value=False)]
    return [Choice(str(title), value) for title, value in entry.question.get("choices", {}).items()]
