"""Compares what two versions of the chart render, byte for byte: for a change of its templates that should change nothing.

    python tests/chart/compare.py REVISION [--draws 500] [--show 5] [--only-drawn]

REVISION is a commit, a branch or a tag whose chart is the old one; the new one is this working tree's. Compared are the releases of every
lab in tests/answers/valid, the article's values, and drawn values: half of them agree with each other and render, half are as the
schema lets them be, so that refusals are compared too. The chart's version, which is in a label, counts as equal; so does a template's folder.
"""

from __future__ import annotations

import argparse
import difflib
import io
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from helm_python import Chart
from helm_python.errors import HelmError
from hypothesis import HealthCheck, Phase, given, settings

from tests.chart.support.consistent_values import settled
from tests.chart.support.drawn_values import Drawer
from tests.chart.support.releases import ARTICLE, GITLAB, LEAST, REFUSED, STATEFUL, Values, merged
from tests.chart.support.rendering import CHART, SCHEMA
from tests.support.cluster import read_lab
from tests.support.rendering import ROOT, VALID, copy_lab, read_answers, recorded_answers, snapshot

VERSION = re.compile(r"^version:.*$", re.MULTILINE)
# Helm says first in which template it met a refusal, and where.
REFUSAL = re.compile(r"^.*?cannot work:", re.DOTALL)


@dataclass(frozen=True)
class Release:
    """What is rendered: the values, and the release's name and namespace."""

    what: str
    values: Values
    name: str = "demo"
    namespace: str = "apps"


def chart_at(revision: str, folder: Path) -> Path:
    """Write the chart of a commit, with the version of the working tree's, into the folder, and return its path."""
    inside = CHART.relative_to(ROOT).as_posix()
    archive = subprocess.run(["git", "archive", revision, inside], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder)
    manifest = folder / inside / "Chart.yaml"
    version = VERSION.search((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert version, "Chart.yaml names no version"
    manifest.write_text(VERSION.sub(version[0], manifest.read_text(encoding="utf-8")), encoding="utf-8")
    return folder / inside


def texts(chart: Chart, release: Release) -> dict[str, str]:
    """Return what each template renders, by the name of its file, or the refusal."""
    try:
        files = chart.render(release.values, name=release.name, namespace=release.namespace)
    except HelmError as error:
        return {"refusal": REFUSAL.sub("", str(error))}
    return {Path(name).name: text for name, text in files.items() if text.strip()}


def difference(before: Mapping[str, str], after: Mapping[str, str], release: Release) -> str:
    """Return how two renderings of a release differ; nothing, if they are the same byte for byte."""
    if before == after:
        return ""
    lines = [f"{release.what}: {release.values}"]
    for name in sorted(before.keys() | after.keys()):
        sides = [side.get(name, "").splitlines() for side in (before, after)]
        lines += difflib.unified_diff(*sides, f"old {name}", f"new {name}", lineterm="")
    return "\n".join(lines)


def of_labs(folder: Path) -> Iterator[Release]:
    """Yield every release of every lab that the tests know."""
    template = snapshot(folder / "template")
    for file in VALID:
        path = folder / file.stem
        copy_lab(template, path, read_answers(file), skip_tasks=True)
        lab = read_lab(path, recorded_answers(path))
        for title, values in lab.values.items():
            namespace, name = title.split("/")
            yield Release(f"{file.stem}: {title}", values, name, namespace)


def written_down() -> Iterator[Release]:
    """Yield the releases of the chart's own tests."""
    for what, values in {"article": ARTICLE, "gitlab": GITLAB, "least": LEAST, "stateful": STATEFUL}.items():
        yield Release(what, values)
        yield Release(f"{what}, checked", merged(values, {"check": {"of": "other"}, "command": ["true"]}))
    for what, (values, _, _) in REFUSED.items():
        yield Release(f"refused: {what}", merged(LEAST, values))


def drawn(count: int, look: Callable[[Release], None]) -> None:
    """Let *look* see as many drawn releases, the same ones in each run."""
    anything = Drawer(SCHEMA, breadth=9).draw(SCHEMA)
    often = settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    seen = 0

    @often
    @given(anything)
    def each(values: Any) -> None:
        nonlocal seen
        seen += 1
        look(Release(f"drawn {seen}", settled(values) if seen % 2 else values))

    each()


def main() -> None:
    """Print what differs, and how much was compared."""
    parser = argparse.ArgumentParser(description="Compare what two versions of the chart render, byte for byte.")
    parser.add_argument("revision", help="the commit, branch or tag whose chart is the old one")
    parser.add_argument("--draws", type=int, default=500, help="how many drawn values (default: %(default)s)")
    parser.add_argument("--show", type=int, default=5, help="how many of each kind to show (default: %(default)s)")
    parser.add_argument("--only-drawn", action="store_true", help="leave out the labs, which have to be rendered first")
    arguments = parser.parse_args()
    counts = {"rendered": 0, "refused": 0}
    otherwise: list[str] = []
    in_other_words: list[str] = []
    with (
        tempfile.TemporaryDirectory() as name,
        Chart.load(CHART) as new,
        Chart.load(chart_at(arguments.revision, Path(name) / "old")) as old,
    ):

        def look(release: Release) -> None:
            before, after = texts(old, release), texts(new, release)
            counts["refused" if "refusal" in after else "rendered"] += 1
            if found := difference(before, after, release):
                both_refuse = "refusal" in before and "refusal" in after
                (in_other_words if both_refuse else otherwise).append(found)

        for release in written_down():
            look(release)
        if not arguments.only_drawn:
            for release in of_labs(Path(name)):
                look(release)
        drawn(arguments.draws, look)
    print("\n\n".join([*otherwise[: arguments.show], *in_other_words[: arguments.show]]))
    print(
        f"{counts['rendered']} releases rendered and {counts['refused']} refused. Compared with {arguments.revision}, "
        f"{len(otherwise)} differ, and {len(in_other_words)} are refused in other words."
    )
    sys.exit(1 if otherwise or in_other_words else 0)


if __name__ == "__main__":
    main()
