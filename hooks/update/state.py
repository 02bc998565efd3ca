"""What stands in the lab at one moment: its commit, its index, and what was saved since."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..files import Entry, read
from ..git import Git

# Modes in Git's index: a submodule's, and a symbolic link's.
SUBMODULE = "160000"
LINK = "120000"
# Attributes by which Git keeps other bytes than the owner sees (git-crypt, LFS, another encoding).
CONVERTING = ("filter", "working-tree-encoding", "ident")
PLAIN = {b"unspecified", b"unset"}


@dataclass(frozen=True)
class Blob:
    """One entry of Git's index: its mode, and the name of its content."""

    mode: str
    name: str

    @property
    def executable(self) -> bool:
        """Whether the file may be run."""
        return self.mode == "100755"

    def holds(self, entry: Entry) -> bool:
        """Say whether this is *entry*, without reading it."""
        if entry.mode != self.mode:
            return False
        digest = hashlib.sha1 if len(self.name) == 40 else hashlib.sha256
        return digest(b"blob %d\0" % len(entry.data) + entry.data).hexdigest() == self.name


@dataclass(frozen=True)
class Lab:
    """A lab as it is now.

    folder, git: where it stands, and Git there.
    git_dir: Git's own folder for this work tree.
    prefix: the lab's place in its repository: empty, or a path that ends in a slash.
    commit: the last commit.
    file_mode: whether Git looks at executable bits on the disk (core.fileMode).
    staged: the index by the lab's paths.
    tracked: the same, but with what was saved since, as Git would commit it; a file that was deleted is missing.
    unmerged: paths that the index has in several versions.
    saved: the files that differ from the last commit, staged or not; None for one that was deleted.
    untracked: files that are in no commit, and that Git does not ignore.
    """

    folder: Path
    git: Git
    git_dir: Path
    prefix: str
    commit: str
    file_mode: bool
    staged: Mapping[str, Blob]
    tracked: Mapping[str, Blob]
    unmerged: frozenset[str]
    saved: Mapping[str, Blob | None]
    untracked: frozenset[str]

    def entries(self, paths: Iterable[str]) -> dict[str, Entry]:
        """Return tracked files, as Git keeps them."""
        wanted = list(paths)
        return dict(zip(wanted, contents(self.git, [self.tracked[path] for path in wanted]), strict=True))

    def here(self, path: str) -> Entry | None:
        """Return the file as it stands on the disk now."""
        return read(self.folder / path)

    def exists(self, path: str) -> bool:
        """Say whether anything stands at that path."""
        return os.path.lexists(self.folder / path)

    def converted(self) -> frozenset[str]:
        """Return the tracked files that Git keeps in another form than the owner sees."""
        if (
            not any(path.rpartition("/")[2] == ".gitattributes" for path in self.tracked)
            and not (self.git_dir / "info" / "attributes").exists()
        ):
            return frozenset()
        given = b"".join(os.fsencode(path) + b"\0" for path in self.tracked)
        said = self.git("check-attr", "-z", "--stdin", *CONVERTING, given=given).split(b"\0")
        return frozenset(
            os.fsdecode(path) for path, value in zip(said[::3], said[2::3], strict=False) if value not in PLAIN
        )


def look(folder: Path, git: Git) -> Lab:
    """Look at a lab.

    Raises:
        GitError: Git cannot say: no repository, no commit, not this user's.
    """
    lines = (
        git("rev-parse", "--absolute-git-dir", "HEAD", "--show-prefix").decode(errors="surrogateescape").splitlines()
    )
    file_mode = git.setting("core.filemode") != "false"
    staged: dict[str, Blob] = {}
    unmerged = set()
    for line in git("ls-files", "--stage", "-z").split(b"\0"):
        if line:
            head, _, path = os.fsdecode(line).partition("\t")
            mode, name, stage = head.split(" ")
            if stage == "0":
                staged[path] = Blob(mode, name)
            else:
                unmerged.add(path)
    saved: dict[str, Blob | None] = {path: staged.get(path) for path in _differing(git, "--cached")}
    saved |= {path: _saved(git, folder, path, staged[path], file_mode) for path in _differing(git) if path in staged}
    tracked = {path: blob for path, blob in {**staged, **saved}.items() if blob is not None}
    untracked = frozenset(git.names("ls-files", "--others", "--exclude-standard"))
    prefix = lines[2] if len(lines) > 2 else ""
    return Lab(
        folder, git, Path(lines[0]), prefix, lines[1], file_mode, staged, tracked, frozenset(unmerged), saved, untracked
    )


def _differing(git: Git, *what: str) -> list[str]:
    # Unlike diff-files it looks into a file whose time alone is another.
    plainly = ("--name-only", "--no-ext-diff", "--no-renames", "--ignore-submodules=all", "--relative")
    return git.names("diff", *what, *plainly, "--", ".")


def _saved(git: Git, folder: Path, path: str, blob: Blob, file_mode: bool) -> Blob | None:
    """Return what Git would commit of a file that was saved since; None where it is gone."""
    entry = read(folder / path)
    if entry is None:
        return None
    if entry.link:
        return Blob(LINK, git.store(entry.data))
    name = git("hash-object", "-w", f"--path={path}", "--stdin", given=entry.data).decode().strip()
    return Blob(entry.mode if file_mode or blob.mode == LINK else blob.mode, name)


def contents(git: Git, blobs: list[Blob]) -> list[Entry]:
    """Return files as the index has them."""
    if not blobs:
        return []
    said = git("cat-file", "--batch", given="".join(f"{blob.name}\n" for blob in blobs).encode())
    entries, position = [], 0
    for blob in blobs:
        end = said.index(b"\n", position)
        size = int(said[position:end].split()[2])
        entries.append(Entry(said[end + 1 : end + 1 + size], blob.executable, blob.mode == LINK))
        position = end + 2 + size
    return entries
