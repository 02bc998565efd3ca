"""`./lab up`: from a bare cluster to a working lab; and `./lab verify`, its last stage by itself.

It keeps no record: every stage looks at the cluster, at GitLab and at the runner's machine, and does only what is
missing there. So it may be stopped at any moment, in any way, and run again.
"""

from __future__ import annotations

import argparse

from ..errors import ExitCode, WrongCall
from ..stages import STAGES
from ..stages.account import password_command
from ..stages.base import Stage
from ..stages.preflight import Preflight as PreflightStage
from ..stages.verify import Verify as VerifyStage
from .base import Command
from .update import refuse_half_an_update

NAMES = tuple(stage.name for stage in STAGES)
YES = "change the cluster of your kubeconfig without asking; needed if there is no terminal"
ENVIRONMENT = """\
Environment, all of it optional (the value here is the default):
  LAB_WAIT_FLUX_MINUTES=10     how long to wait for Flux' controllers, for what they apply, and for smaller things
  LAB_WAIT_GITLAB_MINUTES=20   how long GitLab may take to become healthy; its first start is slow
  LAB_WAIT_RUNNER_MINUTES=5    how long the runner may take to report to GitLab
  LAB_WAIT_VERIFY_MINUTES=15   how long each step of the loop may take in verify
  LAB_WAIT_BACKUP_MINUTES=360  how long the backup before an upgrade may take
  LAB_WAIT_MIGRATIONS_MINUTES=180  how long ./lab upgrade waits for GitLab's background migrations before it stops
  LAB_POLL_SECONDS=5           the pause between two looks while waiting
  LAB_RETRIES=6                how many times a request is sent if it fails with a transient error
  LAB_RETRY_SECONDS=1          the first pause between such requests; it doubles up to 60
  LAB_HTTP_SECONDS=60          how long one request to GitLab may take
  LAB_SKIP=''                  names of preflight's checks that are only warnings, for example "dns memory"
  LAB_GIT_USERNAME=''          an external https repository: Flux's user name there ...
  LAB_GIT_PASSWORD_FILE=''     ... and a file that holds its password or token (chmod 600)
  LAB_ACME_DNS_FILE=''         DNS-01: a file (chmod 600) with the provider's token, lines NAME=value
  LAB_ALERTS_FILE=''           the alarm: a file (chmod 600) with its channel's token or webhook, a line NAME=value
  LAB_LOGIN_FILE=''            a log-in at a provider of yours: a file (chmod 600) with a line client-secret=…
  LAB_BACKUPS_FILE=''          backups to S3: a file (chmod 600) with the access key, lines NAME=value
  LAB_GIT_HOST_KEY=''          an external ssh repository: fingerprint (SHA256:...) of its host key
  LAB_PROXMOX_TOKEN_FILE=''   machines on Proxmox: a file that holds its API token, USER@REALM!NAME=SECRET (chmod 600)
  NO_COLOR=1                   no colours, no line that moves
KUBECONFIG, the proxies, SSL_CERT_FILE and SSH's own configuration are used as they are.

Exit status: 0 done, 1 something to fix (the last lines say what), 2 wrong call, 129, 130, 143 stopped by a signal.
"""


class Up(Command):
    name = "up"
    purpose = "turn a bare cluster into the lab, stage by stage; safe to stop and to run again"
    example = "./lab up --dry-run, then ./lab up; later ./lab up --only runner"
    notes = ENVIRONMENT
    keeps_log = True

    stage = ""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--list", action="store_true", help="name the stages, in order")
        parser.add_argument(
            "--dry-run", action="store_true", help="look at everything, change nothing, print what would be done"
        )
        parser.add_argument("--yes", "-y", action="store_true", help=YES)
        parser.add_argument("--from", dest="first", metavar="STAGE", nargs="?", const="", help="begin with STAGE")
        parser.add_argument("--only", metavar="STAGE", nargs="?", const="", help="run STAGE and nothing else")
        parser.add_argument("stage", metavar="STAGE", nargs="?", help="the same as --only STAGE")

    def run(self) -> int:
        options = self.options
        if options.list:
            for stage in STAGES:
                self.console.print(f"{stage.name:<12} {stage.purpose}")
            return ExitCode.DONE
        for name in (options.first, options.only, options.stage):
            if name == "":
                raise WrongCall("a stage is missing after --from or --only")
            if name is not None and name not in NAMES:
                raise WrongCall(f'there is no stage or option "{name}"')
        only = options.only or options.stage
        if (options.first and only) or (options.only and options.stage):
            raise WrongCall("--from and a single stage exclude each other")
        chosen = [stage for stage in STAGES if not only or stage.name == only]
        if options.first:
            chosen = chosen[NAMES.index(options.first) :]
        return self._run(chosen, only=only or "")

    def _run(self, chosen: list[type[Stage]], only: str) -> int:
        refuse_half_an_update(self.folder)
        with self.lab(dry_run=self.options.dry_run) as lab:
            needed = {name for stage in chosen for name in stage.programs(self.settings)}
            # Preflight names what is missing with everything else that needs a fix.
            if PreflightStage not in chosen:
                self.require(needed)
            for stage in chosen:
                self.stage = stage.name
                self.console.stage(f"{NAMES.index(stage.name) + 1}/{len(NAMES)} {stage.name}: {stage.purpose}")
                if stage is VerifyStage:
                    VerifyStage(lab, again=only == VerifyStage.name).run()
                elif stage is PreflightStage:
                    PreflightStage(lab, needed, alone=only == PreflightStage.name).run()
                else:
                    stage(lab).run()
        self._last_words(only)
        return ExitCode.DONE

    def _last_words(self, only: str) -> None:
        settings, tell = self.settings, self.console.print
        if self.options.dry_run:
            tell('\nNothing was changed. Without --dry-run the lines marked "would" are done.')
        elif not only:
            command = f"kubectl get secret gitlab-root -n {settings.gitlab_namespace} -o jsonpath={{.data.password}}"
            tell(f'\nThe lab "{settings.lab_name}" is up: {settings.gitlab_url}')
            tell(f"Sign in as root. The password:\n  {command} | base64 -d")
            if settings.owner_username:
                tell(f"Your own account is {settings.owner_username}. Its first password, if no mail has brought it:")
                tell(f"  {password_command(settings)}")
            tell("Prove the loop again at any time: ./lab verify")

    def go_on(self) -> str:
        if self.stage == VerifyStage.name:
            return "fix that, then run ./lab verify"
        skips = f" (--from {self.stage} skips what comes before)" if self.stage else ""
        return f"fix that, then run ./lab up again{skips}"

    def after_stop(self) -> str:
        return "run ./lab up again to go on: it fixes what was left unfinished"


class Verify(Up):
    name = "verify"
    purpose = "run the loop for real, with a new tag: tag, build, scan, commit, pod"
    example = "./lab verify"
    notes = "./lab up --help lists the environment variables."

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would be done")
        parser.add_argument("--yes", "-y", action="store_true", help=YES)

    def run(self) -> int:
        return self._run([VerifyStage], only=VerifyStage.name)

    def after_stop(self) -> str:
        return "run ./lab verify again"
