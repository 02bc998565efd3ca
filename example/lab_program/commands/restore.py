"""`./lab restore`: GitLab's data back from a backup of GitLab's own tools, in the pod that runs."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .. import backup_target, decrypting, versions
from ..backups import (
    BACKUPS_IN_POD,
    CONFIGS_IN_POD,
    DECRYPTED_BY,
    NAME,
    SUFFIX,
    apart,
    configuration_name,
    holds_secrets,
    saved_with,
)
from ..clients.kubectl import KubectlError
from ..clients.objects import NOTHING
from ..errors import ExitCode, Failure, WrongCall
from ..lab import Lab
from ..patience import TimedOutError
from ..probes import HELM_RELEASE
from ..programs import Result
from .base import Command

VERSION_FILE = "/opt/gitlab/embedded/service/gitlab-rails/VERSION"
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
# Where GitLab's pod remembers for which answer it was told who may sign up: partials/sign-up.yaml.jinja of the template.
SIGN_UP_MARK = "/var/opt/gitlab/lab-sign-up"
DESCRIPTION = """\
Brings GitLab's data back from a backup of GitLab's own tools, in the pod that runs. The lab's README says when.

A backup fits the very version of GitLab that wrote it, and is worth nothing without its gitlab-secrets.json, which is
in the backup of the configuration (gitlab_config_*.tar). Without --config, restore takes the one of the same night:
from the pod, or, with --from, from the folder of FILE.

With --target it comes from where the lab sends its backups (backup_target), and is decrypted on this machine, with your
private age key. On a new cluster: ./lab up first, then ./lab backup list, then ./lab restore --target NAME.
https://docs.gitlab.com/administration/backup_restore/restore_gitlab/
"""


class Restore(Command):
    name = "restore"
    purpose = "bring GitLab's data back from a backup"
    example = (
        "./lab restore --list, then ./lab restore 1790000000_2026_09_21_19.3.0;\n"
        "from where backups are sent to: ./lab restore --target 1790000000_2026_09_21_19.3.0"
    )
    keeps_log = True

    stopping = ""

    @classmethod
    def description(cls) -> str:
        return DESCRIPTION

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "backup", metavar="BACKUP", nargs="?", help=f'a backup that the pod has: its name up to "{SUFFIX}"'
        )
        parser.add_argument("--list", action="store_true", help="the backups that the pod has")
        parser.add_argument("--from", dest="data", metavar="FILE", type=Path, help="a backup that was kept elsewhere")
        parser.add_argument(
            "--config", metavar="FILE", type=Path, help="the backup of the configuration that belongs to it"
        )
        parser.add_argument(
            "--target", action="store_true", help="BACKUP, or the newest, from where backups are sent to"
        )
        parser.add_argument("--yes", "-y", action="store_true", help="do not ask")

    def run(self) -> int:
        with self.lab(alone=not self.options.list) as lab:
            self.require({"kubectl"} if self.options.list else {"kubectl", "flux", "helm"})
            work = Restoring(lab)
            if self.options.list:
                for name in work.backups():
                    self.console.print(name)
                return ExitCode.DONE
            backup = self._from_target(lab, work) if self.options.target else self._chosen()
            if not self.options.target:
                work.check_version(backup)
            self.stopping = backup
            work.restore(backup, self.options.data, self.options.config)
        return ExitCode.DONE

    def _from_target(self, lab: Lab, work: Restoring) -> str:
        """Bring a backup from where they are sent to into the pod, beside those that it has, and return its name."""
        if self.options.data is not None or self.options.config is not None:
            raise WrongCall("--target brings both files of a backup; leave --from and --config out")
        name = str(self.options.backup or "").removesuffix(SUFFIX)
        with backup_target.opened(lab) as target:
            found = backup_target.find(target.sets(), name, lab.settings.backup_place)
            work.check_version(found.name)
            key = decrypting.Key(lab, found)
            lab.consent()
            decrypting.bring_into_pod(lab, target, found, key)
        return found.name

    def _chosen(self) -> str:
        """Return the name of the backup that is meant."""
        for file in (self.options.data, self.options.config):
            if file is not None and not file.is_file():
                raise Failure(f'The file "{file}" cannot be read.')
        if self.options.data is not None and self.options.backup:
            raise WrongCall("BACKUP and --from exclude each other: a file has its name in it")
        backup = str(self.options.data.name if self.options.data else self.options.backup or "").removesuffix(SUFFIX)
        if not backup:
            raise Failure("Which backup?", "./lab restore --list", "./lab restore BACKUP")
        if not NAME.fullmatch(backup):
            raise Failure(f'"{backup}" is not the name of a GitLab backup.', "./lab restore --list")
        return backup

    def after_stop(self) -> str:
        if not self.stopping:
            return "nothing was restored"
        return f"GitLab may hold half of the backup now: run ./lab restore {self.stopping} again, it begins anew"


@dataclass(frozen=True)
class Configuration:
    """A backup of GitLab's configuration.

    Attributes:
        name: how it is called in the pod.
        file: where it is here; nothing for one that the pod has.
    """

    name: str
    file: Path | None = None

    @property
    def source(self) -> str:
        return str(self.file or self.name)


class Restoring:
    """One restore. The release is taken from Flux meanwhile, and given back whatever happens."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.console, self.pod, self.cluster = lab, lab.console, lab.pod, lab.cluster
        self.namespace = lab.settings.gitlab_namespace
        self.exec = f"kubectl exec deploy/gitlab -n {self.namespace} --"

    def backups(self) -> list[str]:
        """Return the names of the pod's backups, the newest first."""
        done = self.pod.run("sh", "-c", f"ls -1t {BACKUPS_IN_POD} 2>/dev/null")
        if done.status:
            raise Failure("The backups cannot be listed.", f"kubectl get pods -n {self.namespace}")
        return [
            line.removesuffix(SUFFIX) for line in done.out.splitlines() if NAME.fullmatch(line.removesuffix(SUFFIX))
        ]

    def check_version(self, backup: str) -> None:
        """GitLab refuses a backup of another version, after it has stopped itself. Better to know before."""
        if backup.endswith("-ee"):
            then = "restore it into a GitLab EE; no other edition takes it"
            raise Failure(f"The backup {backup} is foreign: GitLab EE wrote it, and this lab runs CE.", "", then)
        made_by = versions.shown(backup.rpartition("_")[2])
        done = self.pod.run("cat", VERSION_FILE)
        if done.status:
            then = "bring it up first (./lab up --from gitlab), then restore into it"
            raise Failure("GitLab does not run.", f"kubectl get pods -n {self.namespace}", then)
        running = versions.shown(done.out)
        if made_by != running:
            then = f"set gitlab_version to {made_by}, let that version start, restore, then upgrade"
            raise Failure(f"The backup was written by GitLab {made_by}; {running} runs.", "", then)

    def restore(self, backup: str, data: Path | None, config: Path | None) -> None:
        """Replace everything in GitLab by a backup.

        Args:
            data, config: files that were kept elsewhere; otherwise what the pod has.
        """
        target = f"{BACKUPS_IN_POD}/{backup}{SUFFIX}"
        if data is None and self.pod.run("test", "-f", target).status:
            then = "./lab restore --from FILE restores a file from here"
            raise Failure(f"The pod has no backup {backup}.", "./lab restore --list", then)
        configuration = self._configuration(backup, data, config)
        self._ask(backup, configuration)
        with self._taken_from_flux():
            if data is not None:
                self._copy(data, target)
            if configuration is not None:
                self._restore_configuration(configuration)
            self._restore_data(backup)
        self._wait_for_gitlab()
        self.console.doing("checking the result")
        self._check_secrets()
        self.console.have(
            f"GitLab runs on the backup {backup}; its tokens are those of that day: ./lab up fixes what no longer fits"
        )

    def _ask(self, backup: str, configuration: Configuration | None) -> None:
        question = f"Everything in GitLab now is replaced by the backup {backup}.\n"
        if configuration is not None:
            pair = f"configuration {configuration.source}, {apart(backup, configuration.name)}"
            self.console.have(f"the backup {backup} with the {pair}")
        where = "" if self.console.assume_yes else f"{self.lab.consent.cluster_in_words()}\n"
        if not self.console.ask_yes(f"{question}{where}Go on?", "./lab restore --yes"):
            raise Failure("Not restored.", "", "nothing was changed")
        self.lab.consent.given = True

    def _restore_data(self, backup: str) -> None:
        self.console.doing("stopping what writes (puma, sidekiq, registry)")
        for service in ("puma", "sidekiq", "registry"):
            if self.pod.run("gitlab-ctl", "stop", service).status:
                raise Failure("GitLab could not be stopped for the restore.", f"{self.exec} gitlab-ctl status")
        # Who may sign up comes from the backup, too, and may be from before the answer: at its start GitLab asks again.
        if self.pod.run("rm", "-f", SIGN_UP_MARK).status:
            raise Failure(f"{SIGN_UP_MARK} in GitLab's pod could not be removed.", f"{self.exec} ls -l {SIGN_UP_MARK}")
        self.console.doing(f"restoring {backup}; this takes as long as the backup did")
        done = self.pod.run("env", "GITLAB_ASSUME_YES=1", "gitlab-backup", "restore", f"BACKUP={backup}")
        if done.status:
            then = f"run ./lab restore {backup} again: it begins anew"
            raise Failure(f"GitLab did not restore {backup}: {tail(done)}", "the lines above", then)
        self.console.did(f"restored {backup}")

    def _copy(self, source: Path, target: str) -> None:
        self.console.doing("copying the backup into the pod")
        if not self.pod.put(source, target) or self.pod.run("chown", "git:git", target).status:
            raise Failure("The backup could not be copied into the pod.", f"{self.exec} df -h {BACKUPS_IN_POD}")

    def _configuration(self, backup: str, data: Path | None, config: Path | None) -> Configuration | None:
        """Return the configuration that belongs to a backup; None where there is none, and the one in place is kept.

        What the pod has of that night says nothing of data that comes from elsewhere: it may be another GitLab's.
        """
        if config is None and data is not None:
            beside = saved_with(backup, sorted(file.name for file in data.absolute().parent.iterdir()))
            config = next((data.parent / name for name in beside if holds_secrets(data.parent / name)), None)
        elif config is not None and not holds_secrets(config):
            then = f"give the gitlab_config_*.tar that was saved with {backup}"
            raise Failure(f'"{config}" is no complete archive with a gitlab-secrets.json.', f"tar -tf {config}", then)
        if config is not None:
            return Configuration(configuration_name(backup), config)
        names = [] if data is not None else self.pod.run("ls", "-1", CONFIGS_IN_POD).out.splitlines()
        for name in saved_with(backup, names):
            listed = self.pod.run("tar", "--list", "--file", f"{CONFIGS_IN_POD}/{name}")
            if listed.status == 0 and DECRYPTED_BY in listed.out:
                return Configuration(name)
            self.console.warn(f"{CONFIGS_IN_POD}/{name} is broken, or holds no gitlab-secrets.json; it is passed over.")
        self.console.warn(
            f"There is no backup of GitLab's configuration that was saved with {backup}; the one in place is kept.\n"
            "If it is not of this backup, tokens and two-factor secrets are lost. To give it: --config FILE"
            + "".join(f"\nOf another time: {CONFIGS_IN_POD}/{name}" for name in names)
        )
        return None

    def _restore_configuration(self, configuration: Configuration) -> None:
        """Restore gitlab-secrets.json and the SSH host keys."""
        archive = f"{CONFIGS_IN_POD}/{configuration.name}"
        if configuration.file is not None:
            self.console.doing("copying the configuration into the pod")
            made = self.pod.run("mkdir", "-p", CONFIGS_IN_POD).status == 0
            if not made or not self.pod.put(configuration.file, archive):
                raise Failure("The configuration could not be copied into the pod.", f"{self.exec} df -h /etc/gitlab")
        # gitlab-ctl backup-etc packs /etc/gitlab/..., an owner's own tar perhaps etc/gitlab/...: the * takes both.
        wanted = (f"*{DECRYPTED_BY}", "*etc/gitlab/ssh_host_*")
        unpack = ("tar", "--extract", "--file", archive, "--directory", "/", "--wildcards", *wanted)
        if self.pod.run(*unpack).status:
            look = f"{self.exec} tar -tf {archive}"
            raise Failure(f"The configuration in {configuration.source} could not be unpacked.", look)
        if self.pod.run("gitlab-ctl", "reconfigure").status:
            look = f"{self.exec} gitlab-ctl reconfigure"
            raise Failure("GitLab could not be reconfigured with the restored secrets.", look)
        self.console.did(f"gitlab-secrets.json and host keys from {configuration.source}")

    @contextlib.contextmanager
    def _taken_from_flux(self) -> Iterator[None]:
        """Hold the release: Flux would undo what follows, and the probes would kill a GitLab whose web server is
        stopped.

        The pod is replaced once here and once at the end; the second start also reconfigures GitLab with what was
        restored.
        """
        by_flux = self.cluster.find(HELM_RELEASE, "gitlab", self.namespace) is not None
        suspended = changed = False
        try:
            if by_flux:
                self.console.doing("suspending the GitLab release in Flux")
                suspended = True
                if not self.lab.flux.suspend("gitlab", self.namespace):
                    look = f"flux get helmreleases -n {self.namespace}"
                    raise Failure("Flux does not let go of the GitLab release.", look)
            self.console.doing("taking the probes off, so that nothing restarts GitLab meanwhile")
            changed = True
            self._remove_probes()
            self._wait_for_gitlab()
            yield
        finally:
            self._give_back(suspended=suspended, changed=changed)

    def _remove_probes(self) -> None:
        deployment = self.cluster.find("deployment", "gitlab", self.namespace) or NOTHING
        container: Mapping[str, object] = next(iter(deployment.containers), {})
        path = "/spec/template/spec/containers/0/"
        steps = [{"op": "remove", "path": path + probe} for probe in PROBES if probe in container]
        try:
            if steps:
                self.cluster.patch("deployment", "gitlab", self.namespace, steps)
            self._rolled_out()
        except KubectlError as error:
            look = f"kubectl get deploy,pods -n {self.namespace}"
            raise Failure(f"GitLab's Deployment could not be changed for the restore: {error}", look) from error

    def _rolled_out(self) -> None:
        self.cluster.kubectl(
            "rollout", "status", "deployment", "gitlab", "--namespace", self.namespace, "--timeout=20m"
        )

    def _give_back(self, *, suspended: bool, changed: bool) -> None:
        """Give the release to Flux again, which puts the probes back; without Flux, apply what Helm installed anew.

        A rollback of the Deployment might bring back more than the probes: an older GitLab, after a run that was killed.
        """
        if suspended:
            self.console.doing("giving the release back to Flux")
            if not self.lab.flux.resume("gitlab", self.namespace):
                self.console.warn(f"flux resume helmrelease gitlab -n {self.namespace} did not work; run it by hand.")
            self.lab.flux.reconcile("gitlab", self.namespace)
        elif changed:
            self.console.doing("putting the probes back")
            self._put_probes_back()
        if suspended or changed:
            with contextlib.suppress(KubectlError):
                self._rolled_out()

    def _put_probes_back(self) -> None:
        manifest = self.lab.helm.installed_manifest()
        if manifest is not None:
            with contextlib.suppress(Failure):
                self.cluster.apply_text("GitLab's release", manifest, "helm", self.namespace)
                return
        self.console.warn(
            "GitLab runs without its probes. To put them back:\n"
            f"helm get manifest gitlab -n {self.namespace} | kubectl apply -n {self.namespace} --server-side"
            " --force-conflicts -f -"
        )

    def _wait_for_gitlab(self) -> None:
        """Wait: a pod that is rolled out need not be a GitLab that answers; its Rails has to reach the database."""

        def up() -> str | None:
            if self.pod.run("gitlab-ctl", "status", "puma").status:
                return "its web server does not run"
            return "its Rails does not answer" if self.pod.run("gitlab-rake", "gitlab:env:info").status else None

        try:
            self.lab.patience.wait(self.lab.limits.wait_gitlab_minutes, "GitLab", up)
        except TimedOutError as late:
            look = f"kubectl logs deploy/gitlab -n {self.namespace} --tail=80"
            raise Failure(f"GitLab did not come up: {late}.", look) from late

    def _check_secrets(self) -> None:
        """Say whether the data can be decrypted. The task ends well whatever it finds; its last line says how much."""
        report = self.pod.run("gitlab-rake", "gitlab:doctor:secrets").out
        self.console.print(report.rstrip())
        if "Total: 0 row" not in report:
            self.console.warn(
                "Some secrets cannot be decrypted: the configuration (gitlab-secrets.json) does not belong to "
                "this backup."
            )


def tail(done: Result) -> str:
    """Return the last lines that a command of GitLab's said."""
    return "\n".join((done.out + done.err).strip().splitlines()[-10:])
