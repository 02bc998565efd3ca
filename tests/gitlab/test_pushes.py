"""What travels to GitLab through Traefik is neither cut off, nor changed, nor led astray by what else runs in the cluster."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.gitlab.support.authority import Authority
from tests.gitlab.support.rendered_labs import Object, RenderedLab
from tests.gitlab.support.stand_in_pod import BANNER, SshStub, WebStub
from tests.gitlab.support.traefik_cluster import Address, TraefikCluster, ask, greeting
from tests.support.cluster import merge
from tests.support.depth import every
from tests.support.tools import tool

LONG = every()
# Traefik's default is 60 s. Without LONG both it and the lab's own setting are a sixtieth of what they are.
TRAEFIKS_DEFAULT, SHORTENED = 60, 1 if LONG else 60
SIZE, RATE = (200_000_000, 2_900_000) if LONG else (3_000_000, 1_500_000)
Run = Callable[..., TraefikCluster]
# Where cert-manager's answer to a challenge listens in its pod.
SOLVER_PORT = 8089


@pytest.fixture(scope="module")
def solver() -> Iterator[WebStub]:
    stub = WebStub("solver")
    yield stub
    stub.close()


@pytest.fixture
def traefik(
    tmp_path: Path, authority: Authority, servers: dict[str, WebStub | SshStub], solver: WebStub
) -> Iterator[Run]:
    """Return a function that starts a Traefik for a lab, with changed values of its chart and more objects if need be."""
    running: list[TraefikCluster] = []

    def start(lab: RenderedLab, values: Object | None = None, more: tuple[Object, ...] = ()) -> TraefikCluster:
        a = lab.answers
        pod: dict[int, Address] = {
            a["http_port"]: servers["gitlab"].address,
            a["registry_port"]: servers["registry"].address,
            22: servers["ssh"].address,
            SOLVER_PORT: solver.address,
        }
        folder = tmp_path / str(len(running))
        running.append(TraefikCluster(folder, [*lab.objects, *more], values or lab.traefik, pod, authority))
        return running[-1]

    yield start
    for one in running:
        one.close()


def shortened(values: Object) -> Object:
    """Return the values with every time-out of https a SHORTENED-th; Traefik's default where they set none."""
    timeouts = values["ports"]["websecure"].get("transport", {}).get("respondingTimeouts", {})
    seconds = {
        "readTimeout": TRAEFIKS_DEFAULT,
        **{name: int(value.removesuffix("s")) for name, value in timeouts.items()},
    }
    changed = {name: f"{value // SHORTENED}s" for name, value in seconds.items()}
    return merge(values, {"ports": {"websecure": {"transport": {"respondingTimeouts": changed}}}})


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file as large as a layer of an image."""
    file = tmp_path_factory.mktemp("layer") / "layer"
    file.write_bytes(os.urandom(1_000_000) * (SIZE // 1_000_000))
    return file


def push(cluster: TraefikCluster, layer: Path, protocol: str) -> subprocess.Popen[str]:
    """Begin to upload the layer to the registry, so slowly that it takes longer than Traefik's default time-out."""
    host, port = cluster.exposed(443)
    return subprocess.Popen(
        [
            tool("curl"),
            "--silent",
            "--show-error",
            protocol,
            "--cacert",
            cluster.authority.crt,
            "--connect-to",
            f"::{host}:{port}",
            "--limit-rate",
            str(RATE),
            "--max-time",
            "300",
            "--upload-file",
            layer,
            "https://registry.lab/v2/a/b/blobs/uploads/1",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.xdist_group("pushes")
@pytest.mark.slow
def test_a_large_push_outlasts_traefiks_usual_patience(traefik: Run, layer: Path) -> None:
    lab = RenderedLab({"base_domain": "lab"})
    impatient = deepcopy(lab.traefik)
    del impatient["ports"]["websecure"]["transport"]
    clusters = {
        "Ingress": traefik(lab, shortened(lab.traefik)),
        "IngressRoute": traefik(
            RenderedLab({"base_domain": "lab"}, {"ingress": {"kind": "IngressRoute"}}), shortened(lab.traefik)
        ),
        "without the lab's setting": traefik(lab, shortened(impatient)),
    }
    pushes = {
        (name, protocol): push(cluster, layer, protocol)
        for name, cluster in clusters.items()
        for protocol in ("--http1.1", "--http2")
    }
    digest = hashlib.sha256(layer.read_bytes()).hexdigest()
    for (name, protocol), process in pushes.items():
        out, error = process.communicate()
        arrived = process.returncode == 0 and out.startswith("{") and json.loads(out)["sha256"] == digest
        assert arrived is (name != "without the lab's setting"), (name, protocol, out, error)


@pytest.mark.parametrize("kind", ["Ingress", "IngressRoute"])
def test_an_encoded_slash_stays_encoded_as_gitlabs_api_needs_it(traefik: Run, authority: Authority, kind: str) -> None:
    cluster = traefik(RenderedLab({"base_domain": "lab"}, {"ingress": {"kind": kind}}))
    path = "/api/v4/projects/homelab%2Fdemo/repository/files/src%2Fa%20b.txt?ref=main"
    answer = ask(cluster.exposed(443), "gitlab.lab", path, trusted=authority.crt)
    assert (answer.status, answer.seen.get("path")) == (200, path)


def test_a_terminal_in_the_browser_gets_its_web_socket(traefik: Run, authority: Authority) -> None:
    where = traefik(RenderedLab({"base_domain": "lab"})).exposed(443)
    context = ssl.create_default_context(cafile=str(authority.crt))
    with context.wrap_socket(socket.create_connection(where, timeout=10), server_hostname="gitlab.lab") as connection:
        connection.sendall(
            b"GET /-/cable HTTP/1.1\r\nHost: gitlab.lab\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        received = b""
        while piece := connection.recv(1000):
            received += piece
    assert received.startswith(b"HTTP/1.1 101 ") and received.endswith(b"gitlab speaks websocket")


def neighbour() -> tuple[Object, ...]:
    """Return another application of the cluster, whose Ingress names no entry point: Traefik puts it on all the default ones."""
    labels = {"app": "neighbour"}
    backend = {"service": {"name": "neighbour", "port": {"number": 80}}}
    return (
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {
                "name": "neighbour",
                "namespace": "default",
                "annotations": {"traefik.ingress.kubernetes.io/router.tls": "true"},
            },
            "spec": {
                "ingressClassName": "traefik",
                "rules": [
                    {
                        "host": "neighbour.lab",
                        "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
                    }
                ],
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "neighbour", "namespace": "default"},
            "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": 80}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "neighbour", "namespace": "default"},
            "spec": {"template": {"metadata": {"labels": labels}}},
        },
    )


def challenge(path: str) -> tuple[Object, ...]:
    """Return what cert-manager makes in GitLab's namespace while a public authority asks for a proof over plain http.

    Source: pkg/issuer/acme/http in cert-manager (ingress.go, service.go, pod.go).
    """
    labels = {"acme.cert-manager.io/http01-solver": "true", "acme.cert-manager.io/http-token": "1"}
    metadata = {"name": "cm-acme-http-solver-1", "namespace": "gitlab"}
    port = {"name": "http", "port": SOLVER_PORT, "targetPort": SOLVER_PORT}
    backend = {"service": {"name": metadata["name"], "port": {"number": SOLVER_PORT}}}
    paths = [{"path": path, "pathType": "ImplementationSpecific", "backend": backend}]
    return (
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": metadata,
            "spec": {
                "ingressClassName": "traefik",
                "rules": [{"host": "gitlab.lab.example.com", "http": {"paths": paths}}],
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"type": "NodePort", "selector": labels, "ports": [port]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {"template": {"metadata": {"labels": labels}}},
        },
    )


@pytest.mark.parametrize("kind", ["Ingress", "IngressRoute"])
def test_an_authoritys_challenge_is_answered_and_not_led_to_https(traefik: Run, kind: str) -> None:
    path = "/.well-known/acme-challenge/LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"
    lab = RenderedLab({"tls_source": "cert-manager"}, {"ingress": {"kind": kind}})
    web = traefik(lab, more=challenge(path)).exposed(80)
    answer = ask(web, "gitlab.lab.example.com", path)
    assert (answer.status, answer.seen.get("name")) == (200, "solver")
    assert ask(web, "gitlab.lab.example.com", "/.well-known/other").status == 301


@pytest.mark.slow
def test_other_applications_stay_off_the_entry_point_for_ssh(traefik: Run) -> None:
    lab = RenderedLab({"base_domain": "lab", "ssh_exposure": "traefik"})
    assert greeting(traefik(lab, more=neighbour()).exposed(2223)) == BANNER
    without: Any = deepcopy(lab.traefik)
    for port in without["ports"].values():
        port.pop("asDefault", None)
    # Traefik then waits for the client to speak first, to tell https from SSH, while a client of SSH waits for the server.
    assert greeting(traefik(lab, without, neighbour()).exposed(2223), seconds=1) == b""
