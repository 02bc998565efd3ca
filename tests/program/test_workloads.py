"""Why an application does not run, where only its ReplicaSet or an event knows: Kubernetes refuses its pods."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.support import program
from tests.support.program import objects, probes, workloads

K = objects.KubeObject
# As the API server says it: k8s.io/pod-security-admission.
VIOLATION = (
    'pods "wiki-5d8f-" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false\n'
    '(container "wiki" must set securityContext.allowPrivilegeEscalation=false)'
)
SAID = " ".join(VIOLATION.split())
LABELS = {"app.kubernetes.io/instance": "wiki"}


def workload(kind: str, status: dict[str, Any], replicas: int | None = 2, name: str = "wiki") -> objects.KubeObject:
    spec = {"selector": {"matchLabels": LABELS}, **({"replicas": replicas} if replicas is not None else {})}
    return K({"kind": kind, "metadata": {"name": name, "namespace": "apps"}, "spec": spec, "status": status})


def failed(message: str = VIOLATION, status: str = "True") -> dict[str, Any]:
    return {"conditions": [{"type": "ReplicaFailure", "status": status, "reason": "FailedCreate", "message": message}]}


def event(kind: str, time: str, message: str = VIOLATION, **more: Any) -> objects.KubeObject:
    about = {"kind": kind, "namespace": "apps", "name": "wiki"} | more
    return K({"reason": "FailedCreate", "message": message, "lastTimestamp": time, "involvedObject": about})


def pod(waiting: str, labels: dict[str, str] = LABELS, namespace: str = "apps") -> objects.KubeObject:
    containers = [{"state": {"waiting": {"reason": waiting, "message": "the\nmessage"}}}]
    return K({"metadata": {"labels": labels, "namespace": namespace}, "status": {"containerStatuses": containers}})


@pytest.mark.parametrize(
    ("one", "events", "said"),
    [
        (workload("Deployment", failed()), [], f"0 of 2 pods ready; Kubernetes refuses its pods: {SAID}"),
        (workload("Deployment", failed("exceeded quota: pods=1"), None), [], "0 of 1 pods ready; Kubernetes refuses its pods: exceeded quota: pods=1"),
        # All old pods run; those of the new form are refused.
        (workload("Deployment", {"readyReplicas": 2, **failed()}), [], f"2 of 2 pods ready; Kubernetes refuses its pods: {SAID}"),
        (workload("StatefulSet", {}), [event("StatefulSet", "2026-01-01")], f"0 of 2 pods ready; Kubernetes refuses its pods: {SAID}"),
        (
            workload("StatefulSet", {"readyReplicas": 1, "replicas": 1}),
            [event("StatefulSet", "2026-01-02", "the newer"), event("StatefulSet", "2026-01-01", "the older")],
            "1 of 2 pods ready; Kubernetes refuses its pods: the newer",
        ),
        (
            workload("DaemonSet", {"desiredNumberScheduled": 3, "currentNumberScheduled": 1, "numberReady": 1}, None),
            [event("DaemonSet", "2026-01-01")],
            f"1 of 3 pods ready; Kubernetes refuses its pods: {SAID}",
        ),
    ],
)  # fmt: skip
def test_what_refuses_the_pods_is_said_in_one_line(
    one: objects.KubeObject, events: list[objects.KubeObject], said: str
) -> None:
    assert workloads.problem(one, [], events) == said


@pytest.mark.parametrize(
    "one",
    [
        workload("Deployment", {"readyReplicas": 2}),
        workload("Deployment", {"readyReplicas": 2, **failed(status="False")}),
        workload("Deployment", {}, 0),
        workload("StatefulSet", {"readyReplicas": 2}),
        workload("DaemonSet", {"desiredNumberScheduled": 1, "numberReady": 1}, None),
        workload("DaemonSet", {}, None),
    ],
)
def test_what_runs_is_no_problem_whatever_was_refused_before(one: objects.KubeObject) -> None:
    assert workloads.problem(one, [], [event(one.kind, "2026-01-01")]) is None


def test_a_pod_that_is_there_and_does_not_start_says_why_itself() -> None:
    one = workload("StatefulSet", {"replicas": 2, "readyReplicas": 1})
    others = [pod("Other", {"app.kubernetes.io/instance": "blog"}), pod("Elsewhere", namespace="else")]
    events = [event("StatefulSet", "2026-01-01"), event("StatefulSet", "2026-01-01", name="blog")]
    assert (
        workloads.problem(one, [*others, pod("ImagePullBackOff")], events)
        == "1 of 2 pods ready; ImagePullBackOff the message"
    )
    assert workloads.problem(workload("Deployment", {}), others, events) == "0 of 2 pods ready; no pod yet"


def test_pods_and_events_are_read_only_where_something_does_not_run() -> None:
    class Cluster:
        def __init__(self, *found: objects.KubeObject) -> None:
            self.found, self.asked = list(found), list[str]()

        def list_of(self, kind: str, namespace: str = "", selector: str = "") -> list[objects.KubeObject]:
            self.asked.append(kind)
            assert namespace == "" and selector == ("helm.toolkit.fluxcd.io/name" if kind == workloads.KINDS else "")
            return self.found if kind == workloads.KINDS else []

    fine, short = Cluster(workload("Deployment", {"readyReplicas": 2})), Cluster(workload("Deployment", failed()))
    assert [problem for _, problem in workloads.look(fine)] == [None] and fine.asked == [workloads.KINDS]
    assert [problem is None for _, problem in workloads.look(short)] == [False]
    refused = Cluster(workload("Deployment", {"readyReplicas": 2, **failed()}))
    assert [problem is None for _, problem in workloads.look(refused)] == [False]


def test_who_waits_for_gitlab_hears_that_its_pod_is_refused() -> None:
    deployment = workload("Deployment", {"observedGeneration": 1, **failed()}, 1, "gitlab")
    cluster = SimpleNamespace(find=lambda *_: deployment, list_of=lambda *_: [])
    lab = SimpleNamespace(settings=program.settings(), cluster=cluster)
    assert probes.Probes(lab).gitlab_healthy() == f"Kubernetes refuses its pod: {SAID}"
