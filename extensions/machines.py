"""Rules for the machines that the lab makes. iac/runner-variables.tf refuses the same in OpenTofu's words; a test draws values for both.

Forms of Proxmox: its API's schema (pve.proxmox.com/pve-docs/api-viewer). Forms of keys: sshd(8), RFC 4253 and RFC 5656.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from . import names, values
from .answers import Answers
from .facts import DEFAULT_VM_IMAGE, IAC_NAME

# k3s' network of Services, which no question asks for (docs.k3s.io/cli/server, --service-cidr).
SERVICE_NETWORK = "10.43.0.0/16"
# Users and groups that Debian's and Ubuntu's cloud images have, or sudo means something by: cloud-init cannot make them, or makes more of them.
TAKEN_USERS = frozenset(
    "_apt _chrony adm admin audio backup bin cdrom crontab daemon dhcpcd dialout dip disk docker fax floppy games input irc kmem kvm"
    " landscape list lp lxd mail man messagebus netdev news nobody nogroup operator plugdev polkitd proxy render root sasl sgx shadow"
    " src sshd staff sudo sync sys syslog systemd-journal systemd-network systemd-resolve systemd-timesync tape tcpdump tss tty users"
    " utmp uucp uuidd video voice wheel www-data".split()
)
# What a public key of each type begins with, and how many characters it has: its type and its curve are in them.
_KEYS = {
    "ssh-ed25519": ("AAAAC3NzaC1lZDI1NTE5AAAAI", 68, 68),
    "ssh-rsa": ("AAAAB3NzaC1yc2EAAAA", 372, 2800),
    "ecdsa-sha2-nistp256": ("AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABB", 140, 140),
    "ecdsa-sha2-nistp384": ("AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABh", 184, 184),
    "ecdsa-sha2-nistp521": ("AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACF", 232, 232),
    "sk-ssh-ed25519@openssh.com": ("AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAI", 96, 300),
    "sk-ecdsa-sha2-nistp256@openssh.com": (
        "AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5jb20AAAAIbmlzdHAyNTYAAABB",
        168,
        400,
    ),
}
_BASE64 = re.compile("(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_URL_PATH = "(?:/[A-Za-z0-9._~+-]+)+"


def usual_gateway(address: Any) -> str:
    """Return the address that the router of a machine's network mostly has, the first; nothing if no address is given yet.

    Args:
        address: the machine's, with its prefix, or `dhcp`.
    """
    try:
        found = ipaddress.IPv4Interface(address)
    except ValueError:
        return ""
    if found.network.prefixlen > 30 or "/" not in str(address):
        return ""
    first = found.network.network_address + 1
    return str(first + 1 if found.ip == first else first)


def runner_machine(value: Any, answers: Answers) -> str | None:
    """Refuse `proxmox` with a user that cloud-init cannot make, and with a lab or group whose place in GitLab the project needs."""
    if value != "proxmox":
        return None
    user = answers["runner_user"]
    if user in TAKEN_USERS or user.startswith("systemd-"):
        return f"`proxmox`: the image has a user or a group `{user}` already; give another runner_user, such as `cloud-user`"
    return project_problem(value, answers)


def project_problem(value: str, answers: Answers) -> str | None:
    """Refuse a lab or a group whose place in GitLab the project for machines needs. *value* is the answer that asks for it."""
    lab_name = answers["lab_name"]
    if lab_name == IAC_NAME:
        return f"`{value}`: the project for machines is called `{IAC_NAME}`, and so is your lab's; give another lab_name, such as `homelab`"
    if f"{lab_name}-ops/{IAC_NAME}" in {group.lower() for group in answers["groups"]}:
        return f"`{value}`: the project for machines is `{lab_name}-ops/{IAC_NAME}`, so no group can have that path; rename the group"
    return None


def proxmox_endpoint(value: Any, answers: Answers) -> str | None:
    """Check the address of Proxmox's API: https, a host, a port or not, and nothing more."""
    example = f"https://pve.{answers['base_domain']}:8006/"
    if not isinstance(value, str) or not re.match("https://", value):
        return f"`{value}` is not an https URL; give one such as `{example}`"
    if "@" in value:
        return f"the URL carries a user, which would be in Git; give one such as `{example}`, the bootstrap asks for the token"
    parts = re.fullmatch(r"https://([^/:@?#\s\[\]]+|\[[0-9a-f:]+\])(?::(0|[1-9][0-9]{0,4}))?(/?)(.*)", value, re.DOTALL)
    if parts is None:
        return f"`{value}` is not a URL of a host; give one such as `{example}`"
    if parts[4]:
        return f"`{value}` goes on after the host; the API's path is known: did you mean `{value[: parts.start(4)].rstrip('/')}/`?"
    host = parts[1].strip("[]")
    if (found := names.host_or_address(host)) is not None:
        return f"`{value}`: {found}"
    if host in (answers["gitlab_host"], answers["registry_host"]):
        return f"`{value}` leads to Traefik, not to Proxmox; give one such as `{example}`"
    if host == answers["runner_host"]:
        return f"`{value}` is the runner's own machine, which Proxmox is to make; give one such as `{example}`"
    return values.port(int(parts[2])) if parts[2] else None


def proxmox_node(value: Any, answers: Answers) -> str | None:
    """Check the name of a node: a DNS label, whose capitals Proxmox keeps."""
    if isinstance(value, str) and re.fullmatch("[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", value):
        return None
    return f"`{value}` is not a node's name: letters, digits and dashes inside, 63 at most; give the one that the web page shows, such as `pve`"


def storage(value: Any, answers: Answers) -> str | None:
    """Check a storage's id: a letter first, a letter or digit last, at least two characters."""
    if isinstance(value, str) and len(value) <= 100 and re.fullmatch("[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]", value):
        return None
    return f"`{value}` is not a storage's ID: a letter, then letters, digits, `-`, `_` and `.`, two at least; give one such as `local-lvm`"


def proxmox_bridge(value: Any, answers: Answers) -> str | None:
    """Check a bridge's name: what Linux takes for a network card, 15 characters at most."""
    if isinstance(value, str) and re.fullmatch("[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}", value):
        return None
    return f"`{value}` is not a bridge's name: letters, digits, `_`, `.` and `-`, 15 at most; give one such as `vmbr0`"


def proxmox_vlan(value: Any, answers: Answers) -> str | None:
    """Check a VLAN, 1 to 4094 (IEEE 802.1Q), or 0 for none."""
    return values.whole_number(value, 0, 4094, "as the VLAN, 0 for none")


def runner_address(value: Any, answers: Answers) -> str | None:
    """Check the machine's address: `dhcp`, or one IPv4 address of a network at home with that network's prefix."""
    example = "192.168.1.20/24"
    if value == "dhcp":
        return None
    if not isinstance(value, str) or "/" not in value:
        near = (
            f"did you mean `{value}/24`?"
            if isinstance(value, str) and _ipv4(value)
            else f"give one such as `{example}`, or `dhcp`"
        )
        return f"`{value}` is not an address with the prefix of its network; {near}"
    address, _, prefix = value.partition("/")
    if _ipv4(address) is None or not re.fullmatch("[1-9]|[12][0-9]|3[0-2]", prefix):
        return (
            f"`{value}` is not an IPv4 address with the prefix of its network; give one such as `{example}`, or `dhcp`"
        )
    found = ipaddress.IPv4Interface(value)
    if not 8 <= found.network.prefixlen <= 30:
        return f"`{value}`: no network at home has the prefix {prefix}; give one from 8 to 30, such as `{example}`"
    if found.ip in (found.network.network_address, found.network.broadcast_address):
        what = "the network itself" if found.ip == found.network.network_address else "the network's broadcast address"
        return f"`{value}` is {what}, not a machine in it; give one such as `{usual_gateway(value)}/{prefix}`"
    if _nobody(found.ip) or found.ip.is_link_local:
        return f"`{value}` is not the address of a machine in a network; give one such as `{example}`"
    for network in (*answers["trusted_proxies"], SERVICE_NETWORK):
        if ":" not in network and found.ip in ipaddress.ip_network(network):
            return f"`{value}` is in `{network}`, which the cluster uses for pods and services; give an address of your network, such as `{example}`"
    host = answers["runner_host"]
    if _ipv4(host) and host != address:
        return f"`{value}` is another address than runner_host, `{host}`; did you mean `{host}/{prefix}`?"
    return None


def runner_gateway(value: Any, answers: Answers) -> str | None:
    """Check the router's address: in the machine's network, and not the machine's."""
    address = answers["runner_address"]
    if address == "dhcp":
        return (
            f"`{value}`: with dhcp the router tells the gateway; leave it out, or give runner_address a fixed one"
            if value
            else None
        )
    machine = ipaddress.IPv4Interface(address)
    example = usual_gateway(address)
    gateway = _ipv4(value)
    if value == "":
        return f"with the fixed address `{address}` the machine needs its router; give the router's address, such as `{example}`"
    if gateway is None:
        return f"`{value}` is not an IPv4 address; give the router's, such as `{example}`"
    if gateway not in machine.network:
        return f"`{value}` is outside `{machine.network}`, the machine's network; give the router's address there, such as `{example}`"
    if gateway == machine.ip:
        return f"`{value}` is the machine's own address; give the router's, such as `{example}`"
    if gateway in (machine.network.network_address, machine.network.broadcast_address):
        return f"`{value}` is not a machine's address in `{machine.network}`; give the router's, such as `{example}`"
    return None


def runner_dns(value: Any, answers: Answers) -> str | None:
    """Check the DNS servers: addresses, three at most, which is what Linux asks (resolv.conf(5))."""
    example = "[192.168.1.1]"
    if not isinstance(value, list):
        return f"{value!r} is not a list of addresses; {values.listed(value, example)}"
    for item in value:
        try:
            address = ipaddress.ip_address(item if isinstance(item, str) else "")
        except ValueError:
            return f"`{item}` is not an address; give the DNS server's, such as `192.168.1.1`"
        usual = address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address
        if str(usual) != item:
            return f"`{item}` is usually written `{usual}`; write it so"
        if _nobody(address) or "%" in item:
            return f"`{item}` is not a DNS server that the machine can ask; give one such as `192.168.1.1`"
    if len(value) > 3:
        return f"`{value[3]}` is the fourth DNS server, and Linux asks three; give 3 at most"
    if len(set(value)) < len(value):
        return f"`{next(item for item in value if value.count(item) > 1)}` is in the list twice; keep it once"
    return None


def runner_ssh_keys(value: Any, answers: Answers) -> str | None:
    """Check the public keys that may log in, one line each as ssh-keygen writes it, of a type that sshd takes."""
    example = "ssh-ed25519 AAAA… me"
    if not isinstance(value, list):
        return f"{_shown(value)} is not a list of public keys; give one such as `[{example}]`"
    for number, item in enumerate(value, start=1):
        if (found := _key_problem(item, example)) is not None:
            return f"key {number}: {found}"
    if len({item.split(" ")[1] for item in value}) < len(value):
        return "one key is in the list twice; keep it once"
    return None


def _key_problem(item: Any, example: str) -> str | None:
    """Return why a text is no public key. A private one is never repeated."""
    if not isinstance(item, str) or "PRIVATE KEY" in item:
        what = "a private key, which would be in Git" if isinstance(item, str) else f"{_shown(item)}, not a text"
        return f"this is {what}; give the line of its .pub file, such as `{example}`"
    kind, _, rest = item.partition(" ")
    body, _, comment = rest.partition(" ")
    if any(not character.isprintable() for character in item):
        return f"`{kind[:40]} …` holds a line break or another character that cannot be seen; give the .pub file's one line"
    if kind == "ssh-dss":
        return "`ssh-dss` is DSA, which sshd refuses; make a key with `ssh-keygen -t ed25519` and give its .pub file's line"
    if kind not in _KEYS:
        return f"`{kind[:40]}` is not a type of key that sshd takes; give the .pub file's line, such as `{example}`"
    begin, least, most = _KEYS[kind]
    if not body.startswith(begin) or not _BASE64.fullmatch(body) or not least <= len(body) <= most:
        return f"`{kind} {body[:20]}…` is cut off, or is a key of another type or strength; give the whole line of the .pub file"
    if rest != body and not re.fullmatch("[!-~](?:[ -~]{0,198}[!-~])?", comment):
        return f"`{kind} {body[:20]}…`: its comment has blanks around it, letters beyond ASCII, or more than 200 characters; shorten it"
    return None


def _shown(value: Any) -> str:
    text = str(value)
    return "this" if "PRIVATE KEY" in text else f"`{text[:40]}`"


def vm_image_url(value: Any, answers: Answers) -> str | None:
    """Check the image's URL: https, one that always leads to the same file, and a name that Proxmox imports."""
    if not isinstance(value, str) or not value.startswith("https://"):
        return f"`{value}` is not an https URL; Proxmox downloads the image from one"
    if "@" in value:
        return "the URL carries a user or a password, which would be in Git; give one that needs none"
    parts = re.fullmatch(rf"https://([A-Za-z0-9.-]+)(?::([1-9][0-9]{{0,4}}))?({_URL_PATH})", value)
    if parts is None or (parts[2] and values.port(int(parts[2]))):
        return f"`{value}` is not a plain URL: a host and a path, without user, query and blanks; give one such as the default"
    if (found := names.host_or_address(parts[1])) is not None:
        return f"`{value}`: {found}"
    if not value.endswith(".qcow2"):
        return f"`{value}` does not end in `.qcow2`, which is what Proxmox imports; give the image in that form"
    if re.search("[^a-z](latest|current)[^a-z]", parts[3]):
        return f"`{value}` leads to another image each time a new one comes out; give one of a date, with its checksum"
    return None


def vm_image_checksum(value: Any, answers: Answers) -> str | None:
    """Check a SHA-512 as sha512sum(1) writes it, and that it is not the usual image's beside the URL of another."""
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{128}", value):
        usual: Answers = {"vm_image_url": DEFAULT_VM_IMAGE["url"], "vm_image_checksum": DEFAULT_VM_IMAGE["checksum"]}
        return stale_checksum(usual, {"vm_image_url": answers["vm_image_url"], "vm_image_checksum": value})
    if isinstance(value, str) and re.fullmatch("[0-9A-Fa-f]{128}", value):
        return f"`{value[:12]}…` has capital letters; write it as sha512sum does, in lower case"
    return (
        f"`{value}` is not a SHA-512: 128 characters of 0-9 and a-f; give the one from the SHA512SUMS beside the image"
    )


def shrinks(recorded: Answers, given: Answers) -> str | None:
    """Return why a disk cannot become that small: Proxmox makes one larger, never smaller. Another VM has another disk."""
    before, after = recorded.get("runner_disk"), given.get("runner_disk")
    if not (isinstance(before, int) and isinstance(after, int)) or after >= before:
        return None
    if recorded.get("runner_machine") != "proxmox" or given.get(
        "runner_vm_id", recorded.get("runner_vm_id")
    ) != recorded.get("runner_vm_id"):
        return None
    return f"`{after}` is smaller than the disk is, `{before}`, and Proxmox cannot shrink a disk; give `{before}` or more, or another runner_vm_id for a new machine"


def stale_checksum(recorded: Answers, given: Answers) -> str | None:
    """Return why a checksum stays behind: the URL has become that of another file, and the checksum has not changed."""
    urls = [str(answers.get("vm_image_url", recorded.get("vm_image_url", ""))) for answers in (recorded, given)]
    before, after = (
        answers.get("vm_image_checksum", recorded.get("vm_image_checksum")) for answers in (recorded, given)
    )
    old, new = (url.rpartition("/")[2] for url in urls)
    if not old or old == new or before != after:
        return None
    return f"`{str(after)[:12]}…` is the checksum of `{old}`, and vm_image_url leads to `{new}` now; give the SHA-512 of that, from the SHA512SUMS beside the image"


def _nobody(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Say whether an address is never that of another machine: the machine itself, a group of machines, or nothing yet."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_loopback or address.is_multicast or address.is_reserved or int(address) >> 24 == 0
    return address.is_loopback or address.is_multicast or address.is_unspecified


def _ipv4(value: Any) -> ipaddress.IPv4Address | None:
    try:
        return ipaddress.IPv4Address(value) if isinstance(value, str) else None
    except ValueError:
        return None


RULES = {
    "runner_machine": runner_machine,
    "proxmox_endpoint": proxmox_endpoint,
    "proxmox_node": proxmox_node,
    "proxmox_image_store": storage,
    "proxmox_disk_store": storage,
    "proxmox_bridge": proxmox_bridge,
    "proxmox_vlan": proxmox_vlan,
    "runner_vm_id": lambda value, _: values.whole_number(value, 100, 999999999, "as the machine's number"),
    "runner_address": runner_address,
    "runner_gateway": runner_gateway,
    "runner_dns": runner_dns,
    "runner_cores": lambda value, _: values.whole_number(value, 1, 128, "cores"),
    "runner_memory": lambda value, _: values.whole_number(value, 1024, 1048576, "MiB"),
    "runner_disk": lambda value, _: values.whole_number(value, 20, 16384, "GB"),
    "runner_ssh_keys": runner_ssh_keys,
    "vm_image_url": vm_image_url,
    "vm_image_checksum": vm_image_checksum,
}
