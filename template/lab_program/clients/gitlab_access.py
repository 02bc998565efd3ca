"""GitLab's REST API, as far as it says who may do what: job tokens, CI/CD variables, protected tags of both kinds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..secret import Secret
from .gitlab_requests import Requests, json_object, segment
from .gitlab_transport import in_words

# https://docs.gitlab.com/api/members/#roles
DEVELOPER, MAINTAINER = 30, 40


@dataclass(frozen=True)
class Variable:
    """A CI/CD variable; what it holds is not read."""

    is_protected: bool
    is_masked: bool
    is_hidden: bool

    @property
    def is_closed(self) -> bool:
        """Whether only jobs of protected branches and tags get it, and neither a log nor the settings show it."""
        return self.is_protected and self.is_masked and self.is_hidden


@dataclass(frozen=True)
class TagRule:
    """A protection of container tags; `pattern` is a regular expression (RE2), `push` and `delete` name roles."""

    id: int
    pattern: str
    push: str
    delete: str


class Access(Requests):
    """Job tokens, variables, and who may push which tags."""

    def set_jobs_may_push(self, project: str, *, allowed: bool) -> None:
        """Say whether jobs of a project may push to it with their job token, with the rights of who started them.

        https://docs.gitlab.com/ci/jobs/ci_job_token/#allow-git-push-requests-to-your-project-repository
        """
        body = {"ci_push_repository_for_job_token_allowed": allowed}
        what = f"{'let' if allowed else 'keep'} jobs of {project} {'push to it' if allowed else 'from pushing to it'}"
        self._transport.request("PUT", f"/projects/{segment(project)}", what, 200, body=body)

    def is_protected(self, project: str, branch: str) -> bool:
        path = f"/projects/{segment(project)}/protected_branches/{segment(branch)}"
        return self._get(path, f"show the protection of {branch}", 200, 404).status == 200

    def protect(self, project: str, branch: str) -> None:
        """Let maintainers alone push and merge to a branch, and nobody remove it by a merge."""
        body = {"name": branch, "push_access_level": MAINTAINER, "merge_access_level": MAINTAINER}
        self._post(f"/projects/{segment(project)}/protected_branches", f"protect {branch}", body, 201, 409)

    # CI/CD variables: of a group, or of a project

    def group_variable(self, group: str, key: str) -> Variable | None:
        return self._variable(f"/groups/{segment(group)}", key, group)

    def project_variable(self, project: str, key: str) -> Variable | None:
        return self._variable(f"/projects/{segment(project)}", key, project)

    def delete_group_variable(self, group: str, key: str) -> None:
        self._delete_variable(f"/groups/{segment(group)}", key, group)

    def delete_project_variable(self, project: str, key: str) -> None:
        self._delete_variable(f"/projects/{segment(project)}", key, project)

    def make_group_variable(self, group: str, key: str, value: Secret, *, protected: bool) -> None:
        self._make_variable(f"/groups/{segment(group)}", key, value, group, protected=protected)

    def make_project_variable(self, project: str, key: str, value: Secret) -> None:
        self._make_variable(f"/projects/{segment(project)}", key, value, project, protected=True)

    def make_protected_variable(self, project: str, key: str, value: str) -> None:
        """Give the jobs of a project's protected branches, and no others, a variable that is no secret."""
        body = {"key": key, "value": value, "masked": False, "protected": True, "raw": True}
        self._post(f"/projects/{segment(project)}/variables", f"set {key} of {project}", body)

    def _variable(self, of: str, key: str, name: str) -> Variable | None:
        answer = self._get(f"{of}/variables/{segment(key)}", f"show the variables of {name}", 200, 404)
        if answer.status == 404:
            return None
        found = json_object(answer)
        return Variable(*(found.get(field) is True for field in ("protected", "masked", "hidden")))

    def _delete_variable(self, of: str, key: str, name: str) -> None:
        self._transport.request("DELETE", f"{of}/variables/{segment(key)}", f"remove {key} of {name}", 204, 404)

    def _make_variable(self, of: str, key: str, value: Secret, name: str, *, protected: bool) -> None:
        """Make a variable that is masked and hidden. GitLab hides one only as it is made.

        https://docs.gitlab.com/ci/variables/#hide-a-cicd-variable
        """
        body = {"key": key, "value": value, "masked_and_hidden": True, "protected": protected, "raw": True}
        self._post(f"{of}/variables", f"set {key} of {name}", body)

    # Tags

    def has_protected_tag(self, project: str, name: str) -> bool:
        path = f"/projects/{segment(project)}/protected_tags/{segment(name)}"
        return self._get(path, f"show the protected tags of {project}", 200, 404).status == 200

    def protect_tags(self, project: str, name: str, level: int = MAINTAINER) -> None:
        body = {"name": name, "create_access_level": level}
        self._post(f"/projects/{segment(project)}/protected_tags", f"protect the tags of {project}", body)

    def tag_rules(self, project: str) -> list[TagRule] | None:
        """Return the protections of a project's container tags; None where this GitLab has no such protections.

        https://docs.gitlab.com/api/container_registry_protection_tag_rules/
        """
        answer = self._get(self._tag_rules(project), f"list the protected container tags of {project}", 200, 404)
        return None if answer.status == 404 else [_tag_rule(one) for one in json.loads(answer.body)]

    def make_tag_rule(self, project: str, pattern: str) -> str:
        """Let only maintainers push and delete container tags of a pattern; return why GitLab refuses, or nothing."""
        body = {
            "tag_name_pattern": pattern,
            "minimum_access_level_for_push": "maintainer",
            "minimum_access_level_for_delete": "maintainer",
        }
        what = f"protect the container tags of {project}"
        answer = self._post(self._tag_rules(project), what, body, 201, 400, 404, 422)
        return "" if answer.status == 201 else in_words(answer)

    def delete_tag_rule(self, project: str, rule: TagRule) -> None:
        self._delete_each(self._tag_rules(project), [rule.id])

    @staticmethod
    def _tag_rules(project: str) -> str:
        return f"/projects/{segment(project)}/registry/protection/tag/rules"


def _tag_rule(one: Mapping[str, Any]) -> TagRule:
    push, delete = (str(one.get(f"minimum_access_level_for_{what}") or "") for what in ("push", "delete"))
    return TagRule(int(one["id"]), str(one["tag_name_pattern"]), push, delete)
