"""Files that SOPS has encrypted, as far as anybody may read them: where they are, for whom, and since when.

It needs neither sops nor a key, and nothing beside Python: the lab's check reads it, too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

SUFFIX = ".sops.yaml"
# What SOPS itself reads is no file of this kind.
CONFIG = ".sops.yaml"
# The folder beside a release that holds its Secrets.
FOLDER = "secrets"
ANNOTATION = "lab/secret-"
FOR_NOBODY = (
    "it is encrypted, and age_recipients names nobody, so Flux cannot decrypt it: set that again, or delete the file"
)
_PART = re.compile(r"^sops:[ \t]*\n(?P<part>(?:[ \t]+.*\n?|\n)+)", re.MULTILINE)
_RECIPIENT = re.compile(r"^[ \t]+(?:- )?recipient:[ \t]*[\"']?([^\s\"']+)", re.MULTILINE)
_MAC = re.compile(r"^[ \t]+mac:[ \t]*[\"']?ENC\[", re.MULTILINE)
_CHANGED = re.compile(r"^[ \t]+lastmodified:[ \t]*[\"']?([0-9TZ:+-]+)", re.MULTILINE)
# What a Secret that the program writes shows, line by line: its name, and the names of its values.
_SHOWN = re.compile(
    r"(apiVersion|kind|type): *\S+|(metadata|stringData):|[ \t]+name: *\S+"
    r"|[ \t]+(#|[\w.\"'-]+: *[\"']?)ENC\[.*|[ \t]+[\w.\"'-]+: *(\"\"|'')"
)
# Where the bootstrap applies what lies there as it is, before Flux could decrypt it.
_TOO_EARLY = re.compile(r"infrastructure/|clusters/[^/]+/flux-system/")


@dataclass(frozen=True)
class Sealed:
    """What an encrypted file shows.

    Attributes:
        recipients: the public keys that it is encrypted for.
        changed: when it was encrypted last, as SOPS writes it.
    """

    recipients: frozenset[str]
    changed: str


def read(text: str) -> Sealed | None:
    """Return what a text shows, or None if SOPS did not encrypt it."""
    found = _PART.search(text.replace("\r\n", "\n"))
    if found is None or not _MAC.search(found["part"]):
        return None
    changed = _CHANGED.search(found["part"])
    return Sealed(frozenset(_RECIPIENT.findall(found["part"])), changed[1] if changed else "")


def problem(path: str, text: str, recipients: Collection[str]) -> str | None:
    """Return what is wrong with a file that should be encrypted for some recipients; None if nothing is to be seen.

    Args:
        path: where it is in the lab.
        text: what it holds.
        recipients: the answer `age_recipients`; with none, only that it is encrypted is looked at.
    """
    found = read(text)
    if found is None:
        return (
            "it is not encrypted, and everybody with access to this repository could read it. Do not push it; if you "
            "have, make a new secret, as Git keeps the old one for ever. `./lab secret edit` writes an encrypted file"
        )
    if not recipients:
        return None
    if _TOO_EARLY.match(path):
        return (
            "`./lab up` applies this folder before anything can decrypt it; move the file to apps/<application>/"
            f"{FOLDER} or automation/{FOLDER}"
        )
    strangers, missing = sorted(found.recipients - set(recipients)), sorted(set(recipients) - found.recipients)
    if strangers or missing:
        what = [f"for {', '.join(strangers)}, which is no recipient of this lab"] if strangers else []
        what += [f"not for {', '.join(missing)}, which is one"] if missing else []
        return f"it is encrypted {', and '.join(what)}. Run ./lab secret rotate, and commit"
    return None


def shows(text: str) -> str:
    """Return what an encrypted Secret shows to everybody, beside its name and the names of its values.

    It is a field, a comment or another document; empty where nothing more is shown.
    """
    if re.search(r"^---(?:\s|$)", text.strip().removeprefix("---"), re.MULTILINE):
        return "another document"
    for line in re.split(r"^sops:", text, maxsplit=1, flags=re.MULTILINE)[0].split("\n"):
        if not line.strip() or _SHOWN.fullmatch(line.rstrip("\r")):
            continue
        word = line.strip()
        if word.startswith("#"):
            return "a comment"
        return f"the field {word.partition(':')[0][:40]}"
    return ""


def is_meant(path: Path) -> bool:
    """Say whether a file's name says that it is encrypted."""
    return path.name.endswith(SUFFIX) and path.name != CONFIG


def files(lab: Path) -> Iterator[Path]:
    """Yield the files of a lab whose name says that they are encrypted, relative to it, in order."""
    found = []
    for folder, folders, names in os.walk(lab):
        # Git's own folder may hold many thousands.
        folders[:] = [name for name in folders if name != ".git"]
        found += [Path(folder, name) for name in names]
    for path in sorted(filter(is_meant, found)):
        if path.is_file():
            yield path.relative_to(lab)


def pod_annotations(folder: Path) -> dict[str, str]:
    """Return what the pods of a release get for the Secrets in a folder, as kustomize makes it: when each was changed
    last, so that a change replaces the pods."""
    found = {}
    for path in sorted(folder.glob(f"{FOLDER}/*{SUFFIX}")):
        shown = read(path.read_text(encoding="utf-8", errors="replace"))
        if shown is not None:
            found[f"{ANNOTATION}{path.name.removesuffix(SUFFIX)}"] = shown.changed
    return found
