"""What makes pods restart, and what never does; which content a version stands for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python import Chart

from tests.chart.support.releases import ARTICLE, GITLAB, HTTP, LEAST, STATEFUL, Values, merged
from tests.chart.support.rendering import CHART, pod_template, render
from tests.chart.version_digests import VERSIONS, digest, versions
from tests.support.cluster import documents


def rendered_as(version: str, values: Values, folder: Path) -> list[dict[str, Any]]:
    """Render the values with the chart under another version."""
    copy = folder / version
    shutil.copytree(CHART, copy)
    metadata = yaml.safe_load((copy / "Chart.yaml").read_text())
    (copy / "Chart.yaml").write_text(yaml.safe_dump({**metadata, "version": version, "appVersion": version}))
    with Chart.load(copy) as other:
        files = other.render(values, name="demo", namespace="apps")
    return [thing for file in sorted(files) if not file.endswith("NOTES.txt") for thing in documents(files[file])]


@pytest.mark.parametrize("values", [ARTICLE, GITLAB, STATEFUL], ids=["article", "gitlab", "stateful"])
def test_a_new_version_of_the_chart_changes_one_label_of_each_object_and_nothing_of_a_pod(
    values: Values, tmp_path: Path
) -> None:
    before, after = render(values), rendered_as("9.9.9-rc.1+4f2a9c1e", values, tmp_path)
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        old["metadata"]["labels"].pop("helm.sh/chart", None)
        label = new["metadata"]["labels"].pop("helm.sh/chart", None)
        assert label in {None, "app-9.9.9-rc.1_4f2a9c1e"}
        assert old == new
    assert "helm.sh/chart" not in json.dumps([thing.get("spec") for thing in after])


def config(**more: Any) -> Values:
    return merged(LEAST, {"configMaps": {"config": {"mountPath": "/etc/demo", "data": {"a": "1"}, **more}}})


def checksum(values: Values) -> Any:
    return pod_template(render(values))["metadata"]["annotations"]["checksum/config"]


@pytest.mark.parametrize("change", [{"data": {"a": "2"}}, {"data": {"b": "1"}}, {"binaryData": {"b": "eQ=="}}], ids=str)
def test_a_change_of_a_files_content_restarts_the_pods(change: Values) -> None:
    assert checksum(config(**change)) != checksum(config())


def test_the_contents_of_two_files_that_change_places_restart_the_pods() -> None:
    files = {"one": {"data": {"a": "1"}}, "two": {"data": {"a": "2"}}}
    swapped = {"one": files["two"], "two": files["one"]}
    assert checksum(merged(LEAST, {"configMaps": files})) != checksum(merged(LEAST, {"configMaps": swapped}))


NO_RESTART: dict[str, Values] = {
    "a file's label": {"configMaps": {"config": {"labels": {"a": "b"}}}},
    "a label of everything": {"labels": {"a": "b"}},
    "an annotation of everything": {"annotations": {"a": "b"}},
    "a service's type": {"services": [{**HTTP, "type": "LoadBalancer"}]},
    "a host": {"ingress": {"enabled": True, "hosts": [{"name": "demo.lab"}]}},
    "Flux's watch": {"image": {"imagePolicy": True}, "imagePolicy": {"interval": "9m"}},
    "more pods": {"replicas": 3},
    "the way of updating": {"strategy": "Recreate"},
    "the test": {"tests": {"path": "/up", "image": {"tag": "9"}}},
    "an object beside it": {"extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}]},
}


@pytest.mark.parametrize("what", NO_RESTART)
def test_a_change_beside_the_pods_leaves_them_alone(what: str) -> None:
    base = merged(config(), {"services": [HTTP]})
    assert pod_template(render(merged(base, NO_RESTART[what]))) == pod_template(render(base))


def test_a_release_without_files_has_no_checksum() -> None:
    assert "annotations" not in pod_template(render(LEAST))["metadata"]


def test_the_charts_version_stands_for_this_content_and_no_other() -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    assert version in versions(), (
        f"run: .venv/bin/python tests/chart/version_digests.py, which writes {version} into {VERSIONS.name}"
    )
    assert versions()[version] == digest(), (
        f"the content of template/charts/app is not that of version {version}: Flux deploys a changed chart only under a new "
        "version. Raise `version` in Chart.yaml (the last part for a fix, the middle one for a new value), then run: "
        ".venv/bin/python tests/chart/version_digests.py"
    )


def test_no_two_versions_have_one_content() -> None:
    assert len(set(versions().values())) == len(versions())
