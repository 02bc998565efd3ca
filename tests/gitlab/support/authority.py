"""A certificate authority of the test's own, made with the openssl program, and certificates that it signs."""

from __future__ import annotations

import base64
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from tests.support.tools import run, tool


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as PEM files."""

    crt: Path
    key: Path

    @property
    def der(self) -> bytes:
        body = "".join(line for line in self.crt.read_text().splitlines() if not line.startswith("-----"))
        return base64.b64decode(body)

    def secret(self, name: str, namespace: str) -> dict[str, object]:
        """Return it as the Secret of type kubernetes.io/tls that Kubernetes keeps."""
        data = {"tls.crt": self.crt, "tls.key": self.key}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": name, "namespace": namespace},
            "data": {key: base64.b64encode(file.read_bytes()).decode() for key, file in data.items()},
        }


class Authority:
    """Signs certificates for hosts, as cert-manager or an owner with a CA would.

    Args:
        folder: where its files go; made where it is missing.
        name: the authority's common name.
    """

    def __init__(self, folder: Path, name: str = "Lab CA") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self.crt, self._key = folder, folder / "ca.crt", folder / "ca.key"
        self._openssl(
            "req",
            "-x509",
            *_NEW_KEY,
            "-keyout",
            self._key,
            "-out",
            self.crt,
            "-subj",
            f"/CN={name}",
            "-days",
            "2",
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        )

    def sign(self, common_name: str, *hosts: str) -> Certificate:
        """Return a certificate for the hosts; *common_name* tells it apart from others."""
        base = self._folder / f"{len(list(self._folder.iterdir()))}-{hosts[0]}"
        made = Certificate(base.with_name(base.name + ".crt"), base.with_name(base.name + ".key"))
        names = ",".join(f"DNS:{host}" for host in hosts)
        self._openssl(
            "req",
            "-x509",
            *_NEW_KEY,
            "-keyout",
            made.key,
            "-out",
            made.crt,
            "-subj",
            f"/CN={common_name}",
            "-days",
            "1",
            "-CA",
            self.crt,
            "-CAkey",
            self._key,
            "-addext",
            f"subjectAltName={names}",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        )
        return made

    @cached_property
    def of_traefik(self) -> Certificate:
        """A certificate like the one that Traefik makes itself: of no host that anybody asks for, and not signed by the authority."""
        made = Certificate(self._folder / "traefik.crt", self._folder / "traefik.key")
        subject = ("-subj", "/CN=TRAEFIK DEFAULT CERT", "-addext", "subjectAltName=DNS:traefik.default")
        self._openssl("req", "-x509", *_NEW_KEY, "-keyout", made.key, "-out", made.crt, *subject, "-days", "1")
        return made

    def _openssl(self, *arguments: str | Path) -> None:
        done = run(tool("openssl"), *arguments)
        assert done.returncode == 0, done.stderr


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def signature(key: Path, message: bytes) -> bytes:
    """Return the RSA signature (SHA-256) of the message."""
    return subprocess.run(
        [tool("openssl"), "dgst", "-sha256", "-sign", key], input=message, capture_output=True, check=True
    ).stdout


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the certificate of another authority, which signed nothing here."""
    return Authority(tmp_path_factory.mktemp("stranger"), "Somebody else").crt
