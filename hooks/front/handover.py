"""The wizard from its first line to Copier's last: ask, hand the answers over, forget them once a lab has them."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from extensions.pages import TOLD
from hooks.words import clean

from .asking import Asking
from .conversation import Conversation
from .kept import Kept
from .plain import Plain
from .template import Template

WRITTEN = re.compile(r" *create  ")  # how Copier begins the line of a file
STOPPED = 130  # as a shell says of a program that Ctrl-C ended


def wants_plain(environment: Mapping[str, str]) -> bool:
    """Say whether lines alone may be used: PLAIN=1, or a terminal that says that it can do nothing else."""
    return environment.get("PLAIN", "0") not in {"", "0"} or environment.get("TERM", "dumb") in {"", "dumb"}


def run(folder: Path, given: str, copier: Sequence[str], plain: bool) -> int:
    """Ask for a lab in *folder*, let Copier write it, and return the exit code.

    Args:
        given: the folder as the owner wrote it.
        copier: the command that copies, up to where its options with answers go; the template and the folder follow.
        plain: whether only lines may be used.
    """
    kept = Kept(folder, os.environ)
    again = f"make lab DEST={shlex.quote(given)}" + (" PLAIN=1" if plain else "")
    try:
        answers = Conversation(Template(folder.name), _asking(plain), kept).run()
    except KeyboardInterrupt:
        print("\nStopped; nothing was written.", end="")
        print(f" Your answers are in {kept.file}.\n{again} goes on with them." if kept.file.exists() else "")
        return STOPPED
    code = _copy(answers, kept, copier, plain)
    if code == 0:
        kept.remove()
    else:
        print(f"\nThe lab was not made. Your answers are in {kept.file}.\n{again} goes on with them.", file=sys.stderr)
    return code


def _asking(plain: bool) -> Asking:
    if plain:
        return Plain()
    from .screen import Screen  # noqa: PLC0415 - the plain way loads nothing that speaks to a cursor

    return Screen()


def _copy(answers: Mapping[str, Any], kept: Kept, copier: Sequence[str], plain: bool) -> int:
    """Run Copier with a file of the answers, which nobody else can read, and return its exit code."""
    # Elsewhere if nothing can be kept there; the file is its owner's alone in any folder.
    folder = kept.file.parent if kept.file.exists() else None
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=folder, prefix="answers.", suffix=".yml") as file:
        yaml.safe_dump(dict(answers), file, allow_unicode=True, sort_keys=False)
        file.flush()
        sys.stdout.flush()
        command = [*copier[:-2], "--defaults", "--data-file", file.name, *copier[-2:]]
        # Ctrl-C is Copier's to handle, which removes what it had begun to write.
        before = signal.signal(signal.SIGINT, lambda *_: None)
        try:
            environment = {**os.environ, TOLD: "1"}
            if plain or os.environ.get("NO_COLOR"):
                return _without_looks(command, environment, plain)
            return subprocess.run(command, env=environment, check=False).returncode
        finally:
            signal.signal(signal.SIGINT, before)


def _without_looks(command: Sequence[str], environment: Mapping[str, str], plain: bool) -> int:
    """Run Copier, which colours what it says in every terminal; in plain lines its files are counted, not listed."""
    written = 0
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        for coloured in process.stdout or ():
            line = clean(coloured.rstrip("\n"))
            if plain and WRITTEN.match(line):
                written += 1
                continue
            if written:
                print(f"{written} files and folders.")
                written = 0
            print(line, flush=True)
    return process.returncode
