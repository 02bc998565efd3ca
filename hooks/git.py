"""Git in a folder of the owner's, whose settings and hooks change nothing of what is read and written here."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

# What Git calls local to one repository (`git rev-parse --local-env-vars`), and GIT_NAMESPACE. A hook or an alias of
# Git hands it down to the programs that it starts, and it would lead every command to that repository.
# GIT_CONFIG_COUNT is not among them: it brings settings of the owner's, such as safe.directory.
HANDED_DOWN = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)


class GitError(OSError):
    """A command of Git failed; the text says which, and Git's own last line."""


class Git:
    """Git in the lab's folder. Paths are the lab's own, wherever the lab stands in its repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # A lab's owner may have told Git to colour, to quote, to convert or to run hooks; what is read here is plain.
        self.command = (
            "git",
            "-c",
            "core.quotePath=false",
            "-c",
            "core.safecrlf=false",
            "-c",
            f"core.hooksPath={os.devnull}",
            "-c",
            "core.fsmonitor=false",
            "-c",
            "submodule.recurse=false",
            "-c",
            "color.ui=false",
        )
        self.environment = {name: value for name, value in os.environ.items() if name not in HANDED_DOWN}
        self.environment |= {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}

    def run(self, *arguments: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run git and return what it said and how it ended. Ctrl-C in the terminal does not reach it."""
        return subprocess.run(
            [*self.command, *arguments],
            cwd=self.folder,
            input=given or b"",
            capture_output=True,
            check=False,
            env=self.environment,
            start_new_session=True,
        )

    def __call__(self, *arguments: str, given: bytes | None = None) -> bytes:
        """Return what git says.

        Raises:
            GitError: git failed; with its last line.
        """
        done = self.run(*arguments, given=given)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise GitError(f"git {arguments[0]} failed: {said[-1] if said else f'exit code {done.returncode}'}")
        return done.stdout

    def names(self, *arguments: str) -> list[str]:
        """Return the paths that a command of git lists; `-z` is added, so that none is quoted."""
        return [os.fsdecode(name) for name in self(arguments[0], "-z", *arguments[1:]).split(b"\0") if name]

    def setting(self, name: str) -> str:
        """Return one of Git's settings for this folder, or an empty text where it is not set."""
        return self.run("config", "--get", name).stdout.decode(errors="replace").strip().lower()

    def store(self, data: bytes) -> str:
        """Keep bytes as a blob of the repository, and return its name."""
        return self("hash-object", "-w", "--no-filters", "--stdin", given=data).decode().strip()

    def index(self, lines: Iterable[str]) -> None:
        """Write entries of the index, as `git update-index --index-info` takes them, with paths of the lab."""
        text = "".join(f"{line}\0" for line in lines)
        if text:
            self("update-index", "-z", "--index-info", given=os.fsencode(text))
