"""Preflight's look from inside the cluster: the script that the pods run, as a process, and what their words mean."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.gitlab.support.authority import Authority
from tests.support.loopback import free_port
from tests.support.program import findings, inside, inside_check, objects

HOSTS = ("gitlab.home.lan", "registry.home.lan")
NODES, CLUSTER = inside_check.NODES, inside_check.CLUSTER
View, Fault = inside_check.View, inside_check.Fault


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@contextmanager
def answering(authority: Authority, *, tls: bool, name: str = "localhost") -> Iterator[int]:
    """Listen on the loopback, with a certificate for a name or in plain text, and return the port."""
    context = None
    if tls:
        certificate = authority.sign(name, name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.crt, certificate.key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                connection, _ = listener.accept()
                with connection:
                    if context is None:
                        connection.sendall(b"220 smtp.home.lan ESMTP\r\n")
                    else:
                        context.wrap_socket(connection, server_side=True).close()
            except OSError:
                return  # the client refused, which is its word to say

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def run(hosts: list[str], port: int, authority: str | None) -> View:
    """Run the script as the pod does, and read its end as the program does."""
    job = inside_check.job(
        "default", "node", "Default", {"hosts": hosts, "port": port, "seconds": 2, "authority": authority}
    )
    _, *words = job["spec"]["template"]["spec"]["containers"][0]["command"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, timeout=30)
    ended = {"terminated": {"exitCode": done.returncode, "message": (done.stdout + done.stderr)[-2048:]}}
    return inside_check.view([objects.KubeObject({"status": {"containerStatuses": [{"state": ended}]}})])


def test_a_host_that_answers_with_a_certificate_of_the_authority_is_no_fault(authority: Authority) -> None:
    with answering(authority, tls=True) as port:
        assert run(["localhost"], port, authority.crt.read_text()) == View()


@pytest.mark.parametrize(
    ("tls", "name", "trusts", "kind"),
    [
        (True, "other.home.lan", True, "certificate"),
        (True, "localhost", False, "certificate"),
        (False, "", True, "tls"),
    ],
)
def test_what_answers_wrongly_is_told_apart(
    authority: Authority, tmp_path: Path, tls: bool, name: str, trusts: bool, kind: str
) -> None:
    text = (authority if trusts else Authority(tmp_path / "another", "another")).crt.read_text()
    with answering(authority, tls=tls, name=name) as port:
        [fault] = run(["localhost"], port, text).faults
    assert (fault.host, fault.kind, fault.addresses[-1]) == ("localhost", kind, "127.0.0.1") and fault.words


def test_before_gitlab_is_installed_the_certificate_does_not_matter(authority: Authority) -> None:
    with answering(authority, tls=True, name="traefik.default") as port:
        assert run(["localhost"], port, None) == View()


def test_a_name_that_is_unknown_and_a_way_that_leads_nowhere_are_told_apart() -> None:
    long = ".".join(["a" * 60] * 4)
    faults = run([f"{long}.invalid", "localhost"], free_port(), None).faults
    assert [one.kind for one in faults] == ["dns", "route"]


def test_what_three_hosts_of_the_longest_names_say_fits_what_a_pod_may_say_last(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A kubelet keeps 2048 bytes of the log: https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/"""
    addresses = [(None, None, None, "", (f"2001:db8:1111:2222:3333:4444:5555:{n:04x}", 443)) for n in range(64)]
    monkeypatch.setattr(inside.socket, "getaddrinfo", lambda *_, **__: addresses)
    monkeypatch.setattr(inside.socket, "create_connection", lambda *_: (_ for _ in ()).throw(OSError("x" * 500)))
    hosts = [f"{letter * 60}." + "b" * 60 + "." + "c" * 60 + "." + "d" * 60 for letter in "xyz"]
    assert inside.main([json.dumps({"hosts": hosts, "port": 443, "seconds": 1, "authority": None})]) == 1
    said = capsys.readouterr().out
    assert len(said.encode()) <= 2048 and [json.loads(line)["host"] for line in said.splitlines()] == hosts


def fault(kind: str, *addresses: str) -> View:
    return View((Fault(HOSTS[1], kind, "words of it", addresses),))


OTHERS = View()
MEANINGS: list[tuple[str, View, View, type[Any], list[str]]] = [
    ("all is well", OTHERS, OTHERS, findings.Good, ["the cluster knows gitlab.home.lan registry.home.lan"]),
    (
        "nobody inside knows it",
        fault("dns"),
        fault("dns"),
        findings.Problem,
        ["DNS does not know registry.home.lan inside", "/etc/resolv.conf on each node"],
    ),
    (
        "CoreDNS is behind",
        OTHERS,
        fault("dns"),
        findings.Problem,
        ["the cluster's DNS does not know", "rollout restart deployment/coredns"],
    ),
    (
        "hairpin",
        OTHERS,
        fault("route", "198.51.100.7"),
        findings.Problem,
        ["leads to 198.51.100.7, and nothing answers at port 8443", "hairpin"],
    ),
    (
        "certificate",
        OTHERS,
        fault("certificate", "10.0.0.1"),
        findings.Problem,
        ["its certificate is not trusted there: words of it", "ca.crt"],
    ),
    ("no TLS", OTHERS, fault("tls", "10.0.0.1"), findings.Problem, ["speaks no TLS"]),
    ("only nodes", fault("dns"), OTHERS, findings.Advice, ["the nodes' DNS does not know it", "/etc/hosts"]),
    (
        "only nodes, another way",
        fault("route", "10.9.9.9"),
        OTHERS,
        findings.Advice,
        ["leads to 10.9.9.9, port 8443: words of it"],
    ),
    (
        "no word",
        View(silence="ErrImagePull"),
        View(silence="ErrImagePull"),
        findings.Advice,
        ["could not be seen by the nodes' DNS: ErrImagePull", "LAB_SKIP=inside"],
    ),
]


@pytest.mark.parametrize(
    ("nodes", "cluster", "kind", "words"), [one[1:] for one in MEANINGS], ids=[one[0] for one in MEANINGS]
)
def test_what_the_pods_saw_is_told_with_the_fix(nodes: View, cluster: View, kind: type[Any], words: list[str]) -> None:
    [found] = inside_check.findings(HOSTS, 8443, {NODES: nodes, CLUSTER: cluster})
    assert type(found) is kind
    text = f"{found.what}\n{getattr(found, 'fix', '')}"
    assert all(word in text for word in words), text


def test_a_fault_is_told_although_the_other_pod_says_nothing() -> None:
    found = list(inside_check.findings(HOSTS, 443, {NODES: View(silence="pending"), CLUSTER: fault("dns")}))
    assert [type(one) for one in found] == [findings.Advice, findings.Problem]
    assert "the nodes' own does" not in found[1].what, "nobody has seen that"


@pytest.mark.parametrize(
    ("status", "silence"),
    [
        (
            {
                "phase": "Pending",
                "containerStatuses": [
                    {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such host"}}}
                ],
            },
            "ImagePullBackOff no such host",
        ),
        (
            {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}]},
            "0/1 nodes",
        ),
        ({"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}, "running"),
        (
            {"containerStatuses": [{"state": {"terminated": {"exitCode": 137, "message": "OOMKilled"}}}]},
            "its pod ended with 137: OOMKilled",
        ),
    ],
)
def test_a_pod_without_a_result_says_why(status: dict[str, Any], silence: str) -> None:
    assert inside_check.view([objects.KubeObject({"status": status})]).silence == silence


def test_no_pod_at_all_is_no_result() -> None:
    assert inside_check.view([]).silence == "no pod yet"
