"""What is known of the sets, in a ConfigMap: `./lab status` shows it without asking the target."""

from __future__ import annotations

import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
NAME, KEY = "backups-state", "state.json"
SECONDS = 30

State = dict[str, Any]


class StateError(Exception):
    """The ConfigMap could not be read or written."""


class Keeper:
    """Keeps the state, with the rights of the pod's account."""

    def __init__(self, namespace: str, account: Path = ACCOUNT) -> None:
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        address = f"[{host}]" if ":" in host else host
        self._url = f"https://{address}:{port}/api/v1/namespaces/{quote(namespace)}/configmaps/{NAME}"
        self._context = ssl.create_default_context(cafile=str(account / "ca.crt"))
        self._token = (account / "token").read_text(encoding="utf-8").strip()

    def load(self) -> State:
        """Return the state; an empty one before the first run."""
        text = (self._request("GET").get("data") or {}).get(KEY)
        try:
            found = json.loads(text) if text else {}
        except ValueError:
            found = {}
        return found if isinstance(found, dict) else {}

    def save(self, state: Mapping[str, Any]) -> None:
        text = json.dumps(state, ensure_ascii=False, indent=1, sort_keys=True)
        self._request("PATCH", {"data": {KEY: text}})

    def _request(self, method: str, content: object = None) -> dict[str, Any]:
        url = f"{self._url}?fieldManager=lab-backups" if content is not None else self._url
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/merge-patch+json"}
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(url, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS, context=self._context) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            raise StateError(f"ConfigMap {NAME}: HTTP {error.code} {error.reason}") from None
        except (OSError, ValueError) as error:
            raise StateError(f"ConfigMap {NAME}: {error}") from None
