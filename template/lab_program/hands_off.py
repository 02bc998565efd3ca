"""Flux's hand off GitLab, and on again: what a rescue does before and after it installs GitLab by Helm."""

from __future__ import annotations

from .clients.kubectl import KubectlError
from .clients.objects import KubeObject
from .errors import Failure
from .gitlab_check import NAME as CHECK
from .lab import Lab
from .probes import FLUX, HELM_RELEASE, KUSTOMIZATION

# The name under which Flux's own command line writes; Flux lets its suspensions be.
MANAGER = "flux"


class HandsOff:
    """The Kustomizations and HelmReleases through which Flux changes GitLab."""

    def __init__(self, lab: Lab) -> None:
        self.lab, namespace = lab, lab.settings.gitlab_namespace
        self.objects = (
            (KUSTOMIZATION, CHECK, FLUX),
            (KUSTOMIZATION, "gitlab", FLUX),
            (HELM_RELEASE, CHECK, namespace),
            (HELM_RELEASE, "gitlab", namespace),
        )

    def there(self) -> list[KubeObject]:
        """Return those of them that exist."""
        found = [self.lab.cluster.find(*one) for one in self.objects]
        return [one for one in found if one is not None]

    def take(self) -> None:
        """Suspend each: Flux then changes nothing of GitLab, and nothing brings back the commit that stopped it."""
        for one in self.there():
            if one.spec.get("suspend"):
                self.lab.console.have(f"{one.kind} {one.name} is suspended")
            else:
                self._suspend(one, suspended=True)

    def give_back(self) -> None:
        """Resume each, and have Flux look at once."""
        for one in self.there():
            # A dry run has suspended nothing.
            if one.spec.get("suspend") or self.lab.dry_run:
                self._suspend(one, suspended=False)

    def _suspend(self, one: KubeObject, *, suspended: bool) -> None:
        do, done = ("suspend", "suspended") if suspended else ("resume", "resumed")
        if self.lab.dry_run:
            self.lab.console.would(f"{do} {one.kind} {one.name}")
            return
        kind = KUSTOMIZATION if one.kind == "Kustomization" else HELM_RELEASE
        steps = [{"op": "add", "path": "/spec/suspend", "value": suspended}]
        try:
            self.lab.cluster.patch(kind, one.name, one.namespace, steps, MANAGER)
        except KubectlError as error:
            look = f"kubectl describe {kind} {one.name} -n {one.namespace}"
            raise Failure(f"Could not {do} {one.kind} {one.name}: {error}", look) from error
        self.lab.console.did(f"{done} {one.kind} {one.name}")
