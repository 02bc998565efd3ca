"""The command line: which command is meant, what it is given, and with what the program ends."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from .commands import COMMANDS
from .commands.base import Command, Invocation
from .console import Console, complain
from .environment import for_programs
from .errors import ExitCode, Failure, Interrupted, WrongCall
from .programs import Programs
from .workspace import state_folder

ENDS = {signal.SIGHUP: ExitCode.HANGUP, signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes end like any other wrong call."""

    def error(self, message: str) -> NoReturn:
        raise WrongCall(message)


def parser() -> Parser:
    """Return the parser of the whole command line."""
    made = Parser(
        prog="./lab",
        description="The lab's program.",
        epilog="./lab COMMAND --help shows an example of each.\n\n"
        "Exit status: 0 done, 1 something to fix (the last lines say what), 2 wrong call,\n"
        "129, 130, 143 stopped by a signal.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = made.add_subparsers(title="commands", metavar="COMMAND", dest="command", parser_class=Parser)
    for command in COMMANDS:
        one = commands.add_parser(
            command.name,
            help=command.purpose,
            description=command.description(),
            epilog=command.epilog(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_arguments(one)
        one.add_argument("--verbose", action="store_true", help="show each command that is run")
        one.set_defaults(made=command)
    return made


def main(lab: Path, arguments: Sequence[str]) -> int:
    """Run one command of the lab in a folder, and return the exit status."""
    _prepare_streams()
    try:
        return _main(lab, arguments)
    except BrokenPipeError:
        # Whoever read the output has enough; nothing more may be written, not even at the very end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED


def _prepare_streams() -> None:
    """Have all three standard streams, and none that a character stops: a closed one is None in Python."""
    sys.stdin = sys.stdin or Path(os.devnull).open()  # noqa: SIM115 - for the whole run
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - for the whole run
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115 - for the whole run
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _main(lab: Path, arguments: Sequence[str]) -> int:
    try:
        command, options, rest = _parsed(arguments)
    except WrongCall as wrong:
        name = arguments[0] if arguments[0] in {one.name for one in COMMANDS} else ""
        _complain(wrong, f"{name} " if name else "")
        return ExitCode.WRONG_CALL
    if command is None:
        parser().print_help()
        return ExitCode.DONE
    assume_yes, verbose = getattr(options, "yes", False), getattr(options, "verbose", False)
    console = Console(os.environ, assume_yes=assume_yes, verbose=verbose)
    return _run(lab, command, Invocation(options, rest, arguments), console)


def _parsed(arguments: Sequence[str]) -> tuple[type[Command] | None, argparse.Namespace, list[str]]:
    """Return the command that is meant, its options, and what it passes on; no command for an empty call.

    Raises:
        WrongCall: the call is wrong.
    """
    passing = {one.name: one for one in COMMANDS if one.passes_everything_on}
    if arguments and arguments[0] in passing:
        return passing[arguments[0]], argparse.Namespace(), list(arguments[1:])
    options, rest = parser().parse_known_args(arguments)
    if rest:
        option = rest[0].startswith("-")
        raise WrongCall(f'there is no option "{rest[0]}"' if option else f'"{rest[0]}" is one word too many')
    return getattr(options, "made", None), options, []


def _run(lab: Path, command: type[Command], invocation: Invocation, console: Console) -> int:
    _end_in_order()
    owner_umask = os.umask(0o077)
    made: Command | None = None
    try:
        programs = Programs(for_programs(os.environ), console, owner_umask)
        made = command(lab, console, programs, invocation)
        if command.keeps_log:
            console.open_log(state_folder(os.environ, made.settings.lab_name), command.name)
        return made.run()
    except WrongCall as wrong:
        _complain(wrong, f"{command.name} ")
        return ExitCode.WRONG_CALL
    except Failure as failure:
        console.failed(failure, made.go_on() if made else "fix that, then run it again")
        return ExitCode.FAILED
    except Interrupted as end:
        console.stopped(made.after_stop() if made else "nothing was done")
        return ENDS[signal.Signals(end.signal)]
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the owner is told how to go on
        console.log(traceback.format_exc())
        console.failed(
            _unforeseen(error, lab), "run it again; if it stops at the same line, that is a bug worth reporting"
        )
        return ExitCode.FAILED
    finally:
        console.close_log()
        os.umask(owner_umask)


def _complain(wrong: WrongCall, command: str) -> None:
    """Say what is wrong with a call."""
    complain(f"./lab: {wrong}\nTry ./lab {command}--help.")


def _unforeseen(error: Exception, lab: Path) -> Failure:
    """Return the failure for an error that nobody expected: a bug in the program."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = frame.filename.removeprefix(f"{lab}{os.sep}")
    return Failure(f"an unexpected error ({type(error).__name__}: {error}) at {place} line {frame.lineno}")


def _end_in_order() -> None:
    """Have a signal end the run as an exception does, so that nothing stays behind; a second one changes nothing."""

    def end(number: int, _: FrameType | None) -> None:
        for one in ENDS:
            signal.signal(one, signal.SIG_IGN)
        raise Interrupted(number)

    for one in ENDS:
        if signal.getsignal(one) is not signal.SIG_IGN:
            signal.signal(one, end)
