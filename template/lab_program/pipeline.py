"""Programs that read what the one before writes; nothing of it is ever in a file here, or whole in memory."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from .programs import Programs, last_line

PIECE = 1 << 16
# A program whose reader is gone says so, or is ended by a signal.
_STOPPED = (-signal.SIGPIPE, 128 + signal.SIGPIPE)
_BROKEN_PIPE = re.compile(r"broken ?pipe", re.IGNORECASE)


@dataclass(frozen=True)
class Poured:
    """What has passed.

    Attributes:
        size, sha256: of what the first program wrote.
        problem: the words of the first program that failed; empty if none has.
        said: the last words of the last program.
    """

    size: int
    sha256: str
    problem: str
    said: str


def pour(programs: Programs, source: Sequence[str], *steps: Sequence[str]) -> Poured:
    """Run programs of which each reads what the one before writes.

    Args:
        source: the first; what it writes is counted on its way to the next.
        steps: the others. No secret may be among the words of any.
    """
    commands = [source, *steps]
    programs.console.command(" | ".join(map(shlex.join, commands)))
    digest, size = hashlib.sha256(), 0
    with contextlib.ExitStack() as stack:
        said = [stack.enter_context(tempfile.TemporaryFile()) for _ in commands]
        first = _start(programs, source, subprocess.DEVNULL, said[0])
        running = [first]
        reads: int | IO[bytes] | None = subprocess.PIPE
        for step, words in zip(steps, said[1:], strict=True):
            running.append(_start(programs, step, reads, words, last=step is steps[-1]))
            if len(running) > 2 and running[-2].stdout is not None:
                running[-2].stdout.close()
            reads = running[-1].stdout
        try:
            source_of_all, sink = cast("IO[bytes]", first.stdout), cast("IO[bytes]", running[1].stdin)
            # A program that has given up says why; the one before it is stopped by that.
            with contextlib.suppress(BrokenPipeError):
                while piece := source_of_all.read(PIECE):
                    digest.update(piece)
                    size += len(piece)
                    sink.write(piece)
            with contextlib.suppress(BrokenPipeError):
                sink.close()
            source_of_all.close()
            statuses = [one.wait() for one in running]
        except BaseException:
            for one in running:
                one.kill()
                one.wait()
            raise
        words_of = [_words(file) for file in said]
    problem = _problem(commands, statuses, words_of)
    if problem:
        programs.console.log(f"  {problem}")
    return Poured(size, digest.hexdigest(), problem, last_line(words_of[-1]))


def _problem(commands: Sequence[Sequence[str]], statuses: Sequence[int], words: Sequence[str]) -> str:
    """Return why it failed: in the words of the first program that did, and not because the next one had."""
    failed = [number for number, status in enumerate(statuses) if status]
    if not failed:
        return ""
    own = [one for one in failed if statuses[one] not in _STOPPED and not _BROKEN_PIPE.search(words[one])]
    number = own[0] if own else failed[-1]
    lines = [line for line in words[number].splitlines() if "error:" in line] or [last_line(words[number])]
    said = lines[0].removeprefix(f"{commands[number][0]}: ")
    return f"{Path(commands[number][0]).name}: {said or f'status {statuses[number]}'}"


def _start(
    programs: Programs, command: Sequence[str], reads: int | IO[bytes] | None, words: IO[bytes], *, last: bool = False
) -> subprocess.Popen[bytes]:
    writes = words if last else subprocess.PIPE
    return subprocess.Popen(list(command), stdin=reads, stdout=writes, stderr=words, env=programs.environment)


def _words(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read()[-4000:].decode("utf-8", "replace").strip()
