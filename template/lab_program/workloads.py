"""Whether what Flux has installed runs: of each Deployment, StatefulSet and DaemonSet, and why not.

A release is done when its objects are in the cluster, so it says nothing of this. A pod that Kubernetes refuses (Pod
Security, a quota, a webhook) shows only at what would make it: in a Deployment's condition ReplicaFailure, and for the
others in an event FailedCreate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .clients.kubectl import Cluster
from .clients.objects import RUNNING, KubeObject, pod_reason

KINDS = "deployments,statefulsets,daemonsets"
# Flux puts it on everything that a HelmRelease installs.
BY_FLUX = "helm.toolkit.fluxcd.io/name"
REFUSED = "FailedCreate"


def look(cluster: Cluster) -> Iterator[tuple[KubeObject, str | None]]:
    """Yield each workload of a release, with why it does not run, or None. Pods and events are read only for those."""
    found = cluster.list_of(KINDS, selector=BY_FLUX)
    if not any(missing(one) or one.condition("ReplicaFailure").is_true for one in found):
        yield from ((one, None) for one in found)
        return
    pods, events = cluster.list_of("pods"), cluster.list_of("events")
    for one in found:
        yield one, problem(one, pods, events)


def wanted(workload: KubeObject) -> int:
    """Return how many pods a workload should have."""
    if workload.kind == "DaemonSet":
        return int(workload.status.get("desiredNumberScheduled") or 0)
    replicas = workload.spec.get("replicas")
    return 1 if replicas is None else int(replicas)


def missing(workload: KubeObject) -> int:
    """Return how many of them are not ready."""
    ready = workload.status.get("numberReady" if workload.kind == "DaemonSet" else "readyReplicas") or 0
    return max(0, wanted(workload) - int(ready))


def problem(workload: KubeObject, pods: Sequence[KubeObject], events: Sequence[KubeObject]) -> str | None:
    """Return why a workload has not all its pods, in one line; None if it has.

    Args:
        pods, events: those of the whole cluster.
    """
    short, all_of_it = missing(workload), wanted(workload)
    refused = refusal(workload, events)
    if short == 0 and not (refused and workload.condition("ReplicaFailure").is_true):
        return None
    count = f"{all_of_it - short} of {all_of_it} pods ready"
    if refused:
        return f"{count}; Kubernetes refuses its pods: {refused}"
    labels = (workload.spec.get("selector") or {}).get("matchLabels") or {}
    own = [pod for pod in pods if pod.namespace == workload.namespace and labels.items() <= pod.labels.items()]
    reason = pod_reason(own)
    return f"{count}; {_one_line('its newest pod runs and is not ready' if reason == RUNNING else reason)}"


def refusal(workload: KubeObject, events: Sequence[KubeObject]) -> str:
    """Return the words with which Kubernetes refuses a workload's pods; nothing if it does not."""
    failure = workload.condition("ReplicaFailure")
    if failure.is_true:
        return _one_line(failure.message)
    about = [event for event in events if event.content.get("reason") == REFUSED and _is_about(event, workload)]
    if not about or workload.kind == "Deployment" or _has_all_pods(workload):
        return ""
    return _one_line(str(max(about, key=_last_seen).content.get("message", "")))


def _has_all_pods(workload: KubeObject) -> bool:
    """Say whether all pods of a workload exist, ready or not: what was refused before was made since."""
    there = workload.status.get("currentNumberScheduled" if workload.kind == "DaemonSet" else "replicas") or 0
    return int(there) >= wanted(workload)


def _is_about(event: KubeObject, workload: KubeObject) -> bool:
    about = event.content.get("involvedObject") or {}
    return (about.get("kind"), about.get("namespace"), about.get("name")) == (
        workload.kind,
        workload.namespace,
        workload.name,
    )


def _last_seen(event: KubeObject) -> str:
    return str(event.content.get("lastTimestamp") or event.content.get("eventTime") or event.created)


def _one_line(text: str) -> str:
    return " ".join(text.split())
