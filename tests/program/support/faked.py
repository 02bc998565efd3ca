"""Programs that answer as a test orders, and remember how they were called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support import program
from tests.support.program import programs

Answer = tuple[int, str, str]


@dataclass
class Call:
    """One call of a program."""

    command: list[str]
    stdin: bytes
    environment: Mapping[str, str] | None

    @property
    def line(self) -> str:
        return " ".join(self.command)


@dataclass
class Faked(programs.Programs):
    """Answers one call after the other; the last answer goes on.

    Args:
        answers: status, output and complaint of each call, or what makes them of it.
    """

    answers: list[Answer] | Callable[[Call], Answer]
    calls: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__({"PATH": "/usr/bin:/bin"}, program.console())

    def run(self, command: Sequence[str], *, stdin: bytes = b"", environment: Any = None, **_: Any) -> programs.Result:
        call = Call(list(command), stdin, environment)
        self.calls.append(call)
        if callable(self.answers):
            return programs.Result(*self.answers(call))
        return programs.Result(*self.answers[min(len(self.calls), len(self.answers)) - 1])


@dataclass
class Time:
    """A clock that moves when somebody sleeps."""

    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def clock(self) -> float:
        return sum(self.slept)


def patience(time: Time | None = None, **limits: Any) -> program.patience.Patience:
    """Return a patience that never really waits."""
    time = time or Time()
    made = program.environment.Limits(**limits)
    return program.patience.Patience(made, program.console(), sleep=time.sleep, clock=time.clock)
