"""Versions and ranges as Flux's image policies read them.

Sources: image-reflector-controller, internal/policy/semver.go; fluxcd/pkg/version, ParseVersion; Masterminds/semver v3,
StrictNewVersion and constraints.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import total_ordering

UINT64 = 2**64 - 1
_IDENTIFIERS = re.compile(r"[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*", re.ASCII)


@total_ordering
@dataclass(frozen=True)
class Version:
    """A version in SemVer's order; what it was written as counts for nothing."""

    numbers: tuple[int, int, int]
    pre: tuple[str, ...]
    original: str

    def _key(self) -> tuple[object, ...]:
        # A version without a pre-release is greater than any with one; numbers are smaller than words.
        identifiers = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in self.pre]
        return (self.numbers, not self.pre, identifiers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._key() == other._key()

    def __lt__(self, other: Version) -> bool:
        return self._key() < other._key()  # type: ignore[operator]

    def __hash__(self) -> int:
        return hash(self.numbers)


def parse(tag: str) -> Version | None:
    """Return the version that a tag is for Flux: strict SemVer, after one `v` at most; None for any other tag."""
    text = tag.removeprefix("v")
    parts = text.split(".", 2)
    if len(parts) != 3:
        return None
    last, plus, metadata = parts[2].partition("+")
    last, dash, pre = last.partition("-")
    if plus and not _IDENTIFIERS.fullmatch(metadata):
        return None
    if dash and (
        not _IDENTIFIERS.fullmatch(pre) or any(re.fullmatch(r"0\d+", one, re.ASCII) for one in pre.split("."))
    ):
        return None
    numbers = []
    for part in (parts[0], parts[1], last):
        if not re.fullmatch(r"0|[1-9][0-9]*", part, re.ASCII) or int(part) > UINT64:
            return None
        numbers.append(int(part))
    return Version((numbers[0], numbers[1], numbers[2]), tuple(pre.split(".")) if dash else (), tag)


_CONSTRAINT = re.compile(
    r"\s*(=|!=|>=|<=|>|<|~|\^|)\s*v?(\d+)(?:\.(\d+|[xX*]))?(?:\.(\d+|[xX*]))?(-[0-9A-Za-z.-]+)?\s*(?:,|\s|$)", re.ASCII
)


def allows(text: str) -> Callable[[Version], bool]:
    """Return the check of a range such as `>=0.0.0`, `1.4.x` or `>=1.0.0 !=1.4.3`.

    No `||` and no hyphen ranges; a pre-release in the range lets pre-releases in, and is not compared itself.
    """
    checks, with_pre, position = [], False, 0
    while position < len(text):
        match = _CONSTRAINT.match(text, position)
        if match is None:
            raise ValueError(f"{text!r} is no range")
        position = match.end()
        checks.append(_check(match[1], (match[2], match[3], match[4])))
        with_pre = with_pre or bool(match[5])
    return lambda version: (with_pre or not version.pre) and all(check(version.numbers) for check in checks)


def _check(operator: str, parts: tuple[str | None, ...]) -> Callable[[tuple[int, ...]], bool]:
    fixed = [int(part) for part in parts if part is not None and part.isdigit()]
    low = tuple([*fixed, 0, 0, 0][:3])
    # ~1.2 keeps the first two numbers; ^ keeps everything up to the first that is not 0.
    keep = {"~": min(len(fixed), 2), "^": next((index + 1 for index, one in enumerate(low) if one), 3)}.get(
        operator, len(fixed)
    )

    def check(numbers: tuple[int, ...]) -> bool:
        within = numbers[:keep] == low[:keep]
        return {
            "": within,
            "=": within,
            "!=": not within,
            "~": within and numbers >= low,
            "^": within and numbers >= low,
            ">=": numbers >= low,
            ">": numbers > low and not within,
            "<": numbers < low,
            "<=": numbers < low or within,
        }[operator]

    return check


def latest(tags: Iterable[str], text: str) -> str | None:
    """Return the tag that a policy with this range selects; the first of several that are the same version."""
    allowed, best = allows(text), None
    for tag in tags:
        version = parse(tag)
        if version is not None and allowed(version) and (best is None or version > best):
            best = version
    return best.original if best else None
