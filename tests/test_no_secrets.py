"""A lab holds nothing that looks like a secret: a scanner with maintained rules reads every file of every lab."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from detect_secrets import SecretsCollection
from detect_secrets.settings import default_settings

from extensions.facts import SECRETS
from support.cluster import Lab

# The scanner takes `registrySecret: regcred` for a password. Names of Secrets are no secrets; they are known.
NAMES = set(SECRETS.values())


@lru_cache(maxsize=None)
def suspicions(name: str, content: bytes) -> list[str]:
    """Return what the scanner finds in a file; four files of five are the same in every lab, and scanned once a worker."""
    found = SecretsCollection()
    with TemporaryDirectory() as folder, default_settings():
        file = Path(folder, Path(name).name)
        file.write_bytes(content)
        found.scan_file(str(file))
    return [f"{name}:{secret.line_number}: {secret.type}: {secret.secret_value}" for _, secret in found]


def test_no_file_of_a_lab_looks_like_it_holds_a_secret(lab: Lab) -> None:
    names = NAMES | {lab.answers.get("tls_secret_name", "lab-tls")}
    lines = [
        line
        for file in sorted(lab.path.rglob("*")) if file.is_file()
        for line in suspicions(str(file.relative_to(lab.path)), file.read_bytes())
    ]
    assert [line for line in lines if not re.search(r": Secret Keyword: (.*)$", line) or line.rsplit(": ", 1)[1] not in names] == []


@pytest.mark.parametrize("text", ["token = \"glrt-t1_Zx8cV2bN4mQ6wE9rT7yU\"\n", "-----BEGIN OPENSSH PRIVATE KEY-----\n", "password: \"hunter2hunter2\"\n"])
def test_the_scanner_would_notice(text: str) -> None:
    assert suspicions("config.yaml", text.encode())


def test_answers_hold_no_secret_question() -> None:
    from support.questions import QUESTIONS

    assert not [name for name, question in QUESTIONS.items() if question.get("secret") or re.search("password|token", name)]
