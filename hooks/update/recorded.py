"""The lab's answers file: read strictly, and told from what the last update wrote.

The template writes a checksum of the answers into the file. Where it does not hold, somebody has edited the file
since; the newest commit in which it holds has what the last update wrote, and the difference is a change of answers
like any other.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..git import Git

CHECKSUM = re.compile(r"^# Checksum[^\n]*: ([0-9a-f]{64})\r?\n", re.MULTILINE)
Answers = dict[str, Any]
FIX = "Fix it and commit, or restore an earlier one (`git log -p` shows them), and update again"


class _Once(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads a mapping in which every key stands once; YAML's own reader would let the last of two answers win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key.value, str) and key.value in seen:
                raise ValueError(
                    f"answers `{key.value}` twice, in lines {seen[key.value]} and {line}; keep the right one,"
                    f" commit, and update again"
                )
            if isinstance(key.value, str):
                seen[key.value] = line
        return super().construct_mapping(node, deep)  # type: ignore[no-any-return]


def parsed(text: str) -> Answers:
    """Return the answers that a file's text records.

    Raises:
        ValueError: it cannot be read, or answers a question twice; the text completes "the answers file …".
    """
    try:
        loaded = yaml.load(text, _Once)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        why = " ".join(str(error).split())
        raise ValueError(f"cannot be read: {why}. {FIX}") from error
    if not isinstance(loaded, dict):
        raise ValueError(f"records no answers. {FIX}")  # noqa: TRY004 - as the line above
    return {str(name): value for name, value in loaded.items()}


def checksum(answers: Mapping[str, Any]) -> str:
    """Return what tells answers from others, however they are written down and whatever Copier notes beside them."""
    asked = {name: value for name, value in answers.items() if not name.startswith("_")}
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()


def as_written(text: str) -> bool | None:
    """Say whether a file has the answers that the template wrote; None where it carries no checksum."""
    found = CHECKSUM.search(text)
    if found is None:
        return None
    try:
        return checksum(parsed(text)) == found[1]
    except ValueError:
        return False


def edited_since(git: Git, path: str, text: str) -> tuple[Answers, list[str]] | None:
    """Return the answers that the last update wrote, where the file was edited by hand since, and what was done to it.

    Args:
        git: Git in the lab's folder.
        path: the answers file.
        text: what stands in it now.

    Returns:
        The answers of the last update and the names of those that were edited. None where nothing was edited, or no
        commit has the
        answers of that update any more.
    """
    if as_written(text):
        return None
    now = parsed(text)
    for commit in git("log", "--format=%H", "--max-count=200", "--", path).decode().split():
        shown = git.run("show", f"{commit}:./{path}")
        before = shown.stdout.decode("utf-8", errors="replace")
        if shown.returncode == 0 and as_written(before):
            answers = parsed(before)
            names = [
                name
                for name in {**answers, **now}
                if not name.startswith("_") and answers.get(name, now) != now.get(name, now)
            ]
            # Of an older update the newer questions' answers are unknown.
            if answers.get("_commit") != now.get("_commit") or not names:
                return None
            return {**answers, **{name: value for name, value in now.items() if name.startswith("_")}}, names
    return None


def written_by_hand(mine: bytes, plain: bytes, now: bytes) -> list[str]:
    """Return the comments of an answers file that the new one lacks.

    Args:
        mine: the owner's file.
        plain: what Copier would write of the same answers.
        now: what Copier wrote.
    """
    have = set(_lines(plain)) | set(_lines(now))
    return [line for line in _lines(mine) if "#" in line and line not in have and not CHECKSUM.match(f"{line}\n")]


def _lines(data: bytes) -> list[str]:
    return [line.strip() for line in data.decode("utf-8", errors="replace").splitlines()]


def load(file: Path) -> Answers:
    """Return what an answers file records.

    Raises:
        ValueError: as for `parsed`.
    """
    return parsed(file.read_text(encoding="utf-8"))
