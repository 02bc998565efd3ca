"""A machine with Debian for one test: a system of debian_roots.py below what the test writes, a namespace around it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.gitlab.support.authority import Authority
from tests.setup.support.apt_repository import Signer, package, publish
from tests.setup.support.debian_roots import CACHE, system

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOSTS = "127.0.0.1 localhost runner\n127.0.0.1 archive.debian.test download.docker.com\n"
LARGE = 2**30
SWAPS = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
# The kernel is not the system's own: what setup.sh would change in it is written to files of the test's.
SWAPON = '#!/bin/sh\n[ "$(stat -c %a:%s "$1")" = 600:2147483648 ] || exit 9\nprintf \'%s file 2097148 0 -2\\n\' "$1" >>/proc/swaps\n'
# systemd cannot run here, but its systemctl knows what starts at boot. The daemon is Docker's own; it has no network to manage here.
SYSTEMCTL = """\
#!/bin/sh
case $* in
  *'is-active docker') exec docker version >/dev/null 2>&1 ;;
  *'enable --now docker') /usr/bin/systemctl --quiet enable docker 2>/dev/null || touch /var/lib/docker-at-boot
    setsid dockerd --iptables=false --bridge=none --storage-driver=vfs >/var/log/dockerd.log 2>&1 </dev/null &
    for second in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 1; ! docker version >/dev/null 2>&1 || exit 0; done
    exit 1 ;;
  *'is-enabled docker') /usr/bin/systemctl --quiet is-enabled docker 2>/dev/null || test -e /var/lib/docker-at-boot ;;
  *) exec /usr/bin/systemctl "$@" ;;
esac
"""
# A namespace would be called a container.
DETECT = '#!/bin/sh\n[ "$1" = --vm ] || exit 1\ncat /tests/virtual\n'
# Programs by which setup.sh changes a machine. What they start themselves is not counted.
CHANGING = (
    "apt-get",
    "chmod",
    "dpkg",
    "fallocate",
    "mkdir",
    "mkswap",
    "mv",
    "python3",
    "rm",
    "swapon",
    "touch",
    "update-ca-certificates",
    "usermod",
)
SHIM = """\
#!/bin/sh
# Notes a call, and kills everything on this machine right after the one that was chosen.
PATH={path}
{name} "$@"
status=$?
call="{name} $*"
echo "$call" >>/tests/calls
if [ "$call" = "$(cat /tests/kill-after)" ]; then kill -9 -1; fi
exit $status
"""
# dpkg tells this one what becomes of each package (dpkg(1), --status-logger).
DPKG_WATCH = """\
#!/bin/sh
while read -r line; do
  echo "$line" >>/tests/dpkg
  if [ "$line" = "$(cat /tests/kill-after)" ]; then kill -9 -1; fi
done
"""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str


class Machine:
    """One machine.

    Args:
        folder: where what it writes goes, on a disk; made new.
        suite: which Debian it has.
        authority: who signs for Docker's site; the lab's own, too.
    """

    def __init__(self, folder: Path, suite: str, authority: Authority) -> None:
        self.folder, self.suite = folder, suite
        for name in ("upper", "work", "root", "tests", "proc-sys"):
            (folder / name).mkdir(parents=True)
        self.upper, self.tests = folder / "upper", folder / "tests"
        self.swaps, self.hosts = folder / "swaps", folder / "hosts"
        self.swaps.write_text(SWAPS)
        self.online, self.virtual, self.systemd = True, "kvm", False
        self.sites: dict[str, Path] = {"archive": CACHE / suite, "docker": CACHE / "docker"}
        self.unreachable: set[str] = set()
        self.kernel: dict[str, str] = {}
        self.authority = authority
        shown = self.authority.sign("docker", "download.docker.com")
        self.tls = [str(shown.crt), str(shown.key)]
        (self.upper / "tests").mkdir()
        self._prepare()

    def _prepare(self) -> None:
        """Give the machine trust in who signs for Docker's site here, and what stands for its kernel and its init."""
        self.write("/usr/local/sbin/swapon", SWAPON, 0o755)
        self.write("/usr/local/bin/systemd-detect-virt", DETECT, 0o755)
        self.write("/usr/local/bin/systemctl", SYSTEMCTL, 0o755)
        self.write("/etc/hosts", HOSTS)
        self.write("/etc/apt/apt.conf.d/10tests", 'Acquire::Retries "0";\n')
        self.write("/etc/fstab", "# <file system> <mount point>\nUUID=0 / ext4 defaults 0 1\n")
        certificate = self.authority.crt.read_text()
        self.write("/usr/local/share/ca-certificates/tests.crt", certificate)
        self.write("/etc/ssl/certs/ca-certificates.crt", self.read("/etc/ssl/certs/ca-certificates.crt") + certificate)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of the machine, from outside."""
        file = self.upper / path.lstrip("/")
        below = file.parent
        missing = []
        while below != self.upper and not below.exists():
            missing.append(below)
            below = below.parent
        for folder in reversed(missing):
            folder.mkdir()
            below = system(self.suite) / folder.relative_to(self.upper)
            if below.exists():
                shutil.copystat(below, folder)
        file.write_text(text, encoding="utf-8")
        file.chmod(mode)

    def read(self, path: str) -> str:
        """Read a file of the machine, from outside."""
        for place in (self.upper, system(self.suite)):
            file = place / path.lstrip("/")
            if file.is_file():
                return file.read_text(encoding="utf-8")
        return ""

    def command(self, command: Sequence[str], path: str = PATH, binds: Mapping[str, str] | None = None) -> list[str]:
        """Return what runs a command in there, as root, from outside."""
        self.hosts.write_text(HOSTS if self.online else "127.0.0.1 localhost runner\n")
        bound = {str(self.swaps): "/proc/swaps", str(self.hosts): "/etc/hosts", **(binds or {})}
        for name, value in self.kernel.items():
            file = self.folder / "proc-sys" / name.replace(".", "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{value}\n")
        (self.tests / "virtual").write_text(f"{self.virtual}\n")
        bound |= {str(self.tests): "/tests"}
        bound |= {str(self.folder / "proc-sys"): "/proc/sys"} if self.kernel else {}
        listening = {
            "archive": [80, str(self.sites["archive"]), None],
            "docker": [443, str(self.sites["docker"]), self.tls],
        }
        sites = [listening[name] for name in listening if name not in self.unreachable]
        order = {
            "lower": str(system(self.suite)), "upper": str(self.upper), "work": str(self.folder / "work"),
            "root": str(self.folder / "root"), "command": list(command), "path": path, "binds": bound,
            "sites": sites if self.online else [], "systemd": self.systemd,
        }  # fmt: skip
        file = self.folder / f"order-{hashlib.sha256(repr(order).encode()).hexdigest()[:12]}.json"
        file.write_text(json.dumps(order))
        unshare = ["unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
        return [*unshare, sys.executable, str(Path(__file__).with_name("inside.py")), str(file)]

    def run(self, script: str, path: str = PATH, binds: Mapping[str, str] | None = None) -> Done:
        """Run a script of the shell there, as root."""
        done = subprocess.run(
            self.command(["/bin/sh", "-c", script], path, binds), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", check=False, timeout=300,
        )  # fmt: skip
        return Done(done.returncode, done.stdout.removeprefix("entered\n"))

    @contextmanager
    def started(self) -> Iterator[None]:
        """Let the machine run, as far as a machine without an init does: what is started there stays until the end."""
        with subprocess.Popen(self.command(["sleep", "infinity"]), stdout=subprocess.PIPE, text=True) as running:
            try:
                assert running.stdout is not None and running.stdout.readline() == "entered\n"
                children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text()
                (self.folder / "first").write_text(children)
                yield
            finally:
                running.kill()

    def ssh_folder(self, user: str, more: str = "") -> Path:
        """Return a folder with an `ssh` that reaches the machine that is started: Debian's own sshd, over a pipe.

        Args:
            user: who has the key.
            more: further lines of the owner's SSH configuration.
        """
        folder = self.folder / "ssh"
        folder.mkdir()
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "id")], check=True)
        key = (folder / "id.pub").read_text().strip()
        done = self.run(
            f'h=$(getent passwd {user} | cut -d: -f6); mkdir -p $h/.ssh; echo "{key}" >$h/.ssh/authorized_keys; chown -R {user}: $h/.ssh'
        )
        assert done.status == 0, done.out
        (folder / "config").write_text(
            f"Host runner\n  IdentityFile {folder}/id\n  IdentitiesOnly yes\n  StrictHostKeyChecking accept-new\n"
            f"  UserKnownHostsFile {folder}/known\n  ProxyCommand {folder}/proxy\n{more}"
        )
        programs_here = [shutil.which(name) or name for name in ("nsenter", "chroot")]
        enter = [
            programs_here[0],
            "--target",
            "$1",
            "--mount",
            "--net",
            "--uts",
            "--ipc",
            "--pid",
            programs_here[1],
            str(self.folder / "root"),
        ]
        programs = {
            "proxy": f"set -- $(cat {self.folder}/first)\nexec {' '.join(enter)} /usr/sbin/sshd -i 2>/dev/null",
            "ssh": f'exec {shutil.which("ssh")} -F {folder}/config "$@"',
        }
        for name, text in programs.items():
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)
        return folder

    def setup(self, more: str = "", **options: Any) -> Done:
        """Run setup.sh as it lies in root's home."""
        return self.run(f"cd /root && {more}sh setup.sh", **options)

    def part(self, calls: str) -> Done:
        """Run calls of setup.sh's own functions, without the rest of it."""
        return self.run(
            f"cd /root && sed '/^become_root$/,$d' setup.sh >part.sh && printf '%s\\n' '{calls}' >>part.sh && sh part.sh"
        )

    def own_site(self) -> Path:
        """Give the machine a copy of Docker's site that a test may spoil, and return it."""
        site = self.folder / "site"
        shutil.copytree(self.sites["docker"], site, copy_function=os.link)
        # What is shared by a link must not be written to.
        (site / "linux/debian/gpg").unlink()
        self.sites["docker"] = site
        return site

    def publish_docker(self, family: str, codename: str) -> None:
        """Have Docker's site hold its packages for one system alone, signed by a new key."""
        site, signer, pool = self.folder / "site", Signer(self.folder / "gpg"), self.folder / "pool"
        pool.mkdir()
        package(pool, self.folder / "docker-ce", "docker-ce", "Section: admin", "")
        publish(site / "linux" / family, codename, "stable", pool, signer, "docker")
        signer.publish_key("docker", site / "linux" / family / "gpg")
        signer.close()
        self.sites["docker"] = site

    def watch(self, kill_after: str = "") -> str:
        """Have each change by setup.sh and dpkg noted, and all killed after one; return the path on which that works."""
        shims = self.tests / "shims"
        shims.mkdir(exist_ok=True)
        for name in CHANGING:
            (shims / name).write_text(SHIM.format(name=name, path=PATH))
            (shims / name).chmod(0o755)
        (self.tests / "dpkg-watch").write_text(DPKG_WATCH)
        (self.tests / "dpkg-watch").chmod(0o755)
        (self.tests / "kill-after").write_text(kill_after)
        (self.tests / "calls").write_text("")
        (self.tests / "dpkg").write_text("")
        self.write("/etc/dpkg/dpkg.cfg.d/watch", "status-logger=/tests/dpkg-watch\n")
        return f"/tests/shims:{PATH}"

    def noted(self, name: str) -> list[str]:
        """Return what was noted since: `calls`, or what `dpkg` has said."""
        return (self.tests / name).read_text(errors="replace").splitlines()

    def tree(self) -> dict[str, tuple[object, ...]]:
        """Return all that differs from the system below: for each path its kind, mode, owner and content."""
        below = system(self.suite)
        paths = [(path, path.relative_to(self.upper)) for path in sorted(self.upper.rglob("*"))]
        # A folder is here as soon as something in it was looked at closely.
        return {
            str(name): _seen(path)
            for path, name in paths
            if not (path.is_dir() and (below / name).is_dir() and _seen(path) == _seen(below / name))
        }

    def close(self) -> None:
        """Remove what the machine has written."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _seen(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    content: object = None
    if stat.S_ISLNK(status.st_mode):
        content = str(path.readlink())
    elif stat.S_ISREG(status.st_mode):
        content = (status.st_size, "") if status.st_size > LARGE else hashlib.sha256(path.read_bytes()).hexdigest()
    return oct(status.st_mode), status.st_uid, status.st_gid, content
