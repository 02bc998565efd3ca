"""Real sshds of a world: GitLab's, in front of its repositories, and the runner machine's.

Users of the two are root under other names, by an /etc/passwd that only this world sees.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.cluster.gitlab_server import INTERNAL_PORT
from tests.cluster.processes import Processes

SSHD = "/usr/sbin/sshd"
HOST_KEY_TYPES = ("ed25519", "ecdsa", "rsa")
# As gitlab-shell: sshd asks whether it knows a key, and the command asks whether the key may do what is wanted.
KEYS_COMMAND = """\
#!/usr/bin/env python3
import json, sys, urllib.request
key = " ".join(sys.argv[1:3])
body = json.dumps({{"action": "key", "key": key}}).encode()
try:
    urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:{port}/internal/allowed", body), timeout=10)
except OSError:
    sys.exit(0)
print('restrict,command="{shell} %s" %s' % (sys.argv[2], key))
"""
SHELL = """\
#!/usr/bin/env python3
import json, os, shlex, sys, urllib.error, urllib.request
kind = {{"AAAAC3NzaC1lZDI1NTE5": "ssh-ed25519"}}.get(sys.argv[1][:20], "ssh-rsa")
words = shlex.split(os.environ.get("SSH_ORIGINAL_COMMAND", ""))
if len(words) != 2 or words[0] not in ("git-upload-pack", "git-receive-pack"):
    sys.exit("GitLab: Disallowed command")
project = words[1].strip("/").removesuffix(".git")
body = json.dumps({{"action": words[0], "key": kind + " " + sys.argv[1], "project": project}}).encode()
try:
    urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:{port}/internal/allowed", body), timeout=10)
except urllib.error.HTTPError as error:
    sys.stderr.write("GitLab: " + error.read().decode() + "\\n")
    sys.exit(1)
os.environ.update(GIT_CONFIG_COUNT="1", GIT_CONFIG_KEY_0="safe.directory", GIT_CONFIG_VALUE_0="*")
os.execvp(words[0], [words[0], os.path.join({repositories!r}, project.lower() + ".git")])
"""
CONFIG = """\
Port {port}
ListenAddress {address}
{host_keys}
AuthorizedKeysFile {authorized}
{keys}
StrictModes no
PasswordAuthentication no
PermitRootLogin yes
PidFile none
UsePAM no
{more}
"""


def _program(file: Path, text: str) -> Path:
    file.write_text(text, encoding="utf-8")
    file.chmod(0o755)
    return file


class Sshd:
    """One sshd.

    Args:
        folder: where its keys and settings go; made new.
        processes: what starts and ends it.
        name: of its process and log.
    """

    def __init__(self, folder: Path, processes: Processes, name: str) -> None:
        self.folder, self.processes, self.name = folder, processes, name
        folder.mkdir(parents=True)
        folder.chmod(0o755)
        for kind in HOST_KEY_TYPES:
            new = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "root@gitlab", "-f", str(self.host_key(kind))]
            subprocess.run(new, check=True)

    def host_key(self, kind: str) -> Path:
        return self.folder / f"ssh_host_{kind}_key"

    def public_keys(self) -> str:
        return "".join(self.host_key(kind).with_suffix(".pub").read_text(encoding="utf-8") for kind in HOST_KEY_TYPES)

    def start(self, address: str, port: int, authorized: str, keys: str, more: str) -> None:
        config = self.folder / "sshd_config"
        host_keys = "\n".join(f"HostKey {self.host_key(kind)}" for kind in HOST_KEY_TYPES)
        config.write_text(
            CONFIG.format(port=port, address=address, host_keys=host_keys, authorized=authorized, keys=keys, more=more),
            encoding="utf-8",
        )
        self.processes.start(self.name, [SSHD, "-D", "-e", "-f", str(config)])


def start_gitlab_sshd(sshd: Sshd, repositories: Path, port: int, address: str = "127.0.0.1") -> None:
    """Start the sshd through which deploy keys reach GitLab's repositories."""
    shell = _program(sshd.folder / "shell", SHELL.format(port=INTERNAL_PORT, repositories=str(repositories)))
    # sshd takes the program from a folder only that nobody else could write to, up to the root; /run is the world's own.
    trusted = Path("/run") / sshd.name
    trusted.mkdir(exist_ok=True)
    command = _program(trusted / "keys", KEYS_COMMAND.format(port=INTERNAL_PORT, shell=shell))
    keys = f"AuthorizedKeysCommand {command} %t %k\nAuthorizedKeysCommandUser root"
    sshd.start(address, port, "none", keys, "")


def start_machine_sshd(sshd: Sshd, address: str, home: Path, programs: Path) -> None:
    """Start the sshd of the runner's machine; `id_owner` of its folder is the owner's key, as `ssh-copy-id` leaves it."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(sshd.folder / "id_owner")], check=True)
    script = f'#!/bin/sh\nexport PATH="{programs}:/usr/bin:/bin" HOME="{home}"\ncd "$HOME"\nexec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n'
    command = _program(sshd.folder / "command", script)
    sshd.start(address, 22, str(sshd.folder / "id_owner.pub"), "", f"ForceCommand {command}")
