"""`make cluster-test`: build the programs, then run the cluster tests in namespaces that take everything with them when they end."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time

from tests.cluster.build import BuildError, build, missing_tools
from tests.cluster.paths import ROOT


def main() -> None:
    """Say what is missing, or build in a process namespace, and become the test run there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build-only", action="store_true", help="build the programs, run no test")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("tests", nargs=argparse.REMAINDER, help="what pytest gets; all of tests/cluster without it")
    options = parser.parse_args()
    lacking = missing_tools()
    if lacking:
        message = f"The cluster tests were skipped: this machine lacks {lacking}."
        if os.environ.get("REQUIRE_TOOLS") == "1":
            sys.exit(message)
        sys.stdout.write(f"{message}\n")
        return
    if not options.inside:
        sys.exit(_run_inside())
    started = time.monotonic()
    try:
        build()
    except BuildError as error:
        sys.exit(f"The cluster's programs could not be built. {error}")
    sys.stdout.write(f"The cluster's programs are built ({time.monotonic() - started:.0f} s).\n")
    sys.stdout.flush()
    if options.build_only:
        return
    os.chdir(ROOT)
    # A world waits for Flux as often as it works: one more of them than the machine has cores keeps those busy.
    many = ["--numprocesses", str((os.cpu_count() or 1) + 1), "--no-loadscope-reorder"]
    tests = options.tests or [
        "tests/cluster",
        "tests/machines",
        "tests/stage_machines/test_tofu.py",
        "tests/gitlab/test_sign_in.py",
        "tests/backups",
        *many,
        "--durations=25",
        "--durations-min=10",
    ]
    environment = {**os.environ, "CLUSTER_TESTS": "named" if options.tests else "all"}
    os.execve(sys.executable, [sys.executable, "-m", "pytest", *tests], environment)


def _run_inside() -> int:
    """Run this module again in a process namespace, and return how it ended.

    However this process ends, the kernel ends the namespace's first one, and with that all others in it.
    """
    wrapper = ["setpriv", "--pdeathsig", "KILL"]
    wrapper += ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    with subprocess.Popen([*wrapper, sys.executable, "-m", "tests.cluster.run", "--inside", *sys.argv[1:]]) as inside:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: inside.kill())
        # A terminal sends it to all of them: the tests end by themselves, with their report.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return inside.returncode if inside.returncode >= 0 else 128 - inside.returncode


if __name__ == "__main__":
    main()
