"""`./lab trust`: the lab's own certificate authority onto nodes, the runner's machine, and this one."""

from __future__ import annotations

import argparse
import io
import os
import tarfile

from ..clients.machine import quoted
from ..errors import ExitCode, Failure
from ..programs import Result
from .base import Command

SCRIPT = "scripts/trust-ca.sh"
# The machine unpacks what comes through the pipe, runs it as root, and keeps nothing of it.
REMOTE = """\
umask 077; folder=$(mktemp -d) && cd "$folder" && tar -xf - || exit 1
if [ "$(id -u)" -eq 0 ]; then bash trust-ca.sh {registry}; else sudo -n bash trust-ca.sh {registry}; fi
status=$?; cd / && rm -rf "$folder"; exit $status"""


class Trust(Command):
    name = "trust"
    purpose = "make machines trust the lab's own authority: nodes, the runner's machine, this one"
    example = "./lab trust root@node1 root@node2; ./lab trust --runner; sudo ./lab trust --here"

    @classmethod
    def description(cls) -> str:
        return (
            "Makes machines trust the lab's own certificate authority: each node of the cluster, so that it can "
            "pull images; the\n"
            "runner's machine; your own. Run it again when ca.crt has changed; with nothing to do it does nothing.\n"
            "It needs root there, or sudo without a password."
        )

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("machines", metavar="USER@HOST", nargs="*", help="machines that SSH reaches")
        parser.add_argument("--runner", action="store_true", help="the runner's machine")
        parser.add_argument("--here", action="store_true", help="this machine")

    def run(self) -> int:
        if not self.settings.private_ca:
            raise Failure(
                "This lab has no certificate authority to trust: private_ca is false.", "", "nothing has to trust it"
            )
        machines = [*self.options.machines, *self._runner()]
        if not machines and not self.options.here:
            then = "name machines (./lab trust root@node1), or --runner, or --here"
            raise Failure("Which machine should trust the lab's authority?", "kubectl get nodes -o wide", then)
        failed = [name for name in machines if not self._told(name, self._there(name))]
        if self.options.here and not self._told("this machine", self._here()):
            failed.append("this machine")
        if failed:
            raise Failure(
                f"Not trusted yet by {', '.join(failed)}.",
                "the lines above",
                "mend that, then run it again: it goes on",
            )
        return ExitCode.DONE

    def _runner(self) -> list[str]:
        if not self.options.runner:
            return []
        if self.settings.runner_kind != "docker":
            raise Failure("This lab's runner has no machine: runner_kind is not docker.")
        return [f"{self.settings.runner_user}@{self.settings.runner_host}"]

    def _there(self, machine: str) -> Result:
        command = REMOTE.format(registry=quoted(self.settings.registry_address))
        options = [] if self.console.terminal else ["-o", "BatchMode=yes"]
        return self.programs.run(["ssh", "-o", "ConnectTimeout=10", *options, machine, command], stdin=self._packed())

    def _here(self) -> Result:
        if os.getuid() != 0:
            raise Failure("This machine's certificates are root's to write.", "", "sudo ./lab trust --here")
        return self.programs.run(["bash", str(self.folder / SCRIPT), self.settings.registry_address])

    def _packed(self) -> bytes:
        """Return the script and the certificate as one archive."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for path in (self.folder / SCRIPT, self.folder / "ca.crt"):
                try:
                    content = path.read_bytes()
                except OSError as error:
                    raise Failure(
                        f"{path.relative_to(self.folder)} cannot be read: {error.strerror}.", "git status"
                    ) from error
                entry = tarfile.TarInfo(path.name)
                entry.size, entry.mode = len(content), 0o600
                archive.addfile(entry, io.BytesIO(content))
        return packed.getvalue()

    def _told(self, name: str, done: Result) -> bool:
        """Say what became of a machine, and return whether it trusts the authority."""
        if done.status:
            self.console.warn(f"{name}: {done.words}")
            return False
        changed = done.out.strip()
        if changed:
            self.console.did(f"{name}\n{changed}")
        else:
            self.console.have(f"{name} trusts the lab's authority already")
        return True
