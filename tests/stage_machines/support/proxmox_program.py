"""A Proxmox server, in a process of its own, as orders on its standard input have it. A line each way, in JSON.

It is that of tests/machines. Here it has rights, other nodes and lost quorums as well, and starts anew for each test.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.machines.support.fake_proxmox import Proxmox

NODE = "pve"


def arrange(pve: Proxmox, order: dict[str, Any]) -> None:
    """Bring the server to how an order has it, whatever was before."""
    fresh = Proxmox("nobody@pve!none=", NODE)
    pve.nodes, pve.vms, pve.cts, pve.requests = {}, [], [], []
    pve.storages, pve.quorate, pve.failures = fresh.storages, order.get("quorate", True), {}
    for name, is_online in order.get("nodes", {NODE: True}).items():
        pve.add_node(name, is_online)
    for name, content in order.get("content", {"local": "backup,import,iso,vztmpl"}).items():
        pve.storages[name]["content"] = content
    for name in order.get("disabled", ()):
        pve.storages[name] |= {"active": 0, "disable": 1}
    for guest in order.get("guests", ()):
        pve.add_vm(guest["number"], guest["name"], node=guest.get("node", NODE), status="running")
    pve.apitokens, pve.acl = dict(order["tokens"]), {}
    for path, privileges in order["rights"].items():
        pve.grant(order["user"], path, *privileges)


def seen(pve: Proxmox) -> dict[str, Any]:
    """Return what came to be, and what was asked."""
    machines = {str(vm.vmid): {"name": vm.name, "node": vm.node, "status": vm.status, **vm.config} for vm in pve.vms}
    files = {name: sorted(map(str, store.get("files") or ())) for name, store in pve.storages.items()}
    return {"machines": machines, "files": files, "requests": [list(one[:2]) for one in pve.requests]}


async def serve(certificate: str, key: str, host: str) -> None:
    """Serve until standard input ends."""
    pve = Proxmox("nobody@pve!none=", NODE)
    pve.host = host
    await pve.start(certificate, key)
    print(json.dumps({"port": pve.port}), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        if "arrange" in order:
            arrange(pve, order["arrange"])
        pve.apitokens |= order.get("tokens", {})
        if "agent" in order:
            pve.vm(order["agent"]).agent = {}
        print(json.dumps(seen(pve), default=str), flush=True)
    await pve.stop()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:4]))
