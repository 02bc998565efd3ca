"""flux: Flux's controllers in flux-system, as clusters/<name>/flux-system has them.

From the first push on Flux keeps them by that folder itself; until then, and when one is missing, they are applied from
this working tree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .. import versions
from ..clients.kubectl import KubectlError
from ..clients.objects import KubeObject
from ..errors import Failure
from ..lab import Lab
from ..patience import TimedOutError
from ..probes import FLUX, KUSTOMIZATION
from .age_key import ensure_age_key
from .base import Stage

CONTROLLERS = (
    "source-controller",
    "kustomize-controller",
    "helm-controller",
    "notification-controller",
    "image-reflector-controller",
    "image-automation-controller",
)
VERSION_LABEL = "app.kubernetes.io/version"
# Flux removes this manager's name from what it takes over, so a later version can also take fields away.
FIELD_MANAGER = "kubectl"
# Among what Flux applied from the repository, if its controllers are.
OWN_ENTRY = "flux-system_helm-controller_apps_Deployment"
_VERSION = re.compile(r"^# Flux Version: v(\S+)$", re.MULTILINE)
# What makes Flux follow the repository comes later, in sync.
_FOLLOWING = re.compile(r"^kind: (GitRepository|Kustomization)$", re.MULTILINE)


class FluxFolder:
    """The folder of the lab that has Flux's controllers, with the lab's patches."""

    def __init__(self, lab: Lab) -> None:
        self._lab, self.name = lab, f"{lab.settings.cluster_folder}/flux-system"
        self.file = f"{self.name}/gotk-components.yaml"

    @property
    def export_command(self) -> str:
        """The command that writes Flux's newest controllers into the repository."""
        extra = "image-reflector-controller,image-automation-controller"
        return f"flux install --export --components-extra={extra} \\\n  > {self.file}"

    @property
    def version(self) -> str:
        """The version of Flux that is in the repository.

        Raises:
            Failure: there is none.
        """
        try:
            text = (self._lab.folder / self.file).read_text(encoding="utf-8")
        except OSError:
            text = ""
        found = _VERSION.search(text)
        if found is None:
            raise Failure(f"{self.file} is missing, or names no version of Flux.", "git status", self.export_command)
        return found[1]

    def manifest(self) -> str:
        """Return what kustomize builds of the folder, without the two objects that make Flux follow the repository.

        Raises:
            Failure: it cannot be built.
        """
        try:
            built = self._lab.cluster.kustomize(self._lab.folder / self.name)
        except KubectlError as error:
            raise Failure(f"{self.name} cannot be built: {error.words}", f"kubectl kustomize {self.name}") from error
        documents = re.split(r"^---\n", built, flags=re.MULTILINE)
        return "".join(f"---\n{one}" for one in documents if one.strip() and not _FOLLOWING.search(one))

    def too_new(self, deployments: Sequence[KubeObject]) -> str:
        """Return why the repository's Flux would be a step back from what runs; nothing if it is not."""
        wanted = self.version
        for one in deployments:
            running = one.labels.get(VERSION_LABEL, "v0.0.0")
            if one.name in CONTROLLERS and not versions.at_least(wanted, running):
                return f"Flux {running} runs in the cluster; {self.file} holds v{wanted}, which would be a downgrade."
        return ""


class InstallFlux(Stage):
    name = "flux"
    purpose = "Flux's controllers, those for image automation included, and the key that decrypts secrets"
    looks_at = ("the Deployments in flux-system", "clusters/<name>/flux-system", "your key file, with age_recipients")
    changes = ("Flux's controllers and CRDs, until Flux keeps them itself", "the Secret sops-age, with age_recipients")

    def run(self) -> None:
        folder, deployments = FluxFolder(self.lab), self.cluster.list_of("deployments", FLUX)
        missing = missing_controllers(deployments, folder.version)
        if not missing and keeps_itself(self.cluster.find(KUSTOMIZATION, FLUX, FLUX)):
            self.console.have(f"Flux is there, in version {folder.version} or newer, and keeps itself")
        else:
            problem = folder.too_new(deployments)
            if problem:
                then = f"{folder.export_command}\ncommit the file, then run ./lab up --from flux"
                raise Failure(problem, "", then)
            self._apply(folder, missing)
        ensure_age_key(self.lab)
        if self.lab.dry_run:
            return
        # What the first look saw is enough, unless something has changed since.
        if missing or not_ready(deployments) is not None:
            self._wait()
        known = self.settings.flux_version
        if not versions.at_least(folder.version, known):
            self.console.doing(
                f"Flux {folder.version} is in use, {known} is known to work, too: {folder.export_command}"
            )

    def _apply(self, folder: FluxFolder, missing: str) -> None:
        """Apply the controllers with the lab's patches."""
        manifest, why = folder.manifest(), f" ({missing})" if missing else ""
        if not missing and self.cluster.is_as(manifest, FIELD_MANAGER):
            self.console.have(f"Flux is there, as {folder.name} has it")
            return
        what = f"Flux {folder.version} from {folder.name}{why}"
        if self.lab.dry_run:
            self.console.would(f"install {what}")
            return
        self.console.doing(f"installing {what}")
        self.cluster.apply_text("Flux's controllers", manifest, FIELD_MANAGER)
        self.console.did(f"Flux {folder.version}")
        self._wait()

    def _wait(self) -> None:
        def probe() -> str | None:
            return not_ready(self.cluster.list_of("deployments", FLUX))

        try:
            self.patience.wait(self.lab.limits.wait_flux_minutes, "Flux's controllers", probe)
        except TimedOutError as late:
            look = "kubectl get pods -n flux-system; flux check"
            raise Failure(f"Flux's controllers did not become ready: {late}", look) from late


def missing_controllers(deployments: Sequence[KubeObject], version: str) -> str:
    """Return the controllers that are not there in a version or newer; nothing where all are."""
    found = {one.name: one.labels.get(VERSION_LABEL, "v0.0.0") for one in deployments}
    missing = []
    for name in CONTROLLERS:
        if name not in found:
            missing.append(name)
        elif not versions.at_least(found[name], version):
            missing.append(f"{name} is still {found[name]}")
    return ", ".join(missing)


def keeps_itself(entry: KubeObject | None) -> bool:
    """Say whether Flux applied its own controllers from the repository, by its Kustomization flux-system."""
    inventory = (entry.status.get("inventory") or {}) if entry else {}
    return any(one.get("id") == OWN_ENTRY for one in inventory.get("entries") or [])


def not_ready(deployments: Sequence[KubeObject]) -> str | None:
    """Return which controllers have no ready pod of their newest form; None where each has one."""

    def runs(one: KubeObject) -> bool:
        seen = one.status.get("observedGeneration", 0) >= one.metadata.get("generation", 0)
        return bool(seen and one.status.get("readyReplicas", 0) >= 1)

    names = [one.name for one in deployments if not runs(one)]
    return f"not ready: {', '.join(names)}" if names else None
