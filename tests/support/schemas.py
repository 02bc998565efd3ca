"""Strict schemas: Kubernetes' from the package kubernetes-validate, custom resources' from tests/schemas/."""

from __future__ import annotations

import json
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

# The newest that has a published schema, and the oldest that the lab's Flux takes.
KUBERNETES, OLDEST_KUBERNETES = "1.37", "1.33"
FOLDER = Path(__file__).resolve().parent.parent / "schemas"
# apiVersions that the newest Flux and Kubernetes no longer serve, or will not for long.
SERVED = {
    "source.toolkit.fluxcd.io": {"v1"},
    "kustomize.toolkit.fluxcd.io": {"v1"},
    "helm.toolkit.fluxcd.io": {"v2"},
    "image.toolkit.fluxcd.io": {"v1"},
    "notification.toolkit.fluxcd.io": {"v1", "v1beta3"},
}


@lru_cache(maxsize=2)
def _definitions(release: str) -> Registry[Any]:
    contents = schema_contents(f"kubernetes-json-schema/v{release}.0-local-strict/_definitions.json", release)
    # Crawled once: otherwise every reference is looked up anew, for each object.
    return Registry().with_resource("_definitions.json", Resource(contents, DRAFT202012)).crawl()


@cache
def validator(api_version: str, kind: str, release: str = KUBERNETES) -> Draft202012Validator:
    """Return the strict validator of a kind.

    Raises:
        FileNotFoundError: nobody publishes a schema of that kind, or it is missing from tests/schemas/.
    """
    group, _, version = api_version.rpartition("/")
    custom = FOLDER / group / f"{kind.lower()}_{version}.json"
    if custom.exists():
        return Draft202012Validator(json.loads(custom.read_text(encoding="utf-8")))
    if "." in group and not group.endswith(".k8s.io"):
        raise FileNotFoundError(f"no schema of {api_version} {kind} in tests/schemas/")
    name = f"{kind}-{group.split('.')[0]}-{version}" if group else f"{kind}-{version}"
    schema = schema_contents(f"kubernetes-json-schema/v{release}.0-local-strict/{name.lower()}.json", release)
    return Draft202012Validator(schema, registry=_definitions(release))


def schema_errors(thing: dict[str, Any], release: str = KUBERNETES) -> list[str]:
    """Return what a strict API server of a release of Kubernetes would say against the object."""
    group, _, version = thing["apiVersion"].rpartition("/")
    if version not in SERVED.get(group, {version}):
        return [f"{thing['apiVersion']} is not served any more"]
    return [
        f"{thing['kind']} {thing['metadata']['name']}: {'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"
        for error in validator(thing["apiVersion"], thing["kind"], release).iter_errors(thing)
    ]
