"""Three versions of one file to one: the owner's, the template's of the last update, and the template's of today.

Git merges them, with `git merge-file`, which every version of Git has. `git merge-tree --write-tree` merges whole
trees since 2.38; it would guess which files were renamed, and here that is known (renames.yml). The random tests hold
one against the other.
"""

from __future__ import annotations

import difflib
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ..files import Entry
from ..git import Git
from . import pins

# Copier's own words, which an owner may know already.
LABELS = ("before updating", "last update", "after updating")
START = b"<<<<<<< before updating"
END = b">>>>>>> after updating"


@dataclass(frozen=True)
class Merged:
    """What became of a file.

    entry: what stands in the lab; None where nothing does.
    conflict: whether it holds conflict markers.
    refused: the template's version where it could not be merged, so that the owner's stands alone.
    """

    entry: Entry | None
    conflict: bool = False
    refused: Entry | None = None


def merge(git: Git, ours: Entry, base: Entry | None, theirs: Entry | None) -> Merged:
    """Merge what the owner did to a file with what the template did.

    Args:
        ours: the owner's file; it differs from the base.
        base: the template's former version; None where the owner and the template both added the file.
        theirs: the template's version; None where it has the file no more.
    """
    if theirs is None or theirs in (base, ours):
        return Merged(ours)
    executable = theirs.executable if base is None or ours.executable == base.executable else ours.executable
    if base is not None and not (ours.link or base.link or theirs.link):
        # Where one side changed no more than the mode, content goes whole, whatever it is.
        if theirs.data == base.data:
            return Merged(Entry(ours.data, executable))
        if ours.data in (base.data, theirs.data):
            return Merged(Entry(theirs.data, executable))
    if not all(entry is None or entry.text for entry in (ours, base, theirs)):
        return Merged(ours, refused=theirs)
    texts = (ours.data, b"", theirs.data) if base is None else pins.settled(ours.data, base.data, theirs.data)
    data, conflict = _lines(git, *texts)
    return Merged(Entry(data, executable), conflict)


def _lines(git: Git, ours: bytes, base: bytes, theirs: bytes) -> tuple[bytes, bool]:
    with tempfile.TemporaryDirectory(prefix="homelab-merge.") as folder:
        for name, data in (("ours", ours), ("base", base), ("theirs", theirs)):
            Path(folder, name).write_bytes(data)
        labels = [argument for label in LABELS for argument in ("-L", label)]
        done = git.run("merge-file", "-p", *labels, *(str(Path(folder) / name) for name in ("ours", "base", "theirs")))
    if done.returncode < 0 or done.returncode > 127:
        raise OSError(f"git merge-file failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout, done.returncode > 0


def rejected(ours: Entry, base: Entry, theirs: Entry, context: int) -> tuple[Entry, bytes] | None:
    """Merge as a patch does: the owner's changes onto the template's file, and those that find no place returned as
    `.rej` has them.

    Returns:
        The file and the rejected part; None where a line of the owner's would be in neither.
    """
    with tempfile.TemporaryDirectory(prefix="homelab-merge.") as name:
        folder = Path(name).resolve()
        here = Git(folder)
        here.environment["GIT_CEILING_DIRECTORIES"] = str(folder.parent)
        for path, data in (("base/file", base.data), ("ours/file", ours.data), ("file", theirs.data)):
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_bytes(data)
        patch = here.run(
            "diff", "--no-index", "--no-prefix", "--no-ext-diff", f"--unified={context}", "base/file", "ours/file"
        ).stdout
        here.run("apply", "--reject", "-p1", "--whitespace=nowarn", given=patch)
        rest = folder / "file.rej"
        data, left = (folder / "file").read_bytes(), rest.read_bytes() if rest.exists() else b""
    if not left or lost(ours.data, base.data, data + b"\n" + b"\n".join(line[1:] for line in left.split(b"\n"))):
        return None
    return Entry(data, ours.executable), left


def written(ours: bytes, base: bytes) -> Counter[bytes]:
    """Return the lines that the owner wrote: those that the file has more often than the template's version had."""
    return Counter(_stripped(ours)) - Counter(_stripped(base))


def lost(ours: bytes, base: bytes, result: bytes) -> list[bytes]:
    """Return the owner's lines that the result lacks."""
    have = Counter(_stripped(result))
    return [line for line, count in written(ours, base).items() if line.strip() and not have[line]]


def _stripped(data: bytes) -> list[bytes]:
    return [line.rstrip(b"\r\n") for line in data.split(b"\n")]


def conflict_lines(data: bytes) -> list[tuple[int, int]]:
    """Return first and last line of each conflict in a file, counted from 1."""
    found, start = [], 0
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.rstrip() == START:
            start = number
        elif line.rstrip() == END and start:
            found.append((start, number))
            start = 0
    return found


def carry_over(ours: bytes, base: bytes, pieces: dict[str, bytes]) -> tuple[dict[str, bytes], list[bytes]]:
    """Carry the owner's changes of one file into the files that it was split into.

    A change goes to the one place where its surroundings stand again: up to three lines on either side, and fewer
    only where that leaves one place.

    Returns:
        The pieces with the changes that found their place, and the lines that the owner wrote and that found none.
    """
    old, new = base.splitlines(keepends=True), ours.splitlines(keepends=True)
    lines = {name: data.splitlines(keepends=True) for name, data in pieces.items()}
    homeless: list[bytes] = []
    changes = [
        code for code in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes() if code[0] != "equal"
    ]
    for _, start, end, from_, to in changes:
        place = _place(lines, old, start, end)
        if place is None:
            homeless += new[from_:to]
            continue
        name, position = place
        lines[name][position : position + end - start] = new[from_:to]
    return {name: b"".join(part) for name, part in lines.items()}, homeless


def _place(lines: dict[str, list[bytes]], old: list[bytes], start: int, end: int) -> tuple[str, int] | None:
    for around in (3, 2, 1):
        # At least one line that both have: an insertion between nothing and nothing has no place.
        for before, after in ((around, around), (around, 0), (0, around)):
            first = max(0, start - before)
            wanted = old[first : end + after]
            if len(wanted) <= (end - start if start != end else 0):
                continue
            found = [
                (name, position + start - first)
                for name, part in lines.items()
                for position in range(len(part) - len(wanted) + 1)
                if part[position : position + len(wanted)] == wanted
            ]
            if len(found) == 1:
                return found[0]
    return None
