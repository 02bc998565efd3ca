"""What the owner is told after an update: one Markdown text for the terminal, the file and the merge request."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from .. import followers
from .findings import Findings

# A part of the report: its title, and what makes its lines.
Part = tuple[str, Callable[[], list[str]]]


def text(found: Findings, parts: Sequence[Part] = ()) -> str:
    """Return the report.

    Args:
        found: what the update did.
        parts: what is said between the files that need a look and the list of files. One that fails says so, and no
        more.
    """
    same = found.version_from == found.version_to
    title = (
        f"The lab, still at {found.version_to}" if same else f"The lab, from {found.version_from} to {found.version_to}"
    )
    said = [
        f"# {title}",
        _summary(found),
        _section("Conflicts to resolve", _conflicts(found)),
        _section("Saved while the update ran", _saved(found)),
        _section("Set aside", [f"`{path}`: {what}" for path, what in sorted(found.set_aside.items())]),
        _section("In no commit", [f"`{path}`: {what}" for path, what in sorted(found.ignored.items())]),
        _section("Kept as you have it", [f"`{path}`: {what}" for path, what in sorted(found.kept.items())]),
        _section("Left over from an earlier update", [f"`{path}`: work it in, and delete it" for path in found.left]),
        *(_section(name, _safely(lines)) for name, lines in parts),
        _section("Answers", _answers(found)),
        _section("Answers that did not follow", followers.lines(found.answers_before, found.answers_after)),
        _section("Files", _files(found)),
        _how_to_go_on(found),
    ]
    return "\n\n".join(part for part in said if part) + "\n"


def _section(title: str, lines: list[str]) -> str:
    return f"## {title}\n\n" + "\n".join(f"- {line}" for line in lines) if lines else ""


def _safely(lines: Callable[[], list[str]]) -> list[str]:
    # The lab is read as its owner left it: whatever may be missing or broken there, the update is told.
    try:
        return lines()
    except Exception as error:  # noqa: BLE001 - a report may lack a part, but not take the update with it
        why = " ".join(f"{type(error).__name__}: {error}".split())
        return [f"This part of the report could not be made ({why}). The update itself is done: see `git diff`."]


def _summary(found: Findings) -> str:
    counts = (
        (len(found.changed), "changed"),
        (len(found.added), "added"),
        (len(found.removed), "removed"),
        (len(found.moved), "moved"),
        (sum(len(places) or 1 for places in found.conflicts.values()), "to resolve"),
    )
    said = ", ".join(f"{count} {what}" for count, what in counts if count)
    return f"Files: {said}." if said else "No file changed."


def _conflicts(found: Findings) -> list[str]:
    lines = []
    for path, places in sorted(found.conflicts.items()):
        lines += [
            f"`{path}`, lines {first} to {last}: you and the template changed the same place" for first, last in places
        ]
        if not places:
            lines.append(f"`{path}`: what could not be patched is in `{path}.rej`; work it in, and delete that file")
    if any(found.conflicts.values()):
        lines.append("Keep what is right between the markers, remove the markers, and `git add` the file.")
    return lines


def _saved(found: Findings) -> list[str]:
    touched = {*found.changed, *found.added, *found.removed}
    came_from = {target: source for source, target in found.moved.items()}
    sources = {came_from.get(path, path) for path in touched}
    lines = []
    for path, name in sorted(found.saved.items()):
        if not name:
            lines.append(f"`{path}`: you deleted it, and it stays away")
        elif path in sources:
            lines.append(
                f"`{path}`: what you saved is in the file, with the template's changes. Without them: `git cat-file"
                f" blob {name[:12]}`"
            )
        else:
            lines.append(f"`{path}`: it is as you saved it")
    return lines


def _answers(found: Findings) -> list[str]:
    before = {name: value for name, value in found.answers_before.items() if not name.startswith("_")}
    after = {name: value for name, value in found.answers_after.items() if not name.startswith("_")}
    lines = [f"{what}." for what in found.migrated]
    lines += [f"edited by hand in the answers file, and carried out now: `{name}`" for name in found.by_hand]
    lines += [f"new: `{name}: {_value(after[name])}`" for name in after if name not in before]
    lines += [
        f"changed: `{name}: {_value(before[name])}` is `{_value(after[name])}` now"
        for name in changed_answers(before, after)
    ]
    lines += [
        f"not asked any more: `{name}`, which was `{_value(before[name])}`" for name in before if name not in after
    ]
    return lines


def changed_answers(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the questions that are answered otherwise now."""
    return [name for name in after if name in before and before[name] != after[name]]


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, default=str)


def _files(found: Findings) -> list[str]:
    moved = {target: source for source, target in found.moved.items()}
    lines = [f"moved: `{source}` to `{target}`" for source, target in sorted(found.moved.items())]
    lines += [f"changed: `{path}`" for path in sorted(found.changed) if path not in moved or path in found.conflicts]
    lines += [f"added: `{path}`" for path in sorted(found.added)]
    lines += [f"removed: `{path}`" + (f": {why}" if why else "") for path, why in sorted(found.removed.items())]
    return lines


def _how_to_go_on(found: Findings) -> str:
    take = "`git add --all . && git commit`"
    first = (
        f"Nothing is committed. First resolve the conflicts above; then {take}."
        if found.conflicts
        else f"Nothing is committed. To take it: {take}."
    )
    return f"{first} To undo all of it: `{undo(found)}`.\nThe lab before the update is the commit {found.commit[:12]}."


def undo(found: Findings) -> str:
    """Return the command that undoes the update, and touches no submodule and nothing that the owner saved."""
    spared = [shlex.quote(f":(exclude,literal){path}") for path in sorted(found.saved.keys() - found.taken.keys())]
    steps = [" ".join(["git restore --no-recurse-submodules --source=HEAD --staged --worktree -- .", *spared])]
    # Git restores nothing as long as a path is in conflict that the commit lacks.
    moved = {*found.moved.values()} & found.conflicts.keys()
    if unknown := moved | (found.conflicts.keys() & found.taken.keys()):
        steps.insert(0, f"git rm --quiet --cached --force --ignore-unmatch -- {_listed(unknown)}")
    # Whatever else is new in the lab is the owner's.
    if new := {*found.added, *moved}:
        steps.append(f"rm -f -- {_listed(new)}")
    return " && ".join([*steps, *(command for _, command in sorted(found.taken.items()))])


def _listed(paths: Iterable[str]) -> str:
    return " ".join(shlex.quote(str(PurePosixPath(path))) for path in sorted(paths))
