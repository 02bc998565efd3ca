"""A real registry with the settings that gitlab.rb implies, and the part of GitLab that lets people in: /jwt/auth.

GitLab's package ships a registry of its own, grown from this one; the settings here are those that both have. They are put
together as the package does it (registry-config.yml.erb and libraries/registry.rb): the realm is `external_url` with /jwt/auth.
Not covered: what GitLab's registry alone has (its metadata database, online garbage collection), and who GitLab itself lets in.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.gitlab.support.authority import signature
from tests.gitlab.support.listening import Program
from tests.support.http_server import Handler, HttpServer
from tests.support.loopback import free_port
from tests.support.tools import run, tool

SERVICE, ISSUER = "container_registry", "omnibus-gitlab-issuer"


def realm(recorded: Mapping[str, Any]) -> str:
    """Return where a client of the registry has to log in, as the package computes it."""
    return f"{recorded['registry'].get('token_realm', recorded['external_url'])}/jwt/auth"


class LogInStub:
    """Answers for GitLab: tokens for one user, everything else as a page. Receives the registry's notifications as well.

    Attributes:
        events: what the registry has announced, as (action, repository, tag).
        calls: the bodies of its calls, each of which starts what Flux's receiver starts.
    """

    def __init__(self, folder: Path, user: str, password: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._key, self.certificate = folder / "registry.key", folder / "registry.crt"
        done = run(
            tool("openssl"),
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            self._key,
            "-out",
            self.certificate,
            "-subj",
            "/CN=Registry",
            "-days",
            "2",
        )
        assert done.returncode == 0, done.stderr
        self.events: list[tuple[str, str, str]] = []
        self.calls: list[dict[str, object]] = []
        allowed = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        outer = self

        class LogIn(Handler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                if url.path != "/jwt/auth":
                    self.reply_json(404, {})
                elif self.headers.get("Authorization") != allowed:
                    self.reply_json(401, {})
                else:
                    query = parse_qs(url.query)
                    self.reply_json(200, {"token": outer._token(user, query.get("scope", []), query["service"][0])})

            def do_POST(self) -> None:
                body = json.loads(self.body())
                outer.calls.append(body)
                outer.events += [
                    (event["action"], event["target"]["repository"], event["target"].get("tag", ""))
                    for event in body["events"]
                ]
                self.reply_json(200, {})

        self._server = HttpServer(LogIn)
        self.address = self._server.address

    def close(self) -> None:
        self._server.stop()

    def _token(self, user: str, scopes: list[str], service: str) -> str:
        """Return a JSON Web Token for the scopes, signed with the key whose certificate the registry has."""
        der = "".join(line for line in self.certificate.read_text().splitlines() if not line.startswith("-----"))
        now = int(time.time())
        access = []
        for scope in " ".join(scopes).split():
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        claims = {
            "iss": ISSUER,
            "aud": service,
            "sub": user,
            "iat": now,
            "nbf": now - 10,
            "exp": now + 300,
            "jti": "1",
            "access": access,
        }
        parts = [_base64(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "RS256", "x5c": [der]}, claims)]
        message = ".".join(parts)
        return f"{message}.{_base64(signature(self._key, message.encode()))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class RegistryOfGitlab(Program):
    """A running registry on a port of 127.0.0.1.

    Args:
        folder: for its files and images.
        recorded: what gitlab.rb sets.
        certificate: of the key that signs tokens.
    """

    def __init__(self, folder: Path, recorded: Mapping[str, Any], certificate: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.address = ("127.0.0.1", free_port())
        self._log = folder / "registry.log"
        settings = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(folder / "images")}},
            "http": {"addr": "{}:{}".format(*self.address), "secret": "test"},
            "auth": {
                "token": {
                    "realm": realm(recorded),
                    "service": SERVICE,
                    "issuer": ISSUER,
                    "rootcertbundle": str(certificate),
                    "autoredirect": False,
                }
            },
            "notifications": {"endpoints": recorded["registry"].get("notifications", [])},
        }
        (folder / "config.yml").write_text(yaml.safe_dump(settings))
        environment = {"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none", **recorded["registry"]["env"]}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [tool("docker-registry"), "serve", folder / "config.yml"],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._is_complete("the registry", [self.address])
