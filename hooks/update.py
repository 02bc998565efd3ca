"""An update of a lab, in three steps around Copier's own: what the owner did is known before, and stands after, whatever Copier did.

Copier renders the template of the last update and of today, and patches the difference between the first and the lab onto the
second. That loses files that the template dropped, binaries, and whatever a patch cannot say. So every file that the owner has
touched is merged here once more, from all three versions, and Copier's result is replaced where it differs.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shlex
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from copier.errors import UserMessageError

from . import answers as answer_changes
from . import merging, renames
from .files import Entry, Git, read, tree, write

HERE = Path(__file__).resolve().parent
REPORT = "update-report.md"
# In the lab's folder only: what else is in its repository may hold changes of its own.
UNDO = "git restore --source=HEAD --staged --worktree . && git clean -d --force ."
# What Git leaves in its folder while something is half done, and how that ends.
UNFINISHED = {
    "MERGE_HEAD": "a merge; finish it with `git commit`, or give it up with `git merge --abort`",
    "CHERRY_PICK_HEAD": "a cherry-pick; finish it with `git cherry-pick --continue`, or give it up with `--abort`",
    "REVERT_HEAD": "a revert; finish it with `git revert --continue`, or give it up with `--abort`",
    "rebase-merge": "a rebase; finish it with `git rebase --continue`, or give it up with `--abort`",
    "rebase-apply": "a rebase or `git am`; finish it with `--continue`, or give it up with `--abort`",
    "BISECT_LOG": "a bisection; end it with `git bisect reset`",
}
# Modes in Git's index: a submodule's, and a symbolic link's.
SUBMODULE = "160000"
LINK = "120000"
# Files that Git ignores are in no commit, so they are held in memory meanwhile: secrets, notes. No more than this.
IGNORED_LIMIT = 64 * 2**20


@dataclass
class Findings:
    """What the report tells."""

    version_from: str
    version_to: str
    commit: str
    answers_before: dict[str, Any] = field(default_factory=dict)
    answers_after: dict[str, Any] = field(default_factory=dict)
    migrated: list[str] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)
    conflicts: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    set_aside: dict[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    removed: dict[str, str] = field(default_factory=dict)


class Update:
    """One update, from Copier's before-migration to its after-migration, in Copier's own process."""

    def __init__(self, lab: Path, old_copy: Path, version_from: str, version_to: str, conflict_files: bool = False) -> None:
        """Take hold of a lab.

        Args:
            lab: the lab's folder, clean as Copier demands.
            old_copy: where Copier rendered the template of the last update, with the recorded answers.
            version_from: the template's version of the last update, as PEP 440 writes it.
            version_to: the one of today.
            conflict_files: whether the owner asked for `.rej` files instead of conflict markers.
        """
        self.lab, self.old_copy, self.git = lab, old_copy, Git(lab)
        self.version_from, self.version_to, self.conflict_files = version_from, version_to, conflict_files
        self.new: dict[str, Entry] | None = None
        self.finished = False

    # Before anything is touched ------------------------------------------------------------------------------------------

    def refuse_unfinished(self) -> None:
        """Refuse a lab in the middle of a merge or the like, which Git may call clean."""
        said = self.git.run("rev-parse", "--absolute-git-dir", "HEAD", "--show-prefix")
        lines = said.stdout.decode(errors="surrogateescape").splitlines()
        if said.returncode != 0:
            raise UserMessageError("The lab has no commit yet, so an update could not be undone. Commit it first: `git commit -m \"The lab\"`.")
        folder, self.commit, self.prefix = Path(lines[0]), lines[1], lines[2] if len(lines) > 2 else ""
        for name, what in UNFINISHED.items():
            if (folder / name).exists():
                raise UserMessageError(f"The lab is in the middle of {what}. Then update again; nothing was changed.")

    def before(self, answers_file: str, given: Mapping[str, Any], problems: Callable[[Mapping[str, Any]], list[str]]) -> None:
        """Check the lab, carry over what moved, and migrate the answers.

        Args:
            answers_file: its path in the lab.
            given: the answers of `--data` and `--data-file`.
            problems: returns what is wrong with recorded answers, a line each.

        Raises:
            UserMessageError: why there is no update. The lab is as it was.
        """
        self.refuse_unfinished()
        self.answers_file = answers_file
        recorded = _load(self.lab / answers_file)
        answers, migrated = answer_changes.migrated(recorded, renames.newer(answer_changes.CHANGES, self.version_from))
        found = problems(answers)
        if found:
            raise UserMessageError("The lab was not updated, and nothing was changed:\n" + "\n".join(f"  {line}" for line in found))
        self.findings = Findings(self.version_from, self.version_to, self.commit, answers_before=recorded, migrated=migrated)
        self._look()
        if _command_line():
            atexit.register(self.roll_back)
            _end_in_order()
        try:
            self._carry_over([*renames.steps(HERE / "renames.yml", self.version_from, answers), renames.of_answers(answers, {**answers, **given})])
            if answers != recorded:
                _dump(self.lab / answers_file, answers)
        except BaseException:
            self.roll_back()
            raise

    def _look(self) -> None:
        """Learn what stands in the lab and what the template had put there."""
        self.old = tree(self.old_copy)
        self.tracked: dict[str, tuple[str, str]] = {}
        unseen = []
        for line in self.git("ls-files", "-v", "--stage", "-z").split(b"\0"):
            if line:
                tag, mode, name, _, path = os.fsdecode(line).replace("\t", " ", 1).split(" ", 4)
                self.tracked[path] = (mode, name)
                if tag != "H":
                    unseen.append(path)
        self._refuse_unseen(unseen)
        folders = {parent.as_posix() for path in self.tracked for parent in Path(path).parents}
        for path in sorted(folders & set(self.old)):
            raise UserMessageError(
                f"`{path}` is a folder in your lab, where the template has a file. Rename the folder, commit, and update again;"
                " nothing was changed."
            )
        self._refuse_elsewhere()
        self._refuse_rejected()
        self._hold_ignored()

    def _refuse_elsewhere(self) -> None:
        """Refuse a folder of the template's that is another repository, or leads there: what is written to it, nothing here could undo."""
        folders = {parent.as_posix() for path in self.old for parent in Path(path).parents}
        for path in sorted(folders & self.tracked.keys()):
            mode = self.tracked[path][0]
            # Copier writes through a link that stays in the lab, and what it hits there is put back.
            leads_out = mode == LINK and not (self.lab / path).resolve().is_relative_to(self.lab.resolve())
            if mode == SUBMODULE or leads_out:
                raise UserMessageError(
                    f"`{path}` {'is a submodule of' if mode == SUBMODULE else 'leads out of'} your lab, where the template has a folder. Rename it:"
                    f" `git mv {shlex.quote(path)} {shlex.quote(f'my-{Path(path).name}')}`, commit, and update again; nothing was changed."
                )

    def _refuse_unseen(self, marked: list[str]) -> None:
        """Refuse a lab with changes that `git status` was told to hide: Copier calls it clean, and would write over them."""
        if marked:
            raise UserMessageError(
                f"Git is told not to look at {_some(marked)} (skip-worktree, assume-unchanged or a sparse checkout), so what you changed"
                " there is in no commit, and would be lost. Let it look again, and commit, then update again:"
                f" `git update-index --no-skip-worktree --no-assume-unchanged {shlex.quote(marked[0])}`, or `git sparse-checkout disable`."
                " Nothing was changed."
            )
        untracked = self.git.names("ls-files", "--others", "--exclude-standard")
        if untracked:
            raise UserMessageError(
                f"No commit has {_some(untracked)}, which Git was told not to show (status.showUntrackedFiles). Commit or stash it, and update"
                " again; nothing was changed."
            )

    def _refuse_rejected(self) -> None:
        """Refuse what an earlier patch could not place. Copier takes it for its own, in all of the repository, and checks out the file."""
        left = [line[3:] for line in self.git.names("status", "--porcelain", "--ignored") if line.startswith(("?? ", "!! ")) and line.endswith(".rej")]
        if left:
            raise UserMessageError(
                f"What could not be patched before still stands in {_some(left)}. Work it in, or delete it, then update again; nothing was changed."
            )

    def _hold_ignored(self) -> None:
        """Read what Git ignores, the small files first: a cache beside them must not leave a secret out."""
        self.ignored: dict[str, Entry] = {}
        room = IGNORED_LIMIT
        sizes = []
        for name in self.git.names("ls-files", "--others", "--ignored", "--exclude-standard"):
            path = self.lab / name
            if name != REPORT and not path.is_dir():
                sizes.append((path.lstat().st_size, name))
        for size, name in sorted(sizes):
            if size > room:
                break
            entry = read(self.lab / name)
            if entry is not None:
                self.ignored[name] = entry
                room -= len(entry.data)

    def _carry_over(self, steps: list[renames.Paths]) -> None:
        """Move what the template moved: in the lab with the owner's edits, and in the old copy, which the merge starts from."""
        self._stay_behind([pair for step in steps for pair in step.moved.items()])
        self.split: dict[str, list[str]] = {}
        self.reasons: dict[str, str] = {}
        index: list[str] = []
        # Where a path of today stood at the last commit.
        self.came_from: dict[str, str] = {}
        for step in steps:
            for old, new in step.moved.items():
                if old.endswith("/"):
                    paths = [path for path in {*self.old, *self.tracked} if path.startswith(old)]
                    pairs = [(path, new + path.removeprefix(old)) for path in sorted(paths)]
                else:
                    pairs = [(old, new)]
                for source, target in pairs:
                    self._move(source, target, index)
            self.split |= step.split
            self.reasons |= step.removed
        self.git.index(index)
        self.findings.moved = {source: target for target, source in self.came_from.items()}
        self._compare()

    def _stay_behind(self, moved: list[tuple[str, str]]) -> None:
        """Name what does not move with its folder. Git may not ignore there what it ignores here, and a commit would have the secret."""
        folders = [(old, new) for old, new in moved if old.endswith("/")]
        if not folders:
            return
        modules = [path for path, (mode, _) in self.tracked.items() if mode == SUBMODULE]
        ignored = self.git.names("ls-files", "--others", "--ignored", "--exclude-standard", "--directory")
        for names, why, command in ((ignored, "Git ignores it", "mv"), (modules, "It is a submodule", "git mv")):
            for path in names:
                for old, new in folders:
                    if path.startswith(old) and any(other.startswith(old) for other in {*self.old, *self.tracked}):
                        target = new + path.removeprefix(old)
                        self.findings.kept[path] = (
                            f"{why}, so it stays, while its folder is `{new}` now. Move it there:"
                            f" `{command} {shlex.quote(path.rstrip('/'))} {shlex.quote(target.rstrip('/'))}`"
                        )

    def _move(self, source: str, target: str, index: list[str]) -> None:
        if source in self.tracked and self.tracked[source][0] == SUBMODULE:
            return
        if target in self.old or target in self.tracked or os.path.lexists(self.lab / target):
            return
        if source in self.old:
            _rename(self.old_copy, source, target)
            self.old[target] = self.old.pop(source)
        if source in self.tracked:
            _rename(self.lab, source, target)
            mode, name = self.tracked[target] = self.tracked.pop(source)
            index += [f"0 {'0' * len(name)}\t{self.prefix}{source}", f"{mode} {name} 0\t{self.prefix}{target}"]
            self.came_from[target] = self.came_from.pop(source, source)

    def _compare(self) -> None:
        """Tell the owner's files from the template's: by the blobs of the index, which know no line endings of a system."""
        edited = [path for path, entry in self.old.items() if path in self.tracked and not _same(entry, *self.tracked[path])]
        # A submodule has no content here, and Copier leaves it alone.
        edited = [path for path in edited if self.tracked[path][0] != SUBMODULE]
        self.edited = dict(zip(edited, self._blobs(edited), strict=True))
        self.deleted = sorted(path for path in self.old if path not in self.tracked and path not in self.ignored)
        self.own = sorted(path for path in self.tracked if path not in self.old)
        self.filtered = self._filtered()

    def _filtered(self) -> set[str]:
        """Return the files that a filter of Git's stands before (git-crypt, LFS): the index has other bytes than the owner sees."""
        if not any(path.rpartition("/")[2] == ".gitattributes" for path in self.tracked):
            return set()
        sources = {self.came_from.get(path, path): path for path in self.tracked}
        said = self.git("check-attr", "-z", "--stdin", "filter", given=b"".join(os.fsencode(path) + b"\0" for path in sources)).split(b"\0")
        return {sources[os.fsdecode(path)] for path, value in zip(said[::3], said[2::3], strict=False) if value not in (b"unspecified", b"unset")}

    def _blobs(self, paths: list[str]) -> list[Entry]:
        """Return files of the lab as the index has them."""
        if not paths:
            return []
        names = "".join(f"{self.tracked[path][1]}\n" for path in paths)
        said, entries = self.git("cat-file", "--batch", given=names.encode()), []
        position = 0
        for path in paths:
            end = said.index(b"\n", position)
            size = int(said[position:end].split()[2])
            mode = self.tracked[path][0]
            entries.append(Entry(said[end + 1 : end + 1 + size], mode == "100755", mode == "120000"))
            position = end + 2 + size
        return entries

    # In between ----------------------------------------------------------------------------------------------------------

    def rendered(self, folder: Path) -> None:
        """Take note of today's template, where Copier has rendered it into a folder of its own."""
        if folder.absolute() != self.lab:
            self.new = tree(folder)

    # After Copier --------------------------------------------------------------------------------------------------------

    def after(self) -> Findings:
        """Put the owner's files right, and return what the report tells. The lab is updated, with conflicts where there are any."""
        if self.new is None:
            raise UserMessageError("Copier did not render today's template, so nothing is known of it; the lab is as it was.")
        new, index = self.new, []
        unmerged = set(self.git.names("diff", "--name-only", "--diff-filter=U", "--relative"))
        if not self.conflict_files:
            known = {*self.tracked, *self.ignored, *new}
            for name in self.git.names("ls-files", "--others", "--", "*.rej"):
                if name not in known:
                    (self.lab / name).unlink()
        both = [path for path in self.own if path in new and self.tracked[path][0] != SUBMODULE]
        ours = {**self.edited, **dict(zip(both, self._blobs(both), strict=True))}
        whole = sorted(self.filtered & ours.keys())
        for path, mine in sorted(ours.items()):
            if path in self.filtered:
                self._keep_whole(path, index, path in unmerged)
            elif path != self.answers_file:
                self._settle(path, mine, index, path in unmerged)
        self._settle_answers_file()
        for path in self.deleted:
            if path in new:
                write(self.lab / path, None)
                if new[path] != self.old[path]:
                    self.findings.kept[path] = "You deleted it, and it stays away. The template has changed it since."
        for path, entry in self.ignored.items():
            if read(self.lab / path) != entry:
                write(self.lab / path, entry)
                if path in new:
                    self._refuse(path, new[path], "Git ignores your file, so no commit would have it: it stays as it was")
        self.git.index(index)
        self._check_out([*whole, *self._hit_by_mistake(both)])
        self._count()
        self.findings.answers_after = _load(self.lab / self.answers_file)
        self.finished = True
        return self.findings

    def _settle(self, path: str, mine: Entry, index: list[str], unmerged: bool) -> None:
        """Make one file of the owner's what all three versions say together."""
        assert self.new is not None
        base, theirs = self.old.get(path), self.new.get(path)
        if theirs is None and path in self.split:
            self._settle_split(path, mine)
            return
        merged = merging.merge(self.git, mine, base, theirs)
        there = read(self.lab / path)
        if merged.conflict and self.conflict_files and there is not None:
            rejected = read(self.lab / f"{path}.rej")
            if rejected is not None and not merging.lost(mine.data, base.data if base else b"", there.data + _patch_lines(rejected.data)):
                self.findings.conflicts[path] = []
                return
        write(self.lab / path, merged.entry)
        zero = "0" * len(self.commit)
        if merged.conflict and merged.entry is not None:
            assert theirs is not None
            stages = [(2, mine), *([(1, base)] if base is not None else []), (3, theirs)]
            index.append(f"0 {zero}\t{self.prefix}{path}")
            index += [f"{entry.mode} {self.git.store(entry.data)} {stage}\t{self.prefix}{path}" for stage, entry in sorted(stages, key=lambda pair: pair[0])]
            self.findings.conflicts[path] = merging.conflict_lines(merged.entry.data)
        elif unmerged:
            index += self._resolved(path)
        if merged.refused is not None:
            self._refuse(path, merged.refused, "It cannot be merged line by line, so yours stays as it was")
        elif theirs is None:
            self.findings.kept[path] = f"{self._why_gone(path)} You had edited it, so yours stays; delete it once you don't need it."
        elif merged.entry is not None and base is not None and mine.text and merged.entry.text:
            self._check(path, mine.data, base.data, merged.entry.data)

    def _keep_whole(self, path: str, index: list[str], unmerged: bool) -> None:
        assert self.new is not None
        theirs = self.new.get(path)
        if unmerged:
            index += self._resolved(path)
        if theirs is not None and theirs != self.old.get(path):
            self._refuse(path, theirs, "A filter in .gitattributes stands before it, so it cannot be merged, and yours stays as it was")
        elif theirs is None:
            self.findings.kept[path] = f"{self._why_gone(path)} A filter in .gitattributes stands before yours, so it stays."

    def _resolved(self, path: str) -> list[str]:
        mode, name = self.tracked[path]
        return [f"0 {'0' * len(name)}\t{self.prefix}{path}", f"{mode} {name} 0\t{self.prefix}{path}"]

    def _why_gone(self, path: str) -> str:
        return self.reasons.get(path, "The template has it no more, or an answer has switched it off.")

    def _check(self, path: str, mine: bytes, base: bytes, result: bytes) -> None:
        """Name what of the owner's stands nowhere. A merge leaves nothing out; this is the net below it."""
        lost = merging.lost(mine, base, result)
        if lost:
            self._aside(path, f"{len(lost)} of your lines are not in the file any more")

    def _aside(self, path: str, why: str) -> None:
        source = self.came_from.get(path, path)
        self.findings.set_aside[path] = f"{why}. Your version: `git show {shlex.quote(f'{self.commit[:12]}:{self.prefix}{source}')}`"

    def _refuse(self, path: str, theirs: Entry, why: str) -> None:
        name = self.git.store(theirs.data)
        self.findings.set_aside[path] = f"{why}. The template's new version: `git cat-file blob {name[:12]} > {shlex.quote(path)}`"

    def _settle_split(self, path: str, mine: Entry) -> None:
        assert self.new is not None
        # A part that the owner has a file of already was merged, or will be, on its own.
        parts = {part: self.new[part].data for part in self.split[path] if part in self.new and part not in self.tracked}
        carried, homeless = merging.carry_over(mine.data, self.old[path].data, parts) if mine.text else (parts, [mine.data])
        for part, data in carried.items():
            write(self.lab / part, Entry(data, self.new[part].executable))
        write(self.lab / path, None)
        where = ", ".join(f"`{part}`" for part in self.split[path])
        if homeless or merging.lost(mine.data, self.old[path].data, b"\n".join(carried.values())):
            self._aside(path, f"It was split into {where}, and some of your changes found no place there")
        else:
            self.findings.kept[path] = f"It was split into {where}. Your changes went along."

    def _settle_answers_file(self) -> None:
        path = self.answers_file
        if path in self.edited and (now := read(self.lab / path)) is not None:
            # Copier writes this file anew; only a value or a comment of the owner's own could be missing.
            recorded = yaml.safe_load(self.edited[path].data) == self.findings.answers_before
            comments = b"\n".join(line for line in self.edited[path].data.split(b"\n") if not recorded or line.lstrip().startswith(b"#"))
            if merging.lost(comments, self.old[path].data, now.data):
                self._aside(path, "Copier writes this file anew; what you had written into it by hand is gone from it")

    def _hit_by_mistake(self, merged: list[str]) -> list[str]:
        """Return the owner's files that Copier's patch has hit, though the template has nothing to do with them."""
        changed = set(self.git.names("diff", "--name-only", "--relative", "--", ".")) & (set(self.own) - set(merged))
        return sorted(path for path in changed if self.tracked[path][0] != SUBMODULE)

    def _check_out(self, paths: list[str]) -> None:
        """Put back files as the last commit has them."""
        if paths:
            self.git("checkout-index", "--force", "-z", "--stdin", given=b"".join(os.fsencode(path) + b"\0" for path in paths))

    def _count(self) -> None:
        """List what changed in the lab since its last commit."""
        moved = set(self.findings.moved)
        for path in self.git.names("diff", "--name-only", "--no-renames", "--relative", "HEAD", "--", "."):
            source = self.came_from.get(path, path)
            if not os.path.lexists(self.lab / path):
                if path not in moved:
                    self.findings.removed[path] = self.reasons.get(path, "")
            elif path != source or path in self.tracked:
                self.findings.changed.append(path)
            else:
                self.findings.added.append(path)
        self.findings.added += self.git.names("ls-files", "--others", "--exclude-standard")

    # When something went wrong ---------------------------------------------------------------------------------------------

    def roll_back(self) -> None:
        """Make the lab what it was. It was clean, so whatever differs is the update's."""
        if self.finished:
            return
        self.finished = True
        for command in UNDO.split(" && "):
            done = self.git.run(*command.split()[1:])
            if done.returncode != 0:
                print(
                    "The update stopped half-way, and could not be undone: " + done.stderr.decode(errors="replace").strip()
                    + f"\nUndo it with `{UNDO}`.",
                    file=sys.stderr,
                )
                return
        for path, entry in self.ignored.items():
            write(self.lab / path, entry)
        print("The update stopped, and the lab is as it was.", file=sys.stderr)


def _end_in_order() -> None:
    """Let a closed terminal, or a job that is cancelled, end this program as Ctrl-C does: with the lab as it was."""
    for name in ("SIGHUP", "SIGTERM"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, lambda received, frame: sys.exit(128 + received))


def _some(paths: list[str]) -> str:
    shown = ", ".join(f"`{path}`" for path in paths[:3])
    return shown + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


def _command_line() -> bool:
    """Say whether this process is Copier's command, and so ends with the update."""
    program = Path(sys.argv[0])
    return program.stem == "copier" or program.parts[-2:] == ("copier", "__main__.py")


def _same(entry: Entry, mode: str, name: str) -> bool:
    if entry.mode != mode:
        return False
    digest = hashlib.sha1 if len(name) == 40 else hashlib.sha256
    return digest(b"blob %d\0" % len(entry.data) + entry.data).hexdigest() == name


def _rename(folder: Path, source: str, target: str) -> None:
    (folder / target).parent.mkdir(parents=True, exist_ok=True)
    (folder / source).rename(folder / target)
    for parent in (folder / source).parents:
        try:
            parent.rmdir()
        except OSError:
            return


def _patch_lines(rejected: bytes) -> bytes:
    return b"\n".join(line[1:] for line in rejected.split(b"\n"))


def _load(file: Path) -> dict[str, Any]:
    loaded = yaml.load(file.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return loaded if isinstance(loaded, dict) else {}


def _dump(file: Path, answers: Mapping[str, Any]) -> None:
    comment = "".join(line for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if line.startswith("#"))
    file.write_text(comment + yaml.safe_dump(dict(answers), sort_keys=False, allow_unicode=True), encoding="utf-8")
