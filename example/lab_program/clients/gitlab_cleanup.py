"""GitLab's REST API, as far as it says which image tags GitLab removes by itself.

https://docs.gitlab.com/user/packages/container_registry/reduce_container_registry_storage/#cleanup-policy
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .gitlab_requests import Requests, json_object, segment


@dataclass(frozen=True)
class CleanupPolicy:
    """A project's clean-up policy, under GitLab's names.

    Attributes:
        name_regex: the tags that it takes.
        name_regex_keep: the tags that it never takes, whatever name_regex says.
        keep_n: how many of an image's newest tags stay; None: none for their number.
        older_than: the age from which on it takes a tag, such as 90d; empty: at once.
        cadence: how often it runs.
    """

    enabled: bool
    name_regex: str
    name_regex_keep: str
    keep_n: int | None
    older_than: str
    cadence: str


class Cleanup(Requests):
    """Clean-up policies of projects."""

    def cleanup_policy(self, project: str) -> CleanupPolicy | None:
        """Return a project's policy; None if it has none, not even one that is off."""
        answer = self._get(f"/projects/{segment(project)}", f"show the clean-up policy of {project}")
        found = json_object(answer).get("container_expiration_policy")
        return _policy(found) if isinstance(found, dict) else None

    def set_cleanup_policy(self, project: str, policy: CleanupPolicy) -> None:
        body = {"container_expiration_policy_attributes": asdict(policy)}
        what = f"set the clean-up policy of {project}"
        self._transport.request("PUT", f"/projects/{segment(project)}", what, 200, body=body)


def _policy(one: Mapping[str, Any]) -> CleanupPolicy:
    texts = {name: str(one.get(name) or "") for name in ("name_regex", "name_regex_keep", "older_than", "cadence")}
    number = one.get("keep_n")
    return CleanupPolicy(enabled=one.get("enabled") is True, keep_n=int(number) if number else None, **texts)
