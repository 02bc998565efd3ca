"""What stops an update before anything is touched: each with the reason, and the command that fixes it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from copier.errors import UserMessageError

from ..files import Entry
from ..git import Git, GitError
from ..words import clean
from . import merging
from .state import LINK, SUBMODULE, Lab, look

# What Git leaves in its folder while something is half done, and how that ends.
UNFINISHED = {
    "MERGE_HEAD": "a merge; finish it with `git commit`, or give it up with `git merge --abort`",
    "CHERRY_PICK_HEAD": "a cherry-pick; finish it with `git cherry-pick --continue`, or give it up with `--abort`",
    "REVERT_HEAD": "a revert; finish it with `git revert --continue`, or give it up with `--abort`",
    "rebase-merge": "a rebase; finish it with `git rebase --continue`, or give it up with `--abort`",
    "rebase-apply": "a rebase or `git am`; finish it with `--continue`, or give it up with `--abort`",
    "BISECT_LOG": "a bisection; end it with `git bisect reset`",
}
# The three markers of a conflict, each at the beginning of a line.
MARKERS = (
    re.compile(rb"^<<<<<<<( .*)?\r?$", re.MULTILINE),
    re.compile(rb"^=======\r?$", re.MULTILINE),
    re.compile(rb"^>>>>>>>( .*)?\r?$", re.MULTILINE),
)


class Refused(UserMessageError):
    """Why there is no update. The lab is as it was; Copier prints the text, and exits with 1."""

    def __init__(self, text: str) -> None:
        super().__init__(clean(text))


def looked_at(folder: Path, git: Git) -> Lab:
    """Return the lab as it stands, where an update may begin.

    Raises:
        Refused: it may not.
    """
    try:
        lab = look(folder, git)
    except GitError as error:
        raise Refused(_no_lab(folder, git, error)) from error
    refuse_unfinished(lab)
    return lab


def _no_lab(folder: Path, git: Git, error: GitError) -> str:
    said = git.run("rev-parse", "--git-dir").stderr.decode(errors="replace")
    if "dubious ownership" in said:
        return (
            f"The lab belongs to another user, so Git does not touch it. If you trust it:"
            f" `git config --global --add safe.directory {shlex.quote(str(folder))}`. Nothing was changed."
        )
    if (
        git.run("rev-parse", "--verify", "--quiet", "HEAD").returncode != 0
        and git.run("rev-parse", "--git-dir").returncode == 0
    ):
        return (
            "The lab has no commit yet, so an update could not be undone. Commit it first:"
            ' `git add --all && git commit -m "The lab"`.'
        )
    return f"Git cannot read the lab: {error}. Fix that, and update again; nothing was changed."


def refuse_unfinished(lab: Lab) -> None:
    """Refuse a lab in the middle of a merge or the like, which Git may call clean."""
    for name, what in UNFINISHED.items():
        if (lab.git_dir / name).exists():
            raise Refused(f"The lab is in the middle of {what}. Then update again; nothing was changed.")
    if lab.unmerged:
        raise Refused(
            f"Conflicts are open in {some(lab.unmerged)}. Resolve them, `git add` and commit, then update again;"
            f" nothing was changed."
        )


def refuse_before(lab: Lab, old: dict[str, Entry]) -> None:
    """Refuse what would be lost, or written somewhere else.

    Args:
        lab: the lab, clean as Copier demands.
        old: the files of the template that made it.
    """
    _refuse_unseen(lab)
    _refuse_folders(lab, old)
    _refuse_elsewhere(lab, old)
    _refuse_markers(lab, old)


def _refuse_unseen(lab: Lab) -> None:
    """Refuse a lab with changes that `git status` was told to hide: Copier calls it clean."""
    listed = lab.git("ls-files", "-v", "-z").split(b"\0")
    marked = [
        line[2:].decode(errors="surrogateescape") for line in listed if line and not line.startswith((b"H ", b"M "))
    ]
    if marked:
        raise Refused(
            f"Git is told not to look at {some(marked)} (skip-worktree, assume-unchanged or a sparse checkout), so"
            f" what you changed"
            " there is in no commit, and would be lost. Let it look again, and commit, then update again:"
            f" `git update-index --no-skip-worktree --no-assume-unchanged {shlex.quote(marked[0])}`, or `git"
            f" sparse-checkout disable`."
            " Nothing was changed."
        )
    hidden = [path for path in lab.untracked if not _of_copier(path)]
    if hidden and lab.git.setting("status.showuntrackedfiles") == "no":
        raise Refused(
            f"No commit has {some(hidden)}, which Git was told not to show (status.showUntrackedFiles). Commit"
            " it, or put it aside (`git stash --include-untracked`), and update again; nothing was changed."
        )


def _of_copier(path: str) -> bool:
    # Where TMPDIR lies in the lab, Copier's own folders do.
    return any(part.startswith("copier.") for part in path.split("/"))


def _refuse_folders(lab: Lab, old: dict[str, Entry]) -> None:
    folders = {parent.as_posix() for path in lab.tracked for parent in Path(path).parents}
    for path in sorted(folders & old.keys()):
        raise Refused(
            f"`{path}` is a folder in your lab and a file in the template. Rename the folder, commit, and update"
            f" again;"
            " nothing was changed."
        )


def _refuse_elsewhere(lab: Lab, old: dict[str, Entry]) -> None:
    """Refuse a folder of the template's that is another repository, or leads there: no commit of the lab's holds it."""
    folders = {parent.as_posix() for path in old for parent in Path(path).parents}
    for path in sorted(folders & lab.tracked.keys()):
        mode = lab.tracked[path].mode
        leads_out = mode == LINK and not (lab.folder / path).resolve().is_relative_to(lab.folder.resolve())
        if mode == SUBMODULE or leads_out:
            raise Refused(
                f"`{path}` {'is a submodule of' if mode == SUBMODULE else 'leads out of'} your lab, where the"
                f" template has a folder. Rename it:"
                f" `git mv {shlex.quote(path)} {shlex.quote(f'my-{Path(path).name}')}`, commit, and update again;"
                f" nothing was changed."
            )


def _refuse_markers(lab: Lab, old: dict[str, Entry]) -> None:
    """Refuse conflict markers that somebody committed: the merge would take them for content."""
    found = lab.git.run("grep", "--cached", "-z", "-l", "-I", "-e", r"^<<<<<<<\( \|$\)", "--", ".").stdout.split(b"\0")
    paths = [path for name in found if name and (path := name.decode(errors="surrogateescape")) in lab.tracked]
    places = []
    for path, entry in lab.entries(paths).items():
        # An example in a text of the owner's is no conflict, unless an update left it there.
        if path in old or merging.conflict_lines(entry.data):
            places += [
                f"`{path}` line {line}"
                for line in _markers(entry.data)
                if path not in old or line not in set(_markers(old[path].data))
            ]
    if places:
        shown = ", ".join(places[:5]) + (f" and {len(places) - 5} more" if len(places) > 5 else "")
        raise Refused(
            f"Conflict markers were committed: {shown}. Keep what is right between them, remove the markers, commit,"
            f" and update again;"
            " nothing was changed."
        )


def _markers(data: bytes) -> list[int]:
    """Return the lines at which conflicts begin: all three markers, in their order."""
    places, position = [], 0
    while (start := MARKERS[0].search(data, position)) is not None:
        middle = MARKERS[1].search(data, start.end())
        end = MARKERS[2].search(data, middle.end()) if middle else None
        if end is None:
            break
        places.append(data.count(b"\n", 0, start.start()) + 1)
        position = end.end()
    return places


def some(paths: Iterable[str]) -> str:
    """Return a few paths as a text."""
    names = sorted(paths)
    shown = ", ".join(f"`{path}`" for path in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")
