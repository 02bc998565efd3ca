"""A Proxmox server for tests: how its process is started, told what it has, and asked what was done."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from tests.gitlab.support.authority import Authority
from tests.support import program
from tests.support.program import proxmox_checks

PROGRAM = Path(__file__).with_name("proxmox_program.py")
USER = "lab@pve"


class ProxmoxServer:
    """One server, and one token.

    Args:
        folder: for its certificate and that of its authority.
    """

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder, name="Proxmox Virtual Environment")
        signed = self.authority.sign("pve", "localhost")
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(signed.crt), str(signed.key), "127.0.0.1"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self._answer()["port"])
        self.endpoint = f"https://localhost:{self.port}/"
        self.token = f"{USER}!lab={uuid.uuid4()}"

    def arrange(self, settings: program.settings_module.Settings, **order: Any) -> None:
        """Have all that the lab asks for, but for what an order says otherwise."""
        name, _, secret = self.token.partition("=")
        rights = {path: list(held) for path, held in proxmox_checks.rights(settings).items()}
        if "sees" in order:
            rights[order["sees"]] = ["Datastore.Audit"]
        if order.get("downloads"):
            # Proxmox lets either download: Sys.AccessNetwork on the node, or this. The server knows this one alone.
            rights["/"].append("Sys.Modify")
        self._tell({"arrange": {"user": USER, "tokens": {name: secret}, "rights": rights, **order}})

    def renew(self) -> None:
        """End the token, and make another."""
        self.token = f"{USER}!lab={uuid.uuid4()}"
        name, _, secret = self.token.partition("=")
        self._tell({"tokens": {name: secret}})

    def install_agent(self, number: int) -> None:
        """Let a machine answer by its guest agent: before it does, the provider waits for 15 minutes to take it over."""
        self._tell({"agent": number})

    def seen(self) -> dict[str, Any]:
        """Return its machines, its files, and what was asked of it since it was arranged."""
        return self._tell({})

    def stop(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._process.stdout.close()

    def _tell(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the Proxmox server has ended"
        found: dict[str, Any] = json.loads(line)
        return found
