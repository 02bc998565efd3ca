"""A Kubernetes control plane on the loopback: etcd, API server, controller manager, scheduler, and a node that KWOK simulates."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import time
from pathlib import Path

from tests.cluster.api import Api
from tests.cluster.build import KUBERNETES, definitions, module_folder
from tests.cluster.paths import BIN, CLUSTER
from tests.cluster.processes import Processes
from tests.support.loopback import wait_for

PORT = 6443
ETCD = "http://127.0.0.1:12379"
ETCD_PEER = "http://127.0.0.1:12380"
KUBELET_PORT = 10250


def node_info(architecture: str) -> str:
    """Return what a node says of itself, as JSON; Kubernetes asks for every field."""
    fields = {
        "kubeletVersion": f"v{KUBERNETES}+k3s1",
        "architecture": architecture,
        "operatingSystem": "linux",
        "containerRuntimeVersion": "containerd://2.1.4",
        "kernelVersion": "6.1.0-lab",
        "osImage": "Debian",
    }
    return json.dumps(fields | dict.fromkeys(("bootID", "machineID", "systemUUID", "kubeProxyVersion"), ""))


NODE = f"""\
apiVersion: v1
kind: Node
metadata:
  name: k3s-1
  annotations: {{kwok.x-k8s.io/node: fake, node.alpha.kubernetes.io/ttl: "0"}}
  labels:
    kubernetes.io/hostname: k3s-1
    kubernetes.io/os: linux
    kubernetes.io/arch: amd64
    node-role.kubernetes.io/control-plane: "true"
spec: {{podCIDR: 10.42.0.0/24}}
status:
  addresses:
    - {{type: InternalIP, address: 127.0.0.1}}
    - {{type: Hostname, address: k3s-1}}
  daemonEndpoints: {{kubeletEndpoint: {{Port: {KUBELET_PORT}}}}}
  allocatable: {{cpu: "8", memory: 24Gi, pods: "110", ephemeral-storage: 200Gi}}
  capacity: {{cpu: "8", memory: 24Gi, pods: "110", ephemeral-storage: 200Gi}}
  nodeInfo: {node_info("amd64")}
"""
# What k3s brings: its own Traefik (as an object that nothing carries out here), and a storage class.
K3S = """\
apiVersion: helm.cattle.io/v1
kind: HelmChart
metadata: {name: traefik, namespace: kube-system}
spec: {chart: "https://%{KUBERNETES_API}%/static/charts/traefik.tgz"}
---
apiVersion: v1
kind: Service
metadata: {name: traefik, namespace: kube-system}
spec: {type: LoadBalancer, ports: [{name: websecure, port: 443}, {name: web, port: 80}], selector: {app: traefik}}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: local-path, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: rancher.io/local-path
volumeBindingMode: WaitForFirstConsumer
"""
# Commands in a pod run on this machine, as programs of the world; GitLab's log is a file of it.
KUBELET = """\
apiVersion: kwok.x-k8s.io/v1alpha1
kind: ClusterExec
metadata: {{name: all}}
spec:
  execs:
    - local:
        workDir: /
        envs:
          - {{name: PATH, value: "{commands}:/usr/bin:/bin"}}
          - {{name: WORLD, value: "{world}"}}
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: ClusterLogs
metadata: {{name: all}}
spec:
  logs:
    - logsFile: {log}
      follow: false
"""


class ControlPlane:
    """A cluster that k3s might have set up, without its containers.

    Args:
        folder: where its data, keys and logs go.
        processes: what starts and ends its programs.
    Attributes:
        kubeconfig: an administrator's.
        api: a client with the same rights.
    """

    def __init__(self, folder: Path, processes: Processes) -> None:
        self.folder, self.processes = folder, processes
        self.pki = folder / "pki"
        self.pki.mkdir(parents=True)
        self.commands = folder / "commands"
        self.commands.mkdir()
        self.token = secrets.token_hex(16)
        self.kubeconfig = folder / "kubeconfig"
        self.api = Api(PORT, self.token)

    def start(self) -> None:
        self.start_api()
        self._start_controllers()
        self._prepare()

    def start_api(self) -> None:
        """Start what keeps objects, and judges them; nothing acts on them."""
        self._keys()
        self._start_etcd()
        self._start_api_server()
        self.write_kubeconfig(self.kubeconfig, self.token)

    def write_kubeconfig(self, file: Path, token: str) -> None:
        file.write_text(
            f"""\
apiVersion: v1
kind: Config
clusters: [{{name: lab, cluster: {{server: "https://127.0.0.1:{PORT}", insecure-skip-tls-verify: true}}}}]
users: [{{name: user, user: {{token: "{token}"}}}}]
contexts: [{{name: lab, context: {{cluster: lab, user: user}}}}]
current-context: lab
""",
            encoding="utf-8",
        )
        file.chmod(0o600)

    def kubectl(self, *arguments: str, text: str = "", check: bool = True) -> str:
        """Run kubectl as the administrator and return what it prints."""
        command = [str(BIN / "kubectl"), "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def apply(self, text: str) -> None:
        self.kubectl("apply", "--server-side", "--force-conflicts", "--filename", "-", text=text)

    def _keys(self) -> None:
        key, public = self.pki / "accounts.key", self.pki / "accounts.pub"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        subprocess.run(["openssl", "rsa", "-in", key, "-pubout", "-out", public], check=True, capture_output=True)
        (self.pki / "tokens.csv").write_text(f"{self.token},admin,admin,system:masters\n", encoding="utf-8")

    def _start_etcd(self) -> None:
        # Nothing of a world outlives it, so nothing needs to reach the disk.
        self.processes.start(
            "etcd",
            [
                str(BIN / "etcd"),
                f"--data-dir={self.folder / 'etcd'}",
                f"--listen-client-urls={ETCD}",
                f"--advertise-client-urls={ETCD}",
                f"--listen-peer-urls={ETCD_PEER}",
                f"--initial-advertise-peer-urls={ETCD_PEER}",
                f"--initial-cluster=default={ETCD_PEER}",
                "--unsafe-no-fsync",
                "--log-level=warn",
            ],
        )

    def _start_api_server(self) -> None:
        self.processes.start(
            "kube-apiserver",
            [
                str(BIN / "kube-apiserver"),
                f"--etcd-servers={ETCD}",
                f"--secure-port={PORT}",
                "--bind-address=127.0.0.1",
                "--advertise-address=192.0.2.1",
                f"--cert-dir={self.pki}",
                f"--token-auth-file={self.pki / 'tokens.csv'}",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                "--service-cluster-ip-range=10.43.0.0/16",
                "--allow-privileged=true",
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                f"--service-account-key-file={self.pki / 'accounts.pub'}",
                f"--service-account-signing-key-file={self.pki / 'accounts.key'}",
                "--endpoint-reconciler-type=none",
                "--kubelet-preferred-address-types=InternalIP",
            ],
        )
        wait_for("the API server", self._ready, seconds=60, pause=0.1)

    def _ready(self) -> bool:
        try:
            return bool(self.api.request("GET", "/readyz") == "ok")
        except Exception:  # noqa: BLE001 - it has not started yet
            return False

    def _start_controllers(self) -> None:
        common = [f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--bind-address=127.0.0.1"]
        self.processes.start(
            "kube-controller-manager",
            [
                str(BIN / "kube-controller-manager"),
                *common,
                f"--service-account-private-key-file={self.pki / 'accounts.key'}",
                f"--root-ca-file={self.pki / 'apiserver.crt'}",
                "--use-service-account-credentials=true",
                "--cluster-cidr=10.42.0.0/16",
                "--service-cluster-ip-range=10.43.0.0/16",
                "--allocate-node-cidrs=true",
            ],
        )
        self.processes.start("kube-scheduler", [str(BIN / "kube-scheduler"), *common])

    def _prepare(self) -> None:
        kwok = module_folder("sigs.k8s.io/kwok", "kwok")
        self.kubectl("apply", "--server-side", "--filename", str(kwok / "kustomize" / "crd" / "bases"))
        self.kubectl("apply", "--server-side", *(f"--filename={file}" for file in definitions()))
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        node_stages = kwok / "kustomize" / "stage" / "node"
        for stage in ("fast/node-initialize.yaml", "heartbeat-with-lease/node-heartbeat-with-lease.yaml"):
            self.kubectl("apply", "--server-side", "--filename", str(node_stages / stage))
        self.kubectl("apply", "--server-side", "--filename", str(CLUSTER / "stages"))
        log = self.folder / "gitlab-pod.log"
        log.write_text("2026-01-01T00:00:00.000000000Z stdout F gitlab Reconfigured!\n", encoding="utf-8")
        self.apply(KUBELET.format(commands=self.commands, world=self.folder, log=log))
        self.processes.start(
            "kwok",
            [
                str(BIN / "kwok"),
                f"--kubeconfig={self.kubeconfig}",
                "--enable-crds=Stage,ClusterExec,ClusterLogs",
                "--manage-all-nodes=true",
                "--node-lease-duration-seconds=40",
                "--cidr=10.42.0.0/16",
                "--node-ip=127.0.0.1",
                f"--node-port={KUBELET_PORT}",
                f"--server-address=127.0.0.1:{KUBELET_PORT}",
                f"--tls-cert-file={self.pki / 'apiserver.crt'}",
                f"--tls-private-key-file={self.pki / 'apiserver.key'}",
            ],
            {
                "PATH": f"{self.commands}:{os.environ['PATH']}"
            },  # it looks for a command before the command's own PATH counts
        )
        self.apply(NODE)
        self.apply(K3S)
        wait_for("the node", lambda: "True" in self._node_status(), seconds=30, pause=0.1)

    def _node_status(self) -> list[str]:
        nodes = self.api.list("nodes")
        return [c["status"] for node in nodes for c in node["status"].get("conditions", []) if c["type"] == "Ready"]


def remove(folder: Path) -> None:
    """Remove a world's folder, also where a program still writes its last words."""
    for _ in range(5):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.2)
