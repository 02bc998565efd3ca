"""Values drawn from values.schema.json, for property-based tests, and made to agree with the chart's other rules."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

# The standard library's parser of regular expressions, by its name in 3.10 and in later versions.
_sre: Any = getattr(re, "_parser", None) or re.sre_parse

Schema = dict[str, Any]
Values = dict[str, Any]

# What the chart hands to Kubernetes as it stands, through tpl: any object will do.
EXTRA_OBJECT = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "extra"},
    "data": {"release": "{{ .Release.Name }}"},
}
# Every character that YAML can carry; what the chart says to the others is a test of its own.
LEGAL = st.characters(codec="utf-8", exclude_characters=["\x00", *map(chr, range(0x7F, 0xA0)), "\ufffe", "\uffff"])
# What most of a release hangs on, and would seldom be drawn together.
FAVOURITES = {
    "services",
    "ingress",
    "volumes",
    "items",
    "hosts",
    "enabled",
    "configMaps",
    "gateway",
    "parentRefs",
    "mountPath",
}
TEXT = st.text(LEGAL, max_size=12)
_THREE_OF_FOUR = st.integers(0, 3)


@cache
def samples(pattern: str, count: int = 60) -> tuple[str, ...]:
    """Return texts that the pattern matches as a whole: the same ones every time, short and long ones."""
    tree = _sre.parse(pattern.removeprefix("^").removesuffix("$"))
    chance = random.Random(pattern)
    texts = [_text(tree, chance, most) for most in (0, 1, 2, 8) for _ in range(count // 4)]
    whole = re.compile(pattern.removesuffix("$"))
    assert all(whole.fullmatch(text) for text in texts)
    return tuple(texts)


def _text(tree: Any, chance: random.Random, most: int) -> str:
    """Write one text of a parsed regular expression, with *most* repetitions beyond the least."""
    text = ""
    for code, argument in tree:
        name = str(code)
        if name == "LITERAL":
            text += chr(argument)
        elif name == "IN":
            text += chance.choice(_characters(argument))
        elif name == "MAX_REPEAT":
            least, upper, part = argument
            for _ in range(chance.randint(least, max(least, min(int(upper), least + most)))):
                text += _text(part, chance, most)
        elif name == "SUBPATTERN":
            text += _text(argument[3], chance, most)
        elif name == "BRANCH":
            text += _text(chance.choice(argument[1]), chance, most)
        else:
            raise NotImplementedError(f"{name} in a pattern")
    return text


def _characters(ranges: Any) -> list[str]:
    """Return characters of a class; of a negated one, what people type and what they do not."""
    found: set[str] = set()
    for code, argument in ranges:
        if str(code) == "RANGE":
            found |= {chr(number) for number in range(argument[0], argument[1] + 1)}
        elif str(code) == "LITERAL":
            found.add(chr(argument))
        elif str(code) == "CATEGORY":
            found |= set(" \t\n\r\f\v") if str(argument) == "CATEGORY_SPACE" else set("0123456789")
    if str(ranges[0][0]) == "NEGATE":
        found = set("aZ09 _-.,:/\\'\"`{}[]#&*!|>%@$~^?=ąßжλ中🦊") - found
    return sorted(found)


class Drawer:
    """Makes strategies of the part of JSON Schema that the chart's schema uses.

    Raises:
        NotImplementedError: a keyword that this part does not have, so that none is passed over in silence.
    """

    KNOWN: ClassVar = {
        "$ref",
        "$schema",
        "$comment",
        "title",
        "description",
        "examples",
        "definitions",
        "type",
        "properties",
        "required",
        "enum",
        "additionalProperties",
        "propertyNames",
        "items",
        "minItems",
        "maxItems",
        "uniqueItems",
        "pattern",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
    }

    def __init__(self, schema: Schema, breadth: int = 4) -> None:
        self.root = schema
        self.breadth = breadth
        self.made: dict[str, SearchStrategy[Any]] = {}

    def draw(self, schema: Schema) -> SearchStrategy[Any]:
        if "$ref" in schema:
            name = schema["$ref"].removeprefix("#/definitions/")
            if name == "extraObject":
                return st.builds(deepcopy, st.just(EXTRA_OBJECT))
            if name not in self.made:
                self.made[name] = self.draw(self.root["definitions"][name])
            return self.made[name]
        if unknown := schema.keys() - self.KNOWN:
            raise NotImplementedError(f"schema keywords {sorted(unknown)}")
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        return st.one_of([getattr(self, f"_{kind}")(schema) for kind in types])

    def _object(self, schema: Schema) -> SearchStrategy[Any]:
        properties = {name: self.draw(value) for name, value in schema.get("properties", {}).items()}
        rest = schema["additionalProperties"]
        if isinstance(rest, dict):
            names = self.draw({"type": "string", "maxLength": 20, **self._resolved(schema["propertyNames"])})
            return st.dictionaries(names, self.draw(rest), max_size=self.breadth)
        if rest is True:
            return st.dictionaries(TEXT, st.one_of(TEXT, st.integers(), st.booleans()), max_size=2)
        required = schema.get("required", [])
        optional = sorted(properties.keys() - set(required))
        favourites = [name for name in optional if name in FAVOURITES]
        more = st.lists(st.sampled_from(optional), max_size=self.breadth, unique=True) if optional else st.just([])
        return _some(properties, required, favourites, more)

    def _array(self, schema: Schema) -> SearchStrategy[Any]:
        return st.lists(
            self.draw(schema["items"]),
            min_size=schema.get("minItems", 0),
            max_size=min(schema.get("maxItems", 3), 3),
            unique_by=repr if schema.get("uniqueItems") else None,
        )

    def _string(self, schema: Schema) -> SearchStrategy[Any]:
        least, most = schema.get("minLength", 0), schema.get("maxLength", 300)
        if "pattern" not in schema:
            return TEXT.filter(lambda text: least <= len(text) <= most)
        # A pool is much faster than st.from_regex; Python's $ would let a line break pass, which Go's does not.
        texts = [text for text in samples(schema["pattern"]) if least <= len(text) <= most]
        return st.sampled_from(sorted(set(texts), key=lambda text: (len(text), text)))

    def _integer(self, schema: Schema) -> SearchStrategy[Any]:
        return st.integers(schema.get("minimum", -(2**31)), schema.get("maximum", 2**31))

    def _number(self, schema: Schema) -> SearchStrategy[Any]:
        decimals = st.integers(0, 10**6).map(lambda number: number / 1000)
        return st.one_of(self._integer(schema), decimals)

    def _boolean(self, schema: Schema) -> SearchStrategy[Any]:
        return st.booleans()

    def _null(self, schema: Schema) -> SearchStrategy[Any]:
        return st.none()

    def _resolved(self, schema: Schema) -> Schema:
        return self.root["definitions"][schema["$ref"].removeprefix("#/definitions/")] if "$ref" in schema else schema


@st.composite
def _some(
    draw: Callable[[SearchStrategy[Any]], Any],
    properties: dict[str, SearchStrategy[Any]],
    required: list[str],
    favourites: list[str],
    more: SearchStrategy[list[str]],
) -> Values:
    """Draw an object. What it draws from is made once a schema, and not in each draw."""
    chosen = [name for name in favourites if draw(_THREE_OF_FOUR)]
    chosen += draw(more)
    return {name: draw(properties[name]) for name in dict.fromkeys([*required, *chosen])}
