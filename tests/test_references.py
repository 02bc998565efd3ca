"""The check of references notices each one that breaks: so its silence means something."""

from __future__ import annotations

import re
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import Lab, read_lab
from tests.support.references import at, leaves, pod_of, problems, references
from tests.support.rendering import recorded_answers

# Keys that name another object, wherever they stand. Kubernetes and Flux have no other way of referring.
NAMING = re.compile(
    r"(Ref|Refs|secretName|claimName|configMap|serviceAccountName|serviceName|volumeName|imagePullSecrets)$"
)
# Named by key alone, and not of another object of the lab: the issuer is the owner's.
# The last is a Secret that cert-manager makes.
OWNERS = {"issuerRef", "fieldRef", "privateKeySecretRef"}


@pytest.mark.deep(keep=6)
def test_every_reference_that_breaks_is_noticed(lab: Lab) -> None:
    assert problems(lab) == []
    missed = []
    for reference in references(lab):
        thing = lab.objects[reference.thing]
        parent, key = at(thing, reference.path[:-1]), reference.path[-1]
        before = parent[key]
        parent[key] = 1 if isinstance(before, int) else f"{before}-missing"
        if not problems(lab):
            missed.append(reference)
        parent[key] = before
    assert missed == []


def test_no_reference_is_overlooked(lab: Lab) -> None:
    known = {(reference.thing, reference.path) for reference in references(lab)}
    overlooked = []
    for index, thing in enumerate(lab.objects):
        for path, value in leaves(thing):
            keys = [key for key in path if isinstance(key, str)]
            named = any(NAMING.search(key) for key in keys) and keys[-1] in {
                "name",
                "secretName",
                "claimName",
                "serviceAccountName",
                "volumeName",
            }
            values = "values" in keys or "optional" in keys or OWNERS & set(keys)
            if named and not values and "subjects" not in keys and (index, path) not in known:
                overlooked.append((thing["kind"], path, value))
    assert overlooked == []


def edited(lab: Lab, tmp_path: Path, file: str, old: str, new: str) -> list[str]:
    """Return the problems of a copy of the lab in which one file was changed."""
    copy = tmp_path / "lab"
    shutil.copytree(lab.path, copy)
    text = (copy / file).read_text(encoding="utf-8")
    assert old in text
    (copy / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    return problems(read_lab(copy, recorded_answers(copy)))


FILES: dict[str, tuple[str, str, str, str]] = {
    "a marker's policy": (
        "apps/demo/helmrelease.yaml",
        "flux-system:demo:tag",
        "flux-system:dmeo:tag",
        "no ImagePolicy",
    ),
    "a marker's form": ("apps/demo/helmrelease.yaml", '{"$imagepolicy"', "{$imagepolicy", "does not read"),
    "a marker's field": ("apps/demo/helmrelease.yaml", "demo:tag", "demo:name", "beside another image"),
    "a policy without marker": (
        "apps/demo/helmrelease.yaml",
        ' # {"$imagepolicy": "flux-system:demo:tag"}',
        "",
        "no marker",
    ),
    "an order that bites its tail": (
        "clusters/homelab/gitlab.yaml",
        "  dependsOn:\n    - name: infrastructure",
        "  dependsOn:\n    - name: gitlab",
        "waits for itself",
    ),
    "a port of a network rule": ("infrastructure/network.yaml", "port: 5050", "port: 5051", "nothing listens on 5051"),
    "a namespace": ("apps/gitlab/kustomization.yaml", "namespace: gitlab", "namespace: gitlub", "Namespace"),
}


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize("case", FILES)
def test_a_broken_file_is_noticed(article: Lab, tmp_path: Path, case: str) -> None:
    file, old, new, said = FILES[case]
    assert any(said in problem for problem in edited(article, tmp_path, file, old, new))


def test_chart_and_chart_reference_together_are_noticed(article: Lab) -> None:
    release: dict[str, Any] = article.of_kind("HelmRelease")[0]
    release["spec"]["chartRef"] = {"kind": "OCIRepository", "name": "app"}
    try:
        assert any("chartRef" in problem for problem in problems(article))
    finally:
        del release["spec"]["chartRef"]


def test_an_object_with_two_owners_is_noticed(article: Lab) -> None:
    article.objects.append(deepcopy(article.of_kind("Service")[0]))
    try:
        assert any("applied twice" in problem for problem in problems(article))
    finally:
        article.objects.pop()


def test_a_service_that_selects_no_pod_is_noticed(article: Lab) -> None:
    deployment = next(thing for thing in article.objects if thing["kind"] == "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    before = dict(labels)
    labels.clear()
    try:
        assert any("selects no pod" in problem for problem in problems(article))
    finally:
        labels.update(before)
    assert pod_of(deployment) is not None
