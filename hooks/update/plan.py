"""What becomes of every file, out of the owner's and both of the template's. Nothing is written here."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from ..files import Entry
from . import merging, pins, recorded
from .findings import Findings
from .journal import Change, Plan
from .moves import Moves
from .refusals import Refused
from .state import LINK, SUBMODULE, Blob, Lab, contents


@dataclass(frozen=True)
class Wishes:
    """What the owner asked of Copier.

    answers_file: its path in the lab.
    reject: whether what cannot be merged goes to a `.rej` file instead of between markers.
    context: how many lines around a change a patch looks for.
    skip: says of a path whether `--skip` names it.
    """

    answers_file: str
    reject: bool = False
    context: int = 3
    skip: Callable[[str], bool] = field(default=lambda _: False)


def made(lab: Lab, moves: Moves, new: dict[str, Entry], wishes: Wishes, findings: Findings) -> Plan:
    """Return what to write, and note in *findings* what the report tells.

    Args:
        lab: the lab as it is now.
        moves: the old template's files and the lab's, at the paths of today.
        new: the template's files of today.
        wishes: the owner's.
        findings: complete but for the files.

    Raises:
        Refused: the lab and the template cannot stand side by side.
    """
    planner = _Planner(lab, moves, new, wishes, findings)
    for path in sorted({*moves.old, *moves.tracked, *new}):
        planner.settle(path)
    planner.settle_splits()
    planner.finish_moves()
    planner.refuse_clashes()
    planner.index_modes()
    planner.tell()
    changes = (Change(path, lab.here(path), entry) for path, entry in sorted(planner.results.items()))
    return Plan(tuple(change for change in changes if change.before != change.after), tuple(planner.index))


class _Planner:
    """Settles one path after another; `results` holds each file that will be another."""

    def __init__(self, lab: Lab, moves: Moves, new: dict[str, Entry], wishes: Wishes, findings: Findings) -> None:
        self.lab, self.moves, self.new, self.wishes, self.findings = lab, moves, dict(new), wishes, findings
        self._end_lines_as_git_does()
        self.results: dict[str, Entry | None] = {}
        self.index: list[str] = []
        self.splits: dict[str, Entry] = {}
        self.conflicts: set[str] = set()
        converted = lab.converted()
        self.converted = {path for path in moves.tracked if moves.source(path) in converted}
        self.mine = self._edited()

    def _end_lines_as_git_does(self) -> None:
        """Take the template's files as Git commits them with core.autocrlf, which checks a template out with CRLF.

        Git leaves a file alone that has CRLF in the index already.
        """
        if self.lab.git.setting("core.autocrlf") not in ("true", "input"):
            return
        sides = (self.moves.old, self.new)
        paths = {path for files in sides for path, entry in files.items() if entry.text and b"\r\n" in entry.data}
        tracked = [path for path in paths if path in self.moves.tracked and self.moves.tracked[path].mode != SUBMODULE]
        mine = dict(zip(tracked, contents(self.lab.git, [self.moves.tracked[path] for path in tracked]), strict=True))
        for path in paths:
            if path in mine and b"\r\n" in mine[path].data:
                continue
            for files in sides:
                if path in files:
                    files[path] = replace(files[path], data=files[path].data.replace(b"\r\n", b"\n"))

    def _edited(self) -> dict[str, Entry]:
        """Return the files that the owner and the template have to do with, and in which they differ."""
        paths = [
            path
            for path, blob in self.moves.tracked.items()
            if (path in self.moves.old or path in self.new) and blob.mode != SUBMODULE and not self._untouched(path)
        ]
        return dict(zip(paths, contents(self.lab.git, [self.moves.tracked[path] for path in paths]), strict=True))

    def _untouched(self, path: str) -> bool:
        base = self.moves.old.get(path)
        return base is not None and self.moves.tracked[path].holds(base)

    def settle(self, path: str) -> None:
        """Decide about one path."""
        base, theirs = self.moves.old.get(path), self.new.get(path)
        if path == self.wishes.answers_file:
            self._settle_answers(path)
        elif path not in self.moves.tracked:
            if theirs is not None:
                self._settle_new(path, base, theirs)
        elif self.moves.tracked[path].mode == SUBMODULE:
            if theirs is not None:
                self._refuse(path, theirs, "It is a submodule of yours")
        else:
            self._settle_tracked(path, base, theirs)

    def _settle_tracked(self, path: str, base: Entry | None, theirs: Entry | None) -> None:
        """Decide about a file that the lab has."""
        if theirs is not None and self.wishes.skip(path):
            if theirs != base:
                self.findings.kept[path] = "`--skip` names it. The template has changed it since."
        elif self._untouched(path):
            if theirs != base:
                self.results[path] = theirs
        elif path in self.converted:
            self._settle_converted(path, base, theirs)
        elif base is not None or theirs is not None:
            self._settle_edited(path, base, theirs)

    def _settle_new(self, path: str, base: Entry | None, theirs: Entry) -> None:
        """Decide about a file that the lab's index lacks."""
        behind = self._behind(path)
        if behind is not None:
            if theirs != base:
                self._refuse(path, theirs, behind)
        elif self._folder(path):
            self.results[path] = theirs
        elif self.lab.exists(path):
            if self.lab.here(path) == theirs:
                return
            if path in self.lab.untracked:
                self._refuse(path, theirs, "You made that file while the update ran, so yours stays")
            elif theirs != base:
                self._refuse(path, theirs, "Git ignores your file, so no commit would have it: it stays as it was")
        elif base is None:
            self.results[path] = theirs
        elif theirs != base:
            self.findings.kept[path] = "You deleted it, and it stays away. The template has changed it since."

    def _folder(self, path: str) -> bool:
        here = self.lab.folder / path
        return here.is_dir() and not here.is_symlink()

    def _behind(self, path: str) -> str | None:
        """Return what of the owner's stands between the lab and a new file: it would be written somewhere else."""
        for parent in [*PurePosixPath(path).parents][-2::-1]:
            here = self.lab.folder / parent
            if here.is_symlink():
                return f"Your `{parent}` is a link to `{here.readlink()}`, so it was not written"
            if (here / ".git").exists():
                return f"Your `{parent}` is another repository, so it was not written"
        return None

    def _settle_edited(self, path: str, base: Entry | None, theirs: Entry | None) -> None:
        """Make one file of the owner's what all three versions say together."""
        mine = self.mine[path]
        if theirs is None:
            if path in self.moves.split:
                self.splits[path] = mine
            else:
                self.findings.kept[path] = (
                    f"{self._why_gone(path)} You had edited it, so yours stays; delete it once you don't need it."
                )
            return
        merged = merging.merge(self.lab.git, mine, base, theirs)
        if merged.refused is not None:
            self._refuse(path, merged.refused, "It cannot be merged line by line, so yours stays as it was")
            return
        assert merged.entry is not None
        if merged.conflict and self.wishes.reject and base is not None and self._reject(path, mine, base, theirs):
            return
        if merged.conflict:
            self._unmerged(path, mine, base, theirs)
            self.findings.conflicts[path] = merging.conflict_lines(merged.entry.data)
        elif base is not None and mine.text and merged.entry.text:
            self._check(path, *pins.settled(mine.data, base.data, theirs.data)[:2], merged.entry.data)
        if merged.entry != mine:
            self.results[path] = merged.entry

    def _reject(self, path: str, mine: Entry, base: Entry, theirs: Entry) -> bool:
        rest = f"{path}.rej"
        made = merging.rejected(mine, base, theirs, self.wishes.context)
        # An earlier one that waits to be worked in is not written over.
        if made is None or self.lab.exists(rest) or rest in self.new:
            return False
        self.results[path], self.results[rest] = made[0], Entry(made[1])
        self.findings.conflicts[path] = []
        return True

    def _unmerged(self, path: str, mine: Entry, base: Entry | None, theirs: Entry) -> None:
        """Put all three versions into the index, as a merge of Git's does."""
        self.conflicts.add(path)
        self.index.append(self._no_entry(path))
        for stage, entry in ((1, base), (2, mine), (3, theirs)):
            if entry is not None:
                self.index.append(f"{entry.mode} {self.lab.git.store(entry.data)} {stage}\t{self.lab.prefix}{path}")

    def _no_entry(self, path: str) -> str:
        return f"0 {'0' * len(self.lab.commit)}\t{self.lab.prefix}{path}"

    def _settle_converted(self, path: str, base: Entry | None, theirs: Entry | None) -> None:
        if theirs is not None and theirs != base:
            self._refuse(
                path,
                theirs,
                "A filter in .gitattributes changes it first, so it cannot be merged, and yours stays as it was",
            )
        elif theirs is None and base is not None:
            self.findings.kept[path] = (
                f"{self._why_gone(path)} A filter in .gitattributes changes yours first, so it stays."
            )

    def _settle_answers(self, path: str) -> None:
        theirs = self.new.get(path)
        if theirs is None:
            raise Refused(
                f"The template of today writes no answers file `{path}`, so nothing was changed. Report"
                " that to the template's maintainers."
            )
        self.results[path] = theirs
        if path in self.mine and path in self.moves.old:
            lines = recorded.written_by_hand(self.mine[path].data, self.moves.old[path].data, theirs.data)
            if lines:
                shown = "; ".join(f"`{line}`" for line in lines[:3]) + (
                    f" and {len(lines) - 3} more" if len(lines) > 3 else ""
                )
                self._aside(
                    path,
                    f"Copier writes this file anew, and what you had written into it by hand is gone from it: {shown}",
                )

    def settle_splits(self) -> None:
        """Bring the owner's changes of a file into the files that it was split into."""
        for path, mine in self.splits.items():
            names = self.moves.split[path]
            # A part that the owner has a file of already was settled on its own.
            parts = {
                part: entry.data
                for part in names
                if (entry := self.results.get(part)) is not None and part not in self.moves.tracked
            }
            base = self.moves.old[path].data
            carried, homeless = merging.carry_over(mine.data, base, parts) if mine.text else (parts, [mine.data])
            for part, data in carried.items():
                self.results[part] = Entry(data, self.new[part].executable)
            self.results[path] = None
            where = ", ".join(f"`{part}`" for part in names)
            if homeless or merging.lost(mine.data, base, b"\n".join(carried.values())):
                self._aside(path, f"It was split into {where}, and some of your changes found no place there")
            else:
                self.findings.kept[path] = f"It was split into {where}. Your changes went along."

    def finish_moves(self) -> None:
        """Write what moved to its new place, and clear the old one; the index follows, as with `git mv`."""
        for path, source in self.moves.came_from.items():
            stays = self.results.get(path, self.lab.here(source))
            self.results.setdefault(source, None)
            if stays is None:
                self.results.pop(path, None)
                continue
            self.results[path] = stays
            self.findings.moved[source] = path
            blob = self.lab.staged[source]
            self.index.append(self._no_entry(source))
            if path not in self.conflicts:
                self.index.append(f"{blob.mode} {blob.name} 0\t{self.lab.prefix}{path}")

    def index_modes(self) -> None:
        """Where Git does not look at executable bits on the disk, say them in its index."""
        if self.lab.file_mode:
            return
        for path, entry in self.results.items():
            blob = self.lab.staged.get(self.moves.source(path))
            if entry is None or entry.link or path in self.conflicts or (blob is None and not entry.executable):
                continue
            if blob is None:
                self.index.append(f"{entry.mode} {self.lab.git.store(entry.data)} 0\t{self.lab.prefix}{path}")
            elif blob.executable != entry.executable:
                self.index += [self._no_entry(path), f"{entry.mode} {blob.name} 0\t{self.lab.prefix}{path}"]

    def refuse_clashes(self) -> None:
        """Refuse a file where the other side has a folder: nothing could stand at that place."""
        leaving = {path for path, entry in self.results.items() if entry is None}
        for path in sorted(path for path, entry in self.results.items() if entry is not None):
            if self._folder(path) and not _leaves_with(self.lab.folder, path, leaving):
                raise Refused(
                    f"`{path}` is a folder in your lab and a file in the template. Rename yours, commit, and"
                    f" update again."
                )
            for parent in [*PurePosixPath(path).parents][:-1]:
                name = parent.as_posix()
                here = self.lab.folder / name
                if here.exists() and not here.is_dir() and name not in leaving:
                    raise Refused(
                        f"`{name}` is a file in your lab and a folder in the template. Rename yours, commit, and"
                        f" update again."
                    )

    def tell(self) -> None:
        """Note what the report says of the files."""
        findings, known = self.findings, {**self.lab.tracked}
        for path, entry in sorted(self.results.items()):
            if entry is None:
                if path in known and path not in findings.moved:
                    findings.removed[path] = self.moves.reasons.get(path, "")
            elif entry != self.lab.here(path):
                (findings.changed if path in self.moves.tracked else findings.added).append(path)
            if (
                entry is not None
                and path not in findings.conflicts
                and entry.text
                and (places := merging.conflict_lines(entry.data))
            ):
                findings.conflicts[path] = places
        findings.kept |= self.moves.stay_behind
        findings.ignored |= self._ignored([path for path in findings.added if not path.endswith(".rej")])
        findings.saved |= {path: blob.name if blob else "" for path, blob in self.lab.saved.items()}
        findings.taken |= {
            path: self._back(path, blob)
            for path, blob in self.lab.saved.items()
            if blob is not None and path in {*findings.moved, *findings.removed, *self.conflicts}
        }
        findings.left += sorted(
            name for name in self.lab.git.names("ls-files", "--others", "--", "*.rej") if name not in self.results
        )

    def _back(self, path: str, blob: Blob) -> str:
        """Return the command that puts a file back as the owner saved it, once Git has put back the committed one."""
        place = shlex.quote(f"./{path}")
        if blob.mode == LINK:
            return f'ln -sfn -- "$(git cat-file blob {blob.name[:12]})" {place}'
        folder, attributes = PurePosixPath(path).parent, shlex.quote(f"--path={self.lab.prefix}{path}")
        steps = (
            f"mkdir -p -- {shlex.quote(f'./{folder}')}",
            f"rm -f -- {place}",
            f"git cat-file --filters {attributes} {blob.name[:12]} > {place}",
            f"chmod {'+' if blob.executable else '-'}x -- {place}",
        )
        return " && ".join(steps)

    def _ignored(self, paths: Iterable[str]) -> dict[str, str]:
        """Return which of the new files Git ignores, with the rule: no commit would have them."""
        given = b"".join(os.fsencode(path) + b"\0" for path in paths)
        if not given or not self.lab.tracked:
            return {}
        said = self.lab.git.run("check-ignore", "--verbose", "--no-index", "-z", "--stdin", given=given).stdout.split(
            b"\0"
        )
        found = {}
        for file, line, pattern, path in zip(said[::4], said[1::4], said[2::4], said[3::4], strict=False):
            if not pattern.startswith(b"!"):
                rule = f"`{os.fsdecode(pattern)}` (line {line.decode()} of `{os.fsdecode(file)}`)"
                found[os.fsdecode(path)] = (
                    f"{rule} keeps it out of every commit. To take it in: `git add --force"
                    f" {shlex.quote(os.fsdecode(path))}`"
                )
        return found

    def _why_gone(self, path: str) -> str:
        return self.moves.reasons.get(path, "The template has it no more, or an answer has switched it off.")

    def _check(self, path: str, mine: bytes, base: bytes, result: bytes) -> None:
        """Name what of the owner's stands nowhere. A merge leaves nothing out; this is the net below it."""
        lost = merging.lost(mine, base, result)
        if lost:
            self._aside(path, f"{len(lost)} of your lines are not in the file any more")

    def _aside(self, path: str, why: str) -> None:
        source = self.moves.source(path)
        where = f"`git show {shlex.quote(f'{self.lab.commit[:12]}:{self.lab.prefix}{source}')}`"
        if (blob := self.lab.saved.get(source)) is not None:
            where = f"`git cat-file blob {blob.name[:12]}`"
        self.findings.set_aside[path] = f"{why}. Your version: {where}"

    def _refuse(self, path: str, theirs: Entry, why: str) -> None:
        # It is shown, and written nowhere: what stands at that path may be the only copy of a secret, or outside of the
        # lab.
        name = self.lab.git.store(theirs.data)
        self.findings.set_aside[path] = f"{why}. The template's new version: `git cat-file blob {name[:12]}`"


def _leaves_with(lab: Path, folder: str, leaving: set[str]) -> bool:
    """Say whether all that stands in a folder goes away."""
    there = (
        path.relative_to(lab).as_posix() for path in (lab / folder).rglob("*") if path.is_symlink() or not path.is_dir()
    )
    return all(name in leaving for name in there)
