"""GitLab's REST API, as far as the lab needs it: one method a request, with what comes back as dataclasses.

https://docs.gitlab.com/api/rest/ describes each of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..secret import Secret, hidden_address
from .gitlab_access import MAINTAINER, Access
from .gitlab_applications import Applications
from .gitlab_cleanup import Cleanup
from .gitlab_infrastructure import Infrastructure
from .gitlab_migrations import Migrations
from .gitlab_people import People
from .gitlab_requests import json_object, segment
from .gitlab_runners import RunnerRequests
from .gitlab_transport import in_words
from .outbound import Outbound


@dataclass(frozen=True)
class Group:
    id: int
    path: str


@dataclass(frozen=True)
class Project:
    """A project; `is_empty` while nothing was pushed to it."""

    id: int
    path: str
    is_empty: bool
    default_branch: str
    jobs_may_push: bool


@dataclass(frozen=True)
class DeployToken:
    """A group's deploy token; `token` is known only where it was made just now."""

    id: int
    name: str
    username: str
    token: Secret


@dataclass(frozen=True)
class AccessToken:
    """A project's or a person's access token; it expires on the day `expires_at`, or never."""

    id: int
    name: str
    is_active: bool
    expires_at: str
    token: Secret


@dataclass(frozen=True)
class DeployKey:
    id: int
    title: str
    key: str
    may_write: bool

    @property
    def material(self) -> list[str]:
        """The key without its comment."""
        return self.key.split()[:2]


@dataclass(frozen=True)
class ProtectedBranch:
    """A protected branch, the deploy keys that may push to it, and the lowest roles that may push or merge."""

    name: str
    key_ids: tuple[int, ...]
    lowest_level: int


@dataclass(frozen=True)
class Hook:
    """A webhook; whoever knows its whole address can call it, so only its server is shown."""

    id: int
    server: str
    url: Secret

    @classmethod
    def at(cls, number: int, url: str) -> Hook:
        """Return the webhook to an address."""
        parts = urlsplit(url)
        return cls(number, f"{parts.scheme}://{parts.netloc}", hidden_address(url))


@dataclass(frozen=True)
class Pipeline:
    status: str
    url: str

    @property
    def is_over_in_vain(self) -> bool:
        """Whether it ended without success, so that nothing will come of it."""
        return self.status in ("failed", "canceled", "skipped")


class GitLab(Access, Applications, Cleanup, Infrastructure, Migrations, People, RunnerRequests):
    """The API. Every method may raise Failure, and those that make something AnswerLostError: see Transport.request."""

    # Groups and projects

    def group(self, path: str) -> Group | None:
        answer = self._get(f"/groups/{segment(path)}?with_projects=false", f"show the group {path}", 200, 404)
        return None if answer.status == 404 else _group(json_object(answer))

    def make_group(self, path: str, visibility: str, parent: Group | None) -> Group:
        name = path.rpartition("/")[2]
        body = {"name": name, "path": name, "visibility": visibility, "parent_id": parent.id if parent else None}
        if parent is None:
            del body["parent_id"]
        return _group(json_object(self._post("/groups", f"create the group {path}", body)))

    def project(self, path: str) -> Project | None:
        answer = self._get(f"/projects/{segment(path)}", f"show the project {path}", 200, 404)
        return None if answer.status == 404 else _project(json_object(answer))

    def make_project(self, path: str, visibility: str, group: Group) -> None:
        name = path.rpartition("/")[2]
        body = {"name": name, "path": name, "namespace_id": group.id, "visibility": visibility}
        self._post("/projects", f"create the project {path}", body)

    # Tokens

    def deploy_tokens(self, group: str, name: str) -> list[DeployToken]:
        """Return the active deploy tokens of a group that have a name."""
        path = f"/groups/{segment(group)}/deploy_tokens?active=true"
        return [_deploy_token(one) for one in self._list(path, f"deploy tokens of {group}") if one.get("name") == name]

    def delete_deploy_tokens(self, group: str, tokens: Sequence[DeployToken]) -> None:
        self._delete_each(f"/groups/{segment(group)}/deploy_tokens", [one.id for one in tokens])

    def make_deploy_token(self, group: str, name: str, scopes: Sequence[str], username: str = "") -> DeployToken:
        body: dict[str, Any] = {"name": name, "scopes": list(scopes), **({"username": username} if username else {})}
        return _deploy_token(
            json_object(self._post(f"/groups/{segment(group)}/deploy_tokens", f"make a deploy token of {group}", body))
        )

    def access_tokens(self, project: str, name: str) -> list[AccessToken]:
        """Return the active access tokens of a project that have a name."""
        path = f"/projects/{segment(project)}/access_tokens?state=active"
        return [
            _access_token(one) for one in self._list(path, f"access tokens of {project}") if one.get("name") == name
        ]

    def delete_access_tokens(self, project: str, tokens: Sequence[AccessToken]) -> None:
        self._delete_each(f"/projects/{segment(project)}/access_tokens", [one.id for one in tokens])

    def make_access_token(
        self, project: str, name: str, expires_at: str, scopes: Sequence[str] = ("api",), level: int = MAINTAINER
    ) -> AccessToken:
        body = {"name": name, "scopes": list(scopes), "access_level": level, "expires_at": expires_at}
        path = f"/projects/{segment(project)}/access_tokens"
        return _access_token(json_object(self._post(path, f"make the project access token {name}", body)))

    def own_token(self, token: Secret) -> AccessToken | None:
        """Return what GitLab knows of a token that it is shown; None where it does not take it."""
        path, what = "/personal_access_tokens/self", "show an access token"
        answer = self._transport.request("GET", path, what, 200, 401, 403, 404, token=token)
        return _access_token(json_object(answer)) if answer.status == 200 else None

    # The lab's project

    def deploy_keys(self, project: str) -> list[DeployKey]:
        path = f"/projects/{segment(project)}/deploy_keys"
        return [_deploy_key(one) for one in self._list(path, f"deploy keys of {project}")]

    def delete_deploy_keys(self, project: str, keys: Sequence[DeployKey]) -> None:
        self._delete_each(f"/projects/{segment(project)}/deploy_keys", [one.id for one in keys])

    def make_deploy_key(self, project: str, title: str, key: str) -> DeployKey:
        body = {"title": title, "key": key, "can_push": True}
        return _deploy_key(
            json_object(
                self._post(f"/projects/{segment(project)}/deploy_keys", f"add the deploy key of {project}", body)
            )
        )

    def protected_branch(self, project: str, name: str) -> ProtectedBranch | None:
        path = f"/projects/{segment(project)}/protected_branches/{segment(name)}"
        answer = self._get(path, f"show the protection of {name}", 200, 404)
        return None if answer.status == 404 else _branch(json_object(answer))

    def protect_branch(self, project: str, name: str, key: int) -> ProtectedBranch | None:
        """Protect a branch to which maintainers and a deploy key may push; None where it is protected meanwhile."""
        levels = {"push_access_level": MAINTAINER, "merge_access_level": MAINTAINER}
        body = {"name": name, **levels, "allowed_to_push": [{"deploy_key_id": key}]}
        answer = self._post(f"/projects/{segment(project)}/protected_branches", f"protect {name}", body, 201, 409)
        return None if answer.status == 409 else _branch(json_object(answer))

    def let_key_push(self, project: str, name: str, key: int) -> ProtectedBranch:
        """A protected branch takes pushes of a deploy key only where it names that key.

        https://docs.gitlab.com/user/project/repository/branches/protected/#enable-deploy-key-access
        """
        path = f"/projects/{segment(project)}/protected_branches/{segment(name)}"
        body = {"allowed_to_push": [{"deploy_key_id": key}]}
        return _branch(
            json_object(self._transport.request("PATCH", path, f"let Flux's key push to {name}", 200, body=body))
        )

    def hooks(self, project: str) -> list[Hook]:
        path = f"/projects/{segment(project)}/hooks"
        return [Hook.at(int(one["id"]), str(one["url"])) for one in self._list(path, f"webhooks of {project}")]

    def delete_hooks(self, project: str, hooks: Sequence[Hook]) -> None:
        self._delete_each(f"/projects/{segment(project)}/hooks", [one.id for one in hooks])

    def make_hook(self, project: str, url: Secret, token: Secret) -> str:
        """Make a webhook for pushes; return why GitLab does not take its address, or nothing."""
        body = {"url": url, "token": token, "push_events": True, "enable_ssl_verification": False}
        answer = self._post(f"/projects/{segment(project)}/hooks", f"make the webhook of {project}", body, 201, 422)
        return in_words(answer) if answer.status == 422 else ""

    def allowed_outbound(self) -> Outbound:
        """Return the private addresses that GitLab may call."""
        return Outbound.read(json_object(self._get("/application/settings", "show GitLab's settings")))

    def allow_outbound(self, allowed: Outbound, host: str) -> Outbound:
        """Let GitLab call one more; return what it may call then."""
        path, body = "/application/settings", allowed.body(host)
        answer = self._transport.request("PUT", path, "allow GitLab to call Flux", 200, body=body)
        return Outbound.read(json_object(answer))

    # What the loop leaves behind

    def tags(self, project: str) -> list[str]:
        return [
            str(one["name"])
            for one in self._list(f"/projects/{segment(project)}/repository/tags", f"tags of {project}")
        ]

    def has_tag(self, project: str, tag: str) -> bool:
        return (
            self._get(
                f"/projects/{segment(project)}/repository/tags/{segment(tag)}", f"show the tag {tag}", 200, 404
            ).status
            == 200
        )

    def make_tag(self, project: str, tag: str, ref: str, message: str) -> None:
        body = {"tag_name": tag, "ref": ref, "message": message}
        self._post(f"/projects/{segment(project)}/repository/tags", f"make the tag {tag}", body)

    def newest_pipeline(self, project: str, ref: str) -> Pipeline | None:
        path = f"/projects/{segment(project)}/pipelines?ref={segment(ref)}&per_page=1"
        found = json.loads(self._get(path, f"list pipelines of {project}").body)
        return Pipeline(str(found[0].get("status", "")), str(found[0].get("web_url", ""))) if found else None

    def image_tags(self, project: str) -> set[str]:
        """Return the tags of every image of a project."""
        path = f"/projects/{segment(project)}/registry/repositories?tags=true"
        found = json.loads(self._get(path, f"list images of {project}").body)
        return {str(tag["name"]) for one in found for tag in one.get("tags") or []}


def _group(one: Mapping[str, Any]) -> Group:
    return Group(int(one["id"]), str(one["full_path"]))


def _project(one: Mapping[str, Any]) -> Project:
    return Project(
        int(one["id"]),
        str(one.get("path_with_namespace", "")),
        one.get("empty_repo") is True,
        str(one.get("default_branch") or "main"),
        one.get("ci_push_repository_for_job_token_allowed") is True,
    )


def _deploy_token(one: Mapping[str, Any]) -> DeployToken:
    return DeployToken(
        int(one["id"]), str(one["name"]), str(one.get("username", "")), Secret(str(one.get("token", "")))
    )


def _access_token(one: Mapping[str, Any]) -> AccessToken:
    expires_at, token = str(one.get("expires_at") or ""), Secret(str(one.get("token", "")))
    return AccessToken(int(one["id"]), str(one.get("name", "")), one.get("active") is True, expires_at, token)


def _deploy_key(one: Mapping[str, Any]) -> DeployKey:
    return DeployKey(int(one["id"]), str(one["title"]), str(one["key"]), one.get("can_push") is True)


def _branch(one: Mapping[str, Any]) -> ProtectedBranch:
    pushes, merges = one.get("push_access_levels") or [], one.get("merge_access_levels") or []
    ids = (level.get("deploy_key_id") for level in pushes)
    # 0 stands for nobody.
    levels = [int(level.get("access_level") or 0) for level in (*pushes, *merges) if not level.get("deploy_key_id")]
    lowest = min((level for level in levels if level), default=MAINTAINER)
    return ProtectedBranch(str(one["name"]), tuple(int(key) for key in ids if key is not None), lowest)
