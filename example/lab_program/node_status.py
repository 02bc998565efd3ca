"""What `./lab status` says of a node that came or went: its addresses, its trust, and what lies on its disk."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence

from . import node_addresses, node_volumes
from .clients.objects import KubeObject
from .lab import Lab

Line = tuple[str, "str | None"]
PAGE = "docs/nodes.md"
# What a container runtime says of a certificate whose signer it does not know (Go's crypto/x509).
_UNTRUSTED = re.compile(r"x509: |certificate signed by unknown authority|certificate verify failed")


def lines(lab: Lab, nodes: Sequence[KubeObject]) -> Iterator[Line]:
    """Yield what there is to say, each with what is wrong with it, or None."""
    yield from _addresses(lab, nodes)
    yield from _trust(lab, nodes)
    yield from _volumes(lab, nodes)


# Addresses


def _addresses(lab: Lab, nodes: Sequence[KubeObject]) -> Iterator[Line]:
    settings = lab.settings
    if not settings.rack_attack:
        return
    # The first is GitLab's pod itself.
    named = settings.unbanned_networks[1:]
    outside = outside_of(named, nodes) if named else []
    if outside:
        yield "node_networks holds every node", f"not {', '.join(outside)}: {_new_answer(named, outside)}"
    told = lab.cluster.find("configmap", node_addresses.CONFIG_MAP, settings.gitlab_namespace)
    known = str((told.content.get("data") or {}).get(node_addresses.KEY, "")).split() if told else []
    stale = sorted(set(known) - set(node_addresses.of_all(nodes).split()))
    if stale:
        restart = f"kubectl rollout restart deploy/gitlab -n {settings.gitlab_namespace}"
        yield (
            "GitLab exempts only nodes' addresses from bans",
            f"{', '.join(stale)} may pass to a machine that GitLab then never bans: ./lab up --only gitlab, {restart}",
        )


def outside_of(networks: Sequence[str], nodes: Sequence[KubeObject]) -> list[str]:
    """Return the nodes' own addresses, with their nodes, that lie in none of some networks. Those of a node among its
    pods are not the owner's to name."""
    own = [
        KubeObject({"metadata": {"name": node.name}, "status": {"addresses": node.status.get("addresses") or []}})
        for node in nodes
    ]
    return node_addresses.bannable(own, networks)


def _new_answer(named: Sequence[str], outside: Sequence[str]) -> str:
    """Return the command that adds addresses to the answer."""
    new = [match[1] for one in outside if (match := re.search(r"\(([^()]+)\)$", one))]
    wanted = [*named, *(str(ipaddress.ip_network(one)) for one in new)]
    return f"./lab update --data node_networks='[{', '.join(dict.fromkeys(wanted))}]', commit and push"


# Trust


def _trust(lab: Lab, nodes: Sequence[KubeObject]) -> Iterator[Line]:
    """Say which nodes do not trust the lab's authority. Nobody can ask a node: its pulls tell."""
    settings = lab.settings
    if not settings.private_ca:
        return
    refusing = refusing_nodes(lab.cluster.list_of("pods"), settings.registry_address)
    for name, words in sorted(refusing.items()):
        address = next((node_addresses.addresses(node) for node in nodes if node.name == name), [])
        machine = next(iter(address), name)
        yield f"node {name} trusts the lab's authority", f"{words}: ./lab trust root@{machine} ({PAGE})"
    unknown = [
        node.name for node in nodes if node.name not in refusing and not has_pulled(node, settings.registry_address)
    ]
    if unknown and len(nodes) > 1:
        shown = ", ".join(unknown[:5]) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
        yield (
            f"not known yet: whether {shown} may pull from {settings.registry_address}; ./lab trust --nodes sees to it",
            None,
        )


def refusing_nodes(pods: Sequence[KubeObject], registry: str) -> dict[str, str]:
    """Return the nodes that do not take the certificate of a registry, each with the words of a pod that waits for its
    image there."""
    found: dict[str, str] = {}
    for pod in pods:
        statuses = [*(pod.status.get("initContainerStatuses") or []), *(pod.status.get("containerStatuses") or [])]
        for one in statuses:
            waiting = (one.get("state") or {}).get("waiting") or {}
            message = " ".join(str(waiting.get("message", "")).split())
            is_ours = str(one.get("image", "")).startswith(f"{registry}/") or f"{registry}/" in message
            node = str(pod.spec.get("nodeName") or "")
            fault = _UNTRUSTED.search(message)
            if node and is_ours and fault:
                words = fault[0].strip(": ")
                found.setdefault(node, f"{pod.namespace}/{pod.name} cannot pull its image ({words})")
    return found


def has_pulled(node: KubeObject, registry: str) -> bool:
    """Say whether a node has an image of a registry; a kubelet lists the largest fifty that it has."""
    images = node.status.get("images") or []
    return any(str(name).startswith(f"{registry}/") for one in images for name in one.get("names") or [])


# What lies on a node


def _volumes(lab: Lab, nodes: Sequence[KubeObject]) -> Iterator[Line]:
    settings, volumes = lab.settings, lab.cluster.list_of("persistentvolumes")
    for claim, problem in node_volumes.problems(volumes, nodes):
        whose = "GitLab's volume" if claim.startswith(f"{settings.gitlab_namespace}/") else "the volume"
        yield f"{whose} {claim}", f"{problem}. {PAGE} says how it comes back, or moves"
    if "host-path" not in (settings.storage_backend, settings.data_backend) or len(nodes) < 2:
        return
    deployment = lab.cluster.find("deployment", "gitlab", settings.gitlab_namespace)
    pod = ((deployment.spec.get("template") or {}).get("spec") or {}) if deployment else {}
    held = pod.get("nodeSelector") or pod.get("nodeName") or (pod.get("affinity") or {}).get("nodeAffinity")
    if deployment is not None and not held and not node_volumes.bound_to(volumes, settings.gitlab_namespace, nodes):
        yield (
            "GitLab stays on the node of its folders",
            f"nothing holds it there, and elsewhere it would find {settings.storage_root} empty and begin anew: {PAGE}",
        )
