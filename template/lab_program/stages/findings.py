"""What a check of preflight finds: something good, something to fix or to know, or nothing to check."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..lab import Lab


@dataclass(frozen=True)
class Problem:
    """One thing to fix.

    Attributes:
        check: the check's name, for LAB_SKIP.
        what: what is wrong, with the value.
        fix: what to do.
    """

    check: str
    what: str
    fix: str


@dataclass(frozen=True)
class Good:
    """Something that is as it should be."""

    what: str


@dataclass(frozen=True)
class Advice:
    """Something that works as it is, and could be better."""

    what: str


@dataclass(frozen=True)
class Nothing:
    """A check that has nothing to look at in this lab, and why."""

    why: str


Finding = Problem | Good | Advice | Nothing
# A check looks at a lab's world and changes nothing.
Check = Callable[[Lab], Iterable[Finding]]
