"""The lab's chart, and its version."""

from __future__ import annotations

import re

CHART = "charts/app"


def version(text: str) -> str:
    """Return the version that a Chart.yaml names."""
    found = re.search(r"^version:\s*[\"']?([^\"'\s]+)", text, re.MULTILINE)
    return found[1] if found else "unknown"
