"""Asks a real API server about every object of a lab, as Flux would apply it: strictly, CRDs' own rules included."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from typing import Any

import yaml

from tests.cluster.control_plane import ControlPlane
from tests.cluster.paths import BIN
from tests.support.cluster import CLUSTER_WIDE, Lab, Object

KEPT = {"flux-system", "kube-system"}
# What an object's own spec may not change once it exists gets a name of its own.
RENAMED = {"PersistentVolume"}
POD_SECURITY = re.compile(r'would violate PodSecurity "(?P<level>\w+):latest": (?P<why>.*)$')


def refusals(plane: ControlPlane, lab: Lab) -> list[str]:
    """Return what the API server says of the lab's objects beside accepting them; warnings of Pod Security are no refusals."""
    said = _ask(plane, [*lab.components, *lab.objects])
    return [line for line in said if not POD_SECURITY.search(line) and not line.startswith("Warning: existing pods")]


def pod_security(plane: ControlPlane, lab: Lab, level: str) -> dict[str, str]:
    """Return why workloads of the lab break a level of the Pod Security Standards, by workload.

    Args:
        level: `baseline` or `restricted`.
    """
    found = {}
    for thing in lab.objects:
        if thing["kind"] not in {"Deployment", "StatefulSet", "Job", "CronJob", "Pod", "DaemonSet"}:
            continue
        key = (level, yaml.safe_dump(thing))
        if key not in _answers:
            matches = [POD_SECURITY.search(line) for line in _ask(plane, [thing], level)]
            _answers[key] = "; ".join(match["why"] for match in matches if match)
        if _answers[key]:
            # A check's name ends in a hash of what it checks.
            name = re.sub(r"-[0-9a-f]{8}$", "", thing["metadata"]["name"])
            found[f"{thing['kind']} {name}"] = _answers[key]
    return found


# Many labs have the same workload: each is asked about once.
_answers: dict[tuple[str, str], str] = {}


def _ask(plane: ControlPlane, things: list[Object], level: str = "privileged") -> list[str]:
    things = [_moved(thing, level) for thing in things if thing["kind"] != "Namespace"]
    for name in sorted({thing["metadata"].get("namespace", "") for thing in things} - {""} - KEPT):
        labels = {"pod-security.kubernetes.io/warn": level}
        plane.apply(
            yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        )
    command = [
        str(BIN / "kubectl"),
        "--kubeconfig",
        str(plane.kubeconfig),
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "--validate=strict",
        "--filename",
        "-",
    ]
    # As JSON: PyYAML leaves a text such as 1e3 without quotes, which is a number to everybody else.
    text = "\n---\n".join(json.dumps(thing) for thing in things)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return [line for line in done.stderr.splitlines() if line.strip()]


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
