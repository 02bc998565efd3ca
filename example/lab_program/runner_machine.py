"""The runner's machine: what it lacks, and runner/setup.sh, which brings that over SSH.

The same script can be started there by hand, and is in runner/cloud-init.yaml for a machine that is made new.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from .clients.machine import packed, quoted
from .errors import Failure
from .lab import Lab

SCRIPT = "runner/setup.sh"
# A line for each thing that is seen; in a shell's own words where Docker refuses.
LOOK = """\
tell() { printf '%s=%s\\n' "$1" "$(printf %s "$2" | tail -n 1)"; }
if said=$(docker version --format '{{.Server.Version}}' 2>&1); then tell docker "$said"; else tell refused "$said"; fi
if said=$(docker compose version --short 2>&1); then tell compose "$said"; fi
if command -v apt-get >/dev/null; then tell apt yes; fi
if test "$(id -u)" -eq 0; then tell root yes
elif ! command -v sudo >/dev/null; then tell root missing
elif sudo -n true 2>/dev/null; then tell root yes
else tell root password
fi
if test -r /etc/os-release; then (. /etc/os-release && tell system "${PRETTY_NAME-}"); fi
"""
LOOK_FOR_MIRRORS = (
    "tell mirrors \"$(docker info --format '{{range .RegistryConfig.Mirrors}}{{.}} {{end}}' 2>/dev/null)\"\n"
)
LOOK_FOR_AUTHORITY = 'tell authority "$(sha256sum {file} 2>/dev/null)"\n'
CACHE = "the way to the lab's cache of Docker Hub"
# What is printed goes to a file: a broken connection stops nothing there, and the next run waits for this one to end.
REMOTE = """\
umask 077; folder=$(mktemp -d) && cd "$folder" && tar -xf - || exit 1
sh setup.sh >said 2>&1 </dev/null
status=$?; cat said; cd / && rm -rf "$folder"; exit $status"""


@dataclass(frozen=True)
class Found:
    """What the runner's machine has.

    Attributes:
        user, host: how it is reached.
        docker: the version of the Docker that answers that user; empty where none does.
        refused: why none does, in Docker's or the shell's words.
        compose: the version of the compose plugin; empty where it is missing.
        trusts: whether Docker trusts the lab's own authority; true where there is none.
        caches: whether Docker asks the lab's cache of Docker Hub; true where there is none.
        has_apt: whether apt installs there what is installed.
        root: whether the user can become root without being asked: yes, password, missing.
        system: its name, for people.
        sent: the files that are sent there.
    """

    user: str
    host: str
    docker: str
    refused: str
    compose: str
    trusts: bool
    caches: bool
    has_apt: bool
    root: str
    system: str
    sent: tuple[str, ...]

    @property
    def serves(self) -> bool:
        """Whether the runner can run there as it is."""
        return bool(self.docker and self.compose)

    @property
    def missing(self) -> list[str]:
        """What is missing, for people."""
        found = []
        if not self.docker:
            there = "not found" not in self.refused
            found.append(f"a Docker that {self.user} may use ({self.refused})" if there else "Docker")
        if not self.compose:
            found.append("Docker's compose plugin" if self.docker else "its compose plugin")
        if not self.trusts:
            found.append("the certificate of your authority")
        if not self.caches:
            found.append(CACHE)
        return found

    @property
    def without(self) -> str:
        """What goes on without it, on a machine that serves."""
        lost = [] if self.trusts else ["images of your registry cannot be pulled there"]
        return "; ".join(
            [*lost, *([] if self.caches else ["it pulls from Docker Hub itself: docs/docker-hub-cache.md"])]
        )

    @property
    def obstacle(self) -> str:
        """Why setup.sh cannot be started there from here; empty where it can."""
        if not self.has_apt:
            return f"and {SCRIPT} knows only systems with apt, not {self.system}"
        if self.root == "missing":
            return f"and {self.user} is not root there, and has no sudo"
        if self.root == "password":
            return f"and sudo there asks {self.user} for a password"
        return ""

    @property
    def remedy(self) -> str:
        """What the owner does for a machine that serves without what it lacks."""
        return "./lab trust --runner" if not self.trusts else "as docs/docker-hub-cache.md says"

    @property
    def by_hand(self) -> str:
        """How the owner brings what is missing."""
        address = f"{self.user}@{self.host}"
        if not self.has_apt:
            return (
                f"on {self.host} install Docker Engine and its compose plugin "
                f"(https://docs.docker.com/engine/install/), then:\nsudo usermod -aG docker {self.user}"
            )
        copy = f"scp {' '.join(self.sent)} {address}:"
        if self.root == "missing":
            return f"{copy}, then there, as root: sh setup.sh"
        return f"if sudo has to ask you: {copy} && ssh -t {address} sh setup.sh"


def question(lab: Lab) -> str:
    """Return the command that asks the machine what it has."""
    command = LOOK
    if lab.settings.private_ca:
        file = quoted(f"/etc/docker/certs.d/{lab.settings.registry_address}/ca.crt")
        command += LOOK_FOR_AUTHORITY.format(file=file)
    if lab.settings.docker_hub_cache:
        command += LOOK_FOR_MIRRORS
    return command


def read(lab: Lab, said: str) -> Found:
    """Return what a machine has that has said so."""
    settings = lab.settings
    told = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    try:
        wanted = hashlib.sha256(lab.ca_file.read_bytes()).hexdigest() if settings.private_ca else ""
    except OSError:
        # preflight says that it is missing.
        wanted = ""
    mirrors = [one.rstrip("/") for one in told.get("mirrors", "").split()]
    return Found(
        user=settings.runner_user,
        host=settings.runner_host,
        docker=told.get("docker", ""),
        refused=told.get("refused", ""),
        compose=told.get("compose", ""),
        trusts=told.get("authority", "").startswith(wanted),
        caches=not settings.docker_hub_cache or f"https://{settings.docker_hub_cache_address}" in mirrors,
        has_apt="apt" in told,
        root=told.get("root", ""),
        system=told.get("system", "") or "this system",
        sent=(SCRIPT, *(["ca.crt"] if settings.private_ca else [])),
    )


def look(lab: Lab) -> Found:
    """Return what the machine has.

    Raises:
        Failure: it cannot be reached.
    """
    return read(lab, lab.machine.finish(question(lab)).out)


def prepare(lab: Lab) -> None:
    """Bring what the runner's machine lacks, after a yes.

    Raises:
        Failure: it lacks what the runner cannot do without, and that was not brought.
    """
    console, found = lab.console, look(lab)
    if not found.missing:
        return
    what = f"The runner's machine {found.host} lacks {' and '.join(found.missing)}"
    if found.obstacle:
        if not found.serves:
            raise Failure(f"{what}, {found.obstacle}.", "", found.by_hand)
        console.warn(f"{what}, {found.obstacle}:\n{found.remedy}")
        return
    asked = (
        f"{what}.\n{SCRIPT} sets it up, as root: Docker and its compose plugin (from Docker's own packages if the\n"
        f"system has none), the group docker for {found.user}, limits for Docker's logs, swap, security updates by\n"
        "night, a guest agent in a VM, what rootless builds need of the kernel. What apt has left\n"
        f"half done is finished. Run it on {found.host} ({found.system})?"
    )
    if not console.ask_yes(asked, "call it with --yes if it may be set up"):
        if not found.serves:
            raise Failure(f"{found.host} was not set up; nothing was changed there.", f"less {SCRIPT}", found.by_hand)
        console.warn(f"{what}; {found.without}")
        return
    _set_up(lab, found)


def _set_up(lab: Lab, found: Found) -> None:
    """Run setup.sh there, tell what it says, and look again."""
    console = lab.console
    console.doing(f"setting up {found.host} (packages are fetched and installed; this takes some minutes)")
    done = lab.machine.finish(REMOTE, packed(lab.folder, found.sent))
    for line in done.out.splitlines():
        if line.startswith("note: "):
            console.warn(f"{found.host}: {line.removeprefix('note: ')}")
        elif done.status == 0:
            console.did(f"{found.host}: {line}")
    again = "fix that, then run ./lab up --only runner; it goes on where it stopped"
    if done.status:
        said = [line for line in done.words.splitlines() if not line.startswith("note: ")]
        raise Failure(
            f"{found.host} could not be set up.\n" + "\n".join(said[-12:]), f"ssh {lab.machine.address}", again
        )
    lab.machine.log_in_anew()
    after = look(lab)
    if not after.caches:
        console.warn(f"{found.host} lacks {CACHE}: {after.without}")
    left = [one for one in after.missing if one != CACHE]
    if left:
        raise Failure(
            f"{found.host} was set up, and lacks {' and '.join(left)} all the same.",
            f"ssh {lab.machine.address}",
            again,
        )
