"""The writing of an update: all of it, or nothing, or finished by the next run.

Everything that will be written is first put beside Git's own files, with a list of it: the journal. Its folder
appears under its name in one step, and from then on the update is finished whatever happens, by this process or by
the next run. Each file is put into place by one rename, so none is ever half written. What was saved in the meantime
is left alone, and told.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..files import Entry, read, remove_empty
from ..git import Git, GitError

REPORT = "update-report.md"
FOLDER = "lab-update"
JOURNAL = "journal"
# Another program may hold Git's index for a moment.
INDEX_PATIENCE = 10.0


@dataclass(frozen=True)
class Change:
    """One file, as it is and as it will be; None where there is none."""

    path: str
    before: Entry | None
    after: Entry | None


@dataclass(frozen=True)
class Plan:
    """All that an update writes: files, and entries of the index as `git update-index --index-info` takes them."""

    changes: tuple[Change, ...]
    index: tuple[str, ...]


@dataclass(frozen=True)
class Finished:
    """A cut-off update that was brought to its end.

    report: what the update itself would have said.
    conflicts: the files with something to resolve.
    begun: when it was cut off, as seconds since 1970.
    left: files that were changed after it was cut off, which stay; each with the name of the update's version, if
    it has one.
    """

    report: str
    conflicts: list[str]
    begun: float
    left: dict[str, str | None]


class Stopped(OSError):
    """The writing stopped, and the lab is as it was; the text says why."""


class CutOff(OSError):
    """The writing stopped half-way, and could not be undone; the text says what to do."""


def place(git_dir: Path, prefix: str) -> Path:
    """Return where a lab's journal and lock are: beside Git's own files, a folder for each lab of a repository."""
    return git_dir / (FOLDER + (f"-{quote(prefix, safe='')}" if prefix else ""))


@contextmanager
def only_one(folder: Path) -> Iterator[bool]:
    """Hold the lab for one update, as long as the block lasts; yields False where another process has it.

    The lock ends with its process, in whatever way that ends.
    """
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # A file system without locks cannot tell; one update at a time is then the owner's to see to.
            yield error.errno not in (errno.EAGAIN, errno.EACCES)
        else:
            yield True


def is_unfinished(folder: Path) -> bool:
    """Say whether an update was cut off while it wrote; *folder* is the lab's `place`."""
    return (folder / JOURNAL).is_dir()


def write(  # noqa: PLR0913, PLR0917 - where, what, and what is told of it
    lab: Path, git: Git, where: Path, prefix: str, plan: Plan, report: str, conflicts: list[str]
) -> None:
    """Write an update into the lab.

    Args:
        lab: the lab's folder.
        git: Git in it.
        where: the lab's `place`.
        prefix: the lab's path in its repository.
        plan: the files, and entries of the index.
        report: what is written to update-report.md.
        conflicts: the files with something to resolve, for the run that may have to finish this one.

    Raises:
        Stopped: the lab is as it was: a full disk, say, or a file that was saved at this very moment.
        CutOff: it is not, and the next run goes on.
    """
    with _uninterrupted():
        folder = _staged(lab, git, where, prefix, plan, report, conflicts)
        record = _record(folder)
        try:
            for number, change in enumerate(record["changes"]):
                _put(lab, folder, number, change)
            _write_index(git, record["index"])
            _report(lab, folder)
        except (OSError, KeyError) as error:
            _roll_back(lab, git, folder, record, error)
            raise Stopped(f"{_reason(error)}. Fix that, and update again; nothing was changed.") from error
        _discard(folder)


def finish(lab: Path, git: Git, where: Path) -> Finished:
    """Bring to its end what was cut off: the same files, as far as nobody has changed them since.

    Raises:
        OSError: it cannot be; the journal stays for the next run.
    """
    folder = where / JOURNAL
    record = _record(folder)
    left: dict[str, str | None] = {}
    with _uninterrupted():
        for number, change in enumerate(record["changes"]):
            path, now = change["path"], _digest(read(lab / change["path"]))
            with contextlib.suppress(OSError):
                _beside(lab / path).unlink()
            if change["after"] is None and now is None:
                remove_empty((lab / path).parent, lab)
            if now == change["before"]:
                _put(lab, folder, number, change)
            elif now != change["after"]:
                new = folder / f"new-{number}"
                left[path] = git.store(new.read_bytes()) if new.exists() and not new.is_symlink() else None
        lines = [line for line in record["index"] if line.partition("\t")[2].removeprefix(record["prefix"]) not in left]
        if _index_of(git, record["paths"]) == record["index_before"]:
            _write_index(git, lines)
        _report(lab, folder)
        report = (folder / "report").read_text(encoding="utf-8")
        _discard(folder)
    return Finished(report, record["conflicts"], record["begun"], left)


# How it is recorded
# -----------------------------------------------------------------------------------------------------------


def _staged(  # noqa: PLR0913, PLR0917 - as above
    lab: Path, git: Git, where: Path, prefix: str, plan: Plan, report: str, conflicts: list[str]
) -> Path:
    """Put everything into the journal, and make it count."""
    making, folder = where / "being-made", where / JOURNAL
    shutil.rmtree(making, ignore_errors=True)
    try:
        making.mkdir(parents=True)
        changes = []
        for number, change in enumerate(plan.changes):
            if change.before is not None:
                _keep(lab / change.path, making / f"old-{number}")
            if change.after is not None:
                _stage(lab, change, making / f"new-{number}")
            changes.append({"path": change.path, "before": _digest(change.before), "after": _digest(change.after)})
        paths = sorted({line.partition("\t")[2].removeprefix(prefix) for line in plan.index})
        record = {
            "begun": time.time(),
            "prefix": prefix,
            "changes": changes,
            "index": plan.index,
            "paths": paths,
            "index_before": _index_of(git, paths),
            "conflicts": conflicts,
        }
        (making / "report").write_text(report, encoding="utf-8")
        with (making / "record").open("w", encoding="utf-8") as file:
            json.dump(record, file)
            file.flush()
            os.fsync(file.fileno())
        making.rename(folder)
    except OSError as error:
        shutil.rmtree(making, ignore_errors=True)
        raise Stopped(f"{_reason(error)}. Fix that, and update again; nothing was changed.") from error
    return folder


def _stage(lab: Path, change: Change, place: Path) -> None:
    """Write a file beside the lab, with the owner and the rights that it will have in it."""
    entry, path = change.after, lab / change.path
    assert entry is not None
    if entry.link:
        place.symlink_to(os.fsdecode(entry.data))
        return
    place.write_bytes(entry.data)
    before = path.lstat() if change.before is not None and not change.before.link else None
    mode = stat.S_IMODE(before.st_mode) if before else stat.S_IMODE(place.stat().st_mode)
    # Whoever may read a program may run it, as Git has it.
    place.chmod(mode | (mode & 0o444) >> 2 if entry.executable else mode & ~0o111)
    owner = before or lab.stat()
    if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
        with contextlib.suppress(OSError):
            os.chown(place, owner.st_uid, owner.st_gid)


def _keep(path: Path, place: Path) -> None:
    """Keep a file as it is, for the way back; without a second copy on the disk where that can be."""
    try:
        os.link(path, place, follow_symlinks=False)
    except OSError:
        shutil.copy2(path, place, follow_symlinks=False)


def _record(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "record").read_text(encoding="utf-8"))
    return loaded


def _digest(entry: Entry | None) -> list[Any] | None:
    return None if entry is None else [hashlib.sha256(entry.data).hexdigest(), entry.executable, entry.link]


# How it is written
# ------------------------------------------------------------------------------------------------------------


def _put(lab: Path, folder: Path, number: int, change: dict[str, Any]) -> None:
    """Make one file what the journal says.

    Raises:
        OSError: it was changed at this very moment, or cannot be written.
    """
    path, new = lab / change["path"], folder / f"new-{number}"
    if _digest(read(path)) != change["before"]:
        raise OSError(f"`{change['path']}` was saved while the update was being written, and is in no commit yet")
    if change["after"] is None:
        path.unlink(missing_ok=True)
        remove_empty(path.parent, lab)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    _move(new, path)


def _move(source: Path, target: Path) -> None:
    """Put *source* at *target* in one step, from another file system too; *source* stays, for a second time."""
    beside = _beside(target)
    beside.unlink(missing_ok=True)
    try:
        try:
            os.link(source, beside, follow_symlinks=False)
        except OSError:
            shutil.copy2(source, beside, follow_symlinks=False)
            status = source.lstat()
            with contextlib.suppress(OSError):
                os.chown(beside, status.st_uid, status.st_gid, follow_symlinks=False)
        os.replace(beside, target)  # noqa: PTH105 - the tests cut it off here by this name
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name[:100]}.lab-update")


def _write_index(git: Git, lines: list[str]) -> None:
    until = time.monotonic() + INDEX_PATIENCE
    while True:
        try:
            git.index(lines)
        except GitError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
        else:
            return


def _index_of(git: Git, paths: list[str]) -> str:
    if not paths:
        return ""
    said = git("--literal-pathspecs", "ls-files", "--stage", "--full-name", "-z", "--", *paths)
    return base64.b64encode(said).decode()


def _report(lab: Path, folder: Path) -> None:
    path = lab / REPORT
    if path.is_symlink():
        path.unlink()
    path.write_bytes((folder / "report").read_bytes())


def _roll_back(lab: Path, git: Git, folder: Path, record: dict[str, Any], error: BaseException) -> None:
    """Undo what was put into place; a file that was changed since stays.

    Raises:
        CutOff: that cannot be done either.
    """
    try:
        for number, change in reversed(list(enumerate(record["changes"]))):
            path = lab / change["path"]
            if change["before"] == change["after"] or _digest(read(path)) != change["after"]:
                continue
            if change["before"] is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                _move(folder / f"old-{number}", path)
            elif change["after"] is not None:
                path.unlink()
                remove_empty(path.parent, lab)
        if record["paths"] and _index_of(git, record["paths"]) != record["index_before"]:
            before = [line for line in base64.b64decode(record["index_before"]).split(b"\0") if line]
            zero = "0" * len(git("rev-parse", "HEAD").strip())
            removed = [f"0 {zero}\t{record['prefix']}{path}" for path in record["paths"]]
            _write_index(git, [*removed, *map(os.fsdecode, before)])
        _discard(folder)
    except OSError as second:
        raise CutOff(
            f"The update stopped half-way ({_reason(error)}), and could not be undone ({_reason(second)})."
            " Fix that, then run `./lab update`: it brings the update to its end."
        ) from error


def _discard(folder: Path) -> None:
    """Take the journal away, in one step."""
    gone = folder.with_name("done")
    shutil.rmtree(gone, ignore_errors=True)
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: `{error.filename}`" if error.filename else error.strerror
    return str(error)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C and the like wait: what is written here takes a moment, and is whole afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [
        number
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
        if (number := getattr(signal, name, None)) is not None
    ]
    before: dict[int, Callable[..., Any] | int | None] = {number: signal.signal(number, _wait) for number in names}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _wait(number: int, frame: object) -> None:
    """Do nothing: the update is being written, and ends by itself."""
