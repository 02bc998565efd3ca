"""A lab holds nothing that looks like a secret: a scanner with maintained rules reads every file of every lab."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from detect_secrets import SecretsCollection
from detect_secrets.settings import default_settings

from extensions.facts import ISSUERS, SECRETS
from tests.support.cluster import Lab
from tests.support.program import age
from tests.support.rendering import once

# The scanner takes `registrySecret: regcred` for a password, and `NOPASSWD:ALL` of sudo. Names of Secrets are no secrets; they are known.
# The authority's Secret is called as its issuer.
NAMES = {*SECRETS.values(), *ISSUERS.values(), "ALL"}
# The scanner has no rule for age; it goes by entropy, which is too low in one key of about 75.
PRIVATE_AGE_KEY = re.compile(r"AGE-SECRET-KEY-1[0-9A-Z]+", re.IGNORECASE)


@pytest.fixture(scope="module", autouse=True)
def scanner() -> Iterator[None]:
    """Set the scanner up once: for each file anew it took a tenth of the time."""
    with default_settings():
        yield


def suspicions(name: str, content: bytes) -> list[str]:
    """Return what the scanner finds in a file."""
    found = SecretsCollection()
    with TemporaryDirectory() as folder:
        file = Path(folder, Path(name).name)
        file.write_bytes(content)
        found.scan_file(str(file))
    lines = content.decode(errors="replace").splitlines()
    keys = [
        f"{name}:{number}: private age key: {key}"
        for number, line in enumerate(lines, 1)
        for key in PRIVATE_AGE_KEY.findall(line)
    ]
    return [f"{name}:{secret.line_number}: {secret.type}: {secret.secret_value}" for _, secret in found] + keys


def suspicions_once(shared: Path, name: str, content: bytes) -> list[str]:
    """Return the same; four files of five are the same in every lab, and scanned once a run."""
    return json.loads(once(shared, "secrets", [name.encode(), content], lambda: json.dumps(suspicions(name, content))))


@pytest.mark.slow(keep=1)
def test_no_file_of_a_lab_looks_like_it_holds_a_secret(lab: Lab, shared: Path) -> None:
    names = NAMES | {lab.answers.get("tls_secret_name", "lab-tls")}
    lines = [
        line
        for file in sorted(lab.path.rglob("*"))
        if file.is_file()
        for line in suspicions_once(shared, str(file.relative_to(lab.path)), file.read_bytes())
    ]
    found = [
        line
        for line in lines
        if not re.search(r": Secret Keyword: (.*)$", line) or line.rsplit(": ", 1)[1] not in names
    ]
    checksum = lab.answers.get("vm_image_checksum")
    assert [
        line for line in found if line.rsplit(": ", 1)[1] != checksum and not is_public(line.rsplit(": ", 1)[1])
    ] == []


def is_public(value: str) -> bool:
    """Say whether this is a public age key, whole, or the letters that such keys are made of."""
    return value == age.CHARSET or (
        age.recipient_problem(value) is None and re.fullmatch("age1[a-z0-9]{58}", value) is not None
    )


def test_a_private_age_key_is_not_taken_for_a_public_one() -> None:
    made = age.new_identity()
    assert (
        is_public(made.recipient)
        and not is_public(made.private)
        and not is_public(made.recipient[:-1] + "q" * (made.recipient[-1] != "q"))
    )
    assert suspicions("keys.yaml", f'key: "{made.private}"\n'.encode())
    low = "AGE-SECRET-KEY-1HEM4SEASQH767YE0WFYX2K6M6AHEQ2NURC277FQVHVAQS8QFK4AQQFZNW0"
    assert suspicions("keys.yaml", f'key: "{low}"\n'.encode()), "its entropy is low"


@pytest.mark.parametrize(
    "text",
    [
        'token = "glrt-t1_Zx8cV2bN4mQ6wE9rT7yU"\n',
        "-----BEGIN OPENSSH PRIVATE KEY-----\n",
        'password: "hunter2hunter2"\n',
    ],
)
def test_the_scanner_would_notice(text: str) -> None:
    assert suspicions("config.yaml", text.encode())


def test_answers_hold_no_secret_question() -> None:
    from tests.support.questions import QUESTIONS

    assert not [
        name
        for name, question in QUESTIONS.items()
        if question.get("secret") or (question["type"] != "bool" and re.search("password|token", name))
    ]
