"""Whether each object, Helm release, host and port has one owner."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from .findings import Applied, Cluster, Findings, Identity, mapping, mappings
from .following import FLUX as KUSTOMIZE
from .following import source_of
from .releases import GROUP as HELM
from .releases import release_name, release_namespace

_HOST = re.compile(r"Host(?:SNI)?\(([^)]*)\)")
_ENTRY_POINTS = "traefik.ingress.kubernetes.io/router.entrypoints"


def check(cluster: Cluster, findings: Findings) -> None:
    """Find what two claim: the one that comes second takes it from the first, mostly with everything Ready."""
    _objects(cluster, findings)
    _releases(cluster, findings)
    _folders(cluster, findings)
    claims: dict[str, dict[Identity, str]] = defaultdict(dict)
    for one in cluster.applied:
        for claim in (*_ports(one), *_hosts(one)):
            claims[claim].setdefault(one.id, one.by)
    for claim, claimants in claims.items():
        if len(claimants) > 1:
            names = " and ".join(f"{name} ({by})" for name, by in claimants.items())
            findings.fault(claim, f"{names} both claim it, and only one gets it; give one of them another")


def _objects(cluster: Cluster, findings: Findings) -> None:
    owners: dict[Identity, list[str]] = defaultdict(list)
    for one in cluster.applied:
        owners[one.id].append(one.by)
    for name, by in owners.items():
        if len(by) > 1 and name.name:
            whose = f"{' and '.join(dict.fromkeys(by))} both bring" if len(set(by)) > 1 else f"{by[0]} brings twice"
            findings.fault(
                str(name),
                f"{whose} it. The one that is applied last wins, and removing either takes it from both, with its data; rename one,"
                " in each file of its folder",
            )


def _releases(cluster: Cluster, findings: Findings) -> None:
    """Two HelmReleases of different names may still be one release to Helm."""
    owners: dict[tuple[str, str], set[Identity]] = defaultdict(set)
    for release in cluster.of_kind("HelmRelease", group=HELM):
        storage = str(release.spec.get("storageNamespace") or release_namespace(release))
        owners[storage, release_name(release)].add(release.id)
    for (namespace, name), by in owners.items():
        if len(by) > 1:
            findings.fault(
                f"the Helm release {name} in {namespace}",
                f"{' and '.join(sorted(map(str, by)))} are both it, and undo each other; give one another releaseName",
            )


def _folders(cluster: Cluster, findings: Findings) -> None:
    """Two Kustomizations of one folder bring the same objects, unless each puts them into a namespace of its own."""
    owners: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in cluster.of_kind("Kustomization", group=KUSTOMIZE):
        if source_of(one) == cluster.source:
            path = str(one.spec.get("path") or ".").strip("/").removeprefix("./")
            own = "/".join(str(one.spec.get(key) or "") for key in ("targetNamespace", "namePrefix", "nameSuffix"))
            owners[path, own].append(one.id.name)
    for (path, _), names in owners.items():
        if len(names) > 1:
            findings.fault(
                f"./{path}",
                f"the Kustomizations {' and '.join(names)} both apply this folder; give each its own, or remove one",
            )


def _ports(one: Applied) -> Iterator[str]:
    if one.id.kind == "Service" and not one.id.group:
        for port in mappings(one.spec.get("ports")):
            if port.get("nodePort"):
                yield f"node port {port['nodePort']}/{port.get('protocol', 'TCP')}"
    template = mapping(mapping(mapping(one.spec.get("template")).get("spec")))
    for container in mappings(template.get("containers")):
        for port in mappings(container.get("ports")):
            if port.get("hostPort"):
                yield f"host port {port['hostPort']}/{port.get('protocol', 'TCP')}"


def _hosts(one: Applied) -> Iterator[str]:
    """Yield what a router claims: a host with a path, at entry points of Traefik or a listener of a Gateway."""
    if one.id.kind == "Ingress":
        annotations = mapping(mapping(one.thing.get("metadata")).get("annotations"))
        at = _listed(str(annotations.get(_ENTRY_POINTS, "")).split(","))
        for rule in mappings(one.spec.get("rules")):
            for path in mappings(mapping(rule.get("http")).get("paths")):
                yield f"host {rule.get('host', '*')}, path {path.get('path', '/')}{at}"
    elif one.id.kind in ("IngressRoute", "IngressRouteTCP"):
        points = one.spec.get("entryPoints")
        at = _listed([str(point) for point in points] if isinstance(points, list) else [])
        for route in mappings(one.spec.get("routes")):
            match = str(route.get("match", ""))
            rest = _HOST.sub("", match).strip("& ") or "path /"
            for host in re.findall(r"[`\"]([^`\"]+)[`\"]", " ".join(_HOST.findall(match))):
                yield f"host {host}, {rest}{at}"
    elif one.id.kind in ("HTTPRoute", "TLSRoute"):
        parents = _listed(
            [f"{ref.get('name')}/{ref.get('sectionName', '')}" for ref in mappings(one.spec.get("parentRefs"))]
        )
        names = one.spec.get("hostnames")
        for rule in mappings(one.spec.get("rules")):
            for host in names if isinstance(names, list) else ["*"]:
                yield f"host {host}, {rule.get('matches') or 'path /'}{parents}"


def _listed(names: list[str]) -> str:
    found = ", ".join(sorted(name.strip() for name in names if name.strip()))
    return f", at {found}" if found else ""
