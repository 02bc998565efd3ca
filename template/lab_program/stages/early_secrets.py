"""Encrypted Secrets that are needed before Flux follows the repository: GitLab's own, and the external repository's
password. The bootstrap decrypts them in memory; from then on Flux keeps them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from .. import sealed
from ..lab import Lab
from ..probes import FLUX, KUSTOMIZATION
from ..secret import Secret
from .flux import FIELD_MANAGER

GITLAB, GIT = Path("apps/gitlab") / sealed.FOLDER, Path("automation") / sealed.FOLDER


def bring_gitlabs(lab: Lab) -> None:
    """Bring GitLab's encrypted Secrets into the cluster, so that its first start has them, unless Flux has."""
    bring(lab, GITLAB, "gitlab", lab.settings.gitlab_namespace)


def bring(lab: Lab, folder: Path, entry: str, namespace: str) -> None:
    """Bring the encrypted Secrets of a folder into the cluster, unless Flux keeps them.

    Args:
        entry: the Kustomization by which Flux keeps them.
    Raises:
        Failure: one cannot be decrypted.
    """
    paths = [path for path in sealed.files(lab.folder) if path.parent == folder] if lab.settings.age_recipients else []
    if not paths or lab.cluster.find(KUSTOMIZATION, entry, FLUX):
        return
    for path in paths:
        name = path.name.removesuffix(sealed.SUFFIX)
        if lab.dry_run:
            lab.console.would(f"decrypt {path} into Secret {namespace}/{name}")
            continue
        values = lab.sops.values(path, (lab.folder / path).read_text(encoding="utf-8"))
        there = lab.cluster.find("secret", name, namespace)
        if there is not None and all(there.secret(key) == value for key, value in values.items()):
            lab.console.have(f"Secret {namespace}/{name}, from {path}")
            continue
        data = {key: Secret(base64.b64encode(value.reveal().encode()).decode()) for key, value in values.items()}
        metadata = {"name": name, "namespace": namespace}
        plain = {key: value.reveal() for key, value in data.items()}
        manifest = json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": plain})
        # In kubectl's name, which Flux takes off what it takes over: a value that leaves the file leaves the cluster.
        lab.cluster.apply_text(f"Secret {namespace}/{name}", manifest, FIELD_MANAGER)
        lab.console.did(f"Secret {namespace}/{name}, from {path}")


def git_login(lab: Lab) -> tuple[str, Secret] | None:
    """Return the external repository's user name and password, if they are encrypted in here.

    Raises:
        Failure: they cannot be decrypted.
    """
    path = GIT / f"{FLUX}{sealed.SUFFIX}"
    if not lab.settings.age_recipients or not (lab.folder / path).is_file():
        return None
    values = lab.sops.values(path, (lab.folder / path).read_text(encoding="utf-8"))
    return values.get("username", Secret("")).reveal(), values.get("password", Secret(""))
