"""What stops an update: one clear message each, and the lab is as it was."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import copier
import pytest
import yaml
from copier.errors import UserMessageError

from tests.support.rendering import copy_lab
from tests.support.tools import run
from tests.update.support.histories import (
    COPIER,
    Terminal,
    commit,
    edit,
    files,
    git,
    in_a_larger_repository,
    new_repository,
    put,
    release,
    script,
    untouched,
    update,
    update_here,
)


@pytest.mark.slow
def test_uncommitted_changes(house: Path) -> None:
    edit(house / "a.txt", lambda text: text + "mine\n")
    assert "commit or stash your local changes" in untouched(house, lambda: update(house)).stderr


@pytest.mark.parametrize("mark", ["skip-worktree", "assume-unchanged"])
@pytest.mark.deep(keep=1)
def test_changes_of_a_file_that_git_is_told_not_to_look_at(house: Path, mark: str) -> None:
    git(house, "update-index", f"--{mark}", "a.txt")
    edit(house / "a.txt", lambda text: "mine\n" + text)
    said = untouched(house, lambda: update(house)).stderr
    assert (
        "Git is told not to look at `a.txt`" in said
        and "`git update-index --no-skip-worktree --no-assume-unchanged a.txt`" in said
    )


@pytest.mark.slow
def test_a_new_file_that_git_is_told_not_to_show(house: Path) -> None:
    git(house, "config", "status.showUntrackedFiles", "no")
    put(house, {"mine.txt": "mine\n"})
    assert "No commit has `mine.txt`, which Git was told not to show" in untouched(house, lambda: update(house)).stderr


@pytest.mark.deep
def test_copiers_own_folders_are_no_new_files_of_the_owners(house: Path) -> None:
    git(house, "config", "status.showUntrackedFiles", "no")
    put(house, {"tmp/.keep": ""})
    commit(house)
    done = update(house, env={"TMPDIR": str(house / "tmp")})
    assert done.returncode == 0, done.stderr
    assert (house / "new").exists()


@pytest.mark.parametrize("name", ["SIGHUP", "SIGTERM"])
@pytest.mark.deep
def test_a_terminal_that_closes_at_a_question(house: Path, name: str) -> None:
    def close() -> CompletedProcess[str]:
        terminal = Terminal(COPIER, "update", "--trust", cwd=house)
        terminal.until("lab_name")
        assert (house / "bin" / "old").exists() and not (house / "new").exists()
        terminal.process.send_signal(getattr(signal, name))
        return CompletedProcess([], terminal.wait(), "", terminal.said)

    assert "The update stopped, and the lab is as it was." in untouched(house, close).stderr


@pytest.mark.slow
def test_in_the_middle_of_a_merge_that_git_calls_clean(house: Path) -> None:
    git(house, "checkout", "--quiet", "-b", "side")
    commit(house, "Side")
    git(house, "checkout", "--quiet", "-")
    commit(house, "Main")
    git(house, "merge", "--no-commit", "--no-ff", "--strategy", "ours", "side")
    said = untouched(house, lambda: update(house)).stderr
    assert "in the middle of a merge; finish it with `git commit`, or give it up with `git merge --abort`" in said


@pytest.mark.slow
def test_in_the_middle_of_a_rebase(house: Path) -> None:
    (Path(git(house, "rev-parse", "--absolute-git-dir").strip()) / "rebase-merge").mkdir()
    assert "in the middle of a rebase" in untouched(house, lambda: update(house)).stderr


@pytest.mark.slow
def test_without_trust(house: Path) -> None:
    said = untouched(house, lambda: run(COPIER, "update", "--defaults", cwd=house, stdin=subprocess.DEVNULL)).stderr
    assert "adding the `--trust` option" in said


def test_with_copier_too_old(house: Path) -> None:
    template = house.parent / "template"
    edit(
        template / "copier.yml",
        lambda text: text.replace('_min_copier_version: "9.19.1"', '_min_copier_version: "99.0.0"'),
    )
    release(template, "1.2.0")
    assert "requires Copier version >= 99.0.0" in untouched(house, lambda: update(house)).stderr


@pytest.mark.slow
def test_without_the_extension_loader(house: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden" / "copier_template_extensions"
    put(hidden, {"__init__.py": "raise ModuleNotFoundError(\"No module named 'copier_template_extensions'\")\n"})
    said = untouched(house, lambda: update(house, env={"PYTHONPATH": str(hidden.parent)})).stderr
    assert "copier_template_extensions" in said and "install these extensions alongside Copier" in said


@pytest.mark.slow
def test_with_tasks_skipped(house: Path) -> None:
    assert (
        "`--skip-tasks` would skip what keeps your edits"
        in untouched(house, lambda: update(house, "--skip-tasks")).stderr
    )


@pytest.mark.slow
def test_with_a_question_that_nobody_asks(house: Path) -> None:
    assert (
        "lab_nam: no question has this name; did you mean `lab_name`?"
        in untouched(house, lambda: update(house, "--data", "lab_nam=x")).stderr
    )


@pytest.mark.slow
def test_with_a_folder_where_the_template_has_a_file(house: Path) -> None:
    (house / "a.txt").unlink()
    put(house, {"a.txt/mine": "mine\n"})
    commit(house)
    assert (
        "`a.txt` is a folder in your lab and a file in the template" in untouched(house, lambda: update(house)).stderr
    )


@pytest.mark.deep
def test_what_the_last_update_could_not_patch_waits_and_stops_nothing(house: Path) -> None:
    edit(house / "a.txt", lambda text: text + "mine\n")
    commit(house)
    assert update(house, "--conflict", "rej").returncode == 1
    assert "<<<<<<<" not in (house / "a.txt").read_text() and (house / "a.txt").read_text().endswith("new\n")
    commit(house)
    rest = (house / "a.txt.rej").read_bytes()
    assert b"+mine" in rest
    done = update(house)
    assert done.returncode == 0, done.stderr
    assert "## Left over from an earlier update\n\n- `a.txt.rej`: work it in, and delete it" in done.stderr
    assert (house / "a.txt.rej").read_bytes() == rest and git(house, "status", "--porcelain") == ""
    # What waits is not written over by the next conflict in that file.
    edit(house.parent / "template" / "template" / "a.txt", lambda text: text + "newer\n")
    release(house.parent / "template", "1.2.0")
    edit(house / "a.txt", lambda text: text + "mine again\n")
    commit(house)
    assert update(house, "--conflict", "rej").returncode == 1
    assert (house / "a.txt.rej").read_bytes() == rest and "<<<<<<< before updating" in (house / "a.txt").read_text()


@pytest.mark.slow
def test_what_could_not_be_patched_elsewhere_in_the_repository_stays_as_it_is(house: Path) -> None:
    house = in_a_larger_repository(house, {"other.txt": "once\n"})
    put(house.parent, {"other.txt": "not yet committed\n", "other.txt.rej": "+mine\n"})
    done = update(house)
    assert done.returncode == 0, done.stderr
    assert (house.parent / "other.txt").read_text() == "not yet committed\n"
    assert (house.parent / "other.txt.rej").read_text() == "+mine\n"


@pytest.mark.slow
def test_with_a_submodule_where_the_template_has_a_folder(house: Path) -> None:
    module = new_repository(house.parent / "module")
    put(module, {".gitignore": "secret\n", "old": "mine\n"})
    commit(module)
    git(house, "rm", "--quiet", "-r", "bin")
    git(house, "-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(module), "bin")
    commit(house)
    put(house, {"bin/secret": "mine\n"})
    said = untouched(house, lambda: update(house)).stderr
    assert "`bin` is a submodule of your lab, where the template has a folder. Rename it: `git mv bin my-bin`" in said


@pytest.mark.slow
def test_with_a_link_out_of_the_lab_where_the_template_has_a_folder(house: Path) -> None:
    (house / "bin").rename(house.parent / "elsewhere")
    (house / "bin").symlink_to("../elsewhere")
    commit(house)
    said = untouched(house, lambda: update(house)).stderr
    assert "`bin` leads out of your lab, where the template has a folder. Rename it: `git mv bin my-bin`" in said
    assert (house.parent / "elsewhere" / "old").read_text() == "old\n"


@pytest.mark.deep
def test_with_a_link_within_the_lab_where_the_template_has_a_folder(house: Path) -> None:
    git(house, "mv", "bin", "mine")
    edit(house / "mine" / "old", lambda text: text + "mine\n")
    (house / "bin").symlink_to("mine")
    commit(house)
    done = update(house)
    assert done.returncode == 0, done.stderr
    assert (house / "bin").is_symlink() and (house / "mine" / "old").read_text() == "old\nmine\n"


@pytest.mark.parametrize(
    ("mine", "theirs", "said"),
    [
        ("zoo", "zoo/animal", "zoo` is a file in your lab and a folder in the template. Rename yours"),
        ("zoo/animal", "zoo", "zoo` is a folder in your lab and a file in the template. Rename yours"),
    ],
)
@pytest.mark.deep(keep=1)
def test_a_file_where_the_template_has_a_folder(house: Path, mine: str, theirs: str, said: str) -> None:
    template = house.parent / "template"
    put(house, {mine: "mine\n"})
    commit(house)
    put(template / "template", {theirs: "theirs\n"})
    release(template, "1.2.0")
    found = untouched(house, lambda: update(house)).stderr
    assert said in found and found.rstrip().endswith("The update stopped, and the lab is as it was.")


def test_without_a_network_to_the_template(house: Path) -> None:
    edit(
        house / ".copier-answers.yml",
        lambda text: text.replace(str(house.parent / "template"), "https://127.0.0.1:9/template.git"),
    )
    commit(house)
    said = untouched(house, lambda: script(house)).stderr
    assert said.startswith("The template cannot be reached at https://127.0.0.1:9/template.git: ")
    assert said.endswith("The lab is as it was.\n")


def test_with_a_template_that_vanished(house: Path) -> None:
    shutil.rmtree(house.parent / "template")
    said = untouched(house, lambda: script(house)).stderr
    assert said.startswith(f"The template that made this lab, {house.parent / 'template'}, is not there any more.")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda text: text.replace("_commit: v1.0.1", "_commit: v0.9.0"),
            "has no version v0.9.0 any more, which made this lab",
        ),
        (
            lambda text: text.replace("_commit: v1.0.1", "_commit: v1.0.0-3-gdeadbee"),
            "has no version v1.0.0-3-gdeadbee any more",
        ),
        (
            lambda text: text.replace("_commit: v1.0.1\n", ""),
            'does not say which template made this lab: _src_path is "/',
        ),
        (lambda text: f"{text}feature: [\n", "cannot be read: .copier-answers.yml is not YAML at line "),
        (
            lambda text: f"<<<<<<< mine\n{text}=======\n{text}>>>>>>> theirs\n",
            "There are conflict markers in .copier-answers.yml",
        ),
    ],
)
@pytest.mark.deep(keep=2)
def test_with_an_answers_file_that_leads_nowhere(house: Path, change: Callable[[str], str], said: str) -> None:
    edit(house / ".copier-answers.yml", change)
    commit(house)
    assert said in untouched(house, lambda: script(house)).stderr


def test_with_a_commit_that_a_remote_template_lost(house: Path) -> None:
    # A file:// address is cloned as a remote one is.
    address = f"file://{house.parent / 'template'}"
    edit(house / ".copier-answers.yml", lambda text: text.replace("_commit: v1.0.1", "_commit: v1.0.0-3-gdeadbee"))
    edit(house / ".copier-answers.yml", lambda text: text.replace(str(house.parent / "template"), address))
    commit(house)
    assert (
        f"The template at {address} has no version v1.0.0-3-gdeadbee any more"
        in untouched(house, lambda: script(house)).stderr
    )


def test_without_an_answers_file(house: Path) -> None:
    git(house, "rm", "--quiet", ".copier-answers.yml")
    commit(house)
    assert untouched(house, lambda: script(house)).stderr.startswith(
        "The answers that made this lab, .copier-answers.yml, are missing."
    )


def test_with_a_copier_on_the_path_that_is_too_old(house: Path, tmp_path: Path) -> None:
    put(tmp_path / "bin", {"copier": "#!/bin/sh\necho copier 9.4.1\n"})
    (tmp_path / "bin" / "copier").chmod(0o755)
    for name in ("dirname", "git", "grep", "sed", "bash", "env", "mktemp", "tar", "rm"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or name)
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    said = untouched(house, lambda: script(house, PATH=str(tmp_path / "bin"))).stderr
    assert said.startswith("Copier 9.19.1 or newer, and older than 10, is needed, and this is 9.4.1.\nInstall it: ")


def test_the_labs_own_script_updates(house: Path) -> None:
    done = script(house)
    assert done.returncode == 0, done.stderr
    assert (house / "a.txt").read_text().endswith("new\n") and (house / "new").exists()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.deep
def test_the_labs_own_script_reads_a_path_that_yaml_folds(house: Path, end: str) -> None:
    template, answers = house.parent / "template", house / ".copier-answers.yml"
    moved = template.rename(house.parent / f"the owner's {'long ' * 20}path")
    was = yaml.safe_load(answers.read_text())
    answers.write_text(yaml.safe_dump({**was, "_src_path": str(moved)}), newline=end)
    assert b"long" + end.encode() + b"  long" in answers.read_bytes()
    commit(house)
    done = script(house)
    assert done.returncode == 0, done.stderr
    assert (house / "a.txt").read_text().endswith("new\n")


def test_conflicts_end_with_one(house: Path) -> None:
    edit(house / "a.txt", lambda text: text + "mine\n")
    commit(house)
    done = update(house)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.rstrip().endswith(
        "The lab is updated, but conflicts remain in a.txt. update-report.md says where."
    )
    assert "- `a.txt`, lines 10 to 14: you and the template changed the same place" in done.stderr


@pytest.mark.slow
def test_a_dry_run_changes_nothing(house: Path) -> None:
    before = files(house)
    done = update(house, "--pretend")
    assert done.returncode == 0, done.stderr
    assert files(house) == before and git(house, "status", "--porcelain") == ""
    assert "Nothing was changed" in done.stderr and "The lab is updated" not in done.stderr


@pytest.mark.deep
def test_a_feature_switched_off_keeps_what_the_owner_edited(house: Path) -> None:
    template = house.parent / "template"
    git(template, "mv", "template/feature.txt", "template/{% if feature %}feature.txt{% endif %}")
    put(template / "template", {"{% if feature %}other.txt{% endif %}": "on\n"})
    release(template, "1.2.0")
    update_here(house)
    edit(house / "feature.txt", lambda text: text + "mine\n")
    commit(house)
    done = update(house, "--data", "feature=false")
    assert done.returncode == 0, done.stderr
    assert (house / "feature.txt").read_text() == "on\nmine\n" and not (house / "other.txt").exists()
    assert (
        "- `feature.txt`: The template has it no more, or an answer has switched it off. You had edited it"
        in done.stderr
    )
    assert "- changed: `feature: true` is `false` now" in done.stderr


@pytest.mark.deep
def test_the_folder_named_after_the_cluster_moves_with_its_answer(house: Path) -> None:
    template = house.parent / "template"
    put(template / "template", {"clusters/{{ cluster_name }}/sync.yaml": "one\ntwo\nthree\n"})
    release(template, "1.2.0")
    update_here(house)
    edit(house / "clusters" / "garage" / "sync.yaml", lambda text: text + "mine\n")
    put(house, {"clusters/garage/mine.yaml": "mine\n"})
    commit(house)
    assert update(house, "--data", "cluster_name=cellar").returncode == 0
    assert (house / "clusters" / "cellar" / "sync.yaml").read_text() == "one\ntwo\nthree\nmine\n"
    assert (house / "clusters" / "cellar" / "mine.yaml").read_text() == "mine\n" and not (
        house / "clusters" / "garage"
    ).exists()


def test_an_ignored_secret_survives_a_template_that_brings_that_file(house: Path) -> None:
    template = house.parent / "template"
    put(template / "template", {".env": "TOKEN=\n"})
    release(template, "1.2.0")
    done = update(house)
    assert done.returncode == 0 and (house / ".env").read_text() == "TOKEN=secret\n"
    assert "`.env`: Git ignores your file" in done.stderr and "secret" not in done.stderr


@pytest.mark.deep
def test_what_git_ignores_stays_when_its_folder_moves_and_is_named(house: Path) -> None:
    template = house.parent / "template"
    put(template / "template", {"runner/compose.yaml": "one\n"})
    release(template, "1.2.0")
    update_here(house)
    put(house, {"runner/.env": "TOKEN=secret\n"})
    commit(house)
    git(template, "mv", "template/runner", "template/build runner")
    (template / "hooks" / "renames.yml").write_text('{"1.3.0": {"moved": {"runner/": "build runner/"}}}')
    release(template, "1.3.0")
    done = update(house)
    assert done.returncode == 0, done.stderr
    assert (house / "runner" / ".env").read_text() == "TOKEN=secret\n" and (
        house / "build runner" / "compose.yaml"
    ).exists()
    assert "- `runner/.env`: Git ignores it, so it stays, while its folder is `build runner/` now." in done.stderr
    assert "`mv runner/.env 'build runner/.env'`" in done.stderr


@pytest.mark.slow
def test_a_submodule_in_a_folder_that_moves_stays_and_is_named(house: Path) -> None:
    (house.parent / "template" / "hooks" / "renames.yml").write_text('{"1.2.0": {"moved": {"bin/": "tools/"}}}')
    git(house.parent / "template", "mv", "template/new", "template/old")
    (house.parent / "template" / "template" / "tools").mkdir()
    git(house.parent / "template", "mv", "template/old", "template/tools/old")
    release(house.parent / "template", "1.2.0")
    git(
        house,
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "add",
        "--quiet",
        str(house.parent / "template"),
        "bin/module",
    )
    commit(house)
    done = update(house)
    assert done.returncode == 0, done.stderr
    assert (house / "bin" / "module" / "copier.yml").exists() and (house / "tools" / "old").exists()
    assert (
        "- `bin/module`: It is a submodule, so it stays" in done.stderr
        and "`git mv bin/module tools/module`" in done.stderr
    )


@pytest.mark.slow
def test_a_file_behind_a_filter_of_gits_stays_as_the_owner_sees_it(house: Path) -> None:
    git(house, "config", "filter.rot.clean", "tr a-z b-za")
    git(house, "config", "filter.rot.smudge", "tr b-za a-z")
    put(house, {".gitattributes": "*.txt filter=rot\n", "mine.txt": "mine\n"})
    edit(house / "a.txt", lambda text: text + "mine\n")
    commit(house)
    assert git(house, "show", "HEAD:mine.txt") == "njof\n"
    before = (house / "a.txt").read_text()
    done = update(house)
    assert done.returncode == 0, done.stderr
    assert (house / "a.txt").read_text() == before and (house / "mine.txt").read_text() == "mine\n"
    assert "- `a.txt`: A filter in .gitattributes changes it first, so it cannot be merged" in done.stderr
    assert git(house, "diff", "--name-only", "HEAD", "--", "*.txt") == ""


@pytest.mark.slow
def test_the_undo_of_the_report_leaves_the_rest_of_a_larger_repository_alone(house: Path) -> None:
    house = in_a_larger_repository(house, {"other.txt": "once\n"})
    put(house.parent, {"other.txt": "not yet committed\n"})
    before = files(house)
    done = update(house)
    assert done.returncode == 0 and files(house) != before
    undo = done.stderr.split("To undo all of it: `")[1].split("`")[0]
    assert run("sh", "-c", undo, cwd=house).returncode == 0
    assert files(house) == before and git(house.parent, "status", "--porcelain") == " M other.txt\n"


@pytest.mark.filterwarnings("ignore::copier.errors.OldTemplateWarning")
def test_a_copier_that_is_too_new_makes_and_updates_no_lab(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`_min_copier_version` has no counterpart; the version of the tests is changed to that of one that is to come."""
    monkeypatch.setattr(copier, "__version__", "10.0.0")
    with pytest.raises(
        UserMessageError, match=r"this is Copier 10\.0\.0, which the template was not tried with"
    ) as refused:
        copy_lab(house.parent / "template", tmp_path / "new", {}, vcs_ref="v1.1.0", skip_tasks=True)
    assert "uvx --from 'copier>=9.19.1,<10'" in str(refused.value)
    assert not (tmp_path / "new").exists() or not list((tmp_path / "new").iterdir())
    before = files(house)
    with pytest.raises(UserMessageError, match=r"Copier 10\.0\.0"):
        update_here(house)
    assert files(house) == before
