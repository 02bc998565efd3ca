"""What `./lab status` says of the stage machines, without a log-in anywhere: nothing is made to look."""

from __future__ import annotations

from collections.abc import Iterator

from .lab import Lab
from .probes import FLUX
from .stages.machine_secrets import NAME
from .stages.machines import makes_machine
from .stages.preflight_here import connection_error

SSH = 22


def lines(lab: Lab) -> Iterator[tuple[str, str | None]]:
    """Yield what the lab makes by OpenTofu, with what is wrong with it, or None; nothing if it makes nothing."""
    settings = lab.settings
    if not settings.iac_project:
        return
    again = "./lab up --only machines"
    there = lab.cluster.find("secret", NAME, FLUX) is not None
    yield f"machines: the code in {settings.iac_project}", None if there else f"it is not there yet: {again}"
    if makes_machine(settings):
        error = connection_error(settings.runner_host, SSH)
        where = f"number {settings.runner_vm_id} on {settings.proxmox_node}"
        yield (
            f"machines: {settings.runner_host}, {where}",
            None if error is None else f"nothing answers at its port {SSH} ({error.strerror or error}): {again}",
        )
