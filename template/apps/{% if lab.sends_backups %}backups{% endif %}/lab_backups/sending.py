"""A set on its way: encrypted while it is read, its checksums taken in passing, and the manifest after all else."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from . import archives, sets
from .age import CHUNK, Encryption, header_of, sealed_size
from .sets import BROKEN, COMPLETE, CONFIG, DATA, FOREIGN, INCOMPLETE, MANIFEST, Manifest, Part, Set
from .target import Target, TargetError

TRIES, PAUSE = 3, 30
Result = TypeVar("Result")
# What a header of some recipients takes at most; a manifest is smaller.
SPARE = 1 << 20


class RefusedError(Exception):
    """Something is not as it has to be: what, and what to do."""


class Sender:
    """Sends sets to a target, and removes them there.

    Args:
        lab: this lab's name.
        say: hears what is done, line by line.
        pause: waits for some seconds.
    """

    def __init__(
        self, target: Target, lab: str, say: Callable[[str], None], pause: Callable[[float], None] = time.sleep
    ) -> None:
        self.target, self.lab, self.say, self._pause = target, lab, say, pause

    def sets(self) -> list[Set]:
        """Return what lies at the target, the newest first."""
        files = self.target.files()
        found = []
        for name, inside in sets.grouped((one.path, one.size) for one in files).items():
            text = None
            if MANIFEST in inside and sets.made_at(name):
                text = self.target.read(f"{name}/{MANIFEST}").decode("utf-8", "replace")
            found.append(sets.judged(name, inside, text, self.lab))
        return sorted(found, key=lambda one: (-one.made, one.name))

    def send(self, pair: archives.Pair, recipients: Sequence[str], now: float) -> Set:
        """Bring a backup to the target, complete, and return it as it lies there.

        Raises:
            ArchiveError: GitLab's archives are not complete.
            RefusedError: there is no room, or something foreign has its name.
            TargetError: the target does not take it, after some tries.
        """
        there = {one.name: one for one in self.sets()}.get(pair.name)
        if there is not None and there.state == COMPLETE:
            self.say(f"{pair.name} is at the target already, complete")
            return there
        if there is not None and there.state == FOREIGN:
            raise RefusedError(f"{pair.name} at the target is not this lab's: {there.why}")
        with pair.config.open("rb") as stream:
            archives.look_at_config(stream)
        with pair.data.open("rb") as stream:
            registry = archives.look_at_data(stream, pair.name)
        self._look_for_room(pair)
        if there is not None:
            self.remove(there)
        version, edition = sets.version_of(pair.name)
        parts = tuple(
            self._upload(pair.name, name, file, recipients) for name, file in ((CONFIG, pair.config), (DATA, pair.data))
        )
        manifest = Manifest(pair.name, self.lab, version, edition, registry, int(now), tuple(recipients), parts)
        self._check_sizes(manifest)
        text = manifest.text().encode()
        self._try(f"write {MANIFEST}", lambda: self.target.write(f"{pair.name}/{MANIFEST}", len(text), iter([text])))
        found = next((one for one in self.sets() if one.name == pair.name), None)
        if found is None or found.state != COMPLETE:
            raise TargetError(f"{pair.name} is not complete at the target: {found.why if found else 'it is not there'}")
        with_registry = "with" if registry else "without"
        self.say(f"{pair.name} is at the target: {sets.in_words(found.size)}, {with_registry} the registry")
        return found

    def prune(self, keep_days: int, now: float) -> list[Set]:
        """Remove what is too old, and halves; return what was removed."""
        gone = sets.to_remove(self.sets(), keep_days, now)
        for one in gone:
            self.remove(one)
            why = "incomplete" if one.state == INCOMPLETE else f"older than {keep_days} days"
            self.say(f"removed {one.name} at the target: {why}")
        self.target.clean_up()
        return gone

    def remove(self, one: Set) -> None:
        """Remove a set, its manifest first: a removal that is cut off leaves an incomplete set, which goes later."""
        inside = [file.path for file in self.target.files() if file.path.startswith(f"{one.name}/")]
        for path in sorted(inside, key=lambda path: (not path.endswith(f"/{MANIFEST}"), path)):
            self.target.delete(path)
        self.target.delete_folder(one.name)

    def check(self, name: str) -> Manifest:
        """Read a complete set at the target, and compare with its manifest what can be compared without a private key.

        Raises:
            RefusedError: it is not there, or not complete.
        """
        manifest = self.complete(name)
        for part in manifest.parts:
            self._check_part(manifest, part)
            self.say(f"{name}: {part.name}, {sets.in_words(part.size)}, has its checksum")
        return manifest

    def complete(self, name: str) -> Manifest:
        """Return the manifest of a complete set of this lab's.

        Raises:
            RefusedError: there is none of the name, or it is incomplete, broken or foreign.
        """
        known = self.sets()
        found = next((one for one in known if one.name == name), None)
        if found is None:
            raise RefusedError(f"there is no set {name} at the target; ./lab backup list shows which there are")
        if found.state != COMPLETE or found.manifest is None:
            raise RefusedError(f"{name} is {found.state}: {found.why}")
        return found.manifest

    def _check_part(self, manifest: Manifest, part: Part) -> None:
        digest, size, beginning = hashlib.sha256(), 0, b""
        for piece in self.target.pieces(f"{manifest.set}/{part.name}"):
            digest.update(piece)
            size += len(piece)
            if len(beginning) < CHUNK:
                beginning += piece
        if (size, digest.hexdigest()) != (part.size, part.sha256):
            raise RefusedError(f"{manifest.set} is {BROKEN}: {part.name} has another checksum than its manifest says")
        try:
            count, header = header_of(beginning)
        except ValueError as error:
            raise RefusedError(f"{manifest.set} is {BROKEN}: {part.name}: {error}") from None
        if count != len(manifest.recipients):
            raise RefusedError(
                f"{manifest.set} is {BROKEN}: {part.name} is encrypted for {count} keys,"
                f" and its manifest names {len(manifest.recipients)}"
            )
        if header + sealed_size(part.plain_size) != size:
            raise RefusedError(f"{manifest.set} is {BROKEN}: {part.name} does not hold {part.plain_size} bytes")

    def _look_for_room(self, pair: archives.Pair) -> None:
        free = self.target.free()
        needed = SPARE + sum(sealed_size(file.stat().st_size) for file in (pair.data, pair.config))
        if free is not None and free < needed:
            raise RefusedError(
                f"{pair.name} takes {sets.in_words(needed)} at the target, and {sets.in_words(free)} are free there:"
                " keep sets for fewer days (backup_target_keep_days), or leave the registry out (backup_registry)"
            )

    def _check_sizes(self, manifest: Manifest) -> None:
        there = {one.path: one.size for one in self.target.files()}
        for part in manifest.parts:
            found = there.get(f"{manifest.set}/{part.name}")
            if found != part.size:
                raise TargetError(f"{part.name} has {found} bytes at the target, and {part.size} were sent")

    def _upload(self, name: str, part: str, file: Path, recipients: Sequence[str]) -> Part:
        self.say(f"sending {file.name}, {sets.in_words(file.stat().st_size)}, encrypted for {len(recipients)} keys")
        return self._try(f"write {part}", lambda: self._upload_once(name, part, file, recipients))

    def _upload_once(self, name: str, part: str, file: Path, recipients: Sequence[str]) -> Part:
        # Each try is encrypted anew: a key and a nonce are never used for two texts.
        encryption, plain, sealed = Encryption(recipients), _Sum(), _Sum()
        with file.open("rb") as stream:
            size = file.stat().st_size
            chunks = sealed.over(encryption.chunks(plain.over(iter(lambda: stream.read(CHUNK), b""))))
            self.target.write(f"{name}/{part}", encryption.size(size), chunks)
        if (plain.size, sealed.size) != (size, encryption.size(size)):
            raise TargetError(f"{file.name} changed while it was sent")
        return Part(part, file.name, sealed.size, sealed.digest, plain.size, plain.digest)

    def _try(self, what: str, step: Callable[[], Result]) -> Result:
        for number in range(1, TRIES + 1):
            try:
                return step()
            except TargetError as error:
                if number == TRIES:
                    raise
                self.say(f"{error}; trying again in {PAUSE} s ({what})")
                self._pause(PAUSE)
        raise AssertionError


class _Sum:
    """Counts what passes, and takes its checksum."""

    def __init__(self) -> None:
        self.size, self._digest = 0, hashlib.sha256()

    def over(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.size += len(piece)
            self._digest.update(piece)
            yield piece

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()
