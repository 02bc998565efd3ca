"""preflight: everything that could go wrong later, looked at now; every problem at once, each with its fix.

It changes nothing. A check that is wrong about your lab: LAB_SKIP="name name" turns it into a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..errors import Failure
from ..lab import Lab
from ..settings import Settings
from .base import Stage
from .findings import Finding, Good, Problem
from .following import Following
from .preflight_cluster import Reached, cluster_checks, reach
from .preflight_here import external_repository, hosts, nfs, private_ca, repository, runner_machine, tools


class Preflight(Stage):
    name = "preflight"
    purpose = "tools, cluster, names, ports, storage and memory, checked: every problem at once"
    looks_at = ("this machine, the lab's folder, the cluster, DNS, the runner's machine",)
    changes = ()

    @classmethod
    def programs(cls, settings: Settings) -> set[str]:
        docker = {"ssh"} if settings.runner_kind == "docker" else set()
        return super().programs(settings) | {"git", "helm", "flux"} | docker | Following.programs(settings)

    def run(self) -> None:
        self.problems = 0
        for check in self._checks():
            for finding in check(self.lab):
                self._report(finding)
        if self.problems:
            raise Failure(
                f"{self.problems} thing(s) to mend before the lab can be built; each is listed above with its fix.",
                "",
                "mend them, then run ./lab up again\n"
                'a check that is wrong about your lab can be passed over: LAB_SKIP="its-name" ./lab up',
            )

    def _checks(self) -> Iterable[Callable[[Lab], Iterable[Finding]]]:
        settings = self.settings
        yield from (tools, repository)
        if not settings.self_hosted:
            yield external_repository
        yield private_ca
        reached = Reached()
        yield lambda lab: reach(lab, reached)
        if reached.nodes is not None:
            yield lambda lab: cluster_checks(lab, reached.nodes or [])
        yield hosts
        if "nfs" in (settings.storage_backend, settings.data_backend):
            yield nfs
        if settings.runner_kind == "docker":
            yield runner_machine

    def _report(self, finding: Finding) -> None:
        if isinstance(finding, Good):
            self.console.have(finding.what)
        elif not isinstance(finding, Problem):
            self.console.skip(finding.why)
        elif finding.check in self.lab.limits.skip:
            self.console.warn(f"[{finding.check}] {finding.what} (skipped)")
        else:
            self.problems += 1
            self.console.bad(finding.check, finding.what, finding.fix)
