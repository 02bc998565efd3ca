"""The temporary folder of a test process: it goes at the end of its run, and of a killed one with the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support.leftovers import YOUNG
from tests.support.rendering import ROOT

PROGRAM = """\
import sys
from pathlib import Path
from tests.support.leftovers import temporary_folder
folder = temporary_folder(Path(sys.argv[1]), "gw0")
(folder / "left").write_text("x")
print("ready", flush=True)
sys.stdin.readline()
"""


def started(base: Path, number: int) -> subprocess.Popen[str]:
    """Start a run, and wait until its folder is there."""
    shared = base / f"pytest-{number}" / "shared"
    shared.mkdir(parents=True)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(shared)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


def ended(process: subprocess.Popen[str]) -> None:
    process.communicate("\n")
    assert process.returncode == 0


def test_a_folder_goes_with_its_run_and_a_killed_runs_with_the_next(tmp_path: Path) -> None:
    killed, living = started(tmp_path, 0), started(tmp_path, 1)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    folders = [tmp_path / f"pytest-{number}/shared/tmp-gw0" for number in range(3)]
    assert folders[0].exists()
    past = time.time() - 2 * YOUNG
    for folder in folders[:2]:
        os.utime(folder, (past, past))
    ended(started(tmp_path, 2))
    assert [folder.exists() for folder in folders] == [False, True, False]
    ended(living)
    assert not folders[1].exists()
