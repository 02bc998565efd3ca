"""What is around a lab's cluster: GitLab with its sshd, the runner's machine, a storage server, the owner's own repository."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

from tests.bootstrap.support.stand_in_docker import write_docker, write_surroundings
from tests.cluster.api import Object
from tests.cluster.cert_manager import HOST as CHARTS
from tests.cluster.flux_processes import NAMESPACE, SERVICES
from tests.cluster.gitlab_server import DOCKER_HUB, INTERNAL_PORT, Server
from tests.cluster.sshd import Sshd, start_gitlab_sshd, start_machine_sshd
from tests.gitlab.support.authority import Authority

if TYPE_CHECKING:
    from tests.cluster.world import World

OWNER_PASSWORD, FLUX_PASSWORD = "the-owners-own", "a-token-for-flux"
RUNNER_ADDRESS, EXTERNAL_ADDRESS = "127.0.0.2", "127.0.0.3"
# Programs that stand for what is in GitLab's container.
GITLAB_RAILS = f"""\
#!/usr/bin/env python3
import os, subprocess, sys, urllib.request
code = sys.argv[2]
if "PersonalAccessToken" not in code:
    # Other Ruby is kept for the test, and judged as far as Ruby itself can: GitLab's Rails is not here.
    with open(os.path.join(os.environ["WORLD"], "rails"), "a") as kept:
        kept.write(code + "\\n")
    print("mail=sent" if "Notify.test_email" in code else "", flush=True)
    sys.exit(subprocess.run(["ruby", "-c", "-e", code], stdout=subprocess.DEVNULL).returncode)
name = sys.argv[2].split("'")[1]
request = urllib.request.Request("http://127.0.0.1:{INTERNAL_PORT}/internal/personal-access-token", b"", {{"X-Name": name}})
sys.stdout.write(urllib.request.urlopen(request, timeout=10).read().decode())
"""
SHELL_IN_POD = """\
#!/bin/bash
exec /bin/sh "$1" "${2//\\/etc\\/gitlab/$WORLD/gitlab-config}" "${@:3}"
"""


def name_everything(world: World) -> None:
    answers = world.answers
    hosts = dict.fromkeys(
        [answers["gitlab_host"], answers["registry_host"], world.facts.sample_host, world.facts.git_service_host],
        "127.0.0.1",
    )
    hosts |= {answers[name]: "127.0.0.1" for name in ("nfs_server",) if answers.get(name)}
    hosts |= {answers["runner_host"]: RUNNER_ADDRESS} if answers["runner_kind"] == "docker" else {}
    hosts |= {"git.example": EXTERNAL_ADDRESS, "kubernetes.default.svc": "127.0.0.1"}
    hosts |= dict.fromkeys((*DOCKER_HUB, CHARTS), "127.0.0.1")
    hosts |= {f"{name}.{NAMESPACE}.svc.cluster.local": address for name, address in SERVICES.items()}
    world.surroundings.name_hosts(hosts)
    world.home.mkdir()
    world.surroundings.name_users(world.home, answers.get("runner_user") or "runner")


def start_gitlab(world: World) -> None:
    authority, public_authority = Authority(world.folder / "authority"), Authority(world.folder / "public-authority")
    everybody_trusts = public_authority.crt.read_text(encoding="utf-8")
    if world.answers["private_ca"] and world.answers["tls_source"] != "lab-authority":
        # An external repository over https has a certificate that everybody trusts.
        public = str(world.answers.get("gitops_url") or "").startswith("https://")
        world.surroundings.trust(everybody_trusts + (authority.crt.read_text(encoding="utf-8") if public else ""))
        shutil.copy(authority.crt, world.lab / "ca.crt")
        world.git("add", "ca.crt")
        world.git("commit", "--quiet", "--message", "The certificate of my authority")
    elif world.answers["tls_source"] == "lab-authority":
        # Nobody trusts what stands there until the lab's own authority has issued a certificate.
        world.surroundings.trust(everybody_trusts)
    else:
        world.surroundings.trust(everybody_trusts + authority.crt.read_text(encoding="utf-8"))
    hosts = (
        world.answers["gitlab_host"],
        world.answers["registry_host"],
        world.facts.sample_host,
        "git.example",
        *DOCKER_HUB,
    )
    certificate = authority.sign("lab", *hosts)
    public = public_authority.sign("public", *DOCKER_HUB, CHARTS)
    certificates = {"": certificate, **dict.fromkeys((*DOCKER_HUB, CHARTS), public)}
    shown = {name: (one.crt, one.key) for name, one in certificates.items()}
    world.servers = [
        Server(world.gitlab, world.answers["https_port"], shown),
        Server(world.gitlab, INTERNAL_PORT, None),
    ]
    commands = world.plane.commands
    for name, text in (("gitlab-rails", GITLAB_RAILS), ("sh", SHELL_IN_POD)):
        (commands / name).write_text(text, encoding="utf-8")
        (commands / name).chmod(0o755)
    sshd = Sshd(world.folder / "sshd", world.processes, "gitlab-sshd")
    config = world.plane.folder / "gitlab-config"
    config.mkdir()
    for file in sshd.folder.glob("*.pub"):
        shutil.copy(file, config)
    start_gitlab_sshd(sshd, world.gitlab.gitlab.repositories, world.answers["ssh_port"])


def start_machines(world: World) -> None:
    world.machine.mkdir()
    ssh = world.home / ".ssh"
    ssh.mkdir(mode=0o700)
    external = Sshd(world.folder / "external-sshd", world.processes, "external-sshd")
    start_gitlab_sshd(external, world.gitlab.gitlab.repositories, 22, EXTERNAL_ADDRESS)
    shown = ["ssh-keygen", "-l", "-f", str(external.host_key("ed25519"))]
    world.external_fingerprint = subprocess.run(shown, capture_output=True, text=True, check=True).stdout.split()[1]
    known = "".join(f"git.example {' '.join(k.split()[:2])}\n" for k in external.public_keys().splitlines())
    if world.answers["runner_kind"] == "docker":
        machine = Sshd(world.folder / "machine-sshd", world.processes, "machine-sshd")
        programs = world.folder / "machine-programs"
        programs.mkdir()
        write_docker(programs / "docker", world.container)
        there = {"apt": True, "sudo": "missing"}
        write_surroundings(programs, there, world.lab / "ca.crt", is_root=True)
        # This machine is no runner's: setup.sh would install Docker here.
        (programs / "sh").write_text("#!/bin/sh\nexit 97\n", encoding="utf-8")
        (programs / "sh").chmod(0o755)
        start_machine_sshd(machine, RUNNER_ADDRESS, world.machine, programs)
        shutil.copy(machine.folder / "id_owner", ssh / "id_ed25519")
        host = world.answers["runner_host"]
        known += "".join(f"{host} {' '.join(k.split()[:2])}\n" for k in machine.public_keys().splitlines())
    else:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(ssh / "id_ed25519")], check=True)
    (ssh / "known_hosts").write_text(known, encoding="utf-8")


def start_storage_server(world: World) -> None:
    """Listen where an NFS server would: preflight asks no more of it from the owner's machine."""
    if not world.answers.get("nfs_server"):
        return
    listener = socket.create_server(("127.0.0.1", 2049))
    threading.Thread(target=_accept, args=(world, listener), daemon=True).start()


def prepare_external_repository(world: World) -> None:
    """Make the-owners-own repository, empty, and give the owner and Flux a user of it."""
    if world.answers["gitops_source"] != "external":
        return
    repository = world.gitlab.gitlab.repository("external/lab")
    subprocess.run(
        ["git", "init", "--quiet", "--bare", f"--initial-branch={world.answers['gitops_branch']}", str(repository)],
        check=True,
    )
    subprocess.run(["git", "config", "--file", str(repository / "config"), "http.receivepack", "true"], check=True)
    world.gitlab.external_logins = {("owner", OWNER_PASSWORD), ("flux", FLUX_PASSWORD)}
    netrc = world.home / ".netrc"
    netrc.write_text(f"machine git.example login owner password {OWNER_PASSWORD}\n", encoding="utf-8")
    netrc.chmod(0o600)
    password = world.home / "flux-password"
    password.write_text(f"{FLUX_PASSWORD}\n", encoding="utf-8")
    password.chmod(0o600)


def prepare_issuer(world: World) -> None:
    """Have the issuer that cert-manager would have: no controller of it runs, so its word is put into the status."""
    name = world.answers["cluster_issuer"]
    spec: Object = {"selfSigned": {}}
    world.plane.apply(
        json.dumps(
            {"apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": {"name": name}, "spec": spec}
        )
    )
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "IsReady",
        "message": "ready",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    patch = json.dumps({"status": {"conditions": [ready]}})
    world.plane.kubectl("patch", "clusterissuer", name, "--subresource=status", "--type=merge", "--patch", patch)


def _accept(world: World, listener: socket.socket) -> None:
    with listener:
        listener.settimeout(0.5)
        while not world.stopping.is_set():
            try:
                listener.accept()[0].close()
            except TimeoutError:
                continue
