"""Repositories as apt reads them (https://wiki.debian.org/DebianRepository/Format), signed with keys of the tests' own."""

from __future__ import annotations

import email.utils
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

MAINTAINER = "Tests <tests@example.com>"


class Signer:
    """OpenPGP keys, made when one is asked for. gpg's own folder must have a short path: its agent listens there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def gpg(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Run gpg without a question, and return what it prints."""
        command = ["gpg", "--homedir", str(self.folder), "--batch", "--quiet", "--yes", "--pinentry-mode", "loopback"]
        command += ["--passphrase", ""]
        return subprocess.run([*command, *arguments], input=stdin, capture_output=True, check=True).stdout

    def _address(self, name: str) -> str:
        address = f"{name}@example.com"
        known = self.gpg("--list-secret-keys", "--with-colons").decode()
        if f"<{address}>" not in known:
            self.gpg("--quick-generate-key", f"{name} <{address}>", "ed25519", "sign", "never")
        return address

    def publish_key(self, name: str, target: Path) -> None:
        """Write a public key, as armoured text."""
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self.gpg("--armor", "--export", self._address(name)))

    def sign(self, name: str, text: str) -> bytes:
        """Return a text with its signature around it."""
        return self.gpg("--local-user", self._address(name), "--clear-sign", stdin=text.encode())

    def close(self) -> None:
        """End the agent that gpg has started."""
        subprocess.run(["gpgconf", "--homedir", str(self.folder), "--kill", "all"], check=False)


def architecture() -> str:
    """Return this machine's architecture, as dpkg calls it."""
    return subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()


def package(pool: Path, content: Path, name: str, relations: str, after: str) -> None:
    """Make a package of a folder.

    Args:
        relations: further fields, such as `Depends: …`.
        after: a script that runs after it was unpacked; none if empty.
    """
    control = content / "DEBIAN"
    control.mkdir(parents=True)
    (control / "control").write_text(
        f"Package: {name}\nVersion: 5:29.8.1-1~tests\nArchitecture: {architecture()}\nMaintainer: {MAINTAINER}\n"
        f"{relations}\nDescription: stands for Docker's own package\n"
    )
    if after:
        (control / "postinst").write_text(after)
        (control / "postinst").chmod(0o755)
    build = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(content), str(pool)]
    subprocess.run(build, capture_output=True, check=True)


def publish(site: Path, suite: str, component: str, pool: Path, signer: Signer, key: str) -> None:
    """Make a repository of the packages in a folder, which it takes over."""
    shutil.rmtree(site, ignore_errors=True)
    (site / "pool").mkdir(parents=True)
    entries = []
    for file in sorted(pool.glob("*.deb")):
        fields = subprocess.run(["dpkg-deb", "--field", str(file)], capture_output=True, text=True, check=True).stdout
        target = site / "pool" / file.name
        os.link(file, target)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        entries.append(f"{fields.strip()}\nFilename: pool/{file.name}\nSize: {file.stat().st_size}\nSHA256: {digest}\n")
    index = "\n".join(entries).encode()
    name = f"{component}/binary-{architecture()}/Packages"
    folder = site / "dists" / suite
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_bytes(index)
    (folder / "InRelease").write_bytes(
        signer.sign(
            key,
            f"Origin: Tests\nLabel: Tests\nSuite: {suite}\nCodename: {suite}\nDate: {email.utils.formatdate(usegmt=True)}\n"
            f"Architectures: {architecture()}\nComponents: {component}\nSHA256:\n"
            f" {hashlib.sha256(index).hexdigest()} {len(index)} {name}\n",
        )
    )
