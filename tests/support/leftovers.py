"""A temporary folder of a run's, which goes with it; what a killed run left goes with the next one."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from multiprocessing.util import Finalize
from pathlib import Path

YOUNG = 60  # seconds in which a run has surely locked its folder
LAST = -200  # after multiprocessing's own folder, which it removes at -100


def temporary_folder(shared: Path, worker: str) -> Path:
    """Make the folder of a test process, below the folder that the run's processes share, and remove those of killed runs.

    A process that lives holds a lock on its folder.
    """
    for other in shared.parent.parent.glob("pytest-*/shared/tmp-*"):
        _remove_if_left(other)
    folder = shared / f"tmp-{worker}"
    folder.mkdir()
    fcntl.flock(os.open(folder, os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_EX)  # until the process ends
    Finalize(None, shutil.rmtree, args=[folder, True], exitpriority=LAST)
    return folder


def _remove_if_left(folder: Path) -> None:
    try:
        if time.time() - folder.stat().st_mtime < YOUNG:
            return
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:  # its run has just ended
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(handle)
