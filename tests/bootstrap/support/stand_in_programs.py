"""The programs that a run finds on PATH: kubectl, helm, flux, ssh and ssh-keyscan, each a word to the world and its answer back."""

from __future__ import annotations

import getopt
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.bootstrap.support.stand_in_docker import write_docker, write_surroundings

if TYPE_CHECKING:
    from tests.bootstrap.support.lab_world import World

CLIENT = Path(__file__).with_name("stand_in_client.sh")
REAL_ON_MACHINE = ("cat", "env", "grep", "mkdir", "mktemp", "mv", "rm", "sh", "stat", "tail", "tar", "touch")
NAMES = ("kubectl", "helm", "flux", "ssh", "ssh-keyscan")


class Answer(NamedTuple):
    """How a program ends, and what it prints; or the command that it becomes."""

    status: int = 0
    out: str = ""
    err: str = ""
    command: Sequence[str] = ()


class Caller:
    """A process that called, as /proc shows it."""

    def __init__(self, number: str) -> None:
        self.process = Path("/proc") / (number or "0")
        words = self.strings("cmdline")[2:]  # after "bash -p"
        if not words:
            raise ProcessLookupError(number)
        self.name, self.arguments = Path(words[0]).name, words[1:]

    @property
    def environment(self) -> dict[str, str]:
        return dict(text.split("=", 1) for text in self.strings("environ") if "=" in text)

    @property
    def folder(self) -> Path:
        return (self.process / "cwd").readlink()

    def strings(self, name: str) -> list[str]:
        return (self.process / name).read_bytes().decode(errors="surrogateescape").split("\0")[:-1]

    def text(self) -> str:
        """Its standard input to the end; nothing where that is a terminal or /dev/null, or not meant for the world."""
        standard_input = self.process / "fd" / "0"
        # Git talks to the other side through ssh.
        if any("git-" in word for word in self.arguments) or standard_input.is_char_device():
            return ""
        return standard_input.read_text()

    def hear(self, descriptor: int, text: str) -> None:
        if text:
            target = os.open(self.process / "fd" / str(descriptor), os.O_WRONLY | os.O_APPEND)
            with open(target, "w") as stream:  # noqa: PTH123 - a descriptor is no path
                stream.write(text)


def write_programs(folder: Path) -> Path:
    """Write the programs. -p: the options of the Bash that calls are not theirs."""
    folder.mkdir()
    for name in NAMES:
        program = folder / name
        program.write_text(f"#!{shutil.which('bash')} -p\n{CLIENT.read_text()}")
        program.chmod(0o755)
    return folder


class Programs:
    """What each of them does to the world."""

    def __init__(self, world: World) -> None:
        self.world = world

    def answer(self, caller: Caller, text: str) -> Answer:
        world, arguments = self.world, caller.arguments
        if caller.name == "kubectl":
            return Answer(*world.cluster.kubectl(arguments, text))
        if caller.name == "helm":
            return Answer(*world.cluster.helm(arguments, caller.folder))
        if caller.name == "flux":
            return Answer(*world.cluster.flux(arguments))
        if caller.name == "ssh-keyscan":
            keys = [" ".join(line.split()[:2]) for line in world.host_keys.splitlines()]
            return Answer(0, "".join(f"external.example {key}\n" for key in keys), "# comment\n")
        return self.ssh(arguments, text)

    def ssh(self, arguments: list[str], text: str) -> Answer:
        options, (address, *command) = getopt.getopt(arguments, "ko:p:i:O:")
        if "-O" in dict(options):
            return Answer(255, "", 'No ControlPath specified for "-O" command\n')
        if "external.example" in address:
            return self.external_ssh(shlex.split(" ".join(command)), Path(dict(options).get("-i", "/nonexistent")))
        return self.machine(address, " ".join(command), text)

    def external_ssh(self, command: list[str], key: Path) -> Answer:
        """Git at the owner's external repository, for whom has a key that is known there."""
        derived = subprocess.run(["ssh-keygen", "-y", "-f", str(key)], capture_output=True, text=True, check=False)
        if derived.returncode:  # OpenSSH itself refuses a key that others can read
            return Answer(255, "", derived.stderr)
        if " ".join(derived.stdout.split()[:2]) not in self.world.external_keys:
            return Answer(255, "", "git@external.example: Permission denied (publickey).\n")
        repository = self.world.gitlab.repositories / command[1].strip("/").lower()
        return Answer(command=[command[0], str(repository)])

    def machine(self, address: str, command: str, text: str) -> Answer:
        """A command on the runner's machine."""
        world, settings = self.world, self.world.settings
        if not world.vm_has["ssh"]:
            return Answer(255, "", f"ssh: connect to host {settings['runner_host']} port 22: Connection refused\n")
        if address != f"{settings['runner_user']}@{settings['runner_host']}":
            return Answer(255, "", f"ssh: Could not resolve hostname {address}\n")
        environment = {"PATH": str(self.machine_bin()), "HOME": str(world.vm)}
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            input=text,
            capture_output=True,
            text=True,
            cwd=world.vm,
            env=environment,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def machine_bin(self) -> Path:
        """Write the programs of the runner's machine: some are real, others not."""
        world, there = self.world, self.world.vm_has
        folder = world.folder / "vm bin"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in REAL_ON_MACHINE:
            (folder / name).symlink_to(shutil.which(name) or "/nonexistent")
        is_set_up = (world.container.parent / "set up").exists()
        if there["docker"] or is_set_up:
            write_docker(folder / "docker", world.container, compose=there["compose"] or is_set_up)
        authority = world.lab / "ca.crt" if there["trust"] else world.container.parent / "authority"
        write_surroundings(folder, there, authority, world.settings["runner_user"] == "root")
        # What is only closed afterwards was open for a moment.
        modes = self.world.folder / "modes"
        (folder / "chmod").write_text(f"#!/bin/sh\nstat -c '%a %n' \"$2\" >>'{modes}'\nexec /bin/chmod \"$@\"\n")
        (folder / "chmod").chmod(0o755)
        return folder
