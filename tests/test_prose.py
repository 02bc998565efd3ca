"""What owners and contributors read has few of the words that make sentences hard to read (docs/tools/prose.py)."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest

from tests.support.rendering import ROOT

# In 1,000 words. A new text may have one; a habit fails.
LIMITS = {"stand": 0.3, "of its own": 0.3, "where for if": 1.0, "whoever": 0.3}


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prose", ROOT / "docs/tools/prose.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["prose"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


prose = _load()
COUNTS = prose.counts(list(prose.texts()))


@pytest.mark.parametrize("kind", sorted(COUNTS))
def test_no_kind_of_text_has_more_of_these_words_than_its_limit(kind: str) -> None:
    assert COUNTS[kind]["words"] > 1000
    above = {name: round(COUNTS[kind][name], 2) for name, limit in LIMITS.items() if COUNTS[kind][name] > limit}
    assert above == {}, "docs/tools/prose.py --where names each place, and its first lines what to write instead"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("The port stands in values.yaml.", "stand"),
        ("A runner of its own builds it.", "of its own"),
        ("Where there is no runner, nothing builds.", "where for if"),
        ("The label is set where the lab has a runner.", "where for if"),
        ("Whoever reads it knows more.", "whoever"),
    ],
)
def test_such_a_word_is_counted(text: str, name: str) -> None:
    assert [found for found, pattern in prose.WORDS.items() if pattern.search(text)] == [name]


@pytest.mark.parametrize(
    "text",
    [
        "A stand-in answers.",
        "It says where the file is.",
        "The folder where it is; that is where it goes.",
        "Its own name.",
        "Where it is",
    ],
)
def test_a_place_and_a_stand_in_are_not_counted(text: str) -> None:
    assert [found for found, pattern in prose.WORDS.items() if pattern.search(text)] == []
