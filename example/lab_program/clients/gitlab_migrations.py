"""GitLab's background migrations, through its API: https://docs.gitlab.com/api/admin/batched_background_migrations/."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .gitlab_requests import Requests, json_object, segment

# GitLab's databases that its Community Edition may have. One that is not set up has no migrations.
DATABASES = ("main", "ci", "sec")
# The list has so many at most, the newest, and no pages.
LISTED = 20
_PATH = "/admin/batched_background_migrations"


@dataclass(frozen=True)
class Migration:
    """A batched background migration.

    Attributes:
        status: paused, active, finished, failed, finalizing or finalized.
        progress: in percent; None where GitLab does not say.
    """

    database: str
    id: int
    job: str
    table: str
    status: str
    progress: float | None

    @property
    def is_done(self) -> bool:
        return self.status in ("finished", "finalized")

    def __str__(self) -> str:
        percent = "" if self.progress is None else f", {self.progress:.0f} %"
        return f"{self.database}_{self.id} {self.job} of {self.table} ({self.status}{percent})"


class Migrations(Requests):
    """The part of the API that is about background migrations."""

    def newest_migrations(self, database: str) -> list[Migration]:
        """Return the newest background migrations of a database, LISTED of them at most.

        None where GitLab does not know the database.
        """
        path, what = f"{_PATH}?database={segment(database)}", f"list the background migrations of {database}"
        answer = self._get(path, what, 200, 400)
        return [] if answer.status == 400 else [_migration(database, one) for one in json.loads(answer.body)]

    def migration(self, database: str, number: int) -> Migration | None:
        """Return one background migration; None where there is none of this number."""
        path = f"{_PATH}/{number}?database={segment(database)}"
        answer = self._get(path, f"show the background migration {number} of {database}", 200, 404)
        return None if answer.status == 404 else _migration(database, json_object(answer))


def _migration(database: str, one: Mapping[str, Any]) -> Migration:
    progress = one.get("progress")
    job, table, status = (str(one.get(name) or "") for name in ("job_class_name", "table_name", "status"))
    return Migration(database, int(one["id"]), job, table, status, None if progress is None else float(progress))
