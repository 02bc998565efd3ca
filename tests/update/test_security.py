"""A lab that was made before its applications had limits: its update stops nothing, and says what would not pass, with steps."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from hooks.update import security
from tests.support.rendering import recorded_answers
from tests.update.support.histories import REPORT, commit, edit, files, make_lab, put, real_template, release, update

KEEPS = {
    "podSecurityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    "networkPolicy": {"enabled": True},
}
WIKI = """\
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata:
  name: wiki
spec:
  chart: {spec: {chart: ./charts/app}}
  values:
    image: {repository: registry.lab/wiki, tag: 1.0.0}
    podSecurityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
    volumes: {nfs: {server: storage.lan, path: /wiki}, mountPath: /data}
"""
ENTRY = """\
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: wiki, namespace: flux-system}
spec: {path: ./apps/wiki}
"""
# What the question was before it was asked: nothing is recorded, and everything is as it was.
UNASKED = "app_security:\n  type: str\n  default: warned\n  when: false\n"


def values(**changes: Any) -> dict[str, Any]:
    return {**KEEPS, **changes}


BREAKS: dict[str, tuple[dict[str, Any], str]] = {
    "root": (values(podSecurityContext={"seccompProfile": {"type": "RuntimeDefault"}}), "runAsNonRoot"),
    "the number of root": (values(podSecurityContext={**KEEPS["podSecurityContext"], "runAsUser": 0}), "runAsUser: 0"),
    "more rights": (values(securityContext={"capabilities": {"drop": ["ALL"]}}), "allowPrivilegeEscalation"),
    "capabilities": (
        values(securityContext={"allowPrivilegeEscalation": False, "capabilities": {"drop": ["CHOWN"]}}),
        "capabilities",
    ),
    "system calls": (
        values(podSecurityContext={"runAsNonRoot": True, "seccompProfile": {"type": "Unconfined"}}),
        "seccompProfile",
    ),
    "the node's network": (values(hostNetwork=True), "hostNetwork"),
    "a folder of the node": (values(volumes={"items": {"a": {"hostPath": {"path": "/a"}}}}), "hostPath"),
    "a sidecar": (values(sidecars=[{"name": "a", "image": "a"}]), "allowPrivilegeEscalation"),
    "no policy": (values(networkPolicy={"enabled": False}), "networkPolicy"),
}


@pytest.mark.parametrize("what", BREAKS)
def test_what_breaks_a_limit_is_named_by_its_value(what: str) -> None:
    broken, name = BREAKS[what]
    assert any(name in line for line in security.missing(broken))


def test_what_keeps_to_the_limits_is_not_named() -> None:
    assert list(security.missing(KEEPS)) == []
    claim = {"items": {"data": {"claim": {"size": "1Gi"}}, "off": {"emptyDir": {"sizeLimit": "1Gi"}}}}
    assert list(security.missing(values(volumes=claim))) == []


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a lab of the version before the question, with an application of the owner's and Flux's commit in it."""
    folder = tmp_path_factory.mktemp("security")
    template = real_template(folder / "template")
    page = template / "questions" / "groups.yml"
    new = page.read_text(encoding="utf-8")
    before, found, _ = new.partition("app_security:\n")
    assert found
    page.write_text(before + UNASKED, encoding="utf-8")
    release(template, "1.0.0")
    page.write_text(new, encoding="utf-8")
    release(template, "1.1.0")
    lab = make_lab(template, folder / "lab", {"app_namespace": "default"})
    assert "app_security" not in recorded_answers(lab)
    put(
        lab,
        {
            "apps/wiki/release.yaml": WIKI,
            "apps/wiki/kustomization.yaml": "namespace: default\nresources: [release.yaml]\n",
        },
    )
    cluster = next((lab / "clusters").iterdir())
    put(cluster, {"wiki.yaml": ENTRY})
    edit(lab / "apps/demo/helmrelease.yaml", lambda text: text.replace("tag: v0.1.0", "tag: v1.7.3"))
    commit(lab, "demo v0.1.0 -> v1.7.3")
    return lab


@pytest.fixture(scope="module")
def updated(old: Path) -> tuple[Path, dict[str, Any], str]:
    """Return that lab, updated and committed, with the files that it had before, and the report."""
    before = files(old)
    done = update(old)
    assert done.returncode == 0, done.stderr
    report = (old / REPORT).read_text(encoding="utf-8")
    commit(old, "The update")
    return old, before, report


@pytest.mark.slow
def test_an_old_labs_update_stops_nothing_and_says_what_would_not_pass(
    updated: tuple[Path, dict[str, Any], str],
) -> None:
    old, before, report = updated
    answers = recorded_answers(old)
    assert (answers["app_security"], answers["app_namespace"]) == ("warned", "default")
    for name in ("apps/demo/helmrelease.yaml", "apps/wiki/release.yaml"):
        assert files(old)[name] == before[name]
    labels = [
        one["metadata"].get("labels", {})
        for one in yaml.safe_load_all((old / "infrastructure/namespaces.yaml").read_text())
    ]
    assert not [key for one in labels for key in one if key.endswith("/enforce")]
    assert labels[1]["pod-security.kubernetes.io/warn"] == "restricted"
    assert "default-deny" not in (old / "infrastructure/network.yaml").read_text(encoding="utf-8")
    part = report.split("## Limits of the applications")[1].split("\n## ")[0]
    demo, wiki = (
        next(line for line in part.splitlines() if line.startswith(f"- `{name}` in `default`: "))
        for name in ("demo", "wiki")
    )
    assert "runAsNonRoot" in demo and "networkPolicy" in demo
    assert "nfs" in wiki and "runAsNonRoot" not in wiki
    assert "- `gitlab" not in part
    for step in (
        "Nothing stops",
        "`./lab update --data app_security=enforced`",
        "app_namespace",
        "./lab up --only gitlab",
    ):
        assert step in part


@pytest.mark.slow
def test_the_limits_come_by_one_answer_and_the_tag_that_flux_wrote_stays(
    updated: tuple[Path, dict[str, Any], str], tmp_path: Path
) -> None:
    old = shutil.copytree(updated[0], tmp_path / "lab", symlinks=True)
    done = update(old, "--data", "app_security=enforced", "--data", "app_namespace=apps")
    assert done.returncode == 0, done.stderr
    text = (old / "apps/demo/helmrelease.yaml").read_text(encoding="utf-8")
    demo = yaml.safe_load(text)["spec"]["values"]
    assert list(security.missing(demo)) == [] and demo["image"]["tag"] == "v1.7.3"
    assert "pod-security.kubernetes.io/enforce: restricted" in (old / "infrastructure/namespaces.yaml").read_text(
        encoding="utf-8"
    )
    report = (old / REPORT).read_text(encoding="utf-8")
    assert "## Limits of the applications" not in report, "it is told once"
    assert "NetworkPolicy `default-deny`" in report
