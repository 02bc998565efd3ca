"""DNS records for the lab's hosts, written as the DNS servers of most homes take them, ready to be pasted."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .clients.objects import KubeObject

TRAEFIK = "app.kubernetes.io/name"


@dataclass(frozen=True)
class Place:
    """Where lines are pasted.

    Attributes:
        where: the program, and the place in it.
        lines: the lines for it.
    """

    where: str
    lines: list[str]


def traefiks_addresses(services: Iterable[KubeObject]) -> list[str]:
    """Return the addresses that a load balancer has given to Traefik's Services; none if it gave names, or nothing.

    Args:
        services: all Services of the cluster.
    """
    found = []
    for one in services:
        if one.labels.get(TRAEFIK) != "traefik" and one.name != "traefik":
            continue
        given = (one.status.get("loadBalancer") or {}).get("ingress") or []
        found += [str(place["ip"]) for place in given if place.get("ip")]
    return [one for one in dict.fromkeys(found) if _is_address(one)]


def for_hosts(hosts: Sequence[str], addresses: Sequence[str]) -> list[Place]:
    """Return what leads each host to the addresses, by DNS server."""
    pairs = [(host, address) for host in hosts for address in addresses]
    return [
        Place(
            "/etc/hosts on each machine that uses the lab; in Pi-hole 6 the same pairs, Settings > Local DNS records",
            [f"{address} {' '.join(hosts)}" for address in addresses],
        ),
        Place(
            "dnsmasq",
            [f"host-record={name},{address}" for name, address in pairs],
        ),
        Place(
            "AdGuard Home, in Filters > Custom filtering rules",
            [f"|{name}^$dnsrewrite=NOERROR;{_kind(address)};{address}" for name, address in pairs],
        ),
        Place(
            "Unbound, in its section server",
            [f'local-data: "{name}. IN {_kind(address)} {address}"' for name, address in pairs],
        ),
    ]


def for_domain(domain: str, addresses: Sequence[str]) -> list[Place]:
    """Return what leads a domain and every name in it to the addresses, by DNS server. A hosts file cannot."""
    return [
        Place(
            "dnsmasq; Pi-hole 6, in Settings > All settings > misc.dnsmasq_lines",
            [f"address=/{domain}/{address}" for address in addresses],
        ),
        Place("AdGuard Home", [f"||{domain}^$dnsrewrite=NOERROR;{_kind(address)};{address}" for address in addresses]),
        Place(
            "Unbound",
            [
                f'local-zone: "{domain}." redirect',
                *(f'local-data: "{domain}. IN {_kind(address)} {address}"' for address in addresses),
            ],
        ),
    ]


def instructions(hosts: Sequence[str], domain: str, addresses: Sequence[str]) -> str:
    """Return in words what has to be pasted where, so that DNS knows the hosts.

    Args:
        hosts: those that it does not know.
        domain: the domain in which applications get their hosts.
        addresses: Traefik's.
    """
    if not addresses:
        return (
            f"let your DNS server answer Traefik's address for {' '.join(hosts)}\n"
            "Traefik's address: kubectl get service -A -l app.kubernetes.io/name=traefik"
        )
    lines = ["paste into one of these:"]
    for place in for_hosts(hosts, addresses):
        lines += [f"{place.where}:", *(f"  {line}" for line in place.lines)]
    if all(host == domain or host.endswith(f".{domain}") for host in hosts):
        lines.append(f"or, if every name in {domain} may lead to Traefik, those of later applications too:")
        for place in for_domain(domain, addresses):
            lines += [f"{place.where}:", *(f"  {line}" for line in place.lines)]
    return "\n".join(lines)


def _kind(address: str) -> str:
    return "AAAA" if ipaddress.ip_address(address).version == 6 else "A"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
