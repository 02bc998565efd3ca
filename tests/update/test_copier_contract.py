"""What hooks/update/copier_contract.py relies on in Copier, one test an assumption: each says what Copier changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import copier
import pytest
from copier._main import Worker
from packaging.version import Version

from hooks.update import command, copier_contract
from tests.support.rendering import ROOT, copy_lab
from tests.update.support.histories import (
    commit,
    edit,
    files,
    make_lab,
    new_repository,
    put,
    release,
    state,
    update,
    update_here,
)

ANSWERS = {"{{ _copier_conf.answers_file }}.jinja": "{{ _copier_answers | to_nice_yaml -}}\n"}


@contextmanager
def spied(monkeypatch: pytest.MonkeyPatch, worker: type, name: str) -> Iterator[list[Any]]:
    """Note the calls of one of the Worker's methods."""
    calls: list[Any] = []
    original = getattr(worker, name)

    def noted(self: Any, *rest: Any, **options: Any) -> Any:
        calls.append((self, Path.cwd(), rest))
        return original(self, *rest, **options)

    monkeypatch.setattr(worker, name, noted)
    yield calls


@pytest.mark.slow(each_commit=True)
def test_1_the_worker_is_on_the_stack_while_a_migration_is_rendered(
    house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = Worker._apply_update.__code__
    with spied(monkeypatch, Worker, "_apply_update") as calls:
        update_here(house)
    # Had hooks/steps.py not found the worker there, it would have refused the update.
    assert len(calls) == 1, "Copier changed how often `_apply_update` runs in an update"
    fields = set(Worker.__dataclass_fields__)
    assert set(copier_contract.FIELDS) <= fields, (
        f"Copier changed the Worker's fields: {set(copier_contract.FIELDS) - fields} are gone"
    )
    assert all(hasattr(Worker, name) for name in copier_contract.METHODS), "Copier changed the Worker's methods"
    assert {"old_copy", "subproject_top", "subproject_head"} <= {*code.co_varnames, *code.co_cellvars}, (
        "Copier changed the variables of `_apply_update`"
    )


@pytest.mark.slow(each_commit=True)
def test_2_the_temporary_repositories_are_made_by_two_methods_in_their_folder(house: Path) -> None:
    # The template's own copy of the module runs.
    put(
        house.parent / "template",
        {"hooks/update/copier_contract.py": (ROOT / "hooks" / "update" / "copier_contract.py").read_text() + PROBE},
    )
    release(house.parent / "template", "1.2.0")
    update_here(house)
    said = (house.parent / "probe").read_text().splitlines()
    assert len(said) == 2 and all(re.fullmatch(r"copier\..*(old|new)_copy\..* True", line) for line in said), (
        f"Copier changed where repositories are made: {said}"
    )


PROBE = """
_original = _repository
def _repository(folder, lab, tree):
    _original(folder, lab, tree)
    with (lab.folder.parent / "probe").open("a") as file:
        same = folder_git(folder, "diff-tree", "-r", "HEAD", lab("write-tree").decode().strip()) == b""
        print(folder.name, same, file=file)
def folder_git(folder, *arguments):
    return Git(folder)(*arguments)
"""


@pytest.mark.slow(each_commit=True)
def test_3_nothing_is_rendered_into_the_lab(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with spied(monkeypatch, Worker, "_render_file") as calls:
        update_here(house)
    inside = [rest for worker, _, rest in calls if Path(worker.dst_path).absolute() == house]
    assert calls and not inside, f"Copier changed when `_subdirectory` is rendered: it wrote {inside} into the lab"


@pytest.mark.slow(each_commit=True)
def test_4_and_5_copier_removes_and_patches_nothing_in_the_lab(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(house / "a.txt", lambda text: "mine\n" + text)
    put(house, {"mine.txt": "mine\n", "left.txt": "left\n", "left.txt.rej": "+rejected\n"})
    commit(house)
    before = state(house)
    # The last step alone is left out, so whatever differs is Copier's.
    put(
        house.parent / "template",
        {
            "hooks/update/journal.py": (ROOT / "hooks" / "update" / "journal.py").read_text()
            + "\ndef write(*arguments): pass\n"
        },
    )
    (house.parent / "template" / "template" / "feature.txt").unlink()
    release(house.parent / "template", "1.2.0")
    put(house, {"update-report.md": ""})
    update_here(house)
    assert state(house) == before, "Copier changed how it writes into a lab"


@pytest.mark.slow(each_commit=True)
def test_6_answers_that_are_given_are_not_asked_for_and_named_questions_are(tmp_path: Path) -> None:
    template = new_repository(tmp_path / "template")
    put(template, {"copier.yml": "_subdirectory: t\none: {type: str, default: a}\ntwo: {type: str, default: b}\n"})
    put(template / "t", ANSWERS)
    release(template, "1.0.0")
    lab = make_lab(template, tmp_path / "lab")
    with pytest.raises(Exception, match=r"(?i)interactive|terminal|EOF|data"):
        copier.run_update(lab, data={"one": "x", "two": "y"}, ask=["two"], overwrite=True, quiet=True)
    copier.run_update(lab, data={"one": "x", "two": "y"}, overwrite=True, quiet=True)
    assert "one: x\ntwo: y\n" in (lab / ".copier-answers.yml").read_text()


@pytest.mark.slow(each_commit=True)
def test_7_git_is_not_asked_about_modes_where_there_is_no_repository(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(Worker, copier_contract.MODES, lambda worker, *_: asked.append(str(worker.dst_path)))
    template = house.parent / "template"
    for name in ("a folder", "a repository"):
        folder = tmp_path / name
        (new_repository if name == "a repository" else Path.mkdir)(folder)
        copy_lab(template, folder / "lab", {}, vcs_ref="v1.1.0", skip_tasks=True)
        assert (folder / "lab" / "new").exists()
    assert {*asked} == {str(tmp_path / "a repository" / "lab")}, f"Copier changed when it asks Git: {asked}"
    asked.clear()
    update_here(house)
    assert not asked, "an update renders into folders that are in no repository"


def test_a_copier_that_works_otherwise_is_refused_and_the_lab_stays(house: Path) -> None:
    template = house.parent / "template"
    edit(
        template / "hooks" / "update" / "copier_contract.py",
        lambda text: text.replace('FRAME = "_apply_update"', 'FRAME = "_update"'),
    )
    release(template, "1.2.0")
    before = files(house)
    done = update(house)
    assert done.returncode == 1 and "updates in another way than the one that this template knows" in done.stderr
    assert f"uvx --from copier=={copier_contract.TRIED} " in done.stderr
    assert files(house) == before


def test_the_versions_of_copier_are_the_same_wherever_they_are_named() -> None:
    oldest, below = (".".join(map(str, version)) for version in (command.OLDEST, command.BELOW))
    texts = {
        name: (ROOT / name).read_text(encoding="utf-8")
        for name in ("copier.yml", "README.md", "requirements/run.in", "requirements/run.txt")
    }
    assert f'_min_copier_version: "{oldest}"' in texts["copier.yml"]
    assert f"copier>={oldest},<{below}" in texts["requirements/run.in"].splitlines()
    assert f"'copier>={oldest},<{below}'" in texts["README.md"]
    assert f"copier=={copier_contract.TRIED}" in texts["requirements/run.txt"].splitlines()
    assert Version(oldest) <= Version(copier_contract.TRIED) < Version(below)
