"""GitLab's REST API as far as the program uses it: endpoint, parameters, answers, and the page that says so.

The stand-in server refuses whatever is not in here, so a request that GitLab does not document fails its test.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

DOCS = "https://docs.gitlab.com/api/"
# Attributes that several answers carry.
SETS = {
    "GROUP": "id name path full_path visibility parent_id",
    "PROJECT": "id name path path_with_namespace visibility default_branch empty_repo ci_push_repository_for_job_token_allowed container_expiration_policy",
    "DEPLOY_TOKEN": "id name username expires_at revoked expired scopes",
    "ACCESS_TOKEN": "id name revoked active scopes user_id expires_at created_at",
    "DEPLOY_KEY": "id title key can_push",
    "PROTECTED_BRANCH": "id name push_access_levels merge_access_levels allow_force_push",
    "VARIABLE": "key value masked hidden protected raw",
    "TAG_RULE": "id project_id tag_name_pattern minimum_access_level_for_push minimum_access_level_for_delete",
    "PERSON": "id username name email is_admin",
    "HOOK": "id url push_events enable_ssl_verification",
    "MIGRATION": "id job_class_name table_name column_name status progress created_at estimated_time_remaining",
    "APPLICATION": "id application_id application_name callback_url confidential",
    "RUNNER": "id description runner_type status online paused",
}
# A line a request: its method and path as the documentation writes them (`:name` is a segment; `:id` may be an encoded path), the
# page below DOCS, the status (+: a list in pages; *: without a token; ^: about the token itself, so that any token may ask), and the attributes that the answer carries (of a list: each
# item). Below it what it takes: `?` in the query, otherwise in the body; `!` is required; :type (nothing: string); =values.
TABLE = """
DELETE /personal_access_tokens/self personal_access_tokens/#self-revoke 204^
GET /personal_access_tokens/self personal_access_tokens/#self-inform 200^ ACCESS_TOKEN
# Groups and projects
GET /groups/:id groups/#retrieve-a-group 200 GROUP
    ?with_projects:boolean
POST /groups groups/#create-a-group 201 GROUP
    name! path! visibility=private|internal|public parent_id:integer
GET /projects/:id projects/#retrieve-a-project 200 PROJECT
POST /projects projects/#create-a-project 201 PROJECT
    name! path namespace_id:integer visibility=private|internal|public
PUT /projects/:id projects/#update-a-project 200 PROJECT
    ci_push_repository_for_job_token_allowed:boolean container_expiration_policy_attributes:object
# People
GET /users users/#list-all-users 200+ PERSON
    ?username
POST /users users/#create-a-user 201 PERSON
    username! name! email! password reset_password:boolean admin:boolean skip_confirmation:boolean
GET /users/:id/keys user_keys/#list-all-ssh-keys-for-a-user 200+ id title key
POST /users/:id/keys user_keys/#add-an-ssh-key-for-a-user 201 id title key
    title! key!
GET /groups/:id/members/:user_id members/#get-a-member-of-a-group-or-project 200 id username access_level
POST /groups/:id/members members/#add-a-member-to-a-group-or-project 201 id username access_level
    user_id!:integer access_level!:integer=0|5|10|15|20|30|40|50
# Tokens, keys and variables
GET /groups/:id/deploy_tokens deploy_tokens/#list-group-deploy-tokens 200+ DEPLOY_TOKEN
    ?active:boolean
POST /groups/:id/deploy_tokens deploy_tokens/#create-a-group-deploy-token 201 DEPLOY_TOKEN token
    name! scopes!:[string] expires_at username
DELETE /groups/:id/deploy_tokens/:token_id deploy_tokens/#delete-a-group-deploy-token 204
GET /groups/:id/variables/:key group_level_variables/#get-a-group-variable-details 200 VARIABLE
POST /groups/:id/variables group_level_variables/#create-a-group-variable 201 VARIABLE
    key! value! masked:boolean masked_and_hidden:boolean protected:boolean raw:boolean
DELETE /groups/:id/variables/:key group_level_variables/#delete-a-group-variable 204
GET /projects/:id/variables/:key project_level_variables/#get-a-single-variable 200 VARIABLE
POST /projects/:id/variables project_level_variables/#create-a-variable 201 VARIABLE
    key! value! masked:boolean masked_and_hidden:boolean protected:boolean raw:boolean
DELETE /projects/:id/variables/:key project_level_variables/#delete-a-variable 204
GET /projects/:id/access_tokens project_access_tokens/#list-all-project-access-tokens 200+ ACCESS_TOKEN
    ?state=active|inactive
POST /projects/:id/access_tokens project_access_tokens/#create-a-project-access-token 201 ACCESS_TOKEN token
    name! scopes!:[string] access_level:integer=10|15|20|30|40|50 expires_at!
DELETE /projects/:id/access_tokens/:token_id project_access_tokens/#revoke-a-project-access-token 204
GET /projects/:id/deploy_keys deploy_keys/#list-deploy-keys-for-project 200+ DEPLOY_KEY
POST /projects/:id/deploy_keys deploy_keys/#add-deploy-key 201 DEPLOY_KEY
    title! key! can_push:boolean
DELETE /projects/:id/deploy_keys/:key_id deploy_keys/#delete-deploy-key 204
# Protection
GET /projects/:id/protected_branches/:name protected_branches/#get-a-single-protected-branch-or-wildcard-protected-branch 200 PROTECTED_BRANCH
POST /projects/:id/protected_branches protected_branches/#protect-repository-branches 201 PROTECTED_BRANCH
    name! push_access_level:integer=0|30|40|60 merge_access_level:integer=0|30|40|60 allowed_to_push:[object]
PATCH /projects/:id/protected_branches/:name protected_branches/#update-a-protected-branch 200 PROTECTED_BRANCH
    allowed_to_push:[object]
GET /projects/:id/protected_tags/:name protected_tags/#get-a-single-protected-tag-or-wildcard-protected-tag 200 name create_access_levels
POST /projects/:id/protected_tags protected_tags/#protect-a-repository-tag 201 name create_access_levels
    name! create_access_level:integer=0|30|40
# Container tags: in the Free tier, since GitLab 18.8
GET /projects/:id/registry/protection/tag/rules container_registry_protection_tag_rules/#list-container-registry-protection-tag-rules 200+ TAG_RULE
POST /projects/:id/registry/protection/tag/rules container_registry_protection_tag_rules/#create-a-container-registry-protection-tag-rule 201 TAG_RULE
    tag_name_pattern! minimum_access_level_for_push=maintainer|owner|admin minimum_access_level_for_delete=maintainer|owner|admin
DELETE /projects/:id/registry/protection/tag/rules/:rule_id container_registry_protection_tag_rules/#delete-a-container-registry-protection-tag-rule 204
# OAuth applications of the instance
GET /applications applications/#list-all-applications 200+ APPLICATION
POST /applications applications/#create-an-application 201 APPLICATION secret
    name! redirect_uri! scopes! confidential:boolean
DELETE /applications/:id applications/#delete-an-application 204
# Webhooks
GET /application/settings settings/#get-details-on-current-application-settings 200 id outbound_local_requests_whitelist
PUT /application/settings settings/#update-application-settings 200 id outbound_local_requests_whitelist
    outbound_local_requests_whitelist:[string]
GET /projects/:id/hooks project_webhooks/#list-webhooks-for-a-project 200+ HOOK
POST /projects/:id/hooks project_webhooks/#add-a-webhook-to-a-project 201 HOOK
    url! token push_events:boolean enable_ssl_verification:boolean
DELETE /projects/:id/hooks/:hook_id project_webhooks/#delete-project-webhook 204
# Runners
GET /runners/all runners/#list-all-runners 200+ RUNNER
    ?type=instance_type|group_type|project_type
GET /projects/:id/runners runners/#list-projects-runners 200+ RUNNER
GET /runners/:id/managers runners/#list-all-runners-managers 200 id system_id contacted_at status
DELETE /runners/:id runners/#delete-a-runner-by-id 204
POST /runners/verify runners/#verify-authentication-for-a-registered-runner 200* id token token_expires_at
    token! system_id
POST /user/runners users/#create-a-runner-linked-to-a-user 201 id token token_expires_at
    runner_type!=instance_type|group_type|project_type description group_id:integer project_id:integer run_untagged:boolean locked:boolean access_level=not_protected|ref_protected tag_list:[string]
# Upgrades
GET /admin/batched_background_migrations admin/batched_background_migrations/#list-the-last-20-batched-background-migrations 200 MIGRATION
    ?database ?job_class_name
GET /admin/batched_background_migrations/:id admin/batched_background_migrations/#retrieve-a-batched-background-migration 200 MIGRATION
    ?database
# Code for machines
GET /projects/:id/merge_requests merge_requests/#list-project-merge-requests 200+ iid state sha web_url source_branch target_branch
    ?state=all|opened|closed|locked|merged ?source_branch ?target_branch
POST /projects/:id/merge_requests merge_requests/#create-mr 201 iid state sha web_url source_branch target_branch
    source_branch! target_branch! title! description remove_source_branch:boolean
# The loop
GET /projects/:id/repository/tags tags/#list-all-project-repository-tags 200+ name target
GET /projects/:id/repository/tags/:tag_name tags/#retrieve-a-repository-tag 200 name target
POST /projects/:id/repository/tags tags/#create-a-tag 201 name target
    tag_name! ref! message
GET /projects/:id/pipelines pipelines/#list-project-pipelines 200+ id status ref web_url
    ?ref
GET /projects/:id/registry/repositories container_registry/#list-registry-repositories 200+ id name path location tags
    ?tags:boolean
"""


@dataclass(frozen=True)
class Parameter:
    """One documented attribute: its JSON type (`[string]` is a list of them), and whether it must be there."""

    type: str
    required: bool = False
    values: tuple[str, ...] = ()

    def accepts(self, value: Any) -> bool:
        if self.values and str(value) not in self.values:
            return False
        if self.type.startswith("["):
            return isinstance(value, list) and all(Parameter(self.type[1:-1]).accepts(item) for item in value)
        if self.type == "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        return isinstance(value, {"string": str, "boolean": bool, "object": dict}[self.type])

    def typed(self, text: str) -> Any:
        """Return what a text in the query stands for."""
        if self.type == "boolean":
            return {"true": True, "false": False}.get(text, text)
        return int(text) if self.type == "integer" and text.isdigit() else text


@dataclass(frozen=True)
class Endpoint:
    """One documented request: see TABLE.

    Attributes:
        answers: status to the attributes that its JSON carries.
        authenticated: a PRIVATE-TOKEN is needed.
    """

    method: str
    path: str
    page: str
    query: dict[str, Parameter]
    body: dict[str, Parameter]
    answers: dict[int, tuple[str, ...]]
    paginated: bool
    authenticated: bool
    own: bool

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def pattern(self) -> re.Pattern[str]:
        return re.compile("^" + re.sub(r":(\w+)", r"(?P<\1>[^/]+)", self.path) + "$")


def parameters(words: list[str]) -> dict[str, Parameter]:
    found = {}
    for word in words:
        parts = re.fullmatch(r"\??(\w+)(!?)(?::([^=]+))?(?:=(.*))?", word)
        assert parts, f"{word} is no parameter"
        values = tuple(parts[4].split("|")) if parts[4] else ()
        found[parts[1]] = Parameter(parts[3] or "string", bool(parts[2]), values)
    return found


def endpoints(table: str) -> list[Endpoint]:
    found = []
    for request, taken in re.findall(r"^([A-Z]+ .*)(?:\n    (.*))?", table, re.MULTILINE):
        method, path, page, status, *carried = request.split()
        answer = tuple(name for word in carried for name in SETS.get(word, word).split())
        query, body = (
            parameters([word for word in taken.split() if word.startswith("?") == is_query])
            for is_query in (True, False)
        )
        marks = status.lstrip("0123456789")
        answers, paginated, authenticated = {int(status.removesuffix(marks)): answer}, "+" in marks, "*" not in marks
        found.append(Endpoint(method, path, page, query, body, answers, paginated, authenticated, own="^" in marks))
    return found


ENDPOINTS = endpoints(TABLE)
PAGINATION = parameters(["page:integer", "per_page:integer"])
BY_LITERALNESS = sorted(ENDPOINTS, key=lambda one: one.path.count(":"))


def find_endpoint(method: str, path: str) -> tuple[Endpoint, dict[str, str]] | None:
    """The documented request for a method and a path (without its query); the more literal path wins."""
    for endpoint in BY_LITERALNESS:
        match = endpoint.pattern.match(path)
        if endpoint.method == method and match:
            return endpoint, match.groupdict()
    return None


def complaints(endpoint: Endpoint, query: dict[str, str], body: Any) -> list[str]:
    """What is undocumented or missing in a request; an empty list where it is as the documentation has it."""
    if not isinstance(body, dict):
        return [f"{endpoint.name}: the body is no JSON object"]
    known_query = endpoint.query | (PAGINATION if endpoint.paginated else {})
    given = {name: known_query[name].typed(text) if name in known_query else text for name, text in query.items()}
    found = []
    for what, known, values in (("query parameter", known_query, given), ("attribute", endpoint.body, body)):
        for name, value in values.items():
            if name not in known:
                found.append(f"{endpoint.name}: {what} {name} is not documented")
            elif value is not None and not known[name].accepts(value):
                found.append(f"{endpoint.name}: {what} {name}={value!r} is not a {known[name]}")
    missing = [name for name, one in endpoint.body.items() if one.required and name not in body]
    return found + [f"{endpoint.name}: attribute {name} is missing" for name in missing]
