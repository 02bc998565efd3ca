"""The owner's private keys, in the file where SOPS itself looks for them, and which of them this lab needs."""

from __future__ import annotations

import datetime
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from . import age
from .clients.sops import KEY_FILE, key_file, keys_in
from .errors import Failure
from .secret import Secret


def of_this_lab(keys: Sequence[age.Identity], recipients: Collection[str]) -> list[age.Identity]:
    """Return the keys that belong to a recipient."""
    return [one for one in keys if one.recipient in recipients]


def problem(file: Path, keys: Sequence[age.Identity], recipients: Sequence[str], variables: Mapping[str, str]) -> str:
    """Return why the key file opens nothing of this lab; empty if it does."""
    if of_this_lab(keys, recipients):
        return ""
    elsewhere = " (SOPS_AGE_KEY is not read: write the key to that file)" if variables.get("SOPS_AGE_KEY") else ""
    if not keys:
        return f"there is no private age key in {file}{elsewhere}"
    mine = ", ".join(one.recipient for one in keys)
    return f"{file} has the key of {mine}, and this lab is encrypted for {', '.join(recipients)}{elsewhere}"


def fix(file: Path) -> str:
    """Return how to give the program the key."""
    return (
        f"copy your key file to {file} (chmod 600), or name where it is in {KEY_FILE}\n"
        "lost: a cluster of this lab has it, too:\n"
        "kubectl get secret sops-age -n flux-system -o jsonpath='{.data.lab\\.agekey}' | base64 -d\n"
        "lost there as well: ./lab secret init --another makes a new one. The owner of another recipient's key runs\n"
        "./lab secret rotate for it; if nobody has, what was encrypted has to be typed in again"
    )


def add_key(file: Path) -> age.Identity:
    """Make a private key, and add it to a key file, which is made if it is missing.

    Raises:
        Failure: it cannot be written.
    """
    made = age.new_identity()
    now = datetime.datetime.now().astimezone().replace(microsecond=0).isoformat()
    # As age-keygen writes it.
    text = f"# created: {now}\n# public key: {made.recipient}\n{Secret(made.private).reveal()}\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        ends = not file.exists() or file.read_bytes()[-1:] in (b"", b"\n")
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "a") as stream:
            stream.write(text if ends else f"\n{text}")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise Failure(f"The key file {file} cannot be written: {error.strerror}.", f"ls -ld {file.parent}") from error
    return made


def loose(file: Path) -> bool:
    """Say whether others on this machine may read the key file."""
    try:
        return bool(file.stat().st_mode & 0o077)
    except OSError:
        return False


__all__ = ["KEY_FILE", "add_key", "fix", "key_file", "keys_in", "loose", "of_this_lab", "problem"]
