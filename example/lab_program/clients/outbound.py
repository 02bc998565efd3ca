"""Which private addresses GitLab may call: one setting of its API, that has had more than one name.

Whitelist until GitLab 19.2 renamed it (https://docs.gitlab.com/api/settings/). GitLab ignores a name that it does not
know, so the name that it answers with is the one to write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import Failure

# The newest first: where GitLab answers with two of them, the older is kept for older programs.
LISTS = ("outbound_local_requests_allowlist", "outbound_local_requests_whitelist")
# One address a line.
TEXTS = ("outbound_local_requests_allowlist_raw", "outbound_local_requests_whitelist_raw")


@dataclass(frozen=True)
class Outbound:
    """The setting as GitLab has it."""

    name: str
    hosts: tuple[str, ...]

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> Outbound:
        """Find it among GitLab's settings.

        Raises:
            Failure: it is not there.
        """
        for name in LISTS:
            if name in settings:
                return cls(name, tuple(map(str, settings[name] or ())))
        for name in TEXTS:
            if name in settings:
                return cls(name, tuple(str(settings[name] or "").split()))
        raise Failure(
            f"GitLab's settings have none of {', '.join(LISTS)}: this GitLab calls it otherwise.",
            "https://docs.gitlab.com/api/settings/",
            "allow the address by hand (Admin > Settings > Network > Outbound requests), and report it to the template",
        )

    def body(self, *more: str) -> dict[str, str | list[str]]:
        """Return what to write so that it has more hosts, and all that it has."""
        hosts = list(dict.fromkeys([*self.hosts, *more]))
        return {self.name: "\n".join(hosts) if self.name in TEXTS else hosts}
