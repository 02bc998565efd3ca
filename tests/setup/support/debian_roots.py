"""Small Debian systems, and the packages that runner/setup.sh asks apt for, in repositories that need no network.

`.ci/install-tools` calls this once, with the network; the tests only read. mmdebstrap makes each system from the Debian archive that
this machine's apt knows. An archive keeps the newest version of each package only: `packages.txt` beside a system lists what it got.
Docker's own packages cannot be had this way. Those for Debian 12 bear the names, dependencies and paths of Docker's, and hold
Debian 13's programs.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.setup.support.apt_repository import Signer, package, publish

# Raised where a system of before does not do any more.
RECIPE = 3
KEPT = Path.home() / ".cache" / "copier-gitlab-homelab"
CACHE = KEPT / f"debian-{RECIPE}"
# As cloud-init makes it.
USER = "cloud-user"
SUITES = ("trixie", "bookworm")
# As in Debian's images for virtual machines, as far as setup.sh, sshd and the tests meet it.
PRESENT = "openssh-server,sudo,ca-certificates,python3"
COMMON = ("apparmor", "unattended-upgrades", "qemu-guest-agent", "iptables")
WANTED = {"trixie": ("docker.io", "docker-cli", "docker-compose", *COMMON), "bookworm": ("docker.io", *COMMON)}
ARCHIVE = "http://archive.debian.test/debian"
TOOLS = ("mmdebstrap", "gpg", "dpkg-deb", "unshare", "apt-get", "ssh", "openssl", "ip")
# By Docker's packages: what each depends on (docker-ce-packaging, deb/common/control), and which files it takes from which of Debian's.
OWN: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "containerd.io": (
        "Conflicts: containerd, runc\nProvides: containerd, runc\nReplaces: containerd, runc",
        {"containerd": ("usr/bin/containerd",)},
    ),
    "docker-ce-cli": ("Conflicts: docker-engine, docker.io", {"docker-cli": ("usr/bin/docker",)}),
    "docker-ce": (
        "Depends: containerd.io, docker-ce-cli, iptables\nConflicts: docker-engine, docker.io",
        {"docker.io": ("usr/sbin/dockerd", "usr/lib/systemd/system/docker.service")},
    ),
    "docker-compose-plugin": (
        "Enhances: docker-ce-cli\nConflicts: docker-compose\nReplaces: docker-compose",
        {"docker-compose": ("usr/libexec/docker/cli-plugins/docker-compose",)},
    ),
}
# What a system needs besides to be booted in a virtual machine, as the images of clouds have it. `--bootable` makes it; `make test` and
# CI do without.
BOOTABLE = "bootable"
BOOTS = "linux-image-cloud-amd64,systemd-sysv,udev,cloud-init,netplan.io,e2fsprogs,iproute2,netbase,dbus,procps"
DISK = "24G"
GROUP = "#!/bin/sh\nset -e\ngetent group docker >/dev/null || groupadd --system docker\n"


class CannotBuildError(Exception):
    """The systems cannot be made here; the message says why."""


def system(suite: str) -> Path:
    """Return where a suite's system lies; read only."""
    return CACHE / suite / "system"


def lacking() -> str:
    """Return in one line what this machine lacks to run the tests; nothing if all is there."""
    missing = [name for name in TOOLS if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} (.ci/install-tools installs them on Debian)"
    if os.geteuid() != 0:
        return "root (each system runs in namespaces)"
    if not all((CACHE / suite / "done").exists() for suite in SUITES):
        return "the Debian systems (python3 tests/setup/support/debian_roots.py makes them, with the network)"
    return ""


def build() -> None:
    """Make what is not there yet.

    Raises:
        CannotBuildError: this machine cannot.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [suite for suite in SUITES if not (CACHE / suite / "done").exists()]
        if not missing:
            return
        for outdated in set(KEPT.glob("debian-*")) - {CACHE}:
            shutil.rmtree(outdated)
        signer, mirror = Signer(CACHE / "keys"), archive()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda suite: _make(suite, mirror, signer), missing))
        _publish_own(signer)
        signer.close()
        for suite in missing:
            (CACHE / suite / "done").touch()


def build_bootable() -> None:
    """Make a disk with Debian 13, and what boots it, if they are not there yet.

    Raises:
        CannotBuildError: this machine cannot.
    """
    build()
    folder = CACHE / BOOTABLE
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "done").exists():
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        made = folder / "system"
        packages = f"--include={PRESENT},{BOOTS}"
        _run(
            "mmdebstrap", "--quiet", "--variant=minbase", packages, "trixie", str(made), f"deb {archive()} trixie main"
        )
        for name in ("vmlinuz", "initrd.img"):
            (file,) = (made / "boot").glob(f"{name}-*")
            shutil.copy2(file, folder / name)
        Signer(CACHE / "keys").publish_key("archive", made / "etc/apt/keyrings/archive.asc")
        (made / "etc/apt/sources.list").unlink(missing_ok=True)
        _run("mke2fs", "-q", "-t", "ext4", "-d", str(made), str(folder / "disk.img"), DISK)
        shutil.rmtree(made)
        (folder / "done").touch()


def archive() -> str:
    """Return the address of the Debian archive that this machine's apt knows."""
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    found = [address for address in said if "security" not in address]
    if not found:
        raise CannotBuildError("apt knows no archive of Debian here (apt-get update)")
    return found[0]


def _make(suite: str, mirror: str, signer: Signer) -> None:
    """Make a suite's system, with a repository of what it may be asked to install."""
    folder = CACHE / suite
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    pool = folder / "pool"
    pool.mkdir()
    hook = (
        "APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get -qq --yes --no-install-recommends --download-only install "
        f'{" ".join(WANTED[suite])} && mv "$1"/var/cache/apt/archives/*.deb {pool}/'
    )
    made = folder / "system"
    _run(
        "mmdebstrap", "--quiet", "--variant=minbase", f"--include={PRESENT}", f"--customize-hook={hook}", suite,
        str(made), f"deb {mirror} {suite} main",
    )  # fmt: skip
    _forget_installed(made, pool)
    for file in sorted(pool.iterdir()):
        _unpack(file)
    signer.publish_key("archive", made / "etc/apt/keyrings/archive.asc")
    (made / "etc/apt/sources.list").unlink(missing_ok=True)
    (made / "etc/apt/sources.list.d/debian.sources").write_text(
        f"Types: deb\nURIs: {ARCHIVE}\nSuites: {suite}\nComponents: main\nSigned-By: /etc/apt/keyrings/archive.asc\n"
    )
    user = ["useradd", "--root", str(made), "--create-home", "--shell", "/bin/bash", USER]
    subprocess.run(user, check=True)
    (made / "etc/sudoers.d/90-cloud-init-users").write_text(f"{USER} ALL=(ALL) NOPASSWD:ALL\n")
    # No service starts in a system without an init; and no disk has to keep what a test writes.
    (made / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (made / "usr/sbin/policy-rc.d").chmod(0o755)
    (made / "etc/dpkg/dpkg.cfg.d/tests").write_text("force-unsafe-io\n")
    publish(folder / "debian", suite, "main", pool, signer, "archive")
    query = ["dpkg-query", f"--admindir={made}/var/lib/dpkg", "--show"]
    (folder / "packages.txt").write_bytes(subprocess.run(query, capture_output=True, check=True).stdout)


def _forget_installed(made: Path, pool: Path) -> None:
    """Keep the archives only of what is not in the system yet."""
    query = ["dpkg-query", f"--admindir={made}/var/lib/dpkg", "--show", "--showformat", "${Package}_${Version}\n"]
    there = set(subprocess.run(query, capture_output=True, text=True, check=True).stdout.split())
    for file in pool.iterdir():
        name, version, _ = file.name.split("_")
        if f"{name}_{version.replace('%3a', ':')}" in there:
            file.unlink()


def _unpack(file: Path) -> None:
    """Write an archive anew, without compression: apt unpacks it in many tests."""
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        _run("dpkg-deb", "--raw-extract", str(file), f"{work}/content")
        _run("dpkg-deb", "-Znone", "--build", f"{work}/content", str(file))


def _publish_own(signer: Signer) -> None:
    """Make packages like Docker's own, and the site they come from."""
    debian = CACHE / "trixie" / "pool"
    site, pool = CACHE / "docker", CACHE / "docker-pool"
    for folder in (site, pool):
        shutil.rmtree(folder, ignore_errors=True)
    pool.mkdir()
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        for name, (relations, sources) in OWN.items():
            content = Path(work) / name
            for source, paths in sources.items():
                (file,) = debian.glob(f"{source}_*.deb")
                unpacked = Path(work) / f"{name}-{source}"
                _run("dpkg-deb", "--extract", str(file), str(unpacked))
                for path in paths:
                    (content / path).parent.mkdir(parents=True, exist_ok=True)
                    shutil.move(unpacked / path, content / path)
            package(pool, content, name, relations, GROUP if name == "docker-ce" else "")
    publish(site / "linux/debian", "bookworm", "stable", pool, signer, "docker")
    signer.publish_key("docker", site / "linux/debian/gpg")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotBuildError(f"{command[0]}: {(done.stderr or done.stdout).strip()[-2000:]}")


def main() -> None:
    """Make the systems, and say how long it took."""
    started = time.monotonic()
    for left in CACHE.glob("work-*"):  # by a test run that was killed
        shutil.rmtree(left)
    try:
        build_bootable() if "--bootable" in sys.argv[1:] else build()
    except CannotBuildError as error:
        sys.exit(f"The Debian systems for the tests of runner/setup.sh cannot be made. {error}")
    digest = hashlib.sha256(b"".join((CACHE / suite / "packages.txt").read_bytes() for suite in SUITES)).hexdigest()
    sys.stdout.write(f"The Debian systems are there ({time.monotonic() - started:.0f} s, {digest[:12]}, {CACHE}).\n")


if __name__ == "__main__":
    main()
