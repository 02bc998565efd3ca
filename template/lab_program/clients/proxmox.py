"""Proxmox VE's API, as far as the lab looks at it: https://pve.proxmox.com/pve-docs/api-viewer/.

It only reads. What is made there, OpenTofu makes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from ..errors import ClientError
from ..patience import Patience
from ..secret import Secret
from .http import Answer, Fault, Http, HttpError

# `USER@REALM!NAME=SECRET`, as Proxmox shows a token once: https://pve.proxmox.com/wiki/User_Management#pveum_tokens
TOKEN = re.compile(r"[^\s@!:/]+@[A-Za-z][\w.-]+![A-Za-z][\w.-]+=[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Another node did not answer the one that was asked (595 to 599 are the API server's own), or it is busy.
LATER = (502, 503, 504, 595, 596, 599)
SECONDS, TRIES = 15, 3
BRIDGES = ("bridge", "OVSBridge", "vnet")


class ProxmoxError(ClientError):
    """Proxmox did not answer, or refused.

    Args:
        status: the HTTP status; 0 where no answer came.
        fault: in which way none came.
    """

    def __init__(self, words: str, *, status: int = 0, fault: Fault | None = None, transient: bool = False) -> None:
        super().__init__("Proxmox", words, transient=transient)
        self.status, self.fault = status, fault


@dataclass(frozen=True)
class Node:
    name: str
    is_online: bool


@dataclass(frozen=True)
class Storage:
    """A storage as one node has it; `content` is what may lie there."""

    name: str
    content: frozenset[str]
    is_active: bool


@dataclass(frozen=True)
class Guest:
    """A virtual machine or a container that the token may see."""

    number: int
    name: str
    node: str


class Proxmox:
    """The API at one address.

    Args:
        token: `USER@REALM!NAME=SECRET`.
    """

    def __init__(self, http: Http, patience: Patience, endpoint: str, token: Secret) -> None:
        self._http, self._patience, self._token = http, patience, token
        self._base = f"{endpoint.rstrip('/')}/api2/json"
        self.host = urlsplit(endpoint).hostname or ""

    def version(self) -> str:
        return str(self._get("/version")["version"])

    def permissions(self, path: str) -> frozenset[str]:
        """Return the privileges that the token has at a path of Proxmox's permissions, those from above included."""
        found = self._get(f"/access/permissions?path={quote(path, safe='')}")
        held: set[str] = set()
        for where, privileges in found.items():
            if path == where:
                held.update(privileges)
            elif where == "/" or path.startswith(f"{where}/"):
                # 0: it does not reach down.
                held.update(name for name, reaches_down in privileges.items() if reaches_down)
        return frozenset(held)

    def nodes(self) -> list[Node]:
        return [Node(str(one["node"]), one.get("status") == "online") for one in self._get("/nodes")]

    def is_quorate(self) -> bool:
        """Say whether the cluster takes changes; a node by itself always does. It needs Sys.Audit on /."""
        found = [one for one in self._get("/cluster/status") if one.get("type") == "cluster"]
        return all(bool(one.get("quorate")) for one in found)

    def storages(self, node: str) -> list[Storage]:
        """Return the storages of a node on which the token may see something."""
        found = self._get(f"/nodes/{quote(node, safe='')}/storage")
        return [
            Storage(
                str(one["storage"]),
                frozenset(filter(None, str(one.get("content", "")).split(","))),
                bool(one.get("active", 1)) and bool(one.get("enabled", 1)),
            )
            for one in found
        ]

    def bridges(self, node: str) -> list[str]:
        """Return the bridges of a node, its own and those of software-defined networks."""
        found = self._get(f"/nodes/{quote(node, safe='')}/network")
        return [str(one["iface"]) for one in found if one.get("type") in BRIDGES]

    def number_is_free(self, number: int) -> bool:
        """Say whether neither a virtual machine nor a container has a number, whether the token sees it or not."""
        try:
            self._get(f"/cluster/nextid?vmid={number}")
        except ProxmoxError as error:
            if error.status == 400:
                return False
            raise
        return True

    def guest(self, number: int) -> Guest | None:
        """Return what has a number, if the token may see it."""
        for one in self._get("/cluster/resources?type=vm"):
            if one.get("vmid") == number:
                return Guest(number, str(one.get("name", "")), str(one.get("node", "")))
        return None

    def hardware_address(self, node: str, number: int) -> str:
        """Return the address of a virtual machine's first network card; nothing if it has none."""
        config = self._get(f"/nodes/{quote(node, safe='')}/qemu/{number}/config")
        found = re.search(r"=((?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2})", str(config.get("net0", "")))
        return found[1] if found else ""

    def _get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """Return what the API has at a path.

        Raises:
            ProxmoxError: it does not say.
        """
        return self._patience.retry(lambda: self._once(path), TRIES)

    def _once(self, path: str) -> Any:  # noqa: ANN401 - JSON
        # A token goes nowhere before the certificate was checked: Http does that first.
        headers = {"Authorization": f"PVEAPIToken={self._token.reveal()}"} if self._token else {}
        try:
            answer = self._http.send("GET", f"{self._base}{path}", headers=headers, seconds=SECONDS)
        except HttpError as error:
            raise ProxmoxError(error.words, fault=error.fault, transient=error.transient) from error
        content = _content(answer)
        if answer.status != 200:
            raise ProxmoxError(_words(answer, content), status=answer.status, transient=answer.status in LATER)
        if content is None or "data" not in content:
            raise ProxmoxError(f"the answer of {self._base} is not Proxmox's", status=answer.status)
        return content["data"]


def _content(answer: Answer) -> Mapping[str, Any] | None:
    try:
        content = json.loads(answer.body)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _words(answer: Answer, content: Mapping[str, Any] | None) -> str:
    """Return an answer's status, and Proxmox's own words where it has some."""
    said = content or {}
    fields = said.get("errors") if isinstance(said.get("errors"), dict) else {}
    told = [str(said.get("message") or "").strip(), *(f"{name}: {why}" for name, why in (fields or {}).items())]
    return ", ".join([f"HTTP {answer.status}", *(" ".join(one.split()) for one in told if one)])
