"""Programs that the tests call. One on PATH is preferred; a missing one skips the check, or fails it in CI."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .rendering import required

# What requirements/package.json names is installed there.
NODE_MODULES = Path(sys.prefix) / "node" / "node_modules"


def tool(name: str) -> str:
    """Return the program's path: from PATH, or from the environment that the tests run in."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        message = f"{name} is not installed; .ci/install-tools installs it"
        if required():
            pytest.fail(message)
        pytest.skip(message)
    return found


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a program, and return what it said and how it ended."""
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
