"""Files that should be encrypted: that they are, for the lab's own recipients, and that nobody has edited them by hand.

No key is needed, and none is here: a value that was exchanged for another that SOPS has written is seen by `./lab secret check`.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from pathlib import Path

import yaml
from lab_program import age, sealed
from lab_program.settings import FILE

from .findings import Findings, mapping
from .reading import documents, files, is_encrypted, one_line

_VALUE = re.compile(r"ENC\[AES256_GCM,data:([^,]*),iv:([^,]+),tag:([^,]+),type:(str|bytes|int|float|bool)\]")
_IV_BYTES, _TAG_BYTES = 32, 16


def check(lab: Path, findings: Findings) -> None:
    """Judge every file of the lab whose name says that it is encrypted, also where Flux does not look."""
    recipients = _recipients(lab)
    for wrong in filter(None, map(age.recipient_problem, recipients)):
        findings.fault(FILE, f"age_recipients: {wrong}. Answer it anew: ./lab update --data age_recipients='[…]'")
    for path in filter(sealed.is_meant, files(lab)):
        text = (lab / path).read_text(encoding="utf-8", errors="replace")
        found = sealed.problem(path.as_posix(), text, recipients)
        if found is not None:
            findings.fault(path.as_posix(), found)
            continue
        for what in _edited(text) if recipients else []:
            findings.fault(path.as_posix(), what)


def _recipients(lab: Path) -> list[str]:
    try:
        content = json.loads((lab / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    found = mapping(content).get("age_recipients")
    return [str(one) for one in found] if isinstance(found, list) else []


def _edited(text: str) -> list[str]:
    """Return what was changed by hand, a value each."""
    try:
        found = documents(text)
    except yaml.YAMLError as error:
        return [f"this is no YAML that SOPS can read: {one_line(error)}; restore it from before a merge, or from Git"]
    faults = []
    for document in filter(is_encrypted, found):
        if mapping(document).get("kind") != "Secret":
            continue
        for part in ("data", "stringData"):
            for name, value in mapping(mapping(document).get(part)).items():
                faults += [f"{part}.{name} {what}" for what in _value(value, part)]
    return faults


def _value(value: object, part: str) -> list[str]:
    if value in ("", None):
        return []
    seen = _VALUE.fullmatch(str(value))
    if seen is None:
        return ["is not encrypted, or was edited after SOPS had encrypted it; write it by ./lab secret edit"]
    try:
        lengths = [len(base64.b64decode(one, validate=True)) for one in seen.groups()[:3]]
    except binascii.Error:
        lengths = []
    if lengths[1:] != [_IV_BYTES, _TAG_BYTES]:
        return ["was edited after SOPS had encrypted it, so Flux cannot decrypt it; restore it from Git"]
    if seen[4] not in ("str", "bytes"):
        return [
            f"is a number or a yes or no, and Kubernetes takes texts in {part}; put it in quotes by ./lab secret edit"
        ]
    return []
