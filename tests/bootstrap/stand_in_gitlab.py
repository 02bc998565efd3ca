"""A GitLab that keeps state: its REST API, Git over HTTP, the registry's front door, and the sample's page.

Status codes, messages and what is refused are GitLab's own; gitlab_api_table.py holds what may be asked.
"""

from __future__ import annotations

import base64
import datetime
import json
import os
import re
import secrets
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from gitlab_api_table import complaints, find_endpoint

Answer = tuple[int, Any]
# Whoever is let in may push. What comes stays in its pack: a test that starts again copies fewer files.
REPOSITORY = """\
[http]
	receivepack = true
[receive]
	unpackLimit = 1
[fastimport]
	unpackLimit = 1
"""
# What a runner was made with, and the list of runners does not show.
BELONGING = ("group_id", "project_id", "run_untagged", "locked", "access_level", "tag_list")
WEBHOOK_HOST = "webhook-receiver.flux-system.svc.cluster.local"


class GitLab:
    """The state of one GitLab, and what its API does to it. All of it in plain dicts, so that it can be copied."""

    def __init__(self, repositories: Path) -> None:
        self.repositories = repositories
        self.numbers = 100
        self.pats: list[dict[str, Any]] = []
        self.groups: list[dict[str, Any]] = []
        self.projects: list[dict[str, Any]] = []
        self.deploy_tokens: list[dict[str, Any]] = []
        self.project_tokens: list[dict[str, Any]] = []
        self.deploy_keys: list[dict[str, Any]] = []
        self.protected_branches: list[dict[str, Any]] = []
        self.protected_tags: list[dict[str, Any]] = []
        self.variables: list[dict[str, Any]] = []
        self.project_variables: list[dict[str, Any]] = []
        self.hooks: list[dict[str, Any]] = []
        self.runners: list[dict[str, Any]] = []
        self.verified_runners: tuple[int, ...] = ()  # no part of the state: GitLab forgets them by itself
        self.tags: list[dict[str, Any]] = []
        self.pipelines: list[dict[str, Any]] = []
        self.images: dict[str, list[str]] = {}
        self.whitelist: list[str] = []
        self.page_size = 100  # GitLab's own limit; smaller, and every list has several pages
        self.protects_new_branches = True
        self.pipeline_result = "success"

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    # What is not the API

    def new_pat(self, name: str) -> str:
        """What the Ruby of gitlab_login does: earlier tokens of that name go, a new one comes."""
        self.pats = [pat for pat in self.pats if pat["name"] != name]
        token = "glpat-" + secrets.token_urlsafe(15)
        self.pats.append({"id": self.number(), "name": name, "token": token, "revoked": False})
        return token

    def repository(self, path: str) -> Path:
        return self.repositories / f"{path.lower()}.git"

    def all_repositories(self) -> list[Path]:
        """Every repository there is; what is inside of one is not looked at."""
        found = []
        for folder, names, _ in os.walk(self.repositories):
            found += [Path(folder, name) for name in names if name.endswith(".git")]
            names[:] = [name for name in names if not name.endswith(".git")]
        return sorted(found)

    def is_empty(self, path: str) -> bool:
        heads = self.repository(path) / "refs" / "heads"
        return not any(heads.iterdir()) if heads.is_dir() else True

    def after_push(self, path: str) -> None:
        """A first push makes the default branch, and GitLab protects it."""
        project = self.project(path)
        if project is None or self.is_empty(path):
            return
        branch = sorted(p.name for p in (self.repository(path) / "refs" / "heads").iterdir())[0]
        if project["default_branch"] is None:
            project["default_branch"] = branch
            if self.protects_new_branches:
                self.protect(project["id"], branch, 40, 40)

    def protect(self, project: int, name: str, push: int, merge: int) -> dict[str, Any]:
        branch = {
            "id": self.number(),
            "project": project,
            "name": name,
            "allow_force_push": False,
            "push_access_levels": [{"id": self.number(), "access_level": push, "deploy_key_id": None}],
            "merge_access_levels": [{"id": self.number(), "access_level": merge}],
        }
        self.protected_branches.append(branch)
        return branch

    def key_may_push(self, path: str, branch: str, public_key: str) -> bool:
        """Whether Flux can push with this key: it may write, and a protected branch names it."""
        project = self.project(path)
        if project is None:
            return False
        words = public_key.split()[:2]
        for key in self.deploy_keys:
            if key["project"] == project["id"] and key["key"].split()[:2] == words and key["can_push"]:
                protected = [b for b in self.protected_branches if (b["project"], b["name"]) == (project["id"], branch)]
                return all(
                    any(level.get("deploy_key_id") == key["id"] for level in b["push_access_levels"]) for b in protected
                )
        return False

    def registry_accepts(self, user: str, password: str) -> bool:
        return any(t["username"] == user and t["token"] == password for t in self.deploy_tokens)

    def group(self, name: str) -> dict[str, Any] | None:
        return next(
            (
                g
                for g in self.groups
                if name in (str(g["id"]), g["full_path"]) or g["full_path"].lower() == name.lower()
            ),
            None,
        )

    def project(self, name: str) -> dict[str, Any] | None:
        return next(
            (p for p in self.projects if name == str(p["id"]) or p["path_with_namespace"].lower() == name.lower()), None
        )

    # The API: one method an endpoint, found by its method and path

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any], token: str) -> Answer:
        found = find_endpoint(method, path)
        assert found is not None
        endpoint, segments = found
        segments = {key: unquote(value) for key, value in segments.items()}
        if endpoint.authenticated and not self.known_token(token):
            return 401, {"message": "401 Unauthorized"}
        name = "_".join([method.lower(), *re.findall(r"[a-z_]+", re.sub(r":\w+", "one", endpoint.path))])
        owner = self.owner(endpoint.path, segments)
        if owner is None:
            kind = "Group" if "/groups/" in endpoint.path else "Project"
            return 404, {"message": f"404 {kind} Not Found"}
        return getattr(self, name)(owner, segments, query, body, token)

    def known_token(self, token: str) -> bool:
        return any(t["token"] == token and not t["revoked"] for t in [*self.pats, *self.project_tokens])

    def owner(self, path: str, segments: dict[str, str]) -> dict[str, Any] | None:
        if path.startswith("/groups/:id"):
            return self.group(segments["id"])
        if path.startswith("/projects/:id"):
            return self.project(segments["id"])
        return {}

    @staticmethod
    def without(item: dict[str, Any], *names: str) -> dict[str, Any]:
        return {key: value for key, value in item.items() if key not in names}

    def delete_personal_access_tokens_self(self, _o: Any, _s: Any, _q: Any, _b: Any, token: str) -> Answer:
        for pat in self.pats:
            pat["revoked"] = pat["revoked"] or pat["token"] == token
        return 204, None

    def get_personal_access_tokens_self(self, _o: Any, _s: Any, _q: Any, _b: Any, token: str) -> Answer:
        item = next(t for t in [*self.pats, *self.project_tokens] if t["token"] == token)
        shown = {
            "user_id": 1,
            "scopes": ["api"],
            "created_at": "2026-01-01T00:00:00Z",
            "expires_at": None,
            "active": True,
        }
        return 200, shown | self.without(item, "token", "project")

    def get_groups_one(self, group: Any, *_: Any) -> Answer:
        return 200, group

    def post_groups(self, _o: Any, _s: Any, _q: Any, body: dict[str, Any], _t: str) -> Answer:
        parent = next((g for g in self.groups if g["id"] == body.get("parent_id")), None)
        path = f"{parent['full_path']}/{body['path']}" if parent else body["path"]
        if self.group(path):
            return 400, {"message": 'Failed to save group {:path=>["has already been taken"]}'}
        group = {
            "id": self.number(),
            "name": body["name"],
            "path": body["path"],
            "full_path": path,
            "visibility": body.get("visibility", "private"),
            "parent_id": body.get("parent_id"),
        }
        self.groups.append(group)
        return 201, group

    def shown_project(self, project: dict[str, Any]) -> dict[str, Any]:
        return project | {"empty_repo": self.is_empty(project["path_with_namespace"])}

    def get_projects_one(self, project: Any, *_: Any) -> Answer:
        return 200, self.shown_project(project)

    def post_projects(self, _o: Any, _s: Any, _q: Any, body: dict[str, Any], _t: str) -> Answer:
        group = next((g for g in self.groups if g["id"] == body.get("namespace_id")), None)
        if group is None:
            return 400, {"message": {"namespace": ["is not valid"]}}
        path = f"{group['full_path']}/{body['path']}"
        if self.project(path):
            return 400, {"message": {"path": ["has already been taken"], "name": ["has already been taken"]}}
        project = {
            "id": self.number(),
            "name": body["name"],
            "path": body["path"],
            "path_with_namespace": path,
            "visibility": body.get("visibility", "private"),
            "default_branch": None,
            "ci_push_repository_for_job_token_allowed": False,
        }
        self.projects.append(project)
        repository = self.repository(path)
        repository.mkdir(parents=True)
        subprocess.run(["git", "init", "--quiet", "--template=", "--bare", str(repository)], check=True)
        with (repository / "config").open("a") as config:
            config.write(REPOSITORY)
        return 201, self.shown_project(project)

    def put_projects_one(self, project: Any, _s: Any, _q: Any, body: dict[str, Any], _t: str) -> Answer:
        project.update(body)
        return 200, self.shown_project(project)

    def get_groups_one_deploy_tokens(self, group: Any, *_: Any) -> Answer:
        return 200, [self.without(t, "token", "group") for t in self.deploy_tokens if t["group"] == group["id"]]

    def post_groups_one_deploy_tokens(self, group: Any, _s: Any, _q: Any, body: dict[str, Any], _t: str) -> Answer:
        number = self.number()
        token = {
            "id": number,
            "group": group["id"],
            "name": body["name"],
            "expires_at": None,
            "revoked": False,
            "expired": False,
            "username": body.get("username") or f"gitlab+deploy-token-{number}",
            "scopes": body["scopes"],
            "token": "gldt-" + secrets.token_urlsafe(15),
        }
        self.deploy_tokens.append(token)
        return 201, self.without(token, "group")

    def delete_groups_one_deploy_tokens_one(self, group: Any, segments: Any, *_: Any) -> Answer:
        return self.remove(
            self.deploy_tokens, lambda t: t["group"] == group["id"] and str(t["id"]) == segments["token_id"]
        )

    @staticmethod
    def remove(items: list[dict[str, Any]], chosen: Any) -> Answer:
        before = len(items)
        items[:] = [item for item in items if not chosen(item)]
        return (204, None) if len(items) < before else (404, {"message": "404 Not Found"})

    def get_groups_one_variables_one(self, group: Any, segments: Any, *_: Any) -> Answer:
        item = next((v for v in self.variables if (v["group"], v["key"]) == (group["id"], segments["key"])), None)
        return (200, self.without(item, "group")) if item else (404, {"message": "404 Variable Not Found"})

    def post_groups_one_variables(self, group: Any, _s: Any, _q: Any, body: dict[str, Any], _t: str) -> Answer:
        if any((v["group"], v["key"]) == (group["id"], body["key"]) for v in self.variables):
            return 400, {"message": {"key": [f"({body['key']}) has already been taken"]}}
        if body.get("masked") and not re.fullmatch(r"\S{8,}", body["value"]):
            return 400, {"message": {"value": ["is invalid"]}}
        item = {"masked": False, "protected": False, "raw": False} | body
        self.variables.append({"group": group["id"]} | item)
        return 201, item

    def delete_groups_one_variables_one(self, group: Any, segments: Any, *_: Any) -> Answer:
        return self.remove(self.variables, lambda v: (v["group"], v["key"]) == (group["id"], segments["key"]))

    def get_projects_one_variables_one(self, project: Any, segments: Any, *_: Any) -> Answer:
        chosen = (project["id"], segments["key"])
        item = next((v for v in self.project_variables if (v["project"], v["key"]) == chosen), None)
        return (200, self.without(item, "project")) if item else (404, {"message": "404 Variable Not Found"})

    def post_projects_one_variables(self, project: Any, _s: Any, _q: Any, body: dict[str, Any], _t: str) -> Answer:
        if any((v["project"], v["key"]) == (project["id"], body["key"]) for v in self.project_variables):
            return 400, {"message": {"key": [f"({body['key']}) has already been taken"]}}
        item = {"masked": False, "protected": False, "raw": False} | body
        self.project_variables.append({"project": project["id"]} | item)
        return 201, item

    def delete_projects_one_variables_one(self, project: Any, segments: Any, *_: Any) -> Answer:
        return self.remove(self.project_variables, lambda v: (v["project"], v["key"]) == (project["id"], segments["key"]))

    def get_projects_one_access_tokens(self, project: Any, *_: Any) -> Answer:
        return 200, [
            self.without(t, "token", "project")
            for t in self.project_tokens
            if t["project"] == project["id"] and t["active"]
        ]

    def post_projects_one_access_tokens(self, project: Any, _s: Any, _q: Any, body: dict[str, Any], _t: str) -> Answer:
        today = datetime.date.today()
        expiry = datetime.date.fromisoformat(body["expires_at"])
        if not today < expiry <= today + datetime.timedelta(days=365):
            return 400, {"message": "400 Bad request - Expiration date must be before the maximum lifetime"}
        item = {
            "id": self.number(),
            "project": project["id"],
            "name": body["name"],
            "scopes": body["scopes"],
            "active": True,
            "revoked": False,
            "user_id": self.number(),
            "expires_at": body["expires_at"],
            "created_at": "2026-01-01T00:00:00Z",
            "access_level": body.get("access_level", 40),
            "token": "glpat-" + secrets.token_urlsafe(15),
        }
        self.project_tokens.append(item)
        return 201, self.without(item, "project")

    def delete_projects_one_access_tokens_one(self, project: Any, segments: Any, *_: Any) -> Answer:
        return self.remove(
            self.project_tokens, lambda t: t["project"] == project["id"] and str(t["id"]) == segments["token_id"]
        )

    def get_projects_one_deploy_keys(self, project: Any, *_: Any) -> Answer:
        return 200, [self.without(k, "project") for k in self.deploy_keys if k["project"] == project["id"]]

    def post_projects_one_deploy_keys(self, project: Any, _s: Any, _q: Any, body: dict[str, Any], _t: str) -> Answer:
        if any(
            k["project"] == project["id"] and k["key"].split()[:2] == body["key"].split()[:2] for k in self.deploy_keys
        ):
            return 400, {"message": {"deploy_key.fingerprint_sha256": ["has already been taken"]}}
        item = {
            "id": self.number(),
            "project": project["id"],
            "title": body["title"],
            "key": body["key"],
            "can_push": body.get("can_push", False),
        }
        self.deploy_keys.append(item)
        return 201, self.without(item, "project")

    def delete_projects_one_deploy_keys_one(self, project: Any, segments: Any, *_: Any) -> Answer:
        answer = self.remove(
            self.deploy_keys, lambda k: k["project"] == project["id"] and str(k["id"]) == segments["key_id"]
        )
        self.forget_keys()
        return answer

    def forget_keys(self) -> None:
        """A key that is gone may push to no branch any more; GitLab's database sees to that."""
        known = {None, *(k["id"] for k in self.deploy_keys)}
        for branch in self.protected_branches:
            branch["push_access_levels"] = [p for p in branch["push_access_levels"] if p["deploy_key_id"] in known]

    def branch(self, project: Any, name: str) -> dict[str, Any] | None:
        return next((b for b in self.protected_branches if (b["project"], b["name"]) == (project["id"], name)), None)

    def get_projects_one_protected_branches_one(self, project: Any, segments: Any, *_: Any) -> Answer:
        item = self.branch(project, segments["name"])
        return (200, self.without(item, "project")) if item else (404, {"message": "404 Not found"})

    def allow_keys(self, project: Any, branch: dict[str, Any], allowed: list[dict[str, Any]]) -> Answer | None:
        for entry in allowed:
            # In the Free tier the array takes deploy keys only: https://gitlab.com/gitlab-org/gitlab/-/merge_requests/224542
            key = next(
                (
                    k
                    for k in self.deploy_keys
                    if k["id"] == entry.get("deploy_key_id") and k["project"] == project["id"]
                ),
                None,
            )
            if key is None or not key["can_push"]:
                return 422, {"message": ["Push access levels deploy key is not enabled for this project"]}
            if any(level["deploy_key_id"] == key["id"] for level in branch["push_access_levels"]):
                return 422, {"message": ["Push access levels deploy key has already been taken"]}
            branch["push_access_levels"].append({"id": self.number(), "access_level": 40, "deploy_key_id": key["id"]})
        return None

    def post_projects_one_protected_branches(
        self, project: Any, _s: Any, _q: Any, body: dict[str, Any], _t: str
    ) -> Answer:
        if self.branch(project, body["name"]):
            return 409, {"message": f"Protected branch '{body['name']}' already exists"}
        item = self.protect(
            project["id"], body["name"], body.get("push_access_level", 40), body.get("merge_access_level", 40)
        )
        return self.allow_keys(project, item, body.get("allowed_to_push", [])) or (201, self.without(item, "project"))

    def patch_projects_one_protected_branches_one(
        self, project: Any, segments: Any, _q: Any, body: dict[str, Any], _t: str
    ) -> Answer:
        item = self.branch(project, segments["name"])
        if item is None:
            return 404, {"message": "404 Not found"}
        return self.allow_keys(project, item, body.get("allowed_to_push", [])) or (200, self.without(item, "project"))

    def get_projects_one_protected_tags_one(self, project: Any, segments: Any, *_: Any) -> Answer:
        item = next(
            (t for t in self.protected_tags if (t["project"], t["name"]) == (project["id"], segments["name"])), None
        )
        return (200, self.without(item, "project")) if item else (404, {"message": "404 Not found"})

    def post_projects_one_protected_tags(self, project: Any, _s: Any, _q: Any, body: dict[str, Any], _t: str) -> Answer:
        if any((t["project"], t["name"]) == (project["id"], body["name"]) for t in self.protected_tags):
            return 409, {"message": f"Protected tag '{body['name']}' already exists"}
        item = {
            "project": project["id"],
            "name": body["name"],
            "create_access_levels": [{"access_level": body.get("create_access_level", 40)}],
        }
        self.protected_tags.append(item)
        return 201, self.without(item, "project")

    def get_application_settings(self, *_: Any) -> Answer:
        return 200, {"id": 1, "outbound_local_requests_whitelist": self.whitelist}

    def put_application_settings(self, _o: Any, _s: Any, _q: Any, body: dict[str, Any], _t: str) -> Answer:
        self.whitelist = body["outbound_local_requests_whitelist"]
        return self.get_application_settings()

    def get_projects_one_hooks(self, project: Any, *_: Any) -> Answer:
        return 200, [self.without(h, "project", "token") for h in self.hooks if h["project"] == project["id"]]

    def post_projects_one_hooks(self, project: Any, _s: Any, _q: Any, body: dict[str, Any], _t: str) -> Answer:
        if (urlsplit(body["url"]).hostname or "") not in self.whitelist:
            return 422, {"error": "Invalid url given"}
        item = {
            "id": self.number(),
            "project": project["id"],
            "url": body["url"],
            "token": body.get("token"),
            "push_events": body.get("push_events", True),
            "enable_ssl_verification": body.get("enable_ssl_verification", True),
        }
        self.hooks.append(item)
        return 201, self.without(item, "project", "token")

    def delete_projects_one_hooks_one(self, project: Any, segments: Any, *_: Any) -> Answer:
        return self.remove(self.hooks, lambda h: h["project"] == project["id"] and str(h["id"]) == segments["hook_id"])

    def get_runners_all(self, _o: Any, _s: Any, query: dict[str, str], *_: Any) -> Answer:
        """A check of its token counts as the runner's own word: lib/api/ci/helpers/runner.rb, authenticate_runner!."""
        seen = {"status": "online", "online": True}
        return 200, [
            self.without(r, "token", *BELONGING) | (seen if r["id"] in self.verified_runners else {})
            for r in self.runners
            if r["runner_type"] == query.get("type", r["runner_type"])
        ]

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

    def delete_runners_one(self, _o: Any, segments: Any, *_: Any) -> Answer:
        return self.remove(self.runners, lambda r: str(r["id"]) == segments["id"])

    def post_runners_verify(self, _o: Any, _s: Any, _q: Any, body: dict[str, Any], _t: str) -> Answer:
        item = next((r for r in self.runners if r["token"] == body["token"]), None)
        if item is None:
            return 403, {"message": "403 Forbidden"}
        if item["token"].startswith("glrt-") and not body.get("system_id"):
            return 400, {"error": "system_id is missing"}
        self.verified_runners += (item["id"],)
        return 200, {"id": item["id"], "token": item["token"], "token_expires_at": None}

    def post_user_runners(self, _o: Any, _s: Any, _q: Any, body: dict[str, Any], _t: str) -> Answer:
        kinds = {"group_type": (self.groups, "group_id"), "project_type": (self.projects, "project_id")}
        items, key = kinds.get(body["runner_type"], ([], ""))
        if key and key not in body:
            return 400, {"error": f"{key} is missing"}
        if key and not any(item["id"] == body[key] for item in items):
            return 400, {"message": "400 Bad request - Missing/invalid scope"}
        token = "glrt-" + secrets.token_urlsafe(15)
        item = {name: body[name] for name in BELONGING if name in body} | {
            "id": self.number(),
            "description": body.get("description", ""),
            "runner_type": body["runner_type"],
            "paused": False,
            "status": "never_contacted",
            "online": False,
            "token": token,
        }
        self.runners.append(item)
        return 201, {"id": item["id"], "token": token, "token_expires_at": None}

    def get_projects_one_repository_tags(self, project: Any, *_: Any) -> Answer:
        return 200, [self.without(t, "project") for t in self.tags if t["project"] == project["id"]]

    def get_projects_one_repository_tags_one(self, project: Any, segments: Any, *_: Any) -> Answer:
        item = next((t for t in self.tags if (t["project"], t["name"]) == (project["id"], segments["tag_name"])), None)
        return (200, self.without(item, "project")) if item else (404, {"message": "404 Tag Not Found"})

    def post_projects_one_repository_tags(
        self, project: Any, _s: Any, _q: Any, body: dict[str, Any], _t: str
    ) -> Answer:
        if any((t["project"], t["name"]) == (project["id"], body["tag_name"]) for t in self.tags):
            return 400, {"message": f"Tag {body['tag_name']} already exists"}
        if project["default_branch"] != body["ref"]:
            return 400, {"message": "Target main is invalid"}
        self.tags.append({"project": project["id"], "name": body["tag_name"], "target": "0" * 40})
        self.pipelines.append(
            {
                "id": self.number(),
                "project": project["id"],
                "ref": body["tag_name"],
                "status": "pending",
                "looks": 0,
                "web_url": f"http://gitlab/{project['path_with_namespace']}/-/pipelines/1",
            }
        )
        return 201, {"name": body["tag_name"], "target": "0" * 40}

    def get_projects_one_pipelines(self, project: Any, _s: Any, query: dict[str, str], *_: Any) -> Answer:
        shown = [p for p in self.pipelines if p["project"] == project["id"] and p["ref"] == query.get("ref", p["ref"])]
        return 200, [self.without(p, "project", "looks") for p in reversed(shown)]

    def get_projects_one_registry_repositories(self, project: Any, _s: Any, query: dict[str, str], *_: Any) -> Answer:
        path = project["path_with_namespace"].lower()
        tags = [{"name": tag, "path": f"{path}:{tag}"} for tag in self.images.get(path, [])]
        if not tags:
            return 200, []
        item = {"id": 1, "name": "", "path": path, "location": f"registry/{path}"}
        return 200, [item | ({"tags": tags} if query.get("tags") == "true" else {})]

    def run_pipelines(self, runner_online: bool) -> None:
        """Time passes: a runner takes a job, and a job that ends well has pushed its image."""
        for pipeline in self.pipelines:
            path = next(p["path_with_namespace"] for p in self.projects if p["id"] == pipeline["project"])
            # Tags of the lab's projects are protected.
            taken = runner_online and self.runners_for(path, ref_is_protected=True, tags=set())
            if pipeline["status"] == "pending" and taken:
                pipeline["status"] = "running"
            elif pipeline["status"] == "running":
                pipeline["status"] = self.pipeline_result
                if self.pipeline_result == "success":
                    project = next(p for p in self.projects if p["id"] == pipeline["project"])
                    self.images.setdefault(project["path_with_namespace"].lower(), []).append(pipeline["ref"])


class Handler(BaseHTTPRequestHandler):
    """One request: to the API, to Git, to the registry, or to the page of the sample application."""

    protocol_version = "HTTP/1.1"
    server: GitLabServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_ANY(self) -> None:
        world = self.server.world
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length) if length else b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            raw = self.read_chunks()
        url = urlsplit(self.path)
        try:
            if ".git/" in url.path:
                self.git(url.path, url.query, raw)
            elif url.path.startswith("/api/v4"):
                self.api(url.path[len("/api/v4") :], url.query, raw)
            else:
                with world.lock:
                    status, headers = self.other(url.path)
                self.reply(status, b"", headers)
        except ConnectionAbortedError:  # who asked was killed first
            self.drop()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_ANY

    def read_chunks(self) -> bytes:
        raw = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            raw += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return raw

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def drop(self) -> None:
        """The connection breaks without an answer."""
        self.close_connection = True

    def other(self, path: str) -> tuple[int, dict[str, str]]:
        world = self.server.world
        host = (self.headers.get("Host") or "").split(":")[0]
        world.see("http", f"{self.command} {host}{path}", [])
        settings = world.settings
        if host == settings["registry_host"] and path == "/v2/":
            realm = world.registry_realm or f"{settings['gitlab_url']}/jwt/auth"
            return 401, {"Www-Authenticate": f'Bearer realm="{realm}",service="container_registry"'}
        if host == settings["sample_host"]:
            return (200 if world.demo_runs() else 404), {}
        if path == "/jwt/auth":
            user, _, password = (
                base64.b64decode((self.headers.get("Authorization") or "").removeprefix("Basic "))
                .decode()
                .partition(":")
            )
            return (200 if world.gitlab.registry_accepts(user, password) else 401), {}
        if path == "/users/sign_in":
            return (200 if world.gitlab_is_ready() else 502), {}
        return 404, {}

    def api(self, path: str, query_text: str, raw: bytes) -> None:
        world = self.server.world
        token = self.headers.get("PRIVATE-TOKEN", "")
        query = dict(parse_qsl(query_text, keep_blank_values=True))
        with world.lock:
            world.see("api", f"{self.command} {path}", [])
            found = find_endpoint(self.command, path)
            if found is None:
                world.errors.append(f"{self.command} {path} is in no table of GitLab's documentation")
                return self.reply(404, b'{"error":"404 Not Found"}')
            body: Any = {}
            if raw:
                body = json.loads(raw)
                if self.headers.get("Content-Type") != "application/json":
                    world.errors.append(f"{found[0].name}: a body that is not declared as JSON")
            world.errors += complaints(found[0], query, body)
            world.requests.add(found[0].name)
            fault = world.fault_for("api", f"{self.command} {path}")
            if fault and fault.before(self):
                return None
            before = world.fingerprint(reading=self.command == "GET")
            status, content = world.gitlab.answer(self.command, path, query, body, token)
            if status not in found[0].answers and status < 400:
                world.errors.append(f"{found[0].name}: the stand-in answers {status}, which is not documented")
            headers = {"Content-Type": "application/json"}
            if isinstance(content, list):
                content, more = self.page(content, query, world.gitlab.page_size)
                headers |= more
            self.check_answer(found[0], status, content)
            if world.changed_since(before, f"{self.command} {path}"):
                return self.drop()
            world.remember_secrets(content)
            text = b"" if content is None else json.dumps(content).encode()
            if fault and fault.after(self, status, text):
                return None
            return self.reply(status, text, headers)

    def check_answer(self, endpoint: Any, status: int, content: Any) -> None:
        """The stand-in itself keeps to the documented attributes."""
        for item in content if isinstance(content, list) else [content]:
            missing = set(endpoint.answers.get(status, ())) - set(item or ())
            if missing:
                self.server.world.errors.append(f"{endpoint.name}: the stand-in's answer lacks {sorted(missing)}")

    @staticmethod
    def page(items: list[Any], query: dict[str, str], limit: int) -> tuple[list[Any], dict[str, str]]:
        """GitLab's offset pagination: https://docs.gitlab.com/api/rest/#pagination"""
        size = min(int(query.get("per_page", "20")), limit)
        number = int(query.get("page", "1"))
        shown = items[(number - 1) * size : number * size]
        following = str(number + 1) if number * size < len(items) else ""
        return shown, {
            "X-Next-Page": following,
            "X-Page": str(number),
            "X-Per-Page": str(size),
            "X-Total": str(len(items)),
        }

    def git(self, path: str, query: str, raw: bytes) -> None:
        """Git over HTTP: git's own http-backend, behind GitLab's log-in."""
        world = self.server.world
        name = path.split(".git/")[0].strip("/")
        with world.lock:
            if not self.git_login(name):
                return self.reply(401, b"", {"Www-Authenticate": 'Basic realm="GitLab"'})
            world.see("git", f"{self.command} {path}", [])
            fault = world.fault_for("git", f"{self.command} {path}?{query}")
            if fault and fault.before(self):
                return None
            before = world.fingerprint(reading=self.command == "GET")
            status, headers, body = self.http_backend(name, path, query, raw)
            if path.endswith("git-receive-pack") and self.command == "POST" and not name.startswith("external"):
                world.gitlab.after_push(name)
            if world.changed_since(before, f"push {name}"):
                return self.drop()
            if fault and fault.after(self, status, body):
                return None
            return self.reply(status, body, headers)

    def git_login(self, name: str) -> bool:
        world = self.server.world
        user, _, password = (
            base64.b64decode((self.headers.get("Authorization") or "").removeprefix("Basic ")).decode().partition(":")
        )
        if name.startswith("external"):
            return (user, password) in world.external_logins
        return world.gitlab.known_token(password) and world.gitlab.project(name) is not None

    def http_backend(self, name: str, path: str, query: str, raw: bytes) -> tuple[int, dict[str, str], bytes]:
        repositories = self.server.world.gitlab.repositories
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(repositories),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": "root",
            "PATH_INFO": f"/{name.lower()}.git/{path.split('.git/')[1]}",
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(raw)),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "GIT_CONFIG_NOSYSTEM": "1",
            "HOME": "/nonexistent",
        }
        if self.headers.get("Content-Encoding"):
            environment["HTTP_CONTENT_ENCODING"] = self.headers["Content-Encoding"]
        result = subprocess.run(["git", "http-backend"], input=raw, env=environment, capture_output=True, check=False)
        head, _, body = result.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        return int(headers.pop("Status", "200").split()[0]), headers, body


class GitLabServer(ThreadingHTTPServer):
    """The HTTP server of a world, on a free port of the loopback."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, world: Any) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.world = world
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    @property
    def port(self) -> int:
        return self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        import sys

        error = sys.exc_info()[1]
        if not isinstance(error, (BrokenPipeError, ConnectionResetError)):
            self.world.errors.append(f"the stand-in GitLab failed: {error!r}")

    def stop(self) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()


class Fault:
    """What goes wrong with the requests that match: how often (0: always), and how.

    kinds: a status (500, 429 with `retry_after`), `reset` (no answer, nothing done), `lost` (done, no answer),
    `half` (done, half an answer), `slow` (an answer that comes too late).
    """

    def __init__(
        self,
        source: str,
        pattern: str,
        kind: int | str,
        times: int = 0,
        retry_after: str | None = None,
        message: str = "",
    ) -> None:
        self.message = message or f"{kind} by order"
        self.source, self.pattern, self.kind, self.times, self.retry_after = (
            source,
            re.compile(pattern),
            kind,
            times,
            retry_after,
        )
        self.hits = 0

    def applies(self, source: str, detail: str) -> bool:
        if source != self.source or not self.pattern.search(detail) or (self.times and self.hits >= self.times):
            return False
        self.hits += 1
        return True

    def before(self, handler: Handler) -> bool:
        if isinstance(self.kind, int):
            headers = {"Content-Type": "application/json"} | (
                {"Retry-After": self.retry_after} if self.retry_after else {}
            )
            handler.reply(self.kind, json.dumps({"message": self.message}).encode(), headers)
            return True
        if self.kind == "reset":
            handler.drop()
            return True
        return False

    def after(self, handler: Handler, status: int, text: bytes) -> bool:
        if self.kind == "lost":
            handler.drop()
            return True
        if self.kind == "half":
            handler.send_response(status)
            handler.send_header("Content-Length", str(max(len(text), 2)))
            handler.end_headers()
            handler.wfile.write(text[: len(text) // 2])
            handler.drop()
            return True
        if self.kind == "slow":
            time.sleep(1.3)
        return False
