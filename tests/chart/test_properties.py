"""Whatever the schema accepts renders, and what it renders is legal."""

from __future__ import annotations

from typing import Any

import pytest
from helm_python.errors import HelmError
from hypothesis import HealthCheck, Phase, given, note, settings

from tests.chart.support.api_rules import complaints
from tests.chart.support.consistent_values import settled
from tests.chart.support.drawn_values import Drawer
from tests.chart.support.rendering import SCHEMA, manifests, objects_of, render
from tests.support.depth import every
from tests.support.schemas import schema_errors

LONG = every()
# With the half and the six twentieths below: 216 in all, and 4,500 with LONG=1.
EXAMPLES = 2500 if LONG else 120
EVERYTHING = Drawer(SCHEMA, breadth=9).draw(SCHEMA)
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
