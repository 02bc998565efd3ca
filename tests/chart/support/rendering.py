"""The chart of the template, rendered by Helm 4 in this process, and what the tests know of it."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart
from helm_python.errors import HelmError

from tests.chart.support.releases import Values
from tests.support.cluster import documents

Object = dict[str, Any]

CHART = Path(__file__).resolve().parents[3] / "template" / "charts" / "app"
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
DEFAULTS: Values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def chart() -> Chart:
    return Chart.load(CHART)


def manifests(values: Values, name: str = "demo", namespace: str = "apps") -> dict[str, str]:
    return chart().render(values, name=name, namespace=namespace)


def render(values: Values, name: str = "demo", namespace: str = "apps") -> list[Object]:
    """Return the objects of a release, hooks included."""
    return objects_of(manifests(values, name, namespace))


def objects_of(files: dict[str, str]) -> list[Object]:
    """Return the objects of a release's manifests."""
    return [thing for file in sorted(files) if not file.endswith("NOTES.txt") for thing in documents(files[file])]


def notes(values: Values, name: str = "demo", namespace: str = "apps") -> str:
    return manifests(values, name, namespace)["app/templates/NOTES.txt"]


def refusal(values: Values, name: str = "demo") -> str:
    """Return why Helm refuses the values.

    Raises:
        AssertionError: it accepts them.
    """
    try:
        manifests(values, name)
    except HelmError as error:
        return str(error)
    raise AssertionError(f"accepted: {values}")


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [thing for thing in objects if thing["kind"] == kind]


def one(objects: list[Object], kind: str, name: str | None = None) -> Object:
    """Return the only object of the kind, or the only one of that name."""
    found = [thing for thing in of_kind(objects, kind) if name is None or thing["metadata"]["name"] == name]
    assert len(found) == 1, (
        f"{len(found)} {kind} {name or ''} among {[o['metadata']['name'] for o in of_kind(objects, kind)]}"
    )
    return found[0]


def pod_template(objects: list[Object]) -> Object:
    found = of_kind(objects, "Deployment") + of_kind(objects, "StatefulSet")
    assert len(found) == 1
    return found[0]["spec"]["template"]


def container(objects: list[Object]) -> Object:
    return pod_template(objects)["spec"]["containers"][0]
