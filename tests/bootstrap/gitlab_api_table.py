"""GitLab's REST API as far as the bootstrap uses it: endpoint, parameters, answers, and the page that says so.

The stand-in server refuses whatever is not in here, so a request that GitLab does not document fails its test.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

DOCS = "https://docs.gitlab.com/api/"


@dataclass(frozen=True)
class Parameter:
    """One documented attribute: its JSON type (`array:string` is a list of them), and whether it must be there."""

    type: str
    required: bool = False
    values: tuple[Any, ...] = ()

    def accepts(self, value: Any) -> bool:
        if self.values and value not in self.values:
            return False
        if self.type.startswith("array:"):
            return isinstance(value, list) and all(Parameter(self.type[6:]).accepts(item) for item in value)
        if self.type == "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        return isinstance(value, {"string": str, "boolean": bool, "object": dict}[self.type])


@dataclass(frozen=True)
class Endpoint:
    """One documented request.

    Args:
        method, path: as the documentation writes them; `:name` is a segment, and `:id` may be an encoded path.
        page: where it is documented, below DOCS.
        query, body: the documented attributes, by name; pagination's are known wherever `paginated` is set.
        answers: status to the attributes that its JSON carries (for a list: each of its items).
        authenticated: a PRIVATE-TOKEN is needed.
    """

    method: str
    path: str
    page: str
    query: dict[str, Parameter] = field(default_factory=dict)
    body: dict[str, Parameter] = field(default_factory=dict)
    answers: dict[int, tuple[str, ...]] = field(default_factory=dict)
    paginated: bool = False
    authenticated: bool = True

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def pattern(self) -> re.Pattern[str]:
        return re.compile("^" + re.sub(r":(\w+)", r"(?P<\1>[^/]+)", self.path) + "$")


def string(required: bool = False, *values: str) -> Parameter:
    return Parameter("string", required, values)


def boolean(required: bool = False) -> Parameter:
    return Parameter("boolean", required)


def integer(required: bool = False, *values: int) -> Parameter:
    return Parameter("integer", required, values)


def array(of: str, required: bool = False) -> Parameter:
    return Parameter(f"array:{of}", required)


VISIBILITY = ("private", "internal", "public")
GROUP = ("id", "name", "path", "full_path", "visibility", "parent_id")
PROJECT = (
    "id",
    "name",
    "path",
    "path_with_namespace",
    "visibility",
    "default_branch",
    "empty_repo",
    "ci_push_repository_for_job_token_allowed",
)
DEPLOY_TOKEN = ("id", "name", "username", "expires_at", "revoked", "expired", "scopes")
ACCESS_TOKEN = ("id", "name", "revoked", "active", "scopes", "user_id", "expires_at", "created_at")
DEPLOY_KEY = ("id", "title", "key", "can_push")
PROTECTED_BRANCH = ("id", "name", "push_access_levels", "merge_access_levels", "allow_force_push")
HOOK = ("id", "url", "push_events", "enable_ssl_verification")
RUNNER = ("id", "description", "runner_type", "status", "online", "paused")

ENDPOINTS = [
    Endpoint("DELETE", "/personal_access_tokens/self", "personal_access_tokens/#self-revoke", answers={204: ()}),
    Endpoint("GET", "/personal_access_tokens/self", "personal_access_tokens/#self-inform", answers={200: ACCESS_TOKEN}),
    # Groups and projects
    Endpoint(
        "GET", "/groups/:id", "groups/#retrieve-a-group", query={"with_projects": boolean()}, answers={200: GROUP}
    ),
    Endpoint(
        "POST",
        "/groups",
        "groups/#create-a-group",
        body={
            "name": string(True),
            "path": string(True),
            "visibility": string(False, *VISIBILITY),
            "parent_id": integer(),
        },
        answers={201: GROUP},
    ),
    Endpoint("GET", "/projects/:id", "projects/#retrieve-a-project", answers={200: PROJECT}),
    Endpoint(
        "POST",
        "/projects",
        "projects/#create-a-project",
        body={
            "name": string(True),
            "path": string(),
            "namespace_id": integer(),
            "visibility": string(False, *VISIBILITY),
        },
        answers={201: PROJECT},
    ),
    Endpoint(
        "PUT",
        "/projects/:id",
        "projects/#update-a-project",
        body={"ci_push_repository_for_job_token_allowed": boolean()},
        answers={200: PROJECT},
    ),
    # Tokens and keys
    Endpoint(
        "GET",
        "/groups/:id/deploy_tokens",
        "deploy_tokens/#list-group-deploy-tokens",
        query={"active": boolean()},
        answers={200: DEPLOY_TOKEN},
        paginated=True,
    ),
    Endpoint(
        "POST",
        "/groups/:id/deploy_tokens",
        "deploy_tokens/#create-a-group-deploy-token",
        body={"name": string(True), "scopes": array("string", True), "expires_at": string(), "username": string()},
        answers={201: (*DEPLOY_TOKEN, "token")},
    ),
    Endpoint(
        "DELETE", "/groups/:id/deploy_tokens/:token_id", "deploy_tokens/#delete-a-group-deploy-token", answers={204: ()}
    ),
    Endpoint(
        "GET",
        "/groups/:id/variables/:key",
        "group_level_variables/#get-a-group-variable-details",
        answers={200: ("key", "value", "masked", "protected", "raw")},
    ),
    Endpoint(
        "POST",
        "/groups/:id/variables",
        "group_level_variables/#create-a-group-variable",
        body={
            "key": string(True),
            "value": string(True),
            "masked": boolean(),
            "protected": boolean(),
            "raw": boolean(),
        },
        answers={201: ("key", "value", "masked", "protected", "raw")},
    ),
    Endpoint(
        "DELETE", "/groups/:id/variables/:key", "group_level_variables/#delete-a-group-variable", answers={204: ()}
    ),
    Endpoint(
        "GET",
        "/projects/:id/variables/:key",
        "project_level_variables/#get-a-single-variable",
        answers={200: ("key", "value", "masked", "protected", "raw")},
    ),
    Endpoint(
        "POST",
        "/projects/:id/variables",
        "project_level_variables/#create-a-variable",
        body={
            "key": string(True),
            "value": string(True),
            "masked": boolean(),
            "protected": boolean(),
            "raw": boolean(),
        },
        answers={201: ("key", "value", "masked", "protected", "raw")},
    ),
    Endpoint(
        "DELETE", "/projects/:id/variables/:key", "project_level_variables/#delete-a-variable", answers={204: ()}
    ),
    Endpoint(
        "GET",
        "/projects/:id/access_tokens",
        "project_access_tokens/#list-all-project-access-tokens",
        query={"state": string(False, "active", "inactive")},
        answers={200: ACCESS_TOKEN},
        paginated=True,
    ),
    Endpoint(
        "POST",
        "/projects/:id/access_tokens",
        "project_access_tokens/#create-a-project-access-token",
        body={
            "name": string(True),
            "scopes": array("string", True),
            "access_level": integer(False, 10, 15, 20, 30, 40, 50),
            "expires_at": string(True),
        },
        answers={201: (*ACCESS_TOKEN, "token")},
    ),
    Endpoint(
        "DELETE",
        "/projects/:id/access_tokens/:token_id",
        "project_access_tokens/#revoke-a-project-access-token",
        answers={204: ()},
    ),
    Endpoint(
        "GET",
        "/projects/:id/deploy_keys",
        "deploy_keys/#list-deploy-keys-for-project",
        answers={200: DEPLOY_KEY},
        paginated=True,
    ),
    Endpoint(
        "POST",
        "/projects/:id/deploy_keys",
        "deploy_keys/#add-deploy-key",
        body={"title": string(True), "key": string(True), "can_push": boolean()},
        answers={201: DEPLOY_KEY},
    ),
    Endpoint("DELETE", "/projects/:id/deploy_keys/:key_id", "deploy_keys/#delete-deploy-key", answers={204: ()}),
    # Protection
    Endpoint(
        "GET",
        "/projects/:id/protected_branches/:name",
        "protected_branches/#get-a-single-protected-branch-or-wildcard-protected-branch",
        answers={200: PROTECTED_BRANCH},
    ),
    Endpoint(
        "POST",
        "/projects/:id/protected_branches",
        "protected_branches/#protect-repository-branches",
        body={
            "name": string(True),
            "push_access_level": integer(False, 0, 30, 40, 60),
            "merge_access_level": integer(False, 0, 30, 40, 60),
            "allowed_to_push": array("object"),
        },
        answers={201: PROTECTED_BRANCH},
    ),
    Endpoint(
        "PATCH",
        "/projects/:id/protected_branches/:name",
        "protected_branches/#update-a-protected-branch",
        body={"allowed_to_push": array("object")},
        answers={200: PROTECTED_BRANCH},
    ),
    Endpoint(
        "GET",
        "/projects/:id/protected_tags/:name",
        "protected_tags/#get-a-single-protected-tag-or-wildcard-protected-tag",
        answers={200: ("name", "create_access_levels")},
    ),
    Endpoint(
        "POST",
        "/projects/:id/protected_tags",
        "protected_tags/#protect-a-repository-tag",
        body={"name": string(True), "create_access_level": integer(False, 0, 30, 40)},
        answers={201: ("name", "create_access_levels")},
    ),
    # Webhooks
    Endpoint(
        "GET",
        "/application/settings",
        "settings/#get-details-on-current-application-settings",
        answers={200: ("id", "outbound_local_requests_whitelist")},
    ),
    Endpoint(
        "PUT",
        "/application/settings",
        "settings/#update-application-settings",
        body={"outbound_local_requests_whitelist": array("string")},
        answers={200: ("id", "outbound_local_requests_whitelist")},
    ),
    Endpoint(
        "GET",
        "/projects/:id/hooks",
        "project_webhooks/#list-webhooks-for-a-project",
        answers={200: HOOK},
        paginated=True,
    ),
    Endpoint(
        "POST",
        "/projects/:id/hooks",
        "project_webhooks/#add-a-webhook-to-a-project",
        body={"url": string(True), "token": string(), "push_events": boolean(), "enable_ssl_verification": boolean()},
        answers={201: HOOK},
    ),
    Endpoint("DELETE", "/projects/:id/hooks/:hook_id", "project_webhooks/#delete-project-webhook", answers={204: ()}),
    # Runners
    Endpoint(
        "GET",
        "/runners/all",
        "runners/#list-all-runners",
        query={"type": string(False, "instance_type", "group_type", "project_type")},
        answers={200: RUNNER},
        paginated=True,
    ),
    Endpoint(
        "GET",
        "/runners/:id/managers",
        "runners/#list-all-runners-managers",
        answers={200: ("id", "system_id", "contacted_at", "status")},
    ),
    Endpoint("DELETE", "/runners/:id", "runners/#delete-a-runner-by-id", answers={204: ()}),
    Endpoint(
        "POST",
        "/runners/verify",
        "runners/#verify-authentication-for-a-registered-runner",
        body={"token": string(True), "system_id": string()},  # "required if the token starts with glrt-"
        answers={200: ("id", "token", "token_expires_at")},
        authenticated=False,
    ),
    Endpoint(
        "POST",
        "/user/runners",
        "users/#create-a-runner-linked-to-a-user",
        body={
            "runner_type": string(True, "instance_type", "group_type", "project_type"),
            "description": string(),
            "group_id": integer(),  # "required if runner_type is group_type"
            "project_id": integer(),  # "required if runner_type is project_type"
            "run_untagged": boolean(),
            "locked": boolean(),
            "access_level": string(False, "not_protected", "ref_protected"),
            "tag_list": array("string"),
        },
        answers={201: ("id", "token", "token_expires_at")},
    ),
    # The loop
    Endpoint(
        "GET",
        "/projects/:id/repository/tags",
        "tags/#list-all-project-repository-tags",
        answers={200: ("name", "target")},
        paginated=True,
    ),
    Endpoint(
        "GET",
        "/projects/:id/repository/tags/:tag_name",
        "tags/#retrieve-a-repository-tag",
        answers={200: ("name", "target")},
    ),
    Endpoint(
        "POST",
        "/projects/:id/repository/tags",
        "tags/#create-a-tag",
        body={"tag_name": string(True), "ref": string(True), "message": string()},
        answers={201: ("name", "target")},
    ),
    Endpoint(
        "GET",
        "/projects/:id/pipelines",
        "pipelines/#list-project-pipelines",
        query={"ref": string()},
        answers={200: ("id", "status", "ref", "web_url")},
        paginated=True,
    ),
    Endpoint(
        "GET",
        "/projects/:id/registry/repositories",
        "container_registry/#list-registry-repositories",
        query={"tags": boolean()},
        answers={200: ("id", "name", "path", "location", "tags")},
        paginated=True,
    ),
]

PAGINATION = {"page": integer(), "per_page": integer()}


BY_LITERALNESS = sorted(ENDPOINTS, key=lambda e: e.path.count(":"))


def find_endpoint(method: str, path: str) -> tuple[Endpoint, dict[str, str]] | None:
    """The documented request for a method and a path (without its query); the more literal path wins."""
    for endpoint in BY_LITERALNESS:
        match = endpoint.pattern.match(path)
        if endpoint.method == method and match:
            return endpoint, match.groupdict()
    return None


def complaints(endpoint: Endpoint, query: dict[str, str], body: Any) -> list[str]:
    """What is undocumented or missing in a request; an empty list where it is as the documentation has it."""
    found = []
    known_query = endpoint.query | (PAGINATION if endpoint.paginated else {})
    for name, text in query.items():
        if name not in known_query:
            found.append(f"{endpoint.name}: query parameter {name} is not documented")
            continue
        value: Any = text
        if known_query[name].type == "boolean":
            value = {"true": True, "false": False}.get(text, text)
        elif known_query[name].type == "integer":
            value = int(text) if text.isdigit() else text
        if not known_query[name].accepts(value):
            found.append(f"{endpoint.name}: query parameter {name}={text!r} is not a {known_query[name]}")
    if not isinstance(body, dict):
        return [*found, f"{endpoint.name}: the body is no JSON object"]
    for name, value in body.items():
        if name not in endpoint.body:
            found.append(f"{endpoint.name}: attribute {name} is not documented")
        elif value is not None and not endpoint.body[name].accepts(value):
            found.append(f"{endpoint.name}: attribute {name}={value!r} is not a {endpoint.body[name]}")
    found += [
        f"{endpoint.name}: attribute {name} is missing"
        for name, p in endpoint.body.items()
        if p.required and name not in body
    ]
    return found
