"""Versions: comparing them, and the way from one GitLab to the next."""

from __future__ import annotations

import re

# Since 17.5 an upgrade has to stop at these minors, whose migrations the versions after them take for granted; jumping
# over one ends in a crash loop. https://docs.gitlab.com/update/upgrade_paths/
STOPS = (2, 5, 8, 11)
# GitLab has announced them by that rule. Whether it holds after this major version, the template does not know.
NEWEST_MAJOR = 19
_NUMBERS = re.compile(r"\d+(?:\.\d+){1,2}")


def numbers(text: str) -> tuple[int, int, int] | None:
    """Return the first x.y or x.y.z in a text, with 0 for what is missing; None if there is none. v1.2.3-rc1 is
    1.2.3."""
    found = _NUMBERS.search(text)
    if found is None:
        return None
    major, minor, patch = (*map(int, found[0].split(".")), 0)[:3]
    return major, minor, patch


def shown(text: str) -> str:
    """Return the version in a text as it is written there; nothing if there is none."""
    found = _NUMBERS.search(text)
    return found[0] if found else ""


def at_least(have: str, want: str) -> bool:
    """Say whether the version in *have* is that in *want* or newer. Without a version it is not."""
    mine, wanted = numbers(have), numbers(want)
    return mine is not None and wanted is not None and mine >= wanted


def required_stops(installed: str, wanted: str) -> list[str]:
    """Return the GitLab versions (x.y) where an upgrade has to stop on the way; neither end counts."""
    first, last = numbers(installed), numbers(wanted)
    if first is None or last is None:
        return []
    between = ((major, minor) for major in range(first[0], last[0] + 1) for minor in STOPS)
    return [f"{major}.{minor}" for major, minor in between if first[:2] < (major, minor) < last[:2]]


def upgrade_problem(installed: str, wanted: str) -> str:
    """Return why GitLab cannot go from one version to the other in one step; nothing if it can, or runs in no
    version."""
    if numbers(installed) is None:
        return ""
    if not at_least(wanted, installed):
        return f"GitLab {shown(installed)} is installed; this lab asks for {wanted}, and GitLab cannot go back."
    stops = required_stops(installed, wanted)
    if not stops:
        return ""
    path = ", then ".join(stops)
    return f"GitLab cannot go from {shown(installed)} to {wanted} in one step. It has to stop at {path} on the way."


def way_from(installed: str, wanted: str) -> str:
    """Return what an owner does who has asked for a version that GitLab cannot go to in one step."""
    now = shown(installed)
    back = f"write {now} back: ./lab update --data gitlab_version={now}, commit and push"
    return (
        back
        if not at_least(wanted, installed)
        else f"{back}; then\n./lab upgrade {wanted} goes there from stop to stop"
    )
