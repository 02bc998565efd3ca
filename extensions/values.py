"""Rules for ports, networks, quantities, durations, versions and times. Each returns a message, or None."""

from __future__ import annotations

import difflib
import functools
import ipaddress
import re
import zoneinfo
from collections.abc import Sequence
from typing import Any

from . import names
from .facts import DEFAULT_DOCKER_VERSION, DEFAULT_GITLAB_VERSION

_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_DAYS = "sun mon tue wed thu fri sat".split()
_CRON_FIELDS = (
    ("a minute", 0, 59, ()),
    ("an hour", 0, 23, ()),
    ("a day of the month", 1, 31, ()),
    ("a month", 1, 12, _MONTHS),
    ("a day of the week", 0, 6, _DAYS),
)
# RFC 1918 and RFC 4193.
_PRIVATE = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")]
_BYTES = {"Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h))+")
# The longest that each month gets, January first.
_DAYS_IN_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
# No network of one owner is wider, by version; a fourth of all addresses is a slip.
_WIDEST = {4: 8, 6: 32}
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


def port(value: Any) -> str | None:
    """Check a TCP port, 1 to 65535."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        return f"`{value}` is not a TCP port; give a number from 1 to 65535"
    return None


def whole_number(value: Any, low: int, high: int, unit: str) -> str | None:
    """Check an integer between *low* and *high*, both included; *unit* says what is counted."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        return f"`{value}` is out of range; give {low} to {high} {unit}"
    return None


def listed(value: Any, example: str) -> str:
    """Return how to write a list, made of what was given instead of one where that is possible."""
    if isinstance(value, str) and re.fullmatch(r"[\w./:-]+(?:[ ,]+[\w./:-]+)*", value):
        return f"did you mean `[{', '.join(re.split('[ ,]+', value))}]`?"
    return f"give one such as `{example}`"


def networks(
    value: Any,
    example: str = "[10.42.0.0/16]",
    harm: str = "anyone could forge the client's address; give the pod network",
) -> str | None:
    """Check a list of networks in CIDR form: no host bits, no overlap, not the whole internet.

    Args:
        value: the list.
        example: a list that is right, for the messages.
        harm: what comes of a network that is too wide, and what to give instead.
    """
    if not isinstance(value, list) or not value:
        return f"{value!r} is not a list of networks; {listed(value, example) if '/' in str(value) else f'give one such as `{example}`'}"
    seen: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
    for item in value:
        if not isinstance(item, str) or "/" not in item:
            return f"`{item}` is not a network; give it with its prefix, such as `10.42.0.0/16`"
        try:
            network = ipaddress.ip_network(item, strict=False)
        except ValueError:
            return f"`{item}` is not a network; give one such as `10.42.0.0/16`"
        if str(network) != item:
            if ipaddress.ip_interface(item).ip != network.network_address:
                return f"`{item}` has host bits set; did you mean `{network}`?"
            return f"`{item}` is usually written `{network}`; write it so"
        if network.prefixlen == 0:
            return f"`{item}` is the whole internet, so {harm}"
        if network.prefixlen < _WIDEST[network.version]:
            return f"`{item}` is a large part of the internet, so {harm}"
        if network.is_multicast or network.is_loopback:
            return f"`{item}` is not a network of machines; give one such as `{example}`"
        overlap = next((other for other in seen if other.version == network.version and network.overlaps(other)), None)
        if overlap is not None:
            return f"`{item}` and `{overlap}` overlap; keep the wider one only"
        seen.append(network)
    return None


def private_range(value: list[str]) -> str | None:
    """Check that no network in the list, each sound by itself, is a whole private range: the LAN would be in it."""
    for item in value:
        network = ipaddress.ip_network(item)
        if any(network.version == wide.version and network.supernet_of(wide) for wide in _PRIVATE):  # type: ignore[arg-type]
            return f"`{item}` contains your LAN, so anyone there could forge the client's address; give the pods' part, such as `10.42.0.0/16`"
    return None


def quantity(value: Any, least: str, what: str) -> str | None:
    """Check a size as Kubernetes writes it (resource.Quantity), in whole binary or decimal units.

    Args:
        value: the size, such as `50Gi`.
        least: the smallest size that *what* can live in.
        what: what fills it, for the message.
    """
    if not isinstance(value, str) or not re.fullmatch(r"[1-9][0-9]{0,5}(Mi|Gi|Ti|Pi|M|G|T|P)", value):
        return f"`{value}` is not a size; give a whole number with its unit, such as `50Gi` or `500Mi`"
    if _bytes(value) < _bytes(least):
        return f"`{value}` is too small for {what}; give `{least}` or more"
    if _bytes(value) > _BYTES["Pi"]:
        return f"`{value}` is more than any storage at home holds; give `1Pi` or less"
    return None


def _bytes(size: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(\D+)", size).groups()  # type: ignore[union-attr]
    return int(number) * _BYTES[unit]


def duration(value: Any) -> str | None:
    r"""Check a duration as Flux writes it, from ten seconds to a day (fluxcd.io: ^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$)."""
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        return f"`{value}` is not a duration; give one such as `1m`, `30s` or `1h30m`"
    total = sum(float(number) * _SECONDS[unit] for number, unit in re.findall(r"([0-9.]+)(ms|s|m|h)", value))
    if total < 10:
        return f"`{value}` would ask GitLab more often than every ten seconds; give `10s` or more"
    if total > 86400:
        return f"`{value}` is more than a day; give `24h` or less"
    return None


def cron(value: Any) -> str | None:
    """Check a schedule of five fields as Kubernetes' CronJob reads it: one minute of an hour, on a day that comes."""
    if not isinstance(value, str) or len(value.split(" ")) != 5 or value != " ".join(value.split()):
        return f"`{value}` is not a schedule; give five fields, such as `0 3 * * *` (every night at three)"
    fields = []
    for text, (name, low, high, words) in zip(value.split(), _CRON_FIELDS, strict=True):
        items = [_cron_item(item.lower(), low, high, words) for item in text.split(",")]
        if not all(items):
            return f"`{value}`: `{text}` is not {name} ({low} to {high}); an example is `0 3 * * *`"
        fields.append(set().union(*items))
    minutes, _, days, months, _ = fields
    if len(minutes) > 1:
        return f"`{value}` would start a backup more than once an hour; give one minute, as in `0 3 * * *`"
    # Beside a day of the week, the day of the month is not needed: either is enough.
    if value.split()[4].startswith("*") and not any(
        day <= _DAYS_IN_MONTH[month - 1] for day in days for month in months
    ):
        return f"`{value}` never comes, because no such month has that day; give another, as in `0 3 1 * *` (on the first of each month)"
    return None


def _cron_item(item: str, low: int, high: int, words: Sequence[str]) -> set[int]:
    """Return the numbers that an item of a field stands for, such as `1-5/2`; none where it is wrong."""
    span, slash, step = item.partition("/")
    if slash and not (re.fullmatch("[0-9]{1,2}", step) and 1 <= int(step) <= high):
        return set()
    ends = []
    for part in (f"{low}-{high}" if span == "*" else span).split("-"):
        if part in words:
            ends.append(words.index(part) + low)
        elif re.fullmatch("[0-9]{1,2}", part):
            ends.append(int(part))
        else:
            return set()
    if len(ends) > 2 or ends != sorted(ends) or not all(low <= end <= high for end in ends):
        return set()
    # A step after a single number goes on to the highest.
    last = high if slash and len(ends) == 1 else ends[-1]
    return set(range(ends[0], last + 1, int(step or 1)))


@functools.lru_cache(maxsize=1)
def time_zones() -> frozenset[str]:
    """Return the IANA time zones that this machine knows; to find them, Python walks through a folder of 600 files."""
    return frozenset(zoneinfo.available_timezones())


def time_zone(value: Any) -> str | None:
    """Check an IANA time zone. Where this machine has no time zone data, the form alone is checked."""
    known = time_zones() - {"localtime", "Factory", "posixrules"}
    if isinstance(value, str) and (
        value in known if known else re.fullmatch(r"[A-Z][A-Za-z_+-]+(/[A-Za-z0-9_+-]+)*", value)
    ):
        return None
    word, lower = str(value).strip().lower().replace(" ", "_"), {name.lower(): name for name in sorted(known)}
    near = [name for key, name in lower.items() if word and word in key]
    near += [lower[key] for key in difflib.get_close_matches(word, lower, n=1)]
    return f"`{value}` is not an IANA time zone; " + (
        f"did you mean `{near[0]}`?" if near else "give one such as `Europe/Warsaw`"
    )


def gitlab_version(value: Any) -> str | None:
    """Check an exact version of GitLab, 19.2 or newer: older ones ignore the NGINX settings that the lab writes."""
    if isinstance(value, str) and re.fullmatch(r"[0-9.]+-(ce|ee)\.[0-9]+", value):
        return f"`{value}` is an image tag; give the version only: `{value.split('-')[0]}`"
    if not isinstance(value, str) or not re.fullmatch(r"(0|[1-9][0-9]?)(\.(0|[1-9][0-9]?)){2}", value):
        return f"`{value}` is not an exact version; give one such as `{DEFAULT_GITLAB_VERSION}`"
    if version(value)[1] > 11:
        return f"`{value}` does not exist: after x.11 comes the next major version; give one such as `{DEFAULT_GITLAB_VERSION}`"
    if version(value) < (19, 2):
        return f"`{value}` is too old: GitLab reads the NGINX settings of this lab from 19.2 on; give `{DEFAULT_GITLAB_VERSION}` or newer"
    return None


def docker_version(value: Any) -> str | None:
    """Check an exact version of Docker, 29 or newer: the first whose daemon, freshly made, lets a build keep its layers in the registry.

    Source: docs.docker.com/build/cache/backends ("docker" driver) and docs.docker.com/engine/storage/containerd.
    """
    if not isinstance(value, str) or not re.fullmatch(r"[1-9][0-9]?(\.(0|[1-9][0-9]?)){2}", value):
        return f"`{value}` is not an exact version; give one such as `{DEFAULT_DOCKER_VERSION}`, without `-dind`"
    if version(value) < (29,):
        return (
            f"`{value}` is too old to keep a build's layers in the registry; give `{DEFAULT_DOCKER_VERSION}` or newer"
        )
    return None


def version(value: str) -> tuple[int, ...]:
    """Return the parts of a dotted version as numbers, so that versions compare."""
    return tuple(int(part) for part in value.split("."))


def git_url(value: Any) -> str | None:
    """Check a repository's URL as Flux takes it: https://…git or ssh://user@host[:port]/…git, without a password."""
    if not isinstance(value, str):
        return f"{value!r} is not a URL; give one such as `https://git.lab.example.com/homelab/lab.git`"
    scp = re.fullmatch(r"([\w.-]+@[\w.-]+)(?:(:[0-9]+)/|:/?)(.+)", value)
    if scp:
        return f"`{value}` is in scp style, which Flux does not read; write `ssh://{scp[1]}{scp[2] or ''}/{scp[3]}`"
    if re.match(r"https?://[^/]*@|ssh://[^/@]*:[^/]*@", value):
        return "the URL carries a user or a password, which would be in Git; leave it out, the bootstrap asks for it"
    host = r"[^/:@\s\[\]]+|\[[0-9a-f:]+\]"
    path = r"(?:/[A-Za-z0-9._~+-]+)+"
    parts = re.fullmatch(rf"(?:https://|ssh://[A-Za-z0-9_-]+@)({host})(?::(0|[1-9][0-9]{{0,4}}))?({path})/?", value)
    if not parts or {".", "..", ".git"} & set(parts[3].split("/")):
        return f"`{value}` is not a Git URL; give `https://host/path.git` or `ssh://git@host:port/path.git`"
    if (found := names.host_or_address(parts[1].strip("[]"))) is not None:
        return f"`{value}`: {found}"
    if not value.endswith(".git"):
        return f"`{value}` does not end in `.git`; did you mean `{value.rstrip('/').removesuffix('.git')}.git`?"
    return port(int(parts[2])) if parts[2] else None


def git_branch(value: Any) -> str | None:
    """Check a branch's name (git-check-ref-format(1), with plain characters only)."""
    ok = (
        isinstance(value, str)
        and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._/-]*", value)
        and not re.search(r"\.\.|//|/\.|\.lock(/|$)|[./]$", value)
        and len(value) <= 200
        and value != "HEAD"
    )
    if ok and value.startswith("refs/"):
        return f"`{value}` is a whole reference; give the branch's name only: `{re.sub('^refs/(heads/)?', '', value)}`"
    return None if ok else f"{value!r} is not a branch name; give one such as `main`"
