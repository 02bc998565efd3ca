"""A real NGINX, set up as gitlab.rb asks, hands on the real client's address, https, and whatever is pushed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gitlab.support.nginx_of_gitlab import NginxOfGitlab
from tests.gitlab.support.rendered_labs import RenderedLab, recorded
from tests.gitlab.support.stand_in_pod import SshStub, WebStub
from tests.gitlab.support.traefik_cluster import TraefikCluster, ask
from tests.support.loopback import address, free_port

# The pods' network of these tests: Traefik's stand-ins call from there. Everything else of 127.0.0.0/8 is the LAN.
PODS, TRAEFIK, ANOTHER_POD = "127.42.0.0/16", "127.42.0.8", "127.42.3.1"
CLIENT = "198.51.100.7"


@pytest.fixture(scope="module", params=[443, 8443])
def homelab(request: pytest.FixtureRequest) -> RenderedLab:
    ports = {"https_port": request.param, "http_port": free_port(), "registry_port": free_port()}
    return RenderedLab({"base_domain": "lab", **ports}, trusted=[PODS, "fd42::/56"])


@pytest.fixture(scope="module")
def nginx(
    homelab: RenderedLab, tmp_path_factory: pytest.TempPathFactory, servers: dict[str, WebStub | SshStub]
) -> Iterator[NginxOfGitlab]:
    folder = tmp_path_factory.mktemp("nginx")
    with NginxOfGitlab(
        folder, recorded([homelab], folder)[0], servers["gitlab"].address, servers["registry"].address
    ) as running:
        yield running


def seen(homelab: RenderedLab, name: str, source: str, headers: dict[str, str], **more: Any) -> dict[str, Any]:
    """Ask one of the two servers from an address, and return what it hands on."""
    host = homelab.answers["gitlab_host" if name == "gitlab" else "registry_host"]
    port = homelab.answers["http_port" if name == "gitlab" else "registry_port"]
    return ask(("127.0.0.1", port), host, source=source, headers=headers, **more).seen


pytestmark = pytest.mark.xdist_group("nginx")
BOTH = pytest.mark.parametrize("name", ["gitlab", "registry"])


@BOTH
def test_each_server_listens_on_its_own_port(homelab: RenderedLab, nginx: NginxOfGitlab, name: str) -> None:
    assert seen(homelab, name, TRAEFIK, {})["name"] == name


@BOTH
def test_the_clients_address_that_traefik_names_is_believed(
    homelab: RenderedLab, nginx: NginxOfGitlab, name: str
) -> None:
    headers = seen(homelab, name, TRAEFIK, {"X-Forwarded-For": CLIENT})["headers"]
    assert (headers["x-real-ip"], headers["x-forwarded-for"]) == (CLIENT, CLIENT)


@BOTH
def test_a_chain_of_proxies_in_the_pods_network_is_followed_to_the_client(
    homelab: RenderedLab, nginx: NginxOfGitlab, name: str
) -> None:
    headers = seen(homelab, name, TRAEFIK, {"X-Forwarded-For": f"203.0.113.1, {CLIENT}, {ANOTHER_POD}"})["headers"]
    assert headers["x-forwarded-for"] == CLIENT


@BOTH
def test_nobody_on_the_lan_can_forge_an_address(homelab: RenderedLab, nginx: NginxOfGitlab, name: str) -> None:
    neighbour = address()
    headers = seen(homelab, name, neighbour, {"X-Forwarded-For": CLIENT, "X-Real-IP": CLIENT})["headers"]
    assert (headers["x-real-ip"], headers["x-forwarded-for"]) == (neighbour, neighbour)


@BOTH
def test_names_that_only_look_like_traefiks_headers_are_dropped(
    homelab: RenderedLab, nginx: NginxOfGitlab, name: str
) -> None:
    headers = seen(
        homelab,
        name,
        TRAEFIK,
        {"X-Forwarded-For": CLIENT, "X_Forwarded_For": "203.0.113.9", "X.Real.Ip": "203.0.113.9"},
    )["headers"]
    assert "203.0.113.9" not in headers.values()


@BOTH
def test_gitlab_is_told_of_https_whoever_asks(homelab: RenderedLab, nginx: NginxOfGitlab, name: str) -> None:
    for given in ({}, {"X-Forwarded-Proto": "http", "X-Forwarded-Ssl": "off"}):
        headers = seen(homelab, name, TRAEFIK, given)["headers"]
        assert (headers["x-forwarded-proto"], headers["x-forwarded-ssl"]) == ("https", "on")


def test_it_listens_on_ipv6_as_well_where_the_pods_have_it(homelab: RenderedLab, nginx: NginxOfGitlab) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    for port in nginx.ports:
        assert ask(("::1", port), "gitlab.lab", source="::1").status == 200


def test_a_pushed_layer_streams_through_without_a_limit(homelab: RenderedLab, nginx: NginxOfGitlab) -> None:
    layer = bytes(8_000_000)
    found = seen(homelab, "registry", TRAEFIK, {}, method="PUT", body=layer)
    assert found["size"] == len(layer)
    assert list(nginx.folder.glob("body/**/*")) == []


@pytest.mark.slow(keep=1)
def test_from_the_browser_through_traefik_to_gitlab_the_address_is_the_clients(
    homelab: RenderedLab, nginx: NginxOfGitlab, tmp_path: Path, authority: Any
) -> None:
    """Traefik itself calls from 127.0.0.1 here, so the lab that NGINX runs for has that as its pods' network."""
    ports = {"https_port": homelab.answers["https_port"], "http_port": free_port(), "registry_port": free_port()}
    near = RenderedLab({"base_domain": "lab", **ports}, trusted=["127.0.0.1/32"])
    settings = recorded([near], tmp_path)[0]
    pod = {port: ("127.0.0.1", port) for port in (near.answers["http_port"], near.answers["registry_port"])}
    https, client = near.answers["https_port"], address()
    with (
        NginxOfGitlab(tmp_path, settings, *nginx.backends),
        TraefikCluster(tmp_path, near.objects, near.traefik, pod, authority) as cluster,
    ):
        for host in (near.answers["gitlab_host"], near.answers["registry_host"]):
            answer = ask(
                cluster.exposed(https),
                host,
                source=client,
                trusted=authority.crt,
                headers={"X-Forwarded-For": CLIENT},
                port=None if https == 443 else https,
            )
            headers = answer.seen["headers"]
            assert (headers["x-forwarded-for"], headers["x-forwarded-proto"]) == (client, "https")
            assert headers["host"] == (host if https == 443 else f"{host}:{https}")
            # Said once, and only where https is where a browser would look for it.
            said = [value for name, value in answer.sent if name == "strict-transport-security"]
            assert said == (["max-age=63072000"] if https == 443 else [])
