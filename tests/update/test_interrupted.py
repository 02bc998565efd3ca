"""An update that is disturbed: by an editor, by Ctrl-C, by kill -9, by a second update, by the settings of its
surroundings.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hooks.git import Git
from hooks.update import journal
from tests.support.rendering import ROOT
from tests.support.tools import run
from tests.update.support.histories import (
    COPIER,
    REPORT,
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
    state,
    untouched,
    update,
)

ASK = ("update", "--trust")


# A person at the wizard
# --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_is_saved_while_the_wizard_waits_survives_a_ctrl_c(house: Path) -> None:
    before = state(house)
    terminal = Terminal(COPIER, *ASK, cwd=house)
    terminal.until("lab_name")
    put(house, {"a.txt": "saved\n", "fresh.txt": "fresh\n", ".env": "TOKEN=newer\n"})
    terminal.type("\x03")
    assert terminal.wait() == 1
    assert "The update stopped, and the lab is as it was." in terminal.said
    after = state(house)
    assert after.files == {
        **before.files,
        "a.txt": (b"saved\n", False),
        "fresh.txt": (b"fresh\n", False),
        ".env": (b"TOKEN=newer\n", False),
    }
    assert (after.index, after.head) == (before.index, before.head)


@pytest.mark.deep
def test_ctrl_c_again_and_again_changes_nothing(house: Path) -> None:
    before = state(house)
    terminal = Terminal(COPIER, *ASK, cwd=house)
    terminal.until("lab_name")
    terminal.type("\x03\x03\x03")
    for _ in range(5):
        try:
            terminal.process.send_signal(signal.SIGINT)
        except ProcessLookupError:
            break
    assert terminal.wait() != 0
    assert state(house) == before


@pytest.mark.deep
def test_what_is_saved_while_the_wizard_waits_is_merged_told_and_spared_by_the_undo(house: Path) -> None:
    put(house, {"other.txt": "other\n", "gone.txt": "gone\n"})
    commit(house)
    terminal = Terminal(COPIER, *ASK, cwd=house)
    terminal.until("lab_name")
    edit(house / "a.txt", lambda text: "saved\n" + text)
    saved = (house / "a.txt").read_bytes()
    put(house, {"other.txt": "saved\n", "fresh.txt": "fresh\n"})
    (house / "gone.txt").unlink()
    for _ in range(4):
        terminal.type("\r")
    assert terminal.wait() == 0, terminal.said
    text = (house / "a.txt").read_text()
    assert text.startswith("saved\n") and text.endswith("new\n")
    assert (
        (house / "other.txt").read_text() == "saved\n"
        and (house / "fresh.txt").read_text() == "fresh\n"
        and not (house / "gone.txt").exists()
    )
    report = (house / REPORT).read_text()
    name = re.search(
        r"- `a.txt`: what you saved is in the file, with the template's changes. Without them: `git cat-file blob"
        r" (\w+)`",
        report,
    )
    assert (
        name
        and subprocess.run(["git", "cat-file", "blob", name[1]], cwd=house, capture_output=True, check=True).stdout
        == saved
    )
    assert (
        "- `other.txt`: it is as you saved it" in report and "- `gone.txt`: you deleted it, and it stays away" in report
    )
    undo = report.split("To undo all of it: `")[1].split("`")[0]
    assert run("sh", "-c", undo, cwd=house).returncode == 0
    assert (house / "a.txt").read_text() == text and (house / "other.txt").read_text() == "saved\n"
    assert (house / "fresh.txt").read_text() == "fresh\n" and not (house / "gone.txt").exists()
    assert (house / "bin" / "old").read_text() == "old\n" and not (house / "new").exists()


@pytest.mark.deep
def test_what_is_committed_while_the_wizard_waits_is_what_the_update_goes_on_from(house: Path) -> None:
    terminal = Terminal(COPIER, *ASK, cwd=house)
    terminal.until("lab_name")
    edit(house / "a.txt", lambda text: "committed\n" + text)
    edit(house / "bin" / "old", lambda text: "committed\n" + text)
    head = commit(house, "In another window")
    for _ in range(4):
        terminal.type("\r")
    assert terminal.wait() == 0, terminal.said
    assert git(house, "rev-parse", "HEAD").strip() == head
    assert (house / "a.txt").read_text().startswith("committed\n") and (house / "a.txt").read_text().endswith("new\n")
    assert (house / "new").read_text() == "committed\nold\n" and not (house / "bin").exists()


@pytest.mark.deep
def test_answers_that_are_changed_while_the_wizard_waits_stop_it(house: Path) -> None:
    terminal = Terminal(COPIER, *ASK, cwd=house)
    terminal.until("lab_name")
    edit(house / ".copier-answers.yml", lambda text: text.replace("feature: true", "feature: false"))
    before = state(house)
    for _ in range(4):
        terminal.type("\r")
    assert terminal.wait() == 1
    assert "`.copier-answers.yml` was changed while the update ran." in terminal.said
    assert state(house) == before


@pytest.mark.deep
def test_a_merge_begun_while_the_wizard_waits_stops_it(house: Path) -> None:
    git(house, "checkout", "--quiet", "-b", "side")
    put(house, {"side.txt": "side\n"})
    commit(house)
    git(house, "checkout", "--quiet", "-")
    terminal = Terminal(COPIER, *ASK, cwd=house)
    terminal.until("lab_name")
    git(house, "merge", "--no-commit", "--no-ff", "side")
    before = state(house)
    for _ in range(4):
        terminal.type("\r")
    assert terminal.wait() == 1 and "in the middle of a merge" in terminal.said
    assert state(house) == before


@pytest.mark.deep
def test_a_second_update_is_refused_while_the_first_one_asks(house: Path) -> None:
    terminal = Terminal(COPIER, *ASK, cwd=house)
    terminal.until("lab_name")
    said = untouched(house, lambda: update(house)).stderr
    assert "Another update of this lab is running." in said
    assert script(house).returncode == 2
    for _ in range(4):
        terminal.type("\r")
    assert terminal.wait() == 0
    assert (house / "new").exists()


# Cut off while it writes
# -------------------------------------------------------------------------------------------------------

# Brings a fault at the n-th thing that the writing does to the file system or to Git's index. Python runs it before
# anything else.
FAULTS = """
import os, signal, subprocess
kind, _, number = os.environ.get("FAULT", "").partition(":")
count = 0
def strike(path):
    global count
    # From the journal's first folder to its last.
    if not number or not count and not os.fspath(path).endswith("/being-made"):
        return
    count += 1
    if count - int(number) in {"interrupt": (0,), "impatient": (1, 2)}.get(kind, ()):
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
    if count == int(number):
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif kind in ("full", "impatient"):
            raise OSError(28, "No space left on device", os.fspath(path))
def wrap(name):
    original = getattr(os, name)
    def wrapped(path, *rest, **options):
        if not isinstance(path, int) and "dir_fd" not in options:
            strike(rest[0] if name in ("link", "replace", "rename", "symlink") else path)
        return original(path, *rest, **options)
    setattr(os, name, wrapped)
for name in ("link", "replace", "rename", "symlink", "mkdir", "unlink", "rmdir"):
    wrap(name)
run = subprocess.run
def run_wrapped(command, *rest, **options):
    if count and "update-index" in command:
        strike("the index")
    return run(command, *rest, **options)
subprocess.run = run_wrapped
"""


def faulty(house: Path, fault: str, *command: str) -> subprocess.CompletedProcess[str]:
    folder = (house.parents[1] if (house.parent / ".git").exists() else house.parent) / "faults"
    put(folder, {"sitecustomize.py": FAULTS})
    path = os.pathsep.join([str(COPIER.parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(folder), "FAULT": fault}
    return run(*(command or ("./lab", "update", "--defaults")), cwd=house, stdin=subprocess.DEVNULL, env=env)


def edited_by_the_owner(house: Path) -> Path:
    edit(house / "a.txt", lambda text: "mine\n" + text)
    edit(house / "bin" / "old", lambda text: "mine\n" + text)
    commit(house, "Mine")
    return house


@pytest.fixture
def mine(house: Path) -> Path:
    """Return a lab with edits of its owner's in each file that the update changes."""
    return edited_by_the_owner(house)


@pytest.fixture(scope="module")
def undisturbed(start: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, bool]]:
    """Return the files of the same lab, updated without a disturbance."""
    folder = tmp_path_factory.mktemp("undisturbed") / "lab"
    shutil.copytree(start, folder, symlinks=True)
    put(folder, {".env": "TOKEN=secret\n"})
    done = script(edited_by_the_owner(folder))
    assert done.returncode == 0, done.stderr
    return files(folder)


@pytest.fixture
def expected(mine: Path, start: Path, undisturbed: dict[str, tuple[bytes, bool]]) -> dict[str, tuple[bytes, bool]]:
    """Return the same files, with the template where it is for this lab."""
    data, executable = undisturbed[".copier-answers.yml"]
    here = data.replace(str(start.parent / "template").encode(), str(mine.parent / "template").encode())
    return {**undisturbed, ".copier-answers.yml": (here, executable)}


# Steps 7 to 22 are those in which the lab changes.
@pytest.mark.parametrize(
    ("committed", "number"), [(False, 15), (True, 22), (False, 7), (False, 22), (True, 7), (True, 15)]
)
@pytest.mark.deep
def test_the_next_run_finishes_what_was_cut_off(
    mine: Path, expected: dict[str, tuple[bytes, bool]], number: int, committed: bool
) -> None:
    first = faulty(mine, f"kill:{number}")
    assert journal.is_unfinished(mine / ".git" / "lab-update"), f"the kill hit nothing: {first.stderr}"
    assert first.returncode == 3 and "The update was cut off while it wrote. Run ./lab update again" in first.stderr
    settings = json.loads((ROOT / "example" / "lab_program" / "settings.json").read_text(encoding="utf-8"))
    house_settings = mine / "lab_program" / "settings.json"
    assert not house_settings.exists()
    house_settings.write_text(json.dumps(settings), encoding="utf-8")
    up = run("./lab", "up", "--dry-run", cwd=mine, stdin=subprocess.DEVNULL)
    house_settings.unlink()
    assert up.returncode == 1 and "An update of this lab was cut off while it wrote." in up.stderr, up.stderr
    assert "run ./lab update, which brings the update to its end" in up.stderr
    if committed:
        # As Copier's "commit your changes" would have it.
        git(mine, "add", "--all")
        git(mine, "commit", "--quiet", "--allow-empty", "--message", "Half of it")
    second = script(mine)
    assert second.returncode == 0, second.stderr
    assert "An update was cut off on " in second.stderr and "# The lab, from 1.0.1 to 1.1.0" in second.stderr
    assert files(mine) == expected
    assert not (mine / ".git" / "lab-update" / "journal").exists()
    commit(mine, "All of it")
    assert git(mine, "show", "HEAD:a.txt").startswith("mine\n") and git(mine, "show", "HEAD:new") == "mine\nold\n"
    assert update(mine).returncode == 0


@pytest.mark.deep
def test_what_was_changed_after_the_cut_stays_and_is_told(mine: Path, expected: dict[str, tuple[bytes, bool]]) -> None:
    faulty(mine, "kill:11")
    assert journal.is_unfinished(mine / ".git" / "lab-update")
    put(
        mine,
        {
            "a.txt": "changed after the cut\n",
            ".copier-answers.yml": (mine / ".copier-answers.yml").read_text() + "# Mine.\n",
        },
    )
    commit(mine)
    done = script(mine)
    assert done.returncode == 0
    assert (mine / "a.txt").read_text() == "changed after the cut\n"
    name = re.search(
        r"`a.txt` was changed since, and stays as it is. The update's version: `git cat-file blob (\w+)`", done.stderr
    )
    assert name and git(mine, "cat-file", "blob", name[1]).encode() == expected["a.txt"][0]
    assert (mine / "new").read_text() == "mine\nold\n"


@pytest.mark.deep
def test_a_plain_copier_says_how_the_cut_off_update_is_finished(mine: Path) -> None:
    faulty(mine, "kill:11")
    commit(mine)
    said = untouched(mine, lambda: update(mine)).stderr
    assert "An earlier update was cut off while it wrote. Run `./lab update`" in said


@pytest.mark.parametrize("number", [3, 10, 21])
@pytest.mark.deep
def test_a_signal_while_it_writes_lets_it_finish(
    mine: Path, expected: dict[str, tuple[bytes, bool]], number: int
) -> None:
    done = faulty(mine, f"interrupt:{number}")
    assert done.returncode == 0, done.stderr
    assert files(mine) == expected


@pytest.mark.parametrize("number", [10, 14, 21])
@pytest.mark.deep
def test_ctrl_c_at_each_step_of_the_roll_back_lets_it_finish(mine: Path, number: int) -> None:
    before = state(mine)
    done = faulty(mine, f"impatient:{number}")
    assert done.returncode == 2 and "No space left on device" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and not journal.is_unfinished(mine / ".git" / "lab-update")
    assert state(mine) == before


# But for a link, which falls back to a copy.
@pytest.mark.parametrize("number", [10, 21, 2, 6, 14, 20])
@pytest.mark.deep
def test_a_full_disk_leaves_the_lab_as_it_was(mine: Path, number: int) -> None:
    before = state(mine)
    done = faulty(mine, f"full:{number}")
    assert done.returncode == 2, done.stderr
    assert "No space left on device" in done.stderr and "Traceback" not in done.stderr
    assert state(mine) == before
    assert update(mine).returncode == 0


# The surroundings
# --------------------------------------------------------------------------------------------------------------


# What Git itself says that it hands down to hooks and aliases, and the one beside it that leads elsewhere; the settings of
# GIT_CONFIG_COUNT are the owner's.
LOCAL = {*run("git", "rev-parse", "--local-env-vars").stdout.split()}
HANDED_DOWN = sorted({*LOCAL, "GIT_NAMESPACE"} - {"GIT_CONFIG_COUNT"})


def handed_down(other: Path) -> dict[str, str]:
    """Return what a hook of another repository would hand down, and what leads there by any of Git's variables."""
    place = other / ".git"
    values: dict[str, str | Path] = {
        "GIT_WORK_TREE": other,
        "GIT_INDEX_FILE": place / "index",
        "GIT_OBJECT_DIRECTORY": place / "objects",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": place / "objects",
        "GIT_SHALLOW_FILE": other / "none",
        "GIT_GRAFT_FILE": other / "none",
        "GIT_CONFIG": place / "config",
        "GIT_CONFIG_PARAMETERS": f"'core.worktree={other}'",
        "GIT_IMPLICIT_WORK_TREE": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_REPLACE_REF_BASE": "refs/heads/",
        "GIT_PREFIX": "x/",
        "GIT_NAMESPACE": "other",
        "GIT_INTERNAL_SUPER_PREFIX": "x/",
    }
    return {name: str(values.get(name, place)) for name in HANDED_DOWN}


# What a Git that is called with --git-dir hands down, and what `git commit` hands down to its hooks.
CALLERS = {
    "copier": ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"],
    "copier in a hook": ["GIT_INDEX_FILE", "GIT_PREFIX"],
}


@pytest.mark.parametrize("way", [*CALLERS, "script"])
@pytest.mark.deep(keep=1)
def test_the_repository_of_a_calling_hook_is_left_alone(house: Path, way: str) -> None:
    other = new_repository(house.parent / "other")
    put(other, {"file.txt": "file\n"})
    commit(other)
    before = state(other)
    env = handed_down(other)
    if way in CALLERS:
        # Copier's own first look is at the caller's repository, and may end there; what counts is what it leaves.
        here = state(house)
        done = update(house, env={name: env[name] for name in CALLERS[way]})
        assert state(other) == before and (done.returncode == 0 or state(house) == here), done.stderr
        return
    done = script(house, **env)
    assert done.returncode == 0, done.stderr
    assert state(other) == before and (house / "a.txt").read_text().endswith("new\n")
    assert git(house, "log", "--oneline").count("\n") == 2


@pytest.mark.parametrize("name", HANDED_DOWN)
@pytest.mark.deep(keep=4)
def test_what_a_hook_hands_down_leads_no_command_away(house: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    other = new_repository(house.parent / "other")
    head, index = git(house, "rev-parse", "HEAD"), git(house, "ls-files", "--stage")
    monkeypatch.setenv(name, handed_down(other)[name])
    seen = Git(house)
    assert name not in seen.environment
    assert seen("rev-parse", "HEAD").decode() == head and seen("ls-files", "--stage").decode() == index
    assert seen("status", "--porcelain") == b"" and seen.setting("core.bare") == "false"


def test_no_hook_of_the_owners_runs_for_what_the_update_asks_of_git(house: Path) -> None:
    log = house.parent / "log"
    put(
        house.parent / "hooks",
        dict.fromkeys(("post-index-change", "reference-transaction"), f"#!/bin/sh\necho $0 >> {log}\n"),
    )
    for hook in (house.parent / "hooks").iterdir():
        hook.chmod(0o755)
    git(house, "config", "core.hooksPath", str(house.parent / "hooks"))
    here = Git(house)
    here("update-ref", "refs/heads/ours", "HEAD")
    here.index([f"100755 {here.store(b'new')} 0\tnew.sh"])
    assert not log.exists()
    git(house, "update-ref", "refs/heads/theirs", "HEAD")
    assert "reference-transaction" in log.read_text(), "the owner's own Git runs them"


@pytest.mark.slow
def test_work_in_a_submodule_is_left_alone(house: Path) -> None:
    module = new_repository(house.parent / "module")
    put(module, {"file.txt": "file\n"})
    commit(module)
    git(house, "-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(module), "module")
    commit(house)
    git(house, "config", "submodule.recurse", "true")
    git(house, "config", "submodule.module.ignore", "all")
    put(house, {"module/file.txt": "not yet committed\n", "module/new.txt": "new\n"})
    git(house / "module", "add", "new.txt")
    before = state(house / "module")
    done = update(house)
    assert done.returncode == 0, done.stderr
    assert state(house / "module") == before
    assert run("sh", "-c", done.stderr.split("To undo all of it: `")[1].split("`")[0], cwd=house).returncode == 0
    assert state(house / "module") == before and not (house / "new").exists()


@pytest.mark.slow
def test_what_is_missing_elsewhere_in_a_larger_repository_stays_missing(house: Path) -> None:
    outside = {"deleted.txt": "once\n", "elsewhere/sparse.txt": "sparse\n", "kept.txt": "kept\n"}
    large = (house := in_a_larger_repository(house, outside)).parent
    (large / "deleted.txt").unlink()
    git(large, "update-index", "--skip-worktree", "elsewhere/sparse.txt")
    shutil.rmtree(large / "elsewhere")
    put(large, {"kept.txt": "not yet committed\n"})
    done = update(house)
    assert done.returncode == 0, done.stderr
    assert not (large / "deleted.txt").exists() and not (large / "elsewhere").exists()
    assert (large / "kept.txt").read_text() == "not yet committed\n"
    assert (house / "new").exists()
    assert run("sh", "-c", done.stderr.split("To undo all of it: `")[1].split("`")[0], cwd=house).returncode == 0
    assert not (large / "deleted.txt").exists() and not (large / "elsewhere").exists()
    assert (house / "bin" / "old").exists() and not (house / "new").exists()


@pytest.mark.slow
def test_no_command_of_the_report_writes_over_anything(house: Path) -> None:
    outside = house.parent / "outside"
    put(outside, {"secret": "outside\n"})
    template = house.parent / "template"
    put(template / "template", {".env": "TOKEN=\n", "linked": "theirs\n"})
    release(template, "1.2.0")
    (house / "linked").symlink_to(outside / "secret")
    git(house, "add", "linked")
    commit(house)
    done = update(house)
    assert "## Set aside" in done.stderr
    aside = done.stderr.split("## Set aside\n\n")[1].split("\n\n")[0]
    assert "`.env`: " in aside and "`linked`: " in aside
    before = state(house)
    for command in re.findall(r"`(git [^`]*)`", aside):
        assert run("sh", "-c", command, cwd=house).returncode == 0
    assert state(house) == before and (outside / "secret").read_text() == "outside\n"


@pytest.mark.slow
def test_a_new_file_that_the_owners_rules_ignore_is_written_and_told(house: Path) -> None:
    template = house.parent / "template"
    put(template / "template", {"extra/new file.yaml": "new\n", "plain.yaml": "new\n"})
    release(template, "1.2.0")
    edit(house / ".gitignore", lambda text: text + "extra/\n")
    commit(house)
    done = update(house)
    assert done.returncode == 0, done.stderr
    assert (house / "extra" / "new file.yaml").read_text() == "new\n"
    assert "- `extra/new file.yaml`: `extra/` (line 4 of `.gitignore`) keeps it out of every commit." in done.stderr
    assert "`git add --force 'extra/new file.yaml'`" in done.stderr and "`plain.yaml`: `" not in done.stderr


# Every way to end
# --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def lived_in(mine: Path) -> Path:
    """Return a lab in a larger repository, with work of every kind that is in no commit around it."""
    module = new_repository(mine.parent / "module")
    put(module, {"file.txt": "file\n"})
    commit(module)
    outside = {"deleted.txt": "once\n", "edited.txt": "once\n", "a.txt": "another\n", "bin/old": "another\n"}
    large = (house := in_a_larger_repository(mine, outside)).parent
    git(large, "-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(module), "lab/module")
    git(large, "config", "submodule.recurse", "true")
    git(large, "config", "submodule.lab/module.ignore", "all")
    commit(large)
    (large / "deleted.txt").unlink()
    put(large, {"edited.txt": "not yet committed\n", "staged.txt": "staged\n", "untracked.txt": "untracked\n"})
    git(large, "add", "staged.txt")
    put(house / "module", {"file.txt": "not yet committed\n", "new.txt": "new\n"})
    git(house / "module", "add", "new.txt")
    put(house, {".env": "TOKEN=secret\n", "bin/.env": "TOKEN=another\n"})
    return house


def interrupted(house: Path, keys: str) -> int:
    terminal = Terminal("./lab", "update", "--all", cwd=house)
    terminal.until("lab_name")
    terminal.type(keys)
    return terminal.wait()


def closed(house: Path) -> int:
    terminal = Terminal(COPIER, *ASK, cwd=house)
    terminal.until("lab_name")
    terminal.process.send_signal(signal.SIGHUP)
    return int(terminal.wait() != 0) * 2


def killed_at_the_wizard(house: Path) -> int:
    terminal = Terminal(COPIER, *ASK, cwd=house)
    terminal.until("lab_name")
    terminal.process.kill()
    return int(terminal.wait() != 0) * 2


def conflicting_update(house: Path) -> int:
    template = house.parents[1] / "template"
    edit(template / "template" / "a.txt", lambda text: "theirs\n" + text)
    release(template, "1.2.0")
    return script(house).returncode


ENDINGS: dict[str, tuple[Callable[[Path], int], int]] = {
    "done": (lambda house: script(house).returncode, 0),
    "done with conflicts": (conflicting_update, 1),
    "refused": (lambda house: script(house, "--defaults", "--data", "nobody=asks").returncode, 2),
    "ctrl-c": (lambda house: interrupted(house, "\x03"), 2),
    "ctrl-c twice": (lambda house: interrupted(house, "\x03\x03"), 2),
    "closed terminal": (closed, 2),
    "killed at the wizard": (killed_at_the_wizard, 2),
    "full disk": (lambda house: faulty(house, "full:15").returncode, 2),
    "signals while it writes": (lambda house: faulty(house, "interrupt:15").returncode, 0),
    "killed before it writes": (lambda house: faulty(house, "kill:5").returncode, 2),
    "killed while it writes": (lambda house: faulty(house, "kill:15").returncode, 3),
}


@pytest.mark.parametrize(
    "ending", sorted(ENDINGS, key=lambda name: name not in ("killed while it writes", "full disk"))
)
@pytest.mark.deep(keep=1)
def test_whatever_the_end_nothing_of_the_owners_is_touched(lived_in: Path, ending: str) -> None:
    large, act, expected = lived_in.parent, *ENDINGS[ending]
    before, module = state(large), state(lived_in / "module")
    assert act(lived_in) == expected
    after = state(large)
    assert after.head == before.head and state(lived_in / "module") == module
    outside = {name for name in {*before.files, *after.files} if not name.startswith("lab/")}
    kept = outside | {"lab/.env", "lab/bin/.env", "lab/feature.txt", "lab/update.sh"}
    assert {name: after.files.get(name) for name in kept} == {name: before.files.get(name) for name in kept}
    staged = [line for line in before.index.splitlines() if "\tlab/" not in line]
    assert [line for line in after.index.splitlines() if "\tlab/" not in line] == staged
    if expected == 2:
        assert after == before
        return
    if expected == 3:
        assert script(lived_in).returncode == 0
    text = (lived_in / "a.txt").read_text()
    assert text.startswith("mine\n" if expected != 1 else "<<<<<<< before updating\nmine\n") and text.endswith("new\n")
    assert (lived_in / "new").read_text() == "mine\nold\n" and not (lived_in / "bin" / "old").exists()
    after = state(large)
    assert {name: after.files.get(name) for name in kept} == {name: before.files.get(name) for name in kept}
    report = (lived_in / REPORT).read_text()
    assert run("sh", "-c", report.split("To undo all of it: `")[1].split("`")[0], cwd=lived_in).returncode == 0
    assert state(large) == before and state(lived_in / "module") == module


# The journal by itself
# ---------------------------------------------------------------------------------------------------------


def what_is_no_part_of_it(large: Path, targets: dict[str, object]) -> tuple[object, ...]:
    """Return all that an update of *targets* leaves alone: other files, ignored ones too, the index, the commit, the submodule."""
    found, changed = state(large), {f"lab/{path}" for path in targets}
    # What is written first stands beside its place for a moment.
    files_beside = {
        name: entry for name, entry in found.files.items() if name not in changed and not name.endswith(".lab-update")
    }
    index = [line for line in found.index.splitlines() if line.partition("\t")[2] not in changed]
    return files_beside, index, found.head, state(large / "lab" / "module")


@pytest.mark.deep
def test_every_moment_of_the_writing_can_be_the_last(lived_in: Path) -> None:
    """The same as above, at each step: in a process that is forked for it, and so takes no time."""
    from hooks.files import Entry, read

    (lived_in / "bin" / "old").chmod(0o755)
    git(lived_in, "add", "bin/old")
    pristine = lived_in.parent
    blob = git(lived_in, "rev-parse", "HEAD:./bin/old").strip()
    targets = {
        "a.txt": Entry(b"after\n"),
        "bin/old": None,
        "new": Entry(b"old\nmine\n", True),
        "deep/er/file": Entry(b"\0\1"),
        "feature.txt": Entry(b"on\n", True),
        "link": Entry(b"a.txt", link=True),
    }
    plan = journal.Plan(
        tuple(journal.Change(path, read(lived_in / path), entry) for path, entry in targets.items()),
        (f"0 {'0' * 40}\tlab/bin/old", f"100755 {blob} 0\tlab/new"),
    )
    before, reached = what_is_no_part_of_it(pristine, targets), 0
    for number in range(1, 200):
        large = pristine.parent / f"try-{number}"
        shutil.copytree(pristine, large, symlinks=True)
        lab, where = large / "lab", journal.place(large / ".git", "lab/")
        where.mkdir()
        child = os.fork()
        if child == 0:
            environment: dict[str, object] = {}
            os.environ["FAULT"] = f"kill:{number}"
            exec(FAULTS, environment)
            journal.write(lab, Git(lab), where, "lab/", plan, "The report.\n", ["a.txt"])
            os._exit(0)
        ended = os.waitpid(child, 0)[1]
        assert what_is_no_part_of_it(large, targets) == before, f"after step {number}"
        for path, entry in targets.items():
            there = read(lab / path)
            assert there in (entry, read(lived_in / path)), f"{path} is neither, after step {number}"
        if journal.is_unfinished(where):
            reached += 1
            done = journal.finish(lab, Git(lab), where)
            assert (done.report, done.conflicts, done.left) == ("The report.\n", ["a.txt"], {})
            assert what_is_no_part_of_it(large, targets) == before, f"finished after step {number}"
        elif not (lab / "new").exists():
            assert state(large) == state(pristine)
            continue
        for path, entry in targets.items():
            assert read(lab / path) == entry, f"{path} after step {number}"
        assert "new" in git(lab, "ls-files") and "bin/old" not in git(lab, "ls-files")
        assert not list(lab.rglob("*.lab-update")) and [path.name for path in (lab / "bin").iterdir()] == [".env"]
        shutil.rmtree(large)
        if os.waitstatus_to_exitcode(ended) == 0:
            break
    else:
        pytest.fail("it never came to its end")
    assert reached > 20


@pytest.mark.parametrize("late", ["a.txt", "bin/old", "new", "feature.txt", "deep/er/file"])
def test_a_file_that_is_saved_at_the_very_moment_of_the_writing_stays_and_stops_it(mine: Path, late: str) -> None:
    """Whichever file it is: what was written before it is taken back."""
    from hooks.files import Entry, read

    targets = {
        "a.txt": Entry(b"after\n"),
        "bin/old": None,
        "deep/er/file": Entry(b"x"),
        "feature.txt": None,
        "new": Entry(b"n"),
    }
    plan = journal.Plan(
        tuple(journal.Change(path, read(mine / path), entry) for path, entry in targets.items()),
        (f"0 {'0' * 40}\tbin/old",),
    )
    put(mine, {late: "saved at the very moment\n"})
    before = state(mine)
    where = journal.place(mine / ".git", "")
    where.mkdir(exist_ok=True)
    with pytest.raises(
        journal.Stopped, match=f"`{late}` was saved while the update was being written.* nothing was changed"
    ):
        journal.write(mine, Git(mine), where, "", plan, "The report.\n", [])
    assert state(mine) == before and not journal.is_unfinished(where)
