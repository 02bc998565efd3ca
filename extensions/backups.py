"""Rules for where GitLab's backups are sent.

Names of buckets: docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, which other servers of S3 follow.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from . import aws, names, urls, values
from .answers import Answers

EXAMPLE_ENDPOINT = "https://s3.eu-central-003.backblazeb2.com"
LONGEST_PREFIX = 200


def nfs_server(value: Any, answers: Answers) -> str | None:
    """Check the NFS server of the folder; none for a folder of the node."""
    if value == "":
        return None
    return names.host_or_address(value)


def folder(value: Any, answers: Answers) -> str | None:
    """Refuse what is no folder, and one that is lost together with GitLab's own."""
    if (refusal := names.absolute_path(value, "/mnt/usb/gitlab")) is not None:
        return refusal
    own = f"{answers['storage_root']}/gitlab"
    backends = {answers["storage_backend"], answers["data_backend"]}
    same_place = (
        "host-path" in backends
        if not answers["backup_nfs_server"]
        else "nfs" in backends and answers["backup_nfs_server"] == answers["nfs_server"]
    )
    if same_place and (value == own or value.startswith(f"{own}/") or own.startswith(f"{value}/")):
        return f"`{value}` and GitLab's own folder, `{own}`, overlap, so a lost disk takes both; give a folder of another disk, such as `/mnt/usb/gitlab`"
    return None


def endpoint(value: Any, answers: Answers) -> str | None:
    """Check the address of an S3 server: scheme and host, and a port if it has one; none for AWS."""
    if value == "":
        return None
    parts = urls.server(value, EXAMPLE_ENDPOINT, "the access key")
    if isinstance(parts, str):
        return parts
    if parts.path or "?" in value or "#" in value:
        return f"`{value}` has more than scheme, host and port; did you mean `{parts.scheme}://{parts.netloc}`?"
    host = parts.hostname or ""
    if host.endswith(".amazonaws.com"):
        return f"`{value}` is AWS itself; leave it empty, and give its region as `backup_region`"
    if host in (answers["gitlab_host"], answers["registry_host"]):
        return f"`{value}` is GitLab's own host; give the server that has the bucket, such as `{EXAMPLE_ENDPOINT}`"
    return None


def region(value: Any, answers: Answers) -> str | None:
    """Check a region: AWS's by its form, another server's by its letters."""
    if not answers["backup_endpoint"]:
        return aws.region(value, answers)
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", value):
        return None
    return f"`{value}` is no region; give what the server has in its settings, such as `us-east-1` or `garage`"


def bucket(value: Any, answers: Answers) -> str | None:
    """Check a bucket's name."""
    example = f"{names.slug(str(value))[:50].strip('-')}-backups"
    if not isinstance(value, str) or not value:
        return "a bucket's name is missing; give the one that you have made, such as `homelab-backups`"
    if value.startswith("s3://") or "/" in value:
        return f"`{value}` is an address; give the bucket's name alone, such as `{example}`, and the folder in it as `backup_prefix`"
    if not 3 <= len(value) <= 63:
        return f"`{value[:70]}` has {len(value)} characters; a bucket's name has 3 to 63"
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])", value) or ".." in value:
        return f"`{value}` is not a bucket's name: a-z, 0-9, dashes and dots inside; give one such as `{example}`"
    if "." in value and not answers["backup_endpoint"]:
        return (
            f"`{value}` has a dot, for which AWS's certificate does not hold; did you mean `{value.replace('.', '-')}`?"
        )
    return None


def prefix(value: Any, answers: Answers) -> str | None:
    """Check a folder in a bucket: plain names, one below the other."""
    if isinstance(value, str) and len(value) > LONGEST_PREFIX:
        return f"`{value[:20]}…` has {len(value)} characters; {LONGEST_PREFIX} at most"
    if isinstance(value, str) and value.strip("/") != value and value.strip("/"):
        return f"`{value}` has a slash at its beginning or end; did you mean `{value.strip('/')}`?"
    if not isinstance(value, str) or not re.fullmatch(
        r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*", value
    ):
        return f"`{value}` is no folder in a bucket: letters, digits, `-`, `_`, and dots inside, with `/` between; give one such as `{answers['lab_name']}`"
    return None


RULES: dict[str, Callable[[Any, Answers], str | None]] = {
    "backup_schedule": lambda value, _: values.cron(value),
    "backup_keep_days": lambda value, _: values.whole_number(value, 1, 3650, "days"),
    "backup_nfs_server": nfs_server,
    "backup_folder": folder,
    "backup_endpoint": endpoint,
    "backup_region": region,
    "backup_bucket": bucket,
    "backup_prefix": prefix,
    "backup_target_keep_days": lambda value, _: values.whole_number(value, 1, 3650, "days"),
}
