"""kubectl, for the commands of backups: objects are in a file, GitLab's pod is a folder, and the pods that send and look run their real program.

What stands in for GitLab: `gitlab-backup`, `gitlab-ctl` and `gitlab-rake`, which write down that they were called.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

HERE = Path(os.environ.get("WORLD", "."))
GITLAB = HERE / "gitlab"
VERSION = "/opt/gitlab/embedded/service/gitlab-rails/VERSION"
RUN = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
here = Path(sys.argv[2])
from lab_backups import __main__ as program
class Keeper:
    def __init__(self, namespace): self.file = here / "objects.json"
    def _data(self, objects): return objects.setdefault("configmap/backups-state", {"metadata": {"name": "backups-state"}}).setdefault("data", {})
    def load(self): return json.loads(self._data(json.loads(self.file.read_text())).get("state.json", "{}"))
    def save(self, state):
        objects = json.loads(self.file.read_text())
        self._data(objects)["state.json"] = json.dumps(state)
        self.file.write_text(json.dumps(objects))
program.Keeper, program.SETTINGS, program.SECRETS = Keeper, here / "settings.json", here / "secrets"
program.RCLONE = sys.argv[3]
program.DATA, program.CONFIG = here / "gitlab/var/opt/gitlab/backups", here / "gitlab/etc/gitlab/config_backup"
sys.exit(program.main(sys.argv[4:]))
"""


def objects() -> dict[str, Any]:
    return dict(json.loads((HERE / "objects.json").read_text()))


def keep(found: dict[str, Any]) -> None:
    (HERE / "objects.json").write_text(json.dumps(found))


def program(*words: str) -> int:
    told = json.loads((HERE / "world.json").read_text())
    command = [sys.executable, "-B", "-c", RUN, f"{told['lab']}/apps/backups", str(HERE), told["rclone"], *words]
    if "cat" in words and told.get("cut"):
        done = subprocess.run(command, capture_output=True, check=False)
        sys.stdout.buffer.write(done.stdout[: told["cut"]])
        return 0  # a connection that is lost need not look like one
    return subprocess.run(command, check=False).returncode


def note(line: str) -> None:
    with (HERE / "calls").open("a") as stream:
        stream.write(f"{line}\n")


def in_gitlab(command: list[str]) -> int:
    """Run a command in GitLab's pod."""
    note(" ".join(command))
    if command == ["cat", VERSION]:
        print((HERE / "version").read_text())
        return 0
    if command[0] == "gitlab-rake":
        print("Total: 0 row(s) affected")
        return 0
    if command[0] in ("gitlab-ctl", "chown", "rm", "tar") and "--list" not in command:
        return 0
    if command[0] == "env":
        name = command[-1].partition("=")[2]
        with tarfile.open(GITLAB / f"var/opt/gitlab/backups/{name}_gitlab_backup.tar") as archive:
            note(f"GitLab restored {name} with {len(archive.getnames())} members")
        return 0
    moved = [
        word.replace("/var/opt/gitlab", f"{GITLAB}/var/opt/gitlab").replace("/etc/gitlab/", f"{GITLAB}/etc/gitlab/")
        for word in command
    ]
    return subprocess.run(moved, check=False).returncode


def back_up() -> int:
    """Do what the CronJob's pod does: GitLab's tools leave their archives, then they are sent."""
    second = int(time.time())
    version = (HERE / "version").read_text().strip()
    name = f"{second}_2026_09_21_{version}"
    members = {
        "backup_information.yml": f":gitlab_version: {version}\n",
        "db/database.sql.gz": "db",
        "repositories/a": "x" * 300000,
    }
    _pack(GITLAB / f"var/opt/gitlab/backups/{name}_gitlab_backup.tar", members)
    _pack(
        GITLAB / f"etc/gitlab/config_backup/gitlab_config_{second}_2026_09_21.tar",
        {"/etc/gitlab/gitlab-secrets.json": "{}"},
    )
    return program("send")


def _pack(file: Path, members: dict[str, str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as archive:
        for name, text in members.items():
            there = tarfile.TarInfo(name)
            there.size = len(text)
            archive.addfile(there, io.BytesIO(text.encode()))


def find(words: list[str]) -> int:
    kind, *rest = words
    found = objects()
    if kind == "nodes":
        print(
            json.dumps(
                {
                    "items": [
                        {
                            "kind": "Node",
                            "metadata": {"name": "node-1"},
                            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
                        }
                    ]
                }
            )
        )
    elif kind == "pods" or not rest or rest[0].startswith("-"):
        print(json.dumps({"items": []}))
    elif f"{kind}/{rest[0]}" in found:
        print(json.dumps(found[f"{kind}/{rest[0]}"]))
    return 0


def apply() -> int:
    given = json.loads(sys.stdin.read())
    key = f"{given['kind'].lower()}/{given['metadata']['name']}"
    found = objects()
    if given["kind"] == "Pod":
        given["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    if given["kind"] == "ConfigMap":
        given["data"] = {**found.get(key, {}).get("data", {}), **given["data"]}
    found[key] = given
    keep(found)
    note(f"applied {key}")
    return 0


def main(words: list[str]) -> int:
    words = [word for word in words if not word.startswith("--request-timeout")]
    verb, *rest = words
    if verb == "exec":
        command = rest[rest.index("--") + 1 :]
        target = rest[: rest.index("--")]
        if "deploy/gitlab" in target:
            return in_gitlab(command)
        assert any(word.startswith("backups-reader-") for word in target), target
        assert command[:4] == ["python3", "-B", "-m", "lab_backups"], command
        return program(*command[4:])
    if verb == "get":
        return find(rest)
    if verb == "apply":
        return apply()
    if verb == "create":
        name, found = rest[1], objects()
        status = {
            "conditions": [
                {"type": "Complete" if back_up() == 0 else "Failed", "status": "True", "message": "it failed"}
            ]
        }
        found = objects() | {f"job/{name}": {"kind": "Job", "metadata": {"name": name}, "status": status}}
        keep(found)
        return 0
    if verb == "delete":
        found = objects()
        found.pop(f"{rest[0]}/{rest[1]}", None)
        keep(found)
        note(f"deleted {rest[0]}/{rest[1]}")
        return 0
    if verb == "config":
        print(json.dumps({"current-context": "lab", "clusters": []}))
        return 0
    return 0  # logs, patch, rollout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
