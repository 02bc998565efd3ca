"""What the owner sees: stages, progress, warnings, questions, and failures with a way out. Everything printed goes
through here."""

from __future__ import annotations

import contextlib
import datetime
import getpass
import os
import re
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from .errors import Failure
from .secret import Secret, redact

# Escape sequences (ECMA-48) and control characters: another machine's words must not move the cursor, or more.
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?|[ -/]*[0-~])"
    r"|\x9b[0-?]*[ -/]*[@-~]|\r(?=\n)"
    # Line ends that a terminal may know and this program does not, and what turns the direction of writing.
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
COLOURS = {"ok": 32, "done": 32, "would": 33, "warn": 33, "bad": 31, "failed": 31}
LOGS_KEPT = 20


def clean(text: str) -> str:
    """Return *text* without secrets, escape sequences and control characters, so that it may be shown."""
    return redact(_ESCAPES.sub("", text))


def complain(text: str) -> None:
    """Say what is wrong with a call: before there is a console, or in a command that speaks for another program."""
    sys.stderr.write(f"{clean(text)}\n")


def indented(text: str) -> str:
    """Continue a message of several lines under its first one."""
    return text.rstrip("\n").replace("\n", "\n" + " " * 10)


class Console:
    """The terminal, or the files in its place, and the log of the run.

    Args:
        environment: for NO_COLOR, CI and TERM.
        verbose: whether commands are shown.
        assume_yes: whether the answer to every question is yes.
        out, err, source: the standard streams, unless a test gives others.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        verbose: bool = False,
        assume_yes: bool = False,
        out: TextIO | None = None,
        err: TextIO | None = None,
        source: TextIO | None = None,
    ) -> None:
        self.out, self.err, self.source = out or sys.stdout, err or sys.stderr, source or sys.stdin
        self.verbose, self.assume_yes = verbose, assume_yes
        self.terminal = self.source.isatty() and self.out.isatty()
        plain = bool(environment.get("NO_COLOR")) or environment.get("TERM") == "dumb"
        self.coloured = self.out.isatty() and not plain
        self.moving = self.coloured and not environment.get("CI")
        self._progress, self._lock = False, threading.RLock()
        self._log: TextIO | None = None
        self.log_path: Path | None = None

    # The log

    def open_log(self, folder: Path, name: str) -> None:
        """Write what is printed from now on to a new file in *folder* as well; without a place for it there is no
        log."""
        stamp = datetime.datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = folder / f"{stamp}-{os.getpid()}-{name}.log"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            self._log, self.log_path = os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace"), path
            for old in sorted(folder.glob("*.log"))[:-LOGS_KEPT]:
                old.unlink()

    def close_log(self) -> None:
        """End the log."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def log(self, text: str) -> None:
        """Write a line to the log alone."""
        if self._log is not None:
            # A full disk must not end the run.
            with contextlib.suppress(OSError):
                self._log.write(f"{datetime.datetime.now().astimezone():%H:%M:%S} {clean(text)}\n")
                self._log.flush()

    # Lines

    def stage(self, title: str) -> None:
        self._line(self.out, f"\n{self._colour(f'== {clean(title)}', 1)}")
        self.log(f"== {title}")

    def have(self, text: str) -> None:
        """Say what is there already."""
        self._labelled(self.out, "ok", text)

    def did(self, text: str) -> None:
        """Say what was done just now."""
        self._labelled(self.out, "done", text)

    def would(self, text: str) -> None:
        """Say what a dry run leaves undone."""
        self._labelled(self.out, "would", text)

    def skip(self, text: str) -> None:
        self._labelled(self.out, "-", text)

    def doing(self, text: str) -> None:
        """Say what takes its time just now: one line that moves in a terminal, a line each elsewhere."""
        if not self.moving:
            self._labelled(self.out, "...", text)
            return
        self.log(f"... {text}")
        width = self._width()
        shown = f"   ...    {clean(text)}".replace("\n", " ")
        with self._lock:
            self.out.write(f"\r\x1b[2K{shown[: width - 1]}")
            self.out.flush()
            self._progress = True

    def warn(self, text: str) -> None:
        self._labelled(self.err, "warn", text)

    def bad(self, check: str, what: str, fix: str) -> None:
        """Say one of several things to fix, with its fix."""
        self._labelled(self.err, "bad", f"[{check}] {what}\n{fix}")

    def print(self, text: str) -> None:
        """Print what was asked for: a list, a help text, an answer."""
        self._line(self.out, clean(text))
        self.log(text)

    def command(self, text: str) -> None:
        """Show a command that is run, if the owner wants to see them. The log has it in any case."""
        if self.verbose:
            self._labelled(self.err, "$", text)
        else:
            self.log(f"$ {text}")

    def failed(self, failure: Failure, then: str) -> None:
        """Say how a run ended: what happened, what to look at, how to go on."""
        self._line(self.err, "")
        self._labelled(self.err, "failed", failure.what)
        if failure.look:
            self._labelled(self.err, "look", failure.look)
        self._labelled(self.err, "then", failure.then or then)
        if self.log_path is not None:
            self._labelled(self.err, "log", str(self.log_path))

    def stopped(self, text: str) -> None:
        self._line(self.err, f"\n   stopped; {clean(text)}")
        self.log(f"stopped; {text}")

    def _labelled(self, stream: TextIO, label: str, text: str) -> None:
        shown, pad = self._colour(label, COLOURS.get(label, 0)), " " * max(1, 7 - len(label))
        self._line(stream, f"   {shown}{pad}{indented(clean(text))}")
        self.log(f"{label} {text}")

    def _line(self, stream: TextIO, text: str) -> None:
        # Preflight's checks run side by side.
        with self._lock:
            if self._progress:
                self.out.write("\r\x1b[2K")
                self.out.flush()
                self._progress = False
            # Both streams may end up in one file, in which they keep their order.
            stream.write(text + "\n")
            stream.flush()

    def _colour(self, text: str, code: int) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.coloured and code else text

    def _width(self) -> int:
        with contextlib.suppress(OSError):
            return max(20, os.get_terminal_size(self.out.fileno()).columns)
        return 80

    # Questions

    @property
    def can_ask(self) -> bool:
        """Whether somebody answers, and has not said beforehand that the answer is always yes."""
        return self.terminal and not self.assume_yes

    def ask_yes(self, question: str, without_terminal: str, *, in_person: bool = False) -> bool:
        """Ask, and return whether the answer is yes. Without a terminal nothing is guessed.

        Args:
            in_person: the question is one of trust, which no `--yes` of a script answers.
        Raises:
            Failure: there is no terminal; *without_terminal* says what to do there.
        """
        if self.assume_yes and not in_person:
            return True
        if not self.terminal:
            raise Failure(f"There is no terminal to ask: {question}", "", without_terminal)
        return self._read(f"{question} [y/N]").lower().startswith("y")

    def ask_line(self, question: str, variable: str) -> str:
        """Ask for a line; *variable* is what to set where there is no terminal.

        Raises:
            Failure: there is no terminal, or no answer.
        """
        if not self.terminal:
            raise Failure(f"There is no terminal to ask: {question}", "", f"set {variable} and run ./lab up again")
        answer = self._read(question)
        if not answer:
            raise Failure(f"No answer to: {question}", "", f"set {variable}, or run ./lab up again")
        return answer

    def ask_secret(self, question: str) -> Secret:
        """Ask for a secret, which is not shown. Only where `terminal` is true."""
        return Secret(getpass.getpass(f"   ?      {clean(question)} "))

    def _read(self, question: str) -> str:
        self._line(self.out, "") if self._progress else None
        self.out.write(f"   ?      {indented(clean(question))} ")
        self.out.flush()
        return self.source.readline().strip()
