"""What a run holds and leaves: its lock, its private folder, its environment, its waiting, and what it prints."""

from __future__ import annotations

import ast
import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.program.support.faked import Time, patience
from tests.support import program
from tests.support.program import (
    PACKAGE,
    console_module,
    environment,
    errors,
    programs,
    workspace,
)
from tests.support.program import (
    patience as patience_module,
)

HOLD = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
from lab_program import workspace
with workspace.one_run_at_a_time(pathlib.Path(sys.argv[2])), workspace.private_folder({"XDG_RUNTIME_DIR": sys.argv[3]}) as folder:
    (folder / "key").write_text("secret")
    print(folder, flush=True)
    if sys.argv[4:]:
        import subprocess
        print(subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    (tmp_path / "lab").touch()
    (tmp_path / "shm").mkdir()
    return tmp_path


def start(lab: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(PACKAGE.parent), str(lab), str(lab / "shm"), *more]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    process.communicate()


def test_the_lock_ends_with_the_run_though_a_program_that_it_started_lives_on(lab: Path) -> None:
    first = start(lab, "with a child")
    folder, child = Path(line(first)), int(line(first))
    try:
        with pytest.raises(errors.Failure, match=r"Another \./lab"), workspace.one_run_at_a_time(lab):
            pass
        first.kill()
        end(first)
        os.kill(child, 0)
        with workspace.one_run_at_a_time(lab) as known:
            assert known
    finally:
        os.kill(child, signal.SIGKILL)
    assert (folder / "key").exists(), "a kill cannot be caught; the next run removes what it left"
    workspace.remove_left(lab / "shm")
    assert list((lab / "shm").iterdir()) == []


def test_a_run_removes_nobodys_folder_but_those_of_runs_that_have_ended(lab: Path) -> None:
    """Another run may be in another container: its process number says nothing here, its lock does."""
    other = start(lab)
    folder = Path(line(other))
    with workspace.private_folder({"XDG_RUNTIME_DIR": str(lab / "shm")}) as mine:
        assert mine.parent == folder.parent and mine != folder
        assert (folder / "key").read_text() == "secret" and mine.stat().st_mode & 0o777 == 0o700
    assert folder.exists() and not mine.exists()
    end(other)
    assert not folder.exists()


def test_what_an_earlier_version_left_is_removed_when_it_is_old(lab: Path) -> None:
    old, young = lab / "shm/lab-bootstrap.1.abc", lab / "shm/lab-bootstrap.2.abc"
    for folder in (old, young):
        folder.mkdir()
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    (lab / "shm/lab-run.link").symlink_to(lab)
    workspace.remove_left(lab / "shm")
    assert {path.name for path in (lab / "shm").iterdir()} == {young.name, "lab-run.link"} and (lab / "lab").exists()


def test_no_program_inherits_a_descriptor_of_the_run(lab: Path) -> None:
    with workspace.one_run_at_a_time(lab), workspace.private_folder({"XDG_RUNTIME_DIR": str(lab / "shm")}):
        done = programs.Programs({"PATH": "/usr/bin:/bin"}, program.console()).run(["ls", "-l", "/proc/self/fd"])
    assert str(lab) not in done.out and done.status == 0


def test_a_program_that_is_not_there_is_a_failure_like_another() -> None:
    done = programs.Programs({"PATH": "/nonexistent"}, program.console()).run(["/nonexistent/kubectl"])
    assert done.status == 127 and "cannot be started" in done.words


# The environment


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("KUBECONFIG", True), ("HTTPS_PROXY", True), ("no_proxy", True), ("SSL_CERT_FILE", True), ("GIT_CONFIG_GLOBAL", True),
        ("GIT_CONFIG_COUNT", True), ("GIT_SSH_COMMAND", True), ("SSH_AUTH_SOCK", True), ("GIT_SSL_CAINFO", True), ("HELM_CACHE_HOME", True),
        ("GIT_DIR", False), ("GIT_INDEX_FILE", False), ("GIT_CONFIG_PARAMETERS", False), ("GIT_TRACE", False), ("GIT_TRACE2_EVENT", False),
        ("GIT_CURL_VERBOSE", False), ("GIT_ASKPASS", False), ("SSH_ASKPASS", False), ("HELM_KUBECONTEXT", False), ("HELM_NAMESPACE", False),
        ("HELM_DRIVER", False), ("FLUX_SYSTEM_NAMESPACE", False), ("LC_MESSAGES", False), ("LANGUAGE", False), ("BASH_ENV", False),
    ],
)  # fmt: skip
def test_each_variable_of_the_owner_is_kept_or_removed_as_the_table_says(name: str, kept: bool) -> None:
    given = {name: "value", "HOME": "/home/me"}
    assert environment.for_programs(given) == {"HOME": "/home/me", "LC_ALL": "C"} | ({name: "value"} if kept else {})


def test_no_program_is_led_to_the_repository_of_a_calling_hook() -> None:
    """Which variables lead there, Git says itself."""
    local = subprocess.run(["git", "rev-parse", "--local-env-vars"], capture_output=True, text=True, check=True)
    names = {*local.stdout.split()} - {"GIT_CONFIG_COUNT"}
    assert "GIT_DIR" in names
    given = dict.fromkeys([*names, "GIT_CONFIG_COUNT"], "/another")
    for environment_for in (environment.for_programs, environment.for_owner, environment.for_git_with_credential):
        seen = environment_for(environment.for_programs(given))
        assert "GIT_CONFIG_COUNT" in seen and not names & seen.keys()
    assert environment.for_owner(given) == {"GIT_CONFIG_COUNT": "/another"}


# Waiting


def test_a_wait_says_what_it_waits_for_once_and_ends_in_time() -> None:
    clock, reasons = Time(), iter(["starting", "starting", "migrating", None])
    waiting = patience(clock, poll_seconds=5)
    waiting.wait(1, "GitLab", lambda: next(reasons))
    assert waiting.console.out.getvalue().splitlines() == [
        "   ...    GitLab: starting, 0 of at most 1 minutes",
        "   ...    GitLab: migrating, 0 of at most 1 minutes",
    ]
    with pytest.raises(patience_module.TimedOutError, match="never"):
        waiting.wait(2, "it", lambda: "never")
    assert sum(clock.slept) == 15 + 120


def test_what_is_settled_begins_with_another_look_until_an_answer_comes() -> None:
    tries: list[int] = []

    def change() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise errors.AnswerLostError("the connection broke", "look here")
        return "done"

    assert patience().settle("make it", change) == "done" and len(tries) == 3
    tries.clear()
    with pytest.raises(errors.Failure, match="Could not make it: the connection broke"):
        patience(retries=2).settle("make it", change)


# What is printed


class Screen(io.StringIO):
    """A terminal that remembers what was written."""

    def isatty(self) -> bool:
        return True


def screen(**variables: str) -> console_module.Console:
    return console_module.Console(variables, out=Screen(), err=Screen(), source=Screen("no\n"))


def test_progress_is_one_line_that_moves_in_a_terminal_and_plain_lines_elsewhere() -> None:
    for variables, moves in (
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"CI": "true"}, False),
        ({"TERM": "dumb"}, False),
    ):
        shown = screen(**variables)
        shown.doing("one")
        shown.doing("two")
        shown.have("three")
        text = shown.out.getvalue()
        assert ("\r" in text) is moves and text.count("\n") == (1 if moves else 3), variables
        assert ("\x1b[32m" in text) is ("NO_COLOR" not in variables and "TERM" not in variables)


def test_a_question_of_trust_is_answered_by_nobody_but_the_owner() -> None:
    shown = console_module.Console({}, assume_yes=True, out=Screen(), err=Screen(), source=Screen("n\n"))
    assert shown.ask_yes("Go on?", "") and not shown.ask_yes("Is this its key?", "", in_person=True)
    with pytest.raises(errors.Failure, match="There is no terminal to ask: Is this its key"):
        program.console(assume_yes=True).ask_yes("Is this its key?", "say so", in_person=True)


def test_the_log_is_private_and_few_are_kept(tmp_path: Path) -> None:
    for number in range(console_module.LOGS_KEPT + 5):
        shown = program.console()
        shown.open_log(tmp_path / "state", f"up{number:02}")
        shown.did("something")
        shown.close_log()
    logs = sorted((tmp_path / "state").iterdir())
    assert len(logs) == console_module.LOGS_KEPT and all(log.stat().st_mode & 0o777 == 0o600 for log in logs)
    assert re.fullmatch(r"\d\d:\d\d:\d\d done something\n", logs[-1].read_text())
    shown.open_log(Path("/proc/nowhere"), "up")


# The program as a whole


def test_the_program_needs_nothing_but_the_standard_library() -> None:
    imported = set()
    for file in [PACKAGE.parent / "lab", *PACKAGE.rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add(str(node.module).partition(".")[0])
    assert imported - sys.stdlib_module_names == {"lab_program"}


def test_every_module_and_function_can_be_read_in_one_go() -> None:
    for file in PACKAGE.rglob("*.py"):
        text = file.read_text()
        assert text.count("\n") <= 400, file
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno + 1 <= 60, (file, node.name)


def test_every_stage_is_in_the_list_and_declares_what_it_needs_looks_at_and_changes() -> None:
    from lab_program.stages import STAGES
    from lab_program.stages.base import Stage

    assert set(STAGES) == set(Stage.__subclasses__()) - {
        one for one in Stage.__subclasses__() if one.__module__.startswith("test")
    }
    assert len({stage.name for stage in STAGES}) == len(STAGES)
    for stage in STAGES:
        assert stage.purpose and stage.looks_at and isinstance(stage.changes, tuple)
        assert stage.programs(program.settings()) >= {"kubectl"}
