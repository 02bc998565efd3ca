"""Flux's controllers as processes, each started with the arguments of its Deployment in the cluster.

What a lab's patches change in a Deployment counts as it would in a pod. Added is only what a pod gets from its surroundings: an
address of its own (each Service that leads to a controller is an address of the loopback, by the world's hosts file), a volume, a
service account, and no election of a leader, since there is one of each.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

from tests.cluster.api import Object
from tests.cluster.build import CONTROLLERS
from tests.cluster.control_plane import ControlPlane
from tests.cluster.paths import BIN
from tests.cluster.processes import Processes

NAMESPACE = "flux-system"
# The Services of flux-system, and the address behind which the harness puts each controller.
ADDRESSES = {name: f"127.0.0.{10 + number}" for number, name in enumerate(CONTROLLERS, 1)}
WEBHOOK_ADDRESS = "127.0.0.20"
SERVICES = {
    "source-controller": ADDRESSES["source-controller"],
    "notification-controller": ADDRESSES["notification-controller"],
    "webhook-receiver": WEBHOOK_ADDRESS,
}


def surroundings(name: str, folder: Path) -> list[str]:
    """Return the arguments that stand for a pod's own address and volume."""
    address = ADDRESSES[name]
    found = ["--enable-leader-election=false", f"--metrics-addr={address}:8080", f"--health-addr={address}:9440"]
    if name == "source-controller":
        found += [f"--storage-path={folder / name}", f"--storage-addr={address}:80"]
    if name == "image-reflector-controller":
        found += [f"--storage-path={folder / name}"]
    if name == "notification-controller":
        found += [f"--events-addr={address}:80", f"--receiverAddr={WEBHOOK_ADDRESS}:80"]
    return found


class FluxProcesses:
    """Keeps one process a Deployment of Flux, and starts it again when its pod template changes.

    Args:
        plane: the cluster.
        processes: what starts and ends the programs.
        folder: where their volumes go.
    Attributes:
        starts: how often each controller was started.
    """

    def __init__(self, plane: ControlPlane, processes: Processes, folder: Path) -> None:
        self.plane, self.processes, self.folder = plane, processes, folder
        self.templates: dict[str, str] = {}
        self.starts = dict.fromkeys(CONTROLLERS, 0)
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._follow, daemon=True)

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.thread.start()

    def stop(self) -> None:
        self.stopping.set()
        self.thread.join()

    def _follow(self) -> None:
        # A pause, not a watch: the kernel ends a process with the thread that started it, so one thread starts them all.
        while not self.stopping.wait(0.2):
            try:
                found = {item["metadata"]["name"]: item for item in self.plane.api.list("deployments", NAMESPACE)}
            except OSError:
                continue
            for name in CONTROLLERS:
                if name in found:
                    self._keep(name, found[name])
                elif name in self.templates:
                    self.processes.stop(name)
                    del self.templates[name]

    def _keep(self, name: str, deployment: Object) -> None:
        template = json.dumps(deployment["spec"]["template"], sort_keys=True)
        if not deployment["spec"].get("replicas", 1):
            self.processes.stop(name)
            self.templates.pop(name, None)
        elif self.templates.get(name) != template or not self.processes.alive(name):
            self.processes.stop(name)
            self._run(name, deployment["spec"]["template"]["spec"])
            self.templates[name] = template

    def _run(self, name: str, pod: Object) -> None:
        container = pod["containers"][0]
        kubeconfig = self.folder / f"{name}.kubeconfig"
        account = pod.get("serviceAccountName", "default")
        token = self.plane.kubectl("create", "token", account, "--namespace", NAMESPACE, "--duration", "24h").strip()
        self.plane.write_kubeconfig(kubeconfig, token)
        environment = {"KUBECONFIG": str(kubeconfig), "HOME": str(self.folder)}
        for item in container.get("env", []):
            source = item.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
            if source == "metadata.namespace":
                environment[item["name"]] = NAMESPACE
            elif "value" in item:
                environment[item["name"]] = item["value"]
        arguments = [word.replace("$(RUNTIME_NAMESPACE)", NAMESPACE) for word in container.get("args", [])]
        if name in ("source-controller", "image-reflector-controller"):
            (self.folder / name).mkdir(exist_ok=True)
        self.starts[name] += 1
        self.processes.start(name, [str(BIN / name), *arguments, *surroundings(name, self.folder)], environment)
