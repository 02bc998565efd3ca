"""The Kubernetes API and the kubelets, as the service account of the pod may ask them."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from . import web
from .judge import State, new_state

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
KUBELET_PORT = 10250
STATE_KEY, TEST_KEY = "state.json", "test.json"
CONFLICT = 409


class ClusterError(Exception):
    """The cluster did not answer as it should."""


class Cluster:
    """The cluster that the pod is in.

    Args:
        account: the folder with the token of its service account.
        address: where the API server is; as the pod's environment says if it is empty.
    """

    def __init__(self, account: Path = ACCOUNT, address: str = "") -> None:
        self._account = account
        self._authority = str(account / "ca.crt")
        self._context = web.only(self._authority)
        self._address = address or _address(os.environ)

    @property
    def _headers(self) -> dict[str, str]:
        # Read each time: the kubelet renews it.
        return {
            "Authorization": f"Bearer {(self._account / 'token').read_text().strip()}",
            "Accept": "application/json",
        }

    def get(self, path: str) -> Any:
        """Return what the API server has there; None if there is nothing.

        Raises:
            web.NoAnswerError: it did not answer with it.
        """
        answer = web.send(web.Request("GET", f"{self._address}{path}", self._headers), self._context)
        if answer.status == 404:
            return None
        if not answer.is_good:
            raise web.NoAnswerError(_message(answer))
        return json.loads(answer.body)

    def items(self, path: str, kind: str) -> list[dict[str, Any]]:
        """Return the objects of a list, each with its kind; none if the cluster does not know the kind."""
        found = self.get(path) or {}
        return [{"kind": kind, **one} for one in found.get("items") or []]

    def kubelet(self, node: Mapping[str, Any], *, verify: bool) -> Any:
        """Return the figures of a node's kubelet.

        It gets the account's token only if the cluster's authority signed its certificate. Asked directly, it wants the
        right to `nodes/stats` alone. By way of the API server that would be `nodes/proxy`, with which commands can be
        run in every pod of the node.
        """
        status = node.get("status") or {}
        address = next((one["address"] for one in status.get("addresses") or [] if one["type"] == "InternalIP"), "")
        if not address:
            raise web.NoAnswerError("the node has no address")
        port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or KUBELET_PORT
        context = web.only(self._authority, verify=verify)
        host = f"[{address}]" if ":" in address else address
        found, _ = web.get_json(f"https://{host}:{port}/stats/summary", self._headers, context)
        return found

    # The state

    def load(self, namespace: str, name: str) -> tuple[State, dict[str, Any]]:
        """Return the state, and the ConfigMap that holds it.

        Raises:
            ClusterError: there is no such ConfigMap: Flux makes it.
        """
        try:
            held = self.get(_config_map(namespace, name))
        except web.NoAnswerError as error:
            raise ClusterError(f"ConfigMap {namespace}/{name} cannot be read: {error}") from None
        if held is None:
            raise ClusterError(f"ConfigMap {namespace}/{name} is missing; Flux makes it with the rest of apps/alerts")
        text = (held.get("data") or {}).get(STATE_KEY)
        try:
            state = {**new_state(), **(json.loads(text) if text else {})}
        except ValueError:
            state = new_state()
        return state, held

    def save(self, held: dict[str, Any], key: str, content: Any, *, alone: bool = False) -> dict[str, Any]:
        """Write one entry of the ConfigMap, and return the ConfigMap as it is then.

        Args:
            alone: whether it is refused if another run has written since *held* was read.
        Raises:
            ClusterError: it could not be written, or another run has.
        """
        meta = held["metadata"]
        text = json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True)
        body = {"data": {key: text}, **({"metadata": {"resourceVersion": meta["resourceVersion"]}} if alone else {})}
        url = f"{self._address}{_config_map(meta['namespace'], meta['name'])}?fieldManager=lab-alerts"
        headers = {**self._headers, "Content-Type": "application/merge-patch+json"}
        try:
            answer = web.send(web.Request("PATCH", url, headers, json.dumps(body).encode()), self._context)
        except web.NoAnswerError as error:
            raise ClusterError(f"the state cannot be written: {error}") from None
        if answer.status == CONFLICT:
            raise ClusterError("another run has written the state meanwhile; this one sends nothing")
        if not answer.is_good:
            raise ClusterError(f"the state cannot be written: {_message(answer)}")
        written: dict[str, Any] = json.loads(answer.body)
        return written


def _config_map(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace)}/configmaps/{quote(name)}"


def _address(environment: Mapping[str, str]) -> str:
    host, port = environment["KUBERNETES_SERVICE_HOST"], environment["KUBERNETES_SERVICE_PORT"]
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _message(answer: web.Answer) -> str:
    try:
        return str(json.loads(answer.body)["message"])
    except (ValueError, KeyError, TypeError):
        return answer.words


def encoded(content: Any) -> str:
    """Return content as JSON in base64, as GitLab's version check takes it."""
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()
