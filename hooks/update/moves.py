"""Where the template's files went: the owner's edits go along, and what cannot go along is named."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from ..files import Entry
from ..renames import Paths
from .state import SUBMODULE, Blob, Lab


@dataclass
class Moves:
    """What moved.

    old: the old template's files, at the paths that they have today.
    tracked: the lab's index, in the same way.
    came_from: today's path to the one of the last commit.
    split, reasons: what a file became, and why one is gone.
    stay_behind: what does not go with its folder, and what to do.
    """

    old: dict[str, Entry]
    tracked: dict[str, Blob]
    came_from: dict[str, str] = field(default_factory=dict)
    split: dict[str, list[str]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    stay_behind: dict[str, str] = field(default_factory=dict)
    vacated: set[str] = field(default_factory=set)

    def source(self, path: str) -> str:
        """Return where a file of today stood at the last commit."""
        return self.came_from.get(path, path)


def carried_over(lab: Lab, old: dict[str, Entry], steps: list[Paths]) -> Moves:
    """Follow the template's moves, a step a release.

    Args:
        lab: the lab as it is now; nothing of it is moved here.
        old: the old template's files.
        steps: renames.py's, in order.
    """
    moves = Moves(dict(old), dict(lab.tracked))
    moves.stay_behind = _stay_behind(
        lab, old, [pair for step in steps for pair in step.moved.items() if pair[0].endswith("/")]
    )
    for step in steps:
        for source, target in step.moved.items():
            for pair in _pairs(moves, source, target):
                _move(lab, moves, *pair)
        moves.split |= step.split
        moves.reasons |= step.removed
    return moves


def _pairs(moves: Moves, source: str, target: str) -> list[tuple[str, str]]:
    if not source.endswith("/"):
        return [(source, target)]
    paths = sorted(path for path in {*moves.old, *moves.tracked} if path.startswith(source))
    return [(path, target + path.removeprefix(source)) for path in paths]


def _move(lab: Lab, moves: Moves, source: str, target: str) -> None:
    if source in moves.tracked and moves.tracked[source].mode == SUBMODULE:
        return
    taken = lab.exists(target) and target not in moves.vacated
    if target in moves.old or target in moves.tracked or taken:
        return
    if source in moves.old:
        moves.old[target] = moves.old.pop(source)
    if source in moves.tracked:
        moves.tracked[target] = moves.tracked.pop(source)
        moves.came_from[target] = moves.came_from.pop(source, source)
        moves.vacated.add(source)


def _stay_behind(lab: Lab, old: dict[str, Entry], folders: list[tuple[str, str]]) -> dict[str, str]:
    """Name what does not move with its folder.

    Git may not ignore there what it ignores here, and a commit would have the secret.
    """
    if not folders:
        return {}
    found = {}
    modules = [path for path, blob in lab.tracked.items() if blob.mode == SUBMODULE]
    ignored = lab.git.names("ls-files", "--others", "--ignored", "--exclude-standard", "--directory")
    for names, why, command in ((ignored, "Git ignores it", "mv"), (modules, "It is a submodule", "git mv")):
        for path in names:
            for source, target in folders:
                if path.startswith(source) and any(other.startswith(source) for other in {*old, *lab.tracked}):
                    there = target + path.removeprefix(source)
                    found[path] = (
                        f"{why}, so it stays, while its folder is `{target}` now. Move it there:"
                        f" `{command} {shlex.quote(path.rstrip('/'))} {shlex.quote(there.rstrip('/'))}`"
                    )
    return found
