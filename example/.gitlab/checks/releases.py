"""What Helm makes of each release whose chart is in this repository, with the values that Flux would give it."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart

from .building import UNKNOWN
from .findings import CLUSTER_WIDE, Applied, Cluster, Findings, Identity, Object, mapping, mappings
from .following import reference
from .reading import documents, is_encrypted, one_line

GROUP = "helm.toolkit.fluxcd.io"


class _UnknownValueError(Exception):
    """A value of a release is not in Git."""


def release_name(release: Applied) -> str:
    """Return the name that Flux gives to the Helm release (helm-controller, GetReleaseName)."""
    spec = release.spec
    if spec.get("releaseName"):
        return str(spec["releaseName"])
    return f"{spec['targetNamespace']}-{release.id.name}" if spec.get("targetNamespace") else release.id.name


def release_namespace(release: Applied) -> str:
    """Return the namespace that the release's objects go to."""
    return str(release.spec.get("targetNamespace") or release.id.namespace)


def render_all(root: Path, cluster: Cluster, findings: Findings) -> int:
    """Add the objects of the cluster's releases, and return how many releases there are.

    Args:
        root: the copy of the repository.
        cluster: with all that its Kustomizations apply.
        findings: where faults go, and which charts are not here.
    """
    releases = cluster.of_kind("HelmRelease", group=GROUP)
    for release in releases:
        title = f"HelmRelease {release.id.namespace}/{release.id.name}"
        chart = in_git(cluster, release)
        if chart is None:
            cluster.unseen.add(release_namespace(release))
            findings.skip(f"{title}: its chart is not in this repository")
        elif not (root / chart / "Chart.yaml").is_file():
            findings.fault(title, f"there is no chart in {chart}; fix spec.chart.spec.chart")
        else:
            try:
                values = _values(root, cluster, release, title, findings)
                cluster.applied += list(_rendered(root / chart, values, release, title, findings))
            except _UnknownValueError as error:
                # It may have an image policy, too, which is Flux's.
                cluster.unseen |= {release_namespace(release), "flux-system"}
                findings.skip(f"{title}: {error}")
    return len(releases)


def in_git(cluster: Cluster, release: Applied) -> str | None:
    """Return the path of a release's chart in this repository; None if its chart comes from elsewhere."""
    chart = mapping(mapping(release.spec.get("chart")).get("spec"))
    if reference(mapping(chart.get("sourceRef")), release.id.namespace) != cluster.source:
        return None
    return str(chart.get("chart") or "")


def _values(root: Path, cluster: Cluster, release: Applied, title: str, findings: Findings) -> Object:
    """Return a release's values, merged in Flux's order: the chart's files, valuesFrom, values."""
    values: Object = {}
    for name in mapping(mapping(release.spec.get("chart")).get("spec")).get("valuesFiles") or []:
        file = root / str(name)
        if not file.is_file():
            findings.fault(title, f"there is no file {name}; fix spec.chart.spec.valuesFiles")
            continue
        values = merge(values, _read(file.read_text(encoding="utf-8"), title, str(name), findings))
    for source in mappings(release.spec.get("valuesFrom")):
        values = _with_source(cluster, release, source, values, title, findings)
    if UNKNOWN in str(release.spec.get("values")):
        raise _UnknownValueError("its values take a variable that is not in Git")
    return merge(values, mapping(release.spec.get("values")))


def _with_source(
    cluster: Cluster, release: Applied, source: Object, values: Object, title: str, findings: Findings
) -> Object:
    name = Identity("", str(source.get("kind")), release.id.namespace, str(source.get("name")))
    there = next((one for one in cluster.applied if one.id == name), None)
    if there is None and name.kind == "Secret":
        raise _UnknownValueError(f"its values come from {name}, which is not in Git")
    if there is None:
        if not source.get("optional"):
            findings.fault(title, f"its values come from {name}, which nothing here makes; fix spec.valuesFrom")
        return values
    if is_encrypted(there.thing):
        raise _UnknownValueError(f"its values come from {name}, which is encrypted")
    key = str(source.get("valuesKey") or "values.yaml")
    text = _entry(there.thing, key)
    if text is None:
        findings.fault(title, f"its values come from {key} of {name}, which has no such entry; fix spec.valuesFrom")
        return values
    if source.get("targetPath"):
        return merge(values, _at(str(source["targetPath"]), text))
    return merge(values, _read(text, title, f"{key} of {name}", findings))


def _entry(thing: Object, key: str) -> str | None:
    """Return an entry of a ConfigMap or a Secret as text."""
    plain = {**mapping(thing.get("data") if thing["kind"] == "ConfigMap" else thing.get("stringData"))}
    if key in plain:
        return str(plain[key])
    try:
        return (
            base64.b64decode(str(mapping(thing.get("data"))[key])).decode("utf-8")
            if thing["kind"] == "Secret"
            else None
        )
    except (KeyError, binascii.Error, UnicodeDecodeError):
        return None


def _read(text: str, title: str, where: str, findings: Findings) -> Object:
    try:
        found = documents(text)
    except yaml.YAMLError as error:
        findings.fault(title, f"the values in {where} are no YAML: {one_line(error)}")
        return {}
    return mapping(found[0]) if found else {}


def _at(path: str, text: str) -> Object:
    """Return one value at a path such as `a.b[0]`, as `helm --set` reads it; dots in a key are escaped."""
    value: Any = text
    if re.fullmatch(r"true|false|null|-?[1-9]\d*|0", text):
        value = yaml.safe_load(text)
    for part in reversed(re.findall(r"(?:\\.|[^.\[\]])+", path)):
        value = [value] if part == "0" else {part.replace("\\.", "."): value}
    return mapping(value)


def merge(base: Object, over: Object) -> Object:
    """Merge Helm values as Flux does: maps deeply, everything else replaced."""
    found = dict(base)
    for key, value in over.items():
        before = found.get(key)
        found[key] = merge(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return found


def _rendered(chart: Path, values: Object, release: Applied, title: str, findings: Findings) -> Iterator[Applied]:
    namespace = release_namespace(release)
    try:
        with Chart.load(chart) as loaded:
            loaded.validate_schema(values)
            manifests = loaded.render(values, name=release_name(release), namespace=namespace)
    except Exception as error:  # noqa: BLE001 - the library has no class of its own for what Helm says
        findings.fault(title, str(error).strip())
        return
    for file, text in sorted(manifests.items()):
        if file.endswith("NOTES.txt"):
            continue
        try:
            found = documents(text)
        except yaml.YAMLError as error:
            findings.fault(title, f"{file} of its chart makes no YAML: {one_line(error)}")
            continue
        for thing in found:
            if (
                isinstance(thing, dict)
                and thing.get("kind") not in CLUSTER_WIDE
                and isinstance(thing.get("metadata"), dict)
            ):
                thing["metadata"].setdefault("namespace", namespace)
            if isinstance(thing, dict):
                yield Applied(thing, title)
