"""A stand-in world whose lab makes its runner's machine: on a Proxmox server, by the code that the template renders."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.bootstrap.support.lab_folder import commit, write_settings
from tests.bootstrap.support.lab_world import World
from tests.stage_machines.support.proxmox_server import ProxmoxServer
from tests.support import program
from tests.support.rendering import ROOT, read_answers, rendered, required

PROJECT = "ops/iac"
TOFU = ROOT / ".cluster/bin/tofu"
PROVIDER = ROOT / ".cluster/bin/terraform-provider-proxmox"
# What a rendered lab says of its machine.
OF_MACHINE = (
    "runner_machine",
    "proxmox_node",
    "proxmox_image_store",
    "proxmox_disk_store",
    "proxmox_bridge",
    "proxmox_vlan",
    "runner_vm_id",
    "runner_address",
    "runner_gateway",
    "runner_dns",
    "runner_cores",
    "runner_memory",
    "runner_disk",
    "runner_ssh_keys",
    "vm_image_url",
    "vm_image_checksum",
    "runner_host",
    "runner_user",
)


def rendered_lab(shared: Path) -> Path:
    """Return a rendered lab whose runner's machine is made on Proxmox."""
    return rendered(shared, "machines-dhcp", read_answers(ROOT / "tests/answers/valid/machines-dhcp.yml"))


def machine_settings(shared: Path) -> dict[str, Any]:
    """Return what that lab says of its machine, with an address that nobody here answers at."""
    found = dataclasses.asdict(program.settings_of(rendered_lab(shared)))
    values = {name: list(found[name]) if isinstance(found[name], tuple) else found[name] for name in OF_MACHINE}
    return values | {"runner_kind": "docker", "iac_project": PROJECT}


def with_code(world: World, shared: Path, **answers: Any) -> World:
    """Give a world's lab the code for its machine, and other answers; commit both."""
    shutil.copytree(rendered_lab(shared) / "iac", world.lab / "iac", dirs_exist_ok=True)
    world.settings.update(answers)
    write_settings(world.lab, world.settings)
    commit(world.lab, "The machines")
    return world


def project_only(make_world: Callable[..., World], shared: Path, **answers: Any) -> World:
    """Return a world that is through with sync, of a lab that has the project, and whose machine is there already."""
    world = with_code(make_world(**answers), shared, iac_project=PROJECT)
    world.must_run("--only", "gitlab")
    return world


def on_proxmox(make_world: Callable[..., World], shared: Path, server: ProxmoxServer, **answers: Any) -> World:
    """Return a world whose lab makes its machine on a Proxmox server, by the real OpenTofu and the real provider."""
    skip_without_tofu()
    answers = machine_settings(shared) | {"proxmox_endpoint": server.endpoint, "gitlab_host": "localhost"} | answers
    world = make_world(**answers)
    # A name below localhost is this machine's for curl and Git, and not for OpenTofu.
    url = f"http://localhost:{world.server.port}"
    with_code(world, shared, gitlab_url=url)
    shutil.copy(server.authority.crt, world.lab / "iac/proxmox-ca.crt")
    commit(world.lab, "Trust Proxmox's authority")
    (world.bin / "tofu").symlink_to(TOFU)
    server.arrange(program.settings(**world.settings), downloads=True)
    (world.folder / "token").write_text(f"{server.token}\n")
    (world.folder / "tofurc").write_text(cli_config(world.folder / "mirror"))
    ssh = world.home / ".ssh"
    ssh.mkdir(exist_ok=True)
    (ssh / "id_ed25519.pub").write_text(f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'A' * 43} me@here\n")
    return world


def surroundings(world: World) -> dict[str, str]:
    """Return what a run of that lab sees beside a world's own."""
    return {"LAB_PROXMOX_TOKEN_FILE": str(world.folder / "token"), "TF_CLI_CONFIG_FILE": str(world.folder / "tofurc")}


def cli_config(mirror: Path) -> str:
    """Return settings of OpenTofu that take the provider from a folder, which is made: nothing is downloaded in tests."""
    place = mirror / "registry.opentofu.org/bpg/proxmox" / provider_version() / platform()
    place.mkdir(parents=True)
    (place / "terraform-provider-proxmox").symlink_to(PROVIDER)
    return f"provider_installation {{\n  filesystem_mirror {{\n    path = {json.dumps(str(mirror))}\n  }}\n}}\n"


def provider_version() -> str:
    text = (ROOT / "tests/cluster/programs/terraform-provider-proxmox/go.mod").read_text()
    (line,) = [line for line in text.splitlines() if "github.com/bpg/terraform-provider-proxmox v" in line]
    return line.split(" v")[1].split()[0]


def platform() -> str:
    return f"linux_{ {'x86_64': 'amd64', 'aarch64': 'arm64'}[os.uname().machine] }"


def skip_without_tofu() -> None:
    """Skip a test, and say so, where OpenTofu was not built; where every tool is required, that fails."""
    if TOFU.exists() and PROVIDER.exists():
        return
    message = "tofu and its provider are not built: python -m tests.cluster.run --build-only"
    pytest.fail(message) if required() else pytest.skip(message)
