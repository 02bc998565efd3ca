"""GitLab's image: whether a version of it exists, and whether a newer patch is out, as far as its registry answers."""

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


def repository(folder: Path) -> str:
    """Return where a lab's GitLab comes from: an owner may have a copy of it elsewhere."""
    try:
        found = _REPOSITORY.search((folder / VALUES).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        found = None
    return found[1] if found else UPSTREAM


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


def _minor(version: str) -> str:
    return version.rpartition(".")[0]
