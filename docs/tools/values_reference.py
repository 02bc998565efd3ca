"""Writes the reference of the chart's values into its README, from values.schema.json and values.yaml.

    python docs/tools/values_reference.py [FOLDER OF THE CHART]

What a value means stands in the schema, so that editors show it too; its default stands in values.yaml.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parents[2] / "template" / "charts" / "app"
START, END = "<!-- made from values.schema.json and values.yaml -->", "<!-- end of what is made -->"
KUBERNETES = "https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/"
Schema = dict[str, Any]
# How a row shows the entries of a list, and those of a map.
ITEM, ENTRY = "[]", ".<name>"


class Reference:
    """The table of one chart's values."""

    def __init__(self, chart: Path) -> None:
        self.schema: Schema = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))
        self.defaults: dict[str, Any] = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))

    def rows(self) -> Iterator[tuple[str, str, str, str, str]]:
        """Yield value, type, default, meaning, example; a map that several values share is told once."""
        self.shown: dict[str, str] = {}
        yield from self._rows("", self.schema, self.defaults)

    def _rows(self, above: str, schema: Schema, defaults: Any) -> Iterator[tuple[str, str, str, str, str]]:
        for name, value in schema.get("properties", {}).items():
            path = f"{above}.{name}".removeprefix(".")
            default = defaults.get(name) if isinstance(defaults, dict) else None
            below, shown = list(self._below(path, value, default)), self.shown.get(value.get("$ref", ""), path)
            yield (
                f"`{path}`",
                self.type_of(value, path) if shown == path else f"as `{shown}`",
                "" if default is None or (below and isinstance(default, dict)) else _code(default),
                _text(value.get("description") or self._resolve(value).get("description", "")),
                _code(self.example_of(value, default)),
            )
            yield from below

    def _below(self, path: str, value: Schema, default: Any) -> Iterator[tuple[str, str, str, str, str]]:
        inner, reference = self._resolve(value), value.get("$ref", "")
        if "$comment" in inner or reference in self.shown:
            return
        if reference and "properties" in inner:
            self.shown[reference] = path
        yield from self._rows(path, inner, default)
        for key, mark in (("items", ITEM), ("additionalProperties", ENTRY)):
            if isinstance(inner.get(key), dict):
                yield from self._below(path + mark, inner[key], None)

    def _resolve(self, schema: Schema) -> Schema:
        return self.schema["definitions"][schema["$ref"].removeprefix("#/definitions/")] if "$ref" in schema else schema

    def type_of(self, value: Schema, path: str = "") -> str:
        """Return what a person calls the type of the value at *path*."""
        schema = self._resolve(value)
        if "$comment" in schema:
            return f"[{schema['$comment'].rpartition('.')[2]}]({KUBERNETES})"
        if "enum" in schema:
            return " \\| ".join(_code(one) for one in schema["enum"])
        types = (
            [schema["type"]] if isinstance(schema["type"], str) else [name for name in schema["type"] if name != "null"]
        )
        return " or ".join(self._type(name, schema, path) for name in types)

    def _type(self, name: str, schema: Schema, path: str) -> str:
        inner, mark = ("items", ITEM) if name == "array" else ("additionalProperties", ENTRY)
        if name in {"array", "object"} and isinstance(schema.get(inner), dict):
            shown = self.shown.get(schema[inner].get("$ref", ""), path + mark)
            entries = self.type_of(schema[inner]) if shown == path + mark else f"what `{shown}` takes"
            return f"{'list' if name == 'array' else 'map'} of {entries}"
        return {"object": "map", "string": "text", "integer": "number", "boolean": "true or false"}.get(name, name)

    def example_of(self, value: Schema, default: Any) -> Any:
        """Return an example: the schema's, or one that follows from the type; None where what lies below has its own."""
        schema = self._resolve(value)
        for source in (value, schema):
            if source.get("examples"):
                return source["examples"][0]
        if "enum" in schema:
            return next(one for one in schema["enum"] if one not in (default, ""))
        if schema.get("type") == "boolean":
            return not default
        return None


def _code(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    return f"`{text}`".replace("|", "\\|")


def _text(text: str) -> str:
    """Return plain text as Markdown that shows it."""
    return re.sub(r"[|*]", r"\\\g<0>", text).replace("<", "&lt;")


def table(chart: Path = CHART) -> str:
    """Return the reference as a Markdown table."""
    lines = ["| value | type | default | meaning | example |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in Reference(chart).rows())])


def refreshed(readme: str, chart: Path = CHART) -> str:
    """Return the README with the reference between its marks made anew.

    Raises:
        ValueError: the marks are missing.
    """
    if START not in readme or END not in readme:
        raise ValueError(f"the README lacks the lines {START!r} and {END!r}")
    new = f"{START}\n{table(chart)}\n{END}"
    return re.sub(f"{re.escape(START)}.*{re.escape(END)}", lambda _: new, readme, flags=re.DOTALL)


def main(arguments: list[str]) -> None:
    """Write the table into the README of the chart, or of the one in the folder that is named."""
    chart = Path(arguments[0]) if arguments else CHART
    readme = chart / "README.md"
    readme.write_text(refreshed(readme.read_text(encoding="utf-8"), chart), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
