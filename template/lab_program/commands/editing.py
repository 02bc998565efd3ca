"""The owner's editor on plain text: in memory, readable by the owner alone, and gone however the run ends."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from ..console import Console
from ..environment import for_owner
from ..errors import Failure
from ..secret import Secret
from ..workspace import private_folder, write_private

# Waits until the run has ended, in whatever way, and removes its folder: nothing of a run that is killed could do that.
_GUARD = "import shutil, sys; sys.stdin.buffer.read(); shutil.rmtree(sys.argv[1], ignore_errors=True)"
# vim keeps copies of what it edits, and remembers what was deleted, in the owner's home.
_VIM = ["-n", "-i", "NONE", "-c", "set nobackup nowritebackup noundofile"]
_IN_MEMORY = ("/dev/shm", "/run/")  # noqa: S108


def edited(name: str, plain: Secret, console: Console) -> Secret:
    """Return what the owner makes of a text in their editor.

    Args:
        name: the file's name, which tells the editor what it is.

    Raises:
        Failure: there is no terminal, or the editor fails.
    """
    if not console.terminal:
        raise Failure(
            "There is no terminal for an editor.", "", "./lab secret edit … --from FILE takes values from a file"
        )
    with private_folder(os.environ) as folder, _guarded(folder):
        if not str(folder).startswith((*_IN_MEMORY, os.environ.get("XDG_RUNTIME_DIR") or _IN_MEMORY[0])):
            console.warn(f"This machine has no folder in memory: until the editor ends, the plain text is in {folder}.")
        file = write_private(folder / name, plain.reveal())
        _run([*editor(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"), str(file)])
        return Secret(file.read_text(encoding="utf-8"))


def editor(words: str) -> list[str]:
    """Return the call of an editor, as the owner's environment names it; vim is told to leave no copies."""
    call = shlex.split(words)
    program = Path(os.path.realpath(shutil.which(call[0]) or call[0])).name
    return [*call, *_VIM] if program.startswith(("vim", "nvim")) else call


def _run(call: list[str]) -> None:
    # Ctrl-C is the editor's; a handler, unlike SIG_IGN, is not handed on to it.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        status = subprocess.run(call, env=for_owner(os.environ), check=False).returncode
    except OSError as error:
        raise Failure(f"The editor {call[0]} cannot be started: {error.strerror}.", "", "set EDITOR") from error
    finally:
        signal.signal(signal.SIGINT, before)
    if status:
        raise Failure(f"The editor {call[0]} ended with status {status}; nothing was changed.", "", "set EDITOR")


@contextlib.contextmanager
def _guarded(folder: Path) -> Iterator[None]:
    """Have a process of a session of its own remove the folder when this one ends, even by SIGKILL."""
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _GUARD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={},
        cwd="/",
        start_new_session=True,
    ):
        yield
