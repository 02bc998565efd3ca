"""The public SSH keys of the person who runs the program."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_KEY = re.compile(
    r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)|sk-[a-z0-9-]+@openssh\.com) ([A-Za-z0-9+/=]{60,})"
)


def own(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the keys in ~/.ssh/*.pub, each once, without their comments."""
    found: dict[str, None] = {}
    for file in sorted((Path(environment.get("HOME") or "~").expanduser() / ".ssh").glob("*.pub")):
        try:
            match = _KEY.match(file.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
        if match is not None:
            found.setdefault(f"{match[1]} {match[2]}")
    return tuple(found)
