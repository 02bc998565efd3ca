"""The way that Flux goes through this repository, from clusters/<name> on."""

from __future__ import annotations

from pathlib import Path

from .building import Variables, build, kustomization_file, variable_sources, with_metadata, with_variables
from .findings import Applied, Cluster, Findings, Identity, Object, identity, mapping
from .reading import objects

FLUX = "kustomize.toolkit.fluxcd.io"


def clusters(root: Path, findings: Findings) -> list[Cluster]:
    """Return each folder of clusters/ with what Flux applies because of it, releases not yet rendered.

    Args:
        root: a copy of the repository, which the build may write to.
        findings: where faults go.
    """
    found = []
    folders = sorted(folder for folder in (root / "clusters").glob("*") if folder.is_dir())
    if not folders:
        findings.fault(
            "clusters", "there is no folder clusters/<name>, so Flux has nothing to follow; restore it from Git"
        )
    for folder in folders:
        cluster = _entry(root, folder, findings)
        if cluster is not None:
            _follow(root, cluster, findings)
            _unlisted(root, folder, cluster, findings)
            found.append(cluster)
    return found


def _entry(root: Path, folder: Path, findings: Findings) -> Cluster | None:
    """Return the cluster whose entry is the Kustomization that has this very folder as its path."""
    for file in sorted([*folder.rglob("*.yaml"), *folder.rglob("*.yml")]):
        for thing in objects(file, file.relative_to(root), findings):
            one = Applied(thing, "the bootstrap")
            if one.id.kind == "Kustomization" and one.id.group == FLUX and target(root, one) == folder.resolve():
                cluster = Cluster(folder.name, source_of(one))
                cluster.applied.append(one)
                return cluster
    name = folder.relative_to(root)
    findings.fault(
        str(name),
        f"no Kustomization in it has the path ./{name}, so Flux does not follow this folder; restore flux-system/sync.yaml",
    )
    return None


def target(root: Path, kustomization: Applied) -> Path:
    """Return the folder that a Kustomization's path names; it may not be there, and never lies outside of *root*."""
    path = str(kustomization.spec.get("path") or ".").lstrip("/")
    found = (root / path).resolve()
    return found if found.is_relative_to(root.resolve()) else root.resolve()


def source_of(kustomization: Applied) -> Identity:
    """Return what a Kustomization takes its folder from."""
    return reference(mapping(kustomization.spec.get("sourceRef")), kustomization.id.namespace)


def reference(ref: Object, namespace: str, group: str = "source.toolkit.fluxcd.io", kind: str = "") -> Identity:
    """Return what a reference of Flux's names; without a namespace of its own it is in *namespace*."""
    group = str(ref["apiVersion"]).rpartition("/")[0] if ref.get("apiVersion") else group
    return Identity(
        group, str(ref.get("kind") or kind), str(ref.get("namespace") or namespace), str(ref.get("name") or "")
    )


def _follow(root: Path, cluster: Cluster, findings: Findings) -> None:
    """Add what each Kustomization applies, those that come out of it included, until there is nothing new."""
    done: set[Identity] = set()
    elsewhere: set[Identity] = set()
    while todo := [one for one in cluster.of_kind("Kustomization", group=FLUX) if one.id not in done]:
        for one in todo:
            if one.id in done:
                continue
            done.add(one.id)
            title, folder = f"Kustomization {one.id.name}", target(root, one)
            if source_of(one) != cluster.source:
                elsewhere.add(source_of(one))
                findings.skip(f"{title}: it takes from {source_of(one)}, which is not this repository")
            elif not folder.is_dir():
                findings.fault(
                    title, f"there is no folder {one.spec.get('path')}; fix its path, or remove the Kustomization"
                )
            else:
                _apply(root, cluster, one, title, findings)
    # A source that is not there brings nothing, and its name is wrong.
    if elsewhere & {one.id for one in cluster.applied}:
        cluster.unseen.add("")


def _apply(root: Path, cluster: Cluster, one: Applied, title: str, findings: Findings) -> None:
    built = build(root, target(root, one), one.spec, title, findings)
    variables = _variables(cluster, one, findings)
    known = {(other.id, other.by) for other in cluster.applied}
    for thing in built or []:
        made = Applied(with_metadata(with_variables(thing, variables), one.spec), title)
        # The entry applies itself, too.
        if (made.id, "the bootstrap") in known:
            cluster.applied = [
                made if (other.id, other.by) == (made.id, "the bootstrap") else other for other in cluster.applied
            ]
        else:
            cluster.applied.append(made)


def _variables(cluster: Cluster, one: Applied, findings: Findings) -> Variables | None:
    """Return a Kustomization's variables, or None if it substitutes nothing."""
    if not mapping(one.spec.get("postBuild")):
        return None
    found: dict[str, str] = {}
    complete = True
    for source in variable_sources(one.spec):
        name = Identity("", str(source.get("kind")), one.id.namespace, str(source.get("name")))
        there = next((other for other in cluster.applied if other.id == name and name.kind == "ConfigMap"), None)
        if there is not None:
            found |= {key: str(value) for key, value in mapping(there.thing.get("data")).items()}
        else:
            complete = False
            findings.skip(f"Kustomization {one.id.name}: what takes a variable from {name}, which is not in Git")
    found.update(
        {key: str(value) for key, value in mapping(mapping(one.spec.get("postBuild")).get("substitute")).items()}
    )
    return Variables(found, complete)


def _unlisted(root: Path, folder: Path, cluster: Cluster, findings: Findings) -> None:
    """Find what lies below clusters/<name> and is not applied: Flux removes from the cluster what it applied before."""
    if any(fault.startswith("Kustomization flux-system: Flux cannot build") for fault in findings.faults):
        return
    applied = {one.id for one in cluster.applied}
    for file in sorted([*folder.rglob("*.yaml"), *folder.rglob("*.yml")]):
        for thing in objects(file, file.relative_to(root), findings):
            if str(thing["apiVersion"]).startswith("kustomize.config.k8s.io/") or identity(thing) in applied:
                continue
            lists = next((kustomization_file(parent) for parent in file.parents if kustomization_file(parent)), None)
            where = lists.relative_to(root) if lists else "kustomization.yaml"
            findings.fault(
                str(file.relative_to(root)),
                f"{where} does not list it, so Flux removes {identity(thing)} from the cluster with all that it brought; list it there,"
                " or remove the file",
            )


def idle(root: Path, found: list[Cluster], findings: Findings) -> None:
    """Say which folders with a kustomization.yaml, such as a new application's, no Kustomization leads to."""
    used = {target(root, one) for cluster in found for one in cluster.of_kind("Kustomization", group=FLUX)}
    for file in sorted(root.rglob("kustomization.yaml")):
        folder = file.parent
        if folder.relative_to(root).parts[:1] == ("apps",) and not any(
            parent.resolve() in used for parent in (folder, *folder.parents)
        ):
            name = folder.relative_to(root)
            findings.skip(f"{name}: no Kustomization below clusters/ has the path ./{name}, so Flux does not apply it")
