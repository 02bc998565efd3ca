"""docs/adding-a-stage.md: the stage that it shows, added to a lab as it says, works."""

from __future__ import annotations

import datetime
import re

import pytest

from tests.bootstrap.support.journeys import STAGES
from tests.bootstrap.support.lab_folder import commit
from tests.bootstrap.support.lab_world import World
from tests.support.rendering import ROOT

DOCS = (ROOT / "docs" / "adding-a-stage.md").read_text(encoding="utf-8")
MODULE, IMPORT = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, r"the clocks of 1 node\(s\) are right"), (-300, r"The clock of node-1 \(-3\d\d s\) is wrong\.")],
)
def test_a_stage_is_added_as_the_page_says(world: World, seconds: int, words: str) -> None:
    stages = world.lab / "lab_program/stages"
    assert "\n    Preflight,\n" in (stages / "__init__.py").read_text()
    (stages / "clock.py").write_text(MODULE)
    text = (stages / "__init__.py").read_text().replace("from .flux ", f"{IMPORT}from .flux ")
    (stages / "__init__.py").write_text(text.replace("\n    Preflight,\n", "\n    Preflight,\n    Clock,\n"))
    commit(world.lab, "A stage more")
    assert world.run("--list").out.splitlines()[1] == "clock        the nodes' clocks, near this machine's"
    written = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds + 0.5)
    world.cluster.put("Lease", "kube-node-lease", "node-1", spec={"renewTime": f"{written:%Y-%m-%dT%H:%M:%S.%fZ}"})
    run = world.run("--only", "clock")
    assert re.search(words, run.text) and run.status == (1 if seconds else 0), run.text
    assert f"\n== 2/{len(STAGES) + 1} clock: " in run.out and world.changes == []
    if seconds:
        assert "   look   timedatectl" in run.err and "--from clock" in run.err


def test_the_page_is_short_enough_to_be_read() -> None:
    assert MODULE.count("\n") <= 50
