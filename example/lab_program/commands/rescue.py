"""`./lab rescue`: GitLab back from this working tree, where a commit has stopped the GitLab that hosts the repository."""

from __future__ import annotations

import argparse

from ..errors import ExitCode, Failure
from ..hands_off import HandsOff
from ..lab import Lab
from ..probes import FLUX, HELM_RELEASE, KUSTOMIZATION
from ..stages import STAGES
from ..stages.base import Stage
from ..stages.flux import InstallFlux
from ..stages.following import Following
from ..stages.gitlab import InstallGitLab
from ..stages.groups import Groups
from ..stages.registry import Registry
from ..stages.storage import Storage
from ..stages.sync import Sync
from .base import Command
from .up import YES, Up
from .update import refuse_half_an_update

# GitLab first: nothing else can be fixed without it.
ORDER: tuple[type[Stage], ...] = (Storage, InstallGitLab, InstallFlux, Groups, Registry, Sync)


class Rescue(Command):
    name = "rescue"
    purpose = "bring GitLab back from this working tree, when a commit has stopped the GitLab that hosts the repository"
    example = "./lab rescue, after git revert HEAD"
    notes = (
        "It suspends what Flux does to GitLab, checks and installs GitLab by Helm, waits until it is healthy, pushes,\n"
        "and gives GitLab back to Flux. Stopped anywhere, it goes on when it is run again."
    )
    keeps_log = True

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="look at everything, change nothing, print what would be done"
        )
        parser.add_argument("--yes", "-y", action="store_true", help=YES)

    def run(self) -> int:
        settings = self.settings
        if not settings.self_hosted:
            raise Failure(
                f"This lab's repository is at {settings.gitops_url}, which does not need this GitLab.",
                "./lab status",
                f"push the commit that fixes it there: git push {settings.gitops_url} HEAD:{settings.gitops_branch}",
            )
        refuse_half_an_update(self.folder)
        with self.lab(dry_run=self.options.dry_run) as lab:
            self.require({name for stage in STAGES for name in stage.programs(settings)})
            if not self.options.dry_run:
                Following(lab).refuse_unfit()
            kept = lab.cluster.find(KUSTOMIZATION, "gitlab", FLUX) is not None or self._has_release(lab)
            if kept:
                self._rescue(lab)
        # Only now: the lock of this run would stop the other.
        return ExitCode.DONE if kept else self._build()

    def _rescue(self, lab: Lab) -> None:
        lab.rescuing = True
        self.console.stage("suspend: Flux changes nothing of GitLab")
        HandsOff(lab).take()
        for stage in ORDER:
            self.console.stage(f"{stage.name}: {stage.purpose}")
            stage(lab).run()
        if self.options.dry_run:
            self.console.print('\nNothing was changed. Without --dry-run the lines marked "would" are done.')
        else:
            url = self.settings.gitlab_url
            self.console.print(f"\nGitLab runs from this working tree, and Flux follows it again: {url}")

    def _has_release(self, lab: Lab) -> bool:
        return lab.cluster.find(HELM_RELEASE, "gitlab", self.settings.gitlab_namespace) is not None

    def _build(self) -> int:
        """Build the lab, of which this cluster has nothing that Flux would keep."""
        self.console.doing("Flux keeps no GitLab in this cluster: going on as ./lab up")
        options = argparse.Namespace(**vars(self.options), list=False, first=None, only=None, stage=None)
        invocation = type(self.invocation)(options, [], self.invocation.arguments)
        return Up(self.folder, self.console, self.programs, invocation).run()

    def after_stop(self) -> str:
        return "run ./lab rescue again: it goes on where it was stopped"
