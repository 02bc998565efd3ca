"""What the container registry takes of GitLab's volume, and whether what no tag leads to goes by itself."""

from __future__ import annotations

import re

from .lab import Lab

# Where GitLab's package keeps layers.
IMAGES = "/var/opt/gitlab/gitlab-rails/shared/registry"
# A large registry on a slow disk: a status that waits for minutes helps nobody.
SECONDS = 20
# The registry says in each answer whether it has a database, which is what collects its garbage:
# docs.gitlab.com/administration/packages/container_registry_metadata_database/
HEADER = "gitlab-container-registry-database-enabled"
SCRIPT = f"""timeout {SECONDS} du -sk {IMAGES} 2>/dev/null
/opt/gitlab/embedded/bin/curl -s -m 5 -o /dev/null -D - http://127.0.0.1:5000/v2/ || true"""
_UNITS = ("KiB", "MiB", "GiB", "TiB")


def line(lab: Lab) -> str:
    """Return a line for `./lab status`.

    The volume is measured, not asked of GitLab: its own figure needs a token, and leaves out what no tag leads to.
    """
    return in_words(lab.pod.run("sh", "-c", SCRIPT).out)


def cache_line(lab: Lab) -> str:
    """Return a line for `./lab status` on the cache of Docker Hub, as far as its pod answers."""
    place = ["-n", lab.settings.app_namespace, "deploy/docker-hub-cache"]
    said = lab.programs.run(
        ["kubectl", "exec", *place, "--", "sh", "-c", f"timeout {SECONDS} du -sk /var/lib/registry"]
    ).out
    size = re.match(r"([0-9]+)\s", said)
    return f"cache of Docker Hub: {amount(int(size[1]))}" if size else "cache of Docker Hub: not measured"


def in_words(said: str) -> str:
    """Return what the pod said of its registry, in words."""
    size = re.search(r"^([0-9]+)\s+/", said, re.MULTILINE)
    takes = f"registry: {amount(int(size[1]))} of images" if size else f"registry: not measured within {SECONDS} s"
    database = re.search(rf"^{HEADER}: *(\w+)", said, re.MULTILINE | re.IGNORECASE)
    if database is None:
        return takes
    if database[1] == "true":
        return f"{takes}; untagged images are removed after a day"
    return f"{takes}; what no tag leads to stays, as the registry has no database: docs/registry.md"


def amount(kib: int) -> str:
    """Return an amount of storage in the largest unit that leaves at least one."""
    size, units = float(kib), list(_UNITS)
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.0f} {units[0]}" if units[0] == _UNITS[0] else f"{size:.1f} {units[0]}"
