"""What this template relies on in Copier beyond its documentation, all of it, and nowhere else.

Copier's `_apply_update` renders the old template into a temporary folder (`old_copy`), runs the before-migrations,
makes that folder a Git repository, compares it with the lab's index (`subproject_head`), runs the wizard and renders
into the lab, renders once more into `new_copy`, and applies the comparison as a patch to the lab. The lab is kept out
of that so:

    1  `_apply_update` is on the stack while a before-migration's `when` is rendered; its `self` is the Worker. The
       Worker's `data`, `ask`, `conflict`, `skip_answered` and `match_skip` mean what the command line's options mean,
       and the Worker that runs the wizard is made of them after that moment.
    2  `_git_initialize_repo` and `_git_commit` make the repositories of `old_copy` and `new_copy`, each called in its
       folder. Here they are replaced: no hook and no setting of the owner's is in force there, and the commit is the
       lab's own index. So the patch is empty, and no file counts as deleted.
    3  `_subdirectory` is rendered before the first file of a rendering, when all answers are known. For the lab it
       names a folder that is empty, so nothing is rendered into the lab.
    4  Files that `old_copy` has and `new_copy` lacks are removed from the lab. `old_copy` is emptied, so none is.
    5  With `conflict` at "rej" Copier leaves `.rej` files alone.
    6  `data` holds answers that are not asked for; `ask` names questions that are.
    7  `_sync_git_index_executable_bit` is of use in a repository alone, and asks Git once a file. In a folder that is
       in none it is replaced: those questions were half of an update's time. A Copier without it works as well.

tests/update/test_copier_contract.py tries each of them, and says which one Copier changed.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import copier

from ..git import Git
from .refusals import Refused

# The newest version of Copier that this was tried with.
TRIED = "9.19.1"
FRAME = "_apply_update"
METHODS = ("_git_initialize_repo", "_git_commit", "match_skip")
MODES = "_sync_git_index_executable_bit"
FIELDS = ("data", "ask", "conflict", "context_lines", "skip_answered", "defaults")


def tried() -> str:
    """Return the command that updates with the Copier that this was tried with."""
    return f"`uvx --from copier=={TRIED} --with 'copier-template-extensions<1' copier update --trust`"


def apply_update() -> tuple[Any, FrameType]:
    """Return the Worker whose update this is, and the frame in which it runs.

    Raises:
        Refused: this Copier works otherwise.
    """
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_name != FRAME:
        frame = frame.f_back
    worker = frame.f_locals.get("self") if frame is not None else None
    missing = [name for name in (*METHODS, *FIELDS) if not hasattr(type(worker), name) and not hasattr(worker, name)]
    if frame is None or missing or not {"old_copy", "subproject_top"} <= frame.f_locals.keys():
        version = getattr(copier, "__version__", "of that version")
        raise Refused(
            f"Copier {version} updates in another way than the one that this template knows, so your edits could not"
            f" be kept."
            f" Update with the version that it was tried with: {tried()}. Nothing was changed."
        )
    return worker, frame


def ask_git_less(destination: Path) -> None:
    """Keep the rendering of a folder that is in no repository from asking Git about the mode of each file.

    Args:
        destination: the folder; the Worker that renders it is on the stack.
    """
    folder = destination.absolute()
    if any((above / ".git").exists() for above in (folder, *folder.parents)):
        return
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        worker = frame.f_locals.get("self")
        if worker is not None and hasattr(worker, MODES) and Path(worker.dst_path).absolute() == folder:
            setattr(worker, MODES, lambda *_: None)
            return
        frame = frame.f_back


def keep_off(worker: Any, frame: FrameType, lab: Git) -> None:
    """Keep the rest of Copier's update away from the lab.

    Args:
        worker, frame: as `apply_update` returned them.
        lab: Git in the lab's folder.
    """
    old_copy = Path(frame.f_locals["old_copy"])
    for entry in old_copy.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()

    def initialize() -> None:
        _repository(Path.cwd(), lab, frame.f_locals.get("subproject_head"))

    worker.conflict = "rej"
    worker._git_initialize_repo = initialize
    worker._git_commit = lambda *_, **__: None


def _repository(folder: Path, lab: Git, tree: str | None) -> None:
    """Make *folder* a repository whose one commit is the lab's index, so that nothing differs."""
    git = Git(folder)
    git.environment |= {f"GIT_{who}_{what}": "lab" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    form = lab.run("rev-parse", "--show-object-format").stdout.decode().strip() or "sha1"
    git("init", "--quiet", "--template=", f"--object-format={form}")
    objects = Path(lab("rev-parse", "--git-path", "objects").decode().strip())
    alternates = folder / ".git" / "objects" / "info" / "alternates"
    alternates.parent.mkdir(parents=True, exist_ok=True)
    alternates.write_text(f"{(lab.folder / objects).absolute()}\n", encoding="utf-8")
    tree = tree or lab("write-tree").decode().strip()
    commit = git("commit-tree", "--no-gpg-sign", "-m", "The lab", tree).decode().strip()
    git("update-ref", "HEAD", commit)


def skips(worker: Any) -> Callable[[str], bool]:
    """Return what says of a path whether `--skip` names it."""
    return lambda path: bool(worker.match_skip(Path(path)))


def answer(worker: Any, answers: dict[str, Any], ask: list[str]) -> None:
    """Give the wizard answers, and name questions that it asks whatever else was said."""
    worker.data = {**answers, **worker.data}
    worker.ask = [*worker.ask, *ask]
