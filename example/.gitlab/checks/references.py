"""Whether each reference leads somewhere: dependsOn, sources, services, namespaces."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

from .findings import CLUSTER_WIDE, Applied, Cluster, Findings, Identity, Object, mapping, mappings
from .following import FLUX as KUSTOMIZE
from .following import reference
from .releases import GROUP as HELM
from .releases import release_namespace

IMAGE = "image.toolkit.fluxcd.io"
NOTIFICATION = "notification.toolkit.fluxcd.io"
SOURCE = "source.toolkit.fluxcd.io"
_GROUPS = {
    "Kustomization": KUSTOMIZE,
    "HelmRelease": HELM,
    "ImageRepository": IMAGE,
    "ImagePolicy": IMAGE,
    "ImageUpdateAutomation": IMAGE,
}
# Namespaces that are there without Git: Kubernetes' own, and what Flux and k3s bring.
_THERE = frozenset({"default", "kube-system", "kube-public", "kube-node-lease", "flux-system"})


def check(cluster: Cluster, findings: Findings) -> None:
    """Find references that lead nowhere, circles, and namespaces that nothing makes."""
    there = {one.id for one in cluster.applied}
    for one in cluster.applied:
        for field, wanted in _wanted(one):
            if wanted.name == "*" or wanted in there:
                continue
            if cluster.sees(wanted.namespace):
                findings.fault(
                    f"{one.by}: {one.id}", f"{field} names {wanted}, which nothing here makes{_near(wanted, there)}"
                )
            else:
                findings.skip(f"{one.by}: {one.id}: whether there is {wanted}, which {field} names")
    for kind, group in (("Kustomization", KUSTOMIZE), ("HelmRelease", HELM)):
        _circles(cluster.of_kind(kind, group=group), findings)
    _namespaces(cluster, findings)


def _near(wanted: Identity, there: Iterable[Identity]) -> str:
    """Return what was probably meant: the same name elsewhere, or another spelling."""
    alike = [one for one in there if (one.kind, one.group) == (wanted.kind, wanted.group)]
    same = sorted(str(one) for one in alike if one.name == wanted.name)
    near = difflib.get_close_matches(str(wanted), [str(one) for one in alike], n=1, cutoff=0.5)
    return f"; did you mean {(same or near)[0]}?" if same or near else ""


def _wanted(one: Applied) -> Iterator[tuple[str, Identity]]:
    """Yield the references of an object, by field, that this repository has to answer."""
    spec, namespace, kind, group = one.spec, one.id.namespace, one.id.kind, one.id.group
    if group in (KUSTOMIZE, HELM) and kind in ("Kustomization", "HelmRelease"):
        for ref in mappings(spec.get("dependsOn")):
            yield "spec.dependsOn", Identity(group, kind, str(ref.get("namespace") or namespace), str(ref.get("name")))
    chart = mapping(mapping(spec.get("chart")).get("spec"))
    sources = {
        "spec.sourceRef": spec.get("sourceRef"),
        "spec.chart.spec.sourceRef": chart.get("sourceRef"),
        "spec.chartRef": spec.get("chartRef"),
    }
    for field, source in sources.items():
        if group.endswith(".toolkit.fluxcd.io") and isinstance(source, dict):
            yield field, reference(source, namespace)
    yield from _of_images_and_messages(one)
    yield from _routes(one)


def _of_images_and_messages(one: Applied) -> Iterator[tuple[str, Identity]]:
    """Yield what image policies, alerts and receivers name."""
    spec, namespace, group = one.spec, one.id.namespace, one.id.group
    if group == IMAGE and isinstance(spec.get("imageRepositoryRef"), dict):
        yield "spec.imageRepositoryRef", reference(spec["imageRepositoryRef"], namespace, IMAGE, "ImageRepository")
    if group == NOTIFICATION:
        if isinstance(spec.get("providerRef"), dict):
            yield (
                "spec.providerRef",
                Identity(NOTIFICATION, "Provider", namespace, str(spec["providerRef"].get("name"))),
            )
        for field in ("resources", "eventSources"):
            for ref in mappings(spec.get(field)):
                if ref.get("name") and not ref.get("matchLabels"):
                    yield f"spec.{field}", reference(ref, namespace, _GROUPS.get(str(ref.get("kind")), SOURCE))


def _routes(one: Applied) -> Iterator[tuple[str, Identity]]:
    """Yield the Services that an object sends requests to."""
    for field, ref in _services(one.thing, one.id.kind):
        if ref.get("name"):
            yield field, Identity("", "Service", str(ref.get("namespace") or one.id.namespace), str(ref["name"]))


def _services(thing: Object, kind: str) -> Iterator[tuple[str, Object]]:
    spec = mapping(thing.get("spec"))
    if kind == "Ingress":
        backends = [mapping(spec.get("defaultBackend"))]
        backends += [
            mapping(path.get("backend"))
            for rule in mappings(spec.get("rules"))
            for path in mappings(mapping(rule.get("http")).get("paths"))
        ]
        yield from (("spec.rules", mapping(backend.get("service"))) for backend in backends)
    elif kind in ("IngressRoute", "IngressRouteTCP", "IngressRouteUDP"):
        for route in mappings(spec.get("routes")):
            yield from (
                ("spec.routes", ref)
                for ref in mappings(route.get("services"))
                if ref.get("kind", "Service") == "Service"
            )
    elif kind in ("HTTPRoute", "TCPRoute", "GRPCRoute", "TLSRoute"):
        for rule in mappings(spec.get("rules")):
            yield from (
                ("spec.rules", ref)
                for ref in mappings(rule.get("backendRefs"))
                if ref.get("kind", "Service") == "Service"
            )


def _circles(found: list[Applied], findings: Findings) -> None:
    """Find objects that wait for each other for ever."""
    ways = {one.id: [wanted for field, wanted in _wanted(one) if field == "spec.dependsOn"] for one in found}

    def follow(here: Identity, path: list[Identity]) -> None:
        if here in path:
            circle = path[path.index(here) :]
            if here == min(circle, key=str):
                names = " -> ".join(one.name for one in [*circle, here])
                findings.fault(
                    f"{here.kind} {here.name}",
                    f"spec.dependsOn goes in a circle, {names}, so none of them is ever applied; take one out",
                )
            return
        for after in ways.get(here, []):
            follow(after, [*path, here])

    for start in ways:
        follow(start, [])


def _namespaces(cluster: Cluster, findings: Findings) -> None:
    made = {one.id.name for one in cluster.of_kind("Namespace")} | _THERE
    for release in cluster.of_kind("HelmRelease", group=HELM):
        if mapping(release.spec.get("install")).get("createNamespace"):
            made.add(release_namespace(release))
    for one in cluster.applied:
        wanted: list[Any] = [] if one.id.kind in CLUSTER_WIDE else [one.id.namespace]
        wanted += [one.spec.get("targetNamespace")] if one.id.group.endswith(".toolkit.fluxcd.io") else []
        for namespace in wanted:
            if namespace and namespace not in made:
                near = difflib.get_close_matches(namespace, made, n=1)
                if not near and "" in cluster.unseen:
                    findings.skip(f"{one.by}: {one.id}: whether there is a namespace {namespace}")
                    continue
                findings.fault(
                    f"{one.by}: {one.id}",
                    f"nothing here makes the namespace {namespace}"
                    + (
                        f"; did you mean {near[0]}?"
                        if near
                        else "; add a Namespace of that name to"
                        " infrastructure/namespaces.yaml. If something else made it, give that Namespace the annotation"
                        " kustomize.toolkit.fluxcd.io/prune: disabled, so that Flux never deletes it"
                    ),
                )
