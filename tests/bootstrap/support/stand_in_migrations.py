"""What the stand-in GitLab keeps of its batched background migrations, as its finder and its API tell of them.

GitLab's app/finders/database/batched_background_migrations_finder.rb: the newest twenty of a database, and no pages.
"""

from __future__ import annotations

from typing import Any

Item = dict[str, Any]
Answer = tuple[int, Any]
DATABASES = ("main", "ci", "sec")
NEWEST = 20


class BackgroundMigrations:
    """Migrations of each database. One that is active is done after it was looked at as often as its `looks` says."""

    def __init__(self) -> None:
        super().__init__()
        self.migrations: list[Item] = []

    def add_migration(self, table: str, database: str = "main", status: str = "active", looks: int = 0) -> Item:
        """Queue a migration, as an upgrade does."""
        number = 1 + max((one["id"] for one in self.migrations if one["database"] == database), default=0)
        made = {
            "id": number,
            "job_class_name": f"Backfill{table.title().replace('_', '')}",
            "table_name": table,
            "column_name": "id",
            "status": status,
            "progress": 0.0,
            "created_at": f"2026-01-01T00:00:{number % 60:02}Z",
            "estimated_time_remaining": None,
            "database": database,
            "looks": looks,
        }
        self.migrations.append(made)
        return made

    def unfinished_migrations(self) -> list[str]:
        return [one["table_name"] for one in self.migrations if one["status"] not in ("finished", "finalized")]

    def _looked_at(self, one: Item) -> Item:
        if one["status"] == "active":
            one["looks"] -= 1
            one["progress"] = min(99.0, one["progress"] + 10)
            if one["looks"] < 0:
                one.update(status="finished", progress=100.0)
        return {name: value for name, value in one.items() if name not in ("database", "looks")}

    def get_admin_batched_background_migrations(
        self, _o: Any, _s: Any, query: dict[str, str], _b: Any, _t: str
    ) -> Answer:
        database = query.get("database", "main")
        if database not in DATABASES:
            return 400, {"error": "database does not have a valid value"}
        here = [one for one in self.migrations if one["database"] == database]
        return 200, [self._looked_at(one) for one in sorted(here, key=lambda one: -one["id"])[:NEWEST]]

    def get_admin_batched_background_migrations_one(
        self, _o: Any, segments: dict[str, str], query: dict[str, str], _b: Any, _t: str
    ) -> Answer:
        wanted = (query.get("database", "main"), segments["id"])
        found = [one for one in self.migrations if (one["database"], str(one["id"])) == wanted]
        return (200, self._looked_at(found[0])) if found else (404, {"message": "404 Not found"})
