"""A lab's files as values: read, compared and written whole, with what Git keeps of a file and nothing else."""

from __future__ import annotations

import os
import stat
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
            return Entry(os.fsencode(path.readlink()), link=True)
        return Entry(path.read_bytes(), executable=bool(mode & 0o100)) if stat.S_ISREG(mode) else None
    except (FileNotFoundError, NotADirectoryError):
        return None


def remove_empty(folder: Path, up_to: Path) -> None:
    """Remove *folder* and those above it, as long as they are empty and below *up_to*."""
    while folder != up_to and folder.is_relative_to(up_to):
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def tree(folder: Path) -> dict[str, Entry]:
    """Return all files below *folder* by their path in it, without Git's own."""
    found: dict[str, Entry] = {}
    for parent, folders, names in os.walk(folder):
        if ".git" in folders:
            folders.remove(".git")
        names += [name for name in folders if Path(parent, name).is_symlink()]
        for name in names:
            path = Path(parent, name)
            entry = read(path)
            if entry is not None:
                found[path.relative_to(folder).as_posix()] = entry
    return found
