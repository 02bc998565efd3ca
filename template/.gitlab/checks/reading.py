"""The repository as Flux gets it, and its YAML as Kubernetes reads it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from .findings import Findings, Object

# What Flux's source-controller leaves out of every Git repository (fluxcd.io/flux/components/source/gitrepositories/#default-exclusions).
_EXCLUDED_NAMES = frozenset(
    {
        ".gitignore",
        ".gitmodules",
        ".gitattributes",
        ".gitlab-ci.yml",
        ".travis.yml",
        ".goreleaser.yml",
        ".sops.yaml",
        ".flux.yaml",
    }
)
_EXCLUDED_FOLDERS = frozenset({".git", ".github", ".circleci"})


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Refuses a key that a mapping has twice, as Kubernetes does, and reads a lone `=` as text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping; PyYAML itself lets the last of two equal keys win."""
        seen: set[Any] = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value} is there twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in ("tag:yaml.org,2002:value", "tag:yaml.org,2002:timestamp")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def documents(text: str) -> list[Any]:
    """Return the documents of a YAML text that are not empty.

    Raises:
        yaml.YAMLError: it is no YAML, or a mapping has a key twice.
    """
    return [document for document in yaml.load_all(text, _Loader) if document is not None]


def objects(file: Path, shown: Path, findings: Findings) -> list[Object]:
    """Return the Kubernetes objects in a file of YAML; what cannot be read is a fault.

    Args:
        file: the file.
        shown: its path for messages.
        findings: where a fault goes.
    """
    try:
        found = documents(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        findings.fault(str(shown), f"this is no YAML that Flux can read: {one_line(error)}")
        return []
    return [one for one in found if isinstance(one, dict) and "kind" in one and "apiVersion" in one]


def one_line(error: object) -> str:
    """Return an error's text on one line."""
    return " ".join(str(error).split())


def tool(name: str) -> str:
    """Return the path of a program that uv brings along."""
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if found is None:
        sys.exit(f"{name} is not installed. Run this as: uv run .gitlab/check.py, which brings it along")
    return found


def run(folder: Path, name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder, and return what it said and how it ended."""
    return subprocess.run([tool(name), *map(str, arguments)], cwd=folder, capture_output=True, text=True, check=False)


def git(folder: Path, *arguments: str) -> str | None:
    """Return what Git prints, or None if it fails or is not there."""
    if shutil.which("git") is None:
        return None
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def files(lab: Path) -> list[Path]:
    """Return the lab's files, relative to it: those in Git, and new ones that Git does not ignore; all of them without Git."""
    top = git(lab, "rev-parse", "--show-toplevel")
    listed = (
        git(lab, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        if top and Path(top.rstrip("\n")).samefile(lab)
        else None
    )
    if listed is None:
        found = [path.relative_to(lab) for path in lab.rglob("*")]
    else:
        found = [Path(name) for name in listed.split("\0") if name]
    return sorted(path for path in set(found) if (lab / path).is_file() and ".git" not in path.parts)


def copy_for_flux(lab: Path, to: Path) -> None:
    """Copy what Flux's source-controller takes of the lab, so that the build may write into the copy."""
    listed = git(lab, "ls-files", "-z", "--cached", "--others", "--ignored", "--exclude-per-directory=.sourceignore")
    ignored = {Path(name) for name in (listed or "").split("\0") if name}
    for path in files(lab):
        if path.name in _EXCLUDED_NAMES or _EXCLUDED_FOLDERS & set(path.parts) or path in ignored:
            continue
        (to / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(lab / path, to / path)


def is_encrypted(document: object) -> bool:
    """Say whether SOPS encrypted this document of YAML."""
    return isinstance(document, dict) and isinstance(document.get("sops"), dict) and "mac" in document["sops"]
