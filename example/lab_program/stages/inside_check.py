"""Preflight's look from inside the cluster: two short-lived pods try the hosts, by the nodes' DNS and by the cluster's.

A name that leads here to Traefik may lead nowhere there: another DNS server, or a router that does not send its own
address back in (hairpin NAT). Then nodes pull no image, and Flux sees none.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import inside
from ..clients.kubectl import FIELD_MANAGER
from ..clients.objects import KubeObject, pod_reason
from ..lab import Lab
from ..patience import TimedOutError
from .findings import Advice, Finding, Good, Nothing, Problem

IMAGE = "docker.io/library/python:3.13-slim@sha256:8d9d0b8bcf6506481eae4907c18f5e3e7902e629f5f6d684f9e7c32e85e3ddf0"
CHECK = "inside"
LABEL = "lab-inside"
SELECTOR = f"app.kubernetes.io/name={LABEL}"
# By whose DNS a pod looks names up, and how Kubernetes calls that.
NODES, CLUSTER = "the nodes' DNS", "the cluster's DNS"
POLICIES = {NODES: ("node", "Default"), CLUSTER: ("cluster", "ClusterFirst")}
SECONDS = 5
# A pod that cannot start in this time, its image included, says nothing about the names.
MINUTES = 2


@dataclass(frozen=True)
class Fault:
    """What is wrong with a host as a pod sees it; see inside.look."""

    host: str
    kind: str
    words: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class View:
    """What a pod saw: the faults, or why there is no word from it."""

    faults: tuple[Fault, ...] = ()
    silence: str = ""


def look_from_inside(lab: Lab, *, again: bool) -> Iterator[Finding]:
    """Try the hosts from two pods, which are gone afterwards.

    Args:
        again: whether to look although GitLab is installed, so that the cluster has reached the hosts once.
    """
    installed = lab.gitlab_at_start is not None
    if CHECK in lab.limits.skip:
        yield Nothing("whether the cluster reaches the hosts, too: LAB_SKIP has it")
    elif lab.dry_run:
        yield Nothing("whether the cluster reaches the hosts, too: a dry run starts no pod there")
    elif installed and not again:
        yield Nothing("whether the cluster reaches the hosts, too: ./lab up --only preflight tries it again")
    else:
        yield from findings(lab.settings.hosts, lab.settings.https_port, _views(lab, installed=installed))


def _views(lab: Lab, *, installed: bool) -> dict[str, View]:
    """Run the pods, and return what each saw. They are removed at any end; after a kill they go by themselves."""
    namespace = _namespace(lab)
    settings = lab.settings
    authority: str | None = None
    if installed:
        authority = ""
        if lab.authority is not None:
            with contextlib.suppress(OSError):
                authority = lab.authority.read_text(encoding="utf-8", errors="replace")
    asked = {"hosts": settings.hosts, "port": settings.https_port, "seconds": SECONDS, "authority": authority}
    try:
        _remove(lab, namespace, wait=True)
        jobs = [job(namespace, name, policy, asked) for name, policy in POLICIES.values()]
        text = "".join(f"---\n{json.dumps(one)}\n" for one in jobs)
        lab.cluster.apply_text("the pods that try the lab's hosts", text, FIELD_MANAGER)
        return _wait(lab, namespace)
    finally:
        _remove(lab, namespace, wait=False)


def _namespace(lab: Lab) -> str:
    """Return a namespace that is there, and in which the lab closes nothing."""
    own = lab.settings.gitlab_namespace
    return own if lab.cluster.has_namespace(own) else "default"


def _remove(lab: Lab, namespace: str, *, wait: bool) -> None:
    lab.cluster.delete_selected("jobs", SELECTOR, namespace, "remove the pods that try the lab's hosts", wait=wait)


def _wait(lab: Lab, namespace: str) -> dict[str, View]:
    """Wait until both pods have ended, and return what they saw; of one that has not, why."""
    found: dict[str, View] = {}

    def probe() -> str | None:
        pods = [pod for pod in lab.cluster.list_of("pods", namespace, SELECTOR) if not pod.is_leaving]
        for whose, (name, _) in POLICIES.items():
            found[whose] = view([pod for pod in pods if pod.labels.get("app.kubernetes.io/component") == name])
        return next((one.silence for one in found.values() if one.silence), None)

    with contextlib.suppress(TimedOutError):
        lab.patience.wait(min(MINUTES, lab.limits.wait_flux_minutes), "how the cluster sees the lab's hosts", probe)
    return found


def view(pods: Sequence[KubeObject]) -> View:
    """Return what a pod saw, from its status."""
    for pod in pods:
        for one in pod.status.get("containerStatuses") or []:
            ended = (one.get("state") or {}).get("terminated")
            if ended is not None:
                return _read(int(ended.get("exitCode", 1)), str(ended.get("message") or ""))
        if pod.status.get("phase") == "Succeeded":
            return View(silence="its pod ended without a word of how")
    return View(silence=pod_reason(pods))


def _read(code: int, said: str) -> View:
    if code == 0:
        return View()
    faults = []
    for line in said.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            one = json.loads(line)
            addresses = tuple(str(address) for address in one.get("addresses", ()))
            faults.append(Fault(str(one["host"]), str(one["fault"]), str(one["words"]), addresses))
    return View(tuple(faults)) if faults else View(silence=f"its pod ended with {code}: {said.strip()[-200:]}")


def findings(hosts: Sequence[str], port: int, views: Mapping[str, View]) -> Iterator[Finding]:
    """Say what the pods' words mean, and what to do."""
    silent = {whose: seen.silence for whose, seen in views.items() if seen.silence}
    if silent:
        whose, why = next(iter(silent.items()))
        yield Advice(
            f"whether the cluster reaches {' '.join(hosts)} could not be seen by {whose}: {why}\n"
            f"kubectl get events -A shows more; LAB_SKIP={CHECK} leaves this look out"
        )
    faults = {whose: {one.host: one for one in seen.faults} for whose, seen in views.items()}
    problems = 0
    for host in hosts:
        by_cluster, by_nodes = faults.get(CLUSTER, {}).get(host), faults.get(NODES, {}).get(host)
        if by_cluster is not None:
            problems += 1
            yield _problem(by_cluster, port, nodes_know=by_nodes is None and NODES not in silent)
        elif by_nodes is not None:
            problems += 1
            yield _about_nodes(by_nodes, port)
    if not problems and not silent:
        yield Good(f"the cluster knows {' '.join(hosts)}, too, and reaches Traefik there")


def _problem(fault: Fault, port: int, *, nodes_know: bool) -> Finding:
    host, where = fault.host, f"inside the cluster {fault.host} leads to {', '.join(fault.addresses)}"
    if fault.kind == "dns" and nodes_know:
        what = f"the cluster's DNS does not know {host}, the nodes' own does ({fault.words})"
        fix = (
            "CoreDNS still asks the DNS servers that the nodes had when it started:\n"
            "kubectl -n kube-system rollout restart deployment/coredns"
        )
    elif fault.kind == "dns":
        what = f"DNS does not know {host} inside the cluster ({fault.words})"
        fix = (
            "the nodes have to ask the DNS server that has the records: nameserver in /etc/resolv.conf on each node,\n"
            "then restart k3s there. Pods do not read the nodes' /etc/hosts"
        )
    elif fault.kind == "route":
        what = f"{where}, and nothing answers at port {port} there ({fault.words})"
        fix = (
            "if that is your router's address, it does not send its own address back in (hairpin NAT): let the DNS\n"
            "server at home answer Traefik's address (kubectl get service -A -l app.kubernetes.io/name=traefik);\n"
            "otherwise look for a firewall between the pods and it"
        )
    elif fault.kind == "certificate":
        what = f"{where}, and its certificate is not trusted there: {fault.words}"
        fix = (
            f"kubectl get certificate -A; is it Traefik that answers as {host}? With your own authority: is\n"
            "ca.crt the one that signed it?"
        )
    else:
        what = f"{where}, and what answers at port {port} speaks no TLS ({fault.words})"
        fix = "let the name lead to Traefik, and Traefik listen with TLS on that port"
    return Problem(CHECK, what, f"{fix}\nif you know better: LAB_SKIP={CHECK}")


def _about_nodes(fault: Fault, port: int) -> Finding:
    """Say what only a node is in the way of: it pulls images, and reads its own /etc/hosts, which no pod does."""
    what = (
        "does not know it"
        if fault.kind == "dns"
        else f"leads to {', '.join(fault.addresses)}, port {port}: {fault.words}"
    )
    return Advice(
        f"the cluster reaches {fault.host}, but the nodes' DNS {what}.\n"
        "Unless /etc/hosts of each node has it, they pull no image of the lab: let the nodes ask the DNS server "
        "that has the records"
    )


def job(namespace: str, name: str, dns_policy: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Job whose pod looks; without privileges, and gone by itself two minutes after it began, or ended."""
    labels = {"app.kubernetes.io/name": LABEL, "app.kubernetes.io/component": name}
    container = {
        "name": "check",
        "image": IMAGE,
        "command": ["python3", "-c", Path(inside.__file__).read_text(encoding="utf-8"), json.dumps(dict(asked))],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    pod = {
        "restartPolicy": "Never",
        "dnsPolicy": dns_policy,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"{LABEL}-{name}", "namespace": namespace, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": MINUTES * 60,
            "ttlSecondsAfterFinished": MINUTES * 60,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
