"""Copier's command line, with all arguments and in a process of its own, but without Python's and Copier's start-up each time.

A server imports Copier once and forks for each call: half of what a short `copier` takes is its imports.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import subprocess
import sys
import tempfile
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path


@cache
def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["copier.__main__", "copier_template_extensions", "support.copier_cli"])
    return context


def _main(arguments: list[str], folder: str, environment: dict[str, str], output: str, errors: str) -> None:
    """Be `copier`, in the forked process."""
    from copier._cli import CopierApp
    from copier._main import Worker
    from plumbum import local

    for stream, name in ((0, os.devnull), (1, output), (2, errors)):
        file = os.open(name, os.O_RDONLY if stream == 0 else os.O_WRONLY)
        os.dup2(file, stream)
        os.close(file)
    # Plumbum, which starts Git for Copier, remembers both from when it was imported.
    local.env.clear()
    local.env.update(environment)
    os.environ.clear()
    os.environ.update(environment)
    local.cwd.chdir(folder)
    sys.argv = ["copier", *arguments]
    # As in the tests' own process: a question to Git about each file, which has one answer here.
    Worker._sync_git_index_executable_bit = lambda *_: None  # type: ignore[method-assign,assignment]
    # The ending of a Python program, which a forked one does not have by itself.
    atexit._clear()
    try:
        CopierApp.run()
    except Exception:  # noqa: BLE001 - a program ends with each
        sys.excepthook(*sys.exc_info())
        raise SystemExit(1) from None
    finally:
        atexit._run_exitfuncs()


def copier_cli(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `copier` with nothing to read, and return what it said and how it ended, as `support.tools.run` does."""
    words = [str(argument) for argument in arguments]
    with tempfile.TemporaryDirectory(prefix="copier.") as folder:
        said = [Path(folder) / name for name in ("output", "errors")]
        for file in said:
            file.touch()
        process = _server().Process(
            target=_main, args=(words, str(cwd or Path.cwd()), dict(os.environ), *map(str, said))
        )  # type: ignore[attr-defined]
        process.start()
        process.join()
        output, errors = (file.read_text(encoding="utf-8") for file in said)
    assert process.exitcode is not None
    return subprocess.CompletedProcess(["copier", *words], process.exitcode, output, errors)
