"""No module has more than 400 lines, no function more than 60, no template of the chart more than 100. What has, is listed with the reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support.rendering import ROOT, project_files

MODULE, FUNCTION, TEMPLATE = 400, 60, 100
# By path, and by path and name. An entry that is no longer needed fails.
REASONS = {
    "extensions/facts.py": "one property a fact, each a few lines; a template finds all of them as `lab`",
    "extensions/rules.py": "one function a question, each a few lines, in the order of the wizard",
    "tests/backups/test_target.py": "one kind of place to send to a test, and what goes wrong there",
    "tests/bootstrap/test_preflight.py": "one problem a test, each with its message",
    "tests/bootstrap/test_run.py: test_a_run_builds_the_whole_lab_and_a_second_one_changes_nothing": "the lab as a whole, object by object",
    "tests/bootstrap/test_run.py: test_an_external_repository_over_https_serves_flux_which_installs_gitlab": "one run, whose world is costly to make",
    "tests/chart/test_objects.py": "one value a test, with the objects that come of it",
    "tests/cluster/test_alerts.py": "one cluster, in which each fault is made and fixed once",
    "tests/delivery/test_check.py": "two tables: what the check has to find, and what it has to let pass",
    "tests/delivery/test_lab_pipeline.py": "one forge, in which each step of the pipeline runs",
    "tests/delivery/test_new_app.py": "one option of the command a test, and a table of refusals",
    "tests/delivery/test_renovate.py": "one run of Renovate, costly to make, judged from all sides",
    "tests/delivery/test_secrets.py": "one action of the command a test, and a table of refusals",
    "tests/gitlab/test_private_ca.py": "one part a test that has to trust the authority",
    "tests/stage_machines/test_project.py": "one change in the project a test",
    "tests/support/references.py": "one kind of reference a function",
    "tests/test_copy.py": "one way of calling Copier a test",
    "tests/test_labs.py": "one reader of the lab's files a test",
    "tests/update/test_command.py": "one way of calling the command a test",
    "tests/update/test_interrupted.py": "one disturbance a test, and the machinery that brings it about",
    "tests/update/test_random_edits.py": "one machine that draws edits and judges what becomes of them",
    "tests/update/test_refusals.py": "one refusal a test, with its message",
    "tests/update/test_results.py": "one habit of an owner a test",
}


def _too_long(path: Path) -> Iterator[tuple[str, int]]:
    """Yield what is too long in a file, and how long it is."""
    name = path.relative_to(ROOT).as_posix()
    if path.suffix in (".tpl", ".yaml", ".txt") and "charts/app/templates/" in name:
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > TEMPLATE:
            yield name, lines
    if path.suffix != ".py":
        return
    text = path.read_text(encoding="utf-8")
    if text.count("\n") > MODULE:
        yield name, text.count("\n")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > FUNCTION:
                yield f"{name}: {node.name}", lines


def test_what_is_long_has_a_reason() -> None:
    files = [ROOT / name for name in project_files() if not str(name).startswith("example/")]
    found = dict(one for path in files for one in _too_long(path))
    without = {name: lines for name, lines in found.items() if name not in REASONS}
    assert without == {}, "divide it, or add it to REASONS with the reason"
    assert sorted(REASONS.keys() - found.keys()) == [], "it is short enough now: remove it from REASONS"
