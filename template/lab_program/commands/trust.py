"""`./lab trust`: the lab's own certificate authority onto nodes, the runner's machine, and this one."""

from __future__ import annotations

import argparse
import os

from ..clients.machine import packed, quoted, ssh
from ..errors import ExitCode, Failure
from ..programs import Result
from .base import Command

SCRIPT = "scripts/trust-ca.sh"
# The machine unpacks what comes through the pipe, runs it as root, and keeps nothing of it.
REMOTE = """\
umask 077; folder=$(mktemp -d) && cd "$folder" && tar -xf - || exit 1
if [ "$(id -u)" -eq 0 ]; then bash trust-ca.sh {registry}; else sudo -n bash trust-ca.sh {registry}; fi
status=$?; cd / && rm -rf "$folder"; exit $status"""

# What scripts/trust-ca.sh has put onto a machine, taken away again; a lab whose private_ca is false has no such script. Of
# Docker's files only those that hold the same certificates: another one may be its owner's. The certificate lies aside
# until all is done, so that a run that was cut off or failed is finished by the next.
REMOVE = r"""
set -eu
root=${TRUST_CA_ROOT-}
certificates() { awk '/-----BEGIN CERTIFICATE-----/, /-----END CERTIFICATE-----/' "$1"; }
gone=false
for pair in update-ca-certificates:/usr/local/share/ca-certificates/lab-ca.crt update-ca-trust:/etc/pki/ca-trust/source/anchors/lab-ca.crt; do
  refresh=${pair%%:*} file=$root${pair#*:}
  aside=${file%/*/*/*}/lab-ca.crt.removed
  if test -e "$file"; then mv -f "$file" "$aside"; fi
  test -e "$aside" || continue
  gone=true
  for docker in "$root"/etc/docker/certs.d/*/ca.crt; do
    if test -e "$docker" && test "$(certificates "$docker")" = "$(certificates "$aside")"; then
      rm -f "$docker"
      echo "${docker#"$root"}: removed"
    fi
  done
  if command -v "$refresh" >/dev/null && ! "$refresh" >&2; then
    echo "$refresh failed, see above; this machine still trusts the authority" >&2
    exit 1
  fi
  echo "${file#"$root"}: removed"
done
# What pulls the cluster's images reads the store when it starts. Pods keep running.
for service in k3s k3s-agent rke2-server rke2-agent crio containerd; do
  if test "$service" = containerd && command -v docker >/dev/null; then continue; fi
  if $gone && command -v systemctl >/dev/null && systemctl is-active --quiet "$service"; then
    systemctl restart "$service"
    echo "$service: restarted"
  fi
done
rm -f "$root/usr/local/lab-ca.crt.removed" "$root/etc/pki/ca-trust/lab-ca.crt.removed"
"""
REMOTE_REMOVE = 'if [ "$(id -u)" -eq 0 ]; then sh -s; else sudo -n sh -s; fi'


class Trust(Command):
    name = "trust"
    purpose = "make machines trust the lab's own authority, or no longer: nodes, the runner's machine, this one"
    example = "./lab trust root@node1 root@node2; ./lab trust --runner; sudo ./lab trust --here; ./lab trust --remove root@node1"

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
        parser.add_argument("--remove", action="store_true", help="trust it no longer, after private_ca: false")

    def run(self) -> int:
        if not (self.settings.private_ca or self.options.remove):
            what = "This lab has no certificate authority to trust: private_ca is false."
            then = "nothing has to trust it; for machines that trust an earlier one: ./lab trust --remove root@node1"
            raise Failure(what, "", then)
        machines = [*self.options.machines, *self._runner()]
        if not machines and not self.options.here:
            then = "name machines (./lab trust root@node1), or --runner, or --here"
            state = "no longer trust" if self.options.remove else "trust"
            raise Failure(f"Which machine should {state} the lab's authority?", "kubectl get nodes -o wide", then)
        failed = [name for name in machines if not self._told(name, self._there(name))]
        if self.options.here and not self._told("this machine", self._here()):
            failed.append("this machine")
        if failed:
            state = "Still trusted" if self.options.remove else "Not trusted yet"
            raise Failure(
                f"{state} by {', '.join(failed)}.",
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
        if self.options.remove:
            command, sent = REMOTE_REMOVE, REMOVE.encode()
        else:
            command, sent = (
                REMOTE.format(registry=quoted(self.settings.registry_address)),
                packed(self.folder, [SCRIPT, "ca.crt"]),
            )
        return self.programs.run([*ssh(can_ask=self.console.terminal), machine, command], stdin=sent)

    def _here(self) -> Result:
        if os.getuid() != 0:
            option = " --remove" if self.options.remove else ""
            raise Failure("This machine's certificates are root's to write.", "", f"sudo ./lab trust --here{option}")
        if self.options.remove:
            return self.programs.run(["sh", "-s"], stdin=REMOVE.encode())
        return self.programs.run(["bash", str(self.folder / SCRIPT), self.settings.registry_address])

    def _told(self, name: str, done: Result) -> bool:
        """Say what became of a machine, and return whether it trusts the authority."""
        if done.status:
            self.console.warn(f"{name}: {done.words}")
            return False
        changed = done.out.strip()
        if changed:
            self.console.did(f"{name}\n{changed}")
        else:
            state = (
                "does not trust the lab's authority" if self.options.remove else "trusts the lab's authority already"
            )
            self.console.have(f"{name} {state}")
        return True
