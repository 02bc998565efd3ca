"""A real sshd in the place of GitLab's, and a real ssh, in a world where both know the user git and the lab's host.

libnss_wrapper answers for the system: who git is, where its home is, and which address gitlab.lab has. Nothing of the
machine's own users, hosts or keys is read or changed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.gitlab.support.address_book import pour
from tests.gitlab.support.listening import Program
from tests.support.loopback import free_port
from tests.support.rendering import required
from tests.support.tools import run, tool

Address = tuple[str, int]


def nss_wrapper() -> Path:
    """Return the library's path. Skips where it is missing."""
    found = [
        file for folder in ("/usr/lib", "/usr/lib64") for file in sorted(Path(folder).glob("**/libnss_wrapper.so"))
    ]
    if not found:
        message = "libnss_wrapper is not installed; .ci/install-tools installs it"
        pytest.fail(message) if required() else pytest.skip(message)
    return found[0]


class Machine:
    """A user's machine or a server: its users, its hosts, one home.

    Args:
        folder: for its files.
        user: the user's name; in truth the one who runs the tests.
        hosts: the addresses of the hosts that it knows.
    """

    def __init__(self, folder: Path, user: str, hosts: Mapping[str, str]) -> None:
        self.home = folder / "home"
        (self.home / ".ssh").mkdir(parents=True, mode=0o700)
        (folder / "passwd").write_text(
            f"{user}:x:{os.getuid()}:{os.getgid()}::{self.home}:/bin/sh\nsshd:x:65533:65533::/run/sshd:/usr/sbin/nologin\n"
        )
        (folder / "group").write_text(f"{user}:x:{os.getgid()}:\nsshd:x:65533:\n")
        (folder / "hosts").write_text("".join(f"{address} {host}\n" for host, address in hosts.items()))
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LD_PRELOAD": str(nss_wrapper()),
            "NSS_WRAPPER_PASSWD": str(folder / "passwd"),
            "NSS_WRAPPER_GROUP": str(folder / "group"),
            "NSS_WRAPPER_HOSTS": str(folder / "hosts"),
        }

    def new_key(self, name: str = "id_ed25519") -> str:
        """Make a key in ~/.ssh and return its public half."""
        file = self.home / ".ssh" / name
        done = run(tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", file)
        assert done.returncode == 0, done.stderr
        return file.with_name(f"{name}.pub").read_text()

    def run(self, *command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return run(*command, env={**self.environment, **variables}, timeout=30)


class SshdOfGitlab(Program):
    """sshd as GitLab's pod runs it: for the user git, with keys only, and Git's commands only.

    Attributes:
        address: where it listens.
        home: the user git's home, in which the repositories lie.
        host_key: its public key.
    """

    def __init__(self, folder: Path) -> None:
        self._machine, self._log = Machine(folder, "git", {}), folder / "sshd.log"
        self.home, self.address = self._machine.home, ("127.0.0.1", free_port())
        self.host_key = self._machine.new_key("host_key")
        if os.getuid() == 0:
            # What its service makes; started as root it wants an empty folder there.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        (folder / "sshd_config").write_text(
            f"ListenAddress {self.address[0]}\nPort {self.address[1]}\nHostKey {self.home}/.ssh/host_key\nPidFile none\n"
            f"AuthorizedKeysFile {self.home}/.ssh/authorized_keys\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\n"
            "AllowUsers git\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\n"
            f"ForceCommand {folder}/gitlab-shell\n"
        )
        # As gitlab-shell does: /group/project.git is a path among GitLab's repositories, not one of the machine.
        (folder / "gitlab-shell").write_text(
            """#!/bin/sh
exec git shell -c "$(printf %s "$SSH_ORIGINAL_COMMAND" | sed "s|'/|'|")"\n"""
        )
        (folder / "gitlab-shell").chmod(0o755)
        self._process = subprocess.Popen(
            [tool("sshd"), "-D", "-f", folder / "sshd_config", "-E", self._log],
            env=self._machine.environment,
        )
        self._is_complete("sshd", [self.address])

    def allow(self, public_key: str) -> None:
        with (self.home / ".ssh/authorized_keys").open("a") as file:
            file.write(public_key)

    def new_repository(self, path: str) -> None:
        """Make a repository with one commit, whose message is its path."""
        bare, tree = self.home / path, self.home / "work" / path
        for command in (
            ("init", "--quiet", "--bare", "--initial-branch=main", bare),
            ("clone", "--quiet", bare, tree),
            ("-C", tree, "commit", "--quiet", "--allow-empty", "--message", path),
            ("-C", tree, "push", "--quiet", "origin", "HEAD:main"),
        ):
            done = run(tool("git"), *command)
            assert done.returncode == 0, done.stderr

    def log(self) -> str:
        return self._log.read_text()


class Forward:
    """A port of a node, and where the cluster leads what comes in there: a load balancer, as far as TCP goes."""

    def __init__(self, where: Address, target: Address) -> None:
        self._target, self._listener = target, socket.create_server(where)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target, timeout=30) as server:
            server.settimeout(None)
            back = threading.Thread(target=pour, args=(server, client), daemon=True)
            back.start()
            pour(client, server)
            back.join()

    def close(self) -> None:
        self._listener.close()
