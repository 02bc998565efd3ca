"""GitLab on its way to another version: one step after the other, each with a backup, a commit, and a wait.

It keeps no record. What runs, what is committed and what is pushed say where a run that was stopped has come to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import fresh_backup, gitlab_image, version_files, versions
from .background_migrations import BackgroundMigrations
from .clients.git import Access, GitError
from .clients.objects import NOTHING
from .errors import Failure
from .installed_gitlab import installed_version, version_of_data
from .lab import Lab
from .patience import TimedOutError
from .probes import FLUX, GIT_REPOSITORY, HELM_RELEASE, Probes, revision
from .stages.credential import OWNER
from .stages.following import Following
from .stages.repository import unfit
from .upgrade_path import PAGE, Step

PUSHES = 3
REQUESTED, HANDLED = "reconcile.fluxcd.io/requestedAt", "lastHandledReconcileAt"
AGAIN = "run ./lab upgrade again"


@dataclass(frozen=True)
class Standing:
    """Where GitLab is.

    Attributes:
        installed: the version that has its data.
        committed: the version that the lab's last commit asks for; another one while a step is under way.
    """

    installed: str
    committed: str


class Upgrading:
    """The upgrade of one lab's GitLab."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.console, self.settings, self.cluster = lab, lab.console, lab.settings, lab.cluster
        self.git, self.probes, self.following = lab.git, Probes(lab), Following(lab)
        self.migrations = BackgroundMigrations(lab)

    # Looking

    def look(self) -> Standing:
        """Return where GitLab is.

        Raises:
            Failure: it is nowhere, or on a way that GitLab cannot go.
        """
        namespace = self.settings.gitlab_namespace
        installed = versions.shown(version_of_data(self.cluster, self.cluster.find("deployment", "gitlab", namespace)))
        if not installed or self.cluster.find(HELM_RELEASE, "gitlab", namespace) is None:
            raise Failure("Flux keeps no GitLab in this cluster yet.", "./lab status", "./lab up builds the lab")
        committed = self._committed()
        problem = versions.upgrade_problem(installed, committed)
        if problem:
            raise Failure(
                f"{gitlab_image.VALUES} was changed to a version that GitLab cannot go to: {problem}",
                PAGE,
                f"git revert COMMIT, push (./lab up --only sync), then {AGAIN}",
            )
        return Standing(installed, committed)

    def _committed(self) -> str:
        return gitlab_image.version(self.lab.folder, self.settings.gitlab_version)

    def refuse_unfit(self) -> None:
        """End the run where a commit would take in what the owner has not committed, or a digest would keep the old
        GitLab running. What an earlier run has written and not committed is taken back: it is written again."""
        changed = self.git.uncommitted()
        if changed and set(changed) <= set(version_files.NAMES):
            before = {name: self.git.show("HEAD", name) or "" for name in changed}
            before.setdefault(gitlab_image.VALUES, self.git.show("HEAD", gitlab_image.VALUES) or "")
            after = {name: (self.lab.folder / name).read_text(encoding="utf-8") for name in changed}
            if version_files.is_only_another_version(before, after) and not self.lab.dry_run:
                self.git.here("checkout", "--quiet", "HEAD", "--", *changed)
        problem = unfit(self.lab)
        if problem is not None:
            what = f"{problem.what[0].upper()}{problem.what[1:]}"
            raise Failure(what, "git status", f"{problem.fix}\nthen {AGAIN}")
        digest = gitlab_image.digest_in(version_files.read(self.lab.folder)[gitlab_image.VALUES])
        if digest:
            raise Failure(
                f"{gitlab_image.VALUES} pins GitLab's image by its digest {digest[:19]}..., which would go on running.",
                "",
                f"take the line out, commit, push (./lab up --only sync), then {AGAIN}",
            )

    # Doing

    def run(self, standing: Standing, steps: Sequence[Step], *, backup: bool) -> None:
        """Go all steps.

        Args:
            backup: whether a backup comes before each.
        """
        self.lab.upgrading = True
        now = standing.committed
        self.console.stage(f"before {now}: GitLab as it is, and the repository")
        if now != standing.installed and self._flux_has_it():
            self._wait_for(now)
        self.probes.wait_for_gitlab()
        self._push()
        if self._committed() != now:
            raise Failure(
                f"The repository had a newer commit, which asks for GitLab {self._committed()}.", "git log -3", AGAIN
            )
        self._arrive(now)
        for step in steps:
            self._go(now, step, backup=backup)
            now = step.version

    def _go(self, before: str, step: Step, *, backup: bool) -> None:
        version = step.version
        if backup:
            self.console.stage(f"backup {version}: of GitLab {before}")
            fresh_backup.ensure(self.lab, before)
        self.console.stage(f"commit {version}: {step.why}")
        # What image automation has pushed meanwhile is taken in first.
        self._catch_up()
        self._commit(before, version)
        self._push()
        self._arrive(version)

    def _arrive(self, version: str) -> None:
        """Wait until a version that is pushed runs, and has done all that the next one takes for granted."""
        self.console.stage(f"roll-out {version}: until Flux has brought it, and GitLab is healthy")
        self._wait_for(version)
        self.probes.wait_for_gitlab()
        self.following.wait_for_flux()
        self.console.stage(f"migrations {version}: in GitLab's background; they may take hours")
        self.migrations.wait(version)

    # The repository

    @property
    def _place(self) -> tuple[str, Access]:
        """Where the branch is that Flux follows, and how this run gets there."""
        if self.settings.self_hosted:
            return self.settings.lab_project_url, self.lab.as_root
        return self.settings.gitops_url, OWNER

    def _commit(self, before: str, version: str) -> None:
        """Commit another version of GitLab, in every file that names it."""
        texts = version_files.read(self.lab.folder)
        changed = {
            name: new
            for name, text in texts.items()
            if (new := version_files.with_version(name, text, before, version)) != text
        }
        version_files.write(self.lab.folder, changed)
        try:
            self.git.commit(f"GitLab {before} -> {version}", list(changed))
        except GitError as error:
            version_files.write(self.lab.folder, {name: texts[name] for name in changed})
            raise Failure(f"Git made no commit: {error.words}", "git status", f"fix that, then {AGAIN}") from error
        self.console.did(f"committed GitLab {version}, in {', '.join(changed)}")

    def _catch_up(self) -> None:
        """Bring this clone to where the branch is. Only this command's own commits may be ahead of it."""
        (url, access), branch = self._place, self.settings.gitops_branch
        try:
            there = self.git.branch_at(url, branch, access)
            if there:
                self.git.remote(self.lab.folder, access, "fetch", "--quiet", "--no-tags", url, f"refs/heads/{branch}")
        except GitError as error:
            raise Failure(f"The branch {branch} cannot be read at {url}: {error}", f"git ls-remote {url}") from error
        if not there:
            raise Failure(f"{url} has no branch {branch}.", "", "./lab up --only sync pushes this repository")
        if there == self.git.head():
            return
        ahead = self.git.here("rev-list", f"{there}..HEAD").out.split()
        strangers = [one for one in ahead if not self._is_ours(one)]
        if strangers:
            shown = self.git.here("log", "--oneline", "--no-decorate", f"{there}..HEAD").out.strip()
            raise Failure(
                f"Commits here are not pushed yet, and an upgrade would roll them out with it:\n{shown}",
                f"git log {there[:12]}..HEAD",
                f"push them (./lab up --only sync), then {AGAIN}",
            )
        try:
            if not ahead:
                self.git.forward_to(there)
                self.console.did(f"took in what {branch} has at {url}")
            elif not self.git.is_ancestor(there, "HEAD"):
                # The commit is made again, on top of what came meanwhile: it changes nothing but the version.
                version = self._committed()
                self.git.leave_for(there)
                if not versions.at_least(self._committed(), version):
                    self._commit(self._committed(), version)
        except GitError as error:
            look = f"git log --graph HEAD {there[:12]}"
            raise Failure(
                f"What {branch} has cannot be taken in: {error.words}", look, f"git pull, then {AGAIN}"
            ) from error

    def _is_ours(self, commit: str) -> bool:
        """Say whether a commit changes nothing but GitLab's version."""
        names = self.git.here("diff-tree", "-r", "-z", "--no-commit-id", "--name-only", commit).out.split("\0")
        changed = [name for name in names if name]
        if not changed or not set(changed) <= set(version_files.NAMES):
            return False
        sides = []
        for side in (f"{commit}~1", commit):
            texts = {name: self.git.show(side, name) or "" for name in changed}
            sides.append(texts)
        sides[0].setdefault(gitlab_image.VALUES, self.git.show(f"{commit}~1", gitlab_image.VALUES) or "")
        return version_files.is_only_another_version(*sides)

    def _push(self) -> None:
        """Push what this command has committed. Image automation may push at the same moment: then once more."""
        for number in range(1, PUSHES + 1):
            self._catch_up()
            url, access = self._place
            try:
                self.following.push_branch(url, access)
            except GitError as error:
                if number == PUSHES:
                    look = (
                        ""
                        if not self.settings.self_hosted
                        else f"{self.settings.gitlab_url}/{self.settings.lab_project}"
                    )
                    raise Failure(f"The commit could not be pushed to {url}: {error.words}", look) from error
            else:
                return

    # Waiting

    def _flux_has_it(self) -> bool:
        """Say whether Flux has the last commit: then GitLab is about to restart, and is not asked for anything."""
        self.cluster.ask_flux_again(GIT_REPOSITORY, FLUX, FLUX)
        try:
            self.lab.patience.wait(1, "whether the commit is pushed", self._looked)
        except TimedOutError:
            # GitLab does not answer Flux.
            return self._holds_head()
        return self._holds_head()

    def _looked(self) -> str | None:
        source = self.cluster.find(GIT_REPOSITORY, FLUX, FLUX) or NOTHING
        if self._holds_head() or source.status.get(HANDLED) == source.annotations.get(REQUESTED):
            return None
        return "Flux looks at the repository"

    def _holds_head(self) -> bool:
        """Say whether Flux's commit holds the last one here; of a commit that is not here nobody can tell."""
        commit = revision(self.cluster.find(GIT_REPOSITORY, FLUX, FLUX) or NOTHING)
        return bool(commit) and self.git.has_commit(commit) and self.git.is_ancestor("HEAD", commit)

    def _wait_for(self, version: str) -> None:
        """Wait until Flux has brought a version, and its pod is ready."""
        limits, namespace = self.lab.limits, self.settings.gitlab_namespace

        def probe() -> str | None:
            self.following.refuse_what_the_check_refused()
            found = installed_version(self.cluster.find("deployment", "gitlab", namespace))
            if versions.shown(found) != version:
                return self.probes.flux_complaint() or "Flux brings it"
            return self.probes.gitlab_healthy()

        minutes = limits.wait_flux_minutes + limits.wait_gitlab_minutes
        try:
            self.lab.patience.wait(minutes, f"GitLab {version}", probe)
        except TimedOutError as late:
            raise Failure(
                f"GitLab {version} does not run after {minutes} minutes: {late}",
                f"./lab status; kubectl logs deploy/gitlab -n {namespace} --tail=80",
                f"if it is only slow, {AGAIN}: it waits on. Otherwise\n"
                f"{self.probes.way_out() or 'fix apps/gitlab/, commit, and push'}",
            ) from late
        self.console.have(f"GitLab {version} runs")
