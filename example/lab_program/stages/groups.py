"""groups: where the images live (groups), the lab's own project, the sample project with its first commit."""

from __future__ import annotations

import shutil
from functools import partial

from ..clients.git import GitError
from ..clients.gitlab import Group
from ..errors import Failure
from ..settings import Settings
from .base import Stage
from .cleanup import Cleanup
from .deployers import Deployers

VARIABLE = "DOCKER_REGISTRY_TOKEN"


class Groups(Stage):
    name = "groups"
    purpose = "GitLab's groups, the lab's project and the sample project"
    looks_at = (
        "GitLab's groups, projects, variables, protected tags and clean-up policies",
        "the images that Flux watches, and those that the cluster uses",
    )
    changes = ("the same, if one is missing", "the sample project's first commit")

    @classmethod
    def programs(cls, settings: Settings) -> set[str]:
        return super().programs(settings) | ({"git"} if settings.sample_app else set())

    def run(self) -> None:
        settings = self.settings
        if self.lab.dry_run:
            self._plan()
            return
        for group in settings.groups:
            self.patience.settle(f"create the group {group}", partial(self.ensure_group, group))
            if settings.pipeline_auth == "group-variable":
                self.patience.settle(f"give {group} its {VARIABLE}", partial(self._ensure_variable, group))
        if settings.self_hosted:
            self._ensure_lab_project()
            self._ensure_job_tokens()
        if settings.sample_app:
            self.ensure_project(settings.sample_project, settings.group_visibility)
            self._ensure_sample_content()
        deployers = Deployers(self.lab)
        projects = deployers.projects()
        deployers.ensure(projects)
        Cleanup(self.lab, projects).ensure()

    def _plan(self) -> None:
        settings, would = self.settings, self.console.would
        would(f"make sure that GitLab has the groups {' '.join(settings.groups)} ({settings.group_visibility})")
        if settings.pipeline_auth == "group-variable":
            would(f"give each group the masked and hidden variable {VARIABLE}")
        if settings.self_hosted:
            would(f"make sure that GitLab has the project {settings.lab_project} (private)")
            jobs = "may" if settings.job_token_push else "may not"
            would(f"see to it that jobs of {settings.lab_project} {jobs} push to it with their job token")
        if settings.sample_app:
            would(f"make sure that GitLab has {settings.sample_project}, with sample-app/ as its content")
        would(f"let only {settings.deployers} push the tags that Flux deploys")
        if settings.registry_cleanup == "build-tags":
            would("have GitLab remove old image tags that are no versions and not in use")

    def ensure_group(self, path: str, visibility: str = "") -> Group:
        """Make a group, and the groups above it, as visible as the answer has them; return it."""
        found = self.lab.gitlab.group(path)
        if found is not None:
            self.console.have(f"group {path}")
            return found
        above = path.rpartition("/")[0]
        parent = self.ensure_group(above) if above else None
        made = self.lab.gitlab.make_group(path, visibility or self.settings.group_visibility, parent)
        self.console.did(f"group {path}")
        return made

    def ensure_project(self, path: str, visibility: str) -> None:
        """Make a project in a group that is there."""

        def ensure() -> None:
            if self.lab.gitlab.project(path) is not None:
                self.console.have(f"project {path}")
                return
            above = path.rpartition("/")[0]
            group = self.lab.gitlab.group(above)
            if group is None:
                raise Failure(f"GitLab has no group {above} for the project {path}.", "", "./lab up --only groups")
            self.lab.gitlab.make_project(path, visibility, group)
            self.console.did(f"project {path}")

        self.patience.settle(f"create the project {path}", ensure)

    def _ensure_lab_project(self) -> None:
        """Make the lab's project, in a group that only its members see. Who maintains it, rules the cluster."""
        path = self.settings.lab_project
        group = path.rpartition("/")[0]
        if group.lower() not in {one.lower() for one in self.settings.groups}:
            ensure = partial(self.ensure_group, group, "private")
            self.patience.settle(f"create the group {group}", ensure)
        self.ensure_project(path, "private")

    def _ensure_job_tokens(self) -> None:
        """Keep jobs of the lab's project from pushing to it, unless the owner's answer lets them.

        Such a push has the rights of who started the pipeline: a job of a maintainer's would write the branch that Flux
        follows, and so rule the cluster. Earlier versions of this stage switched it on.
        """
        path, wanted = self.settings.lab_project, self.settings.job_token_push
        may = f"jobs of {path} may{'' if wanted else ' not'} push to it"
        found = self.lab.gitlab.project(path)
        if found is not None and found.jobs_may_push is wanted:
            self.console.have(may)
            return
        self.lab.gitlab.set_jobs_may_push(path, allowed=wanted)
        self.console.did(may + ("" if wanted else " with their job token any more; to open it again: job_token_push"))

    def _ensure_sample_content(self) -> None:
        """Push sample-app/ as the first commit, where there is none yet."""
        path = self.settings.sample_project
        found = self.lab.gitlab.project(path)
        if found is not None and not found.is_empty:
            self.console.have(f"{path} has content")
            return
        url, new = f"{self.settings.gitlab_url}/{path}.git", self.lab.private / "new-repository"
        shutil.rmtree(new, ignore_errors=True)
        try:
            shutil.copytree(self.lab.folder / "sample-app", new, symlinks=True)
            for copy in (new, *new.rglob("*")):
                if not copy.is_symlink():
                    copy.chmod(copy.stat().st_mode & 0o700)
        except OSError as error:
            raise Failure(
                f"sample-app/ cannot be read: {error}", "git status", "git checkout HEAD -- sample-app"
            ) from error
        author = (f"{self.settings.lab_name} bootstrap", self.settings.admin_email)
        try:
            self.lab.git.first_commit(new, "main", author, "The sample application, as generated")
            self.lab.git.remote(new, self.lab.as_root, "push", "--quiet", "--no-verify", url, "HEAD:refs/heads/main")
        except GitError as error:
            raise Failure(
                f"sample-app/ could not be pushed to {path}: {error.words}", f"git ls-remote {url}"
            ) from error
        self.console.did(f"{path} has sample-app/ as its content")

    def _ensure_variable(self, group: str) -> None:
        """Keep a deploy token that may push images and nothing else in a variable of the group.

        GitLab shows the token once, and hides a variable only as it is made. The variable is removed before the token
        is replaced, so that a variable that exists holds the token that is valid. No rule for container tags binds a
        deploy token, so only jobs of protected branches and tags get it, unless developers deploy.
        """
        name, protected = f"push-{self.settings.lab_name}", self.settings.deployers == "maintainers"
        tokens = self.lab.gitlab.deploy_tokens(group, name)
        there = self.lab.gitlab.group_variable(group, VARIABLE)
        closed = there is not None and there.is_masked and there.is_hidden
        if there is not None and closed and there.is_protected is protected and len(tokens) == 1:
            self.console.have(f"{VARIABLE} of {group}")
            return
        if there is not None:
            self.lab.gitlab.delete_group_variable(group, VARIABLE)
        self.lab.gitlab.delete_deploy_tokens(group, tokens)
        scopes = ["read_registry", "write_registry"]
        made = self.lab.gitlab.make_deploy_token(group, name, scopes, self.settings.registry_push_user)
        self.lab.gitlab.make_group_variable(group, VARIABLE, made.token, protected=protected)
        self.console.did(f"{VARIABLE} of {group}, {'protected, ' if protected else ''}masked and hidden")
        if there is not None and protected and not there.is_protected:
            self.console.warn(
                f"{VARIABLE} of {group} was open to every job. From now on only those of protected branches and tags\n"
                f"get it. Protect the tags of projects that build with it (Settings > Repository > Protected tags);\n"
                f"this run does so for the projects that Flux watches. To open it again: deployers"
            )
