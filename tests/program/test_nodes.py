"""The nodes' addresses, that GitLab must never ban: as Kubernetes gives them, and as GitLab compares them."""

from __future__ import annotations

import ipaddress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.program import node_addresses, objects


def node(name: str, *addresses: tuple[str, str]) -> objects.KubeObject:
    given: list[dict[str, Any]] = [{"type": kind, "address": address} for kind, address in addresses]
    return objects.KubeObject({"metadata": {"name": name}, "status": {"addresses": given}})


def test_every_address_of_every_node_is_told_and_nothing_that_is_none() -> None:
    nodes = [
        node(
            "b",
            ("InternalIP", "192.168.1.12"),
            ("ExternalIP", "203.0.113.4"),
            ("Hostname", "b"),
            ("Hostname", "10.1.1.1"),
        ),
        node("a", ("InternalIP", "192.168.1.11"), ("InternalIP", "2001:DB8:0::B")),
        node("c", ("InternalIP", "'] + [`reboot`"), ("InternalIP", "192.168.1.11")),
        objects.KubeObject({"metadata": {"name": "new"}}),
    ]
    assert node_addresses.of_all(nodes) == "192.168.1.11 192.168.1.12 2001:db8::b 203.0.113.4"
    assert node_addresses.of_all(reversed(nodes)) == node_addresses.of_all(nodes)


def test_a_node_outside_of_what_gitlab_spares_is_named_with_its_address() -> None:
    nodes = [node("in", ("InternalIP", "10.0.0.7")), node("out", ("InternalIP", "10.0.1.7"), ("ExternalIP", "fd00::7"))]
    assert node_addresses.bannable(nodes, ["127.0.0.1", "10.0.0.0/24"]) == ["out (10.0.1.7)", "out (fd00::7)"]
    assert node_addresses.bannable(nodes, ["10.0.0.9/16", "fd00::/64", "what is this"]) == []
    assert node_addresses.bannable([], []) == []


@given(st.lists(st.ip_addresses(), max_size=5), st.lists(st.ip_addresses(), max_size=5))
def test_any_cluster_is_spared_by_what_it_is_told_and_by_nothing_less(addresses: list[Any], others: list[Any]) -> None:
    nodes = [node(f"node-{number}", ("InternalIP", str(one))) for number, one in enumerate(addresses)]
    assert node_addresses.bannable(nodes, node_addresses.of_all(nodes).split()) == []
    left = [f"node-{number} ({one})" for number, one in enumerate(addresses) if one not in others]
    assert node_addresses.bannable(nodes, [str(ipaddress.ip_network(one)) for one in others]) == left


def test_the_addresses_that_a_node_has_among_its_pods_are_told_and_those_of_its_pods_are_not() -> None:
    flannel = {"spec": {"podCIDR": "10.42.3.0/24", "podCIDRs": ["10.42.3.0/24", "fd42:0:0:3::/64"]}}
    assert node_addresses.addresses(objects.KubeObject(flannel)) == [
        "10.42.3.0",
        "10.42.3.1",
        "fd42:0:0:3::",
        "fd42:0:0:3::1",
    ]
    calico = {"projectcalico.org/IPv4VXLANTunnelAddr": "10.42.77.64", "projectcalico.org/IPv4Address": "192.168.1.9/24"}
    strange = {"network.cilium.io/ipv4-cilium-host": "` reboot`"}
    for noted, wanted in ((calico, ["10.42.77.64", "192.168.1.9"]), (strange, []), ({}, [])):
        found = objects.KubeObject({"metadata": {"annotations": noted}, "spec": {"podCIDR": "none"}})
        assert node_addresses.addresses(found) == wanted
    assert node_addresses.bannable([objects.KubeObject(flannel)], ["10.42.3.0", "fd42::/16"]) == [" (10.42.3.1)"]
