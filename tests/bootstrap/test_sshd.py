"""The runner's machine as a real sshd on the loopback: what the scripts send through OpenSSH arrives."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bootstrap.support.lab_world import World
from tests.program.support.faked import patience
from tests.support import program
from tests.support.loopback import free_port
from tests.support.ssh_settings import EVERYTHING

Failure, Machine, Programs, console = (
    program.errors.Failure,
    program.machine.Machine,
    program.programs.Programs,
    program.console,
)

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


@pytest.fixture
def machine(make_world: Callable[..., World]) -> Iterator[World]:
    """Return a world whose `ssh` is the real one, with a real sshd behind the runner's address."""
    if SSHD is None:
        pytest.skip("sshd is not installed (Debian: openssh-server)")
    world = make_world(runner_user=getpass.getuser())
    folder = world.folder / "sshd"
    folder.mkdir(mode=0o700)
    for name in ("host", "owner"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "owner.pub", folder / "authorized")
    port = free_port()
    command = folder / "command"
    command.write_text(
        f'#!/bin/sh\nexport PATH="{world.programs.machine_bin()}"\nenv >>"{world.folder}/seen there"\n'
        'exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    command.chmod(0o755)
    (folder / "sshd_config").write_text(f"""
ListenAddress 127.0.0.1
Port {port}
HostKey "{folder}/host"
AuthorizedKeysFile "{folder}/authorized"
PidFile none
StrictModes no
PasswordAuthentication no
ForceCommand "{command}"
# A Bash that sshd starts reads ~/.bashrc: the developer's own has no part in this, and may take its time.
SetEnv "HOME={world.vm}"
""")
    (folder / "ssh_config").write_text(f"""
Host gitlab-runner
  HostName 127.0.0.1
  Port {port}
  IdentityFile "{folder}/owner"
  IdentitiesOnly yes
  StrictHostKeyChecking accept-new
  UserKnownHostsFile "{folder}/known_hosts"
{EVERYTHING}
""")
    (world.bin / "ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F "{folder}/ssh_config" "$@"\n')
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.DEVNULL) as server:
        wait_for_port(port, server)
        yield world
        server.terminate()


def wait_for_port(port: int, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        os.sched_yield()
    pytest.skip("a real sshd does not start here")


@pytest.mark.tool("sshd")
@pytest.mark.slow
def test_the_runner_is_set_up_through_a_real_sshd(machine: World) -> None:
    run = machine.must_run("--only", "preflight")
    assert "Docker 29.1.0, compose 5.0.0" in run.out
    for stage in ("flux", "gitlab", "groups", "runner"):
        machine.must_run("--only", stage)
    home = Path(machine.settings["runner_home"])
    group, protected = (runner["token"] for runner in machine.gitlab.runners)
    tokens = f"RUNNER_TOKEN_OF_HOMELAB={group}\nRUNNER_TOKEN_PROTECTED={protected}\n"
    assert (home / ".env").read_text() == tokens
    assert (home / ".env").stat().st_mode & 0o777 == 0o600
    assert (home / "compose.yaml").read_text() == (machine.lab / "runner" / "compose.yaml").read_text()
    assert machine.container.exists() and machine.gitlab.runners[0]["online"]
    machine.changes.clear()
    again = machine.must_run("--only", "runner")
    assert "   done " not in again.out and len(machine.changes) == 2


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the socket of an agent that holds a key of the owner's."""
    socket_ = f"/tmp/agent-{os.getpid()}"  # short enough for a socket
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket_], stdout=subprocess.DEVNULL) as running:
        while not Path(socket_).exists() and running.poll() is None:
            time.sleep(0.01)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
        subprocess.run(
            ["ssh-add", "-q", str(tmp_path / "key")], check=True, env={**os.environ, "SSH_AUTH_SOCK": socket_}
        )
        monkeypatch.setenv("SSH_AUTH_SOCK", socket_)
        yield socket_
        running.terminate()


def seen_there(world: World) -> set[str]:
    """Return the names of the variables that commands on the machine had, whenever there was one."""
    return {line.partition("=")[0] for line in (world.folder / "seen there").read_text().splitlines()}


@pytest.mark.slow
@pytest.mark.tool("sshd")
def test_whoever_is_root_on_the_runners_machine_gets_no_hold_of_the_owners_agent(machine: World, agent: str) -> None:
    """The owner's configuration forwards everything to every machine; sshd would take it."""
    by_hand = subprocess.run(
        [machine.bin / "ssh", "-o", "RemoteCommand=none", "-o", "ClearAllForwardings=yes", "gitlab-runner", "true"],
        env={**os.environ, "SSH_AUTH_SOCK": agent, "DISPLAY": ":9"}, capture_output=True, check=False,
    )  # fmt: skip
    assert by_hand.returncode == 0, by_hand.stderr
    # ClearAllForwardings is about ports; an agent is still handed on.
    assert "SSH_AUTH_SOCK" in seen_there(machine)
    (machine.folder / "seen there").unlink()
    run = machine.must_run("--only", "preflight", SSH_AUTH_SOCK=agent, DISPLAY=":9")
    assert "Docker 29.1.0" in run.out and "started-on-this-machine" not in run.text
    assert {"SSH_CONNECTION"} <= seen_there(machine)
    assert not {"SSH_AUTH_SOCK", "DISPLAY", "SSH_TTY"} & seen_there(machine)


@pytest.mark.slow
@pytest.mark.tool("sshd")
def test_a_new_machines_host_key_is_kept_and_another_one_is_refused_from_then_on(machine: World) -> None:
    """ssh itself asks here, as it does unless its owner has said otherwise; nobody is there to answer."""
    folder, programs = (
        machine.folder / "sshd",
        Programs({"PATH": f"{machine.bin}:/usr/bin:/bin", "HOME": str(machine.home)}, console()),
    )
    settings, known = folder / "ssh_config", folder / "known_hosts"
    settings.write_text(settings.read_text().replace("StrictHostKeyChecking accept-new", "StrictHostKeyChecking ask"))
    there = Machine(programs, patience(), console(), getpass.getuser(), "gitlab-runner")
    assert "Host key verification failed" in there.run("true").err and not known.exists()
    assert there.greet() == ""
    kept = known.read_text()
    assert (folder / "host.pub").read_text().split()[1] in kept and there.run("true").status == 0
    known.write_text(f"{kept.split()[0]} {(folder / 'owner.pub').read_text()}")
    with pytest.raises(Failure, match="another SSH host key") as refused:
        there.greet()
    assert "ssh-keygen -R gitlab-runner" in refused.value.then and kept not in known.read_text()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        settings.write_text(re.sub(r"Port \d+", f"Port {nobody.getsockname()[1]}", settings.read_text()))
        assert "Connection refused" in there.greet(), "it is waited for"
