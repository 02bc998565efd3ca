"""Whatever the schema accepts renders, and what it renders is legal."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import yaml
from helm_python.errors import HelmError
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from tests.chart.support.api_rules import complaints
from tests.chart.support.consistent_values import settled
from tests.chart.support.drawn_values import Drawer
from tests.chart.support.releases import ARTICLE, merged
from tests.chart.support.rendering import DEFAULTS, SCHEMA, manifests, objects_of, render
from tests.support.depth import every
from tests.support.rendering import ROOT
from tests.support.schemas import schema_errors

LONG = every()
# With the half and the six twentieths below: 216 in all, and 4,500 with LONG=1.
EXAMPLES = 2500 if LONG else 120
EVERYTHING = Drawer(SCHEMA, breadth=9).draw(SCHEMA)
HARMLESS = yaml.safe_load((ROOT / "hooks/effects.yml").read_text(encoding="utf-8"))["not_in_pods"]
often = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=not LONG,
    # Looking for the least example takes minutes; the one that was found fails again every time.
    phases=list(Phase) if LONG else [Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@pytest.mark.slow(each_commit=True)
@often
@given(EVERYTHING)
def test_values_that_the_schema_accepts_and_that_agree_render_to_objects_that_the_cluster_accepts(drawn: Any) -> None:
    values = settled(drawn)
    note(values)
    objects = render(values)
    assert [error for thing in objects for error in schema_errors(thing)] == []
    assert complaints(objects) == []


@settings(often, max_examples=EXAMPLES // 2)
@given(EVERYTHING)
@pytest.mark.slow
def test_values_that_the_schema_accepts_and_that_contradict_one_another_are_refused_by_name(drawn: Any) -> None:
    try:
        objects = render({**drawn, "extraObjects": []})
    except HelmError as error:
        problems = str(error).partition("cannot work:\n")[2].strip().splitlines()
        assert problems, f"refused, but not by a check of the chart: {error}"
        for problem in problems:
            value = problem.removeprefix("  - ").removeprefix("- ")
            assert value.split(".")[0].split("[")[0].split(":")[0].split(" ")[0] in SCHEMA["properties"], problem
    else:
        assert complaints(objects) == []


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize("name", ["demo", "a", "2048", "my.app", "x" * 53, "a" * 52 + "1"])
@settings(often, max_examples=max(5, EXAMPLES // 20))
@given(EVERYTHING)
def test_rendering_twice_gives_the_same_text_whatever_the_release_is_called(name: str, drawn: Any) -> None:
    values = {**settled(drawn), "fullnameOverride": "app-2048"} if name[0].isdigit() else settled(drawn)
    first = manifests(values, name=name)
    assert manifests(values, name=name) == first
    assert complaints(objects_of(first)) == []


@pytest.mark.slow
def test_pods_depend_on_each_value_but_those_that_the_update_calls_harmless() -> None:
    """An update without Helm knows from hooks/effects.yml after which values no pod is replaced."""
    base = settled(merged(ARTICLE, {"image": {"imagePolicy": False}}))
    unseen = set(DEFAULTS) - set(HARMLESS)
    one_value = st.sampled_from(sorted(unseen)).flatmap(
        lambda name: Drawer(SCHEMA, breadth=9).draw(SCHEMA["properties"][name]).map(lambda drawn: (name, drawn))
    )

    @settings(often, max_examples=1000, derandomize=True, phases=[Phase.generate])
    @given(one_value)
    def look(value: tuple[str, Any]) -> None:
        name, drawn = value
        if name in unseen:
            with contextlib.suppress(HelmError):
                values = settled({**base, name: drawn})
                without = {other: one for other, one in values.items() if other != name}
                if name in base:
                    without[name] = base[name]
                if pods(values) != pods(without):
                    unseen.discard(name)

    look()
    assert unseen == set()


def pods(values: Any) -> list[Any]:
    """Return what pods are made from, and the name of what makes them."""
    workloads = [thing for thing in render(values) if thing["kind"] in ("Deployment", "StatefulSet")]
    return [(thing["kind"], thing["metadata"]["name"], thing["spec"]["template"]) for thing in workloads]
