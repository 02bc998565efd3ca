"""What the stand-in GitLab keeps for code of machines: merge requests, and OpenTofu's states with their locks.

The states' API is in no page of the REST API: https://docs.gitlab.com/user/infrastructure/iac/terraform_state/ names it, and
GitLab's lib/api/terraform/state.rb says how it answers.
"""

from __future__ import annotations

import datetime
import json
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.bootstrap.support.stand_in_access import DEVELOPER, MAINTAINER

Item = dict[str, Any]
Answer = tuple[int, Any]
STATE = re.compile(r"/projects/([^/]+)/terraform/state/([^/]+)(/lock)?$")
# What a lock has to say of itself.
LOCK = ("ID", "Operation", "Info", "Who", "Version", "Created", "Path")


class Infrastructure:
    """Merge requests and states."""

    number: Callable[[], int]
    project: Callable[[str], Item | None]
    repository: Callable[[str], Path]
    level: Callable[[str, str], int]
    known_token: Callable[[str], bool]

    def __init__(self) -> None:
        super().__init__()
        self.merge_requests: list[Item] = []
        self.states: list[Item] = []

    # Merge requests

    def branch(self, path: str, name: str) -> str:
        head = self.repository(path) / "refs" / "heads" / name
        return head.read_text().strip() if head.is_file() else ""

    def get_projects_one_merge_requests(
        self, project: Item, _s: Any, query: dict[str, str], _b: Any, _t: str
    ) -> Answer:
        wanted = {key: value for key, value in query.items() if key in ("source_branch", "target_branch")}
        if query.get("state", "all") != "all":
            wanted["state"] = query["state"]
        found = [one for one in reversed(self.merge_requests) if one["project"] == project["id"]]
        return 200, [self.request_now(project, one) for one in found if wanted.items() <= one.items()]

    def post_projects_one_merge_requests(self, project: Item, _s: Any, _q: Any, body: Item, _t: str) -> Answer:
        path = project["path_with_namespace"]
        missing = [body[key] for key in ("source_branch", "target_branch") if not self.branch(path, body[key])]
        if missing:
            return 400, {"message": [f"Source branch {missing[0]} does not exist"]}
        same = {"project": project["id"], **{key: body[key] for key in ("source_branch", "target_branch")}}
        if any((same | {"state": "opened"}).items() <= one.items() for one in self.merge_requests):
            return 409, {"message": ["Another open merge request already exists for this source branch"]}
        iid = sum(one["project"] == project["id"] for one in self.merge_requests) + 1
        url = f"http://gitlab/{path}/-/merge_requests/{iid}"
        self.merge_requests.append(same | body | {"iid": iid, "state": "opened", "sha": "", "web_url": url})
        return 201, self.request_now(project, self.merge_requests[-1])

    def request_now(self, project: Item, request: Item) -> Item:
        """Return a merge request as it is shown: an open one is at its branch's commit."""
        head = self.branch(project["path_with_namespace"], request["source_branch"])
        live = {"sha": head} if request["state"] == "opened" else {}
        return {key: value for key, value in request.items() if key != "project"} | live

    def merge(self, path: str, *, squash: bool = False) -> bool:
        """Press Merge in a project's open merge request; return False where Git finds conflicts."""
        project = self.project(path)
        assert project is not None
        request = next(r for r in self.merge_requests if r["project"] == project["id"] and r["state"] == "opened")
        request["sha"] = self.branch(path, request["source_branch"])
        with tempfile.TemporaryDirectory() as folder:

            def git(*words: str) -> int:
                who = ["-c", "user.name=maintainer", "-c", "user.email=m@lab", "-c", "commit.gpgsign=false"]
                return subprocess.run(["git", "-C", folder, *who, *words], capture_output=True, check=False).returncode

            assert git("clone", "--quiet", str(self.repository(path)), ".") == 0
            assert git("checkout", "--quiet", request["target_branch"]) == 0
            kind = ["--squash"] if squash else ["--no-ff", "-m", request["title"]]
            if git("merge", *kind, f"origin/{request['source_branch']}"):
                return False
            if squash:
                assert git("commit", "--quiet", "--message", request["title"]) == 0
            assert git("push", "--quiet", "origin", request["target_branch"]) == 0
        request["state"] = "merged"
        return True

    # States

    def state_answer(
        self, method: str, path: str, query: dict[str, str], raw: bytes, token: str
    ) -> tuple[int, bytes] | None:
        """Answer a request for a state; None where a path is none."""
        match = STATE.match(path)
        if match is None:
            return None
        project = self.project(unquote(match[1]))
        if not self.known_token(token):
            return 401, b'{"message":"401 Unauthorized"}'
        level = self.level(token, project["path_with_namespace"]) if project else 0
        if project is None or not level:
            return 404, b'{"message":"404 Project Not Found"}'
        if level < (DEVELOPER if method == "GET" else MAINTAINER):
            return 403, b'{"message":"403 Forbidden"}'
        key = {"project": project["id"], "name": unquote(match[2])}
        found = next((one for one in self.states if key.items() <= one.items()), None)
        if found is None and method == "POST":
            found = key | {"versions": [], "lock": None}
            self.states.append(found)
        if found is None:
            return 404, b'{"message":"404 Not Found"}'
        return self.lock_answer(method, found, query, raw) if match[3] else self.file_answer(method, found, query, raw)

    def file_answer(self, method: str, state: Item, query: dict[str, str], raw: bytes) -> tuple[int, bytes]:
        if method == "GET":
            return (200, state["versions"][-1].encode()) if state["versions"] else (204, b"")
        if state["lock"] is not None and state["lock"]["ID"] != query.get("ID"):
            return 409, b""
        if method == "POST" and raw:
            state["versions"].append(raw.decode())
        elif method == "DELETE":
            self.states.remove(state)
        return 200, b""

    @staticmethod
    def lock_answer(method: str, state: Item, query: dict[str, str], raw: bytes) -> tuple[int, bytes]:
        body = json.loads(raw) if raw else {}
        if method == "DELETE":
            given = body.get("ID") or query.get("ID")
            if state["lock"] is not None and given not in (None, state["lock"]["ID"]):
                return 409, b""
            state["lock"] = None
            return 200, b"200"
        missing = [name for name in LOCK if name not in body]
        if missing:
            return 400, json.dumps({"error": f"{missing[0]} is missing"}).encode()
        told = {name: body[name] for name in ("Operation", "Info", "Version", "Path")}
        if state["lock"] is not None:
            return 409, json.dumps(told | state["lock"]).encode()
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        state["lock"] = {"ID": body["ID"], "Who": "root", "Created": now}
        return 200, json.dumps(told | state["lock"]).encode()
