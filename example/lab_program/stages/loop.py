"""The loop from a tag to a page: each step waits for the one thing that has to happen next."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..clients.http import HttpError
from ..clients.objects import KubeObject, pod_reason
from ..errors import Failure
from ..lab import Lab
from ..patience import TimedOutError
from ..probes import FLUX, HELM_RELEASE, IMAGE_AUTOMATION, IMAGE_POLICY, IMAGE_REPOSITORY, readiness

_TAG = re.compile(r"(v?)(\d+)\.(\d+)\.(\d+)")
NAME = "demo"


@dataclass(frozen=True)
class Step:
    """One step of the loop.

    Attributes:
        said: what has become of the tag, to go on after "is".
        probe: whether it has.
        look: what to look at if it does not.
    """

    said: str
    probe: Callable[[str], str | None]
    look: str


class Loop:
    """The loop of one lab."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.settings, self.console, self.cluster = lab, lab.settings, lab.console, lab.cluster

    def run(self, *, again: bool) -> None:
        """Follow one tag from GitLab to the pod.

        Args:
            again: send another tag, also where the newest has arrived.
        """
        project, start = self.settings.sample_project, self.lab.patience.clock()
        newest = newest_tag(self.lab.gitlab.tags(project))
        tag = newest
        if tag and self._runs(tag):
            if not again:
                self.console.have(f"the loop has carried {project} {tag} to its pod; ./lab verify sends another")
                return
            tag = ""
        elif tag:
            pipeline = self.lab.gitlab.newest_pipeline(project, tag)
            if pipeline is not None and pipeline.is_over_in_vain:
                tag = ""
        if tag:
            self.console.doing(f"going on with {tag}, which is under way")
        else:
            tag = next_tag(newest)
            self.lab.patience.settle(f"tag {project}", lambda: self._make_tag(tag))
        for step in self._steps():
            self._follow(step, tag)
        seconds = int(self.lab.patience.clock() - start)
        self.console.have(f"from tag to page in {seconds} s: {self.settings.sample_url}")

    def _follow(self, step: Step, tag: str) -> None:
        minutes, project = self.lab.limits.wait_verify_minutes, self.settings.sample_project
        try:
            self.lab.patience.wait(minutes, f"{tag} {step.said}", lambda: step.probe(tag))
        except TimedOutError as late:
            raise Failure(f"{project} {tag} is not {step.said} after {minutes} minutes: {late}", step.look) from late
        self.console.have(f"{tag} is {step.said}")

    def _make_tag(self, tag: str) -> None:
        project = self.settings.sample_project
        if not self.lab.gitlab.has_tag(project, tag):
            found = self.lab.gitlab.project(project)
            branch = found.default_branch if found else "main"
            self.lab.gitlab.make_tag(project, tag, branch, "Made by ./lab verify")
        self.console.did(f"tagged {project} {tag}")

    def _steps(self) -> Iterable[Step]:
        settings = self.settings
        project, page, namespace = (
            f"{settings.gitlab_url}/{settings.sample_project}",
            settings.sample_url,
            settings.app_namespace,
        )
        scan = f"flux get images all -A; kubectl describe imagerepository {NAME} -n flux-system"
        commit = "flux get images update -A; kubectl logs deploy/image-automation-controller -n flux-system"
        pod = (
            f"flux get helmreleases -A; kubectl get pods -n {namespace}; kubectl describe deploy {NAME} -n {namespace}"
        )
        return (
            Step("built by the runner", self._built, f"{project}/-/pipelines"),
            Step("in the registry", self._in_registry, f"{project}/container_registry"),
            Step("found by Flux", self._scanned, scan),
            Step("committed by Flux", self._committed, commit),
            Step("running", self._running, pod),
            Step(f"served at {page}", self._served, f"curl -v {page}; kubectl get ingress,ingressroute -n {namespace}"),
        )

    # The probes

    def _built(self, tag: str) -> str | None:
        project = self.settings.sample_project
        pipeline = self.lab.gitlab.newest_pipeline(project, tag)
        if pipeline is None:
            return "pipeline: no pipeline yet"
        if pipeline.is_over_in_vain:
            raise Failure(
                f'The pipeline of {project} {tag} ended as "{pipeline.status}".',
                pipeline.url,
                "fix what its log says, then run ./lab verify; it makes a new tag",
            )
        if pipeline.status == "success":
            return None
        return "the job waits for a runner" if pipeline.status == "pending" else f"pipeline: {pipeline.status}"

    def _in_registry(self, tag: str) -> str | None:
        there = tag in self.lab.gitlab.image_tags(self.settings.sample_project)
        return None if there else "the registry does not list it yet"

    def _scanned(self, tag: str) -> str | None:
        policy = self.cluster.find(IMAGE_POLICY, NAME, FLUX)
        if policy is not None and (policy.status.get("latestRef") or {}).get("tag") == tag:
            return None
        repository = self.cluster.find(IMAGE_REPOSITORY, NAME, FLUX)
        if repository is not None and repository.ready.status == "False":
            self.cluster.ask_flux_again(IMAGE_REPOSITORY, NAME, FLUX)
        scan = readiness(repository)
        return scan if scan is not None else (policy.ready.message if policy else "not there yet")

    def _committed(self, tag: str) -> str | None:
        release = self._release()
        values = (release.spec.get("values") or {}) if release else {}
        if (values.get("image") or {}).get("tag") == tag:
            return None
        automations = self.cluster.list_of(IMAGE_AUTOMATION, FLUX)
        for one in automations:
            if one.ready.status == "False":
                self.cluster.ask_flux_again(IMAGE_AUTOMATION, one.name, FLUX)
        return automations[0].ready.message if automations else "no word from the image automation yet"

    def _running(self, tag: str) -> str | None:
        if self._runs(tag):
            return None
        release = self._release()
        if release is not None and release.ready.status == "False":
            return release.ready.message
        return pod_reason(
            self.cluster.list_of("pods", self.settings.app_namespace, f"app.kubernetes.io/instance={NAME}")
        )

    def _served(self, _: str) -> str | None:
        try:
            status = self.lab.http.send("GET", f"{self.settings.sample_url}/").status
        except HttpError as error:
            return error.words
        return None if status == 200 else f"HTTP {status}"

    def _release(self) -> KubeObject | None:
        return self.cluster.find(HELM_RELEASE, NAME, self.settings.app_namespace)

    def _runs(self, tag: str) -> bool:
        deployment = self.cluster.find("deployment", NAME, self.settings.app_namespace)
        return deployment is not None and runs_tag(deployment, tag)


def runs_tag(deployment: KubeObject, tag: str) -> bool:
    """Say whether a Deployment has the image of a tag, and its pods are ready."""
    images = [str(one.get("image", "")) for one in deployment.containers]
    return any(f":{tag}@" in image or image.endswith(f":{tag}") for image in images) and deployment.is_rolled_out


def newest_tag(tags: Iterable[str]) -> str:
    """Return the highest x.y.z or vx.y.z; nothing where there is none."""
    found = [match for tag in tags if (match := _TAG.fullmatch(tag))]
    return max(found, key=lambda match: [int(number) for number in match.groups()[1:]])[0] if found else ""


def next_tag(tag: str) -> str:
    """Return the next patch of a tag; v1.0.0 after none."""
    found = _TAG.fullmatch(tag)
    return f"{found[1]}{found[2]}.{found[3]}.{int(found[4]) + 1}" if found else "v1.0.0"
