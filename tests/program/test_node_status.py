"""Nodes that come and go: what lies on them, whose certificates they take, and which addresses are theirs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.program import node_status, node_volumes, objects, preflight_cluster

K = objects.KubeObject
HOST = "kubernetes.io/hostname"
REGISTRY = "registry.lab:8443"


def node(name: str, *, ready: str = "True", **spec: Any) -> objects.KubeObject:
    status = {"conditions": [{"type": "Ready", "status": ready, "message": "kubelet stopped posting"}]}
    return K({"metadata": {"name": name, "labels": {HOST: name}}, "spec": spec, "status": status})


def volume(claim: str, *names: str, phase: str = "Bound", key: str = HOST) -> objects.KubeObject:
    """A volume as local-path writes it; without names it can be reached from everywhere."""
    namespace, _, name = claim.partition("/")
    term = {"matchExpressions": [{"key": key, "operator": "In", "values": list(names)}]}
    spec: dict[str, Any] = {"claimRef": {"namespace": namespace, "name": name}}
    if names:
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [term]}}
    return K({"metadata": {"name": f"pvc-{name}"}, "spec": spec, "status": {"phase": phase}})


NODES = [
    node("sound"),
    node("drained", unschedulable=True),
    node("silent", ready="Unknown"),
    K({"metadata": {"name": "new", "labels": {HOST: "new"}}}),
]


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (volume("gitlab/data", "gone"), "lies on gone, which is no node of this cluster any more"),
        (volume("gitlab/data", "gone", key="topology.example/rack"), "lies on a node, which is no node"),
        (volume("gitlab/data", "drained"), "lies on drained, and can be moved to no other node: that node is cordoned or drained"),
        (volume("gitlab/data", "silent"), "that node is not ready (kubelet stopped posting)"),
        (volume("gitlab/data", "drained", "gone"), "lies on drained,"),
    ],
)  # fmt: skip
def test_a_volume_that_no_pod_reaches_any_more_is_named_with_its_node(one: objects.KubeObject, said: str) -> None:
    assert [(claim, said in problem) for claim, problem in node_volumes.problems([one], NODES)] == [
        ("gitlab/data", True)
    ]


@pytest.mark.parametrize(
    "one",
    [
        volume("gitlab/data", "sound"),
        volume("gitlab/data", "new"),
        volume("gitlab/data", "gone", "sound"),
        volume("gitlab/data"),
        volume("gitlab/data", "gone", phase="Released"),
        K({"metadata": {"name": "free"}, "spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [{}]}}}}),
    ],
)
def test_a_volume_that_some_node_reaches_is_no_problem(one: objects.KubeObject) -> None:
    assert list(node_volumes.problems([one], NODES)) == []


EXPRESSIONS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "In": ({"key": "zone", "operator": "In", "values": ["a", "b"]}, {"a", "b"}),
    "NotIn": ({"key": "zone", "operator": "NotIn", "values": ["a"]}, {"b", "7", ""}),
    "Exists": ({"key": "zone", "operator": "Exists"}, {"a", "b", "7"}),
    "DoesNotExist": ({"key": "zone", "operator": "DoesNotExist"}, {""}),
    "Gt": ({"key": "zone", "operator": "Gt", "values": ["6"]}, {"7"}),
    "Lt": ({"key": "zone", "operator": "Lt", "values": ["6"]}, set()),
}


@pytest.mark.parametrize("operator", EXPRESSIONS)
def test_each_operator_of_a_volumes_affinity_is_understood(operator: str) -> None:
    expression, fitting = EXPRESSIONS[operator]
    nodes = [
        K({"metadata": {"name": f"in-{zone}", "labels": {"zone": zone} if zone else {}}})
        for zone in ("a", "b", "7", "")
    ]
    one = volume("apps/data", "x")
    one.spec["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"] = [expression]
    bound = node_volumes.bound_to([one], "apps", nodes)
    assert bound == sorted(f"in-{zone}" for zone in fitting)


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.lists(st.sampled_from("abcdef"), unique=True, min_size=1))
def test_a_problem_is_told_exactly_if_none_of_the_volumes_nodes_takes_pods(there: list[str], named: list[str]) -> None:
    nodes = [node(name, unschedulable=name in "ab") for name in there]
    found = list(node_volumes.problems([volume("apps/data", *named)], nodes))
    assert bool(found) is not bool({name for name in there if name not in "ab"} & set(named))


def pod(on: str, image: str, message: str, reason: str = "ErrImagePull") -> objects.KubeObject:
    waiting = {"image": image, "state": {"waiting": {"reason": reason, "message": message}}}
    status = {"containerStatuses": [waiting]}
    return K({"metadata": {"name": "wiki", "namespace": "apps"}, "spec": {"nodeName": on}, "status": status})


UNKNOWN = "tls: failed to verify certificate: x509: certificate signed by unknown authority"


def test_a_node_that_refuses_the_registrys_certificate_is_named_by_its_pods() -> None:
    image = f"{REGISTRY}/homelab/wiki:v1"
    pods = [
        pod("one", image, f'failed to pull image "{image}": {UNKNOWN}'),
        pod("two", image, "denied: access forbidden"),
        pod("three", "docker.io/library/wiki:1", UNKNOWN),
        pod("four", "sha256:1234", f'Back-off pulling image "{image}": ErrImagePull: {UNKNOWN}', "ImagePullBackOff"),
        pod("", image, UNKNOWN),
        K({"metadata": {"name": "new"}}),
    ]
    found = node_status.refusing_nodes(pods, REGISTRY)
    assert sorted(found) == ["four", "one"] and all(
        "apps/wiki cannot pull its image" in words for words in found.values()
    )


def test_a_node_that_has_an_image_of_the_registry_has_taken_its_certificate() -> None:
    images = [{"names": ["docker.io/library/alpine:3"]}, {"names": ["x@sha256:1", f"{REGISTRY}/homelab/demo:v1"]}]
    assert node_status.has_pulled(K({"status": {"images": images}}), REGISTRY)
    assert not node_status.has_pulled(K({"status": {"images": images[:1]}}), REGISTRY)
    assert not node_status.has_pulled(K({}), "registry.la")


def test_only_a_nodes_own_addresses_are_the_owners_to_name() -> None:
    one = K(
        {
            "metadata": {"name": "k3s-2", "annotations": {"projectcalico.org/IPv4VXLANTunnelAddr": "10.42.9.1"}},
            "spec": {"podCIDR": "10.42.3.0/24"},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.168.7.8"}]},
        }
    )
    assert node_status.outside_of(["192.168.1.0/24"], [one]) == ["k3s-2 (192.168.7.8)"]
    assert node_status.outside_of(["192.168.0.0/16"], [one]) == []


# amd64 and arm64


def of_kind(**kinds: str) -> list[objects.KubeObject]:
    return [
        K({"metadata": {"name": name}, "status": {"nodeInfo": {"architecture": kind}}}) for name, kind in kinds.items()
    ]


@pytest.mark.parametrize(
    ("nodes", "kind", "said"),
    [
        (of_kind(a="amd64", b="amd64"), preflight_cluster.Good, "architecture: amd64"),
        (of_kind(pi="arm64"), preflight_cluster.Good, "architecture: arm64"),
        (of_kind(a="amd64", pi="arm64"), preflight_cluster.Advice, "amd64 (a), arm64 (pi)"),
        (of_kind(old="arm", star="riscv64"), preflight_cluster.Problem, "old: arm; star: riscv64"),
        (of_kind(a="amd64", star="riscv64"), preflight_cluster.Advice, "kubectl taint nodes star"),
        ([K({"metadata": {"name": "b", "labels": {"kubernetes.io/arch": "s390x"}}})], preflight_cluster.Problem, "b: s390x"),
    ],
)  # fmt: skip
def test_preflight_says_which_nodes_can_run_the_labs_images(
    nodes: list[objects.KubeObject], kind: type, said: str
) -> None:
    found = list(preflight_cluster.architecture(nodes))
    told = [one for one in found if isinstance(one, kind)]
    assert told and said in str(told[0])
    assert any(isinstance(one, preflight_cluster.Problem) for one in found) is (kind is preflight_cluster.Problem)


def test_of_a_node_that_does_not_say_what_it_is_preflight_says_nothing() -> None:
    assert list(preflight_cluster.architecture([K({"metadata": {"name": "a"}})])) == []


def test_the_answer_that_is_proposed_holds_every_node() -> None:
    told = node_status._new_answer(["192.168.1.0/24"], ["k3s-2 (192.168.7.8)", "k3s-3 (fd00::9)"])
    assert told.startswith("./lab update --data node_networks='[192.168.1.0/24, 192.168.7.8/32, fd00::9/128]'")
