"""A run of the lab's program on a terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab_world import World


class Terminal:
    """A run with a terminal, whose questions are answered as they come."""

    def __init__(self, world: World, *arguments: str, **environment: str) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.chdir(world.folder)
            os.execve(str(world.lab / "lab"), ["lab", "up", *arguments], world.environment(**environment))
        self.text = ""
        self.deadline = time.monotonic() + 120

    def read(self) -> bool:
        """Read what is there, or comes; false where the run has ended. One that does not end is killed."""
        left = self.deadline - time.monotonic()
        if left < 0 or not select.select([self.master], [], [], left)[0]:
            os.killpg(self.pid, signal.SIGKILL)
            raise AssertionError(f"the run did not end by itself; so far:\n{self.text[-3000:]}")
        try:
            part = os.read(self.master, 65536).decode()
        except OSError:
            return False
        self.text += part
        return part != ""

    def answer(self, question: str, words: str) -> None:
        while question not in self.text and self.read():
            pass
        assert question in self.text, self.text
        os.write(self.master, (words + "\n").encode())

    def end(self) -> int:
        while self.read():
            pass
        os.close(self.master)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
