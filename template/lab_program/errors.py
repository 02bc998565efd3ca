"""How a run ends, other than well: failures for a person, wrong calls, signals, and what clients raise."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What `./lab` ends with. The table in the lab's README says the same."""

    DONE = 0
    FAILED = 1
    WRONG_CALL = 2
    HANGUP = 129
    INTERRUPTED = 130
    TERMINATED = 143


class Failure(Exception):  # noqa: N818 - the field's word for a run that did not succeed
    """The end of a run, for a person.

    Args:
        what: what happened, with the value.
        look: what to look at; nothing if there is no more to see.
        then: how to go on; nothing for "fix that, then run it again".
    """

    def __init__(self, what: str, look: str = "", then: str = "") -> None:
        super().__init__(what)
        self.what, self.look, self.then = what, look, then


class WrongCall(Exception):  # noqa: N818 - no error of the program
    """A mistake on the command line or in a setting of the environment. Nothing has been done yet."""


class Interrupted(BaseException):
    """A signal asks the run to end. It derives from BaseException, so that no handler of errors takes it for one."""

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal


class ClientError(Exception):
    """What another program or machine answered instead of what was asked.

    Args:
        system: who answered, as the owner knows it: "kubectl", "GitLab", "git".
        words: its own words.
        transient: whether the same request may succeed later.
        retry_after: the seconds that it asks to wait, if it says so.
    """

    def __init__(self, system: str, words: str, *, transient: bool = False, retry_after: int | None = None) -> None:
        super().__init__(words)
        self.system, self.words, self.transient, self.retry_after = system, words, transient, retry_after

    def __str__(self) -> str:
        return self.words or "no reason given"


class AnswerLostError(Exception):
    """The answer to a request that is not safe to repeat was lost: only another look tells whether it was carried out.

    Args:
        problem: what happened to the answer.
        look: what the owner should look at if it never succeeds.
    """

    def __init__(self, problem: str, look: str) -> None:
        super().__init__(problem)
        self.problem, self.look = problem, look
