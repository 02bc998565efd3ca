"""What OpenTofu sees when the program runs it: the names of the project's pipeline, and nothing else of the owner's."""

from __future__ import annotations

import contextlib
import json
import ssl
from pathlib import Path

from ..certificates import read
from ..clients.http import Http
from ..clients.tofu import Tofu
from ..errors import Failure
from ..lab import Lab
from ..public_keys import own
from ..secret import Secret
from ..workspace import state_folder, write_private
from .machine_secrets import PASSPHRASE_VARIABLE, STATE, TOKEN_VARIABLE
from .proxmox_checks import CERTIFICATE

# Where systems keep the public authorities, as Go looks for them: https://go.dev/src/crypto/x509/root_linux.go
SYSTEM = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
KEYS_VARIABLE = "TF_VAR_runner_ssh_keys"


def trusted(lab: Lab) -> Path | None:
    """Return a file with every authority to trust: the system's, the lab's, Proxmox's; none for the system's alone.

    Raises:
        Failure: Proxmox's file holds no certificate, or a private key.
    """
    more = [lab.ca_file] if lab.settings.private_ca and lab.ca_file.is_file() else []
    own = lab.folder / CERTIFICATE
    if own.is_file():
        _judge(own)
        more.append(own)
    if not more:
        return None
    found = [lab.environment.get("SSL_CERT_FILE", ""), ssl.get_default_verify_paths().cafile or "", *SYSTEM]
    system = next((Path(one) for one in found if one and Path(one).is_file()), None)
    texts = [one.read_text(encoding="utf-8", errors="replace") for one in ([system] if system else []) + more]
    return write_private(lab.private / "authorities.crt", "".join(f"{text.rstrip()}\n" for text in texts))


def _judge(file: Path) -> None:
    held = read(file.read_text(encoding="utf-8", errors="replace"))
    again = f"copy it anew: /etc/pve/pve-root-ca.pem of the Proxmox node is what belongs in {CERTIFICATE}"
    if held.has_key:
        raise Failure(f"{CERTIFICATE} holds a private key, which would end up in Git.", CERTIFICATE, again)
    if held.problems or not held.certificates:
        what = "; ".join(held.problems) or "no PEM certificate is in it"
        raise Failure(f"{CERTIFICATE} cannot be read: {what}.", CERTIFICATE, again)


def proxmox_http(lab: Lab) -> Http:
    """Return what speaks to Proxmox, and trusts whom OpenTofu trusts."""
    return Http(trusted(lab), lab.environment, forgives_form=True)


def public_keys(lab: Lab) -> tuple[str, ...]:
    """Return the public keys for the new machine: the answer, or else the owner's own, without their comments."""
    if lab.settings.runner_ssh_keys:
        return lab.settings.runner_ssh_keys
    return own(lab.environment)


def variables(lab: Lab, project: int, token: Secret, passphrase: Secret) -> dict[str, str]:
    """Return the environment of OpenTofu, for a state of a project.

    Args:
        project: its number in GitLab.
    """
    settings, log_in = lab.settings, lab.as_root
    address = f"{settings.gitlab_url}/api/v4/projects/{project}/terraform/state/{STATE}"
    found = {
        "TF_HTTP_ADDRESS": address,
        "TF_HTTP_LOCK_ADDRESS": f"{address}/lock",
        "TF_HTTP_LOCK_METHOD": "POST",
        "TF_HTTP_UNLOCK_ADDRESS": f"{address}/lock",
        "TF_HTTP_UNLOCK_METHOD": "DELETE",
        "TF_HTTP_USERNAME": log_in.user,
        "TF_HTTP_PASSWORD": log_in.password.reveal(),
        "TF_HTTP_RETRY_WAIT_MIN": "5",
        PASSPHRASE_VARIABLE: passphrase.reveal(),
    }
    authorities = trusted(lab)
    if authorities is not None:
        found["SSL_CERT_FILE"] = str(authorities)
    if token:
        found |= {"PROXMOX_VE_ENDPOINT": settings.proxmox_endpoint, TOKEN_VARIABLE: token.reveal()}
    if not settings.runner_ssh_keys:
        found[KEYS_VARIABLE] = json.dumps(public_keys(lab))
    return found


def tofu_on(lab: Lab, folder: Path, seen: dict[str, str]) -> Tofu:
    """Return OpenTofu on a folder. What it writes lives for this run; providers alone stay for the next."""
    scratch = lab.private / "tofu"
    scratch.mkdir(mode=0o700, exist_ok=True)
    cache = state_folder(lab.environment, lab.settings.lab_name) / "providers"
    with contextlib.suppress(OSError):
        cache.mkdir(parents=True, mode=0o700, exist_ok=True)
    return Tofu(lab.programs, lab.console, folder, scratch, cache if cache.is_dir() else None, seen)
