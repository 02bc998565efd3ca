"""A backup of GitLab by the lab's own CronJob, begun by hand; before GitLab changes, only if there is no fresh one."""

from __future__ import annotations

import datetime
from collections.abc import Callable

from .backup_target import CRON_JOB
from .clients.kubectl import KubectlError
from .clients.objects import KubeObject, pod_reason
from .errors import Failure
from .lab import Lab
from .patience import TimedOutError

# A backup that is so old is fresh enough: a run that was stopped after it goes on.
FRESH = datetime.timedelta(hours=1)


def is_possible(lab: Lab) -> bool:
    """Say whether the lab makes backups."""
    return lab.cluster.find("cronjob", CRON_JOB, lab.settings.gitlab_namespace) is not None


def ensure(lab: Lab, version: str) -> None:
    """Have a backup of GitLab as it is, made within the last hour.

    Args:
        version: the version that GitLab has.
    Raises:
        Failure: there is no backup.
    """
    namespace = lab.settings.gitlab_namespace
    name = f"{CRON_JOB}-of-{version.replace('.', '-')}"
    there = lab.cluster.find("job", name, namespace)
    if there is not None and is_of_no_use(there, datetime.datetime.now(datetime.timezone.utc)):
        lab.cluster.delete("job", name, namespace, f"remove the old Job {name}")
        there = None
    if there is None:
        begin(lab, name)
        lab.console.doing(f"backing GitLab {version} up: Job {namespace}/{name}")
    logs = f"kubectl logs -n {namespace} job/{name}"

    def failed(job: KubeObject) -> Failure:
        what = f"The backup failed, so GitLab was not touched: {job.condition('Failed').message}"
        return Failure(what, logs, "fix that, then run ./lab upgrade again")

    wait(lab, name, logs, "run ./lab upgrade again", failed)
    lab.console.have(f"a backup of GitLab as it is: {logs} says where")


def begin(lab: Lab, name: str) -> None:
    """Begin a backup, as the CronJob would, in a Job of this name."""
    namespace = lab.settings.gitlab_namespace
    lab.consent()
    try:
        lab.cluster.kubectl("create", "job", name, f"--from=cronjob/{CRON_JOB}", "--namespace", namespace)
    except KubectlError as error:
        # An answer that was lost, and asked for again.
        if "AlreadyExists" not in error.words:
            raise error.failure(f"begin the backup, Job {namespace}/{name}") from error


def is_of_no_use(job: KubeObject, now: datetime.datetime) -> bool:
    """Say whether a backup's Job has failed, or was done long ago, so that another one is needed."""
    if job.is_leaving or job.condition("Failed").is_true:
        return True
    if not job.condition("Complete").is_true:
        return False
    text = str(job.status.get("completionTime") or job.created)
    try:
        ended = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        return True
    return now - ended > FRESH


def wait(lab: Lab, name: str, logs: str, again: str, failed: Callable[[KubeObject], Failure]) -> None:
    """Wait until a backup's Job is done.

    Args:
        logs: the command that shows what the Job said.
        again: what to do if the Job is gone.
        failed: says why it failed.
    Raises:
        Failure: it failed, is gone, or takes too long.
    """
    namespace, minutes = lab.settings.gitlab_namespace, lab.limits.wait_backup_minutes

    def probe() -> str | None:
        job = lab.cluster.find("job", name, namespace)
        if job is None:
            raise Failure(f"The Job {namespace}/{name} is gone; somebody has deleted it.", "", again)
        if job.condition("Complete").is_true:
            return None
        if job.condition("Failed").is_true:
            raise failed(job)
        return pod_reason(lab.cluster.list_of("pods", namespace, f"job-name={name}"))

    try:
        lab.patience.wait(minutes, "the backup", probe)
    except TimedOutError as late:
        raise Failure(f"The backup is not done after {minutes} minutes: {late}", logs) from late
