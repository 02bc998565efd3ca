"""What a node, its kubelet and k3s' own controllers do beside KWOK: they pull images, give out addresses, make volumes.

KWOK says how a pod fares in the form that a kubelet gives it (stages/pods.yaml); here is decided which of these fates it has.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tests.cluster.api import Api, ApiError, Object
from tests.cluster.job_runner import Ended, JobRunner, runs_for_real, status_of

FATE = "lab.test/fate"
READY, IMAGE_MISSING, CRASH_LOOP, NEVER_READY, FAIL = "ready", "image-missing", "crash-loop", "never-ready", "fail"
RAN = "ran"  # a pod whose containers ran
LOAD_BALANCER = "127.0.0.1"  # k3s' ServiceLB gives the node's own address


class NodeAgent:
    """Follows pods, Services and claims, and does what the node of a k3s would do.

    Args:
        api: the cluster.
        has_image: says whether an image can be pulled.
        jobs: runs the pods whose commands are run.
    Attributes:
        pull_seconds: how long the first pull of an image takes.
        fate_of: what a test wants of a pod: the name of a fate, or nothing for the usual one.
    """

    def __init__(self, api: Api, has_image: Callable[[str], bool], jobs: JobRunner) -> None:
        self.api, self.has_image, self.jobs = api, has_image, jobs
        self.pull_seconds: Callable[[str], float] = lambda image: 0
        self.pulled: dict[str, float] = {}
        self.classes = {"local-path"}
        self.fate_of: Callable[[Object], str] = lambda pod: ""
        self.waiting: dict[tuple[str, str], Object] = {}
        self.begun: set[str] = set()
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.threads = [
            threading.Thread(target=self._follow, args=(kind, act), daemon=True)
            for kind, act in (
                ("pods", self._pod),
                ("services", self._service),
                ("persistentvolumeclaims", self._claim),
            )
        ]
        self.threads.append(threading.Thread(target=self._retry, daemon=True))

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.stopping.set()

    def _follow(self, kind: str, act: Callable[[Object], None]) -> None:
        for item in self.api.watch(kind, self.stopping):
            try:
                act(item)
            except (ApiError, OSError):
                continue  # it is gone, or the world ends

    def _fate(self, pod: Object) -> str:
        wanted = self.fate_of(pod)
        if wanted:
            return wanted
        containers = [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
        return READY if all(self.has_image(item["image"]) for item in containers) else IMAGE_MISSING

    def _pod(self, pod: Object) -> None:
        place = (pod["metadata"].get("namespace", ""), pod["metadata"]["name"])
        told = pod["metadata"].get("annotations", {}).get(FATE)
        if pod["metadata"].get("deletionTimestamp") or not pod["spec"].get("nodeName"):
            return
        with self.lock:
            if told in (None, READY, RAN) or runs_for_real(pod):
                self.waiting.pop(place, None)
            else:
                self.waiting[place] = pod
            # A pod changes before it is told its fate; its commands run once all the same.
            again = runs_for_real(pod) and pod["metadata"]["uid"] in self.begun
            self.begun.add(pod["metadata"]["uid"])
        if told is None and not again:
            threading.Thread(target=self._begin, args=(pod,), daemon=True).start()

    def _begin(self, pod: Object) -> None:
        """Pull what the pod needs, and start it."""
        try:
            if runs_for_real(pod):
                self._check(pod)
                return
            for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
                self._pull(container["image"])
            self._tell(pod, self._fate(pod))
        except (ApiError, OSError):
            return  # it is gone, or the world ends

    def _pull(self, image: str) -> None:
        """Wait until a node has pulled an image; it keeps the image from then on, and notes when it was there."""
        if self.has_image(image) and image not in self.pulled:
            self.stopping.wait(self.pull_seconds(image))
            self.pulled[image] = time.monotonic()

    def _check(self, pod: Object) -> None:
        """Run a pod's containers; their ends are the pod's."""
        ended: list[Ended] = []
        first, then = pod["spec"].get("initContainers", []), pod["spec"]["containers"]
        for container in [*first, *then]:
            if not self.has_image(container["image"]):
                self._tell(pod, IMAGE_MISSING)
                return
            self._pull(container["image"])
            ended.append(self.jobs.run(pod, container))
            if ended[-1].code:
                break
        meta = pod["metadata"]
        self._tell(pod, RAN)
        self.api.patch("pods", meta["name"], meta["namespace"], {"status": status_of(pod, ended)}, "status")

    def _tell(self, pod: Object, fate: str) -> None:
        meta = pod["metadata"]
        self.api.patch("pods", meta["name"], meta["namespace"], {"metadata": {"annotations": {FATE: fate}}})

    def _retry(self) -> None:
        """Pull again what was not there, and start again what may be well now."""
        while not self.stopping.wait(0.5):
            with self.lock:
                waiting = dict(self.waiting)
            for place, pod in waiting.items():
                fate = self._fate(pod)
                if fate == pod["metadata"].get("annotations", {}).get(FATE):
                    continue
                try:
                    self._tell(pod, fate)
                except (ApiError, OSError):
                    with self.lock:
                        self.waiting.pop(place, None)

    def _service(self, service: Object) -> None:
        if service["spec"].get("type") != "LoadBalancer" or service["status"].get("loadBalancer", {}).get("ingress"):
            return
        meta, status = service["metadata"], {"loadBalancer": {"ingress": [{"ip": LOAD_BALANCER}]}}
        self.api.patch("services", meta["name"], meta["namespace"], {"status": status}, "status")

    def _claim(self, claim: Object) -> None:
        """Make a volume for a claim of a storage class such as k3s brings, once its pod has a node."""
        meta, spec = claim["metadata"], claim["spec"]
        chosen = meta.get("annotations", {}).get("volume.kubernetes.io/selected-node")
        if spec.get("storageClassName") not in self.classes or spec.get("volumeName") or not chosen:
            return
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {
                "name": f"pvc-{meta['uid']}",
                "annotations": {"pv.kubernetes.io/provisioned-by": "rancher.io/local-path"},
            },
            "spec": {
                "capacity": spec["resources"]["requests"],
                "accessModes": spec["accessModes"],
                "persistentVolumeReclaimPolicy": "Delete",
                "storageClassName": spec["storageClassName"],
                "claimRef": {
                    "kind": "PersistentVolumeClaim",
                    "apiVersion": "v1",
                    "name": meta["name"],
                    "namespace": meta["namespace"],
                    "uid": meta["uid"],
                },
                "hostPath": {"path": f"/var/lib/rancher/k3s/storage/pvc-{meta['uid']}"},
                "nodeAffinity": {
                    "required": {
                        "nodeSelectorTerms": [
                            {
                                "matchExpressions": [
                                    {"key": "kubernetes.io/hostname", "operator": "In", "values": [chosen]}
                                ]
                            }
                        ]
                    }
                },
            },
        }
        self.api.request("POST", "/api/v1/persistentvolumes", volume)
