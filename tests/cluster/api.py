"""The Kubernetes API of a world, as the harness asks it: JSON over one kept connection a thread."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlencode

Object = dict[str, Any]
GROUPS = {
    "pods": "/api/v1",
    "services": "/api/v1",
    "secrets": "/api/v1",
    "configmaps": "/api/v1",
    "namespaces": "/api/v1",
    "nodes": "/api/v1",
    "serviceaccounts": "/api/v1",
    "events": "/api/v1",
    "persistentvolumeclaims": "/api/v1",
    "deployments": "/apis/apps/v1",
    "replicasets": "/apis/apps/v1",
    "statefulsets": "/apis/apps/v1",
    "daemonsets": "/apis/apps/v1",
    "cronjobs": "/apis/batch/v1",
    "jobs": "/apis/batch/v1",
    "stages": "/apis/kwok.x-k8s.io/v1alpha1",
    "gitrepositories": "/apis/source.toolkit.fluxcd.io/v1",
    "helmcharts": "/apis/source.toolkit.fluxcd.io/v1",
    "kustomizations": "/apis/kustomize.toolkit.fluxcd.io/v1",
    "helmreleases": "/apis/helm.toolkit.fluxcd.io/v2",
    "imagepolicies": "/apis/image.toolkit.fluxcd.io/v1",
    "imagerepositories": "/apis/image.toolkit.fluxcd.io/v1",
    "imageupdateautomations": "/apis/image.toolkit.fluxcd.io/v1",
    "receivers": "/apis/notification.toolkit.fluxcd.io/v1",
}
MERGE = "application/merge-patch+json"


class ApiError(Exception):
    """The API server refused a request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """A client for one API server.

    Args:
        port: the server's port on the loopback.
        token: the administrator's token.
    """

    def __init__(self, port: int, token: str) -> None:
        self.port, self.token = port, token
        self.kept = threading.local()
        self.opened: list[http.client.HTTPSConnection] = []

    def _connect(self, seconds: float | None) -> http.client.HTTPSConnection:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # its own certificate, on the loopback
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=seconds)
        self.opened.append(connection)
        return connection

    def close(self) -> None:
        """Close every connection of every thread."""
        for connection in self.opened:
            connection.close()

    def request(self, method: str, path: str, body: Any = None, content: str = "application/json") -> Any:
        """Send one request and return the answer's JSON.

        Raises:
            ApiError: the server answered with an error.
            OSError: it could not be reached.
        """
        return self._send(method, path, body, content)[0]

    def warnings(self, method: str, path: str, body: Any, content: str) -> list[str]:
        """Send one request, and return what the server warns of (RFC 7234, section 5.5).

        Raises:
            ApiError: the server answered with an error.
            OSError: it could not be reached.
        """
        lines = self._send(method, path, body, content)[1]
        return [re.sub(r"\\(.)", r"\1", line.partition('"')[2].removesuffix('"')) for line in lines]

    def _send(self, method: str, path: str, body: Any, content: str) -> tuple[Any, list[str]]:
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json", "Content-Type": content}
        text = None if body is None else json.dumps(body)
        for fresh in (False, True):
            connection = getattr(self.kept, "connection", None)
            if connection is None or fresh:
                connection = self.kept.connection = self._connect(30)
            try:
                connection.request(method, path, text, headers)
                answer = connection.getresponse()
                raw = answer.read()
                break
            except (OSError, http.client.HTTPException):
                connection.close()
                self.kept.connection = None
                if fresh:
                    raise
        found = json.loads(raw) if raw.startswith(b"{") else raw.decode(errors="replace")
        if answer.status >= 400:
            raise ApiError(answer.status, found.get("message", "") if isinstance(found, dict) else found)
        return found, answer.headers.get_all("Warning", [])

    @staticmethod
    def path(kind: str, namespace: str = "", name: str = "", part: str = "") -> str:
        parts = [GROUPS[kind], *(["namespaces", namespace] if namespace else []), kind, name, part]
        return "/".join(piece for piece in parts if piece)

    def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """Return an object, or nothing if it (or its kind) does not exist."""
        try:
            found: Object = self.request("GET", self.path(kind, namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return found

    def list(self, kind: str, namespace: str = "", **query: str) -> list[Object]:
        """Return the objects of a kind; none if the kind is not known."""
        try:
            found = self.request("GET", self.path(kind, namespace) + (f"?{urlencode(query)}" if query else ""))
        except ApiError as error:
            if error.status == 404:
                return []
            raise
        items: list[Object] = found["items"]
        return items

    def patch(self, kind: str, name: str, namespace: str, body: Object, part: str = "") -> Object:
        patched: Object = self.request("PATCH", self.path(kind, namespace, name, part), body, MERGE)
        return patched

    def delete(self, kind: str, name: str, namespace: str = "") -> None:
        try:
            self.request("DELETE", self.path(kind, namespace, name))
        except ApiError as error:
            if error.status != 404:
                raise

    def watch(self, kind: str, stop: threading.Event) -> Iterator[Object]:
        """Yield each object of a kind, and then again whenever one changes, until *stop* is set."""
        while not stop.is_set():
            try:
                listed = self.request("GET", self.path(kind))
                yield from listed["items"]
                yield from self._changes(kind, listed["metadata"]["resourceVersion"], stop)
            # The last is how a connection answers that the end of a world closes under its reader.
            except (ApiError, OSError, http.client.HTTPException, ValueError, AttributeError):
                stop.wait(0.2)

    def _changes(self, kind: str, version: str, stop: threading.Event) -> Iterator[Object]:
        connection = self._connect(30)
        query = urlencode({"watch": "1", "resourceVersion": version, "timeoutSeconds": "25"})
        connection.request("GET", f"{self.path(kind)}?{query}", headers={"Authorization": f"Bearer {self.token}"})
        with closing(connection), connection.getresponse() as answer:
            while not stop.is_set() and (line := answer.readline()):
                event = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED"):
                    yield event["object"]
                elif event["type"] == "ERROR":
                    return


def condition(item: Object | None, kind: str = "Ready") -> tuple[str, str]:
    """Return status and message of a condition; empty if there is none."""
    for found in (item or {}).get("status", {}).get("conditions", []):
        if found["type"] == kind:
            return found["status"], found.get("message", "")
    return "", ""
