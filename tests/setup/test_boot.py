"""runner/cloud-init.yaml on a virtual machine that boots: its own kernel, systemd, cloud-init, apt, dockerd and sshd.

QEMU computes every instruction of it, which takes minutes: LONG=1.
"""

from __future__ import annotations

import functools
import http.server
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.setup.support.debian_fixtures import rendered
from tests.setup.support.debian_roots import BOOTABLE, CACHE
from tests.support.depth import every
from tests.support.loopback import free_port, wait_for
from tests.support.tools import run, tool

pytestmark = pytest.mark.skipif(not every(), reason="a boot takes minutes: LONG=1")
PLACEHOLDER = re.compile(r"ssh-ed25519 PUT-YOUR-PUBLIC-KEY-HERE.*")
# What QEMU's own network calls the machine that it runs on.
HOST = "10.0.2.2"
USER = "cloud-user"
MEMORY, MINUTES = "2048", 40


@dataclass(frozen=True)
class Guest:
    """A machine that runs.

    Attributes:
        ssh: the command that reaches its user.
        console: what it has written to its serial console.
    """

    ssh: list[str]
    console: Path

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        return run(*self.ssh, command)

    def must(self, command: str) -> str:
        """Return what a command prints.

        Raises:
            AssertionError: it failed.
        """
        done = self.run(command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """Serve a folder on the loopback for the length of a block; yield the port."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def seed(folder: Path, user_data: str, archive: int) -> Path:
    """Make the disk from which cloud-init reads (https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html).

    The vendor's part says where apt finds packages here; the user's is the lab's own file.
    """
    source = f"deb [signed-by=/etc/apt/keyrings/archive.asc] http://{HOST}:{archive}/debian trixie main"
    (folder / "user-data").write_text(user_data, encoding="utf-8")
    (folder / "vendor-data").write_text(
        f"#cloud-config\nbootcmd:\n  - echo '{source}' > /etc/apt/sources.list.d/tests.list\n", encoding="utf-8"
    )
    (folder / "meta-data").write_text("instance-id: first\nlocal-hostname: gitlab-runner\n", encoding="utf-8")
    files = [folder / name for name in ("user-data", "vendor-data", "meta-data")]
    disk = folder / "seed.iso"
    done = run(tool("genisoimage"), "-quiet", "-output", disk, "-volid", "cidata", "-joliet", "-rock", *files)
    assert done.returncode == 0, done.stderr
    return disk


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    """Return a new machine that was given the lab's user data, with a key of its owner's in it."""
    qemu, disk = tool("qemu-system-x86_64"), CACHE / BOOTABLE
    if not (disk / "done").exists():
        pytest.skip(
            "there is no Debian to boot: python3 tests/setup/support/debian_roots.py --bootable makes it, with the network"
        )
    key = tmp_path / "key"
    assert run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "owner", "-f", key).returncode == 0
    public = key.with_suffix(".pub").read_text(encoding="utf-8").strip()
    text, times = PLACEHOLDER.subn(public, rendered()["runner/cloud-init.yaml"])
    assert times == 1
    (tmp_path / "seed").mkdir()
    port, console = free_port(), tmp_path / "console.log"
    with serving(CACHE / "trixie") as archive:
        shown = seed(tmp_path / "seed", text, archive)
        # It ends with the tests, whatever ends them.
        words = ["setpriv", "--pdeathsig", "KILL"]
        words += [
            *(qemu, "-accel", os.environ.get("QEMU_ACCEL", "tcg"), "-cpu", "max", "-m", MEMORY, "-smp", "1"),
            *("-display", "none", "-monitor", "none", "-serial", f"file:{console}"),
            *("-kernel", str(disk / "vmlinuz"), "-initrd", str(disk / "initrd.img")),
            *("-append", "root=/dev/vda rw console=ttyS0 net.ifnames=0"),
            *("-drive", f"file={disk / 'disk.img'},if=virtio,format=raw,snapshot=on"),
            *("-drive", f"file={shown},if=virtio,format=raw,readonly=on"),
            *("-nic", f"user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{port}-:22"),
        ]
        options = [f"-p{port}", f"-i{key}", "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null"]
        options += ["-oBatchMode=yes", "-oConnectTimeout=20", "-oLogLevel=ERROR", "-F", "/dev/null"]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as machine:
            try:
                yield Guest(["ssh", *options, f"{USER}@127.0.0.1"], console)
            finally:
                machine.kill()
    shutil.rmtree(tmp_path / "seed")


def logs_in(guest: Guest) -> bool:
    return guest.run("true").returncode == 0


def set_up(guest: Guest) -> bool:
    """Say whether cloud-init has come to its end."""
    said = guest.run("cloud-init status --long").stdout
    return bool(re.search(r"^extended_status: (?!.*running|not)", said, re.MULTILINE))


def check_works(guest: Guest) -> None:
    """Check what a chroot cannot show: units that run, a daemon that answers its user, swap in the kernel."""
    assert re.match(r"\d+\.\d+", guest.must("docker version --format '{{.Server.Version}}'"))
    assert re.match(r"v?\d+\.\d+", guest.must("docker compose version --short"))
    assert "json-file 10m" in guest.must("docker info --format '{{.LoggingDriver}} 10m'")
    assert "/swap.lab" in guest.must("cat /proc/swaps")
    assert guest.must("systemctl is-enabled docker apt-daily-upgrade.timer").split() == ["enabled", "enabled"]


def test_a_machine_becomes_the_runners_at_its_first_boot_and_stays_it(guest: Guest) -> None:
    wait_for("ssh", lambda: logs_in(guest), seconds=MINUTES * 60, pause=5)
    wait_for("cloud-init", lambda: set_up(guest), seconds=MINUTES * 60, pause=5)
    said = guest.run("cloud-init status --long").stdout
    log = guest.must("sudo cat /var/log/cloud-init-output.log")
    assert "This machine is ready for the runner." in log, f"{said}\n{log[-4000:]}"
    assert guest.must("hostname").strip() == "gitlab-runner"
    check_works(guest)
    again = guest.must("sudo sh /usr/local/sbin/lab-runner-setup")
    assert again.strip().endswith("Nothing to do: this machine is ready for the runner."), again
    # A machine of a home is switched off now and then.
    guest.run("sudo systemctl reboot")
    wait_for("the machine to go down", lambda: not logs_in(guest), seconds=120, pause=1)
    wait_for("ssh after the reboot", lambda: logs_in(guest), seconds=MINUTES * 60, pause=5)
    wait_for("docker after the reboot", lambda: guest.run("docker version").returncode == 0, seconds=300, pause=5)
    check_works(guest)
