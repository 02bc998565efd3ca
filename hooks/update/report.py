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


def text(findings: Findings, parts: Sequence[Part] = ()) -> str:
    """Return the report.

    Args:
        findings: what the update did.
        parts: what is said between the files that need a look and the list of files. One that fails says so, and no
        more.
    """
    same = findings.version_from == findings.version_to
    title = (
        f"The lab, still at {findings.version_to}"
        if same
        else f"The lab, from {findings.version_from} to {findings.version_to}"
    )
    said = [
        f"# {title}",
        _summary(findings),
        _section("Conflicts to resolve", _conflicts(findings)),
        _section("Saved while the update ran", _saved(findings)),
        _section("Set aside", [f"`{path}`: {what}" for path, what in sorted(findings.set_aside.items())]),
        _section("In no commit", [f"`{path}`: {what}" for path, what in sorted(findings.ignored.items())]),
        _section("Kept as you have it", [f"`{path}`: {what}" for path, what in sorted(findings.kept.items())]),
        _section(
            "Left over from an earlier update", [f"`{path}`: work it in, and delete it" for path in findings.left]
        ),
        *(_section(name, _safely(lines)) for name, lines in parts),
        _section("Answers", _answers(findings)),
        _section("Answers that did not follow", followers.lines(findings.answers_before, findings.answers_after)),
        _section("Files", _files(findings)),
        _how_to_go_on(findings),
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


def _summary(findings: Findings) -> str:
    counts = (
        (len(findings.changed), "changed"),
        (len(findings.added), "added"),
        (len(findings.removed), "removed"),
        (len(findings.moved), "moved"),
        (sum(len(places) or 1 for places in findings.conflicts.values()), "to resolve"),
    )
    said = ", ".join(f"{count} {what}" for count, what in counts if count)
    return f"Files: {said}." if said else "No file changed."


def _conflicts(findings: Findings) -> list[str]:
    lines = []
    for path, places in sorted(findings.conflicts.items()):
        lines += [
            f"`{path}`, lines {first} to {last}: you and the template changed the same place" for first, last in places
        ]
        if not places:
            lines.append(f"`{path}`: what could not be patched is in `{path}.rej`; work it in, and delete that file")
    if any(findings.conflicts.values()):
        lines.append("Keep what is right between the markers, remove the markers, and `git add` the file.")
    return lines


def _saved(findings: Findings) -> list[str]:
    touched = {*findings.changed, *findings.added, *findings.removed}
    came_from = {target: source for source, target in findings.moved.items()}
    sources = {came_from.get(path, path) for path in touched}
    lines = []
    for path, name in sorted(findings.saved.items()):
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


def _answers(findings: Findings) -> list[str]:
    before = {name: value for name, value in findings.answers_before.items() if not name.startswith("_")}
    after = {name: value for name, value in findings.answers_after.items() if not name.startswith("_")}
    lines = [f"{what}." for what in findings.migrated]
    lines += [f"edited by hand in the answers file, and carried out now: `{name}`" for name in findings.by_hand]
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


def _files(findings: Findings) -> list[str]:
    moved = {target: source for source, target in findings.moved.items()}
    lines = [f"moved: `{source}` to `{target}`" for source, target in sorted(findings.moved.items())]
    lines += [
        f"changed: `{path}`" for path in sorted(findings.changed) if path not in moved or path in findings.conflicts
    ]
    lines += [f"added: `{path}`" for path in sorted(findings.added)]
    lines += [f"removed: `{path}`" + (f": {why}" if why else "") for path, why in sorted(findings.removed.items())]
    return lines


def _how_to_go_on(findings: Findings) -> str:
    take = "`git add --all . && git commit`"
    first = (
        f"Nothing is committed. First resolve the conflicts above; then {take}."
        if findings.conflicts
        else f"Nothing is committed. To take it: {take}."
    )
    undone = f"{first} To undo all of it: `{undo(findings)}`.\n"
    return f"{undone}The lab before the update is the commit {findings.commit[:12]}."


def undo(findings: Findings) -> str:
    """Return the command that undoes the update, and touches no submodule and nothing that the owner saved."""
    spared = [
        shlex.quote(f":(exclude,literal){path}") for path in sorted(findings.saved.keys() - findings.taken.keys())
    ]
    steps = [" ".join(["git restore --no-recurse-submodules --source=HEAD --staged --worktree -- .", *spared])]
    # Git restores nothing as long as a path is in conflict that the commit lacks.
    moved = {*findings.moved.values()} & findings.conflicts.keys()
    if unknown := moved | (findings.conflicts.keys() & findings.taken.keys()):
        steps.insert(0, f"git rm --quiet --cached --force --ignore-unmatch -- {_listed(unknown)}")
    # Whatever else is new in the lab is the owner's.
    if new := {*findings.added, *moved}:
        steps.append(f"rm -f -- {_listed(new)}")
    return " && ".join([*steps, *(command for _, command in sorted(findings.taken.items()))])


def _listed(paths: Iterable[str]) -> str:
    return " ".join(shlex.quote(str(PurePosixPath(path))) for path in sorted(paths))
