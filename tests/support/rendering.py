"""Labs, rendered once a test run: both workers share one folder, and whoever comes first renders."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import copier
import yaml
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
VALID = sorted((ROOT / "tests" / "answers" / "valid").glob("*.yml"))
# What owners of the template and its contributors read; a lab's own pages are in the lab.
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def project_files() -> list[str]:
    """Return the project's files as Git would commit them, so that a stray file of the developer's changes nothing."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    return sorted(name for name in listed if name and (ROOT / name).is_file())


def snapshot(target: Path) -> Path:
    """Copy what Copier reads of this project (no tests, no example) to *target*, and return it."""
    for name in project_files():
        if name.split("/")[0] in {"copier.yml", "questions", "extensions", "hooks", "partials", "template"}:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def copy_lab(template: Path, destination: Path, data: dict[str, Any], **options: Any) -> None:
    """Render a lab in this process, without questions."""
    options = {"defaults": True, "overwrite": True, "quiet": True, "unsafe": True, **options}
    copier.run_copy(str(template), destination, data=data, **options)


def rendered(shared: Path, name: str, data: dict[str, Any]) -> Path:
    """Return the lab of these answers, rendered on the first call of either worker."""
    lab = shared / "labs" / name
    with FileLock(shared / f"{name}.lock"):
        if not lab.exists():
            with FileLock(shared / "template.lock"):
                if not (shared / "template").exists():
                    snapshot(shared / "template")
            copy_lab(shared / "template", lab, data, skip_tasks=True)
    return lab


def once(shared: Path, what: str, parts: Iterable[bytes], judge: Callable[[], str]) -> str:
    """Return what *judge* says of *parts*, asked by the first worker that comes to the same ones and remembered for the other."""
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()
    key = f"{what}-{digest}"
    remembered = shared / key
    with FileLock(shared / f"{key}.lock"):
        if not remembered.exists():
            remembered.write_text(judge(), encoding="utf-8")
        return remembered.read_text(encoding="utf-8")


def read_answers(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader) or {}


def recorded_answers(lab: Path) -> dict[str, Any]:
    """Return the answers as the lab's own file records them."""
    return read_answers(lab / ".copier-answers.yml")


def required() -> bool:
    """Say whether a missing tool is a failure, as in CI."""
    return os.environ.get("REQUIRE_TOOLS") == "1"
