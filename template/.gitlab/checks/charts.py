"""Whether a chart that changed has a new version: Flux packs and releases it again only then."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from .findings import Cluster, Findings, mapping
from .reading import documents, git
from .releases import GROUP, in_git


def check(lab: Path, cluster: Cluster, findings: Findings) -> None:
    """Find charts that differ from what was pushed before under the same version.

    With `reconcileStrategy: ChartVersion` older releases keep the old chart and new ones get the changed one, both under one version.
    """
    charts = set()
    for release in cluster.of_kind("HelmRelease", group=GROUP):
        strategy = mapping(mapping(release.spec.get("chart")).get("spec")).get("reconcileStrategy", "ChartVersion")
        path = in_git(cluster, release)
        if path and strategy == "ChartVersion":
            charts.add(path.strip("/").removeprefix("./"))
    before = pushed_before(lab)
    if charts and before is None:
        findings.skip("whether a changed chart has a new version: Git does not say what was pushed before")
        return
    for chart in sorted(charts):
        old = git(lab, "show", f"{before}:{chart}/Chart.yaml")
        file = lab / chart / "Chart.yaml"
        if old is None or not file.is_file():
            continue
        version = _version(file.read_text(encoding="utf-8"))
        if version == _version(old) and (changed := _changed(lab, str(before), chart)):
            findings.fault(
                chart,
                f"{', '.join(changed[:3])}{' and others' if len(changed) > 3 else ''} changed, and Chart.yaml still says version {version}, so Flux"
                " does not release it; raise the version",
            )


def pushed_before(lab: Path) -> str | None:
    """Return the commit that the cluster had before this push: what GitLab's pipeline says, otherwise what was fetched last."""
    default = os.environ.get("CI_DEFAULT_BRANCH", "")
    for name in ("CI_MERGE_REQUEST_DIFF_BASE_SHA", "CI_COMMIT_BEFORE_SHA"):
        sha = os.environ.get(name, "").strip("0")
        if sha and (found := git(lab, "rev-parse", "--verify", "--quiet", f"{os.environ[name]}^{{commit}}")):
            return found.strip()
    for ref in (f"origin/{default}" if default else "", "@{upstream}", "HEAD"):
        # In a pipeline HEAD is what was pushed just now.
        if ref and not (ref == "HEAD" and os.environ.get("CI")) and (found := git(lab, "merge-base", "HEAD", ref)):
            return found.strip()
    return None


def _version(chart: str) -> str:
    try:
        return str(mapping(documents(chart)[0]).get("version"))
    except (yaml.YAMLError, IndexError):
        return ""


def _changed(lab: Path, before: str, chart: str) -> list[str]:
    """Return the chart's files that are others than at *before*, new ones included."""
    changed = (git(lab, "diff", "--name-only", "-z", before, "--", chart) or "").split("\0")
    new = (git(lab, "ls-files", "-z", "--others", "--exclude-standard", "--", chart) or "").split("\0")
    prefix = git(lab, "rev-parse", "--show-prefix") or ""
    return [name.removeprefix(prefix.strip()).removeprefix(f"{chart}/") for name in (*changed, *new) if name]
