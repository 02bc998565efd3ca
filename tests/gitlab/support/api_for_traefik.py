"""A stand-in for the Kubernetes API, as far as Traefik asks: list and watch of given objects, and the status of Ingresses.

It holds what Helm rendered, and what the rest of a cluster would make of it: an EndpointSlice for each Service, a
Secret for each Certificate.
"""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.http_server import Handler, HttpServer

Object = dict[str, Any]
PATH = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/]+)/(?P<version>[^/]+))(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+)(?:/status)?)?"
)
KINDS = (
    "ConfigMap Secret Service Node EndpointSlice Ingress IngressClass IngressRoute IngressRouteTCP IngressRouteUDP"
    " Middleware MiddlewareTCP ServersTransport ServersTransportTCP TLSOption TLSStore TraefikService"
).split()


def plural(kind: str) -> str:
    return kind.lower() + ("es" if kind.endswith("s") else "s")


KIND_OF = {plural(kind): kind for kind in KINDS}


class ApiForTraefik:
    """Serves objects on 127.0.0.1 until it is closed.

    Attributes:
        url: where it answers.
        asked: the resources that were asked for.
        statuses: the status that was written for an Ingress, by `namespace/name`.
    """

    def __init__(self, objects: list[Object]) -> None:
        self.asked: set[str] = set()
        self.statuses: dict[str, Any] = {}
        self._closing = threading.Event()
        self._objects: dict[tuple[str, str], list[Object]] = defaultdict(list)
        for number, thing in enumerate(objects, start=1):
            group = thing["apiVersion"].rpartition("/")[0]
            metadata = {"uid": f"uid-{number}", "resourceVersion": str(number), **thing["metadata"]}
            self._objects[group, plural(thing["kind"])].append({**thing, "metadata": metadata})
        outer = self

        class Api(Handler):
            def do_GET(self) -> None:
                outer._get(self)

            def do_PUT(self) -> None:
                outer._put(self)

        self._server = HttpServer(Api)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._closing.set()
        self._server.stop()

    def _get(self, request: Handler) -> None:
        url = urlsplit(request.path)
        match = PATH.fullmatch(url.path)
        missing = {"kind": "Status", "apiVersion": "v1", "code": 404}
        if match is None:
            request.reply_json(404, missing)
            return
        self.asked.add(match["plural"])
        items = self._objects[match["group"] or "", match["plural"]]
        if match["namespace"]:
            items = [one for one in items if one["metadata"].get("namespace") == match["namespace"]]
        version = f"{match['group']}/{match['version']}" if match["group"] else "v1"
        if match["name"]:
            found = next((one for one in items if one["metadata"]["name"] == match["name"]), None)
            request.reply_json(200 if found else 404, found or missing)
        elif "watch" in (query := parse_qs(url.query)):
            kind = {"apiVersion": version, "kind": KIND_OF[match["plural"]]}
            self._watch(request, kind, items if "sendInitialEvents" in query else [])
        else:
            kind = {"apiVersion": version, "kind": f"{KIND_OF[match['plural']]}List"}
            request.reply_json(200, {**kind, "metadata": {"resourceVersion": "1"}, "items": items})

    def _put(self, request: Handler) -> None:
        body = json.loads(request.body())
        self.statuses[f"{body['metadata']['namespace']}/{body['metadata']['name']}"] = body.get("status")
        request.reply_json(200, body)

    def _watch(self, request: Handler, kind: Object, items: list[Object]) -> None:
        """Send what there is, say that this is all, and stay silent until the end, as a cluster that does not change does.

        Source: kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists
        """
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        mark = {"resourceVersion": "1000000", "annotations": {"k8s.io/initial-events-end": "true"}}
        events = [{"type": "ADDED", "object": one} for one in items]
        events.append({"type": "BOOKMARK", "object": {**kind, "metadata": mark}})
        for event in events:
            line = json.dumps(event).encode() + b"\n"
            request.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self._closing.wait()
        request.close_connection = True
