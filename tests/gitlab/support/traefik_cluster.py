"""A cluster of stand-ins around a real Traefik: what Helm rendered goes in, requests come out at GitLab's pod."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.gitlab.support.api_for_traefik import ApiForTraefik
from tests.gitlab.support.authority import Authority
from tests.support.cluster import merge, namespace_of
from tests.support.loopback import address, wait_for
from tests.support.tools import tool

Object = dict[str, Any]
Address = tuple[str, int]
# What Traefik's Helm chart has without any values (its values.yaml, which k3s takes over), as far as it concerns routing.
CHART_PORTS: dict[str, dict[str, Any]] = {
    "traefik": {"port": 8080, "exposedPort": 8080, "expose": {"default": False}},
    "metrics": {"port": 9100, "exposedPort": 9100, "expose": {"default": False}},
    "web": {"port": 8000, "exposedPort": 80, "expose": {"default": True}},
    "websecure": {"port": 8443, "exposedPort": 443, "expose": {"default": True}, "tls": {"enabled": True}},
}
INGRESS_CLASS = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "IngressClass",
    "metadata": {"name": "traefik"},
    "spec": {"controller": "traefik.io/ingress-controller"},
}


def entry_point_flags(ports: Mapping[str, Mapping[str, Any]], host: str) -> list[str]:
    """Return Traefik's flags for its entry points, as the Helm chart makes them of `ports` (its _podtemplate.tpl)."""
    flags = []
    for name, port in ports.items():
        flags.append(f"--entryPoints.{name}.address={host}:{port['port']}/{port.get('protocol', 'TCP').lower()}")
        if port.get("asDefault"):
            flags.append(f"--entryPoints.{name}.asDefault=true")
        if port.get("tls", {}).get("enabled"):
            flags.append(f"--entryPoints.{name}.http.tls=true")
        timeouts = port.get("transport", {}).get("respondingTimeouts", {})
        flags += [f"--entryPoints.{name}.transport.respondingTimeouts.{key}={value}" for key, value in timeouts.items()]
    return flags


def default_certificate(folder: Path, authority: Authority) -> Path:
    """Return a file for Traefik with the certificate for whoever asks for a host without one.

    Traefik makes one itself otherwise, with a new RSA key at each change of its configuration: a quarter of its start.
    """
    made, file = authority.of_traefik, folder / "default-certificate.yaml"
    store = {"defaultCertificate": {"certFile": str(made.crt), "keyFile": str(made.key)}}
    file.write_text(json.dumps({"tls": {"stores": {"default": store}}}), encoding="utf-8")
    return file


class TraefikCluster:
    """A running Traefik with its cluster.

    Args:
        folder: for its log and certificates.
        objects: what is in the cluster, as rendered.
        values: the values that the lab has for Traefik's Helm chart.
        pod: GitLab's pod: where each port that it listens on is served really.
        authority: signs what a Certificate asks for.
        flags: more flags for Traefik.
    """

    def __init__(
        self,
        folder: Path,
        objects: list[Object],
        values: Mapping[str, Any],
        pod: Mapping[int, Address],
        authority: Authority,
        flags: tuple[str, ...] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.host, self.authority, self._log = address(), authority, folder / "traefik.log"
        self.ports = merge(CHART_PORTS, values.get("ports", {}))
        self.api = ApiForTraefik([*objects, INGRESS_CLASS, *endpoint_slices(objects, pod), *issued(objects, authority)])
        command = [
            tool("traefik"),
            *entry_point_flags(self.ports, self.host),
            "--ping=true",
            "--api.insecure=true",
            f"--providers.kubernetesingress.endpoint={self.api.url}",
            "--providers.kubernetesingress.allowEmptyServices=true",
            f"--providers.kubernetescrd.endpoint={self.api.url}",
            "--providers.kubernetescrd.allowEmptyServices=true",
            "--providers.providersThrottleDuration=20ms",
            "--log.level=ERROR",
            "--log.format=json",
            "--global.checkNewVersion=false",
            "--global.sendAnonymousUsage=false",
            *flags,
        ]
        if not any(thing["kind"] == "TLSStore" for thing in objects):
            command += [
                "--providers.file.watch=false",
                f"--providers.file.filename={default_certificate(folder, authority)}",
            ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            self._wait(routes(objects), sum(thing["kind"] == "Middleware" for thing in objects))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> TraefikCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self.api.close()

    def _wait(self, routers: int, middlewares: int) -> None:
        """Wait until Traefik has all of it, from both of its providers, and each of its entry points has taken it over."""

        def complete() -> bool:
            assert self._process.poll() is None, self._log.read_text()
            found = self.loaded()
            have = [
                name for kind in ("routers", "tcpRouters") for name in found.get(kind) or {} if "@kubernetes" in name
            ]
            crd = [name for name in found.get("middlewares") or {} if "@kubernetescrd" in name]
            return len(have) >= routers and len(crd) >= middlewares

        # It takes half a second and more, and each question costs both sides some of that.
        wait_for(f"Traefik with {routers} routes (see {self._log})", complete, pause=0.05)
        unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
        for router in self.loaded()["routers"].values():
            for host in re.findall(r"Host\(`([^`]+)`\)", router["rule"]):
                for name in router["entryPoints"]:
                    where, tls = (self.host, self.ports[name]["port"]), unchecked if "tls" in router else None
                    wait_for(
                        f"{host} on {name}",
                        lambda where=where, host=host, tls=tls: ask(where, host, trusted=tls).status != 404,
                    )

    def loaded(self) -> dict[str, Any]:
        """Return the configuration that Traefik runs with; nothing where it does not answer yet."""
        try:
            with urllib.request.urlopen(
                f"http://{self.host}:{self.ports['traefik']['port']}/api/rawdata", timeout=5
            ) as answer:
                return json.load(answer)
        except (OSError, http.client.HTTPException):
            return {}

    def complaints(self) -> list[str]:
        """Return what Traefik holds against its configuration, and the errors that it has written down.

        At its start one provider is sooner than the other, so a middleware may be missing for a moment: what is loaded now tells
        whether it still is.
        """
        found = [
            f"{name}: {thing.get('status')} {thing.get('error', '')}"
            for things in self.loaded().values()
            for name, thing in things.items()
            if thing.get("status", "enabled") != "enabled" or thing.get("error")
        ]
        lines = [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]
        said = [" ".join(filter(None, (line.get("message"), line.get("error")))) for line in lines]
        return found + [line for line in said if not line.endswith("does not exist")]

    def exposed(self, port: int) -> Address:
        """Return where a port of the cluster's load balancer leads: to the entry point of Traefik that is exposed on it.

        Raises:
            KeyError: Traefik is not exposed on that port.
        """
        found = {one["exposedPort"]: one["port"] for one in self.ports.values() if one.get("expose", {}).get("default")}
        return self.host, found[port]


def behind_service(objects: list[Object], pod: Mapping[int, Address], name: str, port: int) -> Address:
    """Return where a Service leads, as kube-proxy would. Raises KeyError where it has no such port, or nobody answers."""
    service = next(thing for thing in objects if (thing["kind"], thing["metadata"]["name"]) == ("Service", name))
    port_name = next((one["name"] for one in service["spec"]["ports"] if one["port"] == port), None)
    for one in endpoint_slices([thing for thing in objects if thing["kind"] == "Deployment"] + [service], pod):
        if one["ports"][0]["name"] == port_name:
            return one["endpoints"][0]["addresses"][0], one["ports"][0]["port"]
    raise KeyError(f"{name}:{port}")


def routes(objects: list[Object]) -> int:
    """Return how many routers Traefik makes of the objects."""
    return sum(
        len(thing["spec"]["rules"][0]["http"]["paths"]) if thing["kind"] == "Ingress" else len(thing["spec"]["routes"])
        for thing in objects
        if thing["kind"] in {"Ingress", "IngressRoute", "IngressRouteTCP"}
    )


def endpoint_slices(objects: list[Object], pod: Mapping[int, Address]) -> list[Object]:
    """Return what Kubernetes would make of the Services: the pods that each selects, on the ports that they listen on."""
    pods = [
        (namespace_of(one), one["spec"]["template"]["metadata"]["labels"].items())
        for one in objects
        if one["kind"] == "Deployment"
    ]
    found = []
    for service in (thing for thing in objects if thing["kind"] == "Service"):
        spec, space = service["spec"], namespace_of(service)
        if not any(where == space and spec["selector"].items() <= labels for where, labels in pods):
            continue
        for port in spec["ports"]:
            if port["targetPort"] in pod:
                host, real = pod[port["targetPort"]]
                found.append(
                    {
                        "apiVersion": "discovery.k8s.io/v1",
                        "kind": "EndpointSlice",
                        "addressType": "IPv4",
                        "metadata": {
                            "name": f"{service['metadata']['name']}-{port['port']}",
                            "namespace": space,
                            "labels": {"kubernetes.io/service-name": service["metadata"]["name"]},
                        },
                        "endpoints": [{"addresses": [host], "conditions": {"ready": True, "serving": True}}],
                        "ports": [{"name": port["name"], "port": real, "protocol": "TCP"}],
                    }
                )
    return found


def issued(objects: list[Object], authority: Authority) -> list[Object]:
    """Return the Secrets that cert-manager would make of the Certificates."""
    return [
        authority.sign("issued by cert-manager", *thing["spec"]["dnsNames"]).secret(
            thing["spec"]["secretName"], namespace_of(thing)
        )
        for thing in objects
        if thing["kind"] == "Certificate"
    ]


class Answer:
    """What came back.

    Attributes:
        status: the HTTP status.
        headers: its headers, by lower-case name.
        sent: the same as they came, one that came twice included.
        seen: what the pod says that it was asked; empty where another answered.
        certificate: the server's certificate in DER form.
    """

    def __init__(self, response: http.client.HTTPResponse, body: bytes, certificate: bytes | None) -> None:
        self.status = response.status
        self.sent = [(key.lower(), value) for key, value in response.getheaders()]
        self.headers = dict(self.sent)
        self.seen: dict[str, Any] = json.loads(body) if self.headers.get("content-type") == "application/json" else {}
        self.certificate = certificate


def ask(
    where: Address,
    host: str,
    path: str = "/",
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    trusted: Path | ssl.SSLContext | None = None,
    source: str = "127.0.0.1",
    port: int | None = None,
) -> Answer:
    """Send one request.

    Args:
        where: the address that DNS and the load balancer lead to.
        host, port: what the user typed; the port where it is not the usual one.
        trusted: the authority that the client trusts; without it the request is plain http.
        source: the client's own address.

    Raises:
        ssl.SSLError: the certificate is not the host's, or not signed by the authority.
    """
    connection = http.client.HTTPConnection(host if port is None else f"{host}:{port}", timeout=20)
    certificate = None
    with socket.create_connection(where, timeout=20, source_address=(source, 0)) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if trusted is None:
            connection.sock = plain
        else:
            context = (
                trusted if isinstance(trusted, ssl.SSLContext) else ssl.create_default_context(cafile=str(trusted))
            )
            connection.sock = context.wrap_socket(plain, server_hostname=host)
            certificate = connection.sock.getpeercert(binary_form=True)
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        found = Answer(response, response.read(), certificate)
        connection.close()
    return found


def greeting(where: Address, seconds: float = 5) -> bytes:
    """Return what a server says to a client that connects and keeps silent; nothing where it says nothing in time."""
    with socket.create_connection(where, timeout=seconds) as connection:
        try:
            return connection.recv(100)
        except TimeoutError:
            return b""
