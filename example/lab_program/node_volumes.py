"""Volumes that lie on one node, and pods that only run there: what a node takes along when it goes.

k3s' local-path makes folders on the node where a pod first ran, and writes onto each volume which node that was.
https://github.com/rancher/local-path-provisioner; https://kubernetes.io/docs/concepts/storage/volumes/#local
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .clients.objects import KubeObject

HOSTNAME = "kubernetes.io/hostname"


def problems(volumes: Sequence[KubeObject], nodes: Sequence[KubeObject]) -> Iterator[tuple[str, str]]:
    """Yield each claim whose volume no node, or none that takes pods, can reach: as namespace/name, with why.

    Args:
        volumes: the cluster's PersistentVolumes.
    """
    for volume in sorted(volumes, key=_claim):
        terms = _terms(volume)
        if terms and _claim(volume):
            problem = _problem(_names(terms), [node for node in nodes if any(_fits(term, node) for term in terms)])
            if problem:
                yield _claim(volume), problem


def bound_to(volumes: Sequence[KubeObject], namespace: str, nodes: Sequence[KubeObject]) -> list[str]:
    """Return the nodes to which the volumes of a namespace are bound; none if each can be reached from every node."""
    found: set[str] = set()
    for volume in volumes:
        terms = _terms(volume)
        if terms and _claim(volume).startswith(f"{namespace}/"):
            there = {node.name for node in nodes if any(_fits(term, node) for term in terms)}
            if len(there) < len(nodes):
                found |= there
    return sorted(found)


def _problem(named: str, there: Sequence[KubeObject]) -> str:
    if not there:
        return f"its volume lies on {named or 'a node'}, which is no node of this cluster any more"
    if any(not leaving(node) for node in there):
        return ""
    names = ", ".join(node.name for node in there)
    return f"its volume lies on {names}, and can be moved to no other node: {leaving(there[0])}"


def leaving(node: KubeObject) -> str:
    """Return why a node takes no more pods; nothing if it does."""
    if node.is_leaving:
        return "that node is being removed"
    if node.spec.get("unschedulable"):
        return "that node is cordoned or drained"
    if node.ready.status and not node.ready.is_true:
        return f"that node is not ready ({node.ready.message})"
    return ""


def _claim(volume: KubeObject) -> str:
    """Return the claim that has a volume; nothing for one that nobody has, or had."""
    claim = volume.spec.get("claimRef") or {}
    return f"{claim.get('namespace')}/{claim.get('name')}" if claim and volume.status.get("phase") != "Released" else ""


def _terms(volume: KubeObject) -> list[Mapping[str, Any]]:
    required = (volume.spec.get("nodeAffinity") or {}).get("required") or {}
    return list(required.get("nodeSelectorTerms") or [])


def _names(terms: Sequence[Mapping[str, Any]]) -> str:
    """Return the nodes that terms name."""
    found = [
        value
        for term in terms
        for one in [*(term.get("matchExpressions") or []), *(term.get("matchFields") or [])]
        if one.get("key") in (HOSTNAME, "metadata.name") and one.get("operator") == "In"
        for value in one.get("values") or []
    ]
    return ", ".join(dict.fromkeys(map(str, found)))


def _fits(term: Mapping[str, Any], node: KubeObject) -> bool:
    """Say whether a node meets all that one term asks for. A term that asks for nothing meets no node.

    https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/persistent-volume-v1/
    """
    expressions = [(one, node.labels) for one in term.get("matchExpressions") or []]
    expressions += [(one, {"metadata.name": node.name}) for one in term.get("matchFields") or []]
    return bool(expressions) and all(_holds(one, labels) for one, labels in expressions)


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(str(expression.get("key"))), expression.get("values") or []
    operator = expression.get("operator")
    if operator == "In":
        return value in values
    if operator == "NotIn":
        return value not in values
    if operator in ("Exists", "DoesNotExist"):
        return (value is not None) is (operator == "Exists")
    try:
        have, wanted = int(str(value)), int(str(values[0]))
    except (IndexError, ValueError):
        return False
    return have > wanted if operator == "Gt" else have < wanted
