"""What an update does in the cluster once it is pushed: derived from what Flux applies of the lab before and after.

Flux starts at clusters/<name>/ and goes on to the folder of each Kustomization that it finds there; in a folder it
reads kustomization.yaml, or all YAML files where there is none
(https://fluxcd.io/flux/components/kustomize/kustomizations/#path). Objects are told apart by kind, namespace and
name. What a release does to its pods is asked of Helm, or derived from its values.
"""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import yaml

from .. import lab_chart
from ..files import Entry
from . import releases
from .journal import Plan
from .report import changed_answers
from .state import SUBMODULE, Lab

Tree = Mapping[str, bytes]
# Answers that say where GitLab keeps its files. The changed files alone would tell of a restart.
PLACES = ("gitlab_namespace", "storage_backend", "data_backend", "storage_root", "nfs_server", "storage_class")
FLUX = "kustomize.toolkit.fluxcd.io"
KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
# Flux' own controllers make a file of half a megabyte.
LARGEST = 4 * 2**20
# Stands for the kind of what a kustomization says beyond its list of files: patches, labels, replacements.
SETTINGS = "kustomization"
# Stands for the kind of what is no YAML: a file with conflict markers, say.
UNREADABLE = ""


class Key(NamedTuple):
    """What tells one object from another."""

    kind: str
    namespace: str
    name: str


@dataclass
class Applied:
    """One object as Flux applies it.

    made_of: a digest of all that it is made of.
    folder: the folder of its kustomization, which brings in values and settings.
    files: the files that have a part in it.
    """

    document: dict[str, Any]
    folder: str
    made_of: str
    files: set[str] = field(default_factory=set)


def trees(lab: Lab, plan: Plan) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return the lab's files before an update and after it."""
    paths = [path for path, blob in lab.tracked.items() if blob.mode != SUBMODULE]
    names = "".join(f"{lab.tracked[path].name}\n" for path in paths).encode()
    sizes = lab.git("cat-file", "--batch-check=%(objectsize)", given=names).split() if paths else []
    small = [path for path, size in zip(paths, sizes, strict=True) if int(size) <= LARGEST]
    # What Flux reads is small; a large file of the owner's is told from another by its name.
    before = {path: lab.tracked[path].name.encode() for path in paths}
    before |= {path: entry.data for path, entry in lab.entries(small).items()}
    after = dict(before)
    for change in plan.changes:
        after.pop(change.path, None)
        if isinstance(change.after, Entry):
            after[change.path] = change.after.data
    return before, after


def told(
    before: Tree, after: Tree, answers: tuple[Mapping[str, Any], Mapping[str, Any]], table: Mapping[str, Any]
) -> list[str]:
    """Return what happens in the cluster, a line each.

    Args:
        before, after: the lab's files by path.
        answers: those before and after.
        table: effects.yml.
    """
    old, new = applied(before), applied(after)
    broken = sorted(key.name for key in new if key.kind == UNREADABLE)
    old, new = ({key: one for key, one in side.items() if key.kind != UNREADABLE} for side in (old, new))
    differing = {path for path in {*before, *after} if before.get(path) != after.get(path)} - {*broken}
    # Of what such a file holds nothing is known, so it is no object that goes.
    old = {key: one for key, one in old.items() if not one.files & {*broken} or key in new}
    lines = _left_behind(*answers)
    if broken:
        lines.append(f"Flux cannot read this, and applies nothing of its folder until it is fixed.{_some(broken)}")
    releases_told, covered = _releases(old, new, before, after, table["not_in_pods"])
    lines += releases_told
    lines += _objects(old, new, table, differing)
    covered |= {path for objects in (old, new) for found in objects.values() for path in found.files}
    lines += _files(sorted(differing - covered), table["files"])
    return lines + _by_the_bootstrap(*answers, table["bootstrap"])


def _left_behind(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    changed = changed_answers(before, after)
    moved = [f"`{name}`" for name in PLACES if name in changed]
    if not moved:
        return []
    what = f"With another {' and '.join(moved)} GitLab starts without its files, or Kubernetes refuses the change."
    then = "Before you push, make a backup and copy it elsewhere; afterwards `./lab restore` brings it back."
    return [f"**Nothing moves what GitLab keeps.** {what} {then}"]


def _releases(
    old: Mapping[Key, Applied], new: Mapping[Key, Applied], before: Tree, after: Tree, not_in_pods: list[str]
) -> tuple[list[str], set[str]]:
    """Tell what the releases' pods do, those whose pods go first."""
    lines: dict[str, list[str]] = {}
    covered: set[str] = set()
    for key in sorted(key for key in old.keys() & new.keys() if key.kind == "HelmRelease"):
        chart = releases.chart_of(new[key].document)
        if old[key].made_of == new[key].made_of and not releases.chart_is_released(chart, before, after):
            continue
        covered |= new[key].files
        effect = releases.effect((old[key], before), (new[key], after), not_in_pods)
        text = _of_pods(key.name, effect)
        changed = sorted(path for path in new[key].files | old[key].files if before.get(path) != after.get(path))
        goes = effect in (releases.Pods.REPLACED, releases.Pods.REMOVED)
        lines.setdefault(f"{int(not goes)}{text}", []).extend(changed)
    return [f"{text[1:]}{_some(files)}" for text, files in sorted(lines.items())], covered


# What becomes of a release's pods, in words: of GitLab's, and of another's.
DOWNTIME = "Expect about 5 minutes of downtime."
PODS = {
    releases.Pods.REPLACED: (f"Pushing this restarts GitLab. {DOWNTIME}", "`{name}`: its pods are replaced."),
    releases.Pods.REMOVED: (
        "Pushing this stops GitLab: it is left without a pod.",
        "`{name}`: its pods are removed, and no new ones start (0 replicas, or no image yet: tag 0.0.0).",
    ),
    releases.Pods.STARTED: ("GitLab's pod starts.", "`{name}`: its first pods start."),
    releases.Pods.KEPT: ("`{name}`: Flux upgrades the release; its pods go on.",) * 2,
    releases.Pods.UNKNOWN: (
        f"`{{name}}`: Flux upgrades the release, and its pods may be replaced. {DOWNTIME}",
        "`{name}`: Flux upgrades the release, and its pods may be replaced.",
    ),
}


def _of_pods(name: str, effect: releases.Pods) -> str:
    return PODS[effect][name != "gitlab"].format(name=name)


def _objects(
    old: Mapping[Key, Applied], new: Mapping[Key, Applied], table: Mapping[str, Any], differing: set[str]
) -> list[str]:
    lines = []
    kinds, taken_over = table["kinds"], table["taken_over"]
    for title, keys in (
        ("Flux makes", new.keys() - old.keys()),
        ("Flux removes from the cluster:", old.keys() - new.keys()),
    ):
        # A kustomization by itself is nothing in the cluster.
        objects = {key for key in keys if key.kind != SETTINGS}
        there = {key for key in objects - old.keys() if _match(new[key].files, taken_over["files"])}
        if there:
            files = {path for key in there for path in new[key].files if _match([path], taken_over["files"])}
            lines.append(f"{taken_over['effect']}{_some(sorted(files))}")
        objects -= there
        if objects:
            files = {path for key in objects for path in (new if key in new else old)[key].files} & differing
            lines.append(f"{title} {_names(objects)}.{_some(sorted(files))}")
    changed: dict[int, set[Key]] = {}
    for key in old.keys() & new.keys():
        if key.kind != "HelmRelease" and old[key].made_of != new[key].made_of:
            changed.setdefault(
                next(
                    number for number, entry in enumerate(kinds) if key.kind in entry["kinds"] or "*" in entry["kinds"]
                ),
                set(),
            ).add(key)
    for number, keys in sorted(changed.items()):
        files = {path for key in keys for path in new[key].files | old[key].files} & differing
        lines.append(kinds[number]["changed"].format(names=_names(keys)) + _some(sorted(files)))
    return lines


def _match(paths: Iterable[str], pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for path in paths)


def _names(keys: Iterable[Key]) -> str:
    shown = [f"{key.kind} `{key.name}`" for key in sorted(keys)]
    return ", ".join(shown[:6]) + (f" and {len(shown) - 6} more" if len(shown) > 6 else "")


def _files(paths: list[str], table: list[dict[str, Any]]) -> list[str]:
    by_effect: dict[str, list[str]] = {}
    for path in paths:
        effect = next(
            entry["effect"] for entry in table if any(fnmatch.fnmatchcase(path, pattern) for pattern in entry["files"])
        )
        by_effect.setdefault(effect, []).append(path)
    order = [entry["effect"] for entry in table]
    return [f"{effect}{_some(by_effect[effect])}" for effect in sorted(by_effect, key=order.index)]


def _by_the_bootstrap(before: Mapping[str, Any], after: Mapping[str, Any], table: list[dict[str, Any]]) -> list[str]:
    changed, added = {*changed_answers(before, after)}, after.keys() - before.keys()
    lines = []
    for entry in table:
        # What the bootstrap does otherwise from now on is told with the question that undoes it.
        tells = changed | added if entry.get("new") else changed
        names = [f"`{name}`" for name in entry["answers"] if name in tells]
        if names:
            lines.append(f"{entry['effect']} ({', '.join(names)})")
    return lines


def _some(paths: list[str]) -> str:
    shown = ", ".join(f"`{path}`" for path in paths[:4])
    return f" ({shown}{f' and {len(paths) - 4} more' if len(paths) > 4 else ''})" if paths else ""


def chart(before: Tree, after: Tree) -> list[str]:
    """Return what became of the lab's chart."""
    files = [
        {path: data for path, data in tree.items() if path.startswith(f"{lab_chart.CHART}/")}
        for tree in (before, after)
    ]
    if files[0] == files[1]:
        return []
    if not files[1]:
        return [f"`{lab_chart.CHART}` is gone."]
    old, new = (
        lab_chart.version(tree.get(f"{lab_chart.CHART}/Chart.yaml", b"").decode(errors="replace"))
        for tree in (before, after)
    )
    if not files[0]:
        return [f"`{lab_chart.CHART}` {new} is new."]
    if old == new:
        still = f"`{lab_chart.CHART}` changed and is still {new}"
        return [f"{still}, so Flux releases nothing new until its version changes."]
    return [f"`{lab_chart.CHART}` {old} → {new}"]


# What Flux applies
# -------------------------------------------------------------------------------------------------------------


def applied(tree: Tree) -> dict[Key, Applied]:
    """Return the objects that Flux applies of a lab."""
    found: dict[Key, Applied] = {}
    seen: set[str] = set()
    waiting = sorted(
        {"/".join(path.split("/")[:2]) for path in tree if path.startswith("clusters/") and path.count("/") > 1}
    )
    while waiting:
        folder = waiting.pop()
        if folder in seen:
            continue
        seen.add(folder)
        for key, one in _built(tree, folder, "").items():
            found[key] = one
            if key.kind == "Kustomization" and str(one.document.get("apiVersion", "")).startswith(FLUX):
                path = (
                    PurePosixPath(str((one.document.get("spec") or {}).get("path", "."))).as_posix().removeprefix("./")
                )
                waiting.append(path)
    return found


def _built(tree: Tree, folder: str, namespace: str) -> dict[Key, Applied]:
    """Return what kustomize makes of a folder, as far as it matters here."""
    prefix = f"{folder}/" if folder not in ("", ".") else ""
    name = next((f"{prefix}{name}" for name in KUSTOMIZATIONS if f"{prefix}{name}" in tree), None)
    if name is None:
        return _built_without(tree, folder, prefix, namespace)
    settings = _first(tree[name])
    namespace = str(settings.get("namespace") or namespace)
    listed = [_within(folder, str(path)) for path in settings.get("resources") or ()]
    # Values, settings and patches: what else the kustomization names may be part of a release beside it.
    text = repr(settings)
    rest = sorted(
        path
        for path in tree
        if path.startswith(prefix) and path not in listed and repr(path.removeprefix(prefix))[1:-1] in text
    )
    inputs = b"\0".join([*(path.encode() + b"\0" + tree[path] for path in rest), _generated(settings)])
    found: dict[Key, Applied] = {}
    for path in listed:
        if path in tree:
            found |= _documents(tree, [path], folder, namespace, inputs, {*rest})
        else:
            found |= _built(tree, path, namespace)
    if not any(one.folder == folder and key.kind == "HelmRelease" for key, one in found.items()):
        found[Key(SETTINGS, "", folder)] = Applied(settings, folder, hashlib.sha256(inputs).hexdigest(), {name, *rest})
    return found


def _built_without(tree: Tree, folder: str, prefix: str, namespace: str) -> dict[Key, Applied]:
    """Return what Flux makes of a folder without a kustomization: all YAML files, and the folders that have one."""
    inside = [path for path in tree if path.startswith(prefix)]
    below = {path.rpartition("/")[0] for path in inside if path.rpartition("/")[2] in KUSTOMIZATIONS}
    outer = sorted(path for path in below if not any(path.startswith(f"{other}/") for other in below))
    loose = [
        path
        for path in inside
        if path.endswith((".yaml", ".yml")) and not any(path.startswith(f"{other}/") for other in outer)
    ]
    found = _documents(tree, loose, folder, namespace, b"", set())
    for other in outer:
        found |= _built(tree, other, namespace)
    return found


def _generated(settings: Mapping[str, Any]) -> bytes:
    """Return what a kustomization says beyond its list of files."""
    return repr(
        {name: value for name, value in sorted(settings.items()) if name not in ("resources", "apiVersion", "kind")}
    ).encode()


def _within(folder: str, path: str) -> str:
    parts: list[str] = [] if folder in ("", ".") else folder.split("/")
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _documents(
    tree: Tree, paths: list[str], folder: str, namespace: str, inputs: bytes, others: set[str]
) -> dict[Key, Applied]:
    found = {}
    for path in paths:
        try:
            documents = _all(tree[path])
        except yaml.YAMLError:
            found[Key(UNREADABLE, "", path)] = Applied({}, folder, hashlib.sha256(tree[path]).hexdigest(), {path})
            continue
        for document in documents:
            meta = document.get("metadata") or {}
            if (
                not document.get("kind")
                or not meta.get("name")
                or str(document.get("apiVersion", "")).startswith("kustomize.config")
            ):
                continue
            # Only a release takes in what lies beside it.
            release = document["kind"] == "HelmRelease"
            made_of = hashlib.sha256(repr(document).encode() + (inputs if release else namespace.encode())).hexdigest()
            key = Key(str(document["kind"]), str(namespace or meta.get("namespace") or ""), str(meta["name"]))
            found[key] = Applied(document, folder, made_of, {path, *(others if release else ())})
    return found


@lru_cache(maxsize=1000)
def _all(data: bytes) -> list[dict[str, Any]]:
    # Most files are the same before and after.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [document for document in yaml.load_all(data, loader) if isinstance(document, dict)]


def _first(data: bytes) -> dict[str, Any]:
    return next(iter(_all(data)), {})
