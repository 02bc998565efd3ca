"""Which answers still say what another answer said before an update: they were made from it once, and do not follow by
themselves.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

# Answers that others are made from by default (questions/*.yml). Each is recorded, so that a new default moves no lab.
# The first are made from no other answer, even if they are spelt like one.
FIRST = ("base_domain", "lab_name", "runner_user")
LEADERS = (*FIRST, "admin_email")
# What may not move with them: the cluster's folder is Flux's, and no answer makes another path on the runner's machine.
CAUTIONS = {
    "backup_bucket": "another bucket, which has to be there; the backups of the old one stay in it",
    "gitlab_host": "every clone address, and what DNS has to know",
    "registry_host": "the name of every image, and what DNS has to know",
    "cluster_name": "the folder that Flux follows: run the bootstrap after the push",
    "runner_home": "a folder on the runner's machine, which has to be there",
    "lab_group": "the group of the lab's own project: transfer the project into it in GitLab first",
    "gitops_url": "the repository that Flux follows, which has to be there",
}


@lru_cache(maxsize=1)
def choices() -> frozenset[str]:
    """Return the questions whose answer is one of a few words: none of them is a name, even if it is spelt as one."""
    found = set()
    for file in sorted((Path(__file__).resolve().parents[1] / "questions").glob("*.yml")):
        asked = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        found |= {name for name, question in asked.items() if isinstance(question, dict) and "choices" in question}
    return frozenset(found)


def followers(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the answers that hold what a changed answer was: by question, what they say and what they would say. An
    answer is a text, or a list of texts.

    Args:
        before: the answers before the update.
        after: the answers now.
    """
    found: dict[str, tuple[Any, Any]] = {}
    for leader in LEADERS:
        old, new = before.get(leader), after.get(leader)
        if not (isinstance(old, str) and isinstance(new, str) and old and old != new):
            continue
        # A whole name: `lab` is in `gitlab.lab` once, and in `homelab` not at all.
        # A repository's `.git` is no part of its name, nor is what the lab's own group and its bucket add.
        end = (
            r"(?![\w.-])"
            if leader in ("base_domain", "admin_email")
            else r"(?:(?![\w.-])|(?=(?:\.git|-ops|-backups)$))"
        )
        whole = re.compile(rf"(?<![\w-]){re.escape(old)}{end}")
        for name, value in after.items():
            if name in FIRST or name in choices() or name.startswith("_") or before.get(name) != value:
                continue
            moved = _moved(value, whole, new.replace("\\", r"\\"))
            if moved != value:
                found[name] = (value, moved)
    return found


def _moved(value: Any, whole: re.Pattern[str], new: str) -> Any:
    """Return a text, or a list's texts, with the new name; anything else as it is."""
    if isinstance(value, list):
        return [_moved(one, whole, new) for one in value]
    return whole.sub(new, value) if isinstance(value, str) else value


def _said(value: Any) -> str:
    """Return an answer as Copier takes it from the command line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def lines(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return what the report says of such answers, a line each, and the one command that moves them all; nothing if
    there are none.
    """
    found = followers(before, after)
    if not found:
        return []
    said = [
        f"`{name}: {_said(value)}` is as it was; it would be `{_said(moved)}`"
        + (f" ({CAUTIONS[name]})" if name in CAUTIONS else "")
        for name, (value, moved) in found.items()
    ]
    options = " ".join(f"--data {shlex.quote(f'{name}={_said(moved)}')}" for name, (_, moved) in found.items())
    return [*said, f"Commit, then this moves them: `./lab update {options}`. Leave out those that shall stay."]
