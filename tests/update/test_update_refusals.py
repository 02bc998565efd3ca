"""What stops an update: one clear message each, and the lab is as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from support.rendering import ROOT
from support.tools import run
from update_support import COPIER, commit, edit, files, git, make_lab, put, release, small_template, update

pytestmark = pytest.mark.xdist_group("refusals")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refusals")
    template = small_template(folder / "template", {"a.txt": "one\n" * 9, "feature.txt": "on\n", "bin/old": "old\n"})
    shutil.copy2(ROOT / "template" / "update.sh", template / "template" / "update.sh")
    release(template, "1.0.1")
    lab = make_lab(template, folder / "lab", version="v1.0.1")
    edit(template / "template" / "a.txt", lambda text: text + "new\n")
    git(template, "mv", "template/bin/old", "template/new")
    (template / "hooks" / "renames.yml").write_text('{"1.1.0": {"moved": {"bin/old": "new"}}}')
    release(template, "1.1.0")
    return lab


@pytest.fixture
def house(start: Path, tmp_path: Path) -> Path:
    """Return a lab, beside its template."""
    for name in ("lab", "template"):
        shutil.copytree(start.parent / name, tmp_path / name, symlinks=True)
    edit(tmp_path / "lab" / ".copier-answers.yml", lambda text: text.replace(str(start.parent / "template"), str(tmp_path / "template")))
    put(tmp_path / "lab", {".env": "TOKEN=secret\n"})
    commit(tmp_path / "lab")
    return tmp_path / "lab"


def untouched(house: Path, act: Callable[[], CompletedProcess[str]]) -> CompletedProcess[str]:
    """Return what was said, after checking that nothing of the lab changed: no file, no index, no commit, no leftover."""
    before = files(house), git(house, "status", "--porcelain=v2", "--branch", "--ignored"), (house / "bin").is_dir()
    done = act()
    assert done.returncode != 0
    assert "Traceback" not in done.stderr, done.stderr
    assert (files(house), git(house, "status", "--porcelain=v2", "--branch", "--ignored"), (house / "bin").is_dir()) == before
    return done


def script(house: Path, **env: str) -> CompletedProcess[str]:
    path = os.pathsep.join([str(COPIER.parent), os.environ["PATH"]])
    return run("./update.sh", "--defaults", cwd=house, stdin=subprocess.DEVNULL, env={**os.environ, "PATH": path, **env})


def test_uncommitted_changes(house: Path) -> None:
    edit(house / "a.txt", lambda text: text + "mine\n")
    assert "commit or stash your local changes" in untouched(house, lambda: update(house)).stderr


def test_in_the_middle_of_a_merge_that_git_calls_clean(house: Path) -> None:
    git(house, "checkout", "--quiet", "-b", "side")
    commit(house, "Side")
    git(house, "checkout", "--quiet", "-")
    commit(house, "Main")
    git(house, "merge", "--no-commit", "--no-ff", "--strategy", "ours", "side")
    said = untouched(house, lambda: update(house)).stderr
    assert "in the middle of a merge; finish it with `git commit`, or give it up with `git merge --abort`" in said


def test_in_the_middle_of_a_rebase(house: Path) -> None:
    (Path(git(house, "rev-parse", "--absolute-git-dir").strip()) / "rebase-merge").mkdir()
    assert "in the middle of a rebase" in untouched(house, lambda: update(house)).stderr


def test_without_trust(house: Path) -> None:
    said = untouched(house, lambda: run(COPIER, "update", "--defaults", cwd=house, stdin=subprocess.DEVNULL)).stderr
    assert "adding the `--trust` option" in said


def test_with_copier_too_old(house: Path) -> None:
    template = house.parent / "template"
    edit(template / "copier.yml", lambda text: text.replace('_min_copier_version: "9.19.0"', '_min_copier_version: "99.0.0"'))
    release(template, "1.2.0")
    assert "requires Copier version >= 99.0.0" in untouched(house, lambda: update(house)).stderr


def test_without_the_extension_loader(house: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden" / "copier_template_extensions"
    put(hidden, {"__init__.py": "raise ModuleNotFoundError(\"No module named 'copier_template_extensions'\")\n"})
    said = untouched(house, lambda: update(house, env={"PYTHONPATH": str(hidden.parent)})).stderr
    assert "copier_template_extensions" in said and "install these extensions alongside Copier" in said


def test_with_tasks_skipped(house: Path) -> None:
    assert "`--skip-tasks` would skip what keeps your edits" in untouched(house, lambda: update(house, "--skip-tasks")).stderr


def test_with_a_question_that_nobody_asks(house: Path) -> None:
    assert "lab_nam: no question has this name; did you mean `lab_name`?" in untouched(house, lambda: update(house, "--data", "lab_nam=x")).stderr


def test_with_a_folder_where_the_template_has_a_file(house: Path) -> None:
    (house / "a.txt").unlink()
    put(house, {"a.txt/mine": "mine\n"})
    commit(house)
    assert "`a.txt` is a folder in your lab, where the template has a file" in untouched(house, lambda: update(house)).stderr


def test_what_fails_half_way_is_undone(house: Path) -> None:
    # The template has a folder where the owner has a file; Copier learns of it after it has written half of the lab.
    template = house.parent / "template"
    put(house, {"zoo": "mine\n"})
    commit(house)
    put(template / "template", {"zoo/animal": "theirs\n"})
    release(template, "1.2.0")
    said = untouched(house, lambda: update(house)).stderr
    assert "Copier stopped: " in said and said.rstrip().endswith("The update stopped, and the lab is as it was.")


def test_without_a_network_to_the_template(house: Path) -> None:
    edit(house / ".copier-answers.yml", lambda text: text.replace(str(house.parent / "template"), "https://127.0.0.1:9/template.git"))
    commit(house)
    said = untouched(house, lambda: script(house)).stderr
    assert said.startswith("The template cannot be reached at https://127.0.0.1:9/template.git: ")
    assert said.endswith("The lab is as it was.\n")


def test_with_a_template_that_vanished(house: Path) -> None:
    shutil.rmtree(house.parent / "template")
    said = untouched(house, lambda: script(house)).stderr
    assert said.startswith(f"The template that made this lab, {house.parent / 'template'}, is not there any more.")


def test_with_a_copier_on_the_path_that_is_too_old(house: Path, tmp_path: Path) -> None:
    put(tmp_path / "bin", {"copier": "#!/bin/sh\necho copier 9.4.1\n"})
    (tmp_path / "bin" / "copier").chmod(0o755)
    for name in ("dirname", "git", "sed", "sort", "tail", "head", "bash", "env"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or name)
    said = untouched(house, lambda: script(house, PATH=str(tmp_path / "bin"))).stderr
    assert said.startswith("Copier 9.19 or newer is needed, and this is 9.4.1.\nInstall it: ")


def test_the_labs_own_script_updates(house: Path) -> None:
    done = script(house)
    assert done.returncode == 0, done.stderr
    assert (house / "a.txt").read_text().endswith("new\n") and (house / "new").exists()


def test_conflicts_end_with_one(house: Path) -> None:
    edit(house / "a.txt", lambda text: text + "mine\n")
    commit(house)
    done = update(house)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.rstrip().endswith("The lab is updated, but conflicts remain in a.txt. update-report.md says where.")
    assert "- `a.txt`, lines 10 to 14: you and the template changed the same place" in done.stderr


def test_a_dry_run_changes_nothing(house: Path) -> None:
    before = files(house)
    done = update(house, "--pretend")
    assert done.returncode == 0, done.stderr
    assert files(house) == before and git(house, "status", "--porcelain") == ""


def test_a_feature_switched_off_keeps_what_the_owner_edited(house: Path) -> None:
    template = house.parent / "template"
    git(template, "mv", "template/feature.txt", "template/{% if feature %}feature.txt{% endif %}")
    put(template / "template", {"{% if feature %}other.txt{% endif %}": "on\n"})
    release(template, "1.2.0")
    assert update(house).returncode == 0
    edit(house / "feature.txt", lambda text: text + "mine\n")
    commit(house)
    done = update(house, "--data", "feature=false")
    assert done.returncode == 0, done.stderr
    assert (house / "feature.txt").read_text() == "on\nmine\n" and not (house / "other.txt").exists()
    assert "- `feature.txt`: The template has it no more, or an answer has switched it off. You had edited it" in done.stderr
    assert "- changed: `feature: true` is `false` now" in done.stderr


def test_the_folder_named_after_the_cluster_moves_with_its_answer(house: Path) -> None:
    template = house.parent / "template"
    put(template / "template", {"clusters/{{ cluster_name }}/sync.yaml": "one\ntwo\nthree\n"})
    release(template, "1.2.0")
    assert update(house).returncode == 0
    edit(house / "clusters" / "garage" / "sync.yaml", lambda text: text + "mine\n")
    put(house, {"clusters/garage/mine.yaml": "mine\n"})
    commit(house)
    assert update(house, "--data", "cluster_name=cellar").returncode == 0
    assert (house / "clusters" / "cellar" / "sync.yaml").read_text() == "one\ntwo\nthree\nmine\n"
    assert (house / "clusters" / "cellar" / "mine.yaml").read_text() == "mine\n" and not (house / "clusters" / "garage").exists()


def test_an_ignored_secret_survives_a_template_that_brings_that_file(house: Path) -> None:
    template = house.parent / "template"
    put(template / "template", {".env": "TOKEN=\n"})
    release(template, "1.2.0")
    done = update(house)
    assert done.returncode == 0 and (house / ".env").read_text() == "TOKEN=secret\n"
    assert "`.env`: Git ignores your file" in done.stderr and "secret" not in done.stderr


