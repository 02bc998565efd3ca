"""A lab's files as values: read, compared and written whole, with what Git keeps of a file and nothing else."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """One file: its bytes, whether it may be run, and whether it is a symbolic link (then `data` is where it leads)."""

    data: bytes
    executable: bool = False
    link: bool = False

    @property
    def mode(self) -> str:
        """The mode as Git's index writes it."""
        return "120000" if self.link else "100755" if self.executable else "100644"

    @property
    def text(self) -> bool:
        """Whether it can be merged line by line; Git's own rule: no NUL among the first 8000 bytes."""
        return not self.link and b"\0" not in self.data[:8000]


def read(path: Path) -> Entry | None:
    """Return the file at *path*, or None where there is none, or a folder."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            return Entry(os.fsencode(os.readlink(path)), link=True)
        return Entry(path.read_bytes(), executable=bool(mode & 0o100)) if stat.S_ISREG(mode) else None
    except (FileNotFoundError, NotADirectoryError):
        return None


def write(path: Path, entry: Entry | None) -> None:
    """Make the file at *path* what *entry* says; remove it, and the folders that it leaves empty, where that is None."""
    if read(path) == entry:
        return
    if entry is None:
        path.unlink(missing_ok=True)
        for folder in path.parents:
            try:
                folder.rmdir()
            except OSError:
                break
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if entry.link or path.is_symlink():
        path.unlink(missing_ok=True)
    if entry.link:
        os.symlink(os.fsdecode(entry.data), path)
        return
    path.write_bytes(entry.data)
    mode = stat.S_IMODE(path.stat().st_mode)
    # Whoever may read a program may run it, as Git has it.
    path.chmod(mode | (mode & 0o444) >> 2 if entry.executable else mode & ~0o111)


def tree(folder: Path) -> dict[str, Entry]:
    """Return all files below *folder* by their path in it, without Git's own."""
    found: dict[str, Entry] = {}
    for parent, folders, names in os.walk(folder):
        if ".git" in folders:
            folders.remove(".git")
        names += [name for name in folders if os.path.islink(os.path.join(parent, name))]
        for name in names:
            path = Path(parent, name)
            entry = read(path)
            if entry is not None:
                found[path.relative_to(folder).as_posix()] = entry
    return found


class Git:
    """Git in the lab's folder. Paths are the lab's own, wherever the lab stands in its repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # A lab's owner may have told Git to colour, to quote or to convert; what is read here is plain.
        self.command = ("git", "-c", "core.quotePath=false", "-c", "core.safecrlf=false", "-c", f"core.hooksPath={os.devnull}")

    def run(self, *arguments: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run git and return what it said and how it ended."""
        return subprocess.run([*self.command, *arguments], cwd=self.folder, input=given, capture_output=True, check=False)

    def __call__(self, *arguments: str, given: bytes | None = None) -> bytes:
        """Return what git says.

        Raises:
            OSError: git failed; with its last line.
        """
        done = self.run(*arguments, given=given)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise OSError(f"git {arguments[0]} failed: {said[-1] if said else f'exit code {done.returncode}'}")
        return done.stdout

    def names(self, *arguments: str) -> list[str]:
        """Return the paths that a command of git lists; `-z` is added, so that none is quoted."""
        return [os.fsdecode(name) for name in self(arguments[0], "-z", *arguments[1:]).split(b"\0") if name]

    def store(self, data: bytes) -> str:
        """Keep bytes as a blob of the repository, and return its name."""
        return self("hash-object", "-w", "--no-filters", "--stdin", given=data).decode().strip()

    def index(self, lines: Iterable[str]) -> None:
        """Write entries of the index, as `git update-index --index-info` takes them, with paths of the lab."""
        text = "".join(f"{line}\0" for line in lines)
        if text:
            self("update-index", "-z", "--index-info", given=os.fsencode(text))
