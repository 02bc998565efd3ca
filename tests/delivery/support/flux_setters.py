"""What Flux's image automation does to a repository: markers found, values set, and the commit's message.

Sources: image-automation-controller, pkg/update (setters.go, filereader.go, result.go) and docs/spec/v1; kustomize's kyaml,
fieldmeta (a field's comment as JSON) and setters2. Flux writes the whole file anew from its tree, so `kept_by_kyaml` says
what that would change besides the value.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

TOKEN = '"$imagepolicy"'


@dataclass(frozen=True)
class Change:
    """One field that was set: `Change` of the commit message's template, and the object that it stands in."""

    file: Path
    object: str
    setter: str
    old: str
    new: str


def setters(policies: dict[str, str]) -> dict[str, str]:
    """Return the values by setter: of `namespace:name`, the image, its name and its tag."""
    found = {}
    for policy, image in policies.items():
        name, _, tag = image.rpartition(":")
        found |= {policy: image, f"{policy}:name": name, f"{policy}:tag": tag}
    return found


def setter_of(comment: str) -> str | None:
    """Return the setter that a field's comment names: the comment, without its `#`, is a JSON object."""
    try:
        read = json.loads(comment.lstrip("#"))
    except json.JSONDecodeError:
        return None
    return read.get("$imagepolicy") if isinstance(read, dict) else None


def scalars(node: yaml.Node) -> list[yaml.ScalarNode]:
    """Return the values of a tree; keys carry no marker."""
    if isinstance(node, yaml.MappingNode):
        return [one for _, value in node.value for one in scalars(value)]
    if isinstance(node, yaml.SequenceNode):
        return [one for value in node.value for one in scalars(value)]
    return [node]


def set_in_text(text: str, values: dict[str, str]) -> tuple[str, list[tuple[str, str, str, str]]]:
    """Return the text with every marked field set, and what changed: object, setter, old value, new value."""
    edits, changes = [], []
    for document in yaml.compose_all(text, yaml.SafeLoader):
        if document is None:
            continue
        name = (
            yaml.safe_load(text[document.start_mark.index : document.end_mark.index])
            .get("metadata", {})
            .get("name", "")
        )
        for node in scalars(document):
            rest = text[node.end_mark.index :].split("\n", 1)[0].strip()
            setter = setter_of(rest) if rest.startswith("#") else None
            if setter not in values or values[setter] == node.value:
                continue
            quote = node.style or ""
            edits.append((node.start_mark.index, node.end_mark.index, f"{quote}{values[setter]}{quote}"))
            changes.append((name, setter, node.value, values[setter]))
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text, changes


def update(folder: Path, policies: dict[str, str]) -> list[Change]:
    """Update the files below a folder as an ImageUpdateAutomation with the strategy Setters does.

    Args:
        policies: the image that each policy selects, by `namespace:name`.
    """
    values, found = setters(policies), []
    for file in sorted([*folder.rglob("*.yaml"), *folder.rglob("*.yml")]):
        text = file.read_text(encoding="utf-8")
        if TOKEN not in text:
            continue
        new, changes = set_in_text(text, values)
        if changes:
            file.write_text(new, encoding="utf-8")
        found += [Change(file, *change) for change in changes]
    return found


def kept_by_kyaml(text: str) -> list[str]:
    """Return the lines of a file that kyaml would write otherwise when it writes its tree anew.

    Blank lines get lost, comments move to one blank behind their value, lists keep the first one's indentation, and so on.
    """
    strange = []
    lines = text.split("\n")[:-1]
    for before, line in zip(["", *lines], lines):  # noqa: B905 - the first is longer by one
        if (
            not line.strip()
            or line != line.rstrip()
            or "\t" in line
            or re.search(r"\S\s{2,}#", line)
            or re.search(r"[\[{]\S|\S[\]}]", line.split(" #")[0])
            or re.search(r": [>|]", line)
            or line == "---"
        ) or (
            line.lstrip().startswith("- ")
            and before.rstrip().endswith(":")
            and len(line) - len(line.lstrip()) - (len(before) - len(before.lstrip())) != 2
        ):
            strange.append(line)
    return strange


def message(template: str, changes: list[Change]) -> str:
    """Render the commit message's template for changes.

    The few constructs of Go's templates that it may use are read as Jinja; anything else is an error.
    """
    known = {
        r"range \$(\w+), \$(\w+) := \.Changed\.Objects": r"for \1, \2 in Changed.items()",
        r"range \$(\w+)": r"for dot in \1",
        r"end": "endfor",
        r"\$(\w+)\.(Name|Kind|Namespace)": r"= \1.\2",
        r"\.(OldValue|NewValue|Setter)": r"= dot.\1",
    }

    def jinja(match: re.Match[str]) -> str:
        for go, own in known.items():
            if re.fullmatch(go, match[2].strip()):
                text = re.sub(go, own, match[2].strip())
                opening, closing = ("{{", "}}") if text.startswith("= ") else ("{%", "%}")
                return f"{opening}{match[1]} {text.removeprefix('= ')} {match[3]}{closing}"
        raise ValueError(f"{match[0]} is nothing that the controller's documentation knows")

    source = re.sub(r"\{\{(-?)(.*?)(-?)\}\}", jinja, template)
    objects: dict[Any, list[dict[str, str]]] = {}
    for change in changes:
        objects.setdefault(_Object(change.object), []).append(
            {"OldValue": change.old, "NewValue": change.new, "Setter": change.setter}
        )
    return (
        jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
        .from_string(source)
        .render(Changed=objects)
    )


@dataclass(frozen=True)
class _Object:
    Name: str
    Kind: str = "HelmRelease"
    Namespace: str = ""
