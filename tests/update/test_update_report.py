"""What the owner is told: the effects in the cluster, the chart's, the answers."""

from __future__ import annotations

import fnmatch
import shutil
from pathlib import Path

import pytest
import yaml

from hooks import charts, report
from hooks.files import Git
from hooks.update import Findings
from support.questions import QUESTIONS
from support.rendering import ROOT
from update_support import commit, edit, new_repository, put

EFFECTS = ROOT / "hooks" / "effects.yml"
RELEASE = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nspec: {{chart: {{spec: {{chart: {chart}}}}}, values: {{size: 1}}}}\n"


def said(**found: object) -> str:
    values = {"version_from": "1.0.0", "version_to": "1.1.0", "commit": "0" * 40, **found}
    return report.text(Findings(**values), EFFECTS, lambda: ("1.4.0", "1.5.0", ["`demo`: the pod template is unchanged, so nothing restarts."]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "effect"),
    [
        ("apps/gitlab/gitlab.rb", "GitLab restarts once this is pushed, and is about 5 minutes away."),
        ("apps/demo/helmrelease.yaml", "The sample application is rolled out again"),
        ("apps/mine/helmrelease.yaml", "Flux rolls out the application of that folder."),
        ("infrastructure/traefik.yaml", "Traefik restarts"),
        ("clusters/homelab/flux-system/sync.yaml", "Flux follows it at its next look"),
        ("runner/compose.yaml", "Nothing until you run `./lab up --only runner`"),
        ("runner/rbac.yaml", "The runner's pod is replaced"),
        ("README.md", "Nothing in the cluster."),
    ],
)
def test_the_report_says_what_a_changed_file_does_in_the_cluster(path: str, effect: str) -> None:
    assert f"- {effect}" in said(changed=[path]) and f"(`{path}`)" in said(changed=[path])


def test_files_of_gitlabs_that_an_answer_leaves_behind_are_told_of() -> None:
    before = {"data_backend": "storage-class", "gitlab_namespace": "gitlab", "gitlab_size": "small"}
    told = said(answers_before=before, answers_after={**before, "data_backend": "nfs", "nfs_server": "storage.lan"}, changed=["apps/gitlab/values.yaml"])
    assert "## In the cluster\n\n- **Nothing moves what GitLab keeps.** With another `data_backend` it begins anew without its files" in told
    assert "- GitLab restarts once this is pushed" in told
    assert "Nothing moves" not in said(answers_before=before, answers_after={**before, "gitlab_size": "standard"})
    assert set(report.PLACES) <= set(QUESTIONS)


def test_every_pattern_of_the_table_is_reached() -> None:
    patterns = [pattern for entry in yaml.safe_load(EFFECTS.read_text(encoding="utf-8")) for pattern in entry["files"]]
    for number, pattern in enumerate(patterns):
        covered = [before for before in patterns[:number] if fnmatch.fnmatchcase(pattern.replace("*", "x"), before)]
        assert not covered or before_is_an_exception(pattern, covered), f"{pattern} is never reached: {covered}"
    assert patterns[-1] == "*"


def before_is_an_exception(pattern: str, covered: list[str]) -> bool:
    return all("*" not in before for before in covered) and "*" in pattern


def test_the_chart_is_told_by_its_versions() -> None:
    assert "## The chart\n\n- `charts/app` 1.4.0 → 1.5.0\n- `demo`: the pod template is unchanged" in said(changed=["charts/app/values.yaml"])
    assert "## The chart" not in said(changed=["README.md"])


def test_answers_are_told_with_their_values() -> None:
    text = said(answers_before={"_commit": "1", "a": 1, "b": "x", "c": [1]}, answers_after={"_commit": "2", "a": 2, "b": "x", "d": "neu"})
    assert "- new: `d: neu`\n- changed: `a: 1` is `2` now\n- not asked any more: `c`, which was `[1]`\n" in text
    assert "_commit" not in text


def test_an_update_without_a_change_says_so() -> None:
    assert said(version_to="1.0.0").startswith("# The lab, still at 1.0.0\n\nNo file changed.\n")


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """Return a lab with two applications of its chart and one of another's."""
    lab = new_repository(tmp_path / "lab")
    put(lab, {"charts/app/Chart.yaml": "version: 1.4.0\n", "charts/app/pod": "image: a"})
    put(lab, {f"apps/{name}/helmrelease.yaml": RELEASE.format(chart="./charts/app") for name in ("demo", "gitlab")})
    put(lab, {"apps/other/helmrelease.yaml": RELEASE.format(chart="./charts/other")})
    commit(lab)
    return lab


HELM = """#!/bin/sh
printf 'kind: Deployment\\nspec: {{template: {{release: %s, %s}}}}\\n' "{release}" "$(cat "$3/pod")"
"""


def helm(folder: Path, monkeypatch: pytest.MonkeyPatch, release: str = "same") -> None:
    """Put a stand-in for Helm on PATH, whose pods hold what the chart's file `pod` says."""
    put(folder, {"helm": HELM.format(release=release)})
    (folder / "helm").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_applications_whose_pods_stay_the_same_are_named(house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helm(tmp_path / "bin", monkeypatch)
    before = Git(house)("rev-parse", "HEAD").decode().strip()
    edit(house / "charts" / "app" / "Chart.yaml", lambda text: text.replace("1.4.0", "1.5.0"))
    unchanged = [f"`{name}`: the pod template is unchanged, so nothing restarts." for name in ("demo", "gitlab")]
    assert charts.what_changes(Git(house), before) == unchanged


def test_applications_of_a_lab_in_a_larger_repository_are_named(house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helm(tmp_path / "bin", monkeypatch)
    shutil.rmtree(house / ".git")
    house = house.rename(new_repository(tmp_path / "large") / "the lab")
    before = commit(house.parent)
    put(house, {"charts/app/pod": "image: b"})
    assert charts.what_changes(Git(house), before) == [
        f"`{name}`: the pod template changes, so its pods are replaced." for name in ("demo", "gitlab")
    ]


def test_applications_whose_pods_are_replaced_are_named(house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helm(tmp_path / "bin", monkeypatch)
    before = Git(house)("rev-parse", "HEAD").decode().strip()
    put(house, {"charts/app/pod": "image: b"})
    assert charts.what_changes(Git(house), before) == [
        f"`{name}`: the pod template changes, so its pods are replaced." for name in ("demo", "gitlab")
    ]


def test_without_helm_nothing_is_claimed(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts.shutil, "which", lambda name: None)
    assert charts.what_changes(Git(house), "HEAD") == ["Helm is not installed here, so nothing was compared: each application's pods may be replaced."]


@pytest.mark.parametrize(("text", "version"), [("version: 1.4.0\n", "1.4.0"), ('name: a\nversion: "2.0.0"\n', "2.0.0"), ("", "unknown")])
def test_a_charts_version_is_read(text: str, version: str) -> None:
    assert charts.version(text) == version
