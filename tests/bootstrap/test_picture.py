"""The picture in the README is what `./lab up` prints today."""

from __future__ import annotations

import importlib.util
import re

import pytest

from tests.bootstrap.support.lab_folder import ROOT


@pytest.mark.slow(each_commit=True)
def test_the_picture_of_a_finished_run_is_fresh() -> None:
    """Otherwise: python docs/tools/up_picture.py."""
    spec = importlib.util.spec_from_file_location("up_picture", ROOT / "docs/tools/up_picture.py")
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    kept = tool.PICTURE.read_text(encoding="utf-8")
    assert tool.drawn(tool.recorded(), re.findall("<title>(.*)</title>", kept)[0]) == kept
