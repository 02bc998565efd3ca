"""What a new version of the lab's chart does to the applications' pods: rendered old and new with Helm, where Helm is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import yaml

from .files import Git

CHART = "charts/app"


def version(text: str) -> str:
    """Return the version that a Chart.yaml names."""
    found = re.search(r"^version:\s*[\"']?([^\"'\s]+)", text, re.M)
    return found[1] if found else "unknown"


def what_changes(git: Git, commit: str) -> list[str]:
    """Return, a line each, what the chart's change does to every application's pods.

    Args:
        git: Git in the lab's folder.
        commit: the last commit before the update.
    """
    helm = shutil.which("helm")
    if helm is None:
        return ["Helm is not installed here, so nothing was compared: each application's pods may be replaced."]
    lines = []
    with tempfile.TemporaryDirectory(prefix="homelab-charts.") as folder:
        before = Path(folder)
        # Of a commit, Git packs what stands below the folder that it runs in, by the paths of that folder.
        packed = git("archive", "--format=tar", commit, CHART, "apps")
        with tarfile.open(fileobj=BytesIO(packed)) as archive:
            _extract(archive, before)
        for release in sorted(git.folder.glob("apps/*/helmrelease.yaml")):
            name = release.parent.name
            if not (before / "apps" / name).is_dir():
                continue
            old, new = _pods(helm, before, name), _pods(helm, git.folder, name)
            if old is None and new is None:
                continue
            if isinstance(old, str) or isinstance(new, str):
                lines.append(f"`{name}`: could not be rendered: {new if isinstance(new, str) else old}")
            elif old == new:
                lines.append(f"`{name}`: the pod template is unchanged, so nothing restarts.")
            else:
                lines.append(f"`{name}`: the pod template changes, so its pods are replaced.")
    return lines


def _extract(archive: tarfile.TarFile, folder: Path) -> None:
    for member in archive.getmembers():
        file = archive.extractfile(member) if member.isfile() else None
        if file is not None:
            path = folder / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.read())


def _pods(helm: str, lab: Path, name: str) -> list[Any] | str | None:
    """Return the pod templates of an application, an error as text, or None where the lab's chart does not make it."""
    folder = lab / "apps" / name
    try:
        release = next(part for part in yaml.safe_load_all((folder / "helmrelease.yaml").read_text(encoding="utf-8")) if part)
        if release["spec"]["chart"]["spec"]["chart"].removeprefix("./") != CHART:
            return None
        files = [str(folder / "values.yaml")] if "valuesFrom" in release["spec"] and (folder / "values.yaml").exists() else []
        values = release["spec"].get("values") or {}
        # The release takes gitlab.rb from the file of that name, through kustomization.yaml.
        for config_map in (values.get("configMaps") or {}).values():
            for key in config_map.get("data") or {}:
                if (folder / key).is_file():
                    config_map["data"][key] = (folder / key).read_text(encoding="utf-8")
    except (AttributeError, KeyError, OSError, StopIteration, TypeError, yaml.YAMLError) as error:
        return f"{type(error).__name__} in apps/{name}"
    done = subprocess.run(
        [helm, "template", release["spec"].get("releaseName", name), str(lab / CHART), *(part for file in files for part in ("-f", file)), "-f", "-"],
        input=yaml.safe_dump(values), capture_output=True, text=True, check=False,
    )
    if done.returncode != 0:
        return (done.stderr.strip().splitlines() or ["helm failed"])[-1]
    made = [part for part in yaml.safe_load_all(done.stdout) if isinstance(part, dict)]
    return [part["spec"]["template"] for part in made if part.get("kind") in ("Deployment", "StatefulSet", "DaemonSet")]
