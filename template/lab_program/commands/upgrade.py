"""`./lab upgrade`: GitLab to another version, from required stop to required stop."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence

from .. import fresh_backup, gitlab_image, upgrade_path, versions
from ..clients.http import Http
from ..clients.image_registry import Existence, ImageRegistry
from ..errors import ExitCode, Failure, WrongCall
from ..lab import Lab
from ..stages.following import Following
from ..upgrade_path import PAGE, UNCHANGED, Step
from ..upgrading import Standing, Upgrading
from ..version_files import RUNNER
from ..workspace import state_folder
from .base import Command
from .up import YES
from .update import refuse_half_an_update

VALUES = gitlab_image.VALUES
WAIT = "In between wait until the background migrations are done (Admin > Monitoring > Background migrations)."
BACKUPS_OFF = "This lab makes no backups: there is no CronJob gitlab-backup."


class Upgrade(Command):
    name = "upgrade"
    purpose = "take GitLab to another version, from required stop to required stop"
    example = "./lab upgrade --dry-run, then ./lab upgrade; or ./lab upgrade 19.5.1"
    notes = (
        "Without VERSION it goes to the newest that GitLab's image registry has. It shows the way and asks. Each step: a\n"
        "backup, a commit that is pushed, and a wait until Flux has rolled it out, GitLab is healthy and its background\n"
        "migrations are done. Stopped anywhere, it goes on when it is run again. In the pipeline, --check COMMIT... refuses\n"
        "a commit with which GitLab would jump over a stop. How long it waits: ./lab up --help, LAB_WAIT_..."
    )

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("version", metavar="VERSION", nargs="?", help="an exact version, such as 19.5.1")
        parser.add_argument(
            "--dry-run", action="store_true", help="look at everything, change nothing, print the steps"
        )
        parser.add_argument("--yes", "-y", action="store_true", help=YES)
        parser.add_argument(
            "--without-backup", action="store_true", help="make no backup before each step; an upgrade cannot be undone"
        )
        parser.add_argument(
            "--check",
            metavar="COMMIT",
            nargs="*",
            help="refuse the commit that is checked out if GitLab cannot upgrade to it from the first of these that the clone has",
        )

    def run(self) -> int:
        if self.options.check is not None:
            return self._check(self.options.check)
        target = self.options.version
        if target is not None:
            self._refuse(target)
        refuse_half_an_update(self.folder)
        self.console.open_log(state_folder(os.environ, self.settings.lab_name), self.name)
        with self.lab(dry_run=self.options.dry_run) as lab:
            self.require({"kubectl", *Following.programs(self.settings)})
            work = Upgrading(lab)
            work.refuse_unfit()
            standing = work.look()
            target = target or self._newest(standing.committed)
            steps = self._plan(standing, target)
            backup = bool(steps) and self._backup(lab)
            self._tell(standing, steps, target, backup=backup)
            if self.options.dry_run:
                self.console.print("\nNothing was changed.")
                return ExitCode.DONE
            self._ask(lab, steps)
            work.run(standing, steps, backup=backup)
            self._close(target)
        return ExitCode.DONE

    # The way

    def _refuse(self, target: str) -> None:
        """End the run where a version can be refused without a look at the cluster."""
        if not re.fullmatch(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)", target):
            raise WrongCall(f'"{target}" is no exact version of GitLab, such as 19.5.1')
        now = gitlab_image.version(self.folder, self.settings.gitlab_version)
        self._refuse_way(now, target)
        registry, where = self._registry, gitlab_image.repository(self.folder)
        if target != now and gitlab_image.existence(registry, where, target) is Existence.MISSING:
            what = f"{gitlab_image.missing(registry, where, target)}."
            raise Failure(what, "https://docs.gitlab.com/releases/", UNCHANGED)

    def _refuse_way(self, now: str, target: str) -> None:
        problem = upgrade_path.refusal(now, target)
        if problem:
            newer = f"./lab update brings a newer template, which may know them; {UNCHANGED}"
            raise Failure(problem, PAGE, UNCHANGED if "back" in problem else newer)

    @property
    def _registry(self) -> ImageRegistry:
        """The registry of GitLab's image; the system's authorities are trusted there, not the lab's own."""
        return ImageRegistry(Http(None, os.environ), gitlab_image.SECONDS)

    def _newest(self, now: str) -> str:
        """Return the newest version that there is."""
        where = gitlab_image.repository(self.folder)
        newest = gitlab_image.newest(self._registry, where, now)
        if newest is None:
            raise Failure(
                f"The registry of {where} does not say from here which GitLab is the newest.",
                "https://docs.gitlab.com/releases/",
                "name it: ./lab upgrade VERSION",
            )
        return newest or now

    def _plan(self, standing: Standing, target: str) -> list[Step]:
        registry, where = self._registry, gitlab_image.repository(self.folder)
        self._refuse_way(standing.committed, target)
        return upgrade_path.plan(
            standing.committed, target, lambda minor: gitlab_image.newest_patch(registry, where, f"{minor}.0")
        )

    def _backup(self, lab: Lab) -> bool:
        if self.options.without_backup:
            return False
        if not fresh_backup.is_possible(lab):
            raise Failure(
                BACKUPS_OFF,
                f"kubectl get cronjobs -n {self.settings.gitlab_namespace}",
                "./lab update --data backups=true, commit and push; or ./lab upgrade --without-backup",
            )
        return True

    def _tell(self, standing: Standing, steps: Sequence[Step], target: str, *, backup: bool) -> None:
        """Print the way."""
        lines = [f"GitLab {standing.installed} runs."]
        if standing.committed != standing.installed:
            lines.append(
                f"{standing.committed} is committed already: an earlier step, which is brought to its end first."
            )
        if not steps and standing.committed == standing.installed:
            lines.append(f"{target} is the version that was asked for. Left to check: its background migrations.")
        before = standing.committed
        for number, step in enumerate(steps, 1):
            lines.append(f"{number}. {before} -> {step.version}  {step.why}")
            before = step.version
        if steps:
            what = (
                "a backup, a commit that is pushed, about 5 minutes of downtime"
                if backup
                else "a commit that is pushed, about 5 minutes of downtime; NO BACKUP"
            )
            lines.append(f"Each step: {what}, and a wait for its background migrations.")
            lines.append("What changes in each version: https://docs.gitlab.com/update/versions/")
        self.console.print("\n".join(lines))

    def _ask(self, lab: Lab, steps: Sequence[Step]) -> None:
        where = "" if self.console.assume_yes else f"{lab.consent.cluster_in_words()}\n"
        what = (
            f"GitLab goes to {steps[-1].version}, and cannot go back" if steps else "This run makes a token in GitLab"
        )
        if not self.console.ask_yes(f"{what}.\n{where}Go on?", "./lab upgrade --yes"):
            raise Failure("Not upgraded.", "", UNCHANGED)
        lab.consent.given = True

    def _close(self, target: str) -> None:
        self.console.print(f"\nGitLab {target} runs: {self.settings.gitlab_url}")
        if self.settings.runner_kind == "docker" and (self.folder / RUNNER[0]).is_file():
            self.console.print("./lab up --only runner brings the runner of the same version to its machine.")

    def go_on(self) -> str:
        return f"fix that, then {self._again()}: it goes on where it was stopped"

    def after_stop(self) -> str:
        return f"{self._again()}: it goes on where it was stopped"

    def _again(self) -> str:
        return f"run ./lab upgrade{f' {self.options.version}' if self.options.version else ''} again"

    # The pipeline's question

    def _check(self, commits: Sequence[str]) -> int:
        """Compare the version in apps/gitlab/values.yaml with that of the first of these commits that this clone has.

        The pipeline gives the merge request's base, the commit before a push, and where a new branch begins.
        """
        base = next((commit for commit in commits if commit and self._show(commit) is not None), None)
        if base is None:
            given = " ".join(commits)
            self.console.print(
                f'This clone has {VALUES} in none of these commits: "{given}". There is nothing to compare with.'
            )
            return ExitCode.DONE
        try:
            here = (self.folder / VALUES).read_text(encoding="utf-8")
        except OSError as error:
            raise Failure(f"{VALUES} cannot be read: {error.strerror}.") from error
        there = self._show(base) or ""
        before, now = gitlab_image.version_in(there), gitlab_image.version_in(here)
        if not before or not now:
            what = f"{VALUES} names no exact version of GitLab (a tag such as 19.3.0-ce.0), so its upgrades cannot be checked."
            raise Failure(what, "", "write an exact version there, and commit")
        problem = upgrade_problem(before, now)
        if problem:
            raise Failure(
                problem, "https://docs.gitlab.com/update/upgrade_paths/", "commit a version that GitLab can go to"
            )
        digest = gitlab_image.digest_in(here)
        if digest and before != now and digest == gitlab_image.digest_in(there):
            what = f"{VALUES} asks for GitLab {now}, and its image.digest is still that of {before}, which would go on running."
            raise Failure(
                what, "", f"take the line with {digest[:19]}... out, or write the digest of {now}, and commit"
            )
        self.console.print(
            f"GitLab stays at {now}." if before == now else f"GitLab goes from {before} to {now}, in one step."
        )
        return ExitCode.DONE

    def _show(self, commit: str) -> str | None:
        done = self.programs.run(["git", "-C", str(self.folder), "show", f"{commit}:./{VALUES}"])
        return done.out if done.status == 0 else None


def upgrade_problem(before: str, now: str) -> str:
    """Return why GitLab cannot go from one version to another in one step, and which way it can; nothing if it can."""
    if not versions.at_least(now, before):
        return f"GitLab cannot go back from {before} to {now}: its database has moved on. Restore a backup that was made with {now}."
    stops = versions.required_stops(before, now)
    if not stops:
        return ""
    path = ", then the newest ".join(stops)
    return (
        f"GitLab cannot go from {before} to {now} in one step: it has to stop on the way.\n"
        f"Take the newest {path}, then {now}. {WAIT}"
    )
