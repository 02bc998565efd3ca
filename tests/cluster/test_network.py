"""Each connection of the table in the lab's README, tried with real sockets between network namespaces.

The rendered policies go to the real API server; kube-router, whose controller k3s has built in, puts them into the kernel.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.support.rendering import render
from tests.cluster.conftest import Worlds
from tests.cluster.control_plane import ControlPlane
from tests.cluster.network import NODE, NODE_NAME, NODE_OBJECT, Network, start_kube_router
from tests.cluster.processes import Processes
from tests.support.cluster import Lab, Object, merge, read_lab
from tests.support.loopback import wait_for
from tests.support.rendering import recorded_answers

pytestmark = pytest.mark.xdist_group("network")
APPS, OTHER = "apps", "other"
INTERNET, STORAGE, LAN = "198.51.100.7", "192.168.1.20", "192.168.1.50"
SERVICE_OF_KUBERNETES, SERVICE_OF_DNS = "10.43.0.1", "10.43.0.10"
SETTLED = 30.0  # seconds in which kube-router has taken up a change


@dataclass(frozen=True)
class Row:
    """One line of the README's table."""

    caller: str
    called: str
    reached: bool
    changes: tuple[tuple[str, dict[str, Any]], ...] = field(hash=False)

    @property
    def title(self) -> str:
        return f"{self.caller} to {self.called}"


def rows_of(readme: str) -> list[Row]:
    """Return the lines of the table "Who reaches whom"."""
    table = readme.split("## Who reaches whom")[1].split("\n## ", maxsplit=1)[0]
    rows = []
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if not line.startswith("|") or len(cells) < 3 or cells[0] in {"from", "---"}:
            continue
        found = re.findall(r"the (caller|called one): `([^`]+)`", cells[3] if len(cells) > 3 else "")
        changes = tuple((who, yaml.safe_load("{" + text + "}")) for who, text in found)
        assert cells[2] in {"yes", "no"}, line
        rows.append(Row(cells[0].replace("`", ""), cells[1].replace("`", ""), cells[2] == "yes", changes))
    return rows


class Place:
    """A lab's policies in force, and the machines that call one another."""

    # Each machine's address, and the ports that it listens on.
    addresses: dict[str, str]

    def __init__(self, plane: ControlPlane, processes: Processes, lab: Lab) -> None:
        self.plane, self.lab, self.network = plane, lab, Network()
        self.addresses = {}
        self._prepare()
        for number, (name, ports) in enumerate(self._pods().items(), start=10):
            self._machine(name, f"10.42.0.{number}", ports)
        for name, address, port in (("internet", INTERNET, 443), ("storage", STORAGE, 2049), ("lan", LAN, 8080)):
            self._machine(name, address, [(port, "tcp")])
        # The API server of these tests listens on the loopback; this stands for it at the node's own address.
        for port in (22, 6443):
            self.network.listen("", port, address=NODE)
        for protocol in ("udp", "tcp"):
            self.network.lead(protocol, SERVICE_OF_DNS, 53, f"{self.addresses['dns']}:53")
        self.network.lead("tcp", SERVICE_OF_KUBERNETES, 443, f"{NODE}:6443")
        self.network.lead("tcp", NODE, 443, f"{self.addresses['traefik']}:8443")
        for name in self._pods():
            self._tell_address(name)
        start_kube_router(plane, processes)

    def _prepare(self) -> None:
        self.plane.apply(NODE_OBJECT)
        namespaces = {name: {} for name in ("kube-system", OTHER)}
        namespaces |= {
            one["metadata"]["name"]: one["metadata"].get("labels", {}) for one in self.lab.of_kind("Namespace")
        }
        for name, labels in namespaces.items():
            metadata = {"name": name, "labels": labels}
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
            self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}, account)
        self.policies()

    def policies(self) -> None:
        """Let the lab's policies be in force, as they were rendered."""
        self.apply(*self.lab.of_kind("NetworkPolicy"))

    def apply(self, *things: Object) -> None:
        self.plane.apply("\n---\n".join(json.dumps(thing) for thing in things))

    def template(self, namespace: str, name: str) -> Object:
        found = next(one for one in self.lab.of_kind("Deployment") if one["metadata"]["name"] == name)
        assert found["metadata"]["namespace"] == namespace
        template: Object = found["spec"]["template"]
        return template

    def _pods(self) -> dict[str, list[tuple[int, str]]]:
        return {
            "demo": [(8080, "tcp")],
            "demo-2": [(8080, "tcp")],
            "shop": [(8080, "tcp")],
            "stray": [(8080, "tcp")],
            "gitlab": [(80, "tcp"), (5050, "tcp"), (22, "tcp")],
            "traefik": [(8443, "tcp")],
            "dns": [(53, "udp"), (53, "tcp")],
            "other": [(8080, "tcp")],
        }

    def _pod(self, name: str) -> Object:
        """Return a pod of a rendered release, or one of what the lab finds in the cluster."""
        where = {
            "gitlab": str(self.lab.answers["gitlab_namespace"]),
            "traefik": "kube-system",
            "dns": "kube-system",
            "other": OTHER,
        }
        namespace = where.get(name, APPS)
        if name in ("demo", "demo-2", "shop", "gitlab"):
            template = self.template(namespace, name.partition("-")[0])
        else:
            template = plain_pod(
                {"traefik": "app.kubernetes.io/name=traefik", "dns": "k8s-app=kube-dns"}.get(name, "app=x")
            )
        metadata = {"name": name, "namespace": namespace, "labels": template["metadata"]["labels"]}
        spec = {**template["spec"], "nodeName": NODE_NAME}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    def _machine(self, name: str, address: str, ports: list[tuple[int, str]]) -> None:
        self.network.add(name, address)
        self.addresses[name] = address
        for port, protocol in ports:
            self.network.listen(name, port, protocol)

    def _tell_address(self, name: str) -> None:
        pod, address = self._pod(name), self.addresses[name]
        self.apply(pod)
        status = {"phase": "Running", "hostIP": NODE, "podIP": address, "podIPs": [{"ip": address}]}
        status["conditions"] = [{"type": "Ready", "status": "True"}]
        self.plane.api.patch("pods", name, pod["metadata"]["namespace"], {"status": status}, "status")

    # What the table calls things

    def caller(self, row: Row) -> str:
        names = {
            "Traefik": "traefik",
            "an application": "demo",
            "the node of a pod": "",
            "a pod of another namespace": "other",
            "a machine of the LAN": "lan",
            f"another pod in {APPS}": "stray",
            "GitLab": "gitlab",
        }
        return names[row.caller]

    def called(self, row: Row) -> tuple[str, int, str]:
        a = self.addresses
        places: dict[str, tuple[str, int, str]] = {
            "an application's ports": (a["demo"], 8080, "tcp"),
            "another pod of its release": (a["demo-2"], 8080, "tcp"),
            "another application's ports": (a["shop"], 8080, "tcp"),
            "the cluster's DNS": (SERVICE_OF_DNS, 53, "udp"),
            "the internet": (INTERNET, 443, "tcp"),
            "Traefik: GitLab, its registry, other hosts of the lab": (NODE, 443, "tcp"),
            "GitLab's web port behind Traefik": (a["gitlab"], 80, "tcp"),
            "GitLab's registry behind Traefik": (a["gitlab"], 5050, "tcp"),
            "GitLab's SSH": (a["gitlab"], 22, "tcp"),
            "Kubernetes": (SERVICE_OF_KUBERNETES, 443, "tcp"),
            "the NFS server": (STORAGE, 2049, "tcp"),
            "a node": (NODE, 22, "tcp"),
            "a machine of the LAN": (LAN, 8080, "tcp"),
        }
        return places[row.called]

    def is_reached(self, row: Row) -> bool:
        return self.network.reaches(self.caller(row), *self.called(row))

    def is_opened_with(self, one: Row, row: Row) -> bool:
        """Say whether what a row opens holds another one's address and port, too: a network has many."""
        address, port, _ = self.called(one)
        address, port = (NODE, 6443) if address == SERVICE_OF_KUBERNETES else (address, port)
        opened = [peer for who, values in row.changes if who == "caller" for peer in values["to"].get("addresses", [])]
        return one.caller == row.caller and any(
            ip_address(address) in ip_network(peer["cidr"]) and port in peer.get("ports", [port]) for peer in opened
        )

    def change(self, row: Row) -> None:
        """Take the values of a row into the releases that it names."""
        for who, values in row.changes:
            name = self.caller(row) if who == "caller" else "shop" if row.called.startswith("another app") else "demo"
            self.apply(policy_of(self.lab, name, {"networkPolicy": values}))


def policy_of(lab: Lab, name: str, more: dict[str, Any]) -> Object:
    objects = render(merge(lab.values[f"{APPS}/{name}"], more), name=name, namespace=APPS)
    return next(one for one in objects if one["kind"] == "NetworkPolicy")


def plain_pod(label: str) -> Object:
    """Return a pod that passes Pod Security anywhere, and is of no release of the lab."""
    context = {"allowPrivilegeEscalation": False, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}}
    context["seccompProfile"] = {"type": "RuntimeDefault"}
    ports = [{"name": "web", "containerPort": 8000}, {"name": "websecure", "containerPort": 8443}]
    container = {"name": "app", "image": "example.com/app:1", "securityContext": context, "ports": ports}
    key, _, value = label.partition("=")
    return {
        "metadata": {"labels": {key: value}},
        "spec": {"containers": [container], "automountServiceAccountToken": False},
    }


@pytest.fixture(scope="module")
def place(worlds: Worlds, lab_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    worlds.close()  # it has the same ports
    path = lab_of("defaults")
    # The second application is one that the lab's own command writes.
    subprocess.run(["./lab", "new-app", "shop"], cwd=path, check=True, capture_output=True)
    lab = read_lab(path, recorded_answers(path))
    folder = tmp_path_factory.mktemp("network")
    processes = Processes(folder / "log")
    plane = ControlPlane(folder / "plane", processes)
    plane.start_api()
    found = Place(plane, processes, lab)
    try:
        yield found
    finally:
        processes.stop_all()
        plane.api.close()
        found.network.stop()


@pytest.fixture(scope="module")
def rows(place: Place) -> list[Row]:
    return rows_of((place.lab.path / "README.md").read_text(encoding="utf-8"))


def settle(place: Place, wanted: dict[Row, bool]) -> None:
    """Wait until every connection is as wanted; say which are not."""
    wrong: list[str] = []

    def all_right() -> bool:
        wrong[:] = [row.title for row, reached in wanted.items() if place.is_reached(row) != reached]
        return not wrong

    try:
        wait_for("kube-router", all_right, seconds=SETTLED, pause=0.3)
    except AssertionError:
        raise AssertionError(f"otherwise than wanted: {wrong}") from None


def test_each_connection_of_the_readme_is_allowed_or_refused_as_it_says(place: Place, rows: list[Row]) -> None:
    assert len(rows) > 20
    settle(place, {row: row.reached for row in rows})


def test_each_value_of_the_readme_opens_or_closes_its_connection_and_no_other(place: Place, rows: list[Row]) -> None:
    settle(place, {row: row.reached for row in rows})
    changed = [row for row in rows if row.changes]
    assert len(changed) > 10
    for row in changed:
        place.change(row)
        settle(place, {row: not row.reached})
        settle(place, {one: one.reached for one in rows if one is not row and not place.is_opened_with(one, row)})
        place.policies()
        settle(place, {row: row.reached})


def test_a_load_balancer_opens_its_port_to_the_lan(place: Place, rows: list[Row]) -> None:
    row = next(one for one in rows if one.caller == "a machine of the LAN")
    settle(place, {row: False})
    service = {"name": "http", "type": "LoadBalancer", "servicePort": 80, "targetPort": 8080}
    place.apply(policy_of(place.lab, "demo", {"services": [service]}))
    settle(place, {row: True})
    place.policies()
    settle(place, {row: False})


def test_without_the_policies_everything_is_reached(place: Place, rows: list[Row]) -> None:
    """So it is they that refuse, and not these machines."""
    place.plane.kubectl("delete", "networkpolicies", "--all", "--all-namespaces")
    settle(place, dict.fromkeys(rows, True))
    place.policies()
    settle(place, {row: row.reached for row in rows})


def test_a_lab_from_before_the_limits_loses_no_connection_and_no_pod(
    place: Place, rows: list[Row], lab_of: Callable[..., Path]
) -> None:
    path = lab_of("defaults", app_security="warned")
    earlier = read_lab(path, recorded_answers(path))
    place.plane.kubectl("delete", "networkpolicies", "--all", "--all-namespaces")
    place.apply(*earlier.of_kind("NetworkPolicy"))
    # GitLab's own rule is as old as the lab.
    of_gitlab = ("GitLab's web port behind Traefik", "GitLab's registry behind Traefik")
    mine = [row for row in rows if row.called not in of_gitlab or row.caller == "Traefik"]
    assert len([row for row in mine if not row.reached]) > 8
    settle(place, dict.fromkeys(mine, True))
    settle(place, {row: row.reached for row in rows if row not in mine})
    labels = next(one for one in earlier.of_kind("Namespace") if one["metadata"]["name"] == APPS)["metadata"]["labels"]
    root: Object = {"apiVersion": "v1", "kind": "Pod", **plain_pod("app=as-root")}
    root["metadata"] |= {"name": "as-root", "namespace": "earlier"}
    root["spec"]["containers"][0]["securityContext"] = {"runAsUser": 0}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "earlier"}}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "earlier", "labels": labels}}
    place.apply(namespace, account, root)
    root["metadata"]["namespace"] = APPS
    with pytest.raises(AssertionError, match='violates PodSecurity "restricted:latest"'):
        place.apply(root)
    place.plane.kubectl("delete", "networkpolicies", "--all", "--all-namespaces")
    place.policies()
    settle(place, {row: row.reached for row in rows})
