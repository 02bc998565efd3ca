"""What a command of `./lab` is."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NoReturn

from ..console import Console
from ..environment import Limits, for_owner
from ..errors import Failure
from ..lab import Lab
from ..programs import Programs, how_to_install
from ..settings import Settings
from ..workspace import one_run_at_a_time, private_folder


@dataclass(frozen=True)
class Invocation:
    """How a command was called.

    Attributes:
        options: its options, by name.
        rest: what it passes on to another program.
        arguments: all words of the call.
    """

    options: argparse.Namespace
    rest: Sequence[str]
    arguments: Sequence[str]


class Command(ABC):
    """One command.

    Attributes:
        name: how it is called.
        purpose: what it does, in half a sentence.
        example: a call of it, for its help.
        notes: what its help says last.
        keeps_log: whether its runs are logged.
        passes_everything_on: whether its options are another program's.
    """

    name: ClassVar[str]
    purpose: ClassVar[str]
    example: ClassVar[str]
    notes: ClassVar[str] = ""
    keeps_log: ClassVar[bool] = False
    passes_everything_on: ClassVar[bool] = False

    def __init__(self, folder: Path, console: Console, programs: Programs, invocation: Invocation) -> None:
        self.folder, self.console, self.programs = folder, console, programs
        self.invocation, self.options = invocation, invocation.options

    @cached_property
    def settings(self) -> Settings:
        """The lab's settings. A command that does without them works in a lab whose settings are broken."""
        return Settings.load(self.folder)

    @classmethod
    def description(cls) -> str:
        """Return what its help says first."""
        return cls.purpose[0].upper() + cls.purpose[1:] + "."

    @classmethod
    def epilog(cls) -> str:
        """Return what its help says after the options."""
        return f"For example: {cls.example}" + (f"\n\n{cls.notes}" if cls.notes else "")

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add its options; a command without any leaves this as it is."""
        del parser

    @abstractmethod
    def run(self) -> int:
        """Do it, and return the exit status.

        Raises:
            Failure: it could not be done.
            WrongCall: the call is wrong.
        """

    def go_on(self) -> str:
        """Return how to go on after a failure that does not say so itself."""
        return f"fix that, then run ./lab {self.name} again"

    def after_stop(self) -> str:
        """Return how to go on after a signal."""
        return f"run ./lab {self.name} again"

    # For commands that work on the cluster

    @contextlib.contextmanager
    def lab(self, *, dry_run: bool = False, alone: bool = True) -> Iterator[Lab]:
        """Open the lab for a run; at its end no token stays valid and no file stays behind.

        Args:
            dry_run: whether changes are only told.
            alone: whether no other run may be under way.
        """
        limits = Limits.read(os.environ)
        with contextlib.ExitStack() as stack:
            if alone and not stack.enter_context(one_run_at_a_time(self.folder)):
                self.console.warn(
                    "This file system knows no locks: see to it that no other ./lab of this lab is running."
                )
            private = stack.enter_context(private_folder(os.environ))
            environment = dict(os.environ)
            lab = Lab(self.folder, self.settings, limits, self.console, self.programs, private, environment, dry_run)
            stack.callback(lab.session.end)
            yield lab

    def hand_over(self, program: str, *arguments: str) -> NoReturn:
        """Become another program, in the lab's folder, with all that the owner has set up for it."""
        self.console.command(shlex.join([program, *arguments]))
        os.umask(self.programs.owner_umask)
        os.chdir(self.folder)
        try:
            os.execvpe(program, [program, *arguments], for_owner(os.environ))
        except OSError as error:
            raise Failure(f"{program} cannot be started: {error.strerror}") from error

    def require(self, programs: Iterable[str]) -> None:
        """End the run where a program is missing: without them nothing can even be looked at."""
        missing = self.programs.missing(programs)
        if missing:
            raise Failure(f"These tools are missing on this machine: {', '.join(missing)}", "", how_to_install(missing))
