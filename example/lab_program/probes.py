"""What is waited for: each probe returns None as soon as it is true, and otherwise what is in the way."""

from __future__ import annotations

from .clients.http import Fault, HttpError
from .clients.objects import CRASH_LOOP, RUNNING, KubeObject, pod_reason
from .errors import Failure
from .lab import Lab
from .patience import TimedOutError
from .settings import Settings
from .workloads import refusal

GIT_REPOSITORY = "gitrepositories.source.toolkit.fluxcd.io"
KUSTOMIZATION = "kustomizations.kustomize.toolkit.fluxcd.io"
HELM_RELEASE = "helmreleases.helm.toolkit.fluxcd.io"
RECEIVER = "receivers.notification.toolkit.fluxcd.io"
IMAGE_POLICY = "imagepolicies.image.toolkit.fluxcd.io"
IMAGE_REPOSITORY = "imagerepositories.image.toolkit.fluxcd.io"
IMAGE_AUTOMATION = "imageupdateautomations.image.toolkit.fluxcd.io"
FLUX = "flux-system"


def parts(settings: Settings) -> tuple[str, ...]:
    """Return the lab's Kustomizations that are waited for, in their order.

    The sample application is left out: before its first build there is no image.
    """
    manager = ("cert-manager",) if settings.installs_cert_manager else ()
    issuer = ("cert-issuer",) if settings.makes_issuer else ()
    return (FLUX, "infrastructure", *manager, *issuer, "gitlab-check", "gitlab", "automation")


def short(kind: str) -> str:
    """Return a kind as people call it: without its group."""
    return kind.partition(".")[0]


class Probes:
    """The probes of one lab."""

    def __init__(self, lab: Lab) -> None:
        self._lab, self._settings, self._cluster = lab, lab.settings, lab.cluster

    # GitLab

    def gitlab_healthy(self) -> str | None:
        """Whether GitLab runs in its newest form.

        Raises:
            Failure: waiting cannot help.
        """
        namespace = self._settings.gitlab_namespace
        deployment = self._cluster.find("deployment", "gitlab", namespace)
        if deployment is None:
            return "not installed yet" + ("" if self._settings.self_hosted else f"; {self.flux_complaint()}")
        if deployment.is_rolled_out:
            return None
        labels = (deployment.spec.get("selector") or {}).get("matchLabels") or {}
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        reason = pod_reason(self._cluster.list_of("pods", namespace, selector))
        refused = refusal(deployment, [])
        if refused:
            return f"Kubernetes refuses its pod: {refused}"
        if reason == CRASH_LOOP:
            look = f"kubectl logs deploy/gitlab -n {namespace} --previous --tail=80"
            raise Failure("GitLab keeps crashing.", look, self.way_out())
        if image_is_missing(reason):
            version = self._lab.gitlab_version
            where = "https://hub.docker.com/r/gitlab/gitlab-ce/tags"
            raise Failure(
                f"GitLab's image cannot be pulled: {reason}",
                f"whether gitlab/gitlab-ce:{version}-ce.0 exists: {where}",
                self.way_out(),
            )
        return self._activity() if reason == RUNNING else reason

    def way_out(self) -> str:
        """Return how an owner gets out where GitLab does not run and Flux keeps its release; nothing elsewhere.

        GitLab hosts the repository that would fix it, so a push is not possible.
        """
        if not self._settings.self_hosted:
            return ""
        if self._cluster.find(HELM_RELEASE, "gitlab", self._settings.gitlab_namespace) is None:
            return ""
        return "fix apps/gitlab/ (git revert COMMIT undoes a commit), commit, and run ./lab rescue"

    def _activity(self) -> str:
        """Return what a GitLab that starts is busy with, from the end of its log."""
        return activity(self._cluster.logs("deploy/gitlab", self._settings.gitlab_namespace, 40) or "")

    def gitlab_reachable(self) -> str | None:
        """Whether GitLab answers under its public address, through Traefik, with TLS."""
        settings = self._settings
        try:
            status = self._lab.http.send("GET", f"{settings.gitlab_url}/users/sign_in", seconds=20).status
        except HttpError as error:
            return {
                Fault.DNS: f"DNS does not know {settings.gitlab_host} here",
                Fault.REFUSED: f"nothing listens on port {settings.https_port} of {settings.gitlab_host}",
                Fault.CERTIFICATE: f"its certificate is not trusted yet ({error.words})",
            }.get(error.fault, error.words)
        if status in (200, 302):
            return None
        if status == 404:
            return f"Traefik has no route to {settings.gitlab_host} yet (HTTP 404)"
        return f"Traefik reaches no healthy GitLab yet (HTTP {status})" if status >= 500 else f"HTTP {status}"

    def wait_for_gitlab(self) -> None:
        """Wait until GitLab is healthy inside, then reachable from here."""
        lab, settings, limits = self._lab, self._settings, self._lab.limits
        if lab.dry_run:
            lab.console.would(f"wait until GitLab is healthy and answers at {settings.gitlab_url}")
            return
        namespace, minutes = settings.gitlab_namespace, limits.wait_gitlab_minutes
        try:
            lab.patience.wait(minutes, "GitLab", self.gitlab_healthy)
        except TimedOutError as late:
            raise Failure(
                f"GitLab did not become healthy within {minutes} minutes; last seen: {late}",
                f"kubectl get pods -n {namespace}; kubectl logs deploy/gitlab -n {namespace} --tail=80",
                "a first start on a slow disk may need longer: LAB_WAIT_GITLAB_MINUTES=40 ./lab up --from gitlab",
            ) from late
        lab.console.have("GitLab is healthy")
        try:
            lab.patience.wait(limits.wait_flux_minutes, settings.gitlab_url, self.gitlab_reachable)
        except TimedOutError as late:
            raise Failure(
                f"GitLab is healthy, but {settings.gitlab_url} does not answer: {late}",
                f"kubectl get ingress,ingressroute,certificate -n {namespace}\n"
                "kubectl logs deploy/traefik -n kube-system --tail=50",
            ) from late
        lab.console.have(f"{settings.gitlab_url} answers")

    def gitlab_pods(self) -> list[str]:
        """Return what tells one pod of GitLab's from the next."""
        selector = "app.kubernetes.io/instance=gitlab"
        pods = self._cluster.list_of("pods", self._settings.gitlab_namespace, selector)
        return sorted(str(pod.metadata.get("uid", "")) for pod in pods if not pod.is_leaving)

    # Flux

    def object_ready(self, kind: str, name: str, namespace: str) -> str | None:
        return self._asking_again(kind, self._cluster.find(kind, name, namespace))

    def object_current(self, kind: str, name: str, namespace: str) -> str | None:
        one = self._cluster.find(kind, name, namespace)
        return self._asking_again(kind, one) if readiness(one) is not None else self.currency(one)

    def _asking_again(self, kind: str, one: KubeObject | None) -> str | None:
        """Return why an object is not ready. A repository that could not be read is looked at again after a pause that
        grows, and its reason may be gone by now: Flux is asked to look now."""
        if one is not None and kind == GIT_REPOSITORY and one.ready.status == "False" and not self._lab.dry_run:
            self._cluster.ask_flux_again(kind, one.name, one.namespace)
        return readiness(one)

    def currency(self, one: KubeObject | None) -> str | None:
        """Return why an object of Flux's is not ready at this commit.

        What Flux says of an older commit, or of the object as it was before, does not count.
        """
        reason = readiness(one)
        if reason is not None or one is None:
            return reason
        if not one.is_seen:
            return "Flux has not seen its newest form yet"
        commit = revision(one)
        return None if self._lab.git.holds_head(commit) else f"Flux is still at the commit {commit}"

    def flux_complaint(self) -> str:
        """Return the first thing on Flux's way to GitLab that is not ready, in its own words."""
        for kind, name, namespace in (
            (GIT_REPOSITORY, FLUX, FLUX),
            (KUSTOMIZATION, FLUX, FLUX),
            (KUSTOMIZATION, "infrastructure", FLUX),
            (KUSTOMIZATION, "gitlab-check", FLUX),
            (HELM_RELEASE, "gitlab", self._settings.gitlab_namespace),
        ):
            reason = self.object_ready(kind, name, namespace)
            if reason is not None:
                return f"{short(kind)} {name}: {reason}"
        return ""


def readiness(one: KubeObject | None) -> str | None:
    """Return why an object is not ready."""
    if one is None:
        return "not there yet"
    return None if one.ready.is_true else one.ready.message


def revision(one: KubeObject) -> str:
    """Return the commit that an object of Flux's is at; nothing where it does not say."""
    artifact = one.status.get("artifact") or {}
    return str(artifact.get("revision") or one.status.get("lastAppliedRevision") or "").rpartition(":")[2]


def attempted(one: KubeObject) -> str:
    """Return the commit that a Kustomization was applied at last, well or not; nothing where it does not say."""
    return str(one.status.get("lastAttemptedRevision") or "").rpartition(":")[2]


def image_is_missing(reason: str) -> bool:
    """Say whether a pod waits for an image that will never come."""
    if "InvalidImageName" in reason:
        return True
    return "Image" in reason and ("manifest unknown" in reason or ": not found" in reason)


def activity(log: str) -> str:
    """Return what a GitLab whose log ends so is busy with."""
    if "migrat" in log:
        return "migrating the database"
    if "Reconfigured" in log:
        return "starting its services"
    if any(word in log for word in ("Recipe:", "Chef", "Cinc")):
        return "configuring itself"
    return "starting"
