"""The nodes' addresses, which GitLab must never ban: an expired pull secret makes every node fail to log in.

The stage gitlab writes them into a ConfigMap, gitlab.rb reads them as ENV['NODE_IPS'] at GitLab's start.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from .clients.objects import KubeObject

CONFIG_MAP, KEY = "gitlab-nodes", "addresses"
# Where a node's own calls come from; the rest of its addresses are names.
_KINDS = {"InternalIP", "ExternalIP"}


def addresses(node: KubeObject) -> list[str]:
    """Return a node's IP addresses, as Python writes them; what is none is left out, for it goes into gitlab.rb."""
    found = []
    for one in node.status.get("addresses") or []:
        try:
            address = ipaddress.ip_address(str(one.get("address", "")))
        except ValueError:
            continue
        if one.get("type") in _KINDS:
            found.append(str(address))
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
