"""GitLab's REST API, as far as it is about code for machines: merge requests, and the state that OpenTofu keeps there.

https://docs.gitlab.com/api/merge_requests/, https://docs.gitlab.com/user/infrastructure/iac/terraform_state/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from .gitlab_requests import Requests, json_object, segment


@dataclass(frozen=True)
class MergeRequest:
    """A merge request: `state` is opened, closed, locked or merged, `commit` the last one of its source."""

    state: str
    commit: str
    url: str


class Infrastructure(Requests):
    """Merge requests between branches of one project, and states."""

    def merge_requests(self, project: str, source: str, target: str) -> list[MergeRequest]:
        """Return those from one branch to another, whatever became of them, the newest first."""
        wanted = urlencode({"state": "all", "source_branch": source, "target_branch": target})
        path = f"/projects/{segment(project)}/merge_requests?{wanted}"
        return [_merge_request(one) for one in self._list(path, f"merge requests of {project}")]

    def make_merge_request(self, project: str, source: str, target: str, title: str, description: str) -> MergeRequest:
        """Propose a branch, which stays when it has been merged."""
        body = {
            "source_branch": source,
            "target_branch": target,
            "title": title,
            "description": description,
            "remove_source_branch": False,
        }
        path = f"/projects/{segment(project)}/merge_requests"
        return _merge_request(json_object(self._post(path, f"open the merge request of {project}", body)))

    def has_state(self, project: str, name: str) -> bool:
        """Say whether a project keeps a state of a name. One that was only locked so far is none."""
        path = f"/projects/{segment(project)}/terraform/state/{segment(name)}"
        return self._get(path, f"show the state {name} of {project}", 200, 204, 404).status == 200

    def release_state(self, project: str, name: str, lock: str) -> bool:
        """Take away one lock of a state; return False where another one is there by now."""
        path = f"/projects/{segment(project)}/terraform/state/{segment(name)}/lock?{urlencode({'ID': lock})}"
        what = f"release the state {name} of {project}"
        return self._transport.request("DELETE", path, what, 200, 404, 409).status != 409


def _merge_request(one: Mapping[str, Any]) -> MergeRequest:
    return MergeRequest(str(one["state"]), str(one.get("sha") or ""), str(one.get("web_url", "")))
