"""Preflight's checks of the cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .. import versions
from ..clients.kubectl import FIELD_MANAGER, KubectlError
from ..clients.objects import NOTHING, KubeObject, mebibytes
from ..installed_gitlab import version_of_data
from ..lab import Lab
from ..probes import FLUX, HELM_RELEASE, KUSTOMIZATION
from ..settings import Settings
from .findings import Advice, Check, Finding, Good, Nothing, Problem
from .flux import FluxFolder, keeps_itself

# MiB that GitLab needs: a tenth less than the round number, since a node of 4 GB never offers all of it.
MEMORY = {"small": 3686, "standard": 7372}
# What every image of the lab is published for: the template lists them in docs/supported-versions.md.
IMAGES_ARE_FOR = ("amd64", "arm64")
ARCHITECTURE = "kubernetes.io/arch"
NODE_PORTS = range(30000, 32768)


@dataclass
class Reached:
    """The nodes, once the cluster has answered."""

    nodes: list[KubeObject] | None = None


def reach(lab: Lab, reached: Reached) -> Iterator[Finding]:
    """The cluster answers. Where it does not, nothing more can be asked of it."""
    try:
        # Twice, not longer: a wrong kubeconfig stays wrong.
        reached.nodes = lab.cluster.nodes(tries=2)
    except KubectlError as error:
        fix = "kubectl get nodes has to work: KUBECONFIG, kubectl config current-context"
        yield Problem("cluster", f"the cluster cannot be reached: {error}", fix)
        return
    ready = sum(node.ready.is_true for node in reached.nodes)
    if ready:
        yield Good(f"the cluster answers; {ready} node(s) ready")
    else:
        yield Problem("cluster", "no node of the cluster is ready", "kubectl describe nodes")


def cluster_checks(nodes: Sequence[KubeObject]) -> list[Check]:
    """Return everything that is asked of a cluster that answers."""
    return [
        rights,
        lambda lab: [memory(nodes, lab.settings.gitlab_size)],
        lambda _: architecture(nodes),
        lambda _: encryption(nodes),
        lambda lab: [traefik(lab)],
        lambda lab: [tls(lab)],
        storage,
        ssh_port,
        upgrade,
        flux_version,
        flux_prerequisites,
    ]


def rights(lab: Lab) -> Iterator[Finding]:
    """The owner may administer the cluster."""
    if lab.cluster.may_do_everything():
        yield Good("your kubeconfig may administer the cluster")
    else:
        fix = "use the admin kubeconfig (k3s: /etc/rancher/k3s/k3s.yaml)"
        yield Problem("rights", "your kubeconfig user is no administrator of the cluster", fix)


def flux_prerequisites(lab: Lab) -> Iterator[Finding]:
    """The cluster suits Flux, as Flux's own check says."""
    if not lab.programs.has("flux"):
        yield Nothing("whether the cluster suits Flux: flux is missing")
        return
    problem = lab.flux.prerequisites()
    if problem is None:
        yield Good("the cluster suits Flux")
    else:
        yield Problem("flux", f"the cluster does not suit Flux: {problem}", "flux check --pre")


def flux_version(lab: Lab) -> Iterator[Finding]:
    """The Flux that runs, unless it keeps itself: the repository's must not be older."""
    if not keeps_itself(lab.cluster.find(KUSTOMIZATION, FLUX, FLUX)):
        flux = FluxFolder(lab)
        problem = flux.too_new(lab.cluster.list_of("deployments", FLUX))
        if problem:
            yield Problem("flux-version", problem, flux.export_command)


def memory(nodes: Sequence[KubeObject], size: str) -> Finding:
    """Say whether a node has room for GitLab."""
    largest = max(
        (mebibytes(str((node.status.get("allocatable") or {}).get("memory", "0"))) for node in nodes), default=0
    )
    if largest < MEMORY[size]:
        what = f"the largest node offers {largest} MiB; GitLab ({size}) needs about {MEMORY[size]}"
        return Problem("memory", what, "give a node more memory, or choose gitlab_size: small")
    return Good(f"memory: a node offers {largest} MiB")


def architecture(nodes: Sequence[KubeObject]) -> Iterator[Finding]:
    """Say whether the nodes can run the lab's images, which are published for amd64 and arm64."""
    kinds: dict[str, list[str]] = {}
    for node in nodes:
        kind = str((node.status.get("nodeInfo") or {}).get("architecture") or node.labels.get(ARCHITECTURE, ""))
        kinds.setdefault(kind, []).append(node.name)
    known = {kind: names for kind, names in kinds.items() if kind in IMAGES_ARE_FOR}
    others = {kind: names for kind, names in kinds.items() if kind and kind not in IMAGES_ARE_FOR}
    if others and not known:
        there = "; ".join(f"{', '.join(names)}: {kind}" for kind, names in sorted(others.items()))
        wanted = " or ".join(IMAGES_ARE_FOR)
        what = f"no node is {wanted}, for which GitLab's image and the lab's others are published ({there})"
        yield Problem("architecture", what, "join a node of amd64 or arm64 to the cluster")
        return
    if others:
        names = " ".join(name for found in others.values() for name in found)
        yield Advice(
            f"these nodes run none of the lab's images ({', '.join(sorted(others))}). Keep its pods away from them:\n"
            f"kubectl taint nodes {names} kubernetes.io/arch=other:NoSchedule"
        )
    if len(known) > 1:
        shown = ", ".join(f"{kind} ({', '.join(names)})" for kind, names in sorted(known.items()))
        yield Advice(
            f"the nodes are of two architectures: {shown}.\n"
            "The lab's own images are for both. What your pipelines build is for that of the runner's machine alone:\n"
            f"give your applications nodeSelector: {{{ARCHITECTURE}: ...}} in their values"
        )
    elif known:
        yield Good(f"the nodes' architecture: {next(iter(known))}")


def encryption(nodes: Sequence[KubeObject]) -> Iterator[Finding]:
    """Say whether k3s encrypts Secrets in its database, where its servers show how they were started.

    https://docs.k3s.io/security/secrets-encryption; k3s writes its arguments, those of its file too, onto the node.
    """
    for node in nodes:
        try:
            words = json.loads(node.annotations.get("k3s.io/node-args", "[]"))
        except ValueError:
            words = []
        if not isinstance(words, list) or "server" not in words[:1]:
            continue
        flags = {str(word).partition("=")[0] for word in words if not str(word).endswith("=false")}
        if "--secrets-encryption" in flags or "k3s.io/encryption-config-hash" in node.annotations:
            yield Good(f"k3s encrypts Secrets on {node.name}")
        else:
            yield Advice(
                f"k3s on {node.name} keeps Secrets in the clear: anyone who reads its disk, or a copy of it, has every "
                f"token of the lab.\nStart a new k3s with --secrets-encryption. For one that runs, read first:\n"
                f"https://docs.k3s.io/security/secrets-encryption"
            )


def traefik(lab: Lab) -> Finding:
    """Say whether Traefik is there, and k3s' own may be configured by the lab."""
    if lab.cluster.find("customresourcedefinitions.apiextensions.k8s.io", "ingressroutes.traefik.io") is None:
        return Problem(
            "traefik",
            "Traefik (with its CRDs, version 3) is not in the cluster",
            "k3s brings it, unless started with --disable traefik\n"
            "otherwise: https://doc.traefik.io/traefik/getting-started/install-traefik/",
        )
    if lab.settings.traefik_kind != "k3s":
        return Good("Traefik")
    if lab.cluster.find("helmcharts.helm.cattle.io", "traefik", "kube-system") is None:
        what = "k3s' own Traefik is not there, so the lab's HelmChartConfig would change nothing"
        return Problem("traefik", what, "start k3s without --disable traefik, or answer traefik_kind: other")
    config = lab.cluster.find("helmchartconfigs.helm.cattle.io", "traefik", "kube-system", managed_fields=True)
    if config is not None and not is_ours(config):
        return Problem(
            "traefik-config",
            "there is a HelmChartConfig kube-system/traefik of yours; the lab would overwrite it",
            "carry its valuesContent (kubectl get helmchartconfig traefik -n kube-system -o yaml) over into\n"
            "infrastructure/traefik.yaml, commit that, and say so: LAB_SKIP=traefik-config",
        )
    return Good("Traefik, k3s' own")


def is_ours(one: KubeObject) -> bool:
    """Say whether the lab has written an object, or Flux from the lab's repository."""
    return FIELD_MANAGER in one.managers or any("kustomize-controller" in name for name in one.managers)


def tls(lab: Lab) -> Finding:
    """Say whether there is a certificate, or who makes one."""
    settings = lab.settings
    if settings.tls_source == "traefik":
        return Nothing("certificates: Traefik has its own")
    if settings.tls_source == "secret":
        name, namespace = settings.tls_secret_name, settings.gitlab_namespace
        secret = lab.cluster.find("secret", name, namespace)
        if secret is None or secret.content.get("type") != "kubernetes.io/tls":
            return Problem(
                "tls",
                f"the Secret {namespace}/{name} (type kubernetes.io/tls) does not exist",
                f"kubectl create namespace {namespace}\n"
                f"kubectl create secret tls {name} -n {namespace} --cert=CERTIFICATE --key=KEY",
            )
        return Good(f"the certificate in Secret {namespace}/{name}")
    return cert_manager(lab) if settings.makes_issuer else cluster_issuer(lab, settings.cluster_issuer)


def cluster_issuer(lab: Lab, name: str) -> Finding:
    """Say whether the owner's ClusterIssuer is there, and ready."""
    issuer = lab.cluster.find("clusterissuers.cert-manager.io", name)
    if issuer is None:
        return Problem(
            "tls",
            f'cert-manager\'s ClusterIssuer "{name}" does not exist',
            "install cert-manager (https://cert-manager.io/docs/installation/) and make that ClusterIssuer\n"
            "(https://cert-manager.io/docs/configuration/); which there are: kubectl get clusterissuers",
        )
    if not issuer.ready.is_true:
        what = f'the ClusterIssuer "{name}" is not ready: {issuer.ready.message}'
        return Problem("tls", what, f"kubectl describe clusterissuer {name}")
    return Good(f"certificates from the ClusterIssuer {name}")


def cert_manager(lab: Lab) -> Finding:
    """Say whether cert-manager is there if it should be, and is not there if the lab installs it."""
    name, issuer = "customresourcedefinitions.apiextensions.k8s.io", lab.settings.cluster_issuer
    kinds = lab.cluster.find(name, "clusterissuers.cert-manager.io")
    if not lab.settings.installs_cert_manager:
        if kinds is None:
            fix = "answer cert_manager: lab, and the lab installs it; or https://cert-manager.io/docs/installation/"
            return Problem("tls", "cert-manager is not in the cluster, and cert_manager is existing", fix)
        return Good(f"cert-manager is there; the stage certificates makes the ClusterIssuer {issuer}")
    runs = lab.cluster.find("deployment", "cert-manager", "cert-manager")
    ours = lab.cluster.find(HELM_RELEASE, "cert-manager", "cert-manager")
    notes = (kinds or NOTHING).annotations
    place = tuple(notes.get(f"meta.helm.sh/release-{what}", "") for what in ("namespace", "name"))
    # Definitions that stayed when an earlier release of this name went are taken over.
    if ours is None and (runs is not None or (kinds is not None and place != ("cert-manager", "cert-manager"))):
        what = "cert-manager is in the cluster already, and not from this lab: a second one would fight with it"
        return Problem("tls", what, "answer cert_manager: existing (./lab update --data cert_manager=existing)")
    return Good(f"the stage certificates installs cert-manager and makes the ClusterIssuer {issuer}")


def storage(lab: Lab) -> Iterator[Finding]:
    """The storage class, where one is needed."""
    settings = lab.settings
    if "storage-class" not in (settings.storage_backend, settings.data_backend):
        return
    if lab.cluster.find("storageclass", settings.storage_class):
        yield Good(f"storage class {settings.storage_class}")
    else:
        fix = "kubectl get storageclass, then answer storage_class with one of them"
        yield Problem("storage", f'the storage class "{settings.storage_class}" does not exist', fix)


def ssh_port(lab: Lab) -> Iterator[Finding]:
    """The port for Git over SSH: two Services cannot have one port of the node, nor of k3s' load balancer."""
    settings = lab.settings
    if settings.ssh_exposure == "traefik":
        return
    if settings.ssh_exposure == "node-port" and settings.ssh_port not in NODE_PORTS:
        yield Problem("ssh-port", f"{settings.ssh_port} is no node port", "choose ssh_port between 30000 and 32767")
    taken = who_has_port(lab.cluster.list_of("services"), settings)
    if taken:
        what = f"port {settings.ssh_port} is taken by the Service {taken}"
        yield Problem("ssh-port", what, "choose another ssh_port, or remove that Service")
    else:
        yield Good(f"SSH port {settings.ssh_port} is free")


def who_has_port(services: Sequence[KubeObject], settings: Settings) -> str:
    """Return which Services have the SSH port, other than the lab's own; nothing where it is free."""
    on_node = settings.ssh_exposure == "node-port"
    kinds, field = ({"NodePort", "LoadBalancer"}, "nodePort") if on_node else ({"LoadBalancer"}, "port")
    ours = (settings.gitlab_namespace, "gitlab-ssh")
    found = [
        f"{one.namespace}/{one.name}"
        for one in services
        if one.spec.get("type") in kinds
        and any(port.get(field) == settings.ssh_port for port in one.spec.get("ports") or [])
        and (one.namespace, one.name) != ours
    ]
    return ", ".join(found)


def upgrade(lab: Lab) -> Iterator[Finding]:
    """The step from the GitLab that has the data to the lab's version."""
    installed = version_of_data(lab.cluster, lab.gitlab_at_start)
    problem = versions.upgrade_problem(installed, lab.gitlab_version)
    if problem:
        yield Problem("upgrade", problem, versions.way_from(installed, lab.gitlab_version))
