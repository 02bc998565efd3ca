"""Finds its way through values.schema.json: every object in it once, with the least values around it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]
Step = tuple[str, str]


@dataclass(frozen=True)
class Place:
    """An object of the schema, and how to get there from the root.

    Attributes:
        steps: ("key", name) into a property or an entry of a map, ("item", "0") into a list.
        schema: what the schema says there, references followed.
    """

    steps: tuple[Step, ...]
    schema: Schema

    def __str__(self) -> str:
        return ".".join(name for _, name in self.steps) or "values"


class Walker:
    """Walks over a schema whose references lead to #/definitions/."""

    def __init__(self, schema: Schema) -> None:
        self.root = schema

    def resolve(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            schema = self.root["definitions"][schema["$ref"].removeprefix("#/definitions/")]
        return schema

    def places(self) -> Iterator[Place]:
        """Yield every object, list and map of the schema, each definition by the shortest way only."""
        todo = deque([Place((), self.root)])
        seen: set[int] = set()
        while todo:
            place = todo.popleft()
            if id(place.schema) in seen:
                continue
            seen.add(id(place.schema))
            inner = [(("key", name), value) for name, value in place.schema.get("properties", {}).items()]
            if isinstance(place.schema.get("additionalProperties"), dict):
                inner.append((("key", "some-name"), place.schema["additionalProperties"]))
            if "items" in place.schema:
                inner.append((("item", "0"), place.schema["items"]))
            if inner or place.schema.get("additionalProperties") is not None:
                yield place
            todo.extend(Place((*place.steps, step), self.resolve(value)) for step, value in inner)

    def least(self, schema: Schema) -> Any:
        """Return the least value that the schema accepts."""
        schema = self.resolve(schema)
        if "enum" in schema:
            return schema["enum"][0]
        kind = schema["type"] if isinstance(schema["type"], str) else schema["type"][0]
        if kind == "object":
            return self.required(schema)
        if kind == "array":
            return [self.least(schema["items"])] * schema.get("minItems", 0)
        if kind == "string":
            return self.text(schema)
        return {
            "integer": schema.get("minimum", 0),
            "number": schema.get("minimum", 0),
            "boolean": False,
            "null": None,
        }[kind]

    def required(self, schema: Schema) -> dict[str, Any]:
        """Return the least object that the schema accepts."""
        return {name: self.least(schema["properties"][name]) for name in schema.get("required", [])}

    def text(self, schema: Schema) -> str:
        from tests.chart.support.drawn_values import samples

        if "pattern" not in schema:
            return "x" * schema.get("minLength", 0)
        return min((text for text in samples(schema["pattern"]) if len(text) >= schema.get("minLength", 0)), key=len)

    def around(self, steps: tuple[Step, ...], value: Any) -> Any:
        """Return the least values in which *value* stands at the end of the steps."""
        return self._around(self.root, steps, value)

    def _around(self, schema: Schema, steps: tuple[Step, ...], value: Any) -> Any:
        schema = self.resolve(schema)
        if not steps:
            return value
        (kind, name), rest = steps[0], steps[1:]
        if kind == "item":
            return [self._around(schema["items"], rest, value)]
        inner = schema.get("properties", {}).get(name) or schema["additionalProperties"]
        return {**self.required(schema), name: self._around(inner, rest, value)}
