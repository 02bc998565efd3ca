"""`./lab upgrade`: GitLab's next version, never over a required stop."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence

from .. import gitlab_image, versions
from ..clients.http import Http
from ..clients.image_registry import Existence, ImageRegistry
from ..errors import ExitCode, Failure, WrongCall
from .base import Command
from .update import Update

VALUES = gitlab_image.VALUES
WAIT = "In between wait until the background migrations are done (Admin > Monitoring > Background migrations)."


class Upgrade(Command):
    name = "upgrade"
    purpose = "take GitLab to another version, or check a commit that does; never over a required stop"
    example = "./lab upgrade 19.5.1; in the pipeline: ./lab upgrade --check COMMIT..."

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "version", metavar="VERSION", nargs="?", help="an exact version; it becomes the answer gitlab_version"
        )
        parser.add_argument(
            "--check",
            metavar="COMMIT",
            nargs="*",
            help="refuse the commit that is checked out if GitLab cannot go there from the first of these commits that is here",
        )

    def run(self) -> int:
        if self.options.check is not None:
            return self._check(self.options.check)
        version, now = self.options.version, gitlab_image.version(self.folder, self.settings.gitlab_version)
        if version is None:
            raise WrongCall("which version? It is one of https://docs.gitlab.com/releases/, such as 19.5.1")
        if not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", version):
            raise WrongCall(f'"{version}" is no exact version of GitLab, such as 19.5.1')
        problem = upgrade_problem(now, version)
        if problem:
            raise Failure(problem, "https://docs.gitlab.com/update/upgrade_paths/", "nothing was changed")
        registry = ImageRegistry(Http(None, os.environ), gitlab_image.SECONDS)
        where = gitlab_image.repository(self.folder)
        if gitlab_image.existence(registry, where, version) is Existence.MISSING:
            what = f"{gitlab_image.missing(registry, where, version)}."
            raise Failure(what, "https://docs.gitlab.com/releases/", "nothing was changed")
        update = ["update", "--data", f"gitlab_version={version}"]
        self.console.print(f"GitLab goes from {now} to {version}, in one step: ./lab {' '.join(update)}")
        invocation = type(self.invocation)(argparse.Namespace(), update[1:], update)
        return Update(self.folder, self.console, self.programs, invocation).run()

    def _check(self, commits: Sequence[str]) -> int:
        """Compare the version in apps/gitlab/values.yaml with that of the first of these commits that this clone has.

        The pipeline gives the merge request's base, the commit before a push, and where a new branch begins.
        """
        base = next((commit for commit in commits if commit and self._show(commit) is not None), None)
        if base is None:
            given = " ".join(commits)
            self.console.print(
                f'None of these commits is here with a {VALUES}: "{given}". There is nothing to compare with.'
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
