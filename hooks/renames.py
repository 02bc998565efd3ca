"""The table of paths that moved, renames.yml, and the folders that are named after an answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from packaging.version import Version

# The one in C, where it was built.
SAFE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Folders of the lab that carry an answer in their name: they move when the answer changes.
NAMED_AFTER_ANSWERS = ("clusters/{cluster_name}/",)


@dataclass
class Paths:
    """What happened to paths: moved (old to new), split (old to its parts), removed (old to why)."""

    moved: dict[str, str] = field(default_factory=dict)
    split: dict[str, list[str]] = field(default_factory=dict)
    removed: dict[str, str] = field(default_factory=dict)


def newer(sections: Iterable[str], than: str) -> list[str]:
    """Return the sections that a lab of that version has not seen, oldest first; what is unreleased is new to each."""
    released = sorted((name for name in sections if name != "unreleased"), key=Version)
    return [name for name in released if Version(name) > Version(than)] + [
        name for name in sections if name == "unreleased"
    ]


def table(file: Path) -> dict[str, Any]:
    """Return renames.yml by version."""
    loaded = yaml.load(file.read_text(encoding="utf-8"), SAFE)  # noqa: S506 - it is one
    return {str(version): section or {} for version, section in (loaded or {}).items()}


def steps(file: Path, version: str, answers: Mapping[str, Any]) -> list[Paths]:
    """Return what happened to paths since *version*, a step a release, with the answers put into them."""
    sections = table(file)

    def filled(path: str) -> str:
        return path.format_map({name: str(value) for name, value in answers.items()})

    return [
        Paths(
            {filled(old): filled(new) for old, new in (sections[name].get("moved") or {}).items()},
            {
                filled(old): [filled(part) for part in parts]
                for old, parts in (sections[name].get("split") or {}).items()
            },
            {filled(old): why for old, why in (sections[name].get("removed") or {}).items()},
        )
        for name in newer(sections, version)
    ]


def of_answers(before: Mapping[str, Any], after: Mapping[str, Any]) -> Paths:
    """Return the folders that move because the answer in their name is another now."""
    moved = {}
    for pattern in NAMED_AFTER_ANSWERS:
        try:
            old, new = pattern.format_map(before), pattern.format_map(after)
        except KeyError:
            continue
        if old != new:
            moved[old] = new
    return Paths(moved)
