"""GitLab's own two archives: which belong together, and whether one is complete."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from .sets import made_at, version_of

SUFFIX = "_gitlab_backup.tar"
_CONFIG = re.compile(r"gitlab_config_([0-9]+)_[0-9]{4}_[0-9]{2}_[0-9]{2}\.tar")
# The lab saves both one after the other; lab_program/backups.py takes the same time for one night.
SAME_NIGHT = 12 * 3600
INFORMATION, SECRETS, REGISTRY = "backup_information.yml", "etc/gitlab/gitlab-secrets.json", "registry.tar.gz"
# docs.gitlab.com/administration/backup_restore/backup_archive_process/: without these there is no GitLab.
NEEDED = ("db", "repositories")
_VERSION = re.compile(r"^:gitlab_version: *['\"]?([0-9]+\.[0-9]+\.[0-9]+)(-[a-z]+)?", re.MULTILINE)


class ArchiveError(Exception):
    """An archive is missing, broken, or not what its name says."""


@dataclass(frozen=True)
class Pair:
    """A backup's two archives."""

    name: str
    data: Path
    config: Path


def newest(data: Path, config: Path) -> Pair:
    """Return the newest backup of two folders, with its configuration.

    Raises:
        ArchiveError: there is none, or none of the configuration was saved in the same night.
    """
    names = [file.name.removesuffix(SUFFIX) for file in data.glob(f"*{SUFFIX}")]
    found = max((name for name in names if made_at(name)), key=made_at, default=None)
    if found is None:
        raise ArchiveError("GitLab has made no backup yet: there is none in /var/opt/gitlab/backups")
    made = made_at(found)
    near = [
        (abs(int(match[1]) - made), match[0])
        for match in (_CONFIG.fullmatch(file.name) for file in config.glob("gitlab_config_*.tar"))
        if match
    ]
    apart, name = min(near, default=(SAME_NIGHT + 1, ""))
    if apart > SAME_NIGHT:
        raise ArchiveError(
            f"no backup of the configuration was saved with {found}; without its keys the data cannot be decrypted"
        )
    return Pair(found, data / f"{found}{SUFFIX}", config / name)


def look_at_data(stream: IO[bytes], name: str) -> bool:
    """Read GitLab's archive of the data to its end, and return whether the registry's images are in it.

    Args:
        stream: need not be one in which one can go back.
        name: the backup's.
    Raises:
        ArchiveError: it is broken, a part is missing, or another GitLab wrote it.
    """
    parts, information = set(), ""
    for member, content in _members(stream, "the archive of the data"):
        parts.add(member.partition("/")[0])
        if member == INFORMATION:
            information = content.decode("utf-8", "replace")
    version = _VERSION.search(information)
    if version is None:
        raise ArchiveError(f"the archive of the data has no {INFORMATION} that names GitLab's version")
    written = version[1], (version[2] or "-ce")[1:]
    if written != version_of(name):
        raise ArchiveError(f"GitLab {'-'.join(written)} wrote the archive of the data, and it is called {name}")
    missing = [part for part in NEEDED if part not in parts]
    if missing:
        raise ArchiveError(f"the archive of the data lacks {', '.join(missing)}")
    return REGISTRY in parts


def look_at_config(stream: IO[bytes]) -> None:
    """Read the archive of the configuration to its end.

    Raises:
        ArchiveError: it is broken, or holds no gitlab-secrets.json.
    """
    members = [member for member, _ in _members(stream, "the archive of the configuration")]
    if not any(member.endswith(SECRETS) for member in members):
        raise ArchiveError("the archive of the configuration holds no gitlab-secrets.json")


def _members(stream: IO[bytes], what: str) -> Iterator[tuple[str, bytes]]:
    """Yield each member's name, and what the member with the version holds; the end has to be that of an archive."""
    counted = _Counted(stream)
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", counted), mode="r|") as archive:
            for member in archive:
                name = member.name.removeprefix("./").lstrip("/")
                content = archive.extractfile(member) if name == INFORMATION else None
                yield name, content.read(64 * 1024) if content is not None else b""
        while counted.read(1 << 16):
            pass
    except (OSError, EOFError, tarfile.TarError) as error:
        raise ArchiveError(f"{what} is broken: {error}") from None
    # An archive ends in two empty blocks: POSIX, pax. One that was cut off between two members has none.
    if counted.last.strip(b"\0") or len(counted.last) < tarfile.BLOCKSIZE * 2:
        raise ArchiveError(f"{what} is broken: it has no end")


class _Counted:
    """A stream whose last bytes are remembered."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self.last = stream, b""

    def read(self, size: int = -1) -> bytes:
        piece = self._stream.read(size)
        self.last = (self.last + piece)[-tarfile.BLOCKSIZE * 2 :]
        return piece
