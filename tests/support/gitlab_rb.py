"""gitlab.rb as Ruby reads it, and the names that GitLab knows."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from .rendering import ROOT
from .tools import run, tool

KEYS = Path(__file__).resolve().parent.parent / "keys"


RECORDER = Path(__file__).resolve().parent / "gitlab_rb.rb"
GITLAB_YML = Path(__file__).resolve().parent / "gitlab_yml.rb"
KNOWN_KEYS = ROOT / "template" / ".gitlab" / "checks" / "gitlab_rb_keys.txt"
SECTIONS = KEYS / "gitlab_rb_sections.txt"


def settings(file: Path, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Evaluate the file in Ruby and return its settings by section.

    Args:
        file: a gitlab.rb.
        environment: variables of the pod that the file reads.
    """
    return settings_of_many([file], file.parent, environment)[0]


def settings_of_many(
    files: list[Path], folder: Path, environment: dict[str, str] | None = None
) -> list[dict[str, Any]]:
    """Evaluate several files in one Ruby, which runs in *folder*, and return the settings of each."""
    done = run(
        # Without RubyGems, which nothing here needs, Ruby starts in a quarter of the time.
        tool("ruby"),
        "--disable=gems",
        "-W",
        RECORDER,
        SECTIONS,
        *files,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **(environment or {})},
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def as_gitlab_reads_them(recorded: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Return what GitLab holds of each lab's settings after the package has printed them into gitlab.yml.

    Args:
        recorded: settings as `settings_of_many` returns them.
        folder: where Ruby runs.
    """
    done = subprocess.run(
        [tool("ruby"), "--disable=gems", str(GITLAB_YML)],
        input="".join(f"{json.dumps(one)}\n" for one in recorded),
        cwd=folder,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def unknown_keys(recorded: dict[str, Any]) -> list[str]:
    """Return the settings that GitLab would accept and ignore.

    `gitlab_rails['nginx'][…]` and `registry['nginx'][…]` take the keys of `nginx[…]`.
    """
    known = set(KNOWN_KEYS.read_text(encoding="utf-8").split("\n"))
    found = []
    for section, value in recorded.items():
        if not isinstance(value, dict):
            continue
        for key, inner in value.items():
            if f"{section}['{key}']" not in known:
                found.append(f"{section}['{key}']")
            elif key == "nginx":
                found += [f"{section}['nginx']['{name}']" for name in inner if f"nginx['{name}']" not in known]
    return found
