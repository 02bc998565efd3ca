"""GitLab's image: which version a lab asks for, and what its registry says of it.

Whether the version exists, and whether a newer patch is out, is known only where the registry answers.
"""

from __future__ import annotations

import re
from pathlib import Path

from . import versions
from .clients.image_registry import Existence, ImageRegistry

VALUES = "apps/gitlab/values.yaml"
UPSTREAM = "gitlab/gitlab-ce"
# Nobody waits longer for it.
SECONDS = 5
_REPOSITORY = re.compile(r"^ *repository: *[\"']?([^\s\"'#]+)", re.MULTILINE)
_TAG = re.compile(r"([0-9]+\.[0-9]+\.[0-9]+)-ce\.0")
_TAG_LINE = re.compile(r"^ *tag: *[\"']?([0-9]+\.[0-9]+\.[0-9]+)-ce\.[0-9]+[\"']?", re.MULTILINE)
_DIGEST_LINE = re.compile(r"^ +digest: *[\"']?(sha256:[0-9a-f]{64})", re.MULTILINE)


def repository(folder: Path) -> str:
    """Return where a lab's GitLab comes from: an owner may have a copy of it elsewhere."""
    try:
        found = _REPOSITORY.search((folder / VALUES).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        found = None
    return found[1] if found else UPSTREAM


def version_in(values: str) -> str:
    """Return the version of GitLab in the text of its values; nothing where it is not exact."""
    found = _TAG_LINE.search(values)
    return found[1] if found else ""


def digest_in(values: str) -> str:
    """Return the digest in the text of GitLab's values, which decides over the tag; nothing where there is none."""
    found = _DIGEST_LINE.search(values)
    return found[1] if found else ""


def version(folder: Path, answer: str) -> str:
    """Return the version that a lab's values ask for, which Helm and Flux install.

    Args:
        folder: the lab's.
        answer: the answer gitlab_version; returned where the values name no exact version.
    """
    try:
        return version_in((folder / VALUES).read_text(encoding="utf-8")) or answer
    except (OSError, UnicodeDecodeError):
        return answer


def existence(registry: ImageRegistry, where: str, version: str) -> Existence:
    """Say whether a version of GitLab can be had."""
    return registry.existence(f"{where}:{version}-ce.0").existence


def missing(registry: ImageRegistry, where: str, version: str) -> str:
    """Say of a version of GitLab that it does not exist, and what does."""
    newest = newest_patch(registry, where, version)
    there = f"; the newest {_minor(version)} there is {newest}" if newest else ""
    return f"GitLab {version} does not exist: {where} has no {version}-ce.0{there}"


def newest_patch(registry: ImageRegistry, where: str, version: str) -> str | None:
    """Return the newest patch release of a version's x.y; nothing if there is none, None if nobody can tell."""
    prefix = f"{_minor(version)}."
    tags = registry.tags(where, prefix)
    if tags is None:
        return None
    found = [match[1] for tag in tags if (match := _TAG.fullmatch(tag))]
    return max(found, key=lambda one: versions.numbers(one) or (0, 0, 0), default="")


def newest(registry: ImageRegistry, where: str, since: str) -> str | None:
    """Return the newest version of GitLab that is not older than *since*, up to the newest major version whose required
    stops are known; nothing if there is none, None if nobody can tell."""
    first = (versions.numbers(since) or (0, 0, 0))[0]
    found = [since]
    for major in range(first, versions.NEWEST_MAJOR + 1):
        tags = registry.tags(where, f"{major}.")
        if tags is None:
            return None
        found += [match[1] for tag in tags if (match := _TAG.fullmatch(tag))]
    best = max(found, key=lambda one: versions.numbers(one) or (0, 0, 0))
    return best if best in found[1:] else ""


def _minor(version: str) -> str:
    return version.rpartition(".")[0]
