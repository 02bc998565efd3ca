"""What Flux's kustomize-controller makes of one Kustomization: https://fluxcd.io/flux/components/kustomize/kustomizations/."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .findings import Findings, Object, mapping, mappings
from .reading import documents, one_line, run

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
# Stands for a variable whose value is not in Git.
UNKNOWN = "value-that-is-not-in-git"
_VARIABLE = re.compile(r"\$?\$\{(?P<name>[_a-zA-Z][_a-zA-Z0-9]*)(?::?[-=](?P<default>[^}]*))?\}")


def kustomization_file(folder: Path) -> Path | None:
    """Return the folder's kustomization.yaml, under whichever of its names; None if it has none."""
    return next((folder / name for name in NAMES if (folder / name).is_file()), None)


def build(root: Path, folder: Path, spec: Mapping[str, Any], title: str, findings: Findings) -> list[Object] | None:
    """Return the objects of one Kustomization, or None after a fault.

    Args:
        root: the copy of the repository, which is written to for as long as it takes.
        folder: the folder in it that the Kustomization's path names.
        spec: the Kustomization's spec; what it sets beside the path is applied as Flux does.
        title: the Kustomization, for messages.
        findings: where a fault goes.
    """
    file = kustomization_file(folder)
    before = file.read_bytes() if file else None
    written = file or folder / "kustomization.yaml"
    try:
        content = mapping(documents(before.decode("utf-8"))[0]) if before else {"resources": sorted(_resources(folder))}
        written.write_text(yaml.safe_dump(_with_settings(content, spec)), encoding="utf-8")
        # Flux lets a folder take from anywhere in the repository.
        done = run(root, "kubectl", "kustomize", "--load-restrictor", "LoadRestrictionsNone", folder)
        if done.returncode:
            findings.fault(
                title,
                f"Flux cannot build {folder.relative_to(root)}, and applies nothing of it: {_readable(done.stderr, root)}",
            )
            return None
        return [one for one in documents(done.stdout) if isinstance(one, dict)]
    except (yaml.YAMLError, UnicodeDecodeError, IndexError) as error:
        findings.fault(str(written.relative_to(root)), f"this is no YAML that Flux can read: {one_line(error)}")
        return None
    finally:
        if before is None:
            written.unlink(missing_ok=True)
        else:
            written.write_bytes(before)


def _readable(error: str, root: Path) -> str:
    return one_line(error.replace(f"{root.resolve()}/", "").replace(f"{root}/", "").removeprefix("error: "))


def _resources(folder: Path) -> Iterator[str]:
    """Yield what Flux lists for a folder without a kustomization.yaml: each folder below that has one, and each file of YAML elsewhere."""
    todo = [folder]
    while todo:
        for entry in sorted(todo.pop().iterdir()):
            if entry.is_dir():
                if kustomization_file(entry):
                    yield str(entry.relative_to(folder))
                else:
                    todo.append(entry)
            elif entry.suffix in {".yaml", ".yml"}:
                yield str(entry.relative_to(folder))


def _with_settings(content: Object, spec: Mapping[str, Any]) -> Object:
    """Return kustomization.yaml's content with what the Flux Kustomization sets itself."""
    found = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", **content}
    for name, key in (("targetNamespace", "namespace"), ("namePrefix", "namePrefix"), ("nameSuffix", "nameSuffix")):
        if spec.get(name):
            found[key] = spec[name]
    for key in ("patches", "images", "components"):
        if isinstance(spec.get(key), list):
            found[key] = [*(found.get(key) or []), *spec[key]]
    return found


@dataclass(frozen=True)
class Variables:
    """What a Kustomization substitutes.

    Attributes:
        values: the variables' values by name.
        complete: whether all of them are in Git. Otherwise one that is missing here may have any value.
    """

    values: Mapping[str, str]
    complete: bool

    def value(self, name: str, default: str | None) -> str:
        """Return a variable's value; one that Flux does not know is its default, or empty."""
        return self.values.get(name) or ((default or "") if self.complete else UNKNOWN)


def with_variables(thing: Object, variables: Variables | None) -> Object:
    """Return an object after Flux's `postBuild`: `${name}`, with a default behind `:=`, `:-`, `=` or `-`; `$${name}` stays.

    Args:
        thing: the object as kustomize built it.
        variables: None if the Kustomization substitutes nothing.
    """
    metadata = mapping(thing.get("metadata"))
    off = "kustomize.toolkit.fluxcd.io/substitute"
    if variables is None or "disabled" in (
        mapping(metadata.get("labels")).get(off),
        mapping(metadata.get("annotations")).get(off),
    ):
        return thing

    def value(match: re.Match[str]) -> str:
        if match[0].startswith("$$"):
            return match[0][1:]
        return variables.value(match["name"], match["default"])

    found = documents(_VARIABLE.sub(value, yaml.safe_dump(thing, sort_keys=False)))
    return mapping(found[0]) if found else {}


def with_metadata(thing: Object, spec: Mapping[str, Any]) -> Object:
    """Return an object with the labels and annotations that the Kustomization gives to all of its objects."""
    common = mapping(spec.get("commonMetadata"))
    if not common:
        return thing
    metadata = dict(mapping(thing.get("metadata")))
    for key in ("labels", "annotations"):
        if mapping(common.get(key)):
            metadata[key] = {**mapping(metadata.get(key)), **common[key]}
    return {**thing, "metadata": metadata}


def variable_sources(spec: Mapping[str, Any]) -> list[Object]:
    """Return the ConfigMaps and Secrets that a Kustomization's variables come from."""
    return mappings(mapping(spec.get("postBuild")).get("substituteFrom"))
