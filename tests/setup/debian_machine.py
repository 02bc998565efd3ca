"""A machine with Debian for one test: a system of debian_roots.py below what the test writes, a namespace around it."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from debian_roots import CACHE, system
from gitlab.authority import Authority

USER = "cloud-user"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOSTS = "127.0.0.1 localhost runner\n127.0.0.1 archive.debian.test download.docker.com\n"
LARGE = 2**30
SWAPS = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
# The kernel is not the system's own: what setup.sh would change in it is written to files of the test's.
SWAPON = "#!/bin/sh\n[ \"$(stat -c %a:%s \"$1\")\" = 600:2147483648 ] || exit 9\nprintf '%s file 2097148 0 -2\\n' \"$1\" >>/proc/swaps\n"
# A namespace would be called a container.
DETECT = "#!/bin/sh\n[ \"$1\" = --vm ] || exit 1\ncat /tests/virtual\n"
# Programs by which setup.sh changes a machine. What they start themselves is not counted.
CHANGING = ("apt-get", "chmod", "dpkg", "fallocate", "mkdir", "mkswap", "mv", "python3", "rm", "swapon", "touch", "update-ca-certificates", "usermod")
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
    """

    def __init__(self, folder: Path, suite: str) -> None:
        self.folder, self.suite = folder, suite
        for name in ("upper", "work", "root", "tests", "proc-sys"):
            (folder / name).mkdir(parents=True)
        self.upper, self.tests = folder / "upper", folder / "tests"
        self.swaps, self.hosts = folder / "swaps", folder / "hosts"
        self.swaps.write_text(SWAPS)
        self.online, self.virtual = True, "kvm"
        self.sites: dict[str, Path] = {"archive": CACHE / suite, "docker": CACHE / "docker"}
        self.kernel: dict[str, str] = {}
        self.authority = Authority(folder / "authority")
        shown = self.authority.sign("docker", "download.docker.com")
        self.tls = [str(shown.crt), str(shown.key)]
        (self.upper / "tests").mkdir()
        self._prepare()

    def _prepare(self) -> None:
        """Give the machine what its owner has given it: a user who may use sudo, and trust in who signs for Docker's site here."""
        self.write("/usr/local/sbin/swapon", SWAPON, 0o755)
        self.write("/usr/local/bin/systemd-detect-virt", DETECT, 0o755)
        self.write("/etc/hosts", HOSTS)
        self.write("/etc/fstab", "# <file system> <mount point>\nUUID=0 / ext4 defaults 0 1\n")
        self.write("/usr/local/share/ca-certificates/tests.crt", self.authority.crt.read_text())
        done = self.run(
            f"update-ca-certificates >/dev/null 2>&1 && useradd --create-home --shell /bin/bash {USER}"
            f" && echo '{USER} ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/90-cloud-init-users"
        )
        assert done.status == 0, done.out

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
        sites = [[80, str(self.sites["archive"]), None], [443, str(self.sites["docker"]), self.tls]]
        order = {
            "lower": str(system(self.suite)), "upper": str(self.upper), "work": str(self.folder / "work"),
            "root": str(self.folder / "root"), "command": list(command), "path": path, "binds": bound,
            "sites": sites if self.online else [],
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
        return Done(done.returncode, done.stdout)

    def setup(self, more: str = "", **options: Any) -> Done:
        """Run setup.sh as it lies in root's home."""
        return self.run(f"cd /root && {more}sh setup.sh", **options)

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
        return {str(path.relative_to(self.upper)): _seen(path) for path in sorted(self.upper.rglob("*"))}

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
