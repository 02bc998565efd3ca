"""Flux 2.7 renders with Helm 3.19, Flux 2.8 and later with Helm 4: the objects are the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.chart.support import helm3 as helms
from tests.chart.support.consistent_values import settled
from tests.chart.support.drawn_values import Drawer
from tests.chart.support.releases import ARTICLE, GITLAB, LEAST, REFUSED, STATEFUL, Values, merged
from tests.chart.support.rendering import SCHEMA, refusal, render
from tests.support.cluster import documents
from tests.support.depth import every

EXAMPLES = 200 if every() else 15
Helm3 = helms.CommandLine | helms.Server


@pytest.fixture(scope="module", params=["3.17", "3.19"])
def helm3(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helm3]:
    """Return the Helm of Flux 2.7, and one that runs on every platform."""
    if request.param == "3.19" and not helms.PROGRAM.exists():
        pytest.skip("Helm 3.19 comes in a package for Linux on x86-64 only")
    helm = helms.CommandLine() if request.param == "3.17" else helms.Server(tmp_path_factory.mktemp("helm-3.19"))
    yield helm
    helm.close()


def test_one_of_these_is_the_helm_of_flux_2_7(helm3: Helm3) -> None:
    assert helm3.version().startswith("v3.19." if isinstance(helm3, helms.Server) else "v3.")


def in_order(objects: list[Any]) -> list[Any]:
    return sorted(objects, key=lambda thing: (thing["kind"], thing["metadata"]["name"]))


def agree(helm3: Helm3, values: Values) -> None:
    """Check that both render the same objects, hooks included; Helm 3 sees a cluster with the kinds that Helm 4 rendered."""
    wanted = render(values)
    answer = helm3.template(values, {(thing["apiVersion"], thing["kind"]) for thing in wanted})
    assert answer.refusal == ""
    assert in_order(documents(answer.manifests)) == in_order(wanted)


@pytest.mark.parametrize("values", [ARTICLE, GITLAB, STATEFUL], ids=["article", "gitlab", "stateful"])
def test_helm_3_makes_the_objects_that_helm_4_makes(helm3: Helm3, values: Values) -> None:
    agree(helm3, values)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(Drawer(SCHEMA, breadth=9).draw(SCHEMA))
@pytest.mark.slow(keep=1)
def test_helm_3_and_helm_4_agree_on_whatever_the_schema_accepts(helm3: Helm3, drawn: Any) -> None:
    agree(helm3, settled(drawn))


# One of each kind of refusal: by the schema, and by each family of checks.
REFUSED_BY_BOTH: dict[str, Any] = {
    "misspelt": {"image": {"repositroy": "x"}},
    "missing": {"services": [{"name": "http"}]},
    "mistyped": {"replicas": "two"},
    **{what: REFUSED[what][0] for what in list(REFUSED)[::12]},
}


@pytest.mark.parametrize("what", REFUSED_BY_BOTH)
def test_helm_3_and_helm_4_refuse_the_same_values_by_the_same_name(helm3: Helm3, what: str) -> None:
    values = merged(LEAST, REFUSED_BY_BOTH[what])
    three, four = helm3.template(values, ()).refusal, refusal(values)
    checks = re.findall(r"^  - .*", four, re.MULTILINE)
    if "cannot work" in four:
        assert checks == re.findall(r"^  - .*", three, re.MULTILINE)
    else:
        name = {"misspelt": "repositroy", "missing": "servicePort", "mistyped": "replicas"}[what]
        assert name in three and name in four
