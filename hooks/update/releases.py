"""What an update does to a release's pods: asked of Helm if it is installed, derived from the values if it is not."""

from __future__ import annotations

import enum
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from .. import lab_chart

Tree = Mapping[str, bytes]
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")


class Pods(enum.Enum):
    """What becomes of a release's pods."""

    REPLACED = "replaced"
    KEPT = "kept"
    REMOVED = "removed"
    STARTED = "started"
    UNKNOWN = "unknown"


class Release(Protocol):
    """A HelmRelease, and the folder of its kustomization."""

    document: dict[str, Any]
    folder: str


@dataclass(frozen=True)
class Workload:
    """What makes pods: their template, and whether it makes any at all."""

    template: dict[str, Any]
    runs: bool


class NotRendered(ValueError):
    """A release could not be rendered; the text says why."""


def chart_of(document: Mapping[str, Any]) -> str | None:
    """Return the folder of a release's chart, where the chart lies in the lab's own repository."""
    try:
        spec = document["spec"]["chart"]["spec"]
        return str(spec["chart"]).removeprefix("./") if spec["sourceRef"]["kind"] == "GitRepository" else None
    except (KeyError, TypeError):
        return None


def chart_is_released(chart: str | None, before: Tree, after: Tree) -> bool:
    """Say whether Flux releases the chart anew: with reconcileStrategy ChartVersion only another version is one."""
    if chart is None:
        return False
    versions = [
        lab_chart.version(tree.get(f"{chart}/Chart.yaml", b"").decode(errors="replace")) for tree in (before, after)
    ]
    return versions[0] != versions[1]


def effect(old: tuple[Release, Tree], new: tuple[Release, Tree], not_in_pods: list[str]) -> Pods:
    """Return what becomes of a release's pods.

    Args:
        old, new: the release and the lab's files, before and after.
        not_in_pods: values of the lab's chart that its pods do not depend on.
    """
    chart = chart_of(new[0].document)
    if chart is None or chart != chart_of(old[0].document):
        return Pods.UNKNOWN
    released = chart_is_released(chart, old[1], new[1])
    helm = shutil.which("helm")
    if helm is not None:
        try:
            # A chart that keeps its version is not released: then the old one goes on.
            pods = _pods(helm, *old, chart, old[1]), _pods(helm, *new, chart, new[1] if released else old[1])
        except NotRendered:
            return Pods.UNKNOWN
        return _of_running(*pods)
    if released:
        return Pods.UNKNOWN
    try:
        before, after = ([_by_its_values(values(*side), not_in_pods)] for side in (old, new))
    except NotRendered:
        return Pods.UNKNOWN
    return _of_running(before, after)


def _of_running(before: list[Workload], after: list[Workload]) -> Pods:
    """Return what becomes of the pods of a release's workloads; one with 0 replicas has none."""
    running = [[one.template for one in side if one.runs] for side in (before, after)]
    if running[0] == running[1]:
        return Pods.KEPT
    if not running[1]:
        return Pods.REMOVED
    return Pods.REPLACED if running[0] else Pods.STARTED


def _by_its_values(found: dict[str, Any], not_in_pods: list[str]) -> Workload:
    """Return what stands for the workload of the lab's chart where no Helm renders it."""
    image = found.get("image")
    image = image if isinstance(image, dict) else {}
    # charts/app/templates/lib/_imagepolicy.tpl: 0.0.0 stands for no image yet.
    waits = str(image.get("tag")) == "0.0.0" and bool(image.get("imagePolicy")) and not image.get("digest")
    in_pods = {name: value for name, value in found.items() if name not in not_in_pods}
    return Workload(in_pods, found.get("replicas") != 0 and not waits)


def values(release: Release, tree: Tree) -> dict[str, Any]:
    """Return a release's values: those of its ConfigMaps, and its own on top.

    Raises:
        NotRendered: they cannot be read.
    """
    try:
        merged: dict[str, Any] = {}
        spec = release.document["spec"]
        # The lab's kustomization makes the ConfigMap of the file of that name (valuesKey, values.yaml if nothing is
        # said).
        for source in spec.get("valuesFrom") or ():
            text = tree.get(f"{release.folder}/{source.get('valuesKey', 'values.yaml')}")
            if text is not None:
                merged = _merged(merged, yaml.safe_load(text) or {})
        merged = _merged(merged, spec.get("values") or {})
        # The release takes gitlab.rb from the file of that name, through kustomization.yaml.
        for config_map in (merged.get("configMaps") or {}).values():
            for key in config_map.get("data") or {}:
                if f"{release.folder}/{key}" in tree:
                    config_map["data"][key] = tree[f"{release.folder}/{key}"].decode("utf-8", errors="replace")
    except (AttributeError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise NotRendered(f"{type(error).__name__} in {release.folder}") from error
    return merged


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return two mappings of values as Helm lays one over the other."""
    made = dict(under)
    for name, value in over.items():
        both = isinstance(value, dict) and isinstance(made.get(name), dict)
        made[name] = _merged(made[name], value) if both else (_merged({}, value) if isinstance(value, dict) else value)
    return made


def _pods(helm: str, release: Release, tree: Tree, chart: str, charts_from: Tree) -> list[Workload]:
    """Return the workloads of a release.

    Raises:
        NotRendered: Helm cannot, or says nothing that can be read.
    """
    name = str(release.document["spec"].get("releaseName", release.document["metadata"]["name"]))
    with tempfile.TemporaryDirectory(prefix="homelab-chart.") as folder:
        for path, data in charts_from.items():
            if path.startswith(f"{chart}/"):
                place = Path(folder) / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
        done = subprocess.run(
            [helm, "template", name, str(Path(folder) / chart), "-f", "-"],
            input=yaml.safe_dump(values(release, tree)).encode(),
            capture_output=True,
            check=False,
        )
    if done.returncode != 0:
        raise NotRendered((done.stderr.decode(errors="replace").strip().splitlines() or ["helm failed"])[-1])
    try:
        made = [part for part in yaml.safe_load_all(done.stdout) if isinstance(part, dict)]
        specs = [part["spec"] for part in made if part.get("kind") in WORKLOADS]
        return [Workload(spec["template"], spec.get("replicas", 1) != 0) for spec in specs]
    except (KeyError, TypeError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise NotRendered(f"Helm's output cannot be read: {type(error).__name__}") from error
