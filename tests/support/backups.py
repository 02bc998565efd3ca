"""The program of the pods that send backups, imported from the template, and archives as GitLab's own tools make them."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

from lab_backups import __main__ as program
from lab_backups import age, archives, openssl, sending, sets, state, target

from .rendering import ROOT

FOLDER = next((ROOT / "template" / "apps").glob("*sends_backups*"))

__all__ = [
    "FOLDER",
    "Volumes",
    "age",
    "archives",
    "openssl",
    "packed",
    "program",
    "sending",
    "sets",
    "state",
    "target",
]

NOW = 1790000000
DAY = 86400


def packed(file: Path, members: dict[str, bytes]) -> Path:
    """Write an archive of some files."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as archive:
        for name, content in members.items():
            there = tarfile.TarInfo(name)
            there.size = len(content)
            archive.addfile(there, io.BytesIO(content))
    return file


@dataclass
class Volumes:
    """GitLab's two volumes with what `gitlab-backup create` and `gitlab-ctl backup-etc` leave there."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "backups"

    @property
    def config(self) -> Path:
        return self.folder / "config_backup"

    def back_up(
        self,
        second: int = NOW,
        version: str = "19.3.0",
        *,
        size: int = 200_000,
        registry: bool = True,
        says: str | None = None,
        apart: int = 20,
    ) -> str:
        """Make a backup that began at a second, and return its name.

        Args:
            size: of the repositories, in bytes.
            says: the version that the archive itself names.
            apart: by how many seconds the configuration was saved before.
        """
        name = f"{second}_2026_09_21_{version}"
        members = {
            "backup_information.yml": f"---\n:backup_created_at: 2026-09-21\n:gitlab_version: {says or version}\n".encode(),
            "db/database.sql.gz": b"the database",
            "repositories/manifests/default/a.toml": bytes(range(256)) * (size // 256 + 1),
            "uploads.tar.gz": b"uploads",
        }
        packed(self.data / f"{name}_gitlab_backup.tar", members | ({"registry.tar.gz": b"images"} if registry else {}))
        config = self.config / f"gitlab_config_{second - apart}_2026_09_21.tar"
        held = {
            "/etc/gitlab/gitlab.rb": b"",
            "/etc/gitlab/gitlab-secrets.json": b'{"secret": "the key of all"}',
            "/etc/gitlab/ssh_host_ed25519_key": b"a host key",
        }
        packed(config, held)
        return name
