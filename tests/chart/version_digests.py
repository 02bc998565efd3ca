"""Writes down which content each version of the chart stands for: versions.json beside this file.

python tests/chart/version_digests.py               the version that Chart.yaml names, once
python tests/chart/version_digests.py --unreleased  again, while no owner has that version
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import yaml

CHART = Path(__file__).resolve().parents[2] / "template" / "charts" / "app"
VERSIONS = Path(__file__).resolve().parent / "versions.json"


def digest(chart: Path = CHART) -> str:
    """Return the SHA-256 of the chart: every file's path and content, in the order of the paths."""
    whole = hashlib.sha256()
    for file in sorted(
        (file for file in chart.rglob("*") if file.is_file()), key=lambda file: file.relative_to(chart).as_posix()
    ):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        whole.update(f"{file.relative_to(chart).as_posix()} {content}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def versions() -> dict[str, str]:
    return json.loads(VERSIONS.read_text(encoding="utf-8")) if VERSIONS.exists() else {}


def main(arguments: list[str]) -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["version"]
    known = versions()
    if known.get(version, digest()) != digest() and "--unreleased" not in arguments:
        sys.exit(f"{version} stands for another content already: raise `version` in {CHART / 'Chart.yaml'} first")
    VERSIONS.write_text(json.dumps({**known, version: digest()}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
