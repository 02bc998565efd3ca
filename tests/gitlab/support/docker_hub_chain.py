"""The whole way to the cache of Docker Hub: skopeo, a real Traefik, a real registry with the lab's own settings, and Docker Hub.

Docker Hub is a second real registry, at the name and with the certificate of the first one's settings. What it was asked is in its log.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import ssl
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.gitlab.support.address_book import AddressBook
from tests.gitlab.support.authority import Authority
from tests.gitlab.support.rendered_labs import CHART, Object, RenderedLab
from tests.gitlab.support.traefik_cluster import Address, Answer, TraefikCluster, ask
from tests.support.cluster import Loader, helm
from tests.support.loopback import address, listens, wait_for
from tests.support.tools import tool

RELEASE = "apps/{% if docker_hub_cache %}docker-hub-cache{% endif %}/helmrelease.yaml"
HUB, INDEX = "registry-1.docker.io", "docker.io"
DOMAIN, PORT, CACHE_PORT = "lab.our-home.net", 8443, 5000
HOST = f"mirror.{DOMAIN}"
ANSWERS: dict[str, Any] = {
    "base_domain": DOMAIN,
    "https_port": PORT,
    "private_ca": True,
    "tls_source": "cert-manager",
    "cluster_issuer": "home-ca",
    "docker_hub_cache": True,
}
IMAGE = "library/docker:29-dind"
REQUEST = re.compile(r'"(GET|HEAD) (/v2/\S*) HTTP/[\d.]+" (\d+)')
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Registry:
    """One process of the registry program.

    Args:
        folder: for its data and its log.
        config: its configuration file's text.
        environment: overrides of that, as the program takes them, and what Go reads.
    """

    def __init__(self, folder: Path, config: str, environment: dict[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.address = (address(), CACHE_PORT)
        self._file, self.log, self.data = folder / "config.yml", folder / "log", folder / "data"
        self._file.write_text(config, encoding="utf-8")
        there = {
            "REGISTRY_HTTP_ADDR": "{}:{}".format(*self.address),
            "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(self.data),
        }
        self._environment = {"PATH": os.environ["PATH"], **there, **environment}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [tool("docker-registry"), "serve", self._file], env=self._environment, stdout=log, stderr=log
            )
        process = self._process
        wait_for(f"the registry (see {self.log})", lambda: process.poll() is not None or listens(*self.address))
        assert process.poll() is None, self.log.read_text()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def asked(self) -> list[tuple[str, str, int]]:
        """Return each request for an image: verb, path, status."""
        found = REQUEST.findall(self.log.read_text(encoding="utf-8"))
        return [(verb, path, int(status)) for verb, path, status in found if path != "/v2/"]


def make_image(folder: Path, text: bytes) -> Path:
    """Write an image of one layer, as a folder that skopeo reads."""
    folder.mkdir()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("file")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    layer = gzip.compress(packed.getvalue(), mtime=0)
    layers = [f"sha256:{hashlib.sha256(packed.getvalue()).hexdigest()}"]
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": layers}}
    ).encode()

    def described(content: bytes, kind: str) -> Object:
        digest = hashlib.sha256(content).hexdigest()
        (folder / digest).write_bytes(content)
        return {"mediaType": kind, "size": len(content), "digest": f"sha256:{digest}"}

    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": described(config, "application/vnd.docker.container.image.v1+json"),
        "layers": [described(layer, "application/vnd.docker.image.rootfs.diff.tar.gzip")],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "version").write_text("Directory Transport Version: 1.1\n")
    return folder


class Chain:
    """A lab's cache with what is before and behind it.

    Attributes:
        objects: what the release puts into the cluster.
        cache, hub: the two registries.
    """

    def __init__(self, folder: Path, authority: Authority, trusted: list[str] | None) -> None:
        self._folder, self._authority = folder, authority
        self.lab = RenderedLab(ANSWERS, trusted=trusted)
        self.release = yaml.load(self.lab.text(RELEASE), Loader)
        self.objects = list(
            helm(CHART, self.release["spec"]["values"], "docker-hub-cache", self.lab.answers["app_namespace"])
        )
        self.is_reachable = True
        certificate = authority.sign("Docker Hub", HUB, INDEX)
        tls = {"REGISTRY_HTTP_TLS_CERTIFICATE": str(certificate.crt), "REGISTRY_HTTP_TLS_KEY": str(certificate.key)}
        self.hub = Registry(folder / "hub", "version: 0.1\nstorage: {filesystem: {}}\n", tls)
        self._book = AddressBook(self._where)
        self._names = {"HTTPS_PROXY": self._book.url, "SSL_CERT_FILE": str(authority.crt)}
        config = self.one("ConfigMap", "docker-hub-cache-config")["data"]["config.yml"]
        self.cache = Registry(folder / "cache", config, self._names)
        self.cluster: TraefikCluster | None = None

    def _where(self, host: str, port: int) -> Address:
        if host in (HUB, INDEX) and self.is_reachable:
            return self.hub.address
        assert self.cluster is not None
        return {HOST: self.cluster.exposed(PORT)}[host]

    def one(self, kind: str, name: str) -> Object:
        return next(thing for thing in self.objects if (thing["kind"], thing["metadata"]["name"]) == (kind, name))

    def start(self) -> None:
        self.hub.start()
        self.cache.start()
        # Each Service of GitLab's needs an address, too; nobody calls those here.
        ports = {self.lab.answers["http_port"], self.lab.answers["registry_port"], 22}
        pod = {**dict.fromkeys(ports, self.hub.address), CACHE_PORT: self.cache.address}
        self.cluster = TraefikCluster(
            self._folder / "traefik", [*self.lab.objects, *self.objects], self.lab.traefik, pod, self._authority
        )
        wait_for("the cache's certificate in Traefik", self._is_certified)

    def _is_certified(self) -> bool:
        try:
            return self.ask("/").status in (200, 403)
        except ssl.SSLError:
            return False

    def close(self) -> None:
        if self.cluster is not None:
            self.cluster.close()
        self.cache.stop()
        self.hub.stop()
        self._book.__exit__()

    def push(self, name: str, text: bytes) -> None:
        """Put an image where Docker Hub has it."""
        made = make_image(self._folder / hashlib.sha256(name.encode() + text).hexdigest()[:12], text)
        done = self._skopeo("copy", f"dir:{made}", f"docker://{HUB}/{name}")
        assert done.returncode == 0, done.stderr

    def pull(self, image: str, *, mirrored: bool = False) -> subprocess.CompletedProcess[str]:
        """Pull an image as a machine does that has nothing of it.

        Args:
            image: by its whole name.
            mirrored: whether the machine asks the cache before Docker Hub.
        """
        target = self._folder / f"pulled-{len(list(self._folder.iterdir()))}"
        mirror = f'[[registry.mirror]]\nlocation = "{HOST}:{PORT}"\n' if mirrored else ""
        settings = self._folder / "registries.conf"
        settings.write_text(f'[[registry]]\nlocation = "{INDEX}"\n{mirror}', encoding="utf-8")
        return self._skopeo("--registries-conf", settings, "copy", f"docker://{image}", f"dir:{target}")

    def _skopeo(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "XDG_RUNTIME_DIR": str(self._folder),
            **self._names,
        }
        command = [tool("skopeo"), "--insecure-policy", *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def ask(self, path: str, **more: Any) -> Answer:
        """Ask the cache's host, as a machine does that knows it."""
        assert self.cluster is not None
        return ask(self.cluster.exposed(PORT), HOST, path, port=PORT, trusted=self._authority.crt, **more)


@contextmanager
def running(folder: Path, authority: Authority, trusted: list[str] | None) -> Iterator[Chain]:
    """Run all of it.

    Args:
        trusted: trusted_proxies, which the cache lets in; None: those of every lab, which this machine's loopback is none of.
    """
    chain = Chain(folder, authority, trusted)
    try:
        chain.start()
        yield chain
    finally:
        chain.close()
