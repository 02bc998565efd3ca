"""Enters a Debian system that a test has made, in namespaces that end with it. Started under `unshare`, by debian_machine.py.

Only what stands in the file of its one argument is reachable: the archives, or nothing.
"""

from __future__ import annotations

import functools
import http.server
import json
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any


class Files(http.server.SimpleHTTPRequestHandler):
    """Files of folders, each under a path of its own."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass


def serve(port: int, folder: str, tls: list[str] | None) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), functools.partial(Files, directory=folder))
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def main() -> int:
    """Return how the command in the system ended."""
    order = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    root, command = order["root"], order["command"]
    mount(
        "-t",
        "overlay",
        "overlay",
        "-o",
        f"lowerdir={order['lower']},upperdir={order['upper']},workdir={order['work']}",
        root,
    )
    mount("-t", "proc", "proc", f"{root}/proc")
    mount("-t", "tmpfs", "tmpfs", f"{root}/run")
    mount("-t", "sysfs", "sysfs", f"{root}/sys")
    mount("-t", "cgroup2", "-o", "ro", "cgroup2", f"{root}/sys/fs/cgroup")
    mount("--rbind", "/dev", f"{root}/dev")
    for source, target in order["binds"].items():
        mount("--bind", source, f"{root}{target}")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for port, folder, tls in order["sites"]:
        serve(port, folder, tls)
    for folder in ("run/sshd", *(["run/systemd/system"] if order["systemd"] else [])):
        Path(root, folder).mkdir(parents=True)
    socket.sethostname("runner")
    sys.stdout.write("entered\n")
    sys.stdout.flush()
    environment = {"PATH": order["path"], "HOME": "/root", "TERM": "dumb"}
    return subprocess.run(["chroot", root, *command], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
