"""What is written about the chart is true."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator
from referencing import Registry, Resource

from docs.tools.values_reference import Reference, refreshed
from tests.chart.support.releases import LEAST, merged
from tests.chart.support.rendering import CHART, DEFAULTS, SCHEMA, chart, refusal, render
from tests.support.schemas import schema_errors

README = (CHART / "README.md").read_text(encoding="utf-8")
VALUES = (CHART / "values.yaml").read_text(encoding="utf-8")
# Values without a default: what they would be differs from release to release.
WITHOUT_DEFAULT = {
    f"volumes.{name}"
    for name in (
        "nfs",
        "hostPath",
        "existingClaim",
        "claim",
        "emptyDir",
        "configMap",
        "secret",
        "readOnly",
    )
}


def own(schema: Any, above: str = "") -> dict[str, Any]:
    """Return what the schema says of the values that values.yaml has, by path."""
    found = {}
    for name, value in schema.get("properties", {}).items():
        path = f"{above}.{name}".removeprefix(".")
        found[path] = value
        found.update(own(value, path))
    return found


def comments() -> dict[str, str]:
    """Return the line that starts with `# --` above each value of values.yaml, by path."""
    found: dict[str, str] = {}
    path: list[str] = []
    meaning = ""
    for line in VALUES.splitlines():
        if match := re.match(r" *# -- (.*)", line):
            meaning = match[1]
        elif match := re.match(r"( *)(\w+):", line):
            path = [*path[: len(match[1]) // 2], match[2]]
            found[".".join(path)], meaning = meaning, ""
    return found


def test_the_reference_in_the_readme_is_fresh() -> None:
    assert refreshed(README) == README, "run: .venv/bin/python docs/tools/values_reference.py"


def test_every_value_of_the_reference_has_a_meaning_and_an_example() -> None:
    rows = [(row[0].strip("`"), row[1], row[3], row[4]) for row in Reference(CHART).rows()]
    assert [path for path, _, meaning, _ in rows if not meaning] == []
    told_elsewhere = {path for path, kind, _, _ in rows if kind.startswith(("as ", "list of what ", "map of what "))}
    with_parts = {path for path, *_ in rows for other, *_ in rows if other.startswith((f"{path}.", f"{path}["))}
    assert [path for path, _, _, example in rows if not example and path not in told_elsewhere | with_parts] == []


def test_every_example_of_the_schema_is_one_that_it_accepts() -> None:
    validator = Draft7Validator(SCHEMA)
    wrong = []

    def look(schema: Any, path: str) -> None:
        if isinstance(schema, dict):
            for example in schema.get("examples", []) if isinstance(schema.get("examples"), list) else []:
                wrong.extend(
                    f"{path}: {error.message}" for error in validator.evolve(schema=schema).iter_errors(example)
                )
            for key, value in schema.items():
                look(value, f"{path}/{key}")

    look(SCHEMA, "")
    assert wrong == []


def test_values_yaml_holds_every_value_with_the_meaning_that_editors_show() -> None:
    described = {path: value["description"] for path, value in own(SCHEMA).items() if path not in WITHOUT_DEFAULT}
    assert comments() == described


def test_values_yaml_names_its_schema_for_editors() -> None:
    assert VALUES.splitlines()[0] == "# yaml-language-server: $schema=values.schema.json"
    chart().validate_schema(merged(DEFAULTS, LEAST))


def test_the_defaults_need_no_more_than_an_image() -> None:
    assert [line for line in refusal({}).splitlines() if line.startswith("  - ")] == [
        line for line in refusal({}).splitlines() if line.startswith(("  - image.repository ", "  - image.tag "))
    ]
    assert render(merged(DEFAULTS, LEAST)) == render(LEAST)


EXAMPLES = list(re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split("\n", 2)[1].strip()[:40])
def test_every_example_of_the_readme_installs(example: str) -> None:
    services = {"services": [{"name": "ssh", "servicePort": 2223}]}
    values = yaml.safe_load(example)
    objects = render(values if "image" in values else merged(LEAST, services, values))
    assert [error for thing in objects for error in schema_errors(thing)] == []


CELLS = re.findall(r"^\| [^|]* \| `((?:imagePolicy|image): \{.*?\})`", README, flags=re.MULTILINE) + [
    f"ingress: {{tls: {cell}}}" for cell in re.findall(r"^\| `(\{.*?\})` \|", README, flags=re.MULTILINE)
]


@pytest.mark.parametrize("cell", CELLS)
def test_every_recipe_of_the_readmes_tables_installs(cell: str) -> None:
    values = yaml.safe_load(cell.replace("sha256:…", f"sha256:{'a' * 64}"))
    assert render(
        merged(
            LEAST,
            {
                "image": {"imagePolicy": True},
                "services": [{"name": "http", "servicePort": 80}],
                "ingress": {"enabled": True, "hosts": [{"name": "demo.lab"}]},
            },
            values,
        )
    )


def test_a_helmreleases_own_values_are_checked_in_editors_too() -> None:
    schema = json.loads((CHART / "helmrelease.schema.json").read_text(encoding="utf-8"))
    registry = Registry().with_resource("values.schema.json", Resource.from_contents(SCHEMA))
    validator = Draft7Validator(schema, registry=registry)
    release = {
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "spec": {"interval": "10m", "values": LEAST},
    }
    assert list(validator.iter_errors(release)) == []
    release["spec"] = {"values": {"image": {"repositroy": "x"}}}
    assert [list(error.absolute_path) for error in validator.iter_errors(release)] == [["spec", "values", "image"]]


def test_no_template_is_longer_than_a_page() -> None:
    assert [
        str(file)
        for file in CHART.rglob("templates/**/*")
        if file.is_file() and len(file.read_text().splitlines()) > 100
    ] == []
