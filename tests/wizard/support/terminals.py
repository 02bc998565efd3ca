"""`make lab` in a terminal of a size, read as text."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import struct
import sys
import termios
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.terminal import Terminal

CONTROL = re.compile(r"\x1b|[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]")
SEQUENCES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CTRL_C = "\x03"
PATIENCE = 30  # seconds without a word


class Wizard(Terminal):
    """The wizard in a terminal. What it says is read once: each `until` goes on after the last one."""

    def __init__(self, *command: str | Path, cwd: Path, env: dict[str, str], rows: int = 24, columns: int = 80) -> None:
        super().__init__(*command, cwd=cwd, env=env)
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.at = 0

    def _read(self) -> bool:
        if not select.select([self.end], [], [], PATIENCE)[0]:
            raise AssertionError(f"it says nothing more, and goes on:\n{self.said[self.at :]}")
        return super()._read()

    def give_up(self) -> None:
        """End it, if a test did not come to its end."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def until(self, text: str) -> None:
        """Read on until the program says *text*."""
        while text not in self.said[self.at :]:
            assert self._read(), f"ended before it said {text!r}:\n{self.said[self.at :]}"
        self.at = self.said.index(text, self.at) + len(text)

    def hears(self, text: str) -> None:
        """Read on until the program has said *text*, however its lines are wrapped."""
        while "".join(text.split()) not in "".join(self.said[self.at :].split()):
            assert self._read(), f"ended before it said {text!r}:\n{self.said[self.at :]}"


@dataclass
class Labs:
    """Where the wizard's labs are made."""

    clone: Path
    home: Path
    begun: list[Wizard] = field(default_factory=list)

    @property
    def lab(self) -> Path:
        return self.home / "my-lab"

    @property
    def kept(self) -> list[Path]:
        """What is kept of labs that are not made yet."""
        return sorted((self.home / "state").rglob("*.*"))

    def answers_kept(self) -> dict[str, Any]:
        (file,) = self.kept
        answers: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["answers"]
        return answers

    def environment(self, **settings: str) -> dict[str, str]:
        """Return what the wizard sees. A terminal that is not asked where its cursor is needs nobody to answer."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        own = {"TERM": "xterm", "PATH": path, "XDG_STATE_HOME": str(self.home / "state"), "PROMPT_TOOLKIT_NO_CPR": "1"}
        return {**os.environ, **own, **settings}

    def command(self, *arguments: str) -> list[str | Path]:
        return [sys.executable, self.clone / "hooks" / "make_lab.py", *arguments]

    def wizard(self, rows: int = 24, columns: int = 80, folder: str = "", **settings: str) -> Wizard:
        """Begin a lab in a terminal."""
        command, seen = self.command(folder or str(self.lab), ""), self.environment(**settings)
        self.begun.append(Wizard(*command, cwd=self.home, env=seen, rows=rows, columns=columns))
        return self.begun[-1]

    def plain(self, **settings: str) -> Wizard:
        """Begin one with plain lines."""
        return self.wizard(**{"PLAIN": "1", **settings})


def answer(wizard: Wizard, **answers: str) -> None:
    """Answer plain questions in turn."""
    for name, words in answers.items():
        wizard.until(f"\n{name}: ")
        wizard.type(f"{words}\r")


QUICK = {
    "setup_level": "",
    "base_domain": "home.lan",
    "tls_source": "4",
    "storage_backend": "2",
    "nfs_server": "",
    "groups": "[home, friends/web]",
    "runner_kind": "kubernetes",
}
MEANT = {
    "setup_level": "quick",
    "base_domain": "home.lan",
    "tls_source": "lab-authority",
    "storage_backend": "nfs",
    "nfs_server": "storage.home.lan",
    "groups": ["home", "friends/web"],
    "runner_kind": "kubernetes",
}


def files(lab: Path) -> dict[str, bytes]:
    """Return a lab's files by path, without Git's own."""
    found = [path for path in lab.rglob("*") if path.is_file() and ".git" not in path.relative_to(lab).parts]
    return {str(path.relative_to(lab)): path.read_bytes() for path in found}
