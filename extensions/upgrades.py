"""Which step from one GitLab to another is allowed. The lab's own pipeline asks the same of every commit (`./lab upgrade --check`).

Source: docs.gitlab.com/update/upgrade_paths/. Since 17.5 an upgrade has to stop at x.2, x.5, x.8 and x.11, whose migrations the
versions after it take for granted; jumping over one ends in a pod that crashes.
"""

from __future__ import annotations

from .values import version

STOPS = (2, 5, 8, 11)


def stops(installed: str, wanted: str) -> list[str]:
    """Return where an upgrade has to stop on the way, as `major.minor` in order.

    Args:
        installed: the version that runs, such as `19.3.0`.
        wanted: the version to go to. Neither of the two counts as a stop on the way.
    """
    first, last = version(installed)[:2], version(wanted)[:2]
    between = ((major, minor) for major in range(first[0], last[0] + 1) for minor in STOPS)
    return [f"{major}.{minor}" for major, minor in between if first < (major, minor) < last]


def upgrade_problem(installed: str, wanted: str) -> str | None:
    """Return why GitLab cannot go from one version to the other in one step, with the path to take; None where it can."""
    if version(wanted) < version(installed):
        return (
            f"`{wanted}` is older than `{installed}`, and GitLab cannot go back: its database has moved on; keep `{installed}`,"
            f" or restore a backup that was made with `{wanted}`"
        )
    on_the_way = stops(installed, wanted)
    if not on_the_way:
        return None
    path = ", then ".join(f"the newest {stop}" for stop in on_the_way)
    return (
        f"`{wanted}` jumps over {' and '.join(on_the_way)}, a required stop on the way from `{installed}`; take {path},"
        f" then `{wanted}`, and wait in between until the background migrations are done"
    )
