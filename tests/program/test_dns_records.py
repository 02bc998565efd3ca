"""The DNS records that the program proposes, read by the servers that they are for: dnsmasq and Unbound answer from them."""

from __future__ import annotations

import ipaddress
import random
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.loopback import free_port, wait_for
from tests.support.program import dns_records, objects
from tests.support.tools import tool

Answer = Callable[[str, str], set[str]]
HOSTS = ("gitlab.home.lan", "registry.home.lan", "demo.home.lan")
ADDRESSES = ("192.0.2.10", "2001:db8::10")


def ask(port: int, name: str, kind: str, seconds: float = 2) -> set[str]:
    """Return the addresses that a server on the loopback has for a name."""
    answer = dns.query.udp(dns.message.make_query(name, kind), "127.0.0.1", port=port, timeout=seconds)
    return {str(item) for part in answer.answer for item in part if part.rdtype == dns.rdatatype.from_text(kind)}


@contextmanager
def serving(command: Sequence[str], port: int) -> Iterator[Answer]:
    """Run a DNS server for the length of a block, and return what asks it."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:

        def answers() -> bool:
            assert process.poll() is None, f"{command[0]} ended: {process.stdout and process.stdout.read()}"
            try:
                ask(port, "there.test", "A", 0.1)
            except (OSError, dns.exception.DNSException):
                return False
            return True

        try:
            wait_for(command[0], answers)
            yield lambda name, kind: ask(port, name, kind)
        finally:
            process.terminate()


@contextmanager
def dnsmasq(lines: Sequence[str], folder: Path, hosts: Sequence[str] = ()) -> Iterator[Answer]:
    port = free_port()
    (folder / "dnsmasq.conf").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (folder / "hosts").write_text("".join(f"{line}\n" for line in hosts), encoding="utf-8")
    options = [
        "--no-daemon",
        "--no-resolv",
        "--no-hosts",
        "--user=root",
        "--bind-interfaces",
        "--listen-address=127.0.0.1",
    ]
    files = [
        f"--conf-file={folder / 'dnsmasq.conf'}",
        f"--addn-hosts={folder / 'hosts'}",
        f"--pid-file={folder / 'pid'}",
    ]
    with serving([tool("dnsmasq"), *options, *files, f"--port={port}"], port) as answer:
        yield answer


@contextmanager
def unbound(lines: Sequence[str], folder: Path, _: Sequence[str] = ()) -> Iterator[Answer]:
    port = free_port()
    own = [
        "interface: 127.0.0.1",
        f"port: {port}",
        'chroot: ""',
        'username: ""',
        "do-daemonize: no",
        "use-syslog: no",
        f'pidfile: "{folder}/pid"',
    ]
    nobody_else = 'local-zone: "." static'  # instead of the servers of the internet
    text = "server:\n" + "".join(f"  {line}\n" for line in [*own, nobody_else, *lines])
    (folder / "unbound.conf").write_text(f"{text}remote-control:\n  control-enable: no\n", encoding="utf-8")
    with serving([tool("unbound"), "-d", "-c", str(folder / "unbound.conf")], port) as answer:
        yield answer


def lines_of(places: Sequence[dns_records.Place], word: str) -> list[str]:
    return next(list(place.lines) for place in places if word in place.where)


SERVERS = {"dnsmasq": dnsmasq, "Unbound": unbound}


def are_answered(answer: Answer, names: Sequence[str], addresses: Sequence[str]) -> None:
    for name in names:
        found = answer(name, "A") | answer(name, "AAAA")
        assert found == {str(ipaddress.ip_address(one)) for one in addresses}, name


@pytest.mark.parametrize("server", SERVERS)
def test_each_host_leads_to_every_address_and_its_neighbours_to_none(server: str, tmp_path: Path) -> None:
    lines = lines_of(dns_records.for_hosts(HOSTS, ADDRESSES), server)
    with SERVERS[server](lines, tmp_path) as answer:
        are_answered(answer, HOSTS, ADDRESSES)
        assert not answer("other.home.lan", "A") and not answer("a.gitlab.home.lan", "A")


@pytest.mark.parametrize("server", SERVERS)
def test_a_wildcard_leads_every_name_of_the_domain_and_none_beside_it(server: str, tmp_path: Path) -> None:
    drawn = [f"{random.choice('abc')}{number}.home.lan" for number in range(3)]
    lines = lines_of(dns_records.for_domain("home.lan", ADDRESSES), server)
    with SERVERS[server](lines, tmp_path) as answer:
        are_answered(answer, ["home.lan", "a.b.home.lan", *drawn, *HOSTS], ADDRESSES)
        assert not answer("nothome.lan", "A")


def test_a_hosts_file_names_them_all(tmp_path: Path) -> None:
    lines = lines_of(dns_records.for_hosts(HOSTS, ADDRESSES), "/etc/hosts")
    with dnsmasq([], tmp_path, lines) as answer:
        are_answered(answer, HOSTS, ADDRESSES)


@given(st.lists(st.ip_addresses().map(str), max_size=3), st.booleans())
def test_the_owner_gets_a_line_for_each_host_and_address(addresses: list[str], inside: bool) -> None:
    hosts = [*HOSTS, *([] if inside else ["git.example.org"])]
    said = dns_records.instructions(hosts, "home.lan", addresses)
    if not addresses:
        assert "kubectl get service" in said
        return
    for address in addresses:
        assert f"  {address} {' '.join(hosts)}" in said
        assert all(f"  host-record={host},{address}" in said for host in hosts)
    assert ("every name in home.lan" in said) == inside


def service(name: str, labels: dict[str, str], *given_: dict[str, str]) -> objects.KubeObject:
    return objects.KubeObject(
        {"metadata": {"name": name, "labels": labels}, "status": {"loadBalancer": {"ingress": list(given_)}}}
    )


def test_traefiks_addresses_are_those_of_its_services_alone() -> None:
    label = {"app.kubernetes.io/name": "traefik"}
    services = [
        service("other", {}, {"ip": "192.0.2.1"}),
        service("traefik", label, {"ip": "192.0.2.10"}, {"hostname": "lb.example"}),
        service("traefik-internal", label, {"ip": "2001:db8::10"}, {"ip": "192.0.2.10"}),
        service("traefik", {}, {"ip": "not an address"}),
    ]
    assert dns_records.traefiks_addresses(services) == list(ADDRESSES)
    assert dns_records.traefiks_addresses([]) == []
