"""The wizard's pages as data, read as Copier reads them: several YAML documents, with includes."""

from __future__ import annotations

from typing import Any

import yaml

from .rendering import ROOT


class _Loader(yaml.SafeLoader):
    pass


_Loader.add_constructor(
    "!include", lambda loader, node: yaml.safe_load((ROOT / loader.construct_scalar(node)).read_text(encoding="utf-8"))
)
PAGES: list[dict[str, Any]] = list(yaml.load_all((ROOT / "copier.yml").read_text(encoding="utf-8"), _Loader))
SETTINGS: dict[str, Any] = PAGES[0]
QUESTIONS: dict[str, dict[str, Any]] = {name: question for page in PAGES[1:] for name, question in page.items()}
