"""Labs for the cluster: rendered from a file of answers, and committed by their owner."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from support.rendering import VALID, copy_lab, read_answers, snapshot


def make_lab(template: Path, folder: Path, answers: dict[str, Any]) -> Path:
    """Render a lab and commit it.

    Args:
        template: a snapshot of the template, taken at the first call.
        folder: the lab's; made new.
        answers: by question; a default for each other one.
    """
    if not template.exists():
        snapshot(template)
    copy_lab(template, folder, answers, skip_tasks=True)
    for arguments in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "--all"],
        ["commit", "--quiet", "-m", "The lab"],
    ):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    return folder


def answers_of(name: str, **changes: Any) -> dict[str, Any]:
    """Return the answers of a file of tests/answers/valid/, with some changed."""
    return {**read_answers(next(file for file in VALID if file.stem == name)), **changes}


def fresh_copy(lab: Path, folder: Path) -> Path:
    """Return a copy of a lab's folder, its history included."""
    shutil.copytree(lab, folder, symlinks=True)
    return folder
