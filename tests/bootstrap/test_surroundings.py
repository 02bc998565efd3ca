"""How the program is called, and where: any folder, any path, any Python, no terminal, a home that cannot be written."""

from __future__ import annotations

import ast
import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bootstrap.support.journeys import STAGES, Journey
from tests.bootstrap.support.lab_folder import TEMPLATE
from tests.bootstrap.support.lab_world import LAB, World
from tests.bootstrap.support.stand_in_programs import Caller
from tests.support import program


def pythons() -> list[Path]:
    """Return the Pythons on this machine that the program supports: those on PATH, and pyenv's."""
    found: dict[int, Path] = {}
    for minor in range(10, 20):
        name = f"python3.{minor}"
        places = [shutil.which(name), *sorted((Path.home() / ".pyenv/versions").glob(f"3.{minor}.*/bin/{name}"))]
        for place in map(Path, filter(None, places)):
            # A wrapper may be there without a Python behind it.
            if subprocess.run([place, "-c", ""], capture_output=True, check=False).returncode == 0:
                found[minor] = place
    return list(found.values())


@pytest.mark.parametrize("python", pythons(), ids=lambda python: python.name)
@pytest.mark.deep
def test_every_python_here_runs_it_alone_and_through_a_symbolic_link(world: World, python: Path) -> None:
    """-I: without the environment's Python settings and the owner's own packages."""
    link = world.folder / "a link"
    link.symlink_to(world.lab / "lab")
    world.must_run(program=[python, "-I", link], PYTHONPATH="/nonexistent", PYTHONHOME="/nonexistent")
    result = world.summary()
    assert "done" not in world.must_run(LC_ALL="C", LANG="").out
    assert world.summary() == result
    world.must_run(command="verify")


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize("language", ["C", "POSIX", "en_US.ISO-8859-1", "de_DE.UTF-8"])
def test_any_language_of_the_shell_will_do(journey: Journey, language: str) -> None:
    world = journey.to("end")
    assert LAB in world.must_run("--only", "preflight", LC_ALL=language).out or world.changes == []


def test_a_home_that_does_not_exist_is_not_made(world: World, tmp_path: Path) -> None:
    """Python would make the home /nonexistent of a service's account below the working folder."""
    home, here = "/no-such-home", tmp_path / "here"
    here.mkdir()
    command = [sys.executable, world.lab / "lab", "--help"]
    environment = {"PATH": os.environ["PATH"], "HOME": home}
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == ""
    assert list(here.iterdir()) == []
    assert list(world.lab.rglob("__pycache__")) == []


OLD = [
    place
    for minor in ("2.7", "3.6", "3.8", "3.9")
    for place in sorted((Path.home() / ".pyenv/versions").glob(f"{minor}.*/bin/python"))
]


@pytest.mark.skipif(not OLD, reason="no Python older than 3.10 is here (pyenv)")
@pytest.mark.parametrize("python", OLD, ids=lambda python: python.parts[-3])
def test_an_old_python_says_in_one_line_what_is_needed(world: World, python: Path) -> None:
    run = world.run("--list", program=[python, world.lab / "lab"], PATH=str(world.folder))
    assert (
        run.status == 1 and run.out == "" and re.fullmatch(r"\./lab needs Python 3\.10 or newer; this is .*\n", run.err)
    )


def test_a_python_that_is_too_old_is_told_so_or_hands_over_to_a_newer_one(world: World, tmp_path: Path) -> None:
    """Without an old Python at hand, this one says that it is 3.9."""
    old = tmp_path / "old.py"
    old.write_text(
        "import runpy, sys\nsys.version_info = (3, 9, 2, 'final', 0)\nsys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    empty = tmp_path / "bin"
    empty.mkdir()
    python = [sys.executable, "-I", str(old), world.lab / "lab"]
    run = world.run("--list", program=python, PATH=str(empty))
    assert run.status == 1 and "needs Python 3.10 or newer; this is 3.9" in run.err and run.out == ""
    (empty / "python3.11").symlink_to("/usr/bin/python3")
    assert world.run("--list", program=python, PATH=f"{empty}:/usr/bin:/bin").out.split()[0] == "preflight"


def test_the_program_is_one_that_an_old_python_can_read() -> None:
    """The executable itself has to run where the package cannot, in order to say so."""
    text = (TEMPLATE / "lab").read_text()
    ast.parse(text, feature_version=(3, 4))
    assert not re.search(r"\bf[\"']", text)


def test_bootstrap_sh_is_the_same_as_up_and_says_what_is_missing(world: World) -> None:
    assert (
        world.run("--list", program=["sh", world.lab / "bootstrap.sh"], command="--dry-run").out
        == world.run("--list").out
    )
    run = world.run(program=["/bin/sh", world.lab / "bootstrap.sh"], PATH=str(world.folder))
    assert run.status == 1 and "there is no python3 here" in run.err and run.out == ""


def test_list_and_help_need_nothing(world: World) -> None:
    listed = world.run("--list", PATH="/usr/bin:/bin")
    assert [line.split()[0] for line in listed.out.splitlines()] == list(STAGES)
    shown = world.run("--help", PATH="/usr/bin:/bin")
    variables = set(re.findall(r"LAB_[A-Z_]+", shown.out))
    text = "".join(p.read_text() for p in world.lab.glob("lab_program/**/*.py") if p.name != "up.py")
    read = set(re.findall(r"LAB_(?:GIT_|PROXMOX_|ACME_|ALERTS_FILE|BACKUPS_FILE|LOGIN_|SKIP)[A-Z_]*", text)) | {
        f"LAB_{name.upper()}" for name in program.environment.Limits.__dataclass_fields__
    }
    assert variables == read, "every variable of the environment is documented, and no other"
    assert world.calls == []


def test_every_command_has_a_help_with_an_example(world: World) -> None:
    shown = world.run(command="--help", yes=False)
    names = re.findall(r"^ {4}([a-z-]+) ", shown.out, re.MULTILINE)
    assert len(names) > 8
    for name in names:
        run = world.run("--help", command=name, yes=False, PATH="/usr/bin:/bin")
        assert run.status == 0 and "For example: ./lab " in run.out, name
    assert world.calls == []


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from"], "a stage is missing"),
        (["--only", "nonsense"], 'no stage or option "nonsense"'),
        (["one", "two"], '"two" is one word too many'),
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


@pytest.mark.slow
def test_what_the_shell_or_a_hook_of_git_left_in_the_environment_leads_nowhere_else(world: World) -> None:
    """CDPATH sends `cd` to a folder of the same name, and makes it print where it went; GIT_DIR is a hook's."""
    (world.folder / "elsewhere" / LAB).mkdir(parents=True)
    for path in (f"{world.folder}/elsewhere", "."):
        done = subprocess.run(
            [f"{LAB}/bootstrap.sh", "--yes", "--only", "preflight"],
            cwd=world.folder,
            env=world.environment(
                CDPATH=path, GIT_DIR="/nonexistent", GIT_INDEX_FILE="/nonexistent", HELM_NAMESPACE="elsewhere"
            ),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "committed as it is" in done.stdout


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


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {
            "gitops_source": "external",
            "gitops_url": "https://git.example/external/lab.git",
            "runner_kind": "kubernetes",
            "private_ca": True,
            "storage_backend": "host-path",
            "storage_root": "/storage",
            "pipeline_auth": "group-variable",
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
        "make sure that GitLab has the runners lab-homelab of HomeLAB",
    ]
    planned += (
        ["ask for Flux's user name", "to https://git.example/external/lab.git, branch"]
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


@pytest.mark.slow
def test_from_and_only_choose_stages(journey: Journey) -> None:
    world = journey.to("end")
    assert re.findall(r"== \d+/\d+ (\w+)", world.must_run("--from", "runner").out) == ["runner", "verify"]
    assert re.findall(r"== \d+/\d+ (\w+)", world.must_run("--only=registry").out) == ["registry"]
    assert re.findall(r"== \d+/\d+ (\w+)", world.must_run("flux").out) == ["flux"]


def test_two_runs_at_once_are_refused(world: World) -> None:
    with (world.lab / "lab").open() as script:
        fcntl.flock(script, fcntl.LOCK_EX)
        run = world.run()
    assert run.status == 1 and "Another ./lab" in run.err and world.calls == []


def test_a_program_that_outlives_a_killed_run_does_not_hold_its_lock(journey: Journey) -> None:
    """kubectl may go on for a moment; no descriptor of the run's is open in it."""
    world = journey.to("end")
    held: list[str] = []
    private = str(world.private)

    def look(caller: Caller) -> None:
        for link in (caller.process / "fd").iterdir():
            target = str(link.readlink())
            if target.startswith((private, str(world.lab))) and not target.endswith("kubectl"):
                held.append(target)

    world.look = look
    world.must_run("--only", "registry")
    assert held == []


def test_the_cluster_is_shown_and_confirmed_before_its_first_change(world: World) -> None:
    refused = world.run(yes=False)
    assert refused.status == 1 and world.changes == [] and not world.errors
    for words in (
        "no terminal to ask",
        "context  homelab",
        "server   https://10.0.0.1:6443",
        "nodes    node-1",
        "--yes",
    ):
        assert words in refused.err, words
    no = world.terminal("--only", "storage")
    no.answer("Go on? [y/N]", "n")
    assert no.wait() == 1 and "nothing was changed" in no.said and world.changes == []
    yes = world.terminal("--only", "flux")
    yes.answer("Go on? [y/N]", "y")
    assert yes.wait() == 0 and yes.said.count("Go on?") == 1 and world.changes
    assert "1 node(s) ready" in world.run("--only", "preflight", yes=False).out, "looking asks nothing"


def test_missing_tools_are_named_with_everything_else_that_is_to_fix(world: World) -> None:
    for name in ("helm", "flux"):
        (world.bin / name).unlink()
    world.cluster.admin = False
    run = world.run()
    assert run.status == 1 and world.changes == []
    for words in ("missing on this machine: flux, helm", "mise install", "https://helm.sh", "no administrator"):
        assert words in run.out + run.err, words
    assert "2 thing(s) to fix" in run.err


def test_without_kubectl_preflight_says_what_it_could_not_look_at(world: World) -> None:
    (world.bin / "kubectl").unlink()
    few = world.folder / "few"
    few.mkdir()
    for folder in ("/usr/local/bin", "/usr/bin", "/bin"):
        for file in Path(folder).iterdir():
            if file.name != "kubectl" and not (few / file.name).exists():
                (few / file.name).symlink_to(file)
    run = world.run("--only", "preflight", PATH=f"{world.bin}:{few}")
    assert run.status == 1 and "Traceback" not in run.err
    for words in ("missing on this machine: kubectl", "mise install", "the cluster: kubectl is missing", "compose 5"):
        assert words in run.out + run.err, words


def test_a_later_stage_alone_names_a_missing_tool_before_it_begins(world: World) -> None:
    (world.bin / "helm").unlink()
    run = world.run("--only", "gitlab")
    assert run.status == 1 and "tools are missing on this machine: helm" in run.err and world.calls == []


def test_on_a_terminal_it_asks_and_never_shows_the_password(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(
        gitops_source="external", gitops_url="https://git.example/external/lab.git", runner_kind="none", runner_host=""
    )
    external_repository(world, monkeypatch)
    world.must_run("--only", "flux")
    run = world.terminal("--only", "gitlab")
    run.answer("Go on? [y/N]", "y")
    run.answer("user name at https://git.example/external/lab.git", "flux")
    run.answer("(not shown)", "open sesame")
    assert run.wait() == 0, run.said
    assert "open sesame" not in run.said and not world.errors
    assert "\x1b[" in run.said, "colours on a terminal"
