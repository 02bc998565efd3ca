"""Secrets that would be in Git for everybody to read."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from .findings import Applied, Cluster, Findings, mapping
from .following import FLUX as KUSTOMIZE
from .reading import documents, is_encrypted

HELP = "take it out, make a new one, as Git keeps the old one for ever, and create the Secret in the cluster, or encrypt it with SOPS"


def check(root: Path, cluster: Cluster, findings: Findings) -> None:
    """Find Secrets in plain text, encrypted ones that Flux is not told to decrypt, and private keys."""
    kustomizations = {f"Kustomization {one.id.name}": one for one in cluster.of_kind("Kustomization", group=KUSTOMIZE)}
    for one in cluster.of_kind("Secret"):
        owner = kustomizations.get(one.by)
        if owner is not None:
            _applied(one, decrypts=bool(mapping(owner.spec.get("decryption"))), findings=findings)
        elif one.by.startswith("HelmRelease") and _has_values(one):
            _rendered(one, cluster, findings)
    certificate = root / "ca.crt"
    if certificate.is_file() and b"PRIVATE KEY-----" in certificate.read_bytes():
        findings.fault("ca.crt", f"it holds a private key; {HELP.replace('Secret', 'key')}")


def _has_values(one: Applied) -> bool:
    return any(str(value) for key in ("data", "stringData") for value in mapping(one.thing.get(key)).values())


def _applied(one: Applied, decrypts: bool, findings: Findings) -> None:
    title = f"{one.by}: {one.id}"
    if is_encrypted(one.thing) or (
        _has_values(one)
        and all(_sops(value) for value in mapping(one.thing.get("data")).values())
        and not one.thing.get("stringData")
    ):
        if not decrypts:
            findings.fault(
                title,
                f"SOPS encrypted it, and Flux is not told to decrypt it; give {one.by} spec.decryption with provider: sops",
            )
    elif _has_values(one):
        findings.fault(
            title, f"a Secret in plain text, which everybody with access to this repository can read; {HELP}"
        )


def _sops(value: object) -> bool:
    """Say whether a Secret's entry, which kustomize made of a file, is a file that SOPS encrypted."""
    try:
        text = base64.b64decode(str(value)).decode("utf-8")
        return "ENC[AES256_GCM" in text or any(is_encrypted(document) for document in documents(text))
    except Exception:  # noqa: BLE001 - whatever it is, it is not SOPS's
        return False


def _rendered(one: Applied, cluster: Cluster, findings: Findings) -> None:
    """A chart may make up a Secret; what it takes from the release's values was in Git."""
    release = next(
        (
            other
            for other in cluster.of_kind("HelmRelease")
            if f"HelmRelease {other.id.namespace}/{other.id.name}" == one.by
        ),
        None,
    )
    given = str(release.spec.get("values")) if release else ""
    values = [str(value) for value in mapping(one.thing.get("stringData")).values()]
    for value in mapping(one.thing.get("data")).values():
        try:
            values.append(base64.b64decode(str(value)).decode("utf-8"))
        except (binascii.Error, UnicodeDecodeError):
            continue
    if any(value and value in given for value in values):
        findings.fault(f"{one.by}: {one.id}", f"its values make a Secret in plain text; {HELP}")
