"""The runner's machine, over SSH. Nothing secret is in the remote command: it travels through standard input."""

from __future__ import annotations

import io
import secrets
import shlex
import tarfile
from collections.abc import Sequence
from pathlib import Path

from ..console import Console
from ..errors import ClientError, Failure
from ..patience import Patience
from ..programs import Programs, Result, last_line

# ssh's own status: the connection failed, or broke.
CONNECTION_FAILED = 255
_FINAL = ("ermission denied", "verification failed")
# It was known by another key; accept-new never takes a new one then.
_CHANGED = "IDENTIFICATION HAS CHANGED"
# Whatever ~/.ssh/config says for a host, or for all: the other machine gets to see no agent, no display and no port of
# this one, and nothing is started here. The lab's program needs none of it (ssh_config(5)).
NOTHING_OF_MINE = (
    "ForwardAgent=no",
    "ForwardX11=no",
    "ForwardX11Trusted=no",
    "ClearAllForwardings=yes",
    "Tunnel=no",
    "PermitLocalCommand=no",
    # A command of the configuration's own would stand in this one's way, and a terminal would change what is read.
    "RemoteCommand=none",
    "RequestTTY=no",
)
# No Kerberos ticket either. Its option is unknown to an ssh that was built without GSSAPI, this flag is not.
NO_TICKET = "-k"


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
        call = ssh("ServerAliveInterval=15", can_ask=self._console.terminal)
        return self._programs.run([*call, self.address, command], stdin=stdin)

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

    def finish(self, command: str, stdin: bytes = b"") -> Result:
        """Run a command that bears a repeat, again where the connection broke, and return how it ended.

        Raises:
            Failure: the machine cannot be reached.
        """

        def attempt() -> Result:
            done = self.run(command, stdin)
            if done.status == CONNECTION_FAILED:
                raise SshError(done)
            return done

        try:
            return self._patience.retry(attempt)
        except SshError as error:
            raise Failure(f"Could not reach {self.host}: {error.words}", f"ssh {self.address}") from error

    def greet(self) -> str:
        """Log in, and keep the host key of a machine that is not known yet; return why that failed, or nothing.

        It is ssh's own accept-new (ssh_config(5)).

        Raises:
            Failure: it is known by another key.
        """
        call = ssh("StrictHostKeyChecking=accept-new", can_ask=False)
        done = self._programs.run([*call, self.address, "true"])
        if done.status and _CHANGED in done.err:
            raise Failure(
                f"{self.host} shows another SSH host key than the one that you know it by.",
                f"ssh-keygen -F {self.host}",
                f"it is a new machine under an old name? ssh-keygen -R {self.host}, then run it again",
            )
        return "" if done.status == 0 else last_line(done.err) or f"status {done.status}"

    def log_in_anew(self) -> None:
        """Have the next command log in by itself: a connection that is shared knows no group that came later."""
        self._programs.run([*ssh(can_ask=False), "-O", "stop", self.address])

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


def ssh(*more: str, can_ask: bool) -> list[str]:
    """Return the call of ssh, up to the machine's name.

    Args:
        more: further options, as `Name=value`.
        can_ask: whether somebody at a terminal can answer what ssh asks.
    """
    options = ["ConnectTimeout=10", *more, *([] if can_ask else ["BatchMode=yes"]), *NOTHING_OF_MINE]
    return ["ssh", NO_TICKET, *(word for option in options for word in ("-o", option))]


def packed(folder: Path, names: Sequence[str]) -> bytes:
    """Return files of the lab's folder as one archive, in which they lie beside one another.

    Raises:
        Failure: one of them cannot be read.
    """
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as members:
        for name in names:
            try:
                content = (folder / name).read_bytes()
            except OSError as error:
                raise Failure(f"{name} cannot be read: {error.strerror}.", "git status") from error
            entry = tarfile.TarInfo(Path(name).name)
            entry.size, entry.mode = len(content), 0o600
            members.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


def quoted(text: str) -> str:
    """Return *text* as one word for a POSIX shell."""
    return shlex.quote(text)
