"""Waiting and trying again: the one policy that every client and stage follows."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import TypeVar

from .console import Console
from .environment import Limits
from .errors import AnswerLostError, ClientError, Failure

T = TypeVar("T")
# What a probe returns: None as soon as it is true, otherwise what is being waited for just now.
Probe = Callable[[], "str | None"]
LONGEST_PAUSE = 60
# GitLab may ask for any pause; nobody waits longer than this for it.
LONGEST_RETRY_AFTER = 120


class TimedOutError(Exception):
    """What was waited for did not come. Its text is what was seen last."""


class Patience:
    """Tries and waits by the owner's limits.

    Args:
        limits: how often and how long.
        console: hears of each pause.
        sleep, clock: time itself, unless a test gives another.
    """

    def __init__(
        self,
        limits: Limits,
        console: Console,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits, self.console, self._sleep, self.clock = limits, console, sleep, clock

    def retry(self, attempt: Callable[[], T], tries: int | None = None) -> T:
        """Return what *attempt* returns; after a transient error try again, with growing pauses.

        Args:
            attempt: may be carried out twice.
            tries: how often; the owner's limit otherwise.
        Raises:
            ClientError: it is not transient, or was so each time.
        """
        most = self.limits.retries if tries is None else tries
        for number in itertools.count(1):
            try:
                return attempt()
            except ClientError as error:
                if not error.transient or number >= most:
                    raise
                self.pause(number, f"{error.system}: {error}", error.retry_after)
        raise AssertionError("unreachable")

    def settle(self, what: str, change: Callable[[], T]) -> T:
        """Run *change* until it is certain of the outcome.

        It looks at the world and fixes it. If the answer to a request that is not safe to repeat was lost, GitLab may
        have done it or not, so the next round begins with looking.
        """
        for number in itertools.count(1):
            try:
                return change()
            except AnswerLostError as lost:
                if number >= self.limits.retries:
                    raise Failure(f"Could not {what}: {lost.problem}", lost.look) from lost
                self.pause(number, f"{what}: {lost.problem}")
        raise AssertionError("unreachable")

    def pause(self, number: int, why: str, retry_after: int | None = None) -> None:
        """Wait before the next try: the seconds that were asked for, or a pause that doubles up to a minute."""
        if retry_after is not None:
            seconds = min(retry_after, LONGEST_RETRY_AFTER)
        else:
            seconds = min(self.limits.retry_seconds << min(number - 1, 6), LONGEST_PAUSE)
        self.console.doing(f"{why}; trying again in {seconds} s")
        self._sleep(seconds)

    def wait(self, minutes: int, what: str, probe: Probe) -> None:
        """Return as soon as *probe* is true.

        Raises:
            TimedOutError: it was not within these minutes.
        """
        start, last = self.clock(), ""
        while (reason := probe()) is not None:
            passed = self.clock() - start
            line = f"{what}: {reason or 'not yet'}, {int(passed // 60)} of at most {minutes} minutes"
            if line != last:
                self.console.doing(line)
            last = line
            if passed >= minutes * 60:
                raise TimedOutError(reason)
            self._sleep(self.limits.poll_seconds)
