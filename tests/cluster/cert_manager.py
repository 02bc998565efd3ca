"""What is around a lab that installs cert-manager itself: its chart where Flux fetches it, its controllers, and what they issue in front of GitLab.

The chart is cert-manager's own, packed from its module and served as quay.io would. Once its Deployment is there, its real
controllers run beside the cluster (programs/cert-manager). Its webhook does not: what would call it is taken out.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import threading
from typing import TYPE_CHECKING

from tests.cluster.api import ApiError
from tests.cluster.build import module_folder
from tests.cluster.paths import BIN

if TYPE_CHECKING:
    from tests.cluster.world import World

HOST, NAMESPACE = "quay.io", "cert-manager"
REPOSITORY = "/v2/jetstack/charts/cert-manager"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG, LAYER = "application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
HOSTS_OF = "cert-manager.io/alt-names"


class CertManager:
    """cert-manager of one world."""

    def __init__(self, world: World) -> None:
        self.world, self.folder = world, world.folder / "cert-manager"
        self.running = False
        self.shown: dict[str, str] = {}

    def start(self) -> None:
        self.folder.mkdir()
        names = self.world.plane.kubectl("get", "crd", "-o", "name").split()
        self.world.plane.kubectl("delete", *(name for name in names if name.endswith("cert-manager.io")))
        self.world.gitlab.files = self._chart(self.world.facts.cert_manager_version)
        threading.Thread(target=self._follow, daemon=True).start()

    def _chart(self, version: str) -> dict[str, tuple[str, bytes]]:
        """Return what an OCI registry answers of the chart, by path: media type and content."""
        source = module_folder("github.com/cert-manager/cert-manager", "crds") / "deploy" / "charts" / "cert-manager"
        command = [BIN / "helm", "package", source, "--version", version, "--app-version", version]
        subprocess.run([*command, "--destination", self.folder], check=True, capture_output=True)
        [packed] = self.folder.glob("*.tgz")
        layer, config = packed.read_bytes(), json.dumps({"name": "cert-manager", "version": version}).encode()
        parts = [{"mediaType": CONFIG, **described(config)}, {"mediaType": LAYER, **described(layer)}]
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": parts[0], "layers": parts[1:]}
        text = json.dumps(manifest).encode()
        found = {f"{REPOSITORY}/manifests/{name}": (MANIFEST, text) for name in (version, described(text)["digest"])}
        blobs = {f"{REPOSITORY}/blobs/{described(one)['digest']}": one for one in (layer, config)}
        return found | {path: ("application/octet-stream", one) for path, one in blobs.items()}

    def _follow(self) -> None:
        # One thread starts the program: the kernel ends it with the thread.
        while not self.world.stopping.wait(0.3):
            try:
                self._look()
            # kubectl asserts that it could: the API server may be gone before this thread is told to stop.
            except (ApiError, AssertionError, OSError, RuntimeError, subprocess.SubprocessError):
                continue

    def _look(self) -> None:
        world = self.world
        if not self.running and world.api.get("deployments", "cert-manager", NAMESPACE):
            world.plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=20s")
            kubeconfig = str(world.plane.kubeconfig)
            world.processes.start("cert-manager", [str(BIN / "cert-manager"), "--kubeconfig", kubeconfig])
            self.running = True
        if world.api.get("namespaces", NAMESPACE):
            self._silence_webhooks()
        for secret in world.api.list("secrets"):
            hosts = secret["metadata"].get("annotations", {}).get(HOSTS_OF, "")
            if hosts and secret.get("data", {}).get("tls.crt"):
                self._show(hosts.split(","), secret["data"])

    def _silence_webhooks(self) -> None:
        """Take out what would call the webhook; Flux lets these lists be, since the cainjector writes there."""
        kubectl, kinds = self.world.plane.kubectl, "validatingwebhookconfigurations,mutatingwebhookconfigurations"
        said = kubectl("get", kinds, "--selector", f"app.kubernetes.io/instance={NAMESPACE}", "--output", "json")
        for one in json.loads(said)["items"]:
            if one.get("webhooks"):
                patch = json.dumps([{"op": "replace", "path": "/webhooks", "value": []}])
                kubectl("patch", one["kind"], one["metadata"]["name"], "--type=json", "--patch", patch)

    def _show(self, hosts: list[str], data: dict[str, str]) -> None:
        """Let what stands where Traefik would show a certificate that was issued."""
        if self.shown.get(hosts[0]) == data["tls.crt"]:
            return
        files = [self.folder / f"{hosts[0]}.{part}" for part in ("crt", "key")]
        for file, part in zip(files, ("tls.crt", "tls.key"), strict=True):
            file.write_bytes(base64.b64decode(data[part]))
        self.world.servers[0].show(hosts, *files)
        self.shown[hosts[0]] = data["tls.crt"]


def described(content: bytes) -> dict[str, str | int]:
    """Return digest and size, as OCI's manifests name a part."""
    return {"digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size": len(content)}
