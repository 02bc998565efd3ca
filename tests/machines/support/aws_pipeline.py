"""The pipeline of the project for infrastructure, as GitLab merges it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


class Loader(yaml.SafeLoader):
    """Reads GitLab's `!reference` as a list."""


Loader.add_constructor("!reference", lambda loader, node: loader.construct_sequence(node))


def jobs(lab: Path) -> dict[str, Any]:
    return yaml.load((lab / "iac" / ".gitlab-ci.yml").read_text(), Loader)


def merged(pipeline: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a job with what it extends: hashes are merged, lists replaced (docs.gitlab.com/ci/yaml/#extends)."""
    job = pipeline[name]
    base = pipeline[job["extends"]] if "extends" in job else {}
    variables = base.get("variables", {}) | job.get("variables", {})
    return base | job | {"variables": variables}
