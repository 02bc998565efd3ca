"""A program in a terminal."""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path


class Terminal:
    """A program in a terminal of its own: what it says is read, and keys are typed.

    Args:
        cwd: where it runs.
        env: all that it sees; by default what this process sees, with the programs of its Python.
    """

    def __init__(self, *command: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> None:
        self.end, inner = os.openpty()
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env=env or {**os.environ, "TERM": "xterm", "PATH": path},
            preexec_fn=_own_terminal,  # noqa: PLW1509 - only the child itself can take the terminal
        )
        os.close(inner)
        self.heard = b""

    @property
    def said(self) -> str:
        """What it has said so far; half a character at the end is none."""
        return self.heard.decode(errors="replace")

    def until(self, text: str) -> None:
        """Read until the program says *text*."""
        start = len(self.said)
        while text not in self.said[start:]:
            assert self._read(), f"ended before it said {text!r}:\n{self.said}"

    def _read(self) -> bool:
        """Read what there is; False at the end. A program that says nothing for so long waits for what nobody will type."""
        if not select.select([self.end], [], [], 120)[0]:
            self.process.kill()
            raise AssertionError(f"it says nothing more, and goes on:\n{self.said}")
        try:
            part = os.read(self.end, 65536)
        except OSError:
            part = b""
        self.heard += part
        return bool(part)

    def type(self, keys: str) -> None:
        """Type; \x03 is Ctrl-C, \r is Enter."""
        os.write(self.end, keys.encode())

    def answer(self, question: str, words: str) -> None:
        """Wait for a question, and answer it."""
        self.until(question)
        self.type(f"{words}\r")

    def wait(self) -> int:
        """Read to the end, and return the exit code."""
        while self._read():
            pass
        os.close(self.end)
        return self.process.wait()


def _own_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
