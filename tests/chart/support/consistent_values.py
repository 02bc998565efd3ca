"""Makes drawn values agree with the rules that no schema can say, so that the chart has to render them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any
from zlib import crc32

Values = dict[str, Any]
SOURCES = ["nfs", "hostPath", "existingClaim", "claim", "emptyDir", "configMap", "secret"]
HANDLERS = ["exec", "httpGet", "tcpSocket", "grpc"]
BALANCER = ["loadBalancerIP", "loadBalancerClass", "loadBalancerSourceRanges", "allocateLoadBalancerNodePorts"]
RANGES = [">=0.0.0", "1.4.x", ">=1.2.0-0 <2.0.0", "^1.2 || ~3", "1.2 - 1.4"]
OWN_LABELS = ["app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "helm.sh/chart"]


def settled(drawn: Values) -> Values:
    """Return the values with every contradiction fixed, and nothing else changed."""
    values = deepcopy(drawn)
    _image(values)
    _names(values)
    _services(values)
    _env(values)
    _volumes(values)
    _routes(values)
    _sign_in(values)
    _network(values)
    _workload(values)
    _containers(values)
    for number, thing in enumerate(values.get("extraObjects", [])):
        thing["metadata"]["name"] = f"extra-{number}"
    return values


def _image(values: Values) -> None:
    image = values.setdefault("image", {})
    image["repository"] = image.get("repository") or "registry.lab/homelab/demo"
    if isinstance(image.get("tag"), float):
        image["tag"] = int(image["tag"])
    if image.get("tag") in (None, "") and not image.get("digest"):
        image["tag"] = "1.0.0"
    policy = values.get("imagePolicy", {})
    if policy.get("numerical"):
        policy.pop("alphabetical", None)
    tags = policy.get("filterTags", {})
    if tags.get("pattern"):
        tags["pattern"] = f"^{re.escape(tags['pattern'])}(?P<ts>[0-9]+)$"
        if tags.get("extract"):
            tags["extract"] = "$ts"
    else:
        tags.pop("extract", None)
    if "semver" in policy:
        policy["semver"] = RANGES[len(policy["semver"]) % len(RANGES)]
    if "exclusionList" in policy:
        policy["exclusionList"] = [re.escape(one) for one in policy["exclusionList"]]


def _names(values: Values) -> None:
    for key in ("fullnameOverride", "nameOverride"):
        if values.get(key, "")[:1].isdigit():
            values[key] = f"a{values[key][1:]}".strip("-") or "a"
    for labels in _label_maps(values):
        for name in OWN_LABELS:
            labels.pop(name, None)
    values.get("podAnnotations", {}).pop("checksum/config", None)


def _label_maps(values: Values) -> Iterator[dict[str, Any]]:
    volumes = values.get("volumes", {})
    yield from (values.get(key, {}) for key in ("labels", "podLabels"))
    yield from (service.get("labels", {}) for service in values.get("services", []))
    yield from (config.get("labels", {}) for config in values.get("configMaps", {}).values() if config)
    for volume in [volumes, *(item for item in volumes.get("items", {}).values() if item)]:
        yield volume.get("claim", {}).get("labels", {})


def ports_of(values: Values) -> list[Values]:
    return [port for service in values.get("services", []) for port in [service, *service.get("morePorts", [])]]


def _services(values: Values) -> None:
    node_ports: set[int] = set()
    for number, service in enumerate(values.get("services", [])):
        service["name"] = f"s{number}"
        kind = service.get("type", "ClusterIP")
        if kind != "LoadBalancer":
            for key in BALANCER:
                service.pop(key, None)
        if kind == "ClusterIP":
            service.pop("externalTrafficPolicy", None)
        elif service.get("clusterIP") == "None":
            del service["clusterIP"]
        taken: set[tuple[int, str]] = set()
        for index, port in enumerate([service, *service.get("morePorts", [])]):
            if index:
                port["name"] = f"s{number}p{index}"
            while (port["servicePort"], port.get("protocol", "TCP")) in taken:
                port["servicePort"] = port["servicePort"] % 65535 + 1
            taken.add((port["servicePort"], port.get("protocol", "TCP")))
            if isinstance(port.get("targetPort"), str):
                port["targetPort"] = 8080
            if kind == "ClusterIP" or port.get("nodePort") in node_ports:
                port.pop("nodePort", None)
            node_ports.add(port.get("nodePort", 0))


def _env_list(env: list[Values]) -> None:
    for number, variable in enumerate(env):
        variable["name"] = f"{variable['name']}.{number}"
        if "valueFrom" in variable:
            variable.pop("value", None)
            _only_one(variable["valueFrom"], {"fieldRef": {"fieldPath": "metadata.name"}})


def _only_one(choices: Values, otherwise: Values) -> None:
    for key in list(choices)[1:]:
        del choices[key]
    if not choices:
        choices.update(otherwise)


def _env_from(sources: list[Values]) -> None:
    for source in sources:
        prefix = source.pop("prefix", None)
        _only_one(source, {"secretRef": {"name": "demo"}})
        if prefix is not None:
            source["prefix"] = prefix


def _env(values: Values) -> None:
    env = values.get("env", {})
    if isinstance(env, list):
        _env_list(env)
    else:
        for value in env.values():
            if isinstance(value, dict):
                _only_one(value["valueFrom"], {"fieldRef": {"fieldPath": "metadata.name"}})
    _env_from(values.get("envFrom", []))


def _volumes(values: Values) -> None:
    volumes = values.get("volumes", {})
    items = volumes.get("items", {})
    configs = {name: config for name, config in values.get("configMaps", {}).items() if config}
    for name in [name for name in items if name == "storage" or name.startswith("configmap-")]:
        del items[name]
    for where in [volumes, *(item for item in items.values() if item)]:
        found = [key for key in SOURCES if key in where]
        for key in found[1:]:
            del where[key]
        if not found and where is volumes:
            where.pop("mountPath", None)
        elif not found:
            where["emptyDir"] = {}
    for number, where in enumerate([volumes, *(item for item in items.values() if item)]):
        if "existingClaim" in where:
            where["existingClaim"] = f"existing-{number}"
    for number, where in enumerate([volumes, *(item for item in items.values() if item), *configs.values()]):
        if "mountPath" in where:
            where["mountPath"] = _mount_paths(
                where["mountPath"], number, whole=number > len([i for i in items.values() if i])
            )
    for config in configs.values():
        for key in config.get("data", {}):
            config.get("binaryData", {}).pop(key, None)


def _mount_paths(paths: Any, number: int, whole: bool) -> Any:
    """Return the paths below /m<number>, so that no two volumes share one; *whole* without subPaths."""
    if isinstance(paths, str):
        return _mount_paths([paths], number, whole)[0]
    renamed = []
    for index, path in enumerate(paths):
        sub, colon, mount = path.rpartition(":")
        sub = "" if whole else "/".join("dots" if part == ".." else part for part in sub.split("/")) + colon
        renamed.append(f"{sub}/m{number}/{index}/{mount.strip('/')}".replace("/..", "/dots"))
    return renamed


def _routes(values: Values) -> None:
    tcp = [port for port in ports_of(values) if port.get("protocol", "TCP") == "TCP"]
    ingress, gateway = values.get("ingress", {}), values.get("gateway", {})
    for part in (ingress, gateway):
        seen: set[tuple[str, str]] = set()
        for number, host in enumerate(part.get("hosts", [])):
            host["name"] = ".".join(label[:63].strip("-") or "x" for label in host["name"].split("."))
            host["path"] = f"/{number}" + "".join(
                f"/{one}" for one in host.get("path", "").split("/") if one.strip(".")
            )
            assert (host["name"], host["path"]) not in seen
            seen.add((host["name"], host["path"]))
            _backend(values, host, tcp)
    if not ingress.get("hosts") or not tcp:
        ingress.pop("enabled", None)
        ingress.pop("hosts", None)
    if not tcp or not (gateway.get("hosts") or ingress.get("hosts")) or not gateway.get("parentRefs"):
        gateway.pop("enabled", None)
    tls = ingress.get("tls", {})
    chosen = [key for key in ("secretName", "issuer", "certResolver") if tls.get(key)]
    for key in chosen[1:]:
        del tls[key]
    if ingress.get("kind") != "IngressRoute" and not ingress.get("className", "traefik").startswith("traefik"):
        tls.pop("certResolver", None)
    if not tcp:
        values.pop("tcpRoutes", None)
    for number, route in enumerate(values.get("tcpRoutes", [])):
        route.update(name=f"t{number}", entryPoint=f"tcp{number}")
        _backend(values, route, tcp)
        if route.get("host", "*") != "*":
            route["passthrough"] = True


def _sign_in(values: Values) -> None:
    """Close what leads around a log-in; a pod with its node's network has none, for no NetworkPolicy reaches it."""
    ingress = values.get("ingress", {})
    if not (ingress.get("enabled") and ingress.get("signIn", {}).get("enabled")):
        return
    for host in ingress["hosts"]:
        host.pop("signIn", None)
        if values.get("hostNetwork"):
            host["signIn"] = False
    if values.get("hostNetwork"):
        return
    if ingress.get("kind") != "IngressRoute" and not ingress.get("className", "traefik").startswith("traefik"):
        ingress["className"] = "traefik"
    ingress.pop("ssl", None)
    ingress.get("annotations", {}).pop("traefik.ingress.kubernetes.io/router.middlewares", None)
    values.get("gateway", {}).pop("enabled", None)
    policy = values.setdefault("networkPolicy", {})
    policy["enabled"] = True
    policy.get("from", {}).pop("everyone", None)
    for service in values["services"]:
        if service.get("type", "ClusterIP") != "ClusterIP":
            service["type"] = "ClusterIP"
        service.pop("externalIPs", None)


def _network(values: Values) -> None:
    policy = values.get("networkPolicy", {})
    if values.get("hostNetwork"):
        policy.pop("enabled", None)
    for side in ("from", "to"):
        for pods in policy.get(side, {}).get("pods", []):
            if not (pods.get("release") or pods.get("namespace") or pods.get("labels")):
                pods["release"] = "shop"


def _backend(values: Values, entry: Values, tcp: list[Values]) -> None:
    if not tcp:
        return
    # Not hash(), which differs from run to run: what failed once has to fail again.
    meant = tcp[crc32(str(entry).encode()) % len(tcp)]
    service = next(one for one in values["services"] if meant in [one, *one.get("morePorts", [])])
    entry["servicePort"] = meant["servicePort"]
    if "service" in entry:
        entry["service"] = service["name"]


def _workload(values: Values) -> None:
    stateful = values.get("kind") == "StatefulSet"
    strategy = values.get("strategy", "")
    if strategy == ("Recreate" if stateful else "OnDelete"):
        values["strategy"] = ""
    if isinstance(strategy, dict):
        strategy["type"] = "RollingUpdate"
        strategy.get("rollingUpdate", {}).pop("maxSurge" if stateful else "partition", None)
    volumes = values.get("volumes", {})
    for volume in [volumes, *(item for item in volumes.get("items", {}).values() if item)]:
        modes = volume.get("claim", {}).get("accessModes", [])
        if "ReadWriteOncePod" in modes:
            volume["claim"]["accessModes"] = ["ReadWriteOnce"]
    for key, name in (("hostAliases", "ip"), ("topologySpreadConstraints", "topologyKey")):
        for number, entry in enumerate(values.get(key, [])):
            entry[name] = f"{entry[name]}{number}"
    if values.get("dnsPolicy") == "None" and not values.get("dnsConfig", {}).get("nameservers"):
        values["dnsPolicy"] = ""
    check = values.get("check", {})
    if check.get("of"):
        check["of"] = f"checked-{check['of']}"[:53].rstrip("-.")
        values["command"] = values.get("command") or ["check"]
    tests = values.get("tests", {})
    names = [service["name"] for service in values.get("services", []) if service.get("protocol", "TCP") == "TCP"]
    if tests.get("service"):
        tests["service"] = names[0] if names else ""


def _probe(probe: Values, kind: str) -> None:
    for key in [key for key in HANDLERS if key in probe][1:]:
        del probe[key]
    if not probe.keys() & set(HANDLERS):
        probe["exec"] = {"command": ["true"]}
    for key in ("httpGet", "tcpSocket"):
        if isinstance(probe.get(key, {}).get("port"), str):
            probe[key]["port"] = 8080
    if kind == "readiness":
        probe.pop("terminationGracePeriodSeconds", None)
    elif "successThreshold" in probe:
        probe["successThreshold"] = 1


def _lifecycle(lifecycle: Values) -> None:
    for hook in lifecycle.values():
        _only_one(hook, {"exec": {"command": ["true"]}})


def _containers(values: Values) -> None:
    for kind, probe in values.get("probes", {}).items():
        if probe:
            _probe(probe, kind)
    _lifecycle(values.get("lifecycle", {}))
    volumes = values.get("volumes", {})
    names = [name for name, item in volumes.get("items", {}).items() if item] if volumes.get("enabled", True) else []
    for key in ("initContainers", "sidecars"):
        for number, container in enumerate(values.get(key, [])):
            container["name"] = f"{key.lower()}-{number}"
            _ports(container, f"{key[0]}{number}")
            _container(container, key, names)


def _ports(container: Values, prefix: str) -> None:
    for number, port in enumerate(container.get("ports", [])):
        port.update(containerPort=number + 1, **({"name": f"{prefix}c{number}"} if "name" in port else {}))


def _container(container: Values, key: str, volumes: list[str]) -> None:
    _env_list(container.get("env", []))
    _env_from(container.get("envFrom", []))
    _lifecycle(container.get("lifecycle", {}))
    if key == "sidecars":
        container.pop("restartPolicy", None)
    for kind in ("startup", "readiness", "liveness"):
        if f"{kind}Probe" in container:
            _probe(container[f"{kind}Probe"], kind)
    if key == "initContainers" and "restartPolicy" not in container:
        for name in ("lifecycle", "startupProbe", "readinessProbe", "livenessProbe"):
            container.pop(name, None)
    if not volumes:
        container.pop("volumeMounts", None)
    for number, mount in enumerate(container.get("volumeMounts", [])):
        mount["name"] = volumes[number % len(volumes)]
        mount["mountPath"] = f"/m{number}"
