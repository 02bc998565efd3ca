"""Labs for the cluster: rendered from a file of answers, and committed by their owner."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from tests.support.rendering import VALID, copy_lab, read_answers, snapshot


def make_lab(template: Path, folder: Path, answers: dict[str, Any], version: str | None = None) -> Path:
    """Render a lab and commit it.

    Args:
        template: a snapshot of the template, taken at the first call; or a repository of its releases.
        folder: the lab's; made new.
        answers: by question; a default for each other one.
        version: the release to render, such as 1.0.0; the newest otherwise.
    """
    if not template.exists():
        snapshot(template)
    copy_lab(template, folder, answers, skip_tasks=True, vcs_ref=version and f"v{version}")
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "The lab")
    return folder


def git(folder: Path, *arguments: str) -> bytes:
    """Run Git in a folder, and return what it prints."""
    return subprocess.run(["git", *arguments], cwd=folder, check=True, stdout=subprocess.PIPE).stdout


def release(template: Path, version: str) -> Path:
    """Commit a template as it is, tagged as a version; its repository is made by the first one."""
    git(template, "init", "--quiet")
    git(template, "add", "--all", "--force")
    git(template, "commit", "--quiet", "-m", version)
    git(template, "tag", f"v{version}")
    return template


def answers_of(name: str, **changes: Any) -> dict[str, Any]:
    """Return the answers of a file of tests/answers/valid/, with some changed."""
    return {**read_answers(next(file for file in VALID if file.stem == name)), **changes}
