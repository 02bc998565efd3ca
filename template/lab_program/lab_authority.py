"""The authority that the lab makes: its certificate into ca.crt, and a backup of its key if the owner asks for one.

cert-manager makes both and keeps them in one Secret. Nothing here reads the key, except for the backup.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import certificates
from .clients.objects import NOTHING, KubeObject
from .errors import Failure
from .lab import Lab
from .patience import TimedOutError

NAMESPACE = "cert-manager"
# The Certificate, and the Secret that cert-manager writes for it.
NAME = "lab-authority"
# By these cert-manager knows that a Secret is the Certificate's; without them it makes a new key.
KEPT_ANNOTATIONS = "cert-manager.io/"


def write_certificate(lab: Lab) -> None:
    """Write the authority's certificate into ca.crt, beside what the owner has there.

    Raises:
        Failure: cert-manager has made none in time.
    """
    if lab.dry_run:
        if not lab.ca_file.is_file():
            lab.console.would("write the authority's certificate into ca.crt")
        return
    found = _wait_for_certificate(lab)
    try:
        there = lab.ca_file.read_text(encoding="utf-8")
    except FileNotFoundError:
        there = ""
    if _bare(found) in _bare(there):
        lab.console.have("ca.crt has the certificate of the lab's authority")
        return
    text = f"{there.rstrip()}\n{found}" if there.strip() else found
    new = lab.ca_file.with_name(".ca.crt.new")
    new.write_text(text, encoding="utf-8")
    new.chmod(0o644)
    new.replace(lab.ca_file)
    lab.console.did("ca.crt: the certificate of the lab's authority")
    if there.strip():
        lab.console.warn("ca.crt held other certificates, which stay trusted. Take away those that you no longer need.")


def _wait_for_certificate(lab: Lab) -> str:
    seen: dict[str, str] = {}

    def probe() -> str | None:
        seen["text"] = _secret(lab).value("tls.crt")
        return None if certificates.read(seen["text"]).certificates else "cert-manager has not made it yet"

    try:
        lab.patience.wait(lab.limits.wait_flux_minutes, "the certificate of the lab's authority", probe)
    except TimedOutError as late:
        look = f"kubectl describe certificate {NAME} -n {NAMESPACE}"
        raise Failure(f"There is no certificate of the lab's authority: {late}", look) from late
    return seen["text"].rstrip("\n") + "\n"


def _secret(lab: Lab) -> KubeObject:
    return lab.cluster.find("secret", NAME, NAMESPACE) or NOTHING


def _bare(text: str) -> str:
    return "".join(text.split())


def back_up_key(lab: Lab, file: Path) -> None:
    """Write the authority's Secret to a new file, for the owner alone, as a manifest that brings it back.

    Raises:
        Failure: there is no authority yet, or the file is no safe place.
    """
    refuse_unsafe(lab.folder, file)
    found = _secret(lab)
    if not found.secret("tls.key"):
        raise Failure(
            "The lab's authority has no key yet.",
            f"kubectl get secret {NAME} -n {NAMESPACE}",
            "./lab up --only certificates",
        )
    text = "\n".join(
        [
            f'# The key of the authority of the lab "{lab.settings.lab_name}": it opens every connection to its hosts.',
            "# In a new cluster, before ./lab up:",
            f"#   kubectl create namespace {NAMESPACE}; kubectl apply -f THIS-FILE",
            json.dumps(manifest(found), indent=2),
            "",
        ]
    )
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Failure(f"{file} cannot be written: {error.strerror}.") from error
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def refuse_unsafe(lab: Path, file: Path) -> None:
    """Refuse a place from which a key could get into Git, or that holds something already.

    Raises:
        Failure: why not.
    """
    place = file.expanduser().absolute()
    if place.exists() or place.is_symlink():
        raise Failure(f"{file} is there already; nothing was written.", "", "name a file that does not exist yet")
    if not place.parent.is_dir():
        raise Failure(f"{file} cannot be written: there is no folder {place.parent}.")
    inside = [one for one in place.resolve().parents if (one / ".git").exists() or one == lab.resolve()]
    if inside:
        raise Failure(
            f"{file} lies in {inside[0]}, from where Git could take the key.",
            "",
            "name a file outside of it, such as ~/lab-authority.yaml",
        )


def manifest(found: KubeObject) -> Mapping[str, Any]:
    """Return the Secret as it is made anew: what the API server writes by itself is left out."""
    notes = {name: value for name, value in found.annotations.items() if name.startswith(KEPT_ANNOTATIONS)}
    metadata = {"name": found.name, "namespace": found.namespace, "annotations": notes, "labels": dict(found.labels)}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": found.content["type"],
        "metadata": metadata,
        "data": found.content["data"],
    }
