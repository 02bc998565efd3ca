"""Each object against the schema of its kind, as strictly as an API server that refuses unknown fields."""

from __future__ import annotations

import difflib
import json
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from kubernetes_validate.utils import InvalidSchemaError, VersionNotSupportedError, latest_version, schema_contents
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from .building import UNKNOWN
from .findings import CLUSTER_WIDE, Applied, Cluster, Findings, Object, mapping, mappings
from .reading import is_encrypted

# Of Flux's kinds, of Traefik's, and of what else the lab's own chart makes; a CustomResourceDefinition in Git goes before.
SCHEMAS = Path(__file__).resolve().parent / "schemas.json"
FLUX = ".toolkit.fluxcd.io"


def validate(cluster: Cluster, findings: Findings) -> None:
    """Find what the cluster would refuse: an unknown or misspelt field, a wrong type, a kind that is served no more, no namespace."""
    own = _definitions_in(cluster)
    for one in cluster.applied:
        title = f"{one.by}: {one.id}"
        if not one.id.name or not one.id.kind:
            findings.fault(
                one.by,
                f"it brings an object without {'a name' if one.id.kind else 'a kind'}, which Kubernetes refuses: {_short(one.thing)}",
            )
            continue
        if UNKNOWN in json.dumps(one.thing, default=str):
            findings.skip(f"{title}: it takes a variable that is not in Git")
            continue
        schema, scope = _schema(str(one.thing.get("apiVersion")), one.id.kind, own)
        if isinstance(schema, str):
            findings.fault(title, schema)
        elif schema is None:
            findings.skip(f"the fields of each {one.thing.get('apiVersion')} {one.id.kind}: no schema of it is here")
        else:
            for where, what in errors(schema, one.thing):
                findings.fault(title, f"{where}: {what}" if where else what)
        # Of a kind that is not built in, no schema says what metadata holds.
        for where, what in errors(_metadata(), mapping(one.thing.get("metadata"))):
            findings.fault(title, f"metadata.{where}: {what}" if where else f"metadata: {what}")
        if scope == "Namespaced" and not one.id.namespace:
            findings.fault(
                title,
                "it has no namespace, so Flux cannot apply it; write metadata.namespace, or namespace: in its kustomization.yaml",
            )
        _rules(one, title, findings)


def _short(thing: Object) -> str:
    return json.dumps(thing, default=str)[:80]


def errors(schema: Draft202012Validator, thing: Object) -> list[tuple[str, str]]:
    """Return what a schema has against an object: the path of the field, and why."""
    if is_encrypted(thing):
        # Flux takes SOPS's own part out when it decrypts.
        thing = {key: value for key, value in thing.items() if key != "sops"}
    found = []
    for error in schema.iter_errors(thing):
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path).lstrip(
            "."
        )
        message = error.message if len(error.message) < 300 else f"{error.message[:300]}…"
        found.append((where, message + _meant(error)))
    return sorted(found)


def _meant(error: ValidationError) -> str:
    """Return which field was probably meant where one is not known."""
    if error.validator != "additionalProperties" or not isinstance(error.instance, dict):
        return ""
    known = [name for name in mapping(error.schema.get("properties")) if name not in error.instance]
    near = [
        match
        for name in error.instance
        if name not in mapping(error.schema.get("properties"))
        for match in difflib.get_close_matches(str(name), known, n=1)
    ]
    return f"; did you mean {' and '.join(near)}?" if near else ""


def _rules(one: Applied, title: str, findings: Findings) -> None:
    """Check what Flux's schemas say in CEL, which no schema here carries."""
    if (
        one.id.kind == "HelmRelease"
        and one.id.group.endswith(FLUX)
        and ("chart" in one.spec) == ("chartRef" in one.spec)
    ):
        findings.fault(title, "it needs either spec.chart or spec.chartRef, and not both")


@lru_cache(maxsize=1)
def _shipped() -> Object:
    return mapping(json.loads(SCHEMAS.read_text(encoding="utf-8")))


@lru_cache(maxsize=1)
def _kubernetes() -> tuple[str, Registry[Any]]:
    version = latest_version()
    contents = schema_contents(f"kubernetes-json-schema/v{version}-local-strict/_definitions.json", version)
    return version, Registry().with_resource(
        "_definitions.json", Resource(contents=contents, specification=DRAFT202012)
    ).crawl()


@cache
def _built_in(api_version: str, kind: str) -> Draft202012Validator | None:
    group, _, number = api_version.rpartition("/")
    name = f"{kind}-{group.split('.')[0]}-{number}" if group else f"{kind}-{number}"
    version, registry = _kubernetes()
    try:
        schema = schema_contents(f"kubernetes-json-schema/v{version}-local-strict/{name.lower()}.json", version)
    except (OSError, InvalidSchemaError, VersionNotSupportedError):
        return None
    return Draft202012Validator(schema, registry=registry)


@lru_cache(maxsize=1)
def _metadata() -> Draft202012Validator:
    _, registry = _kubernetes()
    return Draft202012Validator(
        {"$ref": "_definitions.json#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}, registry=registry
    )


@cache
def _shipped_validator(key: str) -> Draft202012Validator:
    return Draft202012Validator(_shipped()[key])


def _schema(
    api_version: str, kind: str, own: dict[str, tuple[Draft202012Validator, str]]
) -> tuple[Draft202012Validator | str | None, str]:
    """Return a kind's validator, or why there is none: a text if that is a fault; and the kind's scope, empty if it is not known."""
    key, group = f"{api_version}/{kind}", api_version.rpartition("/")[0]
    scope = "Cluster" if kind in CLUSTER_WIDE else "Namespaced"
    if key in own:
        return own[key]
    if key in _shipped():
        return _shipped_validator(key), scope
    if group.endswith(FLUX):
        near = sorted(
            known.removesuffix(f"/{kind}")
            for known in _shipped()
            if known.startswith(f"{group}/") and known.endswith(f"/{kind}")
        )
        return f"Flux has no {kind} in {api_version}" + (f"; write {near[-1]}" if near else ""), scope
    if "." in group and not group.endswith(".k8s.io"):
        return None, ""
    found = _built_in(api_version, kind)
    if found is None and (not group or "." not in group):
        return f"Kubernetes has no {kind} in {api_version}; fix apiVersion or kind", scope
    return found, scope if found else ""


def _definitions_in(cluster: Cluster) -> dict[str, tuple[Draft202012Validator, str]]:
    """Return the schemas and scopes of the kinds that Git itself defines."""
    found = {}
    for one in cluster.of_kind("CustomResourceDefinition", group="apiextensions.k8s.io"):
        kind, scope = mapping(one.spec.get("names")).get("kind"), str(one.spec.get("scope"))
        for version in mappings(one.spec.get("versions")):
            schema = mapping(mapping(version.get("schema")).get("openAPIV3Schema"))
            if schema and version.get("served"):
                key = f"{one.spec.get('group')}/{version.get('name')}/{kind}"
                found[key] = (Draft202012Validator(_strict(schema, top=True)), scope)
    return found


def _strict(schema: Any, top: bool = False) -> Any:
    """Return a structural schema that refuses what the API server prunes: fields that it does not name."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: value if key in ("enum", "default", "required") else _strict(value) for key, value in schema.items()}
    if "properties" in schema and isinstance(schema["properties"], dict):
        found["properties"] = {name: _strict(one) for name, one in schema["properties"].items()}
        if "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            found["additionalProperties"] = False
    if top:
        free = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
        found["properties"] = {**found.get("properties", {}), **free}
    if schema.get("x-kubernetes-int-or-string"):
        found.pop("type", None)
        found["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if schema.get("nullable") and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
    return found
