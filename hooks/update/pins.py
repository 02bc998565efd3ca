"""Images that are named by tag and digest. To Git two changes of such a line are a conflict, and nothing more.

A digest belongs to its tag, so the tag decides: whichever side moved it brings its own digest along. Only where both
moved the tag, to different ones, somebody has to choose.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_TAG = rb"\w[\w.-]{0,127}"
_DIGEST = rb"@sha256:[0-9a-f]{64}"
# Behind a repository's name, or the value of a field of its own.
_PIN = re.compile(rb"(?<=[:\"' ])" + _TAG + _DIGEST + rb"(?![0-9a-f])")
Lines = list[bytes]
# Where a lab says which images Renovate pins, and how.
RENOVATE, PINS = "renovate.json", b'"pinDigests": true'


@dataclass(frozen=True)
class Pin:
    """A tag, and its digest with the @ in front; an empty one where there is none."""

    tag: bytes
    digest: bytes


def settled(ours: bytes, base: bytes, theirs: bytes) -> tuple[bytes, bytes, bytes]:
    """Return three versions of a text in which each image that needs no choice reads the same.

    Args:
        ours: the owner's.
        base: the template's former version.
        theirs: the template's version.
    """
    versions = [text.split(b"\n") for text in (ours, base, theirs)]
    for frame in dict.fromkeys(frame for lines in versions for line in lines if (frame := _frame(line)) is not None):
        _settle(re.compile(frame), versions)
    done = [b"\n".join(lines) for lines in versions]
    return done[0], done[1], done[2]


def _frame(line: bytes) -> bytes | None:
    """Return an expression for a line with whatever tag and digest, or none; None where it has no digest, or two."""
    found = list(_PIN.finditer(line))
    if len(found) != 1:
        return None
    before, after = re.escape(line[: found[0].start()]), re.escape(line[found[0].end() :])
    return rb"(?P<before>%b)(?P<tag>%b)(?P<digest>%b)?(?P<after>%b)" % (before, _TAG, _DIGEST, after)


def _settle(frame: re.Pattern[bytes], versions: list[Lines]) -> None:
    found = [
        [(number, match) for number, line in enumerate(lines) if (match := frame.fullmatch(line))] for lines in versions
    ]
    # Of several such lines the first is the first, and so on, unless one side has more of them.
    if len({len(places) for places in found}) != 1:
        return
    for places in zip(*found, strict=True):
        pins = [Pin(match["tag"], match["digest"] or b"") for _, match in places]
        pin = chosen(pins[0], pins[1], pins[2])
        if pin is None:
            continue
        for lines, (number, match) in zip(versions, places, strict=True):
            lines[number] = match["before"] + pin.tag + pin.digest + match["after"]


def chosen(ours: Pin, base: Pin, theirs: Pin) -> Pin | None:
    """Return which tag stands with which digest; None where both sides moved the tag, to different ones."""
    if ours.tag == theirs.tag:
        untouched = ours.digest == (base.digest if base.tag == ours.tag else b"")
        return theirs if untouched else ours
    if ours.tag == base.tag:
        return theirs
    return ours if theirs.tag == base.tag else None


def told(before: Mapping[str, bytes], after: Mapping[str, bytes], cluster: str) -> list[str]:
    """Return what the owner has to know, a line each, at the update that brings the digests.

    Args:
        before, after: the lab's files before and after.
        cluster: the name of its folder in clusters/.
    """
    if PINS in before.get(RENOVATE, b"") or PINS not in after.get(RENOVATE, b""):
        return []
    return [
        (
            "What runs privileged or holds secrets is named by tag and digest now. Nothing restarts in the cluster for"
            " it. Renovate moves both together, and proposes the digest of a version that is yours."
        ),
        (
            f"`clusters/{cluster}/flux-system/gotk-components.yaml` is yours, so Flux's controllers keep their tags"
            " alone. Merge Renovate's proposal of their digests; it restarts each controller within seconds."
        ),
        (
            "GitLab's image keeps its tag alone, too: the README says why, under"
            ' "What you trust without looking", and how to pin it.'
        ),
    ]
