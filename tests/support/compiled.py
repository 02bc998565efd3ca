"""The lab's program, compiled once for all labs of a test run.

A lab compiles its program at its first command, into a cache that goes by the lab's folder. In the tests each lab is a new folder, and
compiling took more than half of a short command's time. What is compiled here is good for every lab: Python compares its hash of
the source with the lab's own file, and compiles that anew where they differ.
"""

from __future__ import annotations

import os
import py_compile
import sys
from pathlib import Path

from .rendering import ROOT

PROGRAM = ROOT / "template" / "lab_program"
POOL = "compiled"


def compile_program(cache: Path) -> None:
    """Compile the template's program below a folder that is to be XDG_CACHE_HOME."""
    tag = sys.implementation.cache_tag
    for source in PROGRAM.rglob("*.py"):
        target = cache / POOL / source.relative_to(PROGRAM).with_suffix(f".{tag}.pyc")
        py_compile.compile(
            str(source), str(target), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH
        )


def share_compiled(lab: Path) -> Path:
    """Let a lab find what was compiled, and return it. XDG_CACHE_HOME is that of the test run."""
    cache = Path(os.environ["XDG_CACHE_HOME"])
    place = cache.joinpath("homelab", "python", *lab.resolve().parts[1:], PROGRAM.name)
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.is_symlink():
        place.symlink_to(cache / POOL)
    return lab
