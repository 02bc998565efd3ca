"""Proxmox's API as a process: fakepve (AGPL-3, a test tool, never shipped), with what it lacks of a VM made from a cloud image.

Added as Proxmox documents it (qm(1), pve-storage): a disk that is imported gets the image's content and the option is gone
afterwards, a cloud-init drive has a name of its own, a resize takes effect, numbers stay numbers, and no
download overwrites a file. A line of JSON on standard input asks for something,
and a line on standard output answers.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from fakepve.certs import make_cert
from fakepve.qemu import join_drive, split_drive
from fakepve.routing import param_error
from fakepve.server import FakePve, params

# Debian's cloud images have 3 GB inside.
IMAGE_SIZE = 3 * 1024**3


class Proxmox(FakePve):  # type: ignore[misc]
    """A node with the two storages that a new installation has, and a token."""

    def __init__(self, token: str, node: str) -> None:
        super().__init__(user="root@pam", password="x", host="127.0.0.1", port=0)
        self.time_scale = 0
        self.add_node(node)
        name, _, secret = token.partition("=")
        self.apitokens[name] = secret

    def _qm_new_drive(self, vmid: int, key: str, value: str, default: str) -> tuple[str, list[str]]:
        volume, options = split_drive(value)
        options = dict(options)
        source = options.pop("import-from", None)
        made, volumes = super()._qm_new_drive(vmid, key, join_drive(volume, options), default)
        volume, options = split_drive(made)
        if source is not None:
            image = self._qm_volume(source)
            if image is None or image["content"] != "import":
                raise RuntimeError(f"no such image: {source}")
            self._qm_volume(volume)["size"] = IMAGE_SIZE
            made = join_drive(volume, {**options, "size": f"{IMAGE_SIZE // 1024**3}G"})
        if value.partition(",")[0].endswith(":cloudinit"):
            storage, _, old = volume.partition(":")
            named = self.storages[storage]["volumes"]
            named[f"vm-{vmid}-cloudinit"] = named.pop(old)
            volumes = [f"{storage}:vm-{vmid}-cloudinit"]
            made = join_drive(volumes[0], options)
        return made, volumes

    async def _apply_config(self, vm: Any, user: str, p: dict[str, Any]) -> None:
        # A form has texts only; Proxmox keeps a number as a number.
        numbers = {name: int(value) for name, value in p.items() if isinstance(vm.config.get(name), int)}
        await super()._apply_config(vm, user, {**p, **numbers})

    async def _download_url(self, request: Any) -> Any:
        name = (await params(request)).get("filename")
        if any(one.endswith(f"/{name}") for one in self.storages[request.match_info["storage"]].get("volumes", {})):
            raise param_error(filename=f"refusing to override existing file '{name}'")
        return await super()._download_url(request)

    async def synthesise(self, match: Any, method: str, info: Any, user: str, values: Any) -> Any:
        """Do what the schema alone cannot: resize a disk, and take the path of a machine with a slash at its end."""
        if method == "DELETE" and match.template.endswith("/qemu/{vmid}"):
            return await self._qm_destroy(values, user)
        if method == "PUT" and match.template.endswith("/qemu/{vmid}/resize"):
            machine = self.find(values["node"], int(values["vmid"]))
            volume, options = split_drive(machine.config[values["disk"]])
            size = int(values["size"])
            if size < self._qm_volume(volume)["size"]:
                raise RuntimeError("shrinking disks is not supported")
            self._qm_volume(volume)["size"] = size
            machine.config[values["disk"]] = join_drive(volume, {**options, "size": f"{size // 1024**3}G"})
        return await super().synthesise(match, method, info, user, values)

    def answer_the_test(self, asked: dict[str, Any]) -> Any:
        """Do what a line of the test asks for, and return what it wants to know."""
        if "storage" in asked:
            self.storages.setdefault(asked["storage"], {"type": "dir", "active": 1, "files": set(), "path": "/srv"})
            self.storages[asked["storage"]] |= asked["is"]
        if "vm" in asked:
            machine = self.vm(asked["vm"]) or self.add_vm(asked["vm"], asked["name"], node=asked["node"])
            machine.config |= asked["is"]
            machine.agent = {} if asked.get("agent") else machine.agent
        if "requests" in asked:
            done = [[method, path, body.decode()] for method, path, body in self.requests]
            self.requests.clear()
            return done
        machines = {one.vmid: {"node": one.node, "status": one.status, "config": one.config} for one in self.vms}
        volumes = {
            f"{name}:{one}": about
            for name, store in self.storages.items()
            for one, about in store.get("volumes", {}).items()
        }
        return {"machines": machines, "volumes": volumes}


async def main(folder: str, token: str, node: str) -> None:
    """Serve until standard input ends; the certificate is in *folder*."""
    proxmox = Proxmox(token, node)
    certificate, key, _ = make_cert(folder, hosts=("127.0.0.1",))
    await proxmox.start(certificate, key)
    say({"url": proxmox.url, "certificate": certificate})
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        say(proxmox.answer_the_test(json.loads(line)))
    await proxmox.stop()


def say(answer: Any) -> None:
    """Write a line for the test."""
    print(json.dumps(answer, default=str), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
