"""The way from one GitLab to another: which versions it stops at, and why.

https://docs.gitlab.com/update/upgrade_paths/
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import versions
from .errors import Failure

PAGE = "https://docs.gitlab.com/update/upgrade_paths/"
UNCHANGED = "nothing was changed"


@dataclass(frozen=True)
class Step:
    """One version on the way.

    Attributes:
        why: why GitLab stops there.
    """

    version: str
    why: str


def refusal(now: str, target: str) -> str:
    """Return why there is no way from one version to another; nothing if there is one."""
    if not versions.at_least(target, now):
        back = f"GitLab cannot go back from {now} to {target}: its database has moved on."
        return f"{back} Restore a backup that was made with {target}."
    if (versions.numbers(target) or (0, 0, 0))[0] > versions.NEWEST_MAJOR:
        known = f"which knows those up to GitLab {versions.NEWEST_MAJOR}"
        return f"The required stops of GitLab {target} are not known to this lab, {known}."
    return ""


def plan(now: str, target: str, newest_patch: Callable[[str], str | None]) -> list[Step]:
    """Return the versions to go to, one after the other; none if GitLab is there.

    Args:
        now, target: exact versions. `refusal` has nothing against them.
        newest_patch: gives the newest patch of a minor version such as 19.5; nothing if there is none, None if nobody
            can tell.
    Raises:
        Failure: a stop on the way has no version, or none that can be found out.
    """
    steps = []
    for stop in versions.required_stops(now, target):
        patch = newest_patch(stop)
        if patch is None:
            raise Failure(
                f"GitLab has to stop at {stop} on the way from {now} to {target}, and its registry does not say\n"
                f"from here which {stop} is the newest.",
                PAGE,
                f"look it up, and go there first: ./lab upgrade {stop}.N",
            )
        if not patch:
            what = f"GitLab has to stop at {stop} on the way from {now} to {target}, and its registry has no {stop}."
            raise Failure(what, "https://docs.gitlab.com/releases/", UNCHANGED)
        steps.append(Step(patch, f"required stop: the versions after {stop} take its migrations for granted"))
    if target != now:
        steps.append(Step(target, "where the way ends"))
    return steps
