"""Backups of GitLab's own tools: what they are called, and which configuration was saved with which data."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterable
from pathlib import Path

# https://docs.gitlab.com/administration/backup_restore/: the folders where nothing else is said.
BACKUPS_IN_POD = "/var/opt/gitlab/backups"
CONFIGS_IN_POD = "/etc/gitlab/config_backup"
SUFFIX = "_gitlab_backup.tar"
# Without it no data can be decrypted.
DECRYPTED_BY = "etc/gitlab/gitlab-secrets.json"
# 1700000000_2026_01_31_19.3.0: it becomes part of a path and of a command. First the second in which it was begun.
NAME = re.compile(r"[0-9]+_[0-9]{4}_[0-9]{2}_[0-9]{2}_[0-9]+\.[0-9]+\.[0-9]+(-[a-z]+)?")
# gitlab-ctl backup-etc: gitlab_config_1700000000_2026_01_31.tar. A file from elsewhere is put beside them with the time
# of its data, and a word that keeps it from taking the place of another.
_CONFIG = re.compile(r"gitlab_config_([0-9]+)_[0-9]{4}_[0-9]{2}_[0-9]{2}(_restored)?\.tar")
# The lab saves both one after the other; by hand somebody may save the configuration after hours of data.
SAME_NIGHT = 12 * 3600


def saved_with(backup: str, names: Iterable[str]) -> list[str]:
    """Return the backups of the configuration that were saved in the same night as one of the data, the nearest first.

    Args:
        backup: the name of the backup of the data.
        names: what lies in a folder, such as parts of files and what somebody put there.
    """
    made = _second(backup)
    found = [(abs(int(match[1]) - made), not match[2], match[0]) for match in map(_CONFIG.fullmatch, names) if match]
    return [name for apart, _, name in sorted(found) if apart <= SAME_NIGHT]


def configuration_name(backup: str) -> str:
    """Return how a configuration from elsewhere is called beside those that the pod has itself."""
    return f"gitlab_config_{'_'.join(backup.split('_')[:4])}_restored.tar"


def apart(backup: str, configuration: str) -> str:
    """Say how long before or after the data a configuration was saved."""
    found = _CONFIG.fullmatch(configuration)
    if found is None or found[2]:
        return "given with it"
    seconds = int(found[1]) - _second(backup)
    size = abs(seconds)
    words = f"{size} s" if size < 120 else f"{size // 60} min" if size < 7200 else f"{size // 3600} h"
    return f"saved {words} {'after' if seconds > 0 else 'before'} it"


def _second(backup: str) -> int:
    return int(backup.partition("_")[0])


def holds_secrets(file: Path) -> bool:
    """Say whether a file is a complete archive that holds gitlab-secrets.json."""
    try:
        with tarfile.open(file) as archive:
            return any(name.endswith(DECRYPTED_BY) for name in archive.getnames())
    except (OSError, EOFError, tarfile.TarError):
        return False
