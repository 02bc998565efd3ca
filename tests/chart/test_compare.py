"""The comparison of two versions of the chart sees a difference wherever there is one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from helm_python import Chart

from tests.chart.compare import Release, difference, texts
from tests.chart.support.releases import HTTP, LEAST, merged
from tests.chart.support.rendering import CHART, chart

RELEASE = Release(
    "demo", merged(LEAST, {"services": [HTTP], "ingress": {"enabled": True, "hosts": [{"name": "demo.lab"}]}})
)
REFUSED = Release("refused", {"image": {}})


def changed(folder: Path, file: str, old: str, new: str) -> Chart:
    """Return a copy of the chart with one change in one of its templates."""
    shutil.copytree(CHART, folder / "app")
    template = folder / "app/templates" / file
    text = template.read_text(encoding="utf-8")
    assert text.count(old) == 1
    template.write_text(text.replace(old, new), encoding="utf-8")
    return Chart.load(folder / "app")


def compared(old: Chart, new: Chart, release: Release) -> str:
    return difference(texts(old, release), texts(new, release), release)


def test_a_chart_does_not_differ_from_itself() -> None:
    assert [compared(chart(), chart(), release) for release in (RELEASE, REFUSED)] == ["", ""]


@pytest.mark.parametrize(
    ("file", "old", "new", "release"),
    [
        ("lib/_container.tpl", "- name: app\n", "- name: web\n", RELEASE),
        ("objects/service.yaml", "\nspec:\n", "\n\nspec:\n", RELEASE),
        ("NOTES.txt", "It is served at:", "It is served  at:", RELEASE),
        ("checks/_image.tpl", "image.tag is empty:", "image.tag is missing:", REFUSED),
    ],
    ids=["a value", "an empty line", "the notes", "a refusal"],
)
def test_a_change_in_any_kind_of_template_is_a_difference(
    tmp_path: Path, file: str, old: str, new: str, release: Release
) -> None:
    found = compared(chart(), changed(tmp_path, file, old, new), release)
    assert release.what in found
    assert "\n-" in found or "\n+" in found


def test_a_template_that_moved_to_another_folder_is_no_difference(tmp_path: Path) -> None:
    moved = changed(tmp_path, "objects/service.yaml", "\nspec:\n", "\nspec:\n")
    moved.close()
    templates = tmp_path / "app/templates"
    (templates / "objects/service.yaml").rename(templates / "service.yaml")
    assert compared(chart(), Chart.load(tmp_path / "app"), RELEASE) == ""
