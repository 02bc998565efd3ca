"""The lab's files that name GitLab's version: what another answer to gitlab_version would write into them.

The answers and the files change together, so an update of the template finds nothing to do about them. It notices that
the answers were edited by their checksum, which stays as it is: it is written by whoever reads YAML.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from . import gitlab_image, settings, versions
from .errors import Failure

ANSWERS = ".copier-answers.yml"
# Of these at most one is there. The runner goes with GitLab's minor version:
# https://docs.gitlab.com/runner/#gitlab-runner-versions
RUNNER = ("runner/compose.yaml", "runner/helmrelease.yaml")
NAMES = (ANSWERS, settings.FILE, gitlab_image.VALUES, *RUNNER)
_VERSION = r"[0-9]+\.[0-9]+\.[0-9]+"
# What names the version, once in each of these files.
_PLACES = {
    ANSWERS: re.compile(rf"(?m)^(gitlab_version: *[\"']?){_VERSION}(?=[\"']?\s*$)"),
    settings.FILE: re.compile(rf"(?m)^( *\"gitlab_version\": *\"){_VERSION}(?=\")"),
    gitlab_image.VALUES: re.compile(rf"(?m)^( *tag: *[\"']?){_VERSION}(?=-ce\.[0-9]+)"),
}


def with_version(name: str, text: str, before: str, version: str) -> str:
    """Return a file's text with another version of GitLab.

    Args:
        name: the file's, one of NAMES.
        before: the version that it has now; a runner of another version is the owner's choice, and stays.
    """
    place = _PLACES.get(name)
    if place is not None:
        return place.sub(rf"\g<1>{version}", text, count=1)
    old, new = (re.escape(f"alpine-v{_minor(before)}.0"), f"alpine-v{_minor(version)}.0")
    return re.sub(rf"\b{old}(?![\w.@-])", new, text)


def read(folder: Path) -> dict[str, str]:
    """Return the text of those files that the lab has, by name.

    Raises:
        Failure: one of them cannot be read, or names no version.
    """
    found = {}
    for name in NAMES:
        try:
            found[name] = (folder / name).read_bytes().decode("utf-8")
        except FileNotFoundError as error:
            if name not in RUNNER:
                raise Failure(f"{name} is missing.", "", f"git checkout HEAD -- {name}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise Failure(f"{name} cannot be read: {error}") from error
    for name, place in _PLACES.items():
        if not place.search(found[name]):
            raise Failure(
                f"{name} names no exact version of GitLab, such as 19.5.1, so it cannot be changed there.",
                f"git log -p -- {name}",
                "write the version there that runs now, and commit",
            )
    return found


def write(folder: Path, texts: Mapping[str, str]) -> None:
    """Write files, each whole or not at all, with the mode that they have."""
    for name, text in texts.items():
        target = folder / name
        descriptor, part = tempfile.mkstemp(prefix=".upgrade.", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(text.encode())
            Path(part).chmod(target.stat().st_mode & 0o7777)
            Path(part).replace(target)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise


def is_only_another_version(before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    """Say whether texts of these files differ by nothing but GitLab's version: by what `with_version` writes."""
    then = gitlab_image.version_in(before.get(gitlab_image.VALUES, ""))
    named = {match[0] for text in after.values() for match in re.finditer(_VERSION, text)}
    return any(
        all(
            after[name] in (before.get(name), with_version(name, before.get(name, ""), then, version)) for name in after
        )
        for version in named
    )


def _minor(version: str) -> str:
    return ".".join(map(str, (versions.numbers(version) or (0, 0, 0))[:2]))
