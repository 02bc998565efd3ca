"""Flux takes over the release that Helm made, without a restart: both install the same chart, with the same values."""

from __future__ import annotations

import itertools
import re
from typing import Any

import yaml

from tests.support import program
from tests.support.cluster import Lab, merge


def installed_by_bootstrap(lab: Lab, version: str = "v4.1.3") -> list[str]:
    """The arguments that the stage hands to a Helm of the version; each path is below the lab's folder."""
    calls: list[list[str]] = []

    class Recorded(program.programs.Programs):
        def run(self, command: Any, **_: Any) -> program.programs.Result:
            calls.append(list(command))
            return program.programs.Result(0, version, "")

    console = program.console()
    settings = program.settings_of(lab.path)
    program.helm.Helm(Recorded({}, console), lab.path, settings.gitlab_namespace, lambda: None).install()
    [call] = [call for call in calls if "upgrade" in call]
    return call[1:]


def values_of(lab: Lab, arguments: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for flag, value in itertools.pairwise(arguments):
        if flag == "--values":
            values = merge(values, yaml.safe_load((lab.path / value).read_text()))
        elif flag == "--set-file":
            name, path = value.split("=")
            text: Any = (lab.path / path).read_text()
            for part in reversed(re.split(r"(?<!\\)\.", name)):
                text = {part.replace("\\.", "."): text}
            values = merge(values, text)
    return values


def test_helm_and_flux_install_gitlab_from_the_same_chart_with_the_same_values(article: Lab) -> None:
    release = next(r for r in article.of_kind("HelmRelease") if r["metadata"]["name"] == "gitlab")
    namespace, spec = release["metadata"]["namespace"], release["spec"]
    arguments = installed_by_bootstrap(article)
    assert arguments[:3] == ["upgrade", spec["releaseName"], spec["chart"]["spec"]["chart"].removeprefix("./")]
    assert arguments[arguments.index("--namespace") + 1] == namespace
    values = values_of(article, arguments)
    assert "external_url" in values["configMaps"]["config"]["data"]["gitlab.rb"]
    assert values == article.values[f"{namespace}/gitlab"]


def test_no_name_but_fluxs_stays_on_the_fields_of_the_release(article: Lab) -> None:
    assert "--server-side=false" in installed_by_bootstrap(article, "v4.0.0+g99cd196")
    # Helm 3 knows no other way than that, and not the flag.
    assert not [word for word in installed_by_bootstrap(article, "v3.14.0") if "server-side" in word]


def test_what_flux_adds_to_the_rendered_chart_leaves_the_pod_as_it_is(article: Lab) -> None:
    release = next(r for r in article.of_kind("HelmRelease") if r["metadata"]["name"] == "gitlab")
    patches = [p for r in release["spec"].get("postRenderers", []) for p in r["kustomize"]["patches"]]
    steps = [step for patch in patches for step in yaml.safe_load(patch["patch"])]
    assert [s["path"] for s in steps if s["path"].startswith("/spec/template")] == []
