"""A real registry on this machine, with users and passwords in place of GitLab's tokens, and a real client for it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.loopback import free_port
from tests.support.tools import tool

CONFIG = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: "127.0.0.1:{port}"}}
auth: {{htpasswd: {{realm: lab, path: {folder}/htpasswd}}}}
"""


class Registry:
    """One registry. `address` is what stands before an image's path."""

    def __init__(self, folder: Path, users: dict[str, str]) -> None:
        folder.mkdir(parents=True)
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        # bcrypt is the one form that the registry takes; libcrypt makes it, through Ruby.
        script = "ARGF.each_line(chomp: true) { |l| u, p = l.split(\"\\t\"); puts \"#{u}:#{p.crypt('$2y$04$' + 'abcdefghijklmnopqrstuu')}\" }"
        lines = "".join(f"{user}\t{password}\n" for user, password in users.items())
        made = subprocess.run([tool("ruby"), "-e", script], input=lines, capture_output=True, text=True, check=True)
        self.lines = dict(zip(users, made.stdout.splitlines(), strict=True))
        self.users = folder / "htpasswd"
        self.let_in(*users)
        (folder / "config.yml").write_text(CONFIG.format(folder=folder, port=self.port))
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [tool("docker-registry"), "serve", folder / "config.yml"], stdout=log, stderr=log
            )

    def wait(self) -> None:
        """Return when it answers; its log where it does not come up."""
        end, pause = time.monotonic() + 20, threading.Event()
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            pause.wait(0.02)
        raise AssertionError(f"the registry does not come up:\n{self.log.read_text()}")

    def let_in(self, *users: str) -> None:
        """Let these users in from now on and nobody else; the registry reads the file again when it is another one."""
        self.users.write_text("".join(f"{self.lines[user]}\n" for user in users))


@contextlib.contextmanager
def registry(folder: Path, users: dict[str, str]) -> Iterator[Registry]:
    """Run a registry that lets these users in, by name and password."""
    one = Registry(folder, users)
    try:
        one.wait()
        yield one
    finally:
        one.process.terminate()
        one.process.wait()


def make_image(folder: Path) -> Path:
    """Write the smallest image there is, as a folder that skopeo reads: no layers, one configuration."""
    folder.mkdir()
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}}
    ).encode()
    digest = hashlib.sha256(config).hexdigest()
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": len(config),
            "digest": f"sha256:{digest}",
        },
        "layers": [],
    }
    (folder / digest).write_bytes(config)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "version").write_text("Directory Transport Version: 1.1\n")
    return folder


def skopeo(*arguments: str | Path, config: Path | None, home: Path) -> subprocess.CompletedProcess[str]:
    """Run skopeo with a docker configuration, or with none at all."""
    auth = ["--authfile", config] if config else ["--no-creds"] if arguments[0] in {"inspect", "list-tags"} else []
    command = [tool("skopeo"), "--insecure-policy", arguments[0], *auth, *arguments[1:]]
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(home)}
    return subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True, check=False)


def push(image: Path, target: str, config: Path | None, home: Path) -> subprocess.CompletedProcess[str]:
    return skopeo("copy", "--dest-tls-verify=false", f"dir:{image}", f"docker://{target}", config=config, home=home)


def pull(source: str, config: Path | None, home: Path) -> subprocess.CompletedProcess[str]:
    return skopeo("inspect", "--tls-verify=false", f"docker://{source}", config=config, home=home)
