"""The runners of the stand-in GitLab: to whom each belongs, and which jobs it takes."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

Item = dict[str, Any]
Answer = tuple[int, Any]
# What a runner was made with, and the list of runners does not show.
BELONGING = ("group_id", "project_id", "run_untagged", "locked", "access_level", "tag_list")


class Runners:
    """What GitLab knows of runners, and what its API does to them."""

    groups: list[Item]
    projects: list[Item]
    number: Callable[[], int]
    numbers: int
    project: Callable[[str], Item | None]
    without: Callable[..., Item]

    def __init__(self) -> None:
        super().__init__()
        self.runners: list[Item] = []
        self.verified_runners: tuple[int, ...] = ()  # no part of the state: GitLab forgets them by itself

    def runners_for(self, path: str, ref_is_protected: bool, tags: set[str]) -> list[str]:
        """Return the descriptions of the runners that would take a job of a project.

        A group's runner takes jobs of the group and all below it, a project's those of that project
        (https://docs.gitlab.com/ci/runners/runners_scope/); a protected one those of protected branches and tags
        (https://docs.gitlab.com/ci/runners/configure_runners/#prevent-runners-from-revealing-sensitive-information);
        a job with tags is taken by a runner that has them all, one without by a runner that runs untagged jobs
        (https://docs.gitlab.com/ci/runners/configure_runners/#control-jobs-that-a-runner-can-run).
        """
        found, project = [], self.project(path)
        for runner in self.runners:
            group = next((g["full_path"].lower() for g in self.groups if g["id"] == runner.get("group_id")), None)
            belongs = {
                "instance_type": True,
                "group_type": group is not None and path.lower().startswith(f"{group}/"),
                "project_type": project is not None and project["id"] == runner.get("project_id"),
            }[runner["runner_type"]]
            may = runner.get("access_level") != "ref_protected" or ref_is_protected
            fits = tags <= set(runner.get("tag_list") or ()) and (bool(tags) or runner.get("run_untagged", True))
            if belongs and may and fits:
                found.append(runner["description"])
        return found

    def get_runners_all(self, _o: Any, _s: Any, query: dict[str, str], *_: Any) -> Answer:
        """A check of its token counts as the runner's own word: lib/api/ci/helpers/runner.rb, authenticate_runner!."""
        seen = {"status": "online", "online": True}
        return 200, [
            self.without(one, "token", *BELONGING) | (seen if one["id"] in self.verified_runners else {})
            for one in self.runners
            if one["runner_type"] == query.get("type", one["runner_type"])
        ]

    def get_projects_one_runners(self, project: Item, *_: Any) -> Answer:
        """Those that may take a job of a project."""
        names = self.runners_for(project["path_with_namespace"], ref_is_protected=True, tags=set())
        found = [one for one in self.runners if one["description"] in names]
        return 200, [self.without(one, "token", *BELONGING) for one in found]

    def get_runners_one_managers(self, _o: Any, segments: Any, *_: Any) -> Answer:
        """The machines that have shown the runner's token; the one that runs it, once it does, and whoever verified it."""
        item = next((r for r in self.runners if str(r["id"]) == segments["id"]), None)
        if item is None:
            return 404, {"message": "404 Runner Not Found"}
        machines = [("lab-bootstrap", "online")] if item["id"] in self.verified_runners else []
        if item["status"] != "never_contacted":
            machines.append(("s_89e5e9956577", item["status"]))
        return 200, [
            {"id": number, "system_id": name, "contacted_at": None, "status": status}
            for number, (name, status) in enumerate(machines)
        ]

    def post_runners_verify(self, _o: Any, _s: Any, _q: Any, body: Item, _t: str) -> Answer:
        item = next((r for r in self.runners if r["token"] == body["token"]), None)
        if item is None:
            return 403, {"message": "403 Forbidden"}
        if item["token"].startswith("glrt-") and not body.get("system_id"):
            return 400, {"error": "system_id is missing"}
        self.verified_runners += (item["id"],)
        return 200, {"id": item["id"], "token": item["token"], "token_expires_at": None}

    def post_user_runners(self, _o: Any, _s: Any, _q: Any, body: Item, _t: str) -> Answer:
        kinds = {"group_type": (self.groups, "group_id"), "project_type": (self.projects, "project_id")}
        items, key = kinds.get(body["runner_type"], ([], ""))
        if key and key not in body:
            return 400, {"error": f"{key} is missing"}
        if key and not any(one["id"] == body[key] for one in items):
            return 400, {"message": "400 Bad request - Missing/invalid scope"}
        new = {"description": "", "paused": False, "status": "never_contacted", "online": False}
        self.runners.append(new | body | {"id": self.number(), "token": f"glrt-{secrets.token_urlsafe(15)}"})
        return 201, {"id": self.numbers, "token": self.runners[-1]["token"], "token_expires_at": None}
