"""The picture in the README is what the wizard shows today."""

from __future__ import annotations

import importlib.util

import pytest

from tests.support.rendering import ROOT
from tests.support.tools import tool


@pytest.mark.slow(each_commit=True)
def test_the_picture_of_the_wizard_is_fresh() -> None:
    """Otherwise: python docs/tools/wizard_picture.py."""
    tool("tmux")
    spec = importlib.util.spec_from_file_location("wizard_picture", ROOT / "docs/tools/wizard_picture.py")
    assert spec is not None and spec.loader is not None
    picture = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(picture)
    assert picture.PICTURE.read_text(encoding="utf-8") == picture.drawn()
