"""The markers by which Flux writes new image tags, and the policies that they name."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from .findings import Applied, Cluster, Findings, Identity, mapping
from .reading import one_line

IMAGE = "image.toolkit.fluxcd.io"
TOKEN = '"$imagepolicy"'
FORM = 'tag: 1.0.0 # {"$imagepolicy": "flux-system:NAME:tag"}'


@dataclass(frozen=True)
class Marker:
    """A field with a marker.

    Attributes:
        policy: the namespace and name of its image policy.
        part: `tag`, `name`, `digest`, or empty for a whole image.
        image: the image that the field belongs to, if the file says so: of a tag, what `repository` beside it says.
    """

    line: int
    policy: tuple[str, str]
    part: str
    image: str | None


def check(root: Path, cluster: Cluster, findings: Findings) -> None:
    """Find markers that Flux passes over, or that would write one application's tag into another's."""
    policies = {(one.id.namespace, one.id.name): one for one in cluster.of_kind("ImagePolicy", group=IMAGE)}
    for folder in _written(cluster):
        for file in sorted([*(root / folder).rglob("*.yaml"), *(root / folder).rglob("*.yml")]):
            _file(file, file.relative_to(root), policies, cluster, findings)


def _written(cluster: Cluster) -> list[str]:
    """Return the folders in which Flux writes tags."""
    paths = [
        str(mapping(one.spec.get("update")).get("path") or ".")
        for one in cluster.of_kind("ImageUpdateAutomation", group=IMAGE)
    ]
    return list(dict.fromkeys(path.strip("/").removeprefix("./") or "." for path in paths))


def _file(
    file: Path, shown: Path, policies: dict[tuple[str, str], Applied], cluster: Cluster, findings: Findings
) -> None:
    text = file.read_text(encoding="utf-8", errors="replace")
    if TOKEN not in text:
        return
    try:
        found = markers(text)
    except yaml.YAMLError as error:
        findings.fault(str(shown), f"this is no YAML that Flux can read: {one_line(error)}")
        return
    lines = {marker.line for marker in found}
    for number, line in enumerate(text.splitlines(), 1):
        if TOKEN in line and number not in lines and not line.lstrip().startswith("#"):
            findings.fault(
                f"{shown}:{number}", f"Flux passes this marker over; it stands behind a value, as a comment: {FORM}"
            )
    for marker in found:
        _marker(marker, f"{shown}:{marker.line}", policies, cluster, findings)


def _marker(
    marker: Marker, where: str, policies: dict[tuple[str, str], Applied], cluster: Cluster, findings: Findings
) -> None:
    name = ":".join(marker.policy)
    if marker.part not in ("", "tag", "name", "digest"):
        findings.fault(where, f"the marker asks for `{marker.part}` of {name}; Flux knows tag, name and digest")
    policy = policies.get(marker.policy)
    if policy is None and not cluster.sees(marker.policy[0]):
        findings.skip(f"{where}: whether there is an image policy {name}")
        return
    if policy is None:
        known = [":".join(other) for other in policies]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5) or (known if len(known) == 1 else [])
        findings.fault(
            where,
            f"the marker names {name}, and there is no such image policy, so the tag never changes"
            + (
                f"; did you mean {near[0]}? A release's policy is called like its Helm release"
                if near
                else "; set imagePolicy: true in the release"
            ),
        )
        return
    ref = mapping(policy.spec.get("imageRepositoryRef"))
    wanted = Identity(IMAGE, "ImageRepository", str(ref.get("namespace") or policy.id.namespace), str(ref.get("name")))
    repository = next((one for one in cluster.applied if one.id == wanted), None)
    scanned = repository.spec.get("image") if repository else None
    if marker.image and scanned and marker.image != scanned:
        findings.fault(
            where,
            f"the marker names {name}, whose images are {scanned}, and stands at {marker.image}; name that image's own policy",
        )


def markers(text: str) -> list[Marker]:
    """Return the markers of a YAML text as Flux reads them: a comment behind a value that is one JSON object.

    Raises:
        yaml.YAMLError: the text is no YAML.
    """
    found: list[Marker] = []
    for document in yaml.compose_all(text, yaml.SafeLoader):
        if document is not None:
            _walk(document, None, text, found)
    return found


def _walk(node: yaml.Node, beside: yaml.MappingNode | None, text: str, found: list[Marker]) -> None:
    if isinstance(node, yaml.MappingNode):
        for _, value in node.value:
            _walk(value, node, text, found)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _walk(value, None, text, found)
    elif isinstance(node, yaml.ScalarNode):
        setter = _setter(text[node.end_mark.index :].split("\n", 1)[0].strip())
        if setter is not None:
            namespace, _, rest = setter.partition(":")
            name, _, part = rest.partition(":")
            found.append(Marker(node.start_mark.line + 1, (namespace, name), part, _image(node, beside, part)))


def _setter(comment: str) -> str | None:
    """Return what a comment sets (kyaml, fieldmeta: the comment without its `#` is JSON)."""
    if not comment.startswith("#"):
        return None
    try:
        read = json.loads(comment.lstrip("#"))
    except json.JSONDecodeError:
        return None
    value = read.get("$imagepolicy") if isinstance(read, dict) else None
    return value if isinstance(value, str) else None


def _image(node: yaml.ScalarNode, beside: yaml.MappingNode | None, part: str) -> str | None:
    value = str(node.value)
    if part == "name":
        return value
    if part == "":
        name = value.split("@", 1)[0]
        return name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
    siblings = (
        {key.value: other.value for key, other in beside.value if isinstance(other, yaml.ScalarNode)} if beside else {}
    )
    image = siblings.get("repository") or siblings.get("newName") or siblings.get("name")
    registry = siblings.get("registry")
    return f"{registry}/{image}" if registry and image else image
