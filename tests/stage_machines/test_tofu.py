"""The stage machines with the real OpenTofu and the real provider: against a Proxmox server's API and the stand-in GitLab's states.

They are built with the programs of the cluster tests, and run in `make cluster-test` and with LONG=1.
"""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.bootstrap.support.lab_folder import commit, write_settings
from tests.bootstrap.support.lab_world import Call, World
from tests.bootstrap.support.world_server import WorldServer
from tests.gitlab.support.authority import Authority
from tests.stage_machines.support.machines_world import PROJECT, TOFU, on_proxmox, surroundings
from tests.stage_machines.support.proxmox_server import ProxmoxServer
from tests.support.depth import with_the_clusters_programs

pytestmark = [
    pytest.mark.xdist_group("machines"),
    pytest.mark.world,
    pytest.mark.skipif(
        not with_the_clusters_programs(),
        reason="ten seconds each: LONG=1, or make cluster-test",
    ),
]
MakeWorld = Callable[..., World]
STATE = "/terraform/state/lab"


@pytest.fixture
def world(make_world: MakeWorld, shared: Path, proxmox: ProxmoxServer) -> World:
    """Return a world that is through with sync, whose machine is not there yet."""
    made = on_proxmox(make_world, shared, proxmox)
    made.must_run("--only", "gitlab")
    made.forget_orders()
    return made


def machines(world: World, **more: str) -> str:
    return world.must_run("--only", "machines", **surroundings(world), **more).text


def made(proxmox: ProxmoxServer) -> list[str]:
    """Return the requests that made something on the server."""
    return [f"{method} {path}" for method, path in proxmox.seen()["requests"] if method == "POST"]


def state(world: World) -> dict[str, Any]:
    (one,) = world.gitlab.states
    return one


def test_a_machine_is_made_once_and_nothing_that_is_secret_stays_behind(world: World, proxmox: ProxmoxServer) -> None:
    said = machines(world)
    (number,) = proxmox.seen()["machines"]
    machine = proxmox.seen()["machines"][number]
    assert (number, machine["name"], machine["status"], machine["tags"]) == (
        "120",
        "gitlab-runner.home.arpa",
        "running",
        "lab;runner",
    )
    assert "ssh-ed25519" in machine["sshkeys"] and machine["ciuser"] == "cloud-user"
    assert (
        "Plan: 2 to add, 0 to change, 0 to destroy." in said
        and "done   gitlab-runner.home.arpa: number 120 on pve, hardware address BC:24:11:" in said
    )
    variables = {one["key"]: one for one in world.gitlab.variables}
    token, passphrase = (variables[name]["value"] for name in ("PROXMOX_VE_API_TOKEN", "TF_VAR_state_passphrase"))
    assert token == proxmox.token and all(
        variables["PROXMOX_VE_API_TOKEN"][name] for name in ("protected", "masked", "hidden", "raw")
    )
    kept = json.loads(state(world)["versions"][-1])
    assert (
        "encrypted_data" in kept and "ssh-ed25519" not in state(world)["versions"][-1] and state(world)["lock"] is None
    )
    logs = "".join(log.read_text() for log in world.home.rglob("*.log"))
    assert "tofu apply" in logs
    for secret in (token, token.partition("=")[2], passphrase):
        assert secret not in said + logs
    assert not list(world.private.iterdir())
    assert (
        subprocess.run(
            ["git", "-C", str(world.lab), "status", "--porcelain", "--ignored"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.replace("lab_program/", "")
        == ""
    )
    left = [
        file
        for file in world.home.rglob("*")
        if file.is_file() and file.suffix != ".log" and secret_in(file, token, passphrase)
    ]
    assert [file.name for file in left] == ["machines-passphrase"]
    tree = subprocess.run(
        ["git", "-C", str(world.gitlab.repository(PROJECT)), "ls-tree", "--name-only", "main"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (
        ".terraform.lock.hcl" in tree.stdout
        and ".terraform\n" not in tree.stdout
        and "lab_take_over.tf" not in tree.stdout
    )
    world.changes.clear()
    proxmox.seen()
    again = machines(world)
    assert "   done " not in again and "   warn " not in again and len(made(proxmox)) == 3, again
    assert state(world)["lock"] is None and len(state(world)["versions"]) == 1


def secret_in(file: Path, *secrets: str) -> bool:
    content = file.read_bytes()
    return any(one.encode() in content for one in secrets)


def test_the_owner_is_asked_for_the_token_and_before_anything_is_made(world: World, proxmox: ProxmoxServer) -> None:
    run = world.terminal("--only", "machines", TF_CLI_CONFIG_FILE=surroundings(world)["TF_CLI_CONFIG_FILE"])
    run.answer("Go on?", "y")
    run.answer("API token, USER@REALM!NAME=SECRET (not shown):", proxmox.token)
    run.answer("[y/N]", "no")
    assert run.wait() == 1
    assert "pveum acl modify /vms --users lab@pve --roles LabMachines" in run.said
    assert proxmox.token.partition("=")[2] not in run.said and "will be created" in run.said
    assert (
        "was not made; nothing was changed on Proxmox" in run.said
        and made(proxmox) == []
        and state(world)["lock"] is None
    )
    # The token is known now, and is not asked for again.
    run = world.terminal("--only", "machines", TF_CLI_CONFIG_FILE=surroundings(world)["TF_CLI_CONFIG_FILE"])
    run.answer("Go on?", "y")
    run.until("will be created")
    run.answer("[y/N]", "y")
    assert run.wait() == 0, run.said
    assert "API token" not in run.said.replace("PROXMOX_VE_API_TOKEN", "") and list(proxmox.seen()["machines"]) == [
        "120"
    ]


def test_a_token_that_ended_is_asked_for_again_and_replaced_everywhere(world: World, proxmox: ProxmoxServer) -> None:
    machines(world)
    before = proxmox.token
    proxmox.renew()
    (world.folder / "token").write_text(f"{proxmox.token}\n")
    said = machines(world)
    assert "Proxmox does not take the API token" in said
    (variable,) = [one["value"] for one in world.gitlab.variables if one["key"] == "PROXMOX_VE_API_TOKEN"]
    assert variable == proxmox.token != before
    assert world.cluster.secret("flux-system", "lab-machines")["proxmox-token"] == proxmox.token
    assert "   warn " not in machines(world)


def test_a_held_lock_is_told_and_released_at_the_terminal_alone(world: World, proxmox: ProxmoxServer) -> None:
    machines(world)
    held = {"ID": "5f0c1f3e-7b1d-4b7e-9d0e-1d5a4a7b9c11", "Who": "maintainer", "Created": "2026-11-28T09:00:00Z"}
    state(world)["lock"] = dict(held)
    run = world.run("--only", "machines", **surroundings(world))
    assert (
        run.status == 1
        and f"The state of {PROJECT} is locked: maintainer, " in run.err
        and "since 2026-11-28" in run.err
    )
    assert "/-/terraform, Actions, Unlock" in run.err and state(world)["lock"] == held, "--yes releases nothing"
    shell = world.terminal("--only", "machines", "--yes", **surroundings(world))
    shell.answer("with nothing at work now?", "y")
    assert shell.wait() == 0 and "the lock is released" in shell.said and state(world)["lock"] is None


def tofu_processes(world: World) -> list[int]:
    """Return the processes of OpenTofu and its providers that work in a run's private folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if str((entry / "cwd").readlink()).startswith(str(world.private)):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def test_a_run_that_is_cut_off_before_the_state_knows_the_machine_is_fixed(
    world: World, proxmox: ProxmoxServer
) -> None:
    """Power fails: everything ends at once, with the machine made, no word of it in the state, and the lock held."""

    def cut(call: Call, _count: int) -> bool:
        if not re.match(rf"POST .*{STATE}$", call.detail) or not proxmox.seen()["machines"]:
            return False
        for number in tofu_processes(world):
            os.kill(number, signal.SIGKILL)
        return True

    world.kill_before = cut
    run = world.run("--only", "machines", **surroundings(world))
    assert run.status == -signal.SIGKILL, run.text
    assert (
        state(world)["versions"] == []
        and state(world)["lock"] is not None
        and list(proxmox.seen()["machines"]) == ["120"]
    )
    told = world.run("--only", "machines", **surroundings(world))
    assert told.status == 1 and "is locked: root, " in told.err
    proxmox.install_agent(120)
    shell = world.terminal("--only", "machines", "--yes", **surroundings(world))
    shell.answer("with nothing at work now?", "y")
    assert shell.wait() == 0, shell.said
    assert "it is taken over" in shell.said and re.search("will be imported|imported from", shell.said), shell.said
    assert len([one for one in made(proxmox) if one.endswith("/qemu")]) == 1, "no second machine"
    assert not list(world.private.iterdir())
    assert "   done " not in machines(world)


@pytest.mark.parametrize("point", [f"POST .*{STATE}/lock$", f"POST .*{STATE}$"])
def test_an_interrupt_waits_for_opentofu_and_leaves_no_lock(world: World, proxmox: ProxmoxServer, point: str) -> None:
    """Ctrl-C while OpenTofu takes the lock to apply, and while it writes what it has made."""
    passed: list[str] = []

    def stop(call: Call, _count: int) -> bool:
        if re.match(point, call.detail):
            passed.append(call.detail)
            # The first lock is the plan's.
            if world.running and len(passed) == (2 if point.endswith("lock$") else 1):
                os.killpg(world.running.pid, signal.SIGINT)
                time.sleep(0.5)
        return False

    world.kill_before = stop
    run = world.run("--only", "machines", **surroundings(world))
    assert run.status == 130, run.text
    assert "waiting until tofu has finished what it has begun" in run.out and "run ./lab up again" in run.err
    assert state(world)["lock"] is None and tofu_processes(world) == [] and not list(world.private.iterdir())
    world.kill_before = None
    machines(world)
    assert len([one for one in made(proxmox) if one.endswith("/qemu")]) == 1
    assert "   done " not in machines(world)


def test_changes_that_wait_are_the_pipelines_to_apply(world: World, proxmox: ProxmoxServer) -> None:
    machines(world)
    file = world.lab / "iac/terraform.tfvars"
    file.write_text(re.sub(r"runner_memory( *)= \d+", r"runner_memory\1= 16384", file.read_text()))
    commit(world.lab, "More memory")
    assert "Read its plan, merge it" in machines(world)
    assert world.gitlab.merge(PROJECT)
    said = machines(world)
    assert f"Changes wait in {PROJECT} (proxmox_virtual_environment_vm.runner)" in said
    assert proxmox.seen()["machines"]["120"]["memory"] in ("8192", 8192), (
        "--yes applies nothing to a machine that is there"
    )


def test_opentofu_sees_what_the_pipeline_sees_and_nothing_of_the_owners(world: World) -> None:
    seen = world.folder / "seen"
    (world.bin / "tofu").unlink()
    (world.bin / "tofu").write_text(
        f"#!/bin/sh\nenv >>'{seen}'\nexec '{os.path.realpath(world.folder)}/tofu-itself' \"$@\"\n"
    )
    (world.bin / "tofu").chmod(0o755)
    (world.folder / "tofu-itself").symlink_to(TOFU)
    mine = {
        "TF_LOG": "TRACE", "TF_CLI_ARGS": "-lock=false", "TF_VAR_runner_cores": "64", "TF_WORKSPACE": "other", "AWS_SECRET_ACCESS_KEY": "mine",
        "PROXMOX_VE_INSECURE": "true", "PROXMOX_VE_USERNAME": "root@pam", "HTTPS_PROXY": "", "KUBECONFIG": "/mine",
    }  # fmt: skip
    machines(world, **mine)
    names = {line.partition("=")[0] for line in seen.read_text().splitlines()} - {"PWD", "OLDPWD", "SHLVL", "_"}
    state_names = {
        f"TF_HTTP_{name}"
        for name in (
            "ADDRESS",
            "LOCK_ADDRESS",
            "LOCK_METHOD",
            "UNLOCK_ADDRESS",
            "UNLOCK_METHOD",
            "USERNAME",
            "PASSWORD",
            "RETRY_WAIT_MIN",
        )
    }
    own = {
        "TF_DATA_DIR",
        "TF_PLUGIN_CACHE_DIR",
        "TF_INPUT",
        "TF_IN_AUTOMATION",
        "CHECKPOINT_DISABLE",
        "TF_CLI_CONFIG_FILE",
        "LC_ALL",
        "PATH",
        "HOME",
        "SSL_CERT_FILE",
        "HTTPS_PROXY",
    }
    given = {"PROXMOX_VE_ENDPOINT", "PROXMOX_VE_API_TOKEN", "TF_VAR_state_passphrase", "TF_VAR_runner_ssh_keys"}
    assert names == state_names | own | given


def test_a_lock_file_of_an_older_provider_is_renewed_where_the_code_asks_for_a_newer(world: World) -> None:
    machines(world)
    clone = world.folder / "clone"
    subprocess.run(["git", "clone", "--quiet", str(world.gitlab.repository(PROJECT)), str(clone)], check=True)
    lock = clone / ".terraform.lock.hcl"
    now = lock.read_text()
    lock.write_text(re.sub(r'version( *)= "[^"]+"', r'version\1= "0.100.0"', now, count=1))
    assert lock.read_text() != now
    commit(clone, "An older provider")
    subprocess.run(["git", "-C", str(clone), "push", "--quiet", "origin", "main"], check=True)
    assert ".terraform.lock.hcl in main" in machines(world)
    assert (
        subprocess.run(["git", "-C", str(clone), "pull", "--quiet"], check=True).returncode == 0
        and lock.read_text() == now
    )


class TlsServer(WorldServer):
    """The world's GitLab over TLS."""

    def __init__(self, world: World, context: ssl.SSLContext) -> None:
        self.context = context
        super().__init__(world)

    def get_request(self) -> Any:
        connection, address = super().get_request()
        return self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address


def test_state_and_code_travel_over_tls_that_the_labs_own_authority_signs(
    make_world: MakeWorld, shared: Path, proxmox: ProxmoxServer
) -> None:
    world = on_proxmox(make_world, shared, proxmox, private_ca=True)
    signed = Authority(world.folder / "authority of gitlab").sign("gitlab", "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(signed.crt, signed.key)
    server = TlsServer(world, context)
    try:
        world.settings["gitlab_url"] = f"https://localhost:{server.port}"
        write_settings(world.lab, world.settings)
        (world.lab / "ca.crt").write_bytes((world.folder / "authority of gitlab/ca.crt").read_bytes())
        commit(world.lab, "GitLab over TLS")
        world.must_run("--only", "gitlab")
        world.forget_orders()
        machines(world)
        locks = [call.detail for call in world.calls if call.detail.endswith(f"{STATE}/lock")]
        assert [one.split()[0] for one in locks] == ["POST", "DELETE", "POST", "DELETE"], "the plan's, and the change's"
        assert len(state(world)["versions"]) == 1 and list(proxmox.seen()["machines"]) == ["120"]
        assert "   done " not in machines(world)
    finally:
        server.stop()


def test_a_whole_run_makes_the_machine_on_the_way_and_the_runner_starts_there(
    make_world: MakeWorld, shared: Path, proxmox: ProxmoxServer
) -> None:
    world = on_proxmox(make_world, shared, proxmox)
    (world.lab / "iac/proxmox-ca.crt").unlink()
    commit(world.lab, "Without Proxmox's authority")
    # The machine answers once it is there.
    world.vm_has["ssh"] = False
    refused = world.run(**surroundings(world))
    assert refused.status == 1 and "scp root@localhost:/etc/pve/pve-root-ca.pem iac/proxmox-ca.crt" in refused.err
    assert re.findall(r"bad +\[([a-z-]+)\]", refused.err) == ["proxmox"] and world.changes == []
    (world.lab / "iac/proxmox-ca.crt").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    commit(world.lab, "The wrong file")
    refused = world.run(**surroundings(world))
    assert re.findall(r"bad +\[([a-z-]+)\] (.*)", refused.err) == [
        ("proxmox", "iac/proxmox-ca.crt holds a private key, which would end up in Git")
    ]
    (world.lab / "iac/proxmox-ca.crt").write_bytes(proxmox.authority.crt.read_bytes())
    commit(world.lab, "Trust Proxmox's authority")

    def started(call: Call, _count: int) -> bool:
        world.vm_has["ssh"] = bool(proxmox.seen()["machines"])
        return False

    world.kill_before = started
    run = world.must_run(**surroundings(world))
    assert "the stage machines asks for its API token" in run.out and "the stage machines makes it" in run.out
    assert world.summary()["runner up"] and list(proxmox.seen()["machines"]) == ["120"]
    assert world.gitlab.runners_for(PROJECT, True, {"protected"}) == ["lab-homelab machines"]
    world.changes.clear()
    again = world.must_run("--from", "machines", **surroundings(world))
    assert "   done " not in again.out.partition("verify:")[0], again.out
    assert "Proxmox 9.0.10: the token's rights" in world.must_run("--only", "preflight", **surroundings(world)).out
