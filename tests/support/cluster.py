"""A lab as the cluster sees it: what Flux finds, what kustomize builds, what Helm renders, followed from the entry point."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart

Object = dict[str, Any]
BIN = Path(sys.executable).parent
CLUSTER_WIDE = {"Namespace", "PersistentVolume", "ClusterRole", "ClusterRoleBinding", "ClusterIssuer", "StorageClass"}


class Loader(yaml.CSafeLoader):
    """PyYAML without its YAML 1.1 value type: a lone `=` is a string to everyone else."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:value"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def documents(text: str) -> list[Object]:
    return [document for document in yaml.load_all(text, Loader) if document is not None]


def kustomize(folder: Path) -> str:
    """Return what `kubectl kustomize` builds from *folder*; its error otherwise.

    Most of a call is kubectl's own start, so a folder with the same files is built once, in whatever copy of a lab it lies.
    """
    files = tuple(
        (str(file.relative_to(folder)), file.read_bytes()) for file in sorted(folder.rglob("*")) if file.is_file()
    )
    # What a folder takes from beside it is not in the key. No lab does that today.
    alone = not any(b"../" in content for name, content in files if Path(name).name == "kustomization.yaml")
    return _kustomize_same(_Folder(folder, files)) if alone else _kustomize(folder)


@dataclass(frozen=True)
class _Folder:
    """A folder that is equal to another one with the same files."""

    path: Path = field(compare=False)
    files: tuple[tuple[str, bytes], ...]


@cache
def _kustomize_same(folder: _Folder) -> str:
    return _kustomize(folder.path)


def _kustomize(folder: Path) -> str:
    done = subprocess.run(
        [BIN / "kubectl", "kustomize", "--load-restrictor", "LoadRestrictionsNone", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"kubectl kustomize {folder}: {done.stderr}")
    return done.stdout


def flux_build(folder: Path) -> list[Object]:
    """Build a folder as Flux's kustomize-controller does: with its kustomization.yaml, or one made of all manifests below.

    Source: fluxcd.io/flux/components/kustomize/kustomizations/#generating-a-kustomizationyaml-file
    """
    if (folder / "kustomization.yaml").exists():
        return documents(kustomize(folder))
    found: list[Object] = []
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            found += flux_build(entry)
        elif entry.suffix in {".yaml", ".yml"}:
            found += documents(entry.read_text(encoding="utf-8"))
    return found


def merge(base: Any, over: Any) -> Any:
    """Merge Helm values as Flux does: maps deeply, everything else replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{key: merge(base.get(key), value) for key, value in over.items()}}
    return deepcopy(over)


def namespace_of(thing: Object) -> str:
    return thing["metadata"].get("namespace", "" if thing["kind"] in CLUSTER_WIDE else "default")


def title(thing: Object) -> str:
    """Return what a person calls the object: kind, namespace, name."""
    return f"{thing['kind']} {namespace_of(thing)}/{thing['metadata']['name']}"


@dataclass
class Lab:
    """One rendered lab.

    Attributes:
        path: its folder.
        answers: what its answers file records.
        objects: everything that ends up in the cluster, except what the bootstrap makes and Flux's own components.
        components: Flux's controllers and what belongs to them, as the lab has them.
        values: the values of each HelmRelease, merged, by `namespace/name`.
    """

    path: Path
    answers: dict[str, Any]
    objects: list[Object] = field(default_factory=list)
    components: list[Object] = field(default_factory=list)
    values: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def cluster(self) -> Path:
        return next(folder for folder in (self.path / "clusters").iterdir())

    def of_kind(self, kind: str) -> list[Object]:
        return [thing for thing in self.objects if thing["kind"] == kind]

    def kustomizations(self) -> list[Path]:
        return sorted(file.parent for file in self.path.rglob("kustomization.yaml"))


def is_flux(thing: Object) -> bool:
    """Say whether an object is one of those that `flux install` makes."""
    return thing["metadata"].get("labels", {}).get("app.kubernetes.io/part-of") == "flux"


def read_lab(path: Path, answers: dict[str, Any]) -> Lab:
    """Follow a lab as Flux does, from the entry point through every Kustomization and HelmRelease."""
    lab = Lab(path, answers)
    for thing in documents(kustomize(lab.cluster / "flux-system")):
        (lab.components if is_flux(thing) else lab.objects).append(thing)
    done: set[str] = set()
    while True:
        todo = [
            thing
            for thing in lab.of_kind("Kustomization")
            if thing["apiVersion"].startswith("kustomize.toolkit") and thing["metadata"]["name"] not in done
        ]
        if not todo:
            break
        for thing in todo:
            done.add(thing["metadata"]["name"])
            found = flux_build(path / thing["spec"]["path"])
            known = {title(one) for one in lab.objects}
            lab.objects += [one for one in found if title(one) not in known and not is_flux(one)]
    for release in lab.of_kind("HelmRelease"):
        lab.objects += render_release(lab, release)
    return lab


def render_release(lab: Lab, release: Object) -> list[Object]:
    """Render one HelmRelease with Helm, from the lab's own chart and the values that Flux would merge."""
    spec, namespace, name = release["spec"], namespace_of(release), release["metadata"]["name"]
    values: dict[str, Any] = {}
    for source in spec.get("valuesFrom", []):
        config = next(
            thing
            for thing in lab.of_kind(source["kind"])
            if (namespace_of(thing), thing["metadata"]["name"]) == (namespace, source["name"])
        )
        values = merge(values, yaml.safe_load(config["data"][source.get("valuesKey", "values.yaml")]))
    values = merge(values, spec.get("values", {}))
    lab.values[f"{namespace}/{name}"] = values
    if "chartRef" in spec:
        return []  # a chart from elsewhere: tests/cluster/ renders it
    return list(helm(lab.path / spec["chart"]["spec"]["chart"], values, spec.get("releaseName", name), namespace))


def helm(chart: Path, values: dict[str, Any], name: str, namespace: str) -> Iterator[Object]:
    """Render a chart with Helm 4 in this process; objects without a namespace get the release's.

    Helm asks the chart's schema before it renders.
    """
    with Chart.load(chart) as loaded:
        manifests = loaded.render(values, name=name, namespace=namespace)
    for file, text in sorted(manifests.items()):
        if file.endswith("NOTES.txt"):
            continue
        for thing in documents(text):
            if thing["kind"] not in CLUSTER_WIDE:
                thing["metadata"].setdefault("namespace", namespace)
            yield thing


def container_of(pod: Object, name: str) -> Object:
    """Return a container of a pod's spec by its name, one of those that run first included."""
    return next(one for one in [*pod.get("initContainers", []), *pod["containers"]] if one["name"] == name)
