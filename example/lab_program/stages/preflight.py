"""preflight: everything that could go wrong later, looked at now; every problem at once, each with its fix.

It changes nothing, but for two pods that look from inside the cluster and go again. A check that is wrong about your
lab: LAB_SKIP="name name" turns it into a warning.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ..errors import Failure
from ..lab import Lab
from ..settings import Settings
from .age_key import secrets_can_be_read
from .base import Stage
from .findings import Advice, Check, Finding, Good, Nothing, Problem
from .following import Following
from .inside_check import look_from_inside
from .machines import Machines, makes_machine, proxmox, uses_aws
from .machines_aws import checks as aws
from .preflight_cluster import Reached, cluster_checks, reach
from .preflight_here import (
    external_repository,
    gitlab_version,
    hosts,
    nfs,
    private_ca,
    repository,
    runner_machine,
    tools,
)

SIDE_BY_SIDE = 4


class Preflight(Stage):
    name = "preflight"
    purpose = "tools, cluster, names, ports, storage and memory, checked: every problem at once"
    looks_at = ("this machine, the lab's folder, the cluster, DNS, the runner's machine",)
    changes = ("two pods that try the names from inside the cluster; they are removed",)

    @classmethod
    def programs(cls, settings: Settings) -> set[str]:
        more = Following.programs(settings) | Machines.programs(settings)
        docker = {"ssh"} if settings.runner_kind == "docker" else set()
        return super().programs(settings) | {"git", "helm", "flux"} | docker | more

    def __init__(self, lab: Lab, needed: Collection[str] = (), *, alone: bool = False) -> None:
        super().__init__(lab)
        self.alone = alone
        self.needed = set(needed) | self.programs(lab.settings)

    def run(self) -> None:
        self.problems = 0
        settings, reached = self.settings, Reached()
        external = [] if settings.self_hosted else [external_repository]
        with_git = self._with("git", [repository, *external], "the repository")
        with_kubectl = self._with("kubectl", [lambda lab: reach(lab, reached)], "the cluster")
        self._look([partial(tools, needed=self.needed), *with_git, private_ca, *with_kubectl])
        answers = reached.nodes is not None
        elsewhere: list[Check] = [partial(hosts, cluster_answers=answers), gitlab_version]
        if "nfs" in (settings.storage_backend, settings.data_backend):
            elsewhere.append(nfs)
        if settings.runner_kind == "docker":
            elsewhere += self._with("ssh", [runner_machine], "the runner's machine")
        if makes_machine(settings):
            elsewhere.append(partial(proxmox, cluster_answers=answers))
        if uses_aws(settings):
            elsewhere.append(aws)
        elsewhere.append(partial(secrets_can_be_read, cluster_answers=answers))
        self._look([*(cluster_checks(reached.nodes) if reached.nodes is not None else []), *elsewhere])
        if answers:
            # In this thread: it starts pods, and a signal ends it here.
            for finding in look_from_inside(self.lab, again=self.alone):
                self._report(finding)
        if self.problems:
            raise Failure(
                f"{self.problems} thing(s) to fix before the lab can be built; each is listed above with its fix.",
                "",
                "fix them, then run ./lab up again\n"
                'a check that is wrong about your lab can be passed over: LAB_SKIP="its-name" ./lab up',
            )

    def _with(self, program: str, checks: list[Check], what: str) -> list[Check]:
        """Return checks that call a program; one that says what was not looked at if it is missing."""
        return checks if self.lab.programs.has(program) else [lambda _: [Nothing(f"{what}: {program} is missing")]]

    def _look(self, checks: Sequence[Check]) -> None:
        """Run some checks side by side, since most of their time is other programs' start; report them in order."""
        pool = ThreadPoolExecutor(max_workers=SIDE_BY_SIDE)
        try:
            for found in [pool.submit(self._findings, check) for check in checks]:
                for finding in found.result():
                    self._report(finding)
        finally:
            pool.shutdown(cancel_futures=True)

    def _findings(self, check: Check) -> list[Finding]:
        return list(check(self.lab))

    def _report(self, finding: Finding) -> None:
        if isinstance(finding, Good):
            self.console.have(finding.what)
        elif isinstance(finding, Advice):
            self.console.warn(finding.what)
        elif not isinstance(finding, Problem):
            self.console.skip(finding.why)
        elif finding.check in self.lab.limits.skip:
            self.console.warn(f"[{finding.check}] {finding.what} (skipped)")
        else:
            self.problems += 1
            self.console.bad(finding.check, finding.what, finding.fix)
