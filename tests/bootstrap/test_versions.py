"""Versions: their order, and the stops that an upgrade of GitLab has to make."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.program import versions


@pytest.mark.parametrize(
    ("have", "want", "answer"),
    [
        ("1.2.3", "1.2.3", True),
        ("1.2.10", "1.2.9", True),
        ("1.9", "1.10", False),
        ("v2.9.4", "2.9.4", True),
        ("2.8.9", "v2.9.0", False),
        ("git version 2.39.5", "2.20", True),
        ("jq-1.6", "1.6", True),
        ("v4.1.3+g1234567", "3.14", True),
        ("19.08.09", "19.8.9", True),
    ],
)
def test_versions_are_compared_as_numbers(have: str, want: str, answer: bool) -> None:
    assert versions.at_least(have, want) is answer


@pytest.mark.parametrize(
    ("before", "after", "stops"),
    [
        ("19.3.0", "19.3.4", []),
        ("19.3.0", "19.5.0", []),
        ("19.3.0", "19.6.0", ["19.5"]),
        ("19.2.4", "19.9.1", ["19.5", "19.8"]),
        ("19.10.1", "20.0.0", ["19.11"]),
        ("19.11.2", "20.2.0", []),
        ("18.11.0", "20.3.0", ["19.2", "19.5", "19.8", "19.11", "20.2"]),
        ("19.3.0-ce.0", "19.8.0-ce.0", ["19.5"]),
    ],
)
def test_an_upgrade_stops_where_gitlab_requires_it(before: str, after: str, stops: list[str]) -> None:
    """https://docs.gitlab.com/update/upgrade_paths/"""
    assert versions.required_stops(before, after) == stops


minor = st.tuples(st.integers(18, 21), st.integers(0, 11))


@settings(max_examples=200, deadline=None)
@given(minor, minor)
def test_going_from_stop_to_stop_is_always_allowed(one: tuple[int, int], other: tuple[int, int]) -> None:
    before, after = sorted([one, other])
    ends = [".".join(map(str, end)) for end in (before, after)]
    path = [ends[0], *versions.required_stops(*ends), ends[1]]
    assert [step for step in itertools.pairwise(path) if versions.required_stops(*step)] == []
    assert [p for p in path[1:-1] if int(p.split(".")[1]) not in versions.STOPS] == []
