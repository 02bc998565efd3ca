"""Processes of one world: each with a log of its own, all ended with the world."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    """Let the kernel kill this process with the one that started it, whatever ends that."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Processes:
    """The running programs of a world, by name.

    Args:
        logs: the folder that gets one log a program.
    """

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        logs.mkdir(parents=True, exist_ok=True)
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self, name: str, command: list[str], environment: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        """Start a program; its log goes on where an earlier process of that name ended."""
        log: IO[bytes]
        with self.log(name).open("ab") as log:
            self.running[name] = subprocess.Popen(
                command,
                env={**os.environ, **(environment or {})},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - only a system call, no lock of Python's is touched
            )

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def alive(self, name: str) -> bool:
        return name in self.running and self.running[name].poll() is None

    def stop(self, *names: str, seconds: float = 5) -> None:
        """End programs: ask, and kill what has not ended in time."""
        chosen = [self.running.pop(name) for name in names if name in self.running]
        for process in chosen:
            process.terminate()
        deadline = time.monotonic() + seconds
        for process in chosen:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def stop_all(self) -> None:
        """End everything at once; nothing of a world is worth a clean end."""
        for process in self.running.values():
            process.kill()
        for process in self.running.values():
            process.wait()
        self.running.clear()

    def dead(self) -> dict[str, str]:
        """Return the programs that ended by themselves, with the end of their logs."""
        ended = [name for name, process in self.running.items() if process.poll() is not None]
        return {name: self.log(name).read_text(errors="replace")[-2000:] for name in ended}
