"""What the report says of the cluster, held against what Flux would apply of the lab before and after."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from hooks.update import effects, releases
from tests.support.cluster import Lab
from tests.support.questions import QUESTIONS
from tests.support.rendering import ROOT, recorded_answers, rendered
from tests.support.tools import tool

TABLE = yaml.safe_load((ROOT / "hooks" / "effects.yml").read_text(encoding="utf-8"))


def tree(lab: Path) -> dict[str, bytes]:
    return {path.relative_to(lab).as_posix(): path.read_bytes() for path in lab.rglob("*") if path.is_file()}


@pytest.fixture(params=[True, False], ids=["with Helm", "without Helm"])
def helm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Say whether Helm is installed on the owner's machine."""
    found = tool("helm") if request.param else None
    monkeypatch.setattr(releases.shutil, "which", lambda name: found)  # type: ignore[attr-defined]
    return bool(request.param)


def told(shared: Path, article: Lab, **changes: Any) -> str:
    """Return what is said where the article's lab has other answers."""
    name = "article-" + "-".join(f"{name}-{value}" for name, value in sorted(changes.items())).replace("/", "_")[:80]
    other = rendered(shared, name, {**article.answers, **changes})
    return "\n".join(effects.told(tree(article.path), tree(other), (article.answers, recorded_answers(other)), TABLE))


@pytest.mark.slow(keep=1)
def test_a_scan_interval_replaces_no_pod(shared: Path, article: Lab, helm: bool) -> None:
    said = told(shared, article, scan_interval="7m")
    assert "`demo`: Flux upgrades the release; its pods go on. (`apps/demo/helmrelease.yaml`)" in said
    assert "replaced" not in said and "GitLab" not in said


@pytest.mark.slow(keep=1)
def test_the_backup_switched_off_is_a_job_that_flux_removes(shared: Path, article: Lab, helm: bool) -> None:
    said = told(shared, article, backups=False)
    assert "Flux removes from the cluster: CronJob `gitlab-backup`" in said
    assert "rolled out" not in said and "is replaced" not in said


@pytest.mark.slow
def test_the_sample_application_switched_off_goes_with_all_that_it_is(shared: Path, article: Lab, helm: bool) -> None:
    said = told(shared, article, sample_app=False)
    line = next(line for line in said.splitlines() if line.startswith("Flux removes from the cluster: "))
    assert "HelmRelease `demo`" in line and "Kustomization `demo`" in line
    assert "`demo`: " not in said


@pytest.mark.slow(keep=1)
def test_a_second_group_needs_the_bootstrap_and_the_command_is_named(shared: Path, article: Lab, helm: bool) -> None:
    said = told(shared, article, groups=[*article.answers["groups"], "second"])
    assert (
        "deploy tokens and `regcred` come only with `./lab up --only groups` and `./lab up --only"
        " registry`. (`groups`)" in said
    )


@pytest.mark.parametrize(
    "changes", [{"rack_attack": False}, {"gitlab_version": "19.3.1"}, {"gitlab_size": "standard"}], ids=str
)
@pytest.mark.deep(keep=2)
def test_what_reaches_gitlabs_pod_is_a_downtime(
    shared: Path, article: Lab, helm: bool, changes: dict[str, Any]
) -> None:
    assert "Pushing this restarts GitLab. Expect about 5 minutes of downtime. (" in told(shared, article, **changes)


@pytest.mark.slow(keep=1)
def test_who_may_use_the_runner_changes_with_the_bootstrap_only(shared: Path, article: Lab, helm: bool) -> None:
    said = told(shared, article, runner_scope="instance")
    assert "GitLab's runners follow only with `./lab up --only runner`." in said


@pytest.mark.slow(keep=1)
def test_the_runners_settings_are_the_bootstraps(shared: Path, article: Lab, helm: bool) -> None:
    said = told(shared, article, runner_concurrent=7)
    assert (
        "Nothing until you run `./lab up --only runner`: it makes the runners that the file names in GitLab, and"
        " restarts the runner. Its jobs may do from then on what the file says. (`runner/config.toml`)" in said
    )
    assert "Flux" not in said


@pytest.mark.deep(keep=1)
def test_files_of_gitlabs_that_an_answer_leaves_behind_are_told_of(shared: Path, article: Lab, helm: bool) -> None:
    said = told(shared, article, data_backend="storage-class")
    assert said.startswith("**Nothing moves what GitLab keeps.** With another `data_backend`")
    assert set(effects.PLACES) <= set(QUESTIONS)


@pytest.mark.slow(keep=1)
def test_another_folder_of_the_cluster_is_nothing_new_but_for_flux(shared: Path, article: Lab, helm: bool) -> None:
    said = told(shared, article, cluster_name="cellar")
    assert (
        "Flux is pointed at the new place only by `./lab up --only sync`, once this is committed."
        " (`cluster_name`)" in said
    )
    assert "removes" not in said and "makes" not in said


def test_nothing_is_said_of_a_lab_that_stays_the_same(article: Lab, helm: bool) -> None:
    assert effects.told(tree(article.path), tree(article.path), (article.answers, article.answers), TABLE) == []


def test_the_article_is_read_as_flux_reads_it(article: Lab) -> None:
    applied = effects.applied(tree(article.path))
    kinds = {key.kind for key in applied}
    assert {"HelmRelease", "CronJob", "Namespace", "ImageUpdateAutomation", "GitRepository", "HelmChartConfig"} <= kinds
    assert {key.name for key in applied if key.kind == "HelmRelease"} == {"gitlab", "gitlab-check", "demo"}
    assert {key.namespace for key in applied if key.kind == "HelmRelease"} == {"gitlab", "default"}


@pytest.mark.deep(keep=1)
def test_a_new_chart_is_asked_of_helm(article: Lab, helm: bool) -> None:
    before = tree(article.path)
    chart = before["charts/app/Chart.yaml"]
    newer = {**before, "charts/app/Chart.yaml": chart.replace(b"version: ", b"version: 9", 1)}
    pod = "charts/app/templates/lib/_pod.tpl"
    deeper = {**newer, pod: newer[pod].replace(b"checksum/config:", b"checksum/other:", 1)}
    answers = (article.answers, article.answers)
    said = "\n".join(effects.told(before, deeper, answers, TABLE))
    assert (
        ("Pushing this restarts GitLab" in said)
        if helm
        else ("`gitlab`: Flux upgrades the release, and its pods may be replaced." in said)
    )
    if helm:
        assert "`gitlab`: Flux upgrades the release; its pods go on." in "\n".join(
            effects.told(before, newer, answers, TABLE)
        )
    # The same chart without a new version: Flux releases nothing.
    still = {**deeper, "charts/app/Chart.yaml": chart}
    assert "gitlab" not in "\n".join(effects.told(before, still, answers, TABLE))
    assert "Flux releases nothing new until its version changes" in effects.chart(before, still)[0]
    assert " → 9" in effects.chart(before, newer)[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tag: 9.8.7 ": "tag: 0.0.0 "}, "its pods are removed, and no new ones start"),
        ({"  values:\n": "  values:\n    replicas: 0\n"}, "its pods are removed, and no new ones start"),
        ({"  values:\n": "  values:\n    replicas: 4\n"}, "Flux upgrades the release; its pods go on."),
        ({"tag: 9.8.7 ": "tag: 9.8.8 "}, "its pods are replaced"),
    ],
    ids=str,
)
@pytest.mark.deep(keep=4)
def test_a_release_that_is_left_without_pods_is_told_and_so_is_the_way_back(
    article: Lab, helm: bool, changes: dict[str, str], said: str
) -> None:
    path, answers = "apps/demo/helmrelease.yaml", (article.answers, article.answers)
    text = re.sub(r"tag: \S+ ", "tag: 9.8.7 ", tree(article.path)[path].decode(), count=1)
    changed = text
    for old, new in changes.items():
        assert old in changed
        changed = changed.replace(old, new, 1)
    before, after = ({**tree(article.path), path: one.encode()} for one in (text, changed))
    assert f"`demo`: {said}" in "\n".join(effects.told(before, after, answers, TABLE))
    if "removed" in said:
        assert "`demo`: its first pods start." in "\n".join(effects.told(after, before, answers, TABLE))


@pytest.mark.slow
def test_values_that_the_table_calls_harmless_leave_the_pods_alone(article: Lab) -> None:
    """Helm judges the table that speaks where it is not installed."""
    before, helm = tree(article.path), tool("helm")
    release = effects.applied(before)[effects.Key("HelmRelease", "default", "demo")]
    values = yaml.safe_load(before["charts/app/values.yaml"])
    other = {
        "annotations": {"a": "b"},
        "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}],
        "gateway": {"enabled": False},
        "global": {"a": "b"},
        "labels": {"a": "b"},
        "strategy": "Recreate",
        "imagePolicy": {"interval": "9m"},
        "networkPolicy": {"enabled": True, "to": {"traefik": True}},
        "replicas": 3,
        "revisionHistoryLimit": 1,
        "ingress": {"enabled": True, "ssl": True, "hosts": [{"name": "other.lab", "servicePort": 80}]},
        "tcpRoutes": [],
        "tests": {"enabled": False},
    }
    assert set(TABLE["not_in_pods"]) == set(other) <= set(values)

    def pods(name: str | None) -> list[Any]:
        document = yaml.safe_load(before["apps/demo/helmrelease.yaml"])
        if name is not None:
            document["spec"]["values"][name] = other[name]
        return releases._pods(helm, effects.Applied(document, "apps/demo", ""), before, "charts/app", before)

    assert release.folder == "apps/demo"
    for name in other:
        assert pods(name) == pods(None), name


def test_a_lab_without_its_chart_or_with_a_release_that_cannot_be_read_is_told_as_far_as_it_goes(
    article: Lab, helm: bool
) -> None:
    before = {path: data for path, data in tree(article.path).items() if not path.startswith("charts/")}
    after = {
        **before,
        "apps/demo/helmrelease.yaml": re.sub(rb"interval: \w+", b"interval: 77m", before["apps/demo/helmrelease.yaml"]),
    }
    said = "\n".join(effects.told(before, after, (article.answers, article.answers), TABLE))
    assert "`demo`: Flux upgrades the release" in said
    assert effects.told({}, {}, ({}, {}), TABLE) == []


def test_helm_that_says_what_nobody_can_read_is_no_answer(
    article: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "helm").write_text("#!/bin/sh\nprintf 'a: [\\n'\n")
    (tmp_path / "helm").chmod(0o755)
    monkeypatch.setattr(releases.shutil, "which", lambda name: str(tmp_path / name))  # type: ignore[attr-defined]
    before = tree(article.path)
    after = {
        **before,
        "apps/demo/helmrelease.yaml": before["apps/demo/helmrelease.yaml"].replace(
            b"targetPort: 8080", b"targetPort: 8081"
        ),
    }
    assert "`demo`: Flux upgrades the release, and its pods may be replaced." in "\n".join(
        effects.told(before, after, (article.answers, article.answers), TABLE)
    )


def test_a_file_with_conflict_markers_is_named_and_the_rest_is_told(article: Lab, helm: bool) -> None:
    before = tree(article.path)
    path = "apps/demo/helmrelease.yaml"
    marked = b"<<<<<<< before updating\na: 1\n=======\na: 2\n>>>>>>> after updating\n" + before[path]
    after = {**before, path: marked, "apps/gitlab/gitlab.rb": before["apps/gitlab/gitlab.rb"] + b"# newer\n"}
    said = "\n".join(effects.told(before, after, (article.answers, article.answers), TABLE))
    assert (
        "Flux cannot read this, and applies nothing of its folder until it is fixed. (`apps/demo/helmrelease.yaml`)"
        in said
    )
    assert "Pushing this restarts GitLab." in said and "removes" not in said


def test_patches_of_a_kustomization_are_an_effect(article: Lab, helm: bool) -> None:
    before = tree(article.path)
    path = "clusters/homelab/flux-system/kustomization.yaml"
    after = {**before, path: before[path] + b"labels: [{pairs: {a: b}}]\n"}
    said = effects.told(before, after, (article.answers, article.answers), TABLE)
    folder = "clusters/homelab/flux-system"
    assert said == [
        f"Flux applies kustomization `{folder}` again. `kubectl diff -k` with that folder says what changes. (`{path}`)"
    ]


def test_every_pattern_of_the_tables_is_reached() -> None:
    patterns = [pattern for entry in TABLE["files"] for pattern in entry["files"]]
    for number, pattern in enumerate(patterns[:-1]):
        assert not [before for before in patterns[:number] if fnmatch.fnmatchcase(pattern.replace("*", "x"), before)], (
            pattern
        )
    assert patterns[-1] == "*" and TABLE["kinds"][-1]["kinds"] == ["*"]
    answers = [answer for entry in TABLE["bootstrap"] for answer in entry["answers"]]
    assert len(answers) == len(set(answers)) and set(answers) <= set(QUESTIONS)


def test_controllers_that_run_before_git_has_them_are_told_as_taken_over(article: Lab, helm: bool) -> None:
    """A lab of before had Flux in its cluster, and not in its repository."""
    after = tree(article.path)
    folder = "clusters/homelab/flux-system"
    before = {path: data for path, data in after.items() if path != f"{folder}/gotk-components.yaml"}
    before[f"{folder}/kustomization.yaml"] = (
        b"apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n  - sync.yaml\n"
    )
    said = "\n".join(effects.told(before, after, (article.answers, article.answers), TABLE))
    assert (
        f"Flux keeps its own controllers by this file from now on. Those whose arguments change restart within seconds; nothing else does. (`{folder}/gotk-components.yaml`)"
        in said
    )
    assert "makes" not in said
    removed = "\n".join(effects.told(after, before, (article.answers, article.answers), TABLE))
    assert "Flux removes from the cluster: ClusterRole" in removed and "takes" not in removed


NEW = [entry for entry in TABLE["bootstrap"] if entry.get("new")]


@pytest.mark.parametrize("entry", NEW, ids=lambda entry: entry["answers"][0])
def test_what_the_bootstrap_closes_is_told_with_the_question_that_opens_it_again(entry: dict[str, Any]) -> None:
    """Also where nobody has answered it yet: an earlier lab is told at its first update with the question."""
    name = entry["answers"][0]
    before = {"groups": ["a"]}
    told = effects.told({}, {}, (before, before | {name: "x"}), TABLE)
    assert told == [f"{entry['effect']} (`{name}`)"] and name in entry["effect"] and "./lab up" in entry["effect"]
    assert effects.told({}, {}, (before | {name: "x"}, before | {name: "x"}), TABLE) == []
