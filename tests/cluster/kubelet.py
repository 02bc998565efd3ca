"""The figures of a node's volumes, as its kubelet serves them: over TLS, to accounts that the cluster lets ask for nodes/stats.

KWOK's node has no figures. This server answers what a test says; who may ask, it asks the API server, as a kubelet does
(https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/).
"""

from __future__ import annotations

from pathlib import Path

from tests.cluster.api import Api, Object
from tests.cluster.control_plane import KUBELET_PORT
from tests.support.http_server import Handler, HttpServer

GIB = 2**30


class Kubelet:
    """Serves while it is entered.

    Args:
        api: the cluster, as its administrator sees it.
        pki: the folder with the API server's own certificate, which this server shows as well.
        node: the node's name.
    Attributes:
        used: how full each claim of the namespace `gitlab` is, in per cent, by its name; "" is the node's own disk.
        refused: the requests that were not let in.
    """

    def __init__(self, api: Api, pki: Path, node: str) -> None:
        self.api, self.pki, self.node = api, pki, node
        self.used: dict[str, int] = {"": 40}
        self.refused: list[str] = []

    def __enter__(self) -> Kubelet:
        kubelet = self

        class Figures(Handler):
            def do_GET(self) -> None:
                token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
                self.reply_json(*kubelet.answer(self.path, token))

        self.server = HttpServer(Figures, tls=(self.pki / "apiserver.crt", self.pki / "apiserver.key"))
        self.is_nodes(self.server.server_port)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()

    def is_nodes(self, port: int = KUBELET_PORT) -> None:
        """Let the node's kubelet be the one at a port; KWOK's own runs commands in pods, and has no figures."""
        endpoint = {"daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}
        self.api.patch("nodes", self.node, "", {"status": endpoint}, "status")

    def answer(self, path: str, token: str) -> tuple[int, Object]:
        if not self.may(token, "stats"):
            self.refused.append(path)
            return 403, {"message": "Forbidden"}
        if path != "/stats/summary":
            return 404, {"message": "404 page not found"}
        volumes = [
            {**figures(10 + number, share), "name": "data", "pvcRef": {"name": name, "namespace": "gitlab"}}
            for number, (name, share) in enumerate(self.used.items())
            if name
        ]
        disk = figures(100, self.used[""])
        return 200, {
            "node": {"nodeName": self.node, "fs": disk, "runtime": {"imageFs": disk}},
            "pods": [{"volume": volumes}],
        }

    def may(self, token: str, part: str) -> bool:
        """Say whether the cluster knows a token, and lets its account ask a kubelet for this."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        known = self.api.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)["status"]
        if not known.get("authenticated"):
            return False
        wanted = {"verb": "get", "resource": "nodes", "subresource": part, "name": self.node, "version": "v1"}
        user = known["user"]
        spec = {"user": user["username"], "groups": user["groups"], "uid": user["uid"], "resourceAttributes": wanted}
        asked = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        found = self.api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", asked)
        return bool(found["status"]["allowed"])


def figures(gib: int, share: int) -> Object:
    return {
        "capacityBytes": gib * GIB,
        "availableBytes": gib * GIB * (100 - share) // 100,
        "usedBytes": gib * GIB * share // 100,
    }
