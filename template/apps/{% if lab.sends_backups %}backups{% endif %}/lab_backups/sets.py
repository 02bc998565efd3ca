"""What a set is, in which state each one at the target is, and which go: by what was seen. Nothing here looks.

A set is a folder of the backup's name: the data, the configuration that was saved with it, and a manifest, which is
written last. A folder without a manifest is an incomplete set, whatever else is in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

FORMAT = 1
MANIFEST, DATA, CONFIG = "manifest.json", "data.tar.age", "config.tar.age"
PARTS = frozenset({DATA, CONFIG})
COMPLETE, INCOMPLETE, BROKEN, FOREIGN = "complete", "incomplete", "broken", "foreign"
# 1790000000_2026_09_21_19.3.0 of GitLab CE, 1790000000_2026_09_21_19.3.0-ee of EE.
NAME = re.compile(r"([0-9]+)_[0-9]{4}_[0-9]{2}_[0-9]{2}_([0-9]+\.[0-9]+\.[0-9]+)(-[a-z]+)?")
EDITION = "ce"
DAY = 86400
# A run ends within six hours (activeDeadlineSeconds of the CronJob): what is incomplete for longer stays so.
UNDER_WAY = DAY
_SHA256 = re.compile("[0-9a-f]{64}")


class ManifestError(ValueError):
    """A manifest is none, or says what cannot be."""


@dataclass(frozen=True)
class Part:
    """One file of a set.

    Attributes:
        name: how it is called at the target.
        of: how GitLab calls it.
        size, sha256: of the encrypted file.
        plain_size, plain_sha256: of what it is when it is decrypted.
    """

    name: str
    of: str
    size: int
    sha256: str
    plain_size: int
    plain_sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a set holds.

    Attributes:
        set: its name.
        lab: the lab that it is of.
        version: GitLab's, such as 19.3.0.
        edition: `ce` or `ee`.
        registry: whether the registry's images are in it.
        sent: when it was sent, in seconds since 1970.
        recipients: the public age keys whose owners can open it.
    """

    set: str
    lab: str
    version: str
    edition: str
    registry: bool
    sent: int
    recipients: tuple[str, ...]
    parts: tuple[Part, ...]
    format: int = FORMAT

    def text(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"

    @property
    def size(self) -> int:
        return sum(one.size for one in self.parts)


@dataclass(frozen=True)
class Set:
    """One set as it lies at the target.

    Attributes:
        made: when GitLab began the backup, in seconds since 1970; 0 for a name that is no backup's.
        why: what is wrong; empty for a complete one.
    """

    name: str
    state: str
    made: int
    size: int
    why: str = ""
    manifest: Manifest | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def made_at(name: str) -> int:
    """Return when GitLab began a backup, by its name; 0 for a name that is no backup's."""
    match = NAME.fullmatch(name)
    return int(match[1]) if match else 0


def version_of(name: str) -> tuple[str, str]:
    """Return the version and the edition of GitLab that wrote a backup."""
    match = NAME.fullmatch(name)
    if match is None:
        raise ManifestError(f"`{name}` is not the name of a GitLab backup")
    return match[2], (match[3] or f"-{EDITION}")[1:]


def manifest_of(text: str, name: str) -> Manifest:
    """Return what the manifest of a set says.

    Raises:
        ManifestError: it is none, is cut off, or contradicts itself.
    """
    try:
        content = json.loads(text)
        known = content["format"] == FORMAT
        parts = tuple(Part(**one) for one in content.pop("parts"))
        recipients = tuple(content.pop("recipients"))
        found = Manifest(**content, parts=parts, recipients=recipients)
        numbers = [number for one in parts for number in (one.size, one.plain_size)]
        sums = [text for one in parts for text in (one.sha256, one.plain_sha256)]
        sound = all(type(one) is int and one > 0 for one in numbers) and all(_SHA256.fullmatch(one) for one in sums)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ManifestError(f"its manifest cannot be read ({type(error).__name__})") from None
    if not known:
        raise ManifestError(f"its manifest has format {found.format}, and this program knows {FORMAT}")
    if not sound or {one.name for one in parts} != PARTS or len(parts) != len(PARTS):
        raise ManifestError("its manifest does not say the sizes and checksums of both parts")
    if found.set != name:
        raise ManifestError(f"its manifest is of {found.set}")
    if NAME.fullmatch(name) and (found.version, found.edition) != version_of(name):
        raise ManifestError(f"its manifest says GitLab {found.version}-{found.edition}, and its name another one")
    return found


def grouped(files: Iterable[tuple[str, int]]) -> dict[str, dict[str, int]]:
    """Return the files of each folder at the target, with their sizes; what is deeper counts to it."""
    found: dict[str, dict[str, int]] = {}
    for path, size in files:
        folder, slash, name = path.partition("/")
        if slash:
            found.setdefault(folder, {})[name] = size
    return found


def judged(name: str, files: Mapping[str, int], manifest: str | None, lab: str) -> Set:
    """Return a set with its state.

    Args:
        files: the sizes of what lies in its folder.
        manifest: the text of its manifest; None if there is none.
        lab: this lab's name.
    """
    made, size = made_at(name), sum(files.values())
    if not made:
        return Set(name, FOREIGN, 0, size, "its name is not that of a GitLab backup")
    if manifest is None:
        missing = ", ".join(sorted((PARTS | {MANIFEST}) - set(files)))
        return Set(name, INCOMPLETE, made, size, f"its upload was cut off, or is under way: there is no {missing}")
    try:
        found = manifest_of(manifest, name)
    except ManifestError as error:
        return Set(name, BROKEN, made, size, str(error))
    state, why = COMPLETE, ""
    if found.lab != lab:
        state, why = FOREIGN, f"it is of the lab {found.lab}, and this is {lab}"
    elif found.edition != EDITION:
        state, why = FOREIGN, f"it is of GitLab {found.edition.upper()}, and this lab runs {EDITION.upper()}"
    else:
        for part in found.parts:
            there = files.get(part.name)
            if there is None:
                state, why = BROKEN, f"{part.name} is missing"
            elif there != part.size:
                state, why = BROKEN, f"{part.name} has {there} bytes, and should have {part.size}"
    return Set(name, state, made, size, why, found)


def to_remove(sets: Sequence[Set], keep_days: int, now: float) -> list[Set]:
    """Return the sets that go: those older than the days, but for the newest complete one, and what stays incomplete.

    What is foreign is nobody's here to remove. A broken one goes when it is old, like a complete one.
    """
    newest = max((one.made for one in sets if one.state == COMPLETE), default=0)
    found = []
    for one in sets:
        age = now - one.made
        old = age > keep_days * DAY and one.made != newest and one.state in (COMPLETE, BROKEN)
        # Before there is a complete set at all, what is broken may be all that is left of one.
        if (old and newest) or (one.state == INCOMPLETE and age > UNDER_WAY):
            found.append(one)
    return sorted(found, key=lambda one: one.made)


def in_words(count: float) -> str:
    """Return a number of bytes in words: 12 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
