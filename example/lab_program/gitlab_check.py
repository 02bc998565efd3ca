"""The check before GitLab (apps/gitlab-check): what it says, and running it where Helm installs GitLab."""

from __future__ import annotations

from .clients.helm import CHECK, Helm
from .clients.objects import KubeObject, pod_reason
from .errors import Failure
from .helm_records import drop_unfinished, install
from .lab import Lab
from .patience import TimedOutError

NAME = CHECK.name
SELECTOR = f"app.kubernetes.io/instance={NAME}"
ACCOUNT = "apps/gitlab-check/account.yaml"
# In a rescue the program compares the versions itself: what the Deployment names may never have run.
ANY_VERSION = "env.LAB_CHECK_VERSIONS=no"


class GitLabCheck:
    """The check of one lab."""

    def __init__(self, lab: Lab) -> None:
        self._lab, self._namespace = lab, lab.settings.gitlab_namespace

    @property
    def look(self) -> str:
        """The command that shows all that the check has said."""
        return f"kubectl logs -n {self._namespace} -l {SELECTOR} --all-containers --tail=-1"

    def refusal(self) -> str | None:
        """Return what the newest check has said against the next GitLab; None if it has not failed."""
        pods = self._lab.cluster.list_of("pods", self._namespace, SELECTOR)
        return refusal_of(pods)

    def failure(self, refusal: str) -> Failure:
        """Return the end of a run that the check has stopped."""
        then = f"fix apps/gitlab/, commit, and run ./lab {'rescue' if self._lab.rescuing else 'up'} again"
        if self._lab.upgrading:
            then = (
                "fix apps/gitlab/ and commit, or take the new version back (git revert HEAD)\n"
                "push that (./lab up --only sync), then run ./lab upgrade again"
            )
        return Failure(
            f"GitLab's next version or settings were refused before anything of GitLab was changed.\n{refusal}",
            self.look,
            then,
        )

    def run(self) -> None:
        """Check what this working tree would install, by Helm.

        Raises:
            Failure: GitLab would not start with it, or it could not be checked.
        """
        lab = self._lab
        if lab.dry_run:
            lab.console.would("check GitLab's image and settings with a Job, apps/gitlab-check")
            return
        lab.console.doing("checking GitLab's image and settings; the first download of the image takes minutes")
        lab.cluster.apply_file("the check's account", lab.folder / ACCOUNT, self._namespace)
        extra = (ANY_VERSION,) if lab.rescuing else ()
        helm = Helm(lab.programs, lab.folder, self._namespace, lab.consent, CHECK, extra)
        drop_unfinished(lab, CHECK)
        install(lab, helm, "the check")
        minutes = lab.limits.wait_gitlab_minutes
        try:
            lab.patience.wait(minutes, "the check before GitLab", self._passed)
        except TimedOutError as late:
            raise Failure(f"The check before GitLab did not end: {late}", self.look) from late
        lab.console.have("GitLab's image takes its settings")

    def _passed(self) -> str | None:
        """Whether the newest Job has succeeded.

        Raises:
            Failure: it has failed.
        """
        jobs = [one for one in self._lab.cluster.list_of("jobs", self._namespace, SELECTOR) if not one.is_leaving]
        if not jobs:
            return "no Job yet"
        newest = max(jobs, key=lambda one: one.created)
        if newest.condition("Complete").is_true:
            return None
        if newest.condition("Failed").is_true:
            raise self.failure(self.refusal() or newest.condition("Failed").message)
        return pod_reason(self._lab.cluster.list_of("pods", self._namespace, f"job-name={newest.name}"))


def refusal_of(pods: list[KubeObject]) -> str | None:
    """Return what the newest of a check's pods said when it failed; None if it has not."""
    here = sorted((pod for pod in pods if not pod.is_leaving), key=lambda pod: pod.created)
    for pod in here[-1:]:
        for kind in ("initContainerStatuses", "containerStatuses"):
            for one in pod.status.get(kind) or []:
                ended = (one.get("state") or {}).get("terminated") or {}
                if ended.get("exitCode"):
                    said = str(ended.get("message") or "").strip()
                    return said or f"it ended with {ended['exitCode']}, and said nothing"
    return None
