"""The runner's machine, over SSH. Nothing secret is in the remote command: it travels through standard input."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Sequence

from ..console import Console
from ..errors import ClientError, Failure
from ..patience import Patience
from ..programs import Programs, Result, last_line

# ssh's own status: the connection failed, or broke.
CONNECTION_FAILED = 255
_FINAL = ("ermission denied", "verification failed")


class SshError(ClientError):
    """The command did not run to its end, or ended badly."""

    def __init__(self, done: Result) -> None:
        lost = done.status == CONNECTION_FAILED and not any(words in done.err for words in _FINAL)
        super().__init__("ssh", done.words, transient=lost)

    def __str__(self) -> str:
        return last_line(self.words)


class Machine:
    """One machine, as a user; the owner's own SSH configuration says how it is reached."""

    def __init__(self, programs: Programs, patience: Patience, console: Console, user: str, host: str) -> None:
        self._programs, self._patience, self._console = programs, patience, console
        self.address, self.host = f"{user}@{host}", host

    def run(self, command: str, stdin: bytes = b"") -> Result:
        """Run a command of a POSIX shell there, once."""
        options = ["-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=15"]
        if not self._console.terminal:
            options += ["-o", "BatchMode=yes"]
        return self._programs.run(["ssh", *options, self.address, command], stdin=stdin)

    def must(self, what: str, command: str, stdin: bytes = b"") -> str:
        """Run a command that bears a repeat, again where the connection broke, and return what it prints.

        Raises:
            Failure: it could not *what*.
        """

        def attempt() -> str:
            done = self.run(command, stdin)
            if done.status:
                raise SshError(done)
            return done.out

        try:
            return self._patience.retry(attempt)
        except SshError as error:
            raise Failure(f"Could not {what} on {self.host}: {error.words}", f"ssh {self.address}") from error

    def files(self, folder: str, names: Sequence[str]) -> dict[str, str]:
        """Return those of some files in a folder that are there, by name, with one look; the folder is made.

        Raises:
            Failure: they cannot be read.
        """
        boundary = secrets.token_hex(16)
        show = f'if test -f "$f"; then printf \'\\n%s %s\\n\' {boundary} "$f"; cat "$f"; fi'
        listed = " ".join(map(quoted, names))
        where = quoted(folder)
        command = f"umask 022; mkdir -p {where} && cd {where} && for f in {listed}; do {show}; done"
        said = self.must(f"read {folder}", command)
        parts = (part.partition("\n") for part in said.split(f"\n{boundary} ")[1:])
        return {name: content for name, _, content in parts}


def quoted(text: str) -> str:
    """Return *text* as one word for a POSIX shell."""
    return shlex.quote(text)
