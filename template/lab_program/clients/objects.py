"""Objects of Kubernetes as kubectl prints them, and what is decided from them alone."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..secret import Secret

CRASH_LOOP = "CrashLoopBackOff"
RUNNING = "running"


@dataclass(frozen=True)
class Condition:
    """One of an object's status conditions."""

    status: str = ""
    message: str = "no word from it yet"

    @property
    def is_true(self) -> bool:
        return self.status == "True"


@dataclass(frozen=True)
class KubeObject:
    """An object, or nothing of one: every part of it may be missing."""

    content: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return str(self.content.get("kind", ""))

    @property
    def metadata(self) -> Mapping[str, Any]:
        return self.content.get("metadata") or {}

    @property
    def name(self) -> str:
        return str(self.metadata.get("name", ""))

    @property
    def namespace(self) -> str:
        return str(self.metadata.get("namespace", ""))

    @property
    def labels(self) -> Mapping[str, str]:
        return self.metadata.get("labels") or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        return self.metadata.get("annotations") or {}

    @property
    def spec(self) -> Mapping[str, Any]:
        return self.content.get("spec") or {}

    @property
    def status(self) -> Mapping[str, Any]:
        return self.content.get("status") or {}

    @property
    def is_leaving(self) -> bool:
        return self.metadata.get("deletionTimestamp") is not None

    @property
    def has_started(self) -> bool:
        """Whether a container of a pod has ever run."""
        for one in self.status.get("containerStatuses") or []:
            if one.get("restartCount") or one.get("lastState") or "waiting" not in (one.get("state") or {}):
                return True
        return False

    @property
    def created(self) -> str:
        return str(self.metadata.get("creationTimestamp", ""))

    def condition(self, kind: str) -> Condition:
        """Return its condition of a type; one without a status if there is none."""
        for one in self.status.get("conditions") or []:
            if one.get("type") == kind:
                return Condition(str(one.get("status", "")), str(one.get("message", "")))
        return Condition()

    @property
    def ready(self) -> Condition:
        return self.condition("Ready")

    @property
    def is_seen(self) -> bool:
        """Whether its controller has seen its newest form; an object that no controller observes is."""
        observed = self.status.get("observedGeneration")
        return observed is None or observed == self.metadata.get("generation")

    @property
    def is_rolled_out(self) -> bool:
        """Whether a Deployment runs in its newest form."""
        seen = self.status.get("observedGeneration", 0) >= self.metadata.get("generation", 0)
        return bool(seen and self.status.get("updatedReplicas", 0) >= 1 and self.status.get("readyReplicas", 0) >= 1)

    @property
    def containers(self) -> list[Mapping[str, Any]]:
        """The containers that a Deployment gives its pods."""
        return list(self.spec.get("template", {}).get("spec", {}).get("containers") or [])

    @property
    def managers(self) -> dict[str, str]:
        """Who has written its fields, and when last. Only where it was read with its managed fields."""
        found: dict[str, str] = {}
        for one in self.metadata.get("managedFields") or []:
            name, time = str(one.get("manager", "")), str(one.get("time", ""))
            found[name] = max(time, found.get(name, ""))
        return found

    def value(self, key: str) -> str:
        """Return a value of a Secret that is there to be shown, such as a public key; nothing if it is missing."""
        encoded = (self.content.get("data") or {}).get(key) or ""
        try:
            return base64.b64decode(encoded).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            return ""

    def secret(self, key: str) -> Secret:
        """Return a value of a Secret; an empty one if it is missing."""
        return Secret(self.value(key))


NOTHING = KubeObject({})


def secret_manifest(
    namespace: str, name: str, values: Mapping[str, str | Secret], kind: str = "Opaque"
) -> dict[str, Any]:
    """Return a Secret for kubectl apply."""
    plain = {key: value.reveal() if isinstance(value, Secret) else value for key, value in values.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "lab-bootstrap"}},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()},
    }


def pod_reason(pods: Iterable[KubeObject]) -> str:
    """Return why the newest of these pods is not ready, or RUNNING where its container runs."""
    here = sorted((pod for pod in pods if not pod.is_leaving), key=lambda pod: pod.created)
    if not here:
        return "no pod yet"
    pod = here[-1]
    containers = [
        *(pod.status.get("initContainerStatuses") or []),
        *(pod.status.get("containerStatuses") or []),
    ]
    waiting = [(one, (one.get("state") or {}).get("waiting")) for one in containers]
    if any(state and state.get("reason") == CRASH_LOOP and one.get("restartCount", 0) >= 3 for one, state in waiting):
        return CRASH_LOOP
    for _, state in waiting:
        if state is not None:
            return f"{state.get('reason', '')} {state.get('message', '')}".strip()
    if pod.status.get("phase") == "Pending":
        scheduled = pod.condition("PodScheduled")
        return scheduled.message if scheduled.status == "False" else "pending"
    return RUNNING


_QUANTITY = re.compile(r"([0-9]+)([A-Za-z]*)")
_UNITS = {"k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "T": 10**12}


def mebibytes(quantity: str) -> int:
    """Return a quantity of memory, such as 16308744Ki, in MiB; 0 if it is none."""
    found = _QUANTITY.fullmatch(quantity)
    return int(found[1]) * _UNITS.get(found[2], 1) // 2**20 if found else 0
