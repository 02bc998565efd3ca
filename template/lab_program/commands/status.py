"""`./lab status`: what runs, in which versions, what waits or fails and why. It only looks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .. import alarm, backup_target, machines_status, node_addresses, node_status, registry_use, workloads
from ..clients.kubectl import KubectlError
from ..clients.objects import KubeObject
from ..errors import ExitCode, Failure
from ..gitlab_check import GitLabCheck
from ..installed_gitlab import installed_version
from ..lab import Lab
from ..probes import FLUX, GIT_REPOSITORY, HELM_RELEASE, IMAGE_POLICY, KUSTOMIZATION, Probes, readiness, revision
from ..stages.flux import CONTROLLERS, VERSION_LABEL
from .base import Command


class Status(Command):
    name = "status"
    purpose = "say what runs, in which versions, and what waits or fails, and why"
    example = "./lab status"
    notes = "It only looks. Exit status: 0 all is well, 1 something waits or fails."

    def run(self) -> int:
        failed = False
        with self.lab(alone=False) as lab:
            self.require({"kubectl"})
            for what, problem in self._lines(lab):
                failed = failed or problem is not None
                if problem is None:
                    self.console.have(what)
                else:
                    self.console.warn(f"{what}: {problem}")
        return ExitCode.FAILED if failed else ExitCode.DONE

    def _lines(self, lab: Lab) -> Iterator[tuple[str, str | None]]:
        """Yield each thing that runs, with what is wrong with it, or None."""
        try:
            nodes = lab.cluster.nodes(tries=2)
        except KubectlError as error:
            raise error.failure("reach the cluster") from error
        for node in nodes:
            version = (node.status.get("nodeInfo") or {}).get("kubeletVersion", "")
            yield f"node {node.name} {version}".rstrip(), None if node.ready.is_true else node.ready.message
        yield from node_status.lines(lab, nodes)
        yield from self._flux(lab)
        yield from self._gitlab(lab, nodes)
        yield from self._releases(lab)
        yield from machines_status.lines(lab)
        yield from backup_target.status(lab)
        yield from alarm.status(lab)

    def _gitlab(self, lab: Lab, nodes: Sequence[KubeObject]) -> Iterator[tuple[str, str | None]]:
        probes, settings = Probes(lab), self.settings
        deployment = lab.cluster.find("deployment", "gitlab", settings.gitlab_namespace)
        try:
            problem = probes.gitlab_healthy()
        except Failure as failure:
            problem = failure.what
        yield f"GitLab {installed_version(deployment) or lab.gitlab_version}", problem
        yield settings.gitlab_url, probes.gitlab_reachable()
        refusal = GitLabCheck(lab).refusal()
        if refusal is not None:
            yield "GitLab's next version or settings, refused before GitLab was touched", refusal
        if problem is None:
            yield registry_use.line(lab), None
        if settings.docker_hub_cache:
            yield registry_use.cache_line(lab), None
        if problem is None and settings.rack_attack:
            yield "GitLab bans no node", _bans(lab, nodes)

    def _flux(self, lab: Lab) -> Iterator[tuple[str, str | None]]:
        found = {one.name: one for one in lab.cluster.list_of("deployments", FLUX)}
        for name in CONTROLLERS:
            one = found.get(name)
            if one is None:
                yield name, "not there yet"
            else:
                running = one.status.get("readyReplicas", 0) >= 1
                yield (
                    f"{name} {one.labels.get(VERSION_LABEL, '')}".rstrip(),
                    None if running else "no pod of it is ready",
                )
        for one in lab.cluster.list_of(f"{GIT_REPOSITORY},{KUSTOMIZATION}", FLUX):
            yield _title(one), readiness(one)

    def _releases(self, lab: Lab) -> Iterator[tuple[str, str | None]]:
        for one in lab.cluster.list_of(HELM_RELEASE):
            yield _title(one), readiness(one)
        for one, problem in workloads.look(lab.cluster):
            # GitLab has lines of its own.
            if (one.namespace, one.name) != (self.settings.gitlab_namespace, "gitlab"):
                yield f"{one.kind} {one.namespace}/{one.name}", problem
        for one in lab.cluster.list_of(IMAGE_POLICY, FLUX):
            tag = (one.status.get("latestRef") or {}).get("tag", "")
            yield f"image of {one.name} {tag}".rstrip(), readiness(one)


def _bans(lab: Lab, nodes: Sequence[KubeObject]) -> str | None:
    """Return which nodes GitLab, as it runs, would ban; None where it spares them all."""
    settings = lab.settings
    # What its container was started with: the ConfigMap may have changed since.
    started_with = lab.pod.run("printenv", "NODE_IP", "NODE_IPS").out.split()
    found = node_addresses.bannable(nodes, [*settings.unbanned_networks, *started_with])
    if not found:
        return None
    restart = f"kubectl rollout restart deploy/gitlab -n {settings.gitlab_namespace}"
    return f"an expired pull secret would get {', '.join(found)} banned: ./lab up --only gitlab, then {restart}"


def _title(one: KubeObject) -> str:
    commit = revision(one)[:8]
    state = "suspended" if one.spec.get("suspend") else f"at {commit}" if commit else ""
    return f"{one.kind} {one.namespace}/{one.name} {state}".rstrip()
