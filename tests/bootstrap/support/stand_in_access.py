"""Who may do what in the stand-in GitLab: roles, job tokens, protected branches and tags, and protected container tags."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from typing import Any

# https://docs.gitlab.com/api/members/#roles
GUEST, DEVELOPER, MAINTAINER, OWNER, ADMIN = 10, 30, 40, 50, 60
ROLES = {"maintainer": MAINTAINER, "owner": OWNER, "admin": ADMIN}
# What GitLab's own hook says; Git shows it to who pushed. https://docs.gitlab.com/user/project/repository/branches/protected/
HOOK = """\
#!/bin/sh
while read -r old new ref; do
  case " $CLOSED_REFS " in *" $ref "*) echo "GitLab: You are not allowed to push code to protected branches on this project." >&2; exit 1;; esac
done
"""
Answer = tuple[int, Any]


class Access:
    """What GitLab knows of people and tokens, and what it lets them do."""

    groups: list[dict[str, Any]]
    projects: list[dict[str, Any]]
    pats: list[dict[str, Any]]
    project_tokens: list[dict[str, Any]]
    deploy_tokens: list[dict[str, Any]]
    protected_branches: list[dict[str, Any]]
    protected_tags: list[dict[str, Any]]
    variables: list[dict[str, Any]]
    repositories: Path

    def __init__(self) -> None:
        super().__init__()
        self.people: list[dict[str, Any]] = []
        self.jobs: list[dict[str, Any]] = []
        self.tag_rules: list[dict[str, Any]] = []
        self.knows_tag_rules: list[bool] = [True]  # a GitLab before 18.8 does not

    def project(self, name: str) -> dict[str, Any] | None:
        raise NotImplementedError

    def number(self) -> int:
        raise NotImplementedError

    # People and jobs

    def add_person(self, name: str, **levels: int) -> str:
        """Make a person with a role in some groups or projects (`__` stands for a slash); return their token."""
        token = f"glpat-of-{name}-{self.number()}"
        self.people.append(
            {"name": name, "token": token, "levels": {k.replace("__", "/").lower(): v for k, v in levels.items()}}
        )
        return token

    def start_job(self, project: str, person: str) -> str:
        """Start a job of a project for a person; return its CI_JOB_TOKEN, which has the access of who started it.

        https://docs.gitlab.com/ci/jobs/ci_job_token/
        """
        token = f"glcbt-job-{self.number()}"
        self.jobs.append({"token": token, "project": project.lower(), "person": person})
        return token

    def job_variables(self, project: str, ref: str) -> dict[str, str]:
        """Return the CI/CD variables that a job of a project gets; a protected one only for a protected ref.

        https://docs.gitlab.com/ci/variables/#protect-a-cicd-variable
        """
        found = self.project(project)
        assert found is not None
        above = found["path_with_namespace"].lower()
        owners = {found["id"], *(g["id"] for g in self.groups if above.startswith(f"{g['full_path'].lower()}/"))}
        is_protected = bool(self._protected(found, ref))
        given = [v for v in self.variables if v.get("project", v.get("group")) in owners]
        return {v["key"]: v["value"] for v in given if is_protected or not v["protected"]}

    def level(self, token: str, path: str) -> int:
        """Return the role that a token has in a project or a group; 0 for none.

        A role in a group counts in all that is below it: https://docs.gitlab.com/user/project/members/#membership-types
        """
        path = path.lower()
        if any(p["token"] == token and not p["revoked"] for p in self.pats):
            return ADMIN
        for one in self.project_tokens:
            if one["token"] == token and one["active"]:
                found = next(p for p in self.projects if p["id"] == one["project"])
                return int(one["access_level"]) if found["path_with_namespace"].lower() == path else 0
        for job in self.jobs:
            if job["token"] == token:
                person = next(p for p in self.people if p["name"] == job["person"])
                return self.level(person["token"], path) if job["project"] == path else 0
        for person in self.people:
            if person["token"] == token:
                return max((v for k, v in person["levels"].items() if path == k or path.startswith(f"{k}/")), default=0)
        return 0

    def denial(self, token: str, path: str, needed: int, *, reads: bool = False) -> Answer | None:
        """Return what the API answers a token without the role or the scope that a request takes; None for one that has them."""
        if any(job["token"] == token for job in self.jobs):
            # It opens few endpoints, and none of these: https://docs.gitlab.com/ci/jobs/ci_job_token/#job-token-access
            return 401, {"message": "401 Unauthorized"}
        own = next((t for t in self.project_tokens if t["token"] == token), None)
        scopes = {"api", "read_api"} if reads else {"api"}
        if own is not None and not scopes & set(own["scopes"]):
            return 403, {"error": "insufficient_scope"}
        level = self.level(token, path)
        if level >= needed:
            return None
        # What one may not see is not there: https://docs.gitlab.com/api/rest/troubleshooting/#status-code-404
        return (403, {"message": "403 Forbidden"}) if level else (404, {"message": "404 Not Found"})

    # Git

    def git_refusal(self, token: str, path: str) -> str:
        """Return why GitLab takes no push over HTTP at all, whatever its branches; nothing where it does.

        A job's token pushes only where the project says so:
        https://docs.gitlab.com/ci/jobs/ci_job_token/#allow-git-push-requests-to-your-project-repository
        """
        found = self.project(path)
        allowed = found is not None and found["ci_push_repository_for_job_token_allowed"]
        if any(job["token"] == token for job in self.jobs) and not allowed:
            return "You are not allowed to upload code."
        own = next((t for t in self.project_tokens if t["token"] == token), None)
        if own is not None and not {"api", "write_repository"} & set(own["scopes"]):
            return "You are not allowed to upload code."
        return "" if self.level(token, path) >= DEVELOPER else "You are not allowed to push code to this project."

    def _protected(self, project: dict[str, Any], ref: str) -> list[dict[str, Any]]:
        kind, name = ref.split("/", 2)[1:]
        known = self.protected_branches if kind == "heads" else self.protected_tags
        return [one for one in known if one["project"] == project["id"] and fnmatch.fnmatchcase(name, one["name"])]

    def closed_refs(self, token: str, path: str, raw: bytes) -> list[str]:
        """Return the refs of a push that are protected from a token: its role is below what each protection asks for.

        https://docs.gitlab.com/user/project/repository/branches/protected/ and https://docs.gitlab.com/user/project/protected_tags/
        """
        project, level, closed = self.project(path), self.level(token, path), []
        assert project is not None
        for ref in pushed_refs(raw):
            for one in self._protected(project, ref):
                field = "push_access_levels" if ref.startswith("refs/heads/") else "create_access_levels"
                levels = [x["access_level"] for x in one[field] if not x.get("deploy_key_id")]
                if not any(0 < needed <= level for needed in levels):
                    closed.append(ref)
        return closed

    def hook_folder(self) -> Path:
        folder = self.repositories / "hooks"
        if not folder.exists():
            folder.mkdir()
            (folder / "pre-receive").write_text(HOOK)
            (folder / "pre-receive").chmod(0o755)
        return folder

    # The registry

    def push_image(self, token: str, path: str, tag: str) -> str:
        """Push an image tag as `docker push` does; return why it is denied, or nothing.

        Developers push, and every protection that matches a tag asks for more:
        https://docs.gitlab.com/user/packages/container_registry/protected_container_tags/ . Deploy tokens are not bound by them.
        """
        project = self.project(path)
        assert project is not None
        for one in self.deploy_tokens:
            if one["token"] == token:
                group = next(g for g in self.groups if g["id"] == one["group"])
                inside = path.lower().startswith(f"{group['full_path'].lower()}/")
                return (
                    ""
                    if inside and "write_registry" in one["scopes"]
                    else "denied: requested access to the resource is denied"
                )
        level = self.level(token, path)
        if level < DEVELOPER:
            return "denied: requested access to the resource is denied"
        rules = [
            r
            for r in self.tag_rules
            if r["project"] == project["id"] and re.search(r["tag_name_pattern"], tag, re.ASCII)
        ]
        if any(level < ROLES[r["minimum_access_level_for_push"]] for r in rules):
            return f"denied: {tag} is a protected tag"
        return ""

    def get_projects_one_registry_protection_tag_rules(self, project: Any, *_: Any) -> Answer:
        if not self.knows_tag_rules[0]:
            return 404, {"error": "404 Not Found"}
        return 200, [shown(rule) for rule in self.tag_rules if rule["project"] == project["id"]]

    def post_projects_one_registry_protection_tag_rules(
        self, project: Any, _s: Any, _q: Any, body: dict[str, Any], _t: str
    ) -> Answer:
        """At most five, and a pattern of at most a hundred characters, once a project."""
        if not self.knows_tag_rules[0]:
            return 404, {"error": "404 Not Found"}
        ours = [rule for rule in self.tag_rules if rule["project"] == project["id"]]
        if len(ours) >= 5:
            return 422, {"message": "Maximum number of protection rules have been reached."}
        if len(body["tag_name_pattern"]) > 100:
            return 422, {"message": ["Tag name pattern is too long (maximum is 100 characters)"]}
        if any(rule["tag_name_pattern"] == body["tag_name_pattern"] for rule in ours):
            return 422, {"message": ["Tag name pattern has already been taken"]}
        rule = {"id": self.number(), "project": project["id"], "project_id": project["id"]} | body
        self.tag_rules.append(rule)
        return 201, shown(rule)

    def delete_projects_one_registry_protection_tag_rules_one(self, project: Any, segments: Any, *_: Any) -> Answer:
        before = len(self.tag_rules)
        self.tag_rules[:] = [
            r for r in self.tag_rules if (r["project"], str(r["id"])) != (project["id"], segments["rule_id"])
        ]
        return (204, None) if len(self.tag_rules) < before else (404, {"message": "404 Not Found"})


def shown(rule: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in rule.items() if key != "project"}


def pushed_refs(raw: bytes) -> list[str]:
    """Return the refs of a push: https://git-scm.com/docs/pack-protocol#_reference_update_request_and_packfile_transfer"""
    refs = []
    while raw[:4] not in (b"0000", b""):
        size = int(raw[:4], 16)
        refs.append(raw[4:size].split(b"\0")[0].split()[2].decode())
        raw = raw[size:]
    return refs
