"""Other programs: how each is started, with what environment, and what comes back."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .console import Console


@dataclass(frozen=True)
class Result:
    """How a program ended."""

    status: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """What it said, wherever: its complaint, or its output, or its status."""
        return self.err.strip() or self.out.strip() or f"status {self.status}"


def first_line(text: str) -> str:
    """Return the first line that says something."""
    return text.strip().split("\n", 1)[0]


def last_line(text: str) -> str:
    """Return what kubectl and ssh say after their warnings."""
    return text.strip().rsplit("\n", 1)[-1]


def is_installed(name: str, path: str | None = None) -> bool:
    """Say whether there is a program of a name."""
    return shutil.which(name, path=path) is not None


# Where each tool is explained that a package of Debian's does not bring, and those that one does.
PAGES = {
    "kubectl": "https://kubernetes.io/docs/tasks/tools/",
    "helm": "https://helm.sh/docs/intro/install/",
    "flux": "https://fluxcd.io/flux/installation/",
    "tofu": "https://opentofu.org/docs/intro/install/",
    "age": "https://github.com/FiloSottile/age/releases",
    "sops": "https://github.com/getsops/sops/releases",
}
PACKAGES = {"git": "git", "ssh": "openssh-client", "ssh-keygen": "openssh-client"}


def how_to_install(names: Iterable[str]) -> str:
    """Return how the owner gets some tools."""
    wanted = list(names)
    lines = []
    if any(name in PAGES for name in wanted):
        lines.append(
            "mise trust && mise install, in the lab's folder: .mise.toml has the versions (https://mise.jdx.dev)"
        )
        lines += [f"or {name}: {PAGES[name]}" for name in wanted if name in PAGES]
    packages = sorted({PACKAGES[name] for name in wanted if name in PACKAGES})
    if packages:
        lines.append(f"Debian, Ubuntu: apt install {' '.join(packages)}")
    return "\n".join([*lines, "then run it again"])


class Programs:
    """Starts programs. None of them inherits a descriptor, or a variable that environment.py removes.

    Args:
        environment: what every program sees.
        console: hears of each command.
        owner_umask: for files that are the owner's to keep; the run's own umask makes private ones.
    """

    def __init__(self, environment: Mapping[str, str], console: Console, owner_umask: int = 0o022) -> None:
        self.environment, self.console, self.owner_umask = dict(environment), console, owner_umask

    def run(
        self,
        command: Sequence[str],
        *,
        stdin: bytes = b"",
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        for_owner: bool = False,
    ) -> Result:
        """Run a program to its end.

        Args:
            command: the program and its arguments. No secret may be among them.
            stdin: what it reads; the only way for a secret. Without it, it reads nothing.
            folder: where it runs.
            environment: what it sees instead of the usual.
            pass_fds: descriptors that it inherits.
            for_owner: whether its files are the owner's to keep (Git's objects).
        """
        self.console.command(shlex.join(command))
        try:
            done = subprocess.run(
                list(command),
                input=stdin or None,
                stdin=None if stdin else subprocess.DEVNULL,
                capture_output=True,
                cwd=folder,
                env=self.environment if environment is None else dict(environment),
                pass_fds=pass_fds,
                umask=self.owner_umask if for_owner else -1,
                check=False,
            )
        except OSError as error:
            return Result(127, "", f"{command[0]} cannot be started: {error.strerror or error}")
        out, err = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
        if done.returncode:
            self.console.log(f"  status {done.returncode}: {err.strip()[:2000]}")
        return Result(done.returncode, out, err)

    def pump(self, command: Sequence[str], source: Path) -> Result:
        """Run a program that reads a file; however large, it is never in memory."""
        self.console.command(f"{shlex.join(command)} < {shlex.quote(str(source))}")
        with source.open("rb") as stream:
            done = subprocess.run(list(command), stdin=stream, capture_output=True, env=self.environment, check=False)
        out, err = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
        return Result(done.returncode, out, err)

    def has(self, name: str) -> bool:
        return is_installed(name, self.environment.get("PATH", os.defpath))

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return which of some programs are not on this machine, by name."""
        return sorted(name for name in set(names) if not self.has(name))
