"""Asks a real API server about every object of a lab, as Flux would apply it: strictly, CRDs' own rules included."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from typing import Any
from urllib.parse import urlencode

from tests.cluster.control_plane import ControlPlane
from tests.cluster.paths import BIN
from tests.support.cluster import CLUSTER_WIDE, Lab, Object

KEPT = {"flux-system", "kube-system"}
# What an object's own spec may not change once it exists gets a name of its own.
RENAMED = {"PersistentVolume"}
POD_SECURITY = re.compile(r'would violate PodSecurity "(?P<level>\w+):latest": (?P<why>.*)$')
WORKLOADS = {
    "Deployment": "deployments",
    "StatefulSet": "statefulsets",
    "DaemonSet": "daemonsets",
    "Job": "jobs",
    "CronJob": "cronjobs",
    "Pod": "pods",
}


def refusals(plane: ControlPlane, lab: Lab) -> list[str]:
    """Return what the API server says of the lab's objects beside accepting them; warnings of Pod Security are no refusals.

    An object that many labs have is asked about until it was accepted once.
    """
    things = [*lab.components, *lab.objects]
    moved = [_moved(thing, "privileged") for thing in things if thing["kind"] != "Namespace"]
    new = [text for text in map(json.dumps, moved) if (plane.token, text) not in _accepted]
    if not new:
        return []
    _make_namespaces(plane, moved, "privileged")
    said = [line for line in _apply(plane, new) if not line.startswith("Warning: existing pods")]
    found = [line for line in said if not POD_SECURITY.search(line)]
    if not found:
        _accepted.update((plane.token, text) for text in new)
    return found


def pod_security(plane: ControlPlane, lab: Lab, level: str) -> dict[str, str]:
    """Return why workloads of the lab break a level of the Pod Security Standards, by workload.

    Args:
        level: `baseline` or `restricted`.
    """
    found = {}
    workloads = [(thing, _moved(thing, level)) for thing in lab.objects if thing["kind"] in WORKLOADS]
    _make_namespaces(plane, [moved for _, moved in workloads], level)
    for thing, moved in workloads:
        key = (level, json.dumps(thing))
        if key not in _reasons:
            _reasons[key] = _why(plane, moved)
        if _reasons[key]:
            # A check's name ends in a hash of what it checks.
            name = re.sub(r"-[0-9a-f]{8}$", "", thing["metadata"]["name"])
            found[f"{thing['kind']} {name}"] = _reasons[key]
    return found


# What was accepted, by API server; why a workload breaks a level. Many labs have the same objects.
_accepted: set[tuple[str, str]] = set()
_reasons: dict[tuple[str, str], str] = {}
_namespaces: set[tuple[str, str]] = set()


def _make_namespaces(plane: ControlPlane, moved: list[Object], level: str) -> None:
    """Make the namespaces in which a level is asked about, if they are not there yet."""
    names = {thing["metadata"].get("namespace", "") for thing in moved}
    new = sorted(name for name in names - {""} - KEPT if (plane.token, name) not in _namespaces)
    labels = {"pod-security.kubernetes.io/warn": level}
    made = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}} for name in new]
    if made:
        plane.apply("\n---\n".join(map(json.dumps, made)))
    _namespaces.update((plane.token, name) for name in new)


def _apply(plane: ControlPlane, texts: list[str]) -> list[str]:
    """Return the lines that kubectl prints of problems and warnings, if it applies objects strictly and keeps none."""
    command = [str(BIN / "kubectl"), "--kubeconfig", str(plane.kubeconfig), "apply", "--server-side"]
    command += ["--force-conflicts", "--dry-run=server", "--validate=strict", "--filename", "-"]
    # As JSON: PyYAML leaves a text such as 1e3 without quotes, which is a number to everybody else.
    done = subprocess.run(command, input="\n---\n".join(texts), capture_output=True, text=True, check=False)
    return [line for line in done.stderr.splitlines() if line.strip()]


def _why(plane: ControlPlane, thing: Object) -> str:
    """Return why the API server warns of a workload, which it keeps nothing of; kubectl would need a second for each."""
    meta = thing["metadata"]
    path = plane.api.path(WORKLOADS[thing["kind"]], meta["namespace"], meta["name"])
    query = urlencode({"dryRun": "All", "fieldManager": "tests", "force": "true"})
    warnings = plane.api.warnings("PATCH", f"{path}?{query}", thing, "application/apply-patch+yaml")
    return "; ".join(match["why"] for match in map(POD_SECURITY.search, warnings) if match)


def _moved(thing: Object, level: str) -> Object:
    """Put an object into a namespace of this question's, where nothing else is."""
    moved: dict[str, Any] = copy.deepcopy(thing)
    meta = moved["metadata"]
    if moved["kind"] in CLUSTER_WIDE or moved["kind"] == "CustomResourceDefinition":
        if moved["kind"] in RENAMED:
            meta["name"] = f"asked-{meta['name']}"
        return moved
    namespace = meta.get("namespace", "default")
    meta["namespace"] = namespace if namespace in KEPT else f"asked-{level}-{namespace}"
    return moved
