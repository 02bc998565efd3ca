"""What `make cluster-test` leaves behind, whatever ends it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.cluster.paths import ROOT
from tests.support.loopback import wait_for

RUN = "import sys; from tests.cluster import run; sys.executable = sys.argv.pop(1); sys.exit(run._run_inside())"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_whatever_ends_the_run_ends_what_it_has_started(tmp_path: Path, number: signal.Signals) -> None:
    """In the place of Python is a program that starts another one, as Go starts compilers."""
    started, seconds = tmp_path / "started", f"300.{uuid.uuid4().int}"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\nsetsid sleep {seconds} &\ntouch {started}\nwait\n", encoding="utf-8")
    program.chmod(0o755)
    with subprocess.Popen([sys.executable, "-c", RUN, program], cwd=ROOT) as running:
        try:
            wait_for("the program", lambda: started.exists() and lives(seconds))
            running.send_signal(number)
            running.wait(10)
        finally:
            running.kill()
    wait_for("the end of what it started", lambda: not lives(seconds), seconds=10)


def lives(argument: str) -> bool:
    """Say whether a program with this argument runs."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            if argument.encode() in file.read_bytes().split(b"\0"):
                return True
    return False
