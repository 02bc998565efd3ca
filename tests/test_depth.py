"""Which tests a run takes: what `make test` leaves out, CI draws by the commit, and LONG=1 runs all of it."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.depth import DRAW, SHARE, left_out

CASES = [f"tests/test_x.py::test_slow[{number}]" for number in range(60)]


@pytest.fixture
def items() -> list[Any]:
    mark = SimpleNamespace(kwargs={"keep": 3})
    cases = [
        SimpleNamespace(nodeid=name, path="x", originalname="test_slow", get_closest_marker={"deep": mark}.get)
        for name in CASES
    ]
    return [
        *cases,
        SimpleNamespace(
            nodeid="slow", path="x", originalname="slow", get_closest_marker={"slow": SimpleNamespace(kwargs={})}.get
        ),
        SimpleNamespace(nodeid="quick", path="x", originalname="quick", get_closest_marker={}.get),
    ]


def names(items: list[Any], **config: Any) -> list[str]:
    found = SimpleNamespace(
        option=SimpleNamespace(keyword=config.get("keyword", "")), args=config.get("args", ["tests"])
    )
    return [item.nodeid for item in left_out(found, items)]  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LONG", "REQUIRE_TOOLS"):
        monkeypatch.delenv(name, raising=False)


def test_make_test_keeps_the_first_cases_and_what_is_quick(items: list[Any]) -> None:
    assert names(items) == [*CASES[3:], "slow"]


def test_ci_draws_a_part_by_the_commit_and_all_are_drawn_in_time(
    items: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUIRE_TOOLS", "1")
    never = set(CASES)
    for number in range(100):
        monkeypatch.setenv(DRAW, hashlib.sha1(str(number).encode()).hexdigest())
        without = names(items)
        assert "slow" not in without
        assert without == names(items) and not set(CASES[:3]) & set(without)
        assert 57 * (1 - 3 / SHARE) < len(without) < 57
        never &= set(without)
    assert not never


def test_all_run_with_long_and_what_is_asked_for_by_name_does(
    items: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert names(items, keyword="slow") == names(items, args=["tests/test_x.py::test_slow[9]"]) == []
    monkeypatch.setenv("LONG", "1")
    assert names(items) == []
