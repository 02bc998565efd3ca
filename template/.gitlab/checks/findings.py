"""What the checks find: faults, which stop the pipeline, and what they could not judge."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
# Kinds without a namespace. A CustomResourceDefinition in Git says it of its own kind.
CLUSTER_WIDE = frozenset(
    "APIService CSIDriver CSINode CertificateSigningRequest ClusterIssuer ClusterRole ClusterRoleBinding CustomResourceDefinition"
    " DeviceClass FlowSchema GatewayClass IngressClass MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration"
    " Namespace Node PersistentVolume PriorityClass PriorityLevelConfiguration RuntimeClass StorageClass ValidatingAdmissionPolicy"
    " ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration VolumeAttachment VolumeAttributesClass VolumeSnapshotClass"
    " VolumeSnapshotContent".split()
)


@dataclass
class Findings:
    """Faults, and what was not judged, in the order in which they were found; nothing twice."""

    faults: list[str] = field(default_factory=list)
    unjudged: list[str] = field(default_factory=list)

    def fault(self, where: str, what: str) -> None:
        """Write down a fault: where it is, and what is wrong, why, and what to do."""
        text = f"{where}: {what}"
        if text not in self.faults:
            self.faults.append(text)

    def skip(self, what: str) -> None:
        """Write down what was not judged, and why."""
        if what not in self.unjudged:
            self.unjudged.append(what)


@dataclass(frozen=True)
class Identity:
    """What tells one object of a cluster from all others: the API group, not its version, the kind, and the name."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def identity(thing: Object) -> Identity:
    """Return an object's identity; `metadata` may be missing or wrong."""
    metadata = thing.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    group = str(thing.get("apiVersion", "")).rpartition("/")[0]
    return Identity(
        group, str(thing.get("kind", "")), str(metadata.get("namespace") or ""), str(metadata.get("name") or "")
    )


@dataclass
class Applied:
    """An object that reaches the cluster, and by whom, such as `Kustomization gitlab` or `HelmRelease gitlab/gitlab`."""

    thing: Object
    by: str

    @property
    def id(self) -> Identity:
        """The object's identity."""
        return identity(self.thing)

    @property
    def spec(self) -> Object:
        """The object's spec, or nothing if that is no mapping: the schema says so then."""
        return mapping(self.thing.get("spec"))


@dataclass
class Cluster:
    """One folder of clusters/, with everything that Flux would apply because of it.

    Attributes:
        name: the folder's name.
        source: the identity of the GitRepository that is this repository.
        applied: all objects, those of releases included.
        unseen: the namespaces to which something brings objects that are not known here; empty text stands for all of them.
    """

    name: str
    source: Identity
    applied: list[Applied] = field(default_factory=list)
    unseen: set[str] = field(default_factory=set)

    def sees(self, *namespaces: str) -> bool:
        """Say whether everything in these namespaces is known here, so that what is not there is missing."""
        return not self.unseen & {"", *namespaces}

    def of_kind(self, *kinds: str, group: str = "") -> list[Applied]:
        """Return the objects of these kinds; *group* is the end of their API group."""
        return [one for one in self.applied if one.id.kind in kinds and one.id.group.endswith(group)]


def mapping(value: object) -> Object:
    """Return *value* if it is a mapping, otherwise an empty one."""
    return value if isinstance(value, dict) else {}


def mappings(value: object) -> list[Object]:
    """Return the mappings in *value*, which should be a list of them."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
