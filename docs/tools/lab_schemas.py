"""Writes the schemas that a lab's own check takes along, in one file, from those that the tests use.

python docs/tools/lab_schemas.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
SCHEMAS = ROOT / "tests/schemas"
TARGET = ROOT / "template/.gitlab/checks/schemas.json"
LEFT_OUT = {"gateway.networking.k8s.io", "cert-manager.io/clusterissuer_v1", "cert-manager.io/issuer_v1"}
KINDS = (
    "Alert Bucket Certificate ExternalArtifact GitRepository HelmChart HelmChartConfig HelmRelease HelmRepository ImagePolicy ImageRepository"
    " ImageUpdateAutomation IngressRoute IngressRouteTCP IngressRouteUDP Kustomization Middleware MiddlewareTCP OCIRepository Provider Receiver"
    " ServersTransport ServersTransportTCP TLSOption TLSStore TraefikService"
).split()


def without_descriptions(schema: Any) -> Any:
    """Return a schema without its texts, which are most of it."""
    if isinstance(schema, list):
        return [without_descriptions(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: without_descriptions(value)
        for key, value in schema.items()
        if not (key == "description" and isinstance(value, str))
    }


def shipped() -> str:
    """Return the file's text: a JSON object of schemas by `apiVersion/kind`, one a line."""
    kinds = {kind.lower(): kind for kind in KINDS}
    lines = []
    for file in sorted(SCHEMAS.rglob("*.json")):
        group, (kind, _, version) = file.parent.name, file.stem.rpartition("_")
        if group in LEFT_OUT or f"{group}/{file.stem}" in LEFT_OUT:
            continue
        schema = without_descriptions(json.loads(file.read_text(encoding="utf-8")))
        lines.append(
            f"{json.dumps(f'{group}/{version}/{kinds[kind]}')}: {json.dumps(schema, separators=(',', ':'), sort_keys=True)}"
        )
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    TARGET.write_text(shipped(), encoding="utf-8")
