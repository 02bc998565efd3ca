"""Rules for names: hosts, DNS labels, e-mail addresses, group paths, users, paths. Each returns a message, or None."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from typing import Any

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
# Characters that a name loses on its way into DNS (UTS 46: "ignored"), such as soft hyphens and variation selectors.
_IGNORED = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0100-\U000e01ef]"
)
# Top-level routes of GitLab's own pages (lib/gitlab/path_regex.rb; https://docs.gitlab.com/user/reserved_names/).
RESERVED_GROUPS = frozenset(
    "- .well-known 404.html 422.html 500.html 502.html 503.html admin api apple-touch-icon.png assets dashboard"
    " deploy.html explore favicon.ico favicon.png files groups health_check help import invites jwt login oauth"
    " profile projects public robots.txt s search sitemap sitemap.xml sitemap.xml.gz slash-command-logo.png snippets"
    " unsubscribes uploads users v2".split()
)
# Names that no group or project below another group may carry (PROJECT_WILDCARD_ROUTES and GROUP_ROUTES).
RESERVED_SUBGROUPS = frozenset(
    "- badges blame blob builds commits create create_dir edit files find_file new preview raw refs tree update wikis".split()
)
# The same of two names, one below the other.
RESERVED_PAIRS = ("environments/folders", "gitlab-lfs/objects", "info/lfs")
# GitLab's limits: levels below the top group, and characters of a whole path (app/models/route.rb).
MOST_SUBGROUPS = 20
LONGEST_PATH = 255
# What a project cannot be called (PROJECT_WILDCARD_ROUTES).
RESERVED_PROJECTS = RESERVED_SUBGROUPS
# Folders that belong to the system of a node or a storage server.
SYSTEM_FOLDERS = frozenset("bin boot dev etc lib lib64 proc root run sbin sys tmp usr".split())
# Domains that no public certificate authority signs (RFC 6762, RFC 8375, RFC 2606, ICANN's .internal; common habits).
PRIVATE_SUFFIXES = (
    "lab",
    "local",
    "lan",
    "internal",
    "home.arpa",
    "home",
    "localdomain",
    "corp",
    "intranet",
    "private",
    "test",
    "invalid",
    "fritz.box",
)
# Names that never lead to Traefik from outside: each machine's own (RFC 6761), and the cluster's.
CAPTURED_SUFFIXES = {
    "localhost": "leads each machine to itself",
    "cluster.local": "leads to the cluster's own services",
}


def dns_label(value: Any) -> str | None:
    """Check one DNS label (RFC 1123): at most 63 of a-z, 0-9 and inner dashes."""
    if not isinstance(value, str) or not value:
        return f"{value!r} is not a name; give letters, digits and dashes, such as `homelab`"
    if _LABEL.fullmatch(value):
        return None
    if len(value) > 63:
        return f"`{value}` has {len(value)} characters; a DNS label has at most 63"
    return f"`{value}` is not a DNS label (a-z, 0-9 and dashes inside); did you mean `{slug(value)}`?"


def slug(value: str, fallback: str = "homelab") -> str:
    """Return the DNS label nearest to *value*: lower case, runs of other characters as one dash, 63 characters at most."""
    return re.sub(r"[^a-z0-9]+", "-", value.lower())[:63].strip("-") or fallback


def dns_name(value: Any, example: str = "gitlab.lab.example.com") -> str | None:
    """Check a host name (RFC 1123): lower-case labels with dots, at most 253 characters, no scheme, port, path or address."""
    if not isinstance(value, str) or not value:
        return f"{value!r} is not a host name; give one such as `{example}`"
    bare = re.sub(r"^[a-z][a-z0-9+.-]*://", "", value.strip(), flags=re.IGNORECASE).split("/")[0].rstrip(".")
    if "://" in value or "/" in value:
        return f"`{value}` is a URL; give the host only: `{bare.split(':')[0].lower()}`"
    if value != value.strip():
        return f"`{value}` has blanks around it; did you mean `{value.strip()}`?"
    if _address(re.sub(r":[0-9]+$", "", value) if value.count(":") == 1 else value.strip("[]")) is not None:
        return f"`{value}` is an address; certificates and Traefik's rules need a name, such as `{example}`"
    if re.fullmatch(r"[^:]+:\d+", value):
        return f"`{value}` has a port; give the host only: `{value.split(':')[0].lower()}`"
    if value.startswith("*."):
        return f"`{value}` is a wildcard; give one host, such as `{example}`"
    if len(value) > 253:
        return f"`{value[:20]}…` has {len(value)} characters; a host name has at most 253"
    if value.endswith("."):
        return f"`{value}` ends in a dot; did you mean `{bare}`?"
    if value != value.lower():
        return f"`{value}` has capital letters; did you mean `{value.lower()}`?"
    if value.split(".")[-1].isdigit():
        return f"`{value}` ends in a number, so it is taken for an address, and is none; give one such as `{example}`"
    if (ascii_name := _punycode(value)) not in (None, value):
        return f"`{value}` has letters beyond a to z; DNS knows it as `{ascii_name}`; write it so"
    for label in value.split("."):
        if not _LABEL.fullmatch(label):
            return f"`{value}` is not a host name: {label!r} is not a DNS label (a-z, 0-9, dashes inside, 1 to 63 characters)"
    return None


def _punycode(value: str) -> str | None:
    """Return a host name as DNS writes it, or None where it has no such form.

    As browsers and registries do it (IDNA 2008 by UTS 46, nontransitional): `ß` stays a letter, where Python's own codec, IDNA 2003,
    makes `ss` of it, which is another name.
    """
    text = re.sub("[\u3002\uff0e\uff61]", ".", _IGNORED.sub("", value.replace("ẞ", "ß")))
    folded = "".join(one if one in "ßς" else unicodedata.normalize("NFKC", one).casefold() for one in text)
    mapped = unicodedata.normalize("NFKC", folded)
    labels = [
        label if label.isascii() else f"xn--{label.encode('punycode').decode('ascii')}" for label in mapped.split(".")
    ]
    return ".".join(labels) if all(_LABEL.fullmatch(label) for label in labels) else None


def served_name(value: Any, example: str) -> str | None:
    """Check a host that Traefik answers for: a name that leads there from the nodes and from the owner's desk."""
    if (problem := dns_name(value, example)) is not None:
        return problem
    for suffix, why in CAPTURED_SUFFIXES.items():
        if value == suffix or value.endswith(f".{suffix}"):
            return f"`{value}` {why}, never to Traefik; give another name, such as `{example}`"
    return None


def registry_name(value: Any) -> str | None:
    """Check a registry's host: Docker takes a first path part without a dot for a repository on Docker Hub."""
    problem = served_name(value, "registry.lab.example.com")
    if problem is None and "." not in value:
        return f"`{value}` has no dot, so Docker would look for it on Docker Hub; did you mean `{value}.lab`?"
    return problem


def host_or_address(value: Any) -> str | None:
    """Check a machine's name or address, IPv4 or IPv6."""
    example = "storage.lab.example.com` or `192.168.1.10"
    address = _address(value.strip("[]")) if isinstance(value, str) else None
    if address is None:
        return dns_name(value, example)
    if value != str(address):
        return f"`{value}` is usually written `{address}`; write it so"
    if address.is_unspecified or address.is_multicast or value == "255.255.255.255":
        return f"`{value}` is not the address of one machine; give one such as `{example}`"
    if "%" in value:
        return f"`{value}` holds the name of a network card, which differs from machine to machine; give one such as `{example}`"
    return None


def is_loopback(value: str) -> bool:
    """Say whether *value*, a host's name or address, is the machine itself."""
    address = _address(value)
    return value == "localhost" if address is None else address.is_loopback


def _address(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        return None


def is_private_name(host: str) -> bool:
    """Say whether no public certificate authority signs *host*: a single label, or below a private suffix."""
    return "." not in host or any(host == suffix or host.endswith("." + suffix) for suffix in PRIVATE_SUFFIXES)


def email(value: Any) -> str | None:
    """Check an e-mail address: one @, a plain local part (RFC 5321, without quoting), a host name; at most 254 characters."""
    if not isinstance(value, str) or value.count("@") != 1:
        return f"{value!r} is not an e-mail address; give one such as `admin@lab.example.com`"
    local, host = value.split("@")
    if not re.fullmatch(r"[A-Za-z0-9_+'-]+(\.[A-Za-z0-9_+'-]+)*", local) or len(local) > 64:
        return f"`{value}`: {local!r} before the @ may hold letters, digits, `_`, `+`, `-`, `'` and single dots, 64 at most"
    if len(value) > 254:
        return f"`{value[:20]}…` has {len(value)} characters; an e-mail address has at most 254"
    if _address(host.strip("[]")) is not None:
        return f"`{value}`: `{host}` is an address; give the mail domain's name, such as `lab.example.com`"
    problem = dns_name(host.lower(), "lab.example.com")
    return f"`{value}`: {problem}" if problem else None


def is_public_mail(value: str) -> bool:
    """Say whether Let's Encrypt takes an address for an account: it refuses domains that are kept for examples (RFC 2606), or private."""
    host = value.rpartition("@")[2].lower()
    kept = host.split(".")[-1] == "example" or any(
        host == one or host.endswith(f".{one}") for one in ("example.com", "example.net", "example.org")
    )
    return "@" in value and not kept and not is_private_name(host)


def server_with_port(value: Any) -> str | None:
    """Check a server's name or address with an optional port: `ns1.example.com`, `192.168.1.53:5353`, `[fd00::53]:53`, `fd00::53`."""
    if not isinstance(value, str):
        return f"`{value}` is no server; give one such as `ns1.lab.example.com`"
    host, colon, port = value.rpartition(":")
    if not colon or (value.count(":") > 1 and not value.startswith("[")) or value.endswith("]"):
        return host_or_address(value)
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        return f"`{value}` does not end in a port (1 to 65535); give one such as `{host or 'ns1.lab.example.com'}:53`"
    return host_or_address(host)


def display_name(value: Any) -> str | None:
    """Check a sender's name: one line, at most 100 characters, nothing unprintable."""
    if not isinstance(value, str) or not value.strip():
        return "the name is empty; give one such as `GitLab`"
    if len(value) > 100:
        return f"the name has {len(value)} characters; 100 at most"
    hidden = next((character for character in value if not character.isprintable()), None)
    return f"the name holds {hidden!r}; give one line of printable text, such as `GitLab`" if hidden else None


def group_path(value: Any) -> str | None:
    """Check a GitLab group path, subgroups with slashes (https://docs.gitlab.com/user/reserved_names/)."""
    if not isinstance(value, str) or not value:
        return f"{value!r} is not a group path; give one such as `homelab`"
    if value.count("/") > MOST_SUBGROUPS:
        return f"`{value}` lies {value.count('/')} levels deep; GitLab has {MOST_SUBGROUPS} levels of subgroups at most"
    for depth, part in enumerate(value.split("/")):
        if not re.fullmatch(r"[A-Za-z0-9](?:[._-]?[A-Za-z0-9])*", part):
            return (
                f"`{value}`: {part!r} is not a GitLab path; letters and digits with single `.`, `_` or `-` between them,"
                " such as `HomeLAB`"
            )
        if re.search(r"\.(git|atom)$", part, flags=re.IGNORECASE):
            return (
                f"`{value}` ends in `.git` or `.atom`, which GitLab refuses; did you mean `{part.rsplit('.', 1)[0]}`?"
            )
        if part.lower() in (RESERVED_SUBGROUPS if depth else RESERVED_GROUPS):
            return f"`{value}`: `{part}` is a name that GitLab keeps for itself; did you mean `{part}-group`?"
        if len(part) > 200:
            return f"`{part[:20]}…` has {len(part)} characters; a group path has at most 200"
    below = f"/{value.lower()}/".split("/", 2)[2]
    pair = next((pair for pair in RESERVED_PAIRS if f"/{pair}/" in f"/{below}"), None)
    if pair is not None:
        return f"`{value}`: `{pair}` is a path that GitLab keeps for itself; rename one of the two"
    if value.lower() == "root":
        return f"`{value}` is the administrator's own namespace; give the group another path, such as `homelab`"
    return None


def linux_user(value: Any) -> str | None:
    """Check a Linux user name (useradd(8)): lower case, digits, `_`, `-` and dots inside, 32 characters at most."""
    if isinstance(value, str) and re.fullmatch(r"[a-z_][a-z0-9_.-]{0,31}", value) and not value.endswith("."):
        return None
    return f"{value!r} is not a Linux user name; a-z, 0-9, `_`, `-` and dots inside, 32 at most, such as `cloud-user`"


def absolute_path(value: Any, example: str = "/storage", home: str = "") -> str | None:
    """Check an absolute path of plain characters: it reaches shell scripts, manifests and mount tables.

    Args:
        value: the path.
        example: one that is right, for the messages.
        home: a folder of the system that is the user's own, such as `root`.
    """
    if not isinstance(value, str) or not value.startswith("/"):
        return f"{value!r} is not an absolute path; give one such as `{example}`"
    if value == "/":
        return f"`/` is the whole disk; give a folder, such as `{example}`"
    if value.endswith("/"):
        return f"`{value}` ends in a slash; did you mean `{value.rstrip('/')}`?"
    if "//" in value or {".", ".."} & set(value.split("/")):
        return f"`{value}` is not in its shortest form; leave out `//`, `.` and `..`"
    if value.split("/")[1] in SYSTEM_FOLDERS - {home}:
        return f"`{value}` belongs to the system; give another folder, such as `{example}`"
    if not re.fullmatch(r"[A-Za-z0-9/._-]+", value):
        return f"`{value}` holds characters other than letters, digits, `/`, `.`, `_` and `-`; rename the folder"
    longest = max(len(part) for part in value.split("/"))
    if longest > 255:
        return f"`{value[:20]}…` has a part of {longest} characters; a folder's name has at most 255"
    if len(value) > 1000:
        return f"`{value[:20]}…` has {len(value)} characters; NFS takes paths up to 1024, and the lab adds some: give 1000 at most"
    return None


def object_name(value: Any) -> str | None:
    """Check the name of a Kubernetes object (RFC 1123 subdomain)."""
    if isinstance(value, str) and len(value) <= 253 and all(_LABEL.fullmatch(part) for part in value.split(".")):
        return None
    return f"{value!r} is not a Kubernetes name; a-z, 0-9, dashes and dots inside, such as `{slug(str(value), 'lab')}`"
