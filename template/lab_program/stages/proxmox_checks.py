"""What Proxmox needs before a machine can be made there, each with its fix: asked of its API, changing nothing."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..clients.http import Fault
from ..clients.proxmox import Guest, Node, Proxmox, ProxmoxError, Storage
from ..settings import Settings
from .findings import Finding, Good, Nothing, Problem

CHECK = "proxmox"
CERTIFICATE = "iac/proxmox-ca.crt"
ROLE, IMAGE_ROLE, USER, TOKEN_NAME = "LabMachines", "LabImages", "lab@pve", "lab"
ZONE = "localnetwork"
# What bpg's provider asks for one machine and its image: https://bpg.sh/docs/,
# https://pve.proxmox.com/pve-docs/api-viewer/
OF_MACHINE = (
    "VM.Allocate",
    "VM.Audit",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Cloudinit",
    "VM.Config.Disk",
    "VM.Config.HWType",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.GuestAgent.Audit",
    "VM.PowerMgmt",
)
# An image that is there from before is replaced, and an older one removed: Proxmox lets no lesser right delete one.
OF_IMAGES = ("Datastore.AllocateSpace", "Datastore.AllocateTemplate", "Datastore.Audit", "Datastore.Allocate")
OF_DISKS = ("Datastore.AllocateSpace", "Datastore.Audit")
OF_NODE = ("Sys.AccessNetwork", "Sys.Audit")
OF_BRIDGE = ("SDN.Use",)
OF_CLUSTER = ("Sys.Audit",)
# What a machine that is there listens on, mostly; a refusal is an answer, too.
PORTS, SECONDS = (22, 80, 443), 1.0


@dataclass(frozen=True)
class TokenRefused(Problem):
    """Proxmox does not know the token."""


@dataclass(frozen=True)
class Seen:
    """What Proxmox has of what the lab asks for.

    Attributes:
        nodes, quorate, storages, bridges: as the API tells them; the last two of the lab's node.
        is_free: whether nothing has the machine's number.
        guest: what has it, if the token may see that.
    """

    nodes: Sequence[Node]
    quorate: bool
    storages: Sequence[Storage]
    bridges: Sequence[str]
    is_free: bool
    guest: Guest | None


def rights(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Return the privileges that the token needs, by path."""
    bridge = f"/sdn/zones/{ZONE}/{settings.proxmox_bridge}"
    return {
        "/": OF_CLUSTER,
        f"/nodes/{settings.proxmox_node}": OF_NODE,
        f"/storage/{settings.proxmox_disk_store}": OF_DISKS,
        f"/storage/{settings.proxmox_image_store}": OF_IMAGES,
        f"/vms/{settings.runner_vm_id}": OF_MACHINE,
        bridge + (f"/{settings.proxmox_vlan}" if settings.proxmox_vlan else ""): OF_BRIDGE,
    }


def commands(settings: Settings) -> str:
    """Return the commands for the Proxmox node that make the user, the role, its rights and the token.

    A role at a path takes the place of what comes from above, so it holds all that is needed at each. The right to
    delete counts on the images' storage alone.
    """
    image, disk = f"/storage/{settings.proxmox_image_store}", f"/storage/{settings.proxmox_disk_store}"
    privileges = sorted(
        {one for path, held in rights(settings).items() if path != image for one in held} | set(OF_DISKS)
    )
    roles = {image: f"{ROLE},{IMAGE_ROLE}" if image == disk else IMAGE_ROLE}
    # Machines that the owner adds have other numbers.
    paths = ["/vms" if path.startswith("/vms/") else path for path in rights(settings) if path != "/"]
    paths = [path.removesuffix(f"/{settings.proxmox_vlan}") if path.startswith("/sdn/") else path for path in paths]
    return "\n".join(
        [
            f'pveum role add {ROLE} --privs "{" ".join(privileges)}"',
            f'pveum role add {IMAGE_ROLE} --privs "{" ".join(OF_IMAGES)}"',
            f"pveum user add {USER}",
            f"pveum acl modify / --users {USER} --roles PVEAuditor",
            *(f"pveum acl modify {path} --users {USER} --roles {roles.get(path, ROLE)}" for path in paths),
            f"pveum user token add {USER} {TOKEN_NAME} --privsep 0",
        ]
    )


def look(
    proxmox: Proxmox, settings: Settings, keys: Sequence[str], answers: Callable[[str, int], bool] | None = None
) -> Iterator[Finding]:
    """Say what is missing for the lab's machine, everything at once as far as it can be seen.

    Args:
        keys: the public keys that the machine would get.
        answers: says whether something answers at an address and a port.
    """
    try:
        version, nodes = proxmox.version(), proxmox.nodes()
        held = {path: proxmox.permissions(path) for path in rights(settings)}
        away = list(node_problems(nodes, settings))
        problems = [*right_problems(held, settings), *away]
        if problems:
            # What the token may not see, or a node that is away has, cannot be judged; a name that is wrong can.
            sees = not away and "Datastore.Audit" in proxmox.permissions("/storage")
            yield from problems
            yield from unknown_storages(proxmox.storages(settings.proxmox_node), settings) if sees else ()
            return
        node, number = settings.proxmox_node, settings.runner_vm_id
        quorate, storages, bridges = proxmox.is_quorate(), proxmox.storages(node), proxmox.bridges(node)
        seen = Seen(nodes, quorate, storages, bridges, proxmox.number_is_free(number), proxmox.guest(number))
    except ProxmoxError as error:
        yield reach_problem(error, settings)
        return
    problems = list(machine_problems(seen, settings))
    yield from problems
    if not problems:
        yield Good(f"Proxmox {version}: the token's rights, the node {node}, its storages and its bridge")
    if seen.is_free:
        yield key_finding(keys)
        yield address_finding(settings, answers or _answers)


def key_finding(keys: Sequence[str]) -> Finding:
    """Say whether anybody could log in to a new machine."""
    if keys:
        return Good(f"{len(keys)} public key(s) for the new machine")
    fix = "ssh-keygen -t ed25519; or ./lab update --data runner_ssh_keys='[…]' with the line of a .pub file"
    return Problem("ssh-key", "there is no public SSH key in ~/.ssh that the new machine could get", fix)


def reach_problem(error: ProxmoxError, settings: Settings) -> Problem:
    """Say why Proxmox did not answer, or not as it should."""
    endpoint = settings.proxmox_endpoint
    host = re.sub(r"^https://|[:/].*", "", endpoint)
    if error.fault is Fault.CERTIFICATE and re.search("[Hh]ostname|IP address", str(error)):
        what = f"the certificate of {endpoint} is for another name ({error})"
        return Problem(CHECK, what, f"answer proxmox_endpoint with a name that it has: pvenode cert info on {host}")
    if error.fault is Fault.CERTIFICATE:
        return Problem(
            CHECK,
            f"the certificate of {endpoint} is not trusted here ({error})",
            f"copy the certificate of Proxmox's own authority, and commit it:\n"
            f"scp root@{host}:/etc/pve/pve-root-ca.pem {CERTIFICATE}\n"
            f'git add {CERTIFICATE} && git commit -m "Trust Proxmox\'s authority"',
        )
    if error.status == 401:
        return TokenRefused(
            CHECK,
            f"Proxmox does not take the API token ({error})",
            f"see Datacenter > Permissions > API Tokens: was it removed, has it expired? A new one, on {host}:\n"
            f"pveum user token add {USER} {TOKEN_NAME} --privsep 0\nthen ./lab up --only machines, which asks for it",
        )
    if error.fault is Fault.DNS:
        what, fix = f"{host} is not known to DNS here", "answer proxmox_endpoint with Proxmox's name or address"
    elif error.fault is not None:
        what = f"Proxmox does not answer at {endpoint} ({error})"
        fix = f"see whether this machine reaches it: curl -vk {endpoint}"
    else:
        what, fix = f"Proxmox's API at {endpoint} says: {error}", f"journalctl -u pveproxy -u pvedaemon on {host}"
    return Problem(CHECK, what, fix)


def right_problems(held: dict[str, frozenset[str]], settings: Settings) -> Iterator[Problem]:
    """Say which rights the token lacks, and how it gets them."""
    lacking = {path: sorted(set(needed) - held[path]) for path, needed in rights(settings).items()}
    told = [f"{', '.join(missing)} on {path}" for path, missing in lacking.items() if missing]
    if told:
        what = "the API token lacks rights:\n" + "\n".join(told)
        fix = (
            "on the Proxmox node, as root (what is there already is refused, and stays):\n"
            f"{commands(settings)}\n"
            f'the role is there with fewer rights: pveum role modify {ROLE} --append --privs "…"; a token with\n'
            "privilege separation needs the same acl lines with --tokens"
        )
        yield Problem(CHECK, what, fix)


def node_problems(nodes: Sequence[Node], settings: Settings) -> Iterator[Problem]:
    """Say whether the lab's node is there, and up."""
    wanted = settings.proxmox_node
    found = next((one for one in nodes if one.name == wanted), None)
    names = ", ".join(one.name for one in nodes) or "none"
    if found is None:
        fix = f"./lab update --data proxmox_node=NAME, of these: {names}"
        yield Problem(CHECK, f"Proxmox has no node {wanted}", fix)
    elif not found.is_online:
        yield Problem(
            CHECK, f"the node {wanted} is offline", f"start it, or answer proxmox_node with another of {names}"
        )


def machine_problems(seen: Seen, settings: Settings) -> Iterator[Problem]:
    """Say what a token with all rights sees that is in the machine's way."""
    if not seen.quorate:
        yield Problem(
            CHECK,
            "Proxmox's cluster has lost its quorum, and takes no changes",
            "pvecm status on a node says which are missing: start them; for one that stays smaller:\npvecm expected 1",
        )
    for name, content, purpose in purposes(settings):
        yield from storage_problems(seen.storages, name, content, purpose, settings)
    if settings.proxmox_bridge not in seen.bridges:
        there = ", ".join(sorted(seen.bridges)) or "none"
        yield Problem(
            CHECK,
            f"the node {settings.proxmox_node} has no bridge {settings.proxmox_bridge}",
            f"./lab update --data proxmox_bridge=NAME, of these: {there}\n"
            f"or make it: {settings.proxmox_node} > System > Network > Create",
        )
    if not seen.is_free and not is_ours(seen.guest, settings):
        who = f"{seen.guest.name}, on {seen.guest.node}" if seen.guest else "a guest that the token may not see"
        yield Problem(
            CHECK,
            f"the number {settings.runner_vm_id} is taken by {who}",
            "./lab update --data runner_vm_id=NUMBER, a free one: pvesh get /cluster/nextid\n"
            f"a machine of yours that the lab should take over has to be called {machine_name(settings)}",
        )


def unknown_storages(storages: Sequence[Storage], settings: Settings) -> Iterator[Problem]:
    """Say which of the lab's storages are none of the node's, to whoever sees them all."""
    there = {one.name for one in storages}
    for name, content, purpose in purposes(settings):
        if name not in there:
            yield from storage_problems(storages, name, content, purpose, settings)


def purposes(settings: Settings) -> tuple[tuple[str, str, str], ...]:
    """Return the lab's storages, what each has to take, and for what."""
    return (
        (settings.proxmox_image_store, "import", "the system's image"),
        (settings.proxmox_disk_store, "images", "the machine's disk"),
    )


def storage_problems(
    storages: Sequence[Storage], name: str, content: str, purpose: str, settings: Settings
) -> Iterator[Problem]:
    """Say whether a storage is there, works, and may hold what it is for."""
    node, found = settings.proxmox_node, next((one for one in storages if one.name == name), None)
    fitting = ", ".join(sorted(one.name for one in storages if content in one.content)) or "none"
    if found is None:
        image, disk = "./lab update --data proxmox_image_store=NAME", "./lab update --data proxmox_disk_store=NAME"
        fix = f"{image if content == 'import' else disk}; for {purpose} there are: {fitting}"
        yield Problem(CHECK, f"the node {node} has no storage {name}", fix)
    elif content not in found.content:
        kept = ",".join(sorted({*found.content, content}))
        label = "Import" if content == "import" else "Disk image"
        yield Problem(
            CHECK,
            f"the storage {name} may not hold {purpose}: its content is {','.join(sorted(found.content)) or 'nothing'}",
            f"Datacenter > Storage > {name} > Edit > Content: add {label}; or on the node:\n"
            f"pvesm set {name} --content {kept}",
        )
    elif not found.is_active:
        yield Problem(CHECK, f"the storage {name} is disabled, or does not work", f"pvesm status on {node}")


def machine_name(settings: Settings) -> str:
    """Return how Proxmox calls the runner's machine; iac/runner.tf says the same."""
    host = settings.runner_host
    return "gitlab-runner" if re.search("^[0-9.]+$|:", host) else host


def is_ours(guest: Guest | None, settings: Settings) -> bool:
    """Say whether a guest of the machine's number is the lab's machine, whether OpenTofu knows it or not."""
    return guest is not None and (guest.name, guest.node) == (machine_name(settings), settings.proxmox_node)


def address_finding(settings: Settings, answers: Callable[[str, int], bool]) -> Finding:
    """Say whether something answers at the fixed address that the machine is to get."""
    if settings.runner_address in ("", "dhcp"):
        return Nothing("the machine gets its address by dhcp")
    address = settings.runner_address.partition("/")[0]
    for port in PORTS:
        if answers(address, port):
            return Problem(
                "address",
                f"something answers at {address}, port {port}, where the new machine is to be",
                f"./lab update --data runner_address=ADDRESS/PREFIX, a free one; what has it: ip neigh show {address}",
            )
    return Good(f"nothing answers at {address}")


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), SECONDS).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True
