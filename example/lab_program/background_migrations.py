"""GitLab's background migrations: an upgrade may go on only when all of them are done, those of earlier versions too.

https://docs.gitlab.com/update/background_migrations/
"""

from __future__ import annotations

from collections.abc import Sequence

from .clients.gitlab_migrations import DATABASES, LISTED, Migration
from .errors import Failure
from .lab import Lab
from .patience import TimedOutError

SHOWN = 3


class BackgroundMigrations:
    """The background migrations of one lab's GitLab, as far as a run has seen them."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        # What is done stays done, and a number that nobody has is never given again.
        self._settled: set[tuple[str, int]] = set()

    def unfinished(self) -> list[Migration]:
        """Return those that are not done, of all databases."""
        return [one for database in DATABASES for one in self._unfinished_of(database)]

    def _unfinished_of(self, database: str) -> list[Migration]:
        newest = self._lab.gitlab.newest_migrations(database)
        found = {one.id: one for one in newest}
        # The list ends after the newest; what is older has a lower number.
        older = range(min(found) - 1, 0, -1) if len(newest) >= LISTED else ()
        for number in older:
            if (database, number) not in self._settled:
                one = self._lab.gitlab.migration(database, number)
                if one is None:
                    self._settled.add((database, number))
                else:
                    found[number] = one
        self._settled |= {(database, one.id) for one in found.values() if one.is_done}
        return [one for _, one in sorted(found.items()) if not one.is_done]

    def wait(self, version: str) -> None:
        """Wait until all are done.

        Args:
            version: of GitLab, for the owner.
        Raises:
            Failure: one has failed or is paused, or they take longer than the owner waits.
        """
        lab, minutes = self._lab, self._lab.limits.wait_migrations_minutes
        try:
            lab.patience.wait(minutes, "background migrations", self._probe)
        except TimedOutError as late:
            raise Failure(
                f"The background migrations of GitLab {version} are not done after {minutes} minutes: {late}",
                self._page("queued"),
                "they go on by themselves: run ./lab upgrade again later, or let it wait longer with\n"
                "LAB_WAIT_MIGRATIONS_MINUTES=1000",
            ) from late
        lab.console.have(f"the background migrations of GitLab {version} are done")

    def _probe(self) -> str | None:
        left = self.unfinished()
        failed = [one for one in left if one.status == "failed"]
        if failed:
            raise self._failure(failed)
        paused = [one for one in left if one.status == "paused"]
        if paused:
            raise Failure(
                f"Background migrations are paused, and nothing resumes them by itself:\n{_lines(paused)}",
                self._page("queued"),
                "resume each on that page, then run ./lab upgrade again",
            )
        return f"{len(left)} to go: {', '.join(map(str, left[:SHOWN]))}" if left else None

    def _failure(self, failed: Sequence[Migration]) -> Failure:
        namespace = self._lab.settings.gitlab_namespace
        return Failure(
            f"Background migrations have failed, and an upgrade needs all of them to be done:\n{_lines(failed)}",
            f"{self._page('failed')}, which shows why\n"
            f"kubectl exec deploy/gitlab -n {namespace} -- gitlab-rake gitlab:background_migrations:list",
            "retry each on that page, then run ./lab upgrade again. If it fails again:\n"
            "https://docs.gitlab.com/update/background_migrations_troubleshooting/",
        )

    def _page(self, tab: str) -> str:
        return f"{self._lab.settings.gitlab_url}/admin/background_migrations?tab={tab}"


def _lines(migrations: Sequence[Migration]) -> str:
    return "\n".join(map(str, migrations))
