"""The nodes' addresses, which GitLab must never ban: an expired pull secret makes every node fail to log in.

A node has addresses in the pods' network, too, and calls Traefik's pod from there: that of its bridge, and that of
its end of the tunnel to other nodes. Flannel, which k3s brings, takes the first two of the node's part for them; Calico
and Cilium write theirs onto the node. Every other address of that network is a pod's, and may be banned.
https://github.com/flannel-io/flannel/blob/master/Documentation/running.md

The stage gitlab writes them into a ConfigMap, gitlab.rb reads them as ENV['NODE_IPS'] at GitLab's start.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from .clients.objects import KubeObject

CONFIG_MAP, KEY = "gitlab-nodes", "addresses"
_ANNOTATED = (
    "projectcalico.org/IPv4VXLANTunnelAddr",
    "projectcalico.org/IPv4IPIPTunnelAddr",
    "projectcalico.org/IPv6VXLANTunnelAddr",
    "projectcalico.org/IPv4Address",
    "network.cilium.io/ipv4-cilium-host",
    "network.cilium.io/ipv6-cilium-host",
)
# Where a node's own calls come from; the rest of its addresses are names.
_KINDS = {"InternalIP", "ExternalIP"}


def addresses(node: KubeObject) -> list[str]:
    """Return a node's IP addresses, as Python writes them; what is none is left out, for it goes into gitlab.rb."""
    given = [str(one.get("address", "")) for one in node.status.get("addresses") or [] if one.get("type") in _KINDS]
    given += [node.annotations[name].partition("/")[0] for name in _ANNOTATED if name in node.annotations]
    found = []
    for one in given:
        try:
            found.append(str(ipaddress.ip_address(one)))
        except ValueError:
            continue
    return list(dict.fromkeys([*found, *_of_its_part(node)]))


def _of_its_part(node: KubeObject) -> list[str]:
    """Return the first two addresses of a node's part of the pods' network, once for each kind of IP."""
    found = []
    for one in node.spec.get("podCIDRs") or [node.spec.get("podCIDR")]:
        try:
            part = ipaddress.ip_network(str(one))
        except ValueError:
            continue
        found += [str(part[0]), str(part[1])] if part.num_addresses > 1 else []
    return found


def of_all(nodes: Iterable[KubeObject]) -> str:
    """Return the addresses of all nodes, in an order that does not change, with a blank between them."""
    return " ".join(sorted({address for node in nodes for address in addresses(node)}))


def bannable(nodes: Iterable[KubeObject], spared: Sequence[str]) -> list[str]:
    """Return the nodes, with their addresses, that lie in none of the networks and addresses that are never banned."""
    networks = []
    for one in spared:
        try:
            networks.append(ipaddress.ip_network(one, strict=False))
        except ValueError:
            continue
    return [
        f"{node.name} ({address})"
        for node in nodes
        for address in addresses(node)
        if not any(ipaddress.ip_address(address) in network for network in networks)
    ]
