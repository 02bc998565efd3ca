"""What an update tells a lab from before its applications had limits: nothing stops, and how to take the limits on.

The rules are those of Kubernetes' Pod Security Standard "restricted"
(https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted), as far as the values of charts/app
decide them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from . import effects

QUESTION = "app_security"
# The parts of the lab itself; GitLab's image runs as root, and the runner's jobs are in a namespace of their own.
OWN = {"gitlab", "gitlab-check", "gitlab-runner"}
# What a volume may be; the chart knows these others.
FORBIDDEN_VOLUMES = ("nfs", "hostPath")

STEPS = (
    (
        "For each of them: give its image a `USER` that is a number other than 0, as `sample-app/Dockerfile` does by"
        " what it builds on; write into its `helmrelease.yaml` what `./lab new-app` writes for a new one"
        " (`podSecurityContext`, `securityContext`, the volume `tmp`, `networkPolicy`); commit, push, and see"
        ' `./lab status`. The README\'s "Who reaches whom" says what its `networkPolicy` then has to open.'
    ),
    "Once all pass: `./lab update --data app_security=enforced`.",
)
ELSEWHERE = (
    "Kubernetes refuses nothing in the namespace `{name}`, which the lab did not make: there it goes on warning."
    " Another `app_namespace` makes the releases anew and removes those that are there; their volumes stay behind, so"
    " copy them first."
)
BANS = (
    "GitLab bans applications after failed log-ins, too: the pods' network is no longer exempt. Once this is pushed,"
    " run `./lab up --only gitlab`, then `kubectl rollout restart deploy/gitlab -n {namespace}`: it tells GitLab which"
    " addresses of that network are the nodes' own."
)


def told(before: Mapping[str, Any], after: Mapping[str, Any], tree: effects.Tree) -> list[str]:
    """Return what the owner has to know, a line each, at the first update that brings the question.

    Args:
        before, after: the answers before and after.
        tree: the lab's files after the update.
    """
    if QUESTION in before or QUESTION not in after:
        return []
    lines = [BANS.format(namespace=after.get("gitlab_namespace"))] if after.get("rack_attack") else []
    if after[QUESTION] != "warned":
        return lines
    found = []
    for key, one in sorted(effects.applied(tree).items()):
        if key.kind != "HelmRelease" or key.name in OWN:
            continue
        lacking = list(missing((one.document.get("spec") or {}).get("values") or {}))
        if lacking:
            found.append(f"`{key.name}` in `{key.namespace or 'default'}`: {'; '.join(lacking)}.")
    what = "Nothing stops: this lab was made before its applications had limits, so `app_security` is `warned`."
    if not found:
        return [f"{what} All of them keep to the limits already: `./lab update --data app_security=enforced`.", *lines]
    lines = [f'{what} Kubernetes warns of what does not pass Pod Security "restricted":', *found, *STEPS, *lines]
    namespace = str(after.get("app_namespace"))
    return [*lines, ELSEWHERE.format(name=namespace)] if namespace == "default" else lines


def missing(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield why a release of charts/app would not pass, or what it may reach more than others."""
    pod, own = _map(values, "podSecurityContext"), _map(values, "securityContext")
    others = [*_list(values, "initContainers"), *_list(values, "sidecars")]
    every = [own, *(_map(one, "securityContext") for one in others)]
    non_root = [one.get("runAsNonRoot", pod.get("runAsNonRoot")) for one in every]
    if pod.get("runAsNonRoot") is False or not all(one is True for one in non_root):
        yield "it may run as root (`runAsNonRoot`)"
    if 0 in {pod.get("runAsUser"), *(one.get("runAsUser") for one in every)}:
        yield "it runs as root (`runAsUser: 0`)"
    if not all(one.get("allowPrivilegeEscalation") is False for one in every):
        yield "a process may gain rights (`allowPrivilegeEscalation`)"
    if any(one.get("privileged") for one in every):
        yield "it is privileged"
    if not all("ALL" in _list(_map(one, "capabilities"), "drop") for one in every):
        yield "it keeps capabilities (`capabilities.drop`)"
    of_pod = _map(pod, "seccompProfile")
    profiles = [(_map(one, "seccompProfile") or of_pod).get("type") for one in every]
    profiles += [of_pod["type"]] if "type" in of_pod else []
    if not all(one in {"RuntimeDefault", "Localhost"} for one in profiles):
        yield "any system call is allowed (`seccompProfile`)"
    if values.get("hostNetwork"):
        yield "it has its node's network (`hostNetwork`)"
    volumes = _map(values, "volumes")
    sources = [volumes, *(one for one in _map(volumes, "items").values() if isinstance(one, dict))]
    used = [name for name in FORBIDDEN_VOLUMES if any(one.get(name) for one in sources)]
    if used and volumes.get("enabled", True):
        yield f"its volumes are {' and '.join(used)}, which only a PersistentVolume may be (`existingClaim`)"
    if _map(values, "networkPolicy").get("enabled") is not True:
        yield "it reaches everything, and everything reaches it (`networkPolicy`)"


def _map(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def _list(values: Mapping[str, Any], name: str) -> list[Any]:
    found = values.get(name)
    return found if isinstance(found, list) else []
