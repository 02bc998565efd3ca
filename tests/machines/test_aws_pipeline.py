"""How jobs of the project for infrastructure log in to AWS, and what its schedule says of GitLab's keys."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from tests.machines.support.aws_pipeline import jobs, merged
from tests.machines.support.aws_world import KEYS, GitLab, lab_of
from tests.support.questions import labs_with
from tests.support.rendering import recorded_answers
from tests.support.tools import tool

pytestmark = pytest.mark.xdist_group("aws")
ARN = "arn:aws:iam::123456789012:role/"


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize("name", labs_with(aws=["backups"]))
def test_each_job_asks_for_the_role_that_is_made_for_it(shared: Path, name: str) -> None:
    lab = lab_of(shared, name)
    answers, pipeline = recorded_answers(lab), jobs(lab)
    lab_name, login = answers["lab_name"], answers["aws_login"]
    assert pipeline["variables"]["AWS_REGION"] == answers["aws_region"]
    found = {job: merged(pipeline, job) for job in ("plan", "apply", "drift")}
    roles = {job: one["variables"].get("AWS_ROLE_ARN") for job, one in found.items()}
    if login == "oidc":
        assert roles == {
            "plan": f"{ARN}lab-{lab_name}-iac-plan",
            "apply": f"{ARN}lab-{lab_name}-iac",
            "drift": f"{ARN}lab-{lab_name}-iac-plan",
        }
        assert all(one["id_tokens"] == {"AWS_ID_TOKEN": {"aud": "sts.amazonaws.com"}} for one in found.values())
    else:
        assert set(roles.values()) == {None} and not any("id_tokens" in one for one in found.values())
    of_certificate = {one["variables"].get("AWS_ROLE_ARN_OF_JOB") for one in found.values()}
    assert of_certificate == {f"{ARN}lab-{lab_name}-iac" if login == "roles-anywhere" else None}
    assert ("issuer" in pipeline) is (login == "oidc" and answers["aws_issuer_bucket"] != "")
    # A log-in is for the jobs that need one.
    assert "id_tokens" not in {**pipeline["validate"], **pipeline["fmt"], **pipeline["default"]}
    assert not re.search("ACCESS_KEY|SECRET", (lab / "iac" / ".gitlab-ci.yml").read_text())


def run_script(
    pipeline: dict[str, Any], job: str, folder: Path, programs: dict[str, str], **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a job's script in a folder that takes the place of /tmp, with programs of the test's own."""
    (folder / "bin").mkdir(exist_ok=True)
    for name, text in programs.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / "bin" / name).chmod(0o755)
    lines = (
        "\n".join(pipeline[job]["script"])
        .replace("/tmp/", f"{folder}/")
        .replace("/etc/ssl/certs/ca-certificates.crt", "/dev/null")
    )
    environment = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", **pipeline[job].get("variables", {}), **variables}
    return subprocess.run(
        ["sh", "-e", "-c", lines], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_schedule_fails_once_gitlab_has_another_key_than_aws_is_shown(shared: Path, tmp_path: Path) -> None:
    pipeline = jobs(lab_of(shared, "aws"))
    gitlab = GitLab("https://gitlab.home.arpa", pipeline["issuer"]["variables"]["ISSUER"])
    shown = gitlab.answer(f"{gitlab.url}/{KEYS}")[1]
    # As OpenTofu writes JSON.
    published = json.dumps(json.loads(shown), separators=(",", ":"), sort_keys=True)
    programs = {
        "apk": "exit 0",
        "curl": f"for url; do :; done; case $url in {gitlab.issuer}/{KEYS}) cat {tmp_path}/there;; *) cat {tmp_path}/gitlab;; esac",
    }

    def judged(here: str, there: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "gitlab").write_text(here)
        (tmp_path / "there").write_text(there)
        return run_script(pipeline, "issuer", tmp_path, programs, CI_SERVER_URL=gitlab.url)

    # Both were the same when they were published; GitLab may order and indent them otherwise.
    keys = json.loads(published)["keys"]
    assert judged(json.dumps({"keys": keys[::-1]}, indent=2), published).returncode == 0
    other = [keys[0], keys[1] | {"kid": "another", "n": keys[0]["n"][::-1]}]
    for here, there in (
        (json.dumps({"keys": other}), published),
        (shown, json.dumps({"keys": other})),
        ("{}", "{}"),
        (json.dumps({"keys": keys}), ""),
    ):
        done = judged(here, there)
        assert done.returncode == 1 and "./lab up --only machines" in done.stdout, (here, there)


# IAM Roles Anywhere

CURL = """\
for one; do printf '%s\\n' "$one"; done > "$ASKED"
cat "$ANSWER\""""
CREDENTIALS = {
    "accessKeyId": "ASIAEXAMPLE",
    "secretAccessKey": "se/cr+et",
    "sessionToken": "to/ken==",
    "expiration": "2026-12-01T00:00:00Z",
}


def session(
    shared: Path, folder: Path, key: list[str], answer: str, serial: int
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Run aws-session.sh with a new certificate; return how it ended, and what it has sent."""
    openssl = tool("openssl")
    files = ["-keyout", str(folder / "job.key"), "-out", str(folder / "job.crt")]
    subprocess.run(
        [
            openssl,
            "req",
            "-x509",
            "-subj",
            r"/CN=homelab\/iac",
            "-set_serial",
            str(serial),
            "-days",
            "2",
            "-nodes",
            "-newkey",
            *key,
            *files,
        ],
        check=True,
        capture_output=True,
    )
    (folder / "bin").mkdir()
    (folder / "bin" / "curl").write_text(f"#!/bin/sh\n{CURL}\n")
    (folder / "bin" / "curl").chmod(0o755)
    (folder / "answer").write_text(answer)
    arns = {
        name: f"arn:aws:rolesanywhere:eu-west-3:123456789012:{what}/0d1c"
        for name, what in (("AWS_TRUST_ANCHOR_ARN", "trust-anchor"), ("AWS_PROFILE_ARN", "profile"))
    }
    environment = {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "AWS_REGION": "eu-west-3",
        "AWS_ROLE_ARN_OF_JOB": f"{ARN}lab-home-iac",
        **arns,
        "AWS_CERTIFICATE": str(folder / "job.crt"),
        "AWS_PRIVATE_KEY": str(folder / "job.key"),
        "ASKED": str(folder / "asked"),
        "ANSWER": str(folder / "answer"),
    }
    script = lab_of(shared, "pair-12") / "iac" / "aws-session.sh"
    done = subprocess.run(["sh", str(script)], env=environment, capture_output=True, text=True, check=False)
    words = (folder / "asked").read_text().splitlines() if (folder / "asked").exists() else []
    headers = dict(word.split(": ", 1) for before, word in pairwise(words) if before == "-H")
    [url] = [word for word in words if word.startswith("https://")] or [""]
    return done, {"url": url, "headers": headers, "body": words[-1] if words else ""}


# The serial numbers of certificates: short, a lab's own, and the longest that RFC 5280 allows.
@pytest.mark.parametrize("serial", [10, int("7f" + "a0" * 15, 16), 2**159 - 1])
@pytest.mark.parametrize(
    "key", [["rsa:2048"], ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]], ids=["RSA", "ECDSA"]
)
def test_a_certificate_signs_the_request_for_a_session_as_aws_wants_it(
    shared: Path, tmp_path: Path, key: list[str], serial: int
) -> None:
    done, sent = session(shared, tmp_path, key, json.dumps({"credentialSet": [{"credentials": CREDENTIALS}]}), serial)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "Version": 1,
        "AccessKeyId": "ASIAEXAMPLE",
        "SecretAccessKey": "se/cr+et",
        "SessionToken": "to/ken==",
        "Expiration": "2026-12-01T00:00:00Z",
    }
    certificate = x509.load_pem_x509_certificate((tmp_path / "job.crt").read_bytes())
    headers = sent["headers"]
    assert x509.load_der_x509_certificate(base64.b64decode(headers["X-Amz-X509"])) == certificate
    kind, credential, signed, signature = re.fullmatch(
        r"AWS4-X509-(RSA|ECDSA)-SHA256 Credential=(\S+), SignedHeaders=(\S+), Signature=([0-9a-f]+)",
        headers["Authorization"],
    ).groups()  # type: ignore[union-attr]
    moment = headers["X-Amz-Date"]
    scope = f"{moment[:8]}/eu-west-3/rolesanywhere/aws4_request"
    assert credential == f"{serial}/{scope}"
    assert signed == "content-type;host;x-amz-date;x-amz-x509"
    # What is signed, as AWS's SDK for Python writes it.
    parts = urlsplit(sent["url"])
    assert (parts.netloc, parts.path) == ("rolesanywhere.eu-west-3.amazonaws.com", "/sessions")
    request = AWSRequest(
        "POST",
        sent["url"],
        data=sent["body"],
        headers={name: headers[name] for name in ("Content-Type", "X-Amz-Date", "X-Amz-X509")},
    )
    request.context = {"timestamp": moment}
    canonical = SigV4Auth(Credentials("x", "x"), "rolesanywhere", "eu-west-3").canonical_request(request)
    text = f"AWS4-X509-{kind}-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}".encode()
    public = certificate.public_key()
    if isinstance(public, ec.EllipticCurvePublicKey):
        assert kind == "ECDSA"
        public.verify(bytes.fromhex(signature), text, ec.ECDSA(hashes.SHA256()))
    else:
        assert kind == "RSA"
        public.verify(bytes.fromhex(signature), text, padding.PKCS1v15(), hashes.SHA256())  # type: ignore[union-attr, call-arg]
    asked = dict(parse_qsl(parts.query))
    assert asked["roleArn"] == f"{ARN}lab-home-iac" and set(asked) == {"profileArn", "roleArn", "trustAnchorArn"}


def test_what_aws_says_against_a_certificate_is_shown_and_no_key_is(shared: Path, tmp_path: Path) -> None:
    done, _ = session(
        shared, tmp_path, ["rsa:2048"], '{"message": "Untrusted certificate. Insufficient certificate"}', 7
    )
    assert done.returncode == 1 and done.stdout == ""
    assert "Untrusted certificate" in done.stderr and "PRIVATE" not in done.stderr
