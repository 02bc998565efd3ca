"""A real Traefik, fed with what Helm rendered, leads to the right port of GitLab's pod, for every combination of answers."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.gitlab.support.authority import Authority
from tests.gitlab.support.rendered_labs import Object, RenderedLab, recorded
from tests.gitlab.support.stand_in_pod import BANNER, SshStub, WebStub
from tests.gitlab.support.traefik_cluster import Address, Answer, TraefikCluster, ask, behind_service, greeting
from tests.support.loopback import address

CHOICES = {
    "tls_source": ("cert-manager", "secret", "traefik"),
    "ssh_exposure": ("load-balancer", "traefik", "node-port"),
    "ports": ("usual", "own"),
    "kind": ("Ingress", "IngressRoute"),
}
PORTS: dict[str, dict[str, Any]] = {
    "usual": {"https_port": 443, "http_port": 80, "registry_port": 5050, "traefik_kind": "k3s"},
    "own": {"https_port": 8443, "http_port": 8181, "registry_port": 5555, "traefik_kind": "other"},
}
COMBINATIONS = ["+".join(row) for row in itertools.product(*CHOICES.values())]


@cache
def lab_of(combination: str) -> RenderedLab:
    """Return the lab of one combination."""
    tls_source, ssh_exposure, ports, kind = combination.split("+")
    given = {"base_domain": "lab", "tls_source": tls_source, "ssh_exposure": ssh_exposure, **PORTS[ports]}
    if ports == "own":
        # 8000 is where Traefik's own pod listens for http, which must not matter to what people type.
        given["ssh_port"] = 30099 if ssh_exposure == "node-port" else 8000
    return RenderedLab(given, {"ingress": {"kind": kind}})


@dataclass
class Case:
    """One combination: its lab, GitLab's pod, and the cluster with Traefik."""

    lab: RenderedLab
    pod: dict[int, Address]
    cluster: TraefikCluster

    @property
    def https_port(self) -> int:
        return self.lab.answers["https_port"]

    @property
    def hosts(self) -> dict[str, str]:
        """Both hosts, and which server of the pod has to answer for each."""
        return {self.lab.answers["gitlab_host"]: "gitlab", self.lab.answers["registry_host"]: "registry"}

    def https(self, host: str, path: str = "/", **more: Any) -> Answer:
        """Ask as a browser does that was given this host."""
        port = None if self.https_port == 443 else self.https_port
        more = {"trusted": self.cluster.authority.crt, **more}
        return ask(self.cluster.exposed(self.https_port), host, path, port=port, **more)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Object]:
    """Return what gitlab.rb sets, by combination."""
    labs = [lab_of(name) for name in COMBINATIONS]
    return dict(zip(COMBINATIONS, recorded(labs, tmp_path_factory.mktemp("rb")), strict=True))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        names = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in COMBINATIONS]
        metafunc.parametrize("case", names, indirect=True, scope="module")


@pytest.fixture(scope="module")
def case(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    authority: Authority,
    servers: dict[str, WebStub | SshStub],
    settings: dict[str, Object],
) -> Iterator[Case]:
    lab, rb = lab_of(request.param), settings[request.param]
    pod = {
        rb["gitlab_rails"]["nginx"]["listen_port"]: servers["gitlab"].address,
        rb["registry"]["nginx"]["listen_port"]: servers["registry"].address,
        22: servers["ssh"].address,
    }
    objects = [*lab.objects, *what_the_owner_brings(lab, authority)]
    with TraefikCluster(tmp_path_factory.mktemp("traefik"), objects, lab.traefik, pod, authority) as cluster:
        yield Case(lab, pod, cluster)


def what_the_owner_brings(lab: RenderedLab, authority: Authority) -> list[Object]:
    """Return the certificate that the lab does not make itself: in a Secret, or as Traefik's own default."""
    a = lab.answers
    if a["tls_source"] == "cert-manager":
        return []
    made = authority.sign(f"brought for {a['tls_source']}", a["gitlab_host"], a["registry_host"])
    if a["tls_source"] == "secret":
        return [made.secret(a["tls_secret_name"], a["gitlab_namespace"])]
    store = {
        "apiVersion": "traefik.io/v1alpha1",
        "kind": "TLSStore",
        "metadata": {"name": "default", "namespace": "kube-system"},
        "spec": {"defaultCertificate": {"secretName": "default-certificate"}},
    }
    return [store, made.secret("default-certificate", "kube-system")]


@pytest.mark.deep(keep=12)
def test_https_reaches_each_hosts_own_port(case: Case) -> None:
    for host, name in case.hosts.items():
        answer = case.https(host, "/some/path?a=b")
        assert (answer.status, answer.seen["name"], answer.seen["path"]) == (200, name, "/some/path?a=b")


@pytest.mark.deep(keep=10)
def test_the_pod_is_told_of_https_the_host_as_typed_and_the_clients_address(case: Case) -> None:
    client = address()
    for host in case.hosts:
        headers = case.https(host, source=client).seen["headers"]
        assert headers["host"] == (host if case.https_port == 443 else f"{host}:{case.https_port}")
        assert (headers["x-forwarded-proto"], headers["x-forwarded-for"]) == ("https", client)


@pytest.mark.slow(keep=1)
def test_a_client_cannot_pretend_to_come_from_elsewhere(case: Case) -> None:
    forged = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Real-Ip": "203.0.113.9",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.lab",
    }
    client, host = address(), case.lab.answers["gitlab_host"]
    headers = case.https(host, source=client, headers=forged).seen["headers"]
    assert "203.0.113.9" not in headers.values() and "evil.lab" not in headers.values()
    assert (headers["x-forwarded-proto"], headers["x-forwarded-for"], headers["x-real-ip"]) == ("https", client, client)


def test_the_certificate_comes_from_where_the_answer_says(case: Case, stranger: Path) -> None:
    made_by = {
        "cert-manager": b"issued by cert-manager",
        "secret": b"brought for secret",
        "traefik": b"brought for traefik",
    }
    for host in case.hosts:
        assert made_by[case.lab.answers["tls_source"]] in (case.https(host).certificate or b"")
        with pytest.raises(ssl.SSLCertVerificationError):
            case.https(host, trusted=stranger)


def test_plain_http_is_led_to_https_on_the_port_that_users_type(case: Case) -> None:
    suffix = "" if case.https_port == 443 else f":{case.https_port}"
    for host in case.hosts:
        for method, status in (("GET", 301), ("POST", 308)):
            answer = ask(case.cluster.exposed(80), host, "/group/project?tab=1", method=method)
            assert (answer.status, answer.headers["location"]) == (
                status,
                f"https://{host}{suffix}/group/project?tab=1",
            )


def test_git_over_ssh_is_greeted_on_its_port(case: Case) -> None:
    a = case.lab.answers
    service = case.lab.one("Service", "gitlab-ssh")["spec"]
    assert greeting(behind_service(case.lab.objects, case.pod, "gitlab-ssh", a["ssh_port"])) == BANNER
    if a["ssh_exposure"] == "traefik":
        assert service["type"] == "ClusterIP"
        assert greeting(case.cluster.exposed(a["ssh_port"])) == BANNER
        return
    with pytest.raises(KeyError):
        case.cluster.exposed(a["ssh_port"])
    # gitlab_host leads to Traefik's node, and GitLab may run on another: any node has to take the connection, not its own alone.
    assert "externalTrafficPolicy" not in service
    if a["ssh_exposure"] == "node-port":
        assert (service["type"], service["ports"][0]["nodePort"]) == ("NodePort", a["ssh_port"])
    else:
        assert (service["type"], service["ports"][0]["port"]) == ("LoadBalancer", a["ssh_port"])


@pytest.mark.parametrize("ports", PORTS)
def test_the_load_balancer_leaves_traefik_the_clients_address(ports: str) -> None:
    assert RenderedLab(PORTS[ports]).traefik["service"]["spec"] == {"externalTrafficPolicy": "Local"}


def test_the_runbook_asks_for_a_load_balancer_at_gitlabs_own_address_where_ssh_needs_one() -> None:
    for exposure in CHOICES["ssh_exposure"]:
        said = RenderedLab({"ssh_exposure": exposure}).text("README.md")
        assert ("takes port 2223 at the address of `gitlab.lab.example.com`" in said) is (exposure == "load-balancer")


def test_traefik_has_nothing_to_complain_of(case: Case) -> None:
    assert case.cluster.complaints() == []
