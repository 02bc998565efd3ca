"""`./lab trust`: the lab's own certificate authority onto nodes, the runner's machine, and this one."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from .. import lab_authority, node_addresses
from ..clients.machine import packed, quoted, ssh
from ..clients.objects import NOTHING
from ..errors import ExitCode, Failure, WrongCall
from ..lab import Lab
from ..probes import FLUX
from ..programs import Result
from ..stages.gitlab import ensure_ca
from .base import Command

SCRIPT = "scripts/trust-ca.sh"
# The machine unpacks what comes through the pipe, runs it as root, and keeps nothing of it.
REMOTE = """\
umask 077; folder=$(mktemp -d) && cd "$folder" && tar -xf - || exit 1
if [ "$(id -u)" -eq 0 ]; then bash trust-ca.sh {registries}; else sudo -n bash trust-ca.sh {registries}; fi
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


# For what no command reaches. The menus are those of current versions.
DEVICES = """\
ca.crt is a certificate, no secret: send it to yourself, or serve it. It lies at {file}

Firefox            Settings > Privacy & Security > View Certificates > Authorities > Import; tick "identify websites"
Chrome, Edge       Linux: certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n "{name}" -i ca.crt (package libnss3-tools)
                   elsewhere they go by the system's store
Linux              sudo ./lab trust --here, or: scp ca.crt scripts/trust-ca.sh root@<machine>: &&
                   ssh root@<machine> bash trust-ca.sh {registries}
macOS              sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain ca.crt
Windows            as administrator: certutil -addstore -f Root ca.crt
iPhone, iPad       open ca.crt (mail, AirDrop); Settings > General > VPN & Device Management > install the profile; then
                   Settings > General > About > Certificate Trust Settings: switch it on
Android            Settings > Security > Encryption & credentials > Install a certificate > CA certificate. Browsers take
                   it; most other apps do not
Git, curl          git config --global http.{url}/.sslCAInfo {file}; curl --cacert {file}

Anyone who has the authority's key can pretend to be any host to these devices: no copy of it belongs in ca.crt."""
REGISTRIES = """\
On a k3s node instead of the system's store, in /etc/rancher/k3s/registries.yaml, then systemctl restart k3s (or k3s-agent):

configs:
  "{registry}":
    tls:
      ca_file: /etc/rancher/k3s/lab-ca.crt    # a copy of ca.crt"""
# For a lab with a cache of Docker Hub.
MIRROR = """\

  "{cache}":
    tls:
      ca_file: /etc/rancher/k3s/lab-ca.crt
mirrors:
  docker.io:
    endpoint: ["https://{cache}"]"""


class Trust(Command):
    name = "trust"
    purpose = "make machines trust the lab's own authority, or no longer: nodes, the runner's machine, this one"
    example = "./lab trust --nodes; ./lab trust --runner; sudo ./lab trust --here; ./lab trust --devices; ./lab trust --remove root@node1"

    _nodes: tuple[str, ...] | list[str] = ()

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
        parser.add_argument("--nodes", action="store_true", help="all nodes of the cluster, after a yes")
        parser.add_argument(
            "--user", metavar="USER", default="root", help="the user for SSH on the nodes; root otherwise"
        )
        parser.add_argument("--yes", "-y", action="store_true", help="do not ask before the nodes are changed")
        parser.add_argument("--cluster", action="store_true", help="GitLab, Flux and a runner in the cluster")
        parser.add_argument(
            "--devices", action="store_true", help="print what to do on browsers, phones and other machines"
        )
        parser.add_argument(
            "--backup-key", metavar="FILE", help="write the key of the authority that the lab made to FILE"
        )
        parser.add_argument("--runner", action="store_true", help="the runner's machine")
        parser.add_argument("--here", action="store_true", help="this machine")
        parser.add_argument("--remove", action="store_true", help="trust it no longer, after private_ca: false")

    def run(self) -> int:
        if not (self.settings.private_ca or self.options.remove):
            what = "This lab has no certificate authority to trust: private_ca is false."
            then = "nothing has to trust it; for machines that trust an earlier one: ./lab trust --remove root@node1"
            raise Failure(what, "", then)
        options = self.options
        if options.remove and (options.cluster or options.devices or options.backup_key):
            raise WrongCall("--remove goes with machines, --nodes, --runner and --here")
        if options.backup_key is not None:
            self._back_up(Path(options.backup_key))
        done = options.backup_key is not None or options.cluster or options.devices
        lacks = self.settings.makes_authority and not options.remove and not (self.folder / "ca.crt").is_file()
        if options.cluster or options.nodes or lacks:
            self._with_cluster()
        if options.devices:
            self._print_devices()
        machines = [*options.machines, *self._nodes, *self._runner()]
        if not machines and not options.here:
            if done:
                return ExitCode.DONE
            then = "name machines (./lab trust root@node1), or --nodes, --runner, --here, --cluster, --devices"
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
                "fix that, then run it again: it goes on",
            )
        return ExitCode.DONE

    def _back_up(self, file: Path) -> None:
        if not self.settings.makes_authority:
            what = "The key of this lab's authority is not the lab's: tls_source is not lab-authority."
            raise Failure(what, "", "back it up where you made it")
        lab_authority.refuse_unsafe(self.folder, file)
        with self.lab() as lab:
            question = f"{file} will hold a key with which anybody can pretend to be any host to what trusts the lab.\nWrite it?"
            if not self.console.ask_yes(question, "call it in a terminal", in_person=True):
                raise Failure("Nothing was written.")
            lab_authority.back_up_key(lab, file.expanduser())
        self.console.did(f"{file}, for you alone. Keep it offline; its first lines say how it comes back")

    def _with_cluster(self) -> None:
        """Do what takes the cluster: the certificate that cert-manager made, the Secrets, and the nodes' addresses."""
        with self.lab() as lab:
            if self.settings.makes_authority and not self.options.remove:
                lab_authority.write_certificate(lab)
            if self.options.cluster:
                self._tell_cluster(lab)
            if self.options.nodes:
                self._choose_nodes(lab)

    def _tell_cluster(self, lab: Lab) -> None:
        namespaces = [self.settings.gitlab_namespace, FLUX]
        namespaces += [self.settings.runner_namespace] if self.settings.runner_kind == "kubernetes" else []
        namespaces += [self.settings.app_namespace] if self.settings.sign_in_host else []
        for namespace in namespaces:
            ensure_ca(lab, namespace, lab.cluster.find("secret", "lab-ca", namespace) or NOTHING)
        self.console.print(
            "GitLab reads it when it starts: "
            f"kubectl rollout restart deploy/gitlab -n {self.settings.gitlab_namespace}\n"
            "A runner on a machine, and its jobs: ./lab trust --runner, then ./lab up --only runner"
        )

    def _choose_nodes(self, lab: Lab) -> None:
        found = {node.name: next(iter(node_addresses.addresses(node)), node.name) for node in lab.cluster.nodes()}
        listed = [f"{self.options.user}@{address}" for address in found.values()]
        state = "no longer trust" if self.options.remove else "trust"
        lines = "\n".join(f"  {machine}  ({name})" for machine, name in zip(listed, found, strict=True))
        question = f"These nodes will {state} the lab's authority, and their k3s restarts (pods keep running):\n{lines}\nGo on?"
        by_hand = "\n".join(
            f"scp ca.crt scripts/trust-ca.sh {one}: && ssh {one} bash trust-ca.sh {self._registries}" for one in listed
        )
        if not self.options.yes and not self.console.ask_yes(
            question, f"call it with --yes, or on each by hand:\n{by_hand}"
        ):
            self.console.print(f"Nothing was changed on them. By hand:\n{by_hand}\n")
            self.console.print(self._registries_file())
            raise Failure("The nodes were not confirmed.", "", "run it again, or do it by hand as above")
        self._nodes = listed

    def _print_devices(self) -> None:
        settings = self.settings
        self.console.print(
            DEVICES.format(
                file=self.folder / "ca.crt",
                name=f"Lab authority of {settings.lab_name}",
                registries=self._registries,
                url=settings.gitlab_url,
            )
        )
        self.console.print(f"\n{self._registries_file()}")

    @property
    def _registries(self) -> str:
        """The registries that Docker has to trust, as words of a shell."""
        return " ".join(map(quoted, self.settings.trusted_registries))

    def _registries_file(self) -> str:
        """Return what goes into a k3s node's registries.yaml, with where it goes."""
        registry, *cache = self.settings.trusted_registries
        return REGISTRIES.format(registry=registry) + "".join(MIRROR.format(cache=one) for one in cache)

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
                REMOTE.format(registries=self._registries),
                packed(self.folder, [SCRIPT, "ca.crt"]),
            )
        return self.programs.run([*ssh(can_ask=self.console.terminal), machine, command], stdin=sent)

    def _here(self) -> Result:
        if os.getuid() != 0:
            option = " --remove" if self.options.remove else ""
            raise Failure("Only root may change this machine's certificates.", "", f"sudo ./lab trust --here{option}")
        if self.options.remove:
            return self.programs.run(["sh", "-s"], stdin=REMOVE.encode())
        return self.programs.run(["bash", str(self.folder / SCRIPT), *self.settings.trusted_registries])

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
