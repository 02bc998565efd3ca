"""What an API server refuses although the schemas allow it: names, references, uniqueness."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

Object = dict[str, Any]

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
# Services until Kubernetes 1.36, and everything that becomes a DNS name of its own.
SERVICE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?")
PORT_NAME = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?")
QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+|[numk]|[KMGTPE]i?)?")


def complaints(objects: list[Object]) -> list[str]:
    """Return what is wrong with the objects of one release; nothing, if all is well."""
    return [
        f"{thing['kind']} {thing['metadata'].get('name')}: {text}" for thing in objects for text in _object(thing)
    ] + [*_release(objects)]


def _twice(items: Any) -> list[Any]:
    return [item for item, count in Counter(items).items() if count > 1]


def _object(thing: Object) -> Iterator[str]:
    metadata, kind = thing["metadata"], thing["kind"]
    name = metadata["name"]
    if not (SERVICE_NAME if kind == "Service" else SUBDOMAIN).fullmatch(name) or len(name) > 253:
        yield "illegal name"
    for key, value in metadata.get("labels", {}).items():
        if not LABEL_VALUE.fullmatch(value):
            yield f"illegal label {key}: {value!r}"
    if kind == "Service":
        yield from _service(thing["spec"])
    elif kind == "PersistentVolumeClaim":
        yield from _claim(thing["spec"])
    elif kind in {"Deployment", "StatefulSet"}:
        yield from _workload(thing)
    elif kind == "Pod":
        yield from _pod(thing["spec"], set())
    elif kind == "ImagePolicy":
        if ("interval" in thing["spec"]) != (thing["spec"].get("digestReflectionPolicy") == "Always"):
            yield "interval goes with digestReflectionPolicy: Always, and with nothing else"
        if len(thing["spec"]["policy"]) != 1:
            yield "one order of tags"


def _service(spec: Object) -> Iterator[str]:
    ports = spec.get("ports", [])
    if not ports and spec.get("clusterIP") != "None":
        yield "no ports"
    yield from (f"port name {port['name']!r}" for port in ports if not PORT_NAME.fullmatch(port["name"]))
    yield from (f"port {port} twice" for port in _twice((port["port"], port["protocol"]) for port in ports))
    yield from (f"port name {name} twice" for name in _twice(port["name"] for port in ports))
    yield from (
        f"nodePort of a {spec.get('type')}" for port in ports if "nodePort" in port and spec["type"] == "ClusterIP"
    )
    for field in ("loadBalancerIP", "loadBalancerClass", "loadBalancerSourceRanges", "allocateLoadBalancerNodePorts"):
        if field in spec and spec["type"] != "LoadBalancer":
            yield f"{field} of a {spec['type']}"


def _claim(spec: Object) -> Iterator[str]:
    if not QUANTITY.fullmatch(str(spec["resources"]["requests"]["storage"])):
        yield f"no quantity: {spec['resources']['requests']['storage']!r}"


def _workload(thing: Object) -> Iterator[str]:
    spec = thing["spec"]
    template = spec["template"]
    labels = template["metadata"]["labels"]
    if thing["kind"] == "StatefulSet" and len(thing["metadata"]["name"]) > 52:
        yield "longer than 52 characters: no pod could be labelled with its revision"
    for key, value in spec["selector"]["matchLabels"].items():
        if labels.get(key) != value:
            yield f"does not select its own pods by {key}"
    for key, value in labels.items():
        if not LABEL_VALUE.fullmatch(value):
            yield f"illegal pod label {key}: {value!r}"
    strategy = spec.get("strategy") or spec.get("updateStrategy") or {}
    if "rollingUpdate" in strategy and strategy["type"] != "RollingUpdate":
        yield f"rollingUpdate with {strategy['type']}"
    claims = {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
    yield from _pod(template["spec"], claims)


def _pod(spec: Object, claims: set[str]) -> Iterator[str]:
    volumes = [volume["name"] for volume in spec.get("volumes", [])]
    yield from (f"volume {name!r}" for name in volumes if not LABEL.fullmatch(name))
    yield from (f"volume {name} twice" for name in _twice([*volumes, *claims]))
    yield from (f"volume {volume} has no single source" for volume in spec.get("volumes", []) if len(volume) != 2)
    yield from (f"address {ip} twice" for ip in _twice(alias["ip"] for alias in spec.get("hostAliases", [])))
    spreads = spec.get("topologySpreadConstraints", [])
    yield from (
        f"spread {key} twice" for key in _twice((one["topologyKey"], one["whenUnsatisfiable"]) for one in spreads)
    )
    containers = spec["containers"] + spec.get("initContainers", [])
    yield from (f"container {name} twice" for name in _twice(one["name"] for one in containers))
    names = _twice(port["name"] for one in containers for port in one.get("ports", []) if "name" in port)
    yield from (f"port name {name} twice in the pod" for name in names)
    for one in containers:
        yield from (f"{one['name']}: {text}" for text in _container(one, {*volumes, *claims}))


def _container(one: Object, volumes: set[str]) -> Iterator[str]:
    mounts = one.get("volumeMounts", [])
    yield from (f"mounts {mount['name']}, which is no volume" for mount in mounts if mount["name"] not in volumes)
    yield from (f"two volumes on {path}" for path in _twice(mount["mountPath"].rstrip("/") for mount in mounts))
    yield from (f"mounts on {mount['mountPath']!r}" for mount in mounts if ":" in mount["mountPath"])
    for mount in mounts:
        if ".." in mount.get("subPath", "").split("/") or mount.get("subPath", "").startswith("/"):
            yield f"subPath {mount['subPath']!r}"
    ports = one.get("ports", [])
    yield from (
        f"port name {port['name']!r}" for port in ports if "name" in port and not PORT_NAME.fullmatch(port["name"])
    )
    yield from (f"port {port} twice" for port in _twice((p["containerPort"], p.get("protocol")) for p in ports))
    env = one.get("env", [])
    yield from (f"variable {name} twice" for name in _twice(variable["name"] for variable in env))
    for variable in env:
        if "valueFrom" in variable and ("value" in variable or len(variable["valueFrom"]) != 1):
            yield f"variable {variable['name']} from several places"
    for key in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = one.get(key)
        if probe is not None and len(probe.keys() & {"exec", "httpGet", "tcpSocket", "grpc"}) != 1:
            yield f"{key} asks in no single way"
    for amounts in one.get("resources", {}).values():
        for amount in amounts.values():
            if not QUANTITY.fullmatch(str(amount)):
                yield f"no quantity: {amount!r}"


def _release(objects: list[Object]) -> Iterator[str]:
    named = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects]
    yield from (f"two objects called {'/'.join(map(str, name))}" for name in _twice(named))
    services = {o["metadata"]["name"]: o["spec"] for o in objects if o["kind"] == "Service"}
    for where, name, port in _backends(objects):
        if name not in services:
            yield f"{where} leads to the Service {name}, which is not there"
        elif port not in {entry["port"] for entry in services[name]["ports"] if entry["protocol"] == "TCP"}:
            yield f"{where} leads to port {port} of the Service {name}, which has none"
    pods = [o["spec"]["template"] for o in objects if o["kind"] in {"Deployment", "StatefulSet"}]
    for name, spec in services.items():
        for pod in pods:
            if not spec["selector"].items() <= pod["metadata"]["labels"].items():
                yield f"Service {name} does not find the pods"
            open_ports = {
                value
                for one in pod["spec"]["containers"]
                for p in one.get("ports", [])
                for value in (p["containerPort"], p.get("name"))
            }
            for port in spec.get("ports", []):
                if port["targetPort"] not in open_ports:
                    yield f"Service {name} leads to {port['targetPort']}, which no container has"
        for tester in (o for o in objects if o["kind"] == "Pod"):
            if spec["selector"].items() <= tester["metadata"]["labels"].items():
                yield f"Service {name} would send requests to the test's pod"
    middlewares = {o["metadata"]["name"] for o in objects if o["kind"] == "Middleware"}
    secrets = {o["spec"]["secretName"] for o in objects if o["kind"] == "Certificate"}
    for thing in objects:
        if thing["kind"] == "IngressRoute":
            for route in thing["spec"]["routes"]:
                for ref in route.get("middlewares", []):
                    if ref["name"].endswith("https-redirect") and ref["name"] not in middlewares:
                        yield f"{thing['metadata']['name']}: no middleware {ref['name']}"
    for thing in objects:
        if thing["kind"] == "Certificate":
            users = [o for o in objects if o["kind"] in {"Ingress", "IngressRoute"} and _tls_secret(o) in secrets]
            if not users:
                yield "a certificate that nothing uses"


def _tls_secret(thing: Object) -> str | None:
    tls = thing["spec"].get("tls") or {}
    return (tls[0] if isinstance(tls, list) else tls).get("secretName")


def _backends(objects: list[Object]) -> Iterator[tuple[str, str, int]]:
    for thing in objects:
        where = f"{thing['kind']} {thing['metadata']['name']}"
        if thing["kind"] == "Ingress":
            for rule in thing["spec"]["rules"]:
                for path in rule["http"]["paths"]:
                    service = path["backend"]["service"]
                    yield where, service["name"], service["port"]["number"]
        elif thing["kind"] in {"IngressRoute", "IngressRouteTCP"}:
            for route in thing["spec"]["routes"]:
                for service in route["services"]:
                    yield where, service["name"], service["port"]
        elif thing["kind"] == "HTTPRoute":
            for rule in thing["spec"]["rules"]:
                for ref in rule["backendRefs"]:
                    yield where, ref["name"], ref["port"]
