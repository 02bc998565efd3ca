"""How the script is called, and where: any folder, any path, any Bash, no terminal, a home that cannot be written."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Callable

import pytest

from journeys import STAGES, Journey
from lab_world import LAB, Terminal, World
from support.tools import bash_4


@pytest.mark.tool("Bash 4")
def test_it_runs_under_bash_4(world: World) -> None:
    (world.bin / "bash").symlink_to(bash_4())
    world.must_run()
    result = world.summary()
    assert "done" not in world.must_run().out
    assert world.summary() == result
    world.must_run("verify")


def test_a_bash_that_is_too_old_is_told_so(world: World) -> None:
    """Without Bash 3 at hand its answer to BASH_VERSINFO stands for it."""
    text = (world.lab / "bootstrap.sh").read_text().replace("BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1]", "302")
    (world.lab / "old.sh").write_text(text)
    (world.lab / "old.sh").chmod(0o755)
    run = world.run(script="old.sh")
    assert run.status == 1 and "needs Bash 4.4 or newer" in run.err and run.out == ""


def test_list_and_help_need_nothing(world: World) -> None:
    listed = world.run("--list", PATH="/usr/bin:/bin")
    assert [line.split()[0] for line in listed.out.splitlines()] == list(STAGES)
    shown = world.run("--help", PATH="/usr/bin:/bin")
    variables = set(re.findall(r"LAB_[A-Z_]+", shown.out)) - {"LAB_NAME"}
    text = "".join(p.read_text() for p in [world.lab / "bootstrap.sh", *world.lab.glob("bootstrap/*/*.sh")])
    read = set(re.findall(r"\$\{?(LAB_[A-Z_]+)|: \"\$\{(LAB_[A-Z_]+):", text))
    internal = {"LAB_DIR", "LAB_NAME", "LAB_PROJECT", "LAB_TMP"}
    assert variables == {a or b for a, b in read} - internal, (
        "every variable of the environment is documented, and no other"
    )
    assert world.calls == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from"], "a stage is missing"),
        (["--only", "nonsense"], 'no stage or option "nonsense"'),
        (["--frobnicate"], 'no option "--frobnicate"'),
        (["nonsense"], 'no stage or option "nonsense"'),
        (["--from=sync", "--only=sync"], "exclude each other"),
        (["--from", "sync", "verify"], "exclude"),
    ],
)
def test_a_wrong_call_changes_nothing_and_says_what_is_wrong(world: World, arguments: list[str], words: str) -> None:
    run = world.run(*arguments)
    assert run.status == 2 and words in run.err and "--help" in run.err and world.calls == []


def test_a_number_that_is_none_is_refused(world: World) -> None:
    run = world.run("--list", LAB_RETRIES="many")
    assert run.status == 0
    run = world.run(LAB_RETRIES="many")
    assert run.status == 2 and 'LAB_RETRIES must be a whole number, not "many"' in run.err and world.calls == []


def test_a_pause_that_is_no_number_is_refused_and_many_tries_do_not_overflow(world: World) -> None:
    run = world.run(LAB_POLL_SECONDS="soon")
    assert run.status == 2 and 'LAB_POLL_SECONDS must be a number of seconds, not "soon"' in run.err
    run = world.run(LAB_RETRIES="08")
    assert run.status == 2 and "LAB_RETRIES must be a whole number" in run.err and world.calls == []


def test_what_the_shell_or_a_hook_of_git_left_in_the_environment_leads_nowhere_else(world: World) -> None:
    """CDPATH sends `cd` to a folder of the same name, and makes it print where it went; GIT_DIR is a hook's."""
    (world.folder / "elsewhere" / LAB).mkdir(parents=True)
    for path in (f"{world.folder}/elsewhere", "."):
        done = subprocess.run(
            ["bash", f"{LAB}/bootstrap.sh", "--only", "preflight"],
            cwd=world.folder,
            env=world.environment(CDPATH=path, GIT_DIR="/nonexistent", GIT_INDEX_FILE="/nonexistent"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "committed as it stands" in done.stdout


def external_repository(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty repository elsewhere, which the owner's own Git can reach."""
    repository = world.gitlab.repository("external/lab")
    for arguments in (
        ["init", "--quiet", "--bare", str(repository)],
        ["-C", str(repository), "config", "http.receivepack", "true"],
    ):
        subprocess.run(["git", *arguments], check=True)
    world.external_logins = {("flux", "open sesame")}
    config = world.folder / "gitconfig"
    config.write_text(
        f'[url "http://localhost:{world.server.port}/external/"]\n  insteadOf = https://git.example/external/\n'
        '[credential]\n  helper = "!echo username=flux; echo password=open sesame; :"\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {
            "GITOPS_SOURCE": "external",
            "GITOPS_URL": "https://git.example/external/lab.git",
            "RUNNER_KIND": "kubernetes",
            "PRIVATE_CA": "true",
            "STORAGE_BACKEND": "host-path",
            "STORAGE_ROOT": "/storage",
            "PIPELINE_AUTH": "group-variable",
        },
    ],
    ids=["self", "external"],
)
def test_a_dry_run_looks_and_changes_nothing(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]
) -> None:
    world = make_world(**settings)
    external_repository(world, monkeypatch)
    run = world.run("--dry-run")
    assert run.status == 0, run.text
    assert "   done " not in run.out
    planned = [
        "install Flux 2.9.4",
        "groups HomeLAB",
        "deploy token",
        "tag HomeLAB/demo",
        "make sure that GitLab has the runner",
    ]
    planned += (
        ["ask for Flux's user name", "bring https://git.example"]
        if settings
        else ["install GitLab 19.3.0 with Helm", "push this repository"]
    )
    for what in planned:
        assert re.search(rf"would .*{re.escape(what)}", run.out), what
    assert world.changes == [] and not world.errors, world.errors


def test_a_dry_run_of_a_finished_lab_makes_no_token_to_look_with(journey: Journey) -> None:
    world = journey.to("end")
    run = world.must_run("--dry-run")
    assert world.changes == [] and "Nothing was changed" in run.out


def test_from_and_only_choose_stages(journey: Journey) -> None:
    world = journey.to("end")
    assert re.findall(r"== \d/9 (\w+)", world.must_run("--from", "runner").out) == ["runner", "verify"]
    assert re.findall(r"== \d/9 (\w+)", world.must_run("--only=registry").out) == ["registry"]
    assert re.findall(r"== \d/9 (\w+)", world.must_run("flux").out) == ["flux"]


def test_two_runs_at_once_are_refused(world: World) -> None:
    with (world.lab / "bootstrap.sh").open() as script:
        fcntl.flock(script, fcntl.LOCK_EX)
        run = world.run()
    assert run.status == 1 and "Another ./bootstrap.sh" in run.err and world.calls == []


def test_a_missing_tool_is_named_before_anything_is_done(world: World) -> None:
    for name in ("helm", "flux"):
        (world.bin / name).unlink()
    run = world.run()
    assert run.status == 1 and "tools are missing on this machine: flux, helm" in run.err and world.calls == []


def test_on_a_terminal_it_asks_and_never_shows_the_password(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(
        GITOPS_SOURCE="external", GITOPS_URL="https://git.example/external/lab.git", RUNNER_KIND="none", RUNNER_HOST=""
    )
    external_repository(world, monkeypatch)
    world.must_run("--only", "flux")
    run = Terminal(world, "--only", "gitlab")
    run.answer("user name at https://git.example/external/lab.git", "flux")
    run.answer("(not shown)", "open sesame")
    assert run.end() == 0, run.text
    assert "open sesame" not in run.text and not world.errors
    assert "\x1b[" in run.text, "colours on a terminal"
