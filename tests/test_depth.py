"""Which tests a run takes: what `make test` leaves out, CI draws by the commit, and LONG=1 runs all of it."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.depth import DRAW, SHARES, left_out

CASES = [f"tests/test_x.py::test_slow[{number}]" for number in range(240)]
SLOW = [f"tests/test_x.py::test_slow_too[{number}]" for number in range(240)]


def case(name: str, test: str, group: str = "", **marks: dict[str, Any]) -> Any:
    found = {mark: SimpleNamespace(kwargs=settings, args=[]) for mark, settings in marks.items()}
    if group:
        found["xdist_group"] = SimpleNamespace(kwargs={}, args=[group])
    return SimpleNamespace(nodeid=name, path="/x/tests/test_x.py", originalname=test, get_closest_marker=found.get)


def world(number: int) -> list[Any]:
    """Return the two tests of a world."""
    return [case(f"{number}-{part}", f"test_{part}", group=f"world-{number}", world={}) for part in "ab"]


@pytest.fixture
def items() -> list[Any]:
    return [
        *(case(name, "test_slow", deep={"keep": 3}) for name in CASES),
        *(case(name, "test_slow_too", slow={}) for name in SLOW),
        case("picture", "picture", slow={"each_commit": True}),
        case("quick", "quick"),
    ]


def names(items: list[Any], **config: Any) -> list[str]:
    found = SimpleNamespace(
        option=SimpleNamespace(keyword=config.get("keyword", "")), args=config.get("args", ["tests"])
    )
    return [item.nodeid for item in left_out(found, items)]  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LONG", "REQUIRE_TOOLS", "CLUSTER_TESTS"):
        monkeypatch.delenv(name, raising=False)


def test_make_test_keeps_the_first_cases_and_what_is_quick(items: list[Any]) -> None:
    assert set(names(items)) == {*CASES[3:], *SLOW, "picture"}


def test_ci_draws_a_part_by_the_commit_and_all_are_drawn_in_time(
    items: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUIRE_TOOLS", "1")
    never = {*CASES[3:], *SLOW}
    for number in range(300):
        monkeypatch.setenv(DRAW, hashlib.sha1(str(number).encode()).hexdigest())
        without = names(items)
        assert without == names(items) and not {*CASES[:3], "picture", "quick"} & set(without)
        for others, share in ((CASES[3:], SHARES["deep"]), (SLOW, SHARES["slow"])):
            left = set(without) & set(others)
            assert len(others) * (1 - 3 / share) < len(left) < len(others)
        never &= set(without)
    assert not never


def test_of_the_worlds_one_is_drawn_as_a_whole_and_each_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER_TESTS", "all")
    items = [case("quick", "quick", group="another"), *(one for number in range(13) for one in world(number))]
    never = set(range(13))
    for number in range(100):
        monkeypatch.setenv(DRAW, str(number))
        without = names(items, args=["tests/test_x.py"])
        left = {int(name.partition("-")[0]) for name in without}
        assert len(without) == 2 * len(left) and len(left) == 13 - 1
        never &= left
    assert not never
    monkeypatch.setenv("CLUSTER_TESTS", "named")
    assert names(items, args=["tests/test_x.py"]) == []


def test_all_run_with_long_and_what_is_asked_for_by_name_does(
    items: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert names(items, args=["tests/test_x.py"]) == []
    assert names(items, keyword="slow") == names(items, args=["tests/test_x.py::test_slow[9]"]) == []
    monkeypatch.setenv("LONG", "1")
    assert names(items) == []
