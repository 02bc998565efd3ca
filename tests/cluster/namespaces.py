"""A network and a file system of the test process's own, so that a world may take the ports and names of a real lab."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
_libc = ctypes.CDLL(None, use_errno=True)
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
PASSWD = """\
root:x:0:0:root:{home}:/bin/sh
git:x:0:0:GitLab:/tmp:/bin/sh
{runner}:x:0:0:the runner's user:/tmp:/bin/sh
sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""


def _mount(source: str, target: str, kind: str, flags: int) -> None:
    if _libc.mount(source.encode(), target.encode(), kind.encode(), flags, None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


class Surroundings:
    """The files of this machine that a world sees with other content: hosts, users, authorities, and sshd's own folder.

    The calling thread, and each thread and process that it starts later, leaves the machine's network and mounts for good.

    Args:
        folder: where the files go that are put in place of the machine's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if _libc.unshare(CLONE_NEWNS | CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), "unshare")
        _mount("none", "/", "none", MS_REC | MS_PRIVATE)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        for name in ("hosts", "passwd"):
            (folder / name).write_text(Path("/etc", name).read_text(encoding="utf-8"), encoding="utf-8")
            _mount(str(folder / name), f"/etc/{name}", "none", MS_BIND)
        self.certificates = Path(CERTIFICATES).read_text(encoding="utf-8")
        (folder / "certificates").write_text(self.certificates, encoding="utf-8")
        _mount(str(folder / "certificates"), CERTIFICATES, "none", MS_BIND)
        for place in ("/run", "/home"):  # the runner's files go to a home that an answer names
            _mount("tmpfs", place, "tmpfs", 0)
        Path("/run").chmod(0o755)
        Path("/run/sshd").mkdir(mode=0o755)

    def name_hosts(self, hosts: dict[str, str]) -> None:
        """Let names lead to addresses of the loopback."""
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in hosts.items())]
        (self.folder / "hosts").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def trust(self, certificate: str) -> None:
        """Let this machine trust an authority beside the public ones, or only these."""
        (self.folder / "certificates").write_text(self.certificates + certificate, encoding="utf-8")

    def name_users(self, home: Path, runner: str) -> None:
        """Give root a home of the test's, and the two machines behind SSH their users."""
        (self.folder / "passwd").write_text(PASSWD.format(home=home, runner=runner), encoding="utf-8")
