"""What the report tells of an update."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Findings:
    """What an update did, by the lab's paths.

    conflicts: the lines of each conflict; none where what could not be placed stands in a `.rej` file.
    kept, set_aside: why a file stays as the owner has it, and where the other version is.
    ignored: the template's new files that Git leaves out of every commit, and the rule.
    left: `.rej` files of earlier updates.
    saved: the files that were saved while the update ran, and the name of what was saved.
    taken: those of them that the update moved, removed or left with a conflict: the command that puts back what was
    saved.
    moved: from where to where.
    """

    version_from: str
    version_to: str
    commit: str
    answers_before: dict[str, Any] = field(default_factory=dict)
    answers_after: dict[str, Any] = field(default_factory=dict)
    migrated: list[str] = field(default_factory=list)
    by_hand: list[str] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)
    conflicts: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    set_aside: dict[str, str] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    saved: dict[str, str] = field(default_factory=dict)
    taken: dict[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    removed: dict[str, str] = field(default_factory=dict)
