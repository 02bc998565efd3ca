"""Rules for ports, networks, quantities, durations, versions and times. Each returns a message, or None."""

from __future__ import annotations

import functools
import ipaddress
import re
import zoneinfo
from typing import Any

_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_DAYS = "sun mon tue wed thu fri sat".split()
_CRON_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
# RFC 1918 and RFC 4193.
_PRIVATE = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")]
_BYTES = {"Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
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


def networks(value: Any) -> str | None:
    """Check a list of networks in CIDR form: no host bits, no overlap, not the whole internet."""
    if not isinstance(value, list) or not value:
        return f"{value!r} is not a list of networks; give one such as `[10.42.0.0/16]`"
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
            return f"`{item}` is the whole internet, so anyone could forge the client's address; give the pod network"
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
            return f"`{item}` holds your LAN too, so anyone there could forge the client's address; give the pods' part, such as `10.42.0.0/16`"
    return None


def quantity(value: Any, least: str, what: str) -> str | None:
    """Check a size as Kubernetes writes it (resource.Quantity), in whole binary or decimal units.

    Args:
        value: the size, such as `50Gi`.
        least: the smallest size that *what* can live in.
        what: what fills it, for the message.
    """
    if not isinstance(value, str) or not re.fullmatch(r"[1-9]\d{0,5}(Mi|Gi|Ti|Pi|M|G|T|P)", value):
        return f"`{value}` is not a size; give a whole number with its unit, such as `50Gi` or `500Mi`"
    if _bytes(value) < _bytes(least):
        return f"`{value}` is too small for {what}; give `{least}` or more"
    return None


def _bytes(size: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(\D+)", size).groups()  # type: ignore[union-attr]
    return int(number) * _BYTES[unit]


def duration(value: Any) -> str | None:
    """Check a duration as Flux writes it, from ten seconds to a day (fluxcd.io: ^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$)."""
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        return f"`{value}` is not a duration; give one such as `1m`, `30s` or `1h30m`"
    total = sum(float(number) * _SECONDS[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", value))
    if total < 10:
        return f"`{value}` would ask GitLab more than every ten seconds; give `10s` or more"
    if total > 86400:
        return f"`{value}` is more than a day; give `24h` or less"
    return None


def cron(value: Any) -> str | None:
    """Check a schedule of five fields as Kubernetes' CronJob reads it."""
    if not isinstance(value, str) or len(value.split(" ")) != 5 or value != " ".join(value.split()):
        return f"`{value}` is not a schedule; give five fields, such as `0 3 * * *` (every night at three)"
    for text, (name, low, high, words) in zip(value.split(), _CRON_FIELDS):
        for item in text.split(","):
            if not _cron_item(item.lower(), low, high, words):
                return f"`{value}`: `{text}` is not a {name} ({low} to {high}); an example is `0 3 * * *`"
    return None


def _cron_item(item: str, low: int, high: int, words: list[str] | tuple[str, ...]) -> bool:
    span, _, step = item.partition("/")
    if "/" in item and not (step.isdecimal() and 1 <= int(step) <= high):
        return False
    if span == "*":
        return True
    numbers = []
    for part in span.split("-"):
        if part in words:
            numbers.append(words.index(part) + low)
        elif part.isdecimal() and part.isascii():
            numbers.append(int(part))
        else:
            return False
    return len(numbers) <= 2 and all(low <= number <= high for number in numbers) and numbers == sorted(numbers)


@functools.lru_cache(maxsize=1)
def time_zones() -> frozenset[str]:
    """Return the IANA time zones that this machine knows; to find them, Python walks through a folder of 600 files."""
    return frozenset(zoneinfo.available_timezones())


def time_zone(value: Any) -> str | None:
    """Check an IANA time zone. Where this machine has no time zone data, the form alone is checked."""
    known = time_zones()
    if isinstance(value, str) and (value in known if known else re.fullmatch(r"[A-Z][A-Za-z_+-]+(/[A-Za-z0-9_+-]+)*", value)):
        return None
    near = sorted(name for name in known if str(value).lower().replace(" ", "_") in name.lower())[:1] or ["Europe/Warsaw"]
    return f"`{value}` is not an IANA time zone; did you mean `{near[0]}`?"


def gitlab_version(value: Any) -> str | None:
    """Check an exact version of GitLab, 19.2 or newer: older ones ignore the NGINX settings that the lab writes."""
    if isinstance(value, str) and re.fullmatch(r"\d+\.\d+\.\d+-(ce|ee)\.\d+", value):
        return f"`{value}` is an image tag; give the version only: `{value.split('-')[0]}`"
    if not isinstance(value, str) or not re.fullmatch(r"(0|[1-9]\d?)\.(0|[1-9]\d?)\.(0|[1-9]\d?)", value):
        return f"`{value}` is not an exact version; give one such as `19.3.0`"
    if version(value)[1] > 11:
        return f"`{value}` does not exist: after x.11 comes the next major version; give one such as `19.3.0`"
    if version(value) < (19, 2):
        return f"`{value}` is too old: GitLab reads the NGINX settings of this lab from 19.2 on; give `19.3.0` or newer"
    return None


def docker_version(value: Any) -> str | None:
    """Check an exact version of Docker, 29 or newer: the first whose daemon, freshly made, lets a build keep its layers in the registry.

    Source: docs.docker.com/build/cache/backends ("docker" driver) and docs.docker.com/engine/storage/containerd.
    """
    if not isinstance(value, str) or not re.fullmatch(r"[1-9]\d?\.(0|[1-9]\d?)\.(0|[1-9]\d?)", value):
        return f"`{value}` is not an exact version; give one such as `29.8.1`, without `-dind`"
    if version(value) < (29,):
        return f"`{value}` is too old to keep a build's layers in the registry; give `29.8.1` or newer"
    return None


def version(value: str) -> tuple[int, ...]:
    """Return the parts of a dotted version as numbers, so that versions compare."""
    return tuple(int(part) for part in value.split("."))


def git_url(value: Any) -> str | None:
    """Check a repository's URL as Flux takes it: https://…git or ssh://user@host[:port]/…git, without a password."""
    if not isinstance(value, str):
        return f"{value!r} is not a URL; give one such as `https://git.lab.example.com/homelab/lab.git`"
    scp = re.fullmatch(r"([\w.-]+)@([\w.-]+):(?!/)(.+)", value)
    if scp:
        return f"`{value}` is in scp style, which Flux does not read; write `ssh://{scp[1]}@{scp[2]}/{scp[3]}`"
    if re.match(r"https?://[^/]*@", value):
        return "the URL carries a user or a password, which would stand in Git; leave it out, the bootstrap asks for it"
    host = r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?"
    path = r"(/[A-Za-z0-9._~+-]+)+"
    if not re.fullmatch(rf"(https://|ssh://[A-Za-z0-9_-]+@){host}(:\d{{1,5}})?{path}", value):
        return f"`{value}` is not a Git URL; give `https://host/path.git` or `ssh://git@host:port/path.git`"
    if not value.endswith(".git"):
        return f"`{value}` lacks its suffix; did you mean `{value}.git`?"
    number = re.match(r"[a-z]+://[^/]*?:(\d+)/", value)
    return port(int(number[1])) if number else None


def git_branch(value: Any) -> str | None:
    """Check a branch's name (git-check-ref-format(1), with plain characters only)."""
    ok = (
        isinstance(value, str)
        and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._/-]*", value)
        and not re.search(r"\.\.|//|/\.|\.lock(/|$)|[./]$", value)
        and len(value) <= 200
    )
    return None if ok else f"{value!r} is not a branch name; give one such as `main`"
