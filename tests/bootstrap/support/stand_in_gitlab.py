"""A GitLab that keeps state, and what its REST API does to it. gitlab_http.py is the way in.

Status codes, messages and what is refused are GitLab's own; gitlab_api_table.py holds what may be asked.
"""

from __future__ import annotations

import datetime
import os
import re
import secrets
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.bootstrap.support.gitlab_api_table import find_endpoint
from tests.bootstrap.support.stand_in_access import ADMIN, MAINTAINER, Access
from tests.bootstrap.support.stand_in_applications import Applications
from tests.bootstrap.support.stand_in_infrastructure import Infrastructure
from tests.bootstrap.support.stand_in_migrations import BackgroundMigrations
from tests.bootstrap.support.stand_in_people import People
from tests.bootstrap.support.stand_in_runners import Runners

Item = dict[str, Any]
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
# What GitLab says of each token that is valid.
ALIVE = {"active": True, "revoked": False, "expired": False, "expires_at": None, "created_at": "2026-01-01T00:00:00Z"}
PLACES = ("project", "group")  # whose an item is, by its number
# The clean-up policy that GitLab makes with each project.
NO_CLEANUP = {
    "enabled": False,
    "cadence": "1d",
    "keep_n": 10,
    "older_than": "90d",
    "name_regex": ".*",
    "name_regex_keep": None,
}
# What may be there once in a project or a group, and how GitLab refuses the second.
UNIQUE = {
    "variables": ("key", 400),
    "deploy_keys": ("key", 400),
    "protected_branches": ("name", 409),
    "protected_tags": ("name", 409),
}


def first_words(text: str) -> list[str]:
    """Return what makes a text that has to be unique: of a public key its type and the key itself, not its comment."""
    return text.split()[:2]


class GitLab(Access, Applications, BackgroundMigrations, Infrastructure, People, Runners):
    """The state of one GitLab, and what its API does to it. All of it in plain dicts, so that it can be copied."""

    def __init__(self, repositories: Path) -> None:
        super().__init__()
        self.repositories = repositories
        self.numbers = 100
        self.pats: list[Item] = []
        self.groups: list[Item] = []
        self.projects: list[Item] = []
        self.deploy_tokens: list[Item] = []
        self.project_tokens: list[Item] = []
        self.deploy_keys: list[Item] = []
        self.protected_branches: list[Item] = []
        self.protected_tags: list[Item] = []
        self.variables: list[Item] = []
        self.hooks: list[Item] = []
        self.tags: list[Item] = []
        self.pipelines: list[Item] = []
        self.images: dict[str, list[str]] = {}
        self.whitelist: list[str] = []
        self.page_size = 100  # GitLab's own limit; smaller, and every list has several pages
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
        if project and not self.is_empty(path) and project["default_branch"] is None:
            heads = self.repository(path) / "refs" / "heads"
            branch = project["default_branch"] = min(head.name for head in heads.iterdir())
            made = self.made("protected_branches", {"name": branch})
            self.protected_branches.append({"project": project["id"]} | made)

    def key_may_push(self, path: str, branch: str, public_key: str) -> bool:
        """Whether Flux can push with this key: it may write, and a protected branch names it."""
        place = {"project": (self.project(path) or {}).get("id")}
        keys = [one for one in self.deploy_keys if place.items() <= one.items() and one["can_push"]]
        numbers = {one["id"] for one in keys if first_words(one["key"]) == first_words(public_key)}
        protected = [one for one in self.protected_branches if (place | {"name": branch}).items() <= one.items()]
        levels = [{level["deploy_key_id"] for level in one["push_access_levels"]} for one in protected]
        return bool(numbers) and all(numbers & allowed for allowed in levels)

    def registry_accepts(self, user: str, password: str) -> bool:
        return any((one["username"], one["token"]) == (user, password) for one in self.deploy_tokens)

    def group(self, name: str) -> Item | None:
        """Return a group by its number or its path."""
        return next((one for one in self.groups if name.lower() in (str(one["id"]), one["full_path"].lower())), None)

    def project(self, name: str) -> Item | None:
        """Return a project by its number or its path."""
        return next(
            (one for one in self.projects if name.lower() in (str(one["id"]), one["path_with_namespace"].lower())), None
        )

    def run_pipelines(self, runner_online: bool) -> None:
        """Time passes: a runner takes a job, and a job that ends well has pushed its image."""
        for pipeline in self.pipelines:
            path = (self.project(str(pipeline["project"])) or {})["path_with_namespace"]
            # Tags of the lab's projects are protected.
            taken = runner_online and self.runners_for(path, ref_is_protected=True, tags=set())
            if pipeline["status"] == "pending" and taken:
                pipeline["status"] = "running"
            elif pipeline["status"] == "running":
                pipeline["status"] = self.pipeline_result
                if self.pipeline_result == "success":
                    self.images.setdefault(path.lower(), []).append(pipeline["ref"])

    def forget_keys(self) -> None:
        """A key that is gone may push to no branch any more; GitLab's database sees to that."""
        known = {None, *(key["id"] for key in self.deploy_keys)}
        for branch in self.protected_branches:
            branch["push_access_levels"] = [p for p in branch["push_access_levels"] if p["deploy_key_id"] in known]

    # The API: a method of its own for what has rules of its own; everything else is kept, listed, shown and deleted alike

    def answer(self, method: str, path: str, query: dict[str, str], body: Item, token: str) -> Answer:
        found = find_endpoint(method, path)
        assert found is not None
        endpoint, segments = found[0], {key: unquote(value) for key, value in found[1].items()}
        if endpoint.authenticated and not self.known_token(token):
            return 401, {"message": "401 Unauthorized"}
        owner = self.owner(endpoint.path, segments)
        if owner is None:
            return 404, {"message": "404 Not Found"}
        place = owner.get("path_with_namespace") or owner.get("full_path") or ""
        denial = self.denial(token, place, MAINTAINER if place else ADMIN, reads=method == "GET")
        if denial and endpoint.authenticated and not endpoint.own:
            return denial
        name = "_".join([method.lower(), *re.findall(r"[a-z_]+", re.sub(r":\w+", "one", endpoint.path))])
        if hasattr(self, name):
            return getattr(self, name)(owner, segments, query, body, token)  # type: ignore[no-any-return]
        return self.kept(method, endpoint.path, owner, segments, body)

    def known_token(self, token: str) -> bool:
        everybody = [*self.pats, *self.project_tokens, *self.people, *self.jobs]
        return any(one["token"] == token and not one.get("revoked") for one in everybody)

    def owner(self, path: str, segments: dict[str, str]) -> Item | None:
        if path.startswith("/groups/:id"):
            return self.group(segments["id"])
        if path.startswith("/projects/:id"):
            return self.project(segments["id"])
        return {}

    @staticmethod
    def without(item: Item, *names: str) -> Item:
        return {key: value for key, value in item.items() if key not in names}

    def kept(self, method: str, path: str, owner: Item, segments: dict[str, str], body: Item) -> Answer:
        """Make, list, show or delete what a project, a group or the instance has."""
        *_, kind, last = [word for word in path.split("/") if not word.startswith(":")] + [path.rsplit("/", 1)[1]]
        items: list[Item] = getattr(self, {"access_tokens": "project_tokens"}.get(kind, kind))
        place = {path.split("/")[1].removesuffix("s"): owner["id"]} if owner else {}
        here = [one for one in items if place.items() <= one.items()]
        if method == "POST":
            refusal = self.refusal(kind, here, body)
            if refusal is None:
                items.append(place | self.made(kind, body))
                refusal = self.allow_keys(items[-1], body.get("allowed_to_push", []))
            return refusal or (201, self.without(items[-1], *PLACES, *(["token"] if kind == "hooks" else [])))
        if not last.startswith(":"):
            return 200, [self.without(one, *PLACES, "token") for one in here]
        wanted = segments[last[1:]]
        found = [one for one in here if wanted in (str(one.get("id")), one.get("name"), one.get("key"))]
        if not found:
            return 404, {"message": "404 Not Found"}
        if method == "GET":
            # A hidden value is shown to nobody: https://docs.gitlab.com/ci/variables/#hide-a-cicd-variable
            unseen = {"value": None} if found[0].get("hidden") else {}
            return 200, self.without(found[0], *PLACES, "token") | unseen
        items.remove(found[0])
        self.forget_keys()
        return 204, None

    def refusal(self, kind: str, here: list[Item], body: Item) -> Answer | None:
        """Return how GitLab refuses to make something; None if it makes it."""
        unique, status = UNIQUE.get(kind, ("", 0))
        if unique and any(first_words(one[unique]) == first_words(body[unique]) for one in here):
            return status, {"message": {unique: [f"({body[unique]}) has already been taken"]}}
        masked = body.get("masked") or body.get("masked_and_hidden")
        if kind == "variables" and masked and not re.fullmatch(r"\S{8,}", body["value"]):
            return 400, {"message": {"value": ["is invalid"]}}
        if kind == "hooks" and urlsplit(body["url"]).hostname not in self.whitelist:
            return 422, {"error": "Invalid url given"}
        if kind == "access_tokens":
            today = datetime.date.today()  # noqa: DTZ011
            if not today < datetime.date.fromisoformat(body["expires_at"]) <= today + datetime.timedelta(days=365):
                return 400, {"message": "400 Bad request - Expiration date must be before the maximum lifetime"}
        return None

    def made(self, kind: str, body: Item) -> Item:
        """Return what GitLab makes of what it was asked for."""
        number, secret = self.number(), secrets.token_urlsafe(15)
        push, merge, tags = ({"access_level": body.get(f"{do}_access_level", 40)} for do in ("push", "merge", "create"))
        if kind == "variables":
            hidden = body.get("masked_and_hidden", False)
            body = self.without(body, "masked_and_hidden") | {
                "hidden": hidden,
                "masked": hidden or body.get("masked", False),
            }
        added: dict[str, Item] = {
            "deploy_tokens": {"username": f"gitlab+deploy-token-{number}", "token": f"gldt-{secret}"} | ALIVE,
            "access_tokens": {"user_id": number, "access_level": 40, "token": f"glpat-{secret}"} | ALIVE,
            "variables": {"protected": False, "raw": False},
            "deploy_keys": {"can_push": False},
            "protected_tags": {"create_access_levels": [tags]},
            "protected_branches": {
                "allow_force_push": False,
                "push_access_levels": [push | {"id": self.number(), "deploy_key_id": None}],
                "merge_access_levels": [merge | {"id": self.number()}],
            },
            "hooks": {"token": None, "push_events": True, "enable_ssl_verification": True},
        }
        return {"id": number} | added.get(kind, {}) | body

    def delete_personal_access_tokens_self(self, _o: Any, _s: Any, _q: Any, _b: Any, token: str) -> Answer:
        for pat in self.pats:
            pat["revoked"] = pat["revoked"] or pat["token"] == token
        return 204, None

    def get_personal_access_tokens_self(self, _o: Any, _s: Any, _q: Any, _b: Any, token: str) -> Answer:
        item = next(one for one in [*self.pats, *self.project_tokens] if one["token"] == token)
        return 200, {"user_id": 1, "scopes": ["api"]} | ALIVE | self.without(item, "token", "project")

    def get_groups_one(self, group: Item, *_: Any) -> Answer:
        return 200, group

    def post_groups(self, _o: Any, _s: Any, _q: Any, body: Item, _t: str) -> Answer:
        parent = next((one for one in self.groups if one["id"] == body.get("parent_id")), None)
        path = f"{parent['full_path']}/{body['path']}" if parent else body["path"]
        if self.group(path):
            return 400, {"message": 'Failed to save group {:path=>["has already been taken"]}'}
        group = {"id": self.number(), "full_path": path, "visibility": "private", "parent_id": None} | body
        self.groups.append(group)
        return 201, group

    def get_projects_one(self, project: Item, *_: Any) -> Answer:
        return 200, project | {"empty_repo": self.is_empty(project["path_with_namespace"])}

    def post_projects(self, _o: Any, _s: Any, _q: Any, body: Item, _t: str) -> Answer:
        group = self.group(str(body.get("namespace_id")))
        if group is None:
            return 400, {"message": {"namespace": ["is not valid"]}}
        path = f"{group['full_path']}/{body['path']}"
        if self.project(path):
            return 400, {"message": {"path": ["has already been taken"], "name": ["has already been taken"]}}
        project = {
            "id": self.number(),
            "path_with_namespace": path,
            "visibility": "private",
            "default_branch": None,
            "ci_push_repository_for_job_token_allowed": False,
            "container_expiration_policy": dict(NO_CLEANUP),
        } | self.without(body, "namespace_id")
        self.projects.append(project)
        repository = self.repository(path)
        subprocess.run(["git", "init", "--quiet", "--template=", "--bare", str(repository)], check=True)
        with (repository / "config").open("a") as config:
            config.write(REPOSITORY)
        return 201, self.get_projects_one(project)[1]

    def put_projects_one(self, project: Item, _s: Any, _q: Any, body: Item, _t: str) -> Answer:
        policy = body.get("container_expiration_policy_attributes", {})
        if any(len(policy.get(name) or "") > 255 for name in ("name_regex", "name_regex_keep")):
            return 400, {
                "message": {"container_expiration_policy.name_regex_keep": ["is too long (maximum is 255 characters)"]}
            }
        project["container_expiration_policy"].update(policy)
        project.update(self.without(body, "container_expiration_policy_attributes"))
        return self.get_projects_one(project)

    def allow_keys(self, branch: Item, allowed: list[Item]) -> Answer | None:
        """In the Free tier only deploy keys may be named: https://gitlab.com/gitlab-org/gitlab/-/merge_requests/224542"""
        levels = branch.get("push_access_levels", [])
        for number in [entry.get("deploy_key_id") for entry in allowed]:
            wanted = {"id": number, "project": branch["project"], "can_push": True}
            if not any(wanted.items() <= key.items() for key in self.deploy_keys):
                return 422, {"message": ["Push access levels deploy key is not enabled for this project"]}
            if any(level["deploy_key_id"] == number for level in levels):
                return 422, {"message": ["Push access levels deploy key has already been taken"]}
            levels.append({"id": self.number(), "access_level": 40, "deploy_key_id": number})
        return None

    def patch_projects_one_protected_branches_one(
        self, project: Item, segments: dict[str, str], _q: Any, body: Item, _t: str
    ) -> Answer:
        wanted = {"project": project["id"], "name": segments["name"]}
        branch = next((one for one in self.protected_branches if wanted.items() <= one.items()), None)
        if branch is None:
            return 404, {"message": "404 Not found"}
        return self.allow_keys(branch, body.get("allowed_to_push", [])) or (200, self.without(branch, "project"))

    def get_application_settings(self, *_: Any) -> Answer:
        return 200, {"id": 1, "outbound_local_requests_whitelist": self.whitelist}

    def put_application_settings(self, _o: Any, _s: Any, _q: Any, body: Item, _t: str) -> Answer:
        self.whitelist = body["outbound_local_requests_whitelist"]
        return self.get_application_settings()

    def post_projects_one_repository_tags(self, project: Item, _s: Any, _q: Any, body: Item, _t: str) -> Answer:
        name, place = body["tag_name"], {"project": project["id"]}
        if any((place | {"name": name}).items() <= one.items() for one in self.tags):
            return 400, {"message": f"Tag {name} already exists"}
        if project["default_branch"] != body["ref"]:
            return 400, {"message": "Target main is invalid"}
        self.tags.append(place | {"name": name, "target": "0" * 40})
        url = f"http://gitlab/{project['path_with_namespace']}/-/pipelines/1"
        self.pipelines.append(place | {"id": self.number(), "ref": name, "status": "pending", "web_url": url})
        return 201, {"name": name, "target": "0" * 40}

    def get_projects_one_pipelines(self, project: Any, _s: Any, query: dict[str, str], *_: Any) -> Answer:
        shown = [p for p in self.pipelines if p["project"] == project["id"] and p["ref"] == query.get("ref", p["ref"])]
        return 200, [self.without(p, "project") for p in reversed(shown)]

    def get_projects_one_registry_repositories(self, project: Any, _s: Any, query: dict[str, str], *_: Any) -> Answer:
        path = project["path_with_namespace"].lower()
        tags = [{"name": tag, "path": f"{path}:{tag}"} for tag in self.images.get(path, [])]
        if not tags:
            return 200, []
        item = {"id": 1, "name": "", "path": path, "location": f"registry/{path}"}
        return 200, [item | ({"tags": tags} if query.get("tags") == "true" else {})]
