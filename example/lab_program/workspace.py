"""What a run holds while it lasts: the lock on the lab, and a private folder for what a tool takes only from a file."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from .errors import Failure

PREFIX = "lab-run."
# A folder that is still being made has another name, so that nobody takes it for one that was left.
UNFINISHED = ".lab-new."
# What bootstrap.sh of earlier versions made; whether its process lives cannot be told from another namespace.
EARLIER = "lab-bootstrap."
DAY = 86400


# https://www.freedesktop.org/software/systemd/man/latest/machine-id.html
MACHINE = Path("/etc/machine-id")


def place(lab: Path) -> str:
    """Return a name for a lab's folder on this machine, the same in each run: no other administrator's run has it."""
    try:
        machine = MACHINE.read_text(encoding="utf-8").strip()
    except OSError:
        machine = ""
    whole = "\0".join((machine or socket.gethostname(), str(os.getuid()), str(lab.resolve())))
    return hashlib.sha256(whole.encode(errors="surrogateescape")).hexdigest()[:12]


def state_folder(environment: Mapping[str, str], lab_name: str) -> Path:
    """Return the owner's folder for what this program remembers of a lab: logs, for example (XDG Base Directory)."""
    base = environment.get("XDG_STATE_HOME")
    return (Path(base) if base else Path("~/.local/state").expanduser()) / "homelab" / lab_name


@contextlib.contextmanager
def one_run_at_a_time(lab: Path) -> Iterator[bool]:
    """Hold the lock on the lab: two runs side by side would each make their own tokens.

    The lock is on the program itself, so that nothing is left behind; it ends with the run, however that ends, and no
    program that the run starts inherits it.

    Yields: whether the file system knows locks.
    Raises:
        Failure: another run holds it.
    """
    descriptor = _open(lab / "lab")
    try:
        try:
            known = _lock(descriptor)
        except BlockingIOError as error:
            raise Failure("Another ./lab of this lab is running.", "", "wait for its end, or stop it") from error
        yield known
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    # On NFS an exclusive lock takes a descriptor that may write.
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.EBADF, errno.EINVAL):
            return False
        raise
    return True


@contextlib.contextmanager
def private_folder(environment: Mapping[str, str]) -> Iterator[Path]:
    """Make a folder that only this user can read, in memory where there is a place for that, and remove it at the end.

    Never below $HOME, which may be read-only. What runs that were killed have left, maybe a key, is removed first.
    """
    places = [environment.get("XDG_RUNTIME_DIR", ""), "/dev/shm", environment.get("TMPDIR", ""), "/tmp"]  # noqa: S108
    for base in map(Path, filter(None, places)):
        if not (base.is_dir() and os.access(base, os.W_OK | os.X_OK)):
            continue
        remove_left(base)
        try:
            folder, lock = _make(base)
        except OSError:
            continue
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
        return
    raise Failure("There is no folder for temporary files.", "TMPDIR, and the permissions of /tmp")


def _make(base: Path) -> tuple[Path, int]:
    unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=base))
    lock = os.open(unfinished / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    _lock(lock)
    folder = base / (PREFIX + unfinished.name.removeprefix(UNFINISHED))
    unfinished.rename(folder)
    return folder, lock


def remove_left(base: Path) -> None:
    """Remove the folders of runs that have ended. Whether one has is told by its lock, not by a process number:
    a run in another container shares the folder, and not the numbers."""
    for folder in [*base.glob(PREFIX + "*"), *base.glob(UNFINISHED + "*"), *base.glob(EARLIER + "*")]:
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.lstat().st_uid != os.getuid():
                continue
            if folder.name.startswith(PREFIX):
                ended = _is_free(folder / "lock")
            else:
                ended = time.time() - folder.lstat().st_mtime > DAY
            if ended:
                shutil.rmtree(folder, ignore_errors=True)


def _is_free(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    try:
        return _lock(descriptor)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)


def write_private(path: Path, content: str) -> Path:
    """Write a file that only this user can read, anew."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as stream:
        stream.write(content)
    return path
