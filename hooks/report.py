"""What the owner is told after an update: one Markdown text for the terminal, the file and the merge request."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from . import followers
from .update import UNDO, Findings

# Answers that say where GitLab keeps its files. The changed files alone would tell of a restart.
PLACES = ("gitlab_namespace", "storage_backend", "data_backend", "storage_root", "nfs_server", "storage_class")


def text(found: Findings, effects: Path, chart: Callable[[], tuple[str, str, list[str]]]) -> str:
    """Return the report.

    Args:
        found: what the update did.
        effects: effects.yml.
        chart: returns the chart's version before and after, and what that changes; asked only where the chart changed.
    """
    same = found.version_from == found.version_to
    title = f"The lab, still at {found.version_to}" if same else f"The lab, from {found.version_from} to {found.version_to}"
    paths = sorted({*found.changed, *found.added, *found.removed, *found.moved.values()})
    parts = [
        f"# {title}",
        _summary(found),
        _section("Conflicts to resolve", _conflicts(found)),
        _section("Set aside", [f"`{path}`: {what}" for path, what in sorted(found.set_aside.items())]),
        _section("Kept as you have it", [f"`{path}`: {what}" for path, what in sorted(found.kept.items())]),
        _section("In the cluster", [*_left_behind(found), *_effects(paths, effects)]),
        _section("The chart", _chart(chart()) if any(path.startswith("charts/app/") for path in paths) else []),
        _section("Answers", _answers(found)),
        _section("Answers that did not follow", followers.lines(found.answers_before, found.answers_after)),
        _section("Files", _files(found)),
        f"Nothing is committed. To take it: `git add --all . && git commit`. To undo all of it: `{UNDO}`.\n"
        f"The lab before the update is the commit {found.commit[:12]}.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(title: str, lines: list[str]) -> str:
    return f"## {title}\n\n" + "\n".join(f"- {line}" for line in lines) if lines else ""


def _summary(found: Findings) -> str:
    counts = (
        (len(found.changed), "changed"), (len(found.added), "added"), (len(found.removed), "removed"), (len(found.moved), "moved"),
        (sum(len(places) or 1 for places in found.conflicts.values()), "to resolve"),
    )
    said = ", ".join(f"{count} {what}" for count, what in counts if count)
    return f"Files: {said}." if said else "No file changed."


def _conflicts(found: Findings) -> list[str]:
    lines = []
    for path, places in sorted(found.conflicts.items()):
        lines += [f"`{path}`, lines {first} to {last}: you and the template changed the same place" for first, last in places]
        if not places:
            lines.append(f"`{path}`: what could not be patched stands in `{path}.rej`; work it in, and delete that file")
    if any(found.conflicts.values()):
        lines.append("Keep what is right between the markers, remove the markers, and `git add` the file.")
    return lines


def _left_behind(found: Findings) -> list[str]:
    changed = _changed(found.answers_before, found.answers_after)
    moved = [f"`{name}`" for name in PLACES if name in changed]
    if not moved:
        return []
    return [
        f"**Nothing moves what GitLab keeps.** With another {' and '.join(moved)} it begins anew without its files, or Kubernetes refuses the change."
        " Before you push, make a backup and copy it elsewhere; afterwards `./restore.sh` brings it back."
    ]


def _effects(paths: list[str], file: Path) -> list[str]:
    entries = [(entry["files"], entry["effect"]) for entry in yaml.safe_load(file.read_text(encoding="utf-8"))]
    by_effect: dict[str, list[str]] = {}
    for path in paths:
        effect = next(effect for patterns, effect in entries if any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns))
        by_effect.setdefault(effect, []).append(path)
    order = [effect for _, effect in entries]
    return [f"{effect} ({_some(by_effect[effect])})" for effect in sorted(by_effect, key=order.index)]


def _some(paths: list[str]) -> str:
    shown = ", ".join(f"`{path}`" for path in paths[:4])
    return shown + (f" and {len(paths) - 4} more" if len(paths) > 4 else "")


def _chart(chart: tuple[str, str, list[str]]) -> list[str]:
    before, after, lines = chart
    if before == after:
        return [f"`charts/app` changed and is still {after}, so Flux releases nothing new until its version changes.", *lines]
    return [f"`charts/app` {before} → {after}", *lines]


def _answers(found: Findings) -> list[str]:
    before = {name: value for name, value in found.answers_before.items() if not name.startswith("_")}
    after = {name: value for name, value in found.answers_after.items() if not name.startswith("_")}
    lines = [f"{what}." for what in found.migrated]
    lines += [f"new: `{name}: {_value(after[name])}`" for name in after if name not in before]
    lines += [f"changed: `{name}: {_value(before[name])}` is `{_value(after[name])}` now" for name in _changed(before, after)]
    lines += [f"not asked any more: `{name}`, which was `{_value(before[name])}`" for name in before if name not in after]
    return lines


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
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
