"""Measures how long Helm 4 takes, in this process, for one application and for labs of many.

python tests/chart/bench.py
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from helm_python import Chart

from tests.chart.support.releases import ARTICLE, GITLAB, HTTP, LEAST, merged
from tests.chart.support.rendering import CHART, manifests

ORDINARY = merged(
    LEAST,
    {
        "image": {"registrySecret": "regcred", "imagePolicy": True},
        "services": [HTTP],
        "ingress": {"enabled": True, "hosts": [{"name": "demo.lab.example.com"}]},
    },
)


def milliseconds(work: Callable[[], object], times: int = 50) -> tuple[float, float]:
    """Return the best and the median of several runs, after three that do not count."""
    taken = []
    for number in range(times + 3):
        start = time.perf_counter()
        work()
        if number >= 3:
            taken.append((time.perf_counter() - start) * 1000)
    return min(taken), statistics.median(taken)


def lab(count: int) -> None:
    """Render as many applications, each under its own name."""
    for number in range(count):
        manifests(ORDINARY, name=f"app-{number}")


def without_schema(folder: Path) -> Chart:
    """Return the chart as Helm has it after it has checked the values: it compiles the schema at every render."""
    shutil.copytree(CHART, folder / "app")
    (folder / "app/values.schema.json").unlink()
    return Chart.load(folder / "app")


def main() -> None:
    """Print one line a measurement: milliseconds, the best and the median."""
    with tempfile.TemporaryDirectory() as folder:
        plain = without_schema(Path(folder))
        for what, values in {
            "an ordinary application": ORDINARY,
            "the article's GitLab": ARTICLE,
            "the lab's GitLab": GITLAB,
        }.items():
            best, median = milliseconds(lambda values=values: plain.render(values, name="demo", namespace="apps"))
            whole, _ = milliseconds(lambda values=values: manifests(values))
            print(
                f"chart: {what}: {best:.1f} ms, median {median:.1f} ms; {whole:.1f} ms with its values checked against the schema"
            )
    for count in (1, 10, 50, 100):
        best, _ = milliseconds(lambda count=count: lab(count), times=3)
        print(f"chart: {count} applications: {best:.0f} ms, {best / count:.1f} ms each")


if __name__ == "__main__":
    main()
