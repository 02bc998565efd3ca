"""Records the wizard of `make lab` in a terminal, question by question, and draws it: docs/pictures/wizard.svg.

    python docs/tools/wizard_picture.py

The wizard is this checkout's, in a real terminal of tmux with 80 columns; a newcomer's answers are typed: a private domain, certificates by
the lab's authority, NFS. It is stopped at the summary, so that nothing is written.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))

import up_picture  # noqa: E402 - beside this file

PICTURE = ROOT / "docs" / "pictures" / "wizard.svg"
TITLE = "The wizard: a question, and the end of the summary that comes before anything is written"
COLUMNS, ROWS = 80, 300  # so many rows that nothing scrolls away
PATIENCE = 60  # seconds for a question to appear
# A question that is drawn with its choices, and the last of them.
SHOWN, LAST_CHOICE = "tls_source", "^ . Traefik itself"
# What the screen shows, and what is typed then.
STEPS: list[tuple[str, list[str]]] = [
    (r"^\? setup_level", ["Enter"]),
    (r"^\? base_domain", ["C-a", "C-k", "home.lan", "Enter"]),
    (LAST_CHOICE, ["Down", "Down", "Down", "Enter"]),
    (r"^\? storage_backend", ["Down", "Enter"]),
    (r"^\? nfs_server", ["Enter"]),
    (r"^\? groups", ["Enter"]),
    (r"^\? runner_kind", ["Enter"]),
    (r"^\? runner_host", ["Enter"]),
]
SUMMARY = "WHAT COMES OF THEM"
END = r"^ . stop here and keep"
SEQUENCE = re.compile(r"\x1b\[([0-9;]*)m")


class Terminal:
    """tmux with one window; nobody's settings are read."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.socket = ["-L", f"wizard-picture-{os.getpid()}", "-f", "/dev/null"]
        self.run("new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), "-c", str(folder), shlex.join(command))

    def run(self, *arguments: str) -> str:
        """Run a command of tmux and return what it says."""
        done = subprocess.run(["tmux", *self.socket, *arguments], capture_output=True, text=True, check=True)
        return done.stdout

    def shows(self, pattern: str) -> str:
        """Wait until the screen shows *pattern*, and return the screen with its colours.

        Raises:
            RuntimeError: it does not come.
        """
        end = time.monotonic() + PATIENCE
        while not re.search(pattern, self.run("capture-pane", "-p"), re.MULTILINE):
            if time.monotonic() > end:
                raise RuntimeError(f"no {pattern} on:\n{self.run('capture-pane', '-p')}")
            time.sleep(0.05)
        return self.run("capture-pane", "-p", "-e")


def recorded() -> list[str]:
    """Run the wizard up to its summary, and return the question that says most, and the end of the summary, with their colours.

    Raises:
        RuntimeError: a question does not come, or tmux is not installed.
    """
    if shutil.which("tmux") is None:
        raise RuntimeError("tmux is not installed; .ci/install-tools installs it")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = [f"XDG_STATE_HOME={folder / 'state'}", f"PATH={os.environ['PATH']}", "TERM=screen-256color"]
        script = ROOT / "hooks" / "make_lab.py"
        # What it says of a checkout that is being worked on is not for the picture.
        shell = ["sh", "-c", f"{shlex.join([sys.executable, str(script), 'my-lab', ''])} 2>/dev/null"]
        terminal = Terminal(["env", "-u", "NO_COLOR", *own, *shell], folder)
        try:
            open_question: list[str] = []
            for pattern, keys in STEPS:
                screen = terminal.shows(pattern)
                if pattern == LAST_CHOICE:
                    open_question = _from(f"-- {SHOWN}", screen)
                terminal.run("send-keys", *keys)
            screen = terminal.shows(END)
            return [
                f"$ {bold('make lab DEST=../my-lab')}",
                "...",
                "",
                *open_question,
                "...",
                "",
                *_from(SUMMARY, screen),
            ]
        finally:
            subprocess.run(["tmux", *terminal.socket, "kill-server"], check=False, capture_output=True)


def _from(start: str, screen: str) -> list[str]:
    """Return a screen's lines from the first one that begins so."""
    lines = screen.rstrip("\n").split("\n")
    first = next(number for number, line in enumerate(lines) if SEQUENCE.sub("", line).startswith(start))
    return [*lines[first:], ""] if start != SUMMARY else lines[first:]


def bold(text: str) -> str:
    """Return a text in bold."""
    return f"\x1b[1m{text}\x1b[0m"


def usual(line: str) -> str:
    """Return a line with no more looks than the picture knows: bold, and the colours of up.svg."""
    return SEQUENCE.sub(_look, line)


def _look(found: re.Match[str]) -> str:
    codes = found[1].split(";")
    colour = next((code for code in codes if code in up_picture.COLOURS), None)
    return f"\x1b[{colour or ('1' if '1' in codes else '0')}m"


def main() -> None:
    """Record and draw it."""
    PICTURE.write_text(drawn(), encoding="utf-8")


def drawn() -> str:
    """Return the picture."""
    lines = [usual(line) for line in recorded()]
    return up_picture.drawn(lines, TITLE, COLUMNS, len(lines))


if __name__ == "__main__":
    main()
