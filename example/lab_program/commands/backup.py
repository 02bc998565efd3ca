"""`./lab backup`: a backup now; which there are where they are sent to; whether one is complete, and can be opened."""

from __future__ import annotations

import argparse
import time

from .. import backup_target, decrypting, fresh_backup, registry_use, versions
from ..backup_target import COMPLETE, CRON_JOB, Stored, Target, day
from ..clients.objects import KubeObject
from ..errors import ExitCode, Failure, WrongCall
from ..lab import Lab
from .base import Command
from .up import YES

WORDS = ("list", "check", "drill")
NOTES = """\
Without an argument it makes a backup now, as the nightly CronJob does, and sends it if the lab sends backups (backup_target).

list          which backups lie there: complete, incomplete, broken or foreign, and of which GitLab
check NAME    reads one in the cluster, and compares sizes, checksums, and for how many keys it is encrypted
drill [NAME]  decrypts one with your private key on this machine, and reads both archives to their end: NAME, or the
              newest complete one. Nothing of it is written to a disk. It needs age.

Exit status: 0 done, or all is well; 1 something is wrong; 2 wrong call.
"""


class Backup(Command):
    name = "backup"
    purpose = "make a backup now; list, check and try out those that were sent elsewhere"
    example = "./lab backup list, then ./lab backup drill 1790000000_2026_09_21_19.3.0"
    notes = NOTES

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("action", metavar="list|check|drill", nargs="?", help="see below")
        parser.add_argument("backup", metavar="NAME", nargs="?", help="a backup, as list shows it")
        parser.add_argument("--yes", "-y", action="store_true", help=YES)

    def run(self) -> int:
        action, name = self.options.action, self.options.backup or ""
        if action not in (None, *WORDS):
            raise WrongCall(f'"{action}" is no argument; there are {", ".join(WORDS)}')
        if name and action == "list":
            raise WrongCall("list takes no name")
        if action == "check" and not name:
            raise WrongCall("check needs the name of a backup: ./lab backup list")
        self.require({"kubectl"})
        with self.lab(alone=action is None) as lab:
            if action is None:
                return self._now(lab)
            with backup_target.opened(lab) as target:
                if action == "list":
                    return self._list(lab, target)
                return self._check(target, name) if action == "check" else self._drill(lab, target, name)

    def _now(self, lab: Lab) -> int:
        """Run the CronJob's own Job, and wait for its end."""
        namespace, name = lab.settings.gitlab_namespace, f"{CRON_JOB}-by-hand-{int(time.time())}"
        if not fresh_backup.is_possible(lab):
            then = "./lab update --data backups=true, commit and push; Flux brings it"
            raise Failure(f"This lab makes no backups: there is no CronJob {namespace}/{CRON_JOB}.", "", then)
        self.console.have(registry_use.line(lab))
        fresh_backup.begin(lab, name)
        self.console.doing(f"backing GitLab up: Job {namespace}/{name}")
        logs = f"kubectl logs -n {namespace} job/{name} --all-containers"

        def failed(job: KubeObject) -> Failure:
            said = (lab.cluster.logs(f"job/{name}", namespace, 3) or "").strip()
            return Failure(f"The backup failed: {said or job.condition('Failed').message}", logs)

        fresh_backup.wait(lab, name, logs, "./lab backup", failed)
        self.console.did(f"a backup of GitLab: {logs}")
        for what, problem in backup_target.status(lab):
            if problem is None:
                self.console.have(what)
            else:
                self.console.warn(f"{what}: {problem}")
        return ExitCode.DONE

    def _list(self, lab: Lab, target: Target) -> int:
        sets, place = target.sets(), lab.settings.backup_place
        if not sets:
            raise Failure(f"There is no backup at {place} yet.", "", "./lab backup makes one")
        for one in sets:
            words = row(one, lab.gitlab_version)
            if one.state == COMPLETE:
                self.console.have(words)
            else:
                self.console.warn(words)
        complete = [one for one in sets if one.state == COMPLETE]
        size = decrypting.in_words(sum(one.size for one in sets))
        self.console.print(f"{len(complete)} of {len(sets)} at {place} are complete; all take {size}")
        return ExitCode.DONE if complete else ExitCode.FAILED

    def _check(self, target: Target, name: str) -> int:
        found = backup_target.find(target.sets(), name, self.settings.backup_place)
        self.console.doing(f"reading {name}, {decrypting.in_words(found.size)}, in the cluster")
        target.check(name)
        self.console.have(f"{name} is complete: sizes, checksums, and {len(found.recipients)} keys that open it")
        return ExitCode.DONE

    def _drill(self, lab: Lab, target: Target, name: str) -> int:
        found = backup_target.find(target.sets(), name, lab.settings.backup_place)
        key = decrypting.Key(lab, found)
        for one in found.recipients:
            self.console.have(f"{one} opens it{': the key is here' if one in key.recipients else ''}")
        decrypting.look_inside(lab, target, found, key)
        if age_of(found, lab.gitlab_version):
            self.console.warn(f"{found.name}: {age_of(found, lab.gitlab_version)}")
        images = "with" if found.registry else "without"
        self.console.have(
            f"{found.name} can be restored, {images} the registry's images: ./lab restore --target {found.name}"
        )
        backup_target.remember_drill(lab, found.name)
        return ExitCode.DONE


def row(one: Stored, installed: str) -> str:
    """Return a line of the list."""
    made = day(one.made) if one.made else "no backup of GitLab"
    words = f"{one.name}  {one.state}  {made}  {decrypting.in_words(one.size)}"
    if one.state != COMPLETE:
        return f"{words}: {one.why}"
    old = age_of(one, installed)
    return f"{words}  GitLab {one.version}{f' (old: {old})' if old else ''}"


def age_of(one: Stored, installed: str) -> str:
    """Return what is to be done before a backup of another version can be restored; nothing for this one's."""
    if versions.shown(one.version) == versions.shown(installed):
        return ""
    return f"it fits GitLab {one.version} alone, and this lab has {versions.shown(installed)}"
