"""Git: the lab's repository and where it is pushed to. A password reaches Git through a descriptor that only its helper
reads; nothing is stored, and the owner's own helpers are not asked."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..environment import for_git_with_credential
from ..errors import ClientError
from ..patience import Patience
from ..programs import Programs, Result, first_line
from ..secret import Secret
from .machine import NO_TICKET, NOTHING_OF_MINE, quoted

# Git has no field for it: the network's fault, not the other side's answer.
_TRANSIENT = re.compile(r"[Cc]onnection|timed out|early EOF|hung up|RPC failed|returned error: (5|429)|Empty reply")
_FINAL = ("Permission denied", "verification failed")


class GitError(ClientError):
    """Git did not do what was asked of the other side."""

    def __init__(self, words: str) -> None:
        told = "\n".join(line for line in words.strip().splitlines() if line.strip() != "remote:")
        super().__init__(
            "git", told, transient=bool(_TRANSIENT.search(told)) and not any(word in told for word in _FINAL)
        )

    def __str__(self) -> str:
        return first_line(self.words) or "no reason given"


@dataclass(frozen=True)
class AsOwner:
    """With the owner's own credentials."""


@dataclass(frozen=True)
class WithPassword:
    """Over https, as a user.

    Attributes:
        url: the address that the credential is for.
        authority: the certificates to trust there; none for the system's own.
    """

    user: str
    password: Secret
    url: str
    authority: Path | None = None


@dataclass(frozen=True)
class WithKey:
    """Over SSH, with a key, from files: the key, and the hosts to expect."""

    identity: Path
    known_hosts: Path


Access = AsOwner | WithPassword | WithKey


class Git:
    """Git in the lab's folder, and against other repositories."""

    def __init__(self, programs: Programs, patience: Patience, lab: Path) -> None:
        self._programs, self._patience, self._lab = programs, patience, lab
        # Commits of which it is known, until the last commit here is another one.
        self._holding: set[str] = set()

    def here(self, *arguments: str) -> Result:
        """Run Git in the lab's working tree."""
        return self._programs.run(["git", "-C", str(self._lab), *arguments], for_owner=True)

    def version(self) -> str:
        return self._programs.run(["git", "--version"]).out

    def head(self) -> str:
        """Return the last commit; nothing where there is none."""
        done = self.here("rev-parse", "--verify", "--quiet", "HEAD")
        return done.out.strip() if done.status == 0 else ""

    def short_head(self) -> str:
        return self.here("rev-parse", "--short", "HEAD").out.strip()

    def uncommitted(self) -> list[str]:
        """Return the tracked files that differ from the last commit."""
        said = self.here("status", "--porcelain", "--untracked-files=no", "-z", "--no-renames").out
        return [entry[3:] for entry in said.split("\0") if entry]

    def top(self) -> str:
        """Return the top folder of the repository that the lab is in; nothing where it is in none."""
        done = self.here("rev-parse", "--show-toplevel")
        return done.out.rstrip("\n") if done.status == 0 else ""

    def untracked(self, *folders: str) -> list[str]:
        """Return the files below some of the lab's folders that Git does not know, and was not told to ignore."""
        said = self.here("ls-files", "--others", "--exclude-standard", "-z", "--", *folders).out
        return [name for name in said.split("\0") if name]

    def tracks(self, name: str) -> bool:
        return self.here("ls-files", "--error-unmatch", "--", name).status == 0

    def has_commit(self, commit: str) -> bool:
        return self.here("cat-file", "-e", f"{commit}^{{commit}}").status == 0

    def is_ancestor(self, older: str, newer: str) -> bool:
        return self.here("merge-base", "--is-ancestor", older, newer).status == 0

    def holds_head(self, commit: str) -> bool:
        """Say whether a commit holds what was pushed. One that is not here is newer: image automation pushes, too."""
        if commit not in self._holding:
            if commit and self.has_commit(commit) and not self.is_ancestor("HEAD", commit):
                return False
            self._holding.add(commit)
        return True

    def remote_url(self, name: str) -> str:
        done = self.here("remote", "get-url", name)
        return done.out.strip() if done.status == 0 else ""

    def commit(self, message: str, names: Sequence[str]) -> None:
        """Commit some of the lab's files as they are, with the owner's identity and hooks, and nothing else.

        Raises:
            GitError: Git made no commit.
        """
        self._move("commit", "--quiet", "--message", message, "--", *names)

    def forward_to(self, commit: str) -> None:
        """Bring the working tree to a commit that holds the last one.

        Raises:
            GitError: files are in its way.
        """
        self._move("merge", "--ff-only", "--quiet", commit)

    def leave_for(self, commit: str) -> None:
        """Bring the branch to a commit of another history, and drop its own commits; what is not committed stays.

        Raises:
            GitError: a file that is not committed is in its way; then everything is as before.
        """
        self._move("reset", "--quiet", "--keep", commit)

    def _move(self, *arguments: str) -> None:
        done = self.here(*arguments)
        self._holding.clear()
        if done.status:
            raise GitError(done.words)

    def show(self, commit: str, name: str) -> str | None:
        """Return a file of the lab as a commit has it; None where it has none."""
        done = self.here("show", f"{commit}:./{name}")
        return done.out if done.status == 0 else None

    # The other side

    def remote(self, folder: Path, access: Access, *arguments: str) -> str:
        """Run Git against another repository, again after transient errors, and return what it prints.

        Only for what may be repeated; a push may: pushing what is there already changes nothing.

        Raises:
            GitError: it failed.
        """

        def attempt() -> str:
            done = self._once(folder, access, arguments)
            if done.status:
                raise GitError(done.err)
            return done.out

        return self._patience.retry(attempt)

    def branch_at(self, url: str, branch: str, access: Access) -> str:
        """Return the commit that a branch is at; nothing where there is no such branch."""
        said = self.remote(self._lab, access, "ls-remote", url, f"refs/heads/{branch}")
        return said.split("\t", 1)[0].strip()

    def may_write(self, url: str, access: Access) -> None:
        """Ask whether a push would be taken, by a push of what is there that is dry.

        Raises:
            GitError: it would not.
        """
        self.remote(
            self._lab, access, "push", "--quiet", "--dry-run", "--no-verify", url, "HEAD:refs/heads/flux-may-write"
        )

    def first_commit(self, folder: Path, branch: str, author: tuple[str, str], message: str) -> None:
        """Make a new repository of all files of a folder."""
        name, email = author
        who = ["-c", f"user.name={name}", "-c", f"user.email={email}", "-c", "commit.gpgsign=false"]
        for arguments in (
            ["init", "--quiet"],
            ["symbolic-ref", "HEAD", f"refs/heads/{branch}"],
            ["add", "--all", "--force"],
            [*who, "commit", "--quiet", "--no-verify", "--message", message],
        ):
            done = self._programs.run(["git", "-C", str(folder), *arguments])
            if done.status:
                raise GitError(done.err)

    def inside(self, folder: Path, *arguments: str, author: tuple[str, str] | None = None) -> str:
        """Run Git in a repository of the program's own, without the owner's hooks; return what it prints.

        Args:
            author: name and address, for a commit.
        Raises:
            GitError: it failed.
        """
        fixed = [
            "core.hooksPath=/dev/null",
            "core.autocrlf=false",
            "core.attributesFile=/dev/null",
            "commit.gpgsign=false",
        ]
        environment = dict(self._programs.environment)
        if author is not None:
            for who in ("AUTHOR", "COMMITTER"):
                environment |= {f"GIT_{who}_NAME": author[0], f"GIT_{who}_EMAIL": author[1]}
        settings = [word for one in fixed for word in ("-c", one)]
        done = self._programs.run(["git", "-C", str(folder), *settings, *arguments], environment=environment)
        if done.status:
            raise GitError(done.err)
        return done.out.strip()

    def _once(self, folder: Path, access: Access, arguments: tuple[str, ...]) -> Result:
        git = ["git", "-C", str(folder)]
        environment = {**self._programs.environment, "GIT_TERMINAL_PROMPT": "0"}
        if isinstance(access, WithPassword):
            strict = for_git_with_credential(self._programs.environment)
            with _helper(access) as (descriptor, settings):
                command = [*git, *settings, *arguments]
                return self._programs.run(command, environment=strict, pass_fds=(descriptor,), for_owner=True)
        if isinstance(access, WithKey):
            environment["GIT_SSH_COMMAND"] = _ssh_command(access)
        return self._programs.run([*git, *arguments], environment=environment, for_owner=True)


@contextlib.contextmanager
def _helper(access: WithPassword) -> Iterator[tuple[int, list[str]]]:
    """Yield a descriptor from which the password can be read once, and the settings that make Git do so."""
    reading, writing = os.pipe()
    try:
        # A shell names descriptors up to 9.
        descriptor = fcntl.fcntl(reading, fcntl.F_DUPFD_CLOEXEC, 3)
        try:
            os.write(writing, f"username={access.user}\npassword={access.password.reveal()}\n".encode())
            os.close(writing)
            writing = -1
            source = f"<&{descriptor}" if descriptor <= 9 else f"/dev/fd/{descriptor}"
            helper = ["-c", "credential.helper=", "-c", f"credential.helper=!cat {source}; :", "-c", "core.askPass="]
            with tempfile.TemporaryDirectory(prefix="lab-no-authorities.") as empty:
                yield descriptor, [*helper, *_trust(access, Path(empty))]
        finally:
            os.close(descriptor)
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)


def _trust(access: WithPassword, empty: Path) -> list[str]:
    """Return the settings for the certificate: for this very host, so that no setting of the owner's is nearer.

    Args:
        access: what Git sends, and where.
        empty: a folder without certificates, in place of one of the owner's with more authorities.
    """
    scheme, _, rest = access.url.partition("://")
    if scheme != "https":
        return []
    host = f"http.https://{rest.split('/', 1)[0]}"
    verify = ["-c", f"{host}.sslVerify=true"]
    if access.authority is None:
        return verify
    return [*verify, "-c", f"{host}.sslCAInfo={access.authority}", "-c", f"{host}.sslCAPath={empty}"]


def _ssh_command(access: WithKey) -> str:
    options = [
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "StrictHostKeyChecking=yes",
        "ControlMaster=no",
        "ControlPath=none",
        *NOTHING_OF_MINE,
    ]
    words = " ".join(f"-o {option}" for option in [*options, f"UserKnownHostsFile={quoted(str(access.known_hosts))}"])
    return f"ssh {NO_TICKET} {words} -i {quoted(str(access.identity))}"


def known_hosts_name(host: str, port: int) -> str:
    """Return how known_hosts names a host: in brackets only where the port is not 22."""
    return host if port == 22 else f"[{host}]:{port}"


def ssh_address(url: str) -> tuple[str, int]:
    """Return host and port of an ssh:// URL."""
    address = url.removeprefix("ssh://").split("/", 1)[0].rpartition("@")[2]
    host, colon, port = address.rpartition(":")
    return (host, int(port)) if colon and port.isdecimal() else (address, 22)
