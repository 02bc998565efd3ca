"""The lab's own command, ./lab update: which Copier, which version, which questions, which exit code, and the reason
where there is no update.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from hooks.update import command
from tests.support.cluster import Lab
from tests.support.tools import run
from tests.update.support.histories import (
    COPIER,
    Terminal,
    commit,
    edit,
    git,
    make_lab,
    put,
    release,
    script,
    state,
    untouched,
)

NEEDED = ("dirname", "git", "grep", "sed", "bash", "env", "mktemp", "tar", "rm", "uname", "cat")


def programs(folder: Path, *more: str, **stubs: str) -> str:
    """Return a PATH with the programs that a bare machine has, and stubs of some."""
    folder.mkdir()
    for name in (*NEEDED, *more):
        (folder / name).symlink_to(shutil.which(name) or name)
    (folder / "python3").symlink_to(sys.executable)
    for name, text in stubs.items():
        put(folder, {name: text})
        (folder / name).chmod(0o755)
    return str(folder)


def with_path(house: Path, path: str, *arguments: str, **env: str) -> CompletedProcess[str]:
    return script(house, "--defaults", *arguments, PATH=path, **env)


def point_at(house: Path, address: str) -> None:
    template = house.parent / "template"
    edit(house / ".copier-answers.yml", lambda text: text.replace(f"_src_path: {template}", f"_src_path: {address}"))
    commit(house, "Another address")


# Exit codes
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_ends_with_0_when_done_and_1_with_conflicts_and_2_when_refused(house: Path) -> None:
    put(house, {"dirty.txt": "x\n"})
    said = untouched(house, lambda: script(house))
    assert said.returncode == 2
    (house / "dirty.txt").unlink()
    assert script(house).returncode == 0
    edit(house / "a.txt", lambda text: text.replace("one\n", "mine\n", 1))
    commit(house)
    edit(house.parent / "template" / "template" / "a.txt", lambda text: text.replace("one\n", "theirs\n", 1))
    release(house.parent / "template", "1.2.0")
    assert script(house).returncode == 1


@pytest.mark.deep
def test_it_ends_with_2_where_the_owner_stops_it(house: Path) -> None:
    before = state(house)
    terminal = Terminal("./lab", "update", "--all", cwd=house)
    terminal.until("lab_name")
    terminal.type("\x03")
    assert terminal.wait() == 2 and "the lab is as it was" in terminal.said
    assert state(house) == before


@pytest.mark.deep
def test_a_dry_run_ends_with_0_and_changes_nothing(house: Path) -> None:
    before = state(house)
    done = script(house, "--pretend", "--defaults")
    assert done.returncode == 0 and "Updating to template version 1.1.0" in done.stderr
    assert state(house) == before


@pytest.mark.slow
def test_help_needs_nothing_but_the_lab(house: Path, tmp_path: Path) -> None:
    shutil.rmtree(house.parent / "template")
    path = programs(tmp_path / "bin")
    for option in ("--help", "-h"):
        done = run("./lab", "update", option, cwd=house, env={**os.environ, "PATH": path})
        assert done.returncode == 0 and done.stderr == ""
        assert all(
            word in done.stdout
            for word in ("--data", "--all", "0 done; 1 done, with conflicts", "2 refused", "3 cut off")
        )


def test_the_readme_of_a_lab_has_the_table_of_exit_codes(article: Lab) -> None:
    text = (article.path / "README.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (\d+) \| (.+) \|$",
        text.split("| `./lab update` ends with | meaning |\n")[1].split("\n\n")[0],
        re.MULTILINE,
    )
    meanings = {int(code): meaning for code, meaning in rows}
    words = {
        command.DONE: "Done.",
        command.CONFLICTS: "conflicts",
        command.REFUSED: "Nothing was changed",
        command.CUT_OFF: "Run it again",
    }
    assert meanings.keys() == words.keys()
    assert all(word in meanings[code] for code, word in words.items())


# Which version
# -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def ahead(house: Path) -> Path:
    """Return a lab that was made from a checkout two commits after its newest release."""
    template = house.parent / "template"
    for number in (1, 2):
        put(template / "template", {f"ahead-{number}.txt": "ahead\n"})
        commit(template, f"After the release, {number}")
    shutil.rmtree(house)
    return make_lab(template, house, version="HEAD")


@pytest.mark.deep
def test_a_lab_that_is_newer_than_the_newest_release_changes_an_answer(ahead: Path) -> None:
    done = script(ahead, "--defaults", "--data", "feature=false")
    assert done.returncode == 0, done.stderr
    assert "feature: false" in (ahead / ".copier-answers.yml").read_text() and (ahead / "ahead-2.txt").exists()


@pytest.mark.deep
def test_a_lab_that_is_newer_than_the_newest_release_follows_the_checkout_as_it_is_committed(ahead: Path) -> None:
    template = ahead.parent / "template"
    put(template / "template", {"ahead-3.txt": "ahead\n"})
    head = commit(template, "Later")
    put(template / "template", {"uncommitted.txt": "draft\n"})
    done = script(ahead)
    assert done.returncode == 0, done.stderr
    assert (ahead / "ahead-3.txt").exists() and not (ahead / "uncommitted.txt").exists()
    assert f"-g{head[:7]}" in (ahead / ".copier-answers.yml").read_text()
    # The release that has it all is the newest again.
    (template / "template" / "uncommitted.txt").unlink()
    release(template, "1.2.0")
    commit(ahead)
    assert script(ahead).returncode == 0
    assert "_commit: v1.2.0\n" in (ahead / ".copier-answers.yml").read_text()


@pytest.mark.deep
def test_a_lab_from_a_branch_stays_with_it(ahead: Path) -> None:
    template = ahead.parent / "template"
    git(template, "checkout", "--quiet", "-b", "other", "v1.1.0")
    put(template / "template", {"other.txt": "other\n"})
    commit(template)
    done = script(ahead, "--defaults", "--data", "feature=false")
    assert done.returncode == 0, done.stderr
    assert "feature: false" in (ahead / ".copier-answers.yml").read_text() and not (ahead / "other.txt").exists()


@pytest.mark.slow
def test_the_owner_says_which_version(house: Path) -> None:
    release(house.parent / "template", "1.2.0")
    done = script(house, "-l", "-r", "v1.1.0")
    assert done.returncode == 0, done.stderr
    assert "_commit: v1.1.0\n" in (house / ".copier-answers.yml").read_text()


@pytest.mark.parametrize(
    ("words", "long", "letters", "given"),
    [
        (["--vcs-ref", "x"], "--vcs-ref", "r", True),
        (["--vcs-ref=x"], "--vcs-ref", "r", True),
        (["-rx"], "--vcs-ref", "r", True),
        (["-nr", "x"], "--vcs-ref", "r", True),
        (["-d", "a=b"], "--vcs-ref", "r", False),
        (["-dr=1"], "--vcs-ref", "r", False),
        (["--defaults"], "--defaults", "lf", True),
        (["-qf"], "--defaults", "lf", True),
        (["--data", "a=-l"], "--defaults", "lf", False),
        ([], "--all", "", False),
    ],
)
def test_an_option_is_recognized_in_each_of_its_forms(words: list[str], long: str, letters: str, given: bool) -> None:
    assert command.Wanted(tuple(words)).has(long, letters) is given


# Which questions
# ---------------------------------------------------------------------------------------------------------------


def asking(house: Path, *arguments: str) -> Terminal:
    return Terminal("./lab", "update", *arguments, cwd=house)


@pytest.mark.slow
def test_nothing_is_asked_where_nothing_is_new(house: Path) -> None:
    terminal = asking(house)
    assert terminal.wait() == 0, terminal.said
    assert "lab_name" not in terminal.said.split("update-report")[0].split("# The lab")[0] and (house / "new").exists()


@pytest.mark.slow
def test_only_a_new_question_is_asked(house: Path) -> None:
    edit(house.parent / "template" / "copier.yml", lambda text: text + "colour:\n  type: str\n  default: red\n")
    release(house.parent / "template", "1.2.0")
    terminal = asking(house)
    terminal.until("colour")
    terminal.type("\x7f\x7f\x7fblue\r")
    assert terminal.wait() == 0, terminal.said
    asked = terminal.said.split("# The lab")[0]
    assert "lab_name" not in asked and "feature" not in asked
    assert "colour: blue\n" in (house / ".copier-answers.yml").read_text() and "- new: `colour: blue`" in terminal.said


@pytest.mark.deep
def test_an_answer_that_is_no_longer_valid_is_asked_for_again(house: Path) -> None:
    template = house.parent / "template"
    edit(
        template / "extensions" / "rules.py",
        lambda text: text + '\nRULES["lab_name"] = lambda value, answers: "too short" if value == "lab" else None\n',
    )
    # Not even a question that this level leaves out is answered by its default in silence.
    edit(
        template / "copier.yml",
        lambda text: text.replace("lab_name:\n", "lab_name:\n  ask: false\n").replace(
            "default: lab\n", "default: home\n"
        ),
    )
    release(template, "1.2.0")
    terminal = asking(house)
    terminal.until("lab_name")
    terminal.type("\x7f" * 4 + "longer\r")
    assert terminal.wait() == 0, terminal.said
    assert (
        "lab_name: longer\n" in (house / ".copier-answers.yml").read_text()
        and "cluster_name" not in terminal.said.split("# The lab")[0]
    )


@pytest.mark.deep
def test_all_questions_are_asked_with_all(house: Path) -> None:
    terminal = asking(house, "--all")
    for name in ("lab_name", "cluster_name", "gitops_branch", "feature"):
        terminal.until(name)
        terminal.type("\r")
    assert terminal.wait() == 0, terminal.said


# Which Copier
# ------------------------------------------------------------------------------------------------------------------


@pytest.mark.deep
def test_the_checkouts_copier_is_taken_where_there_is_no_other(house: Path, tmp_path: Path) -> None:
    checkout = house.parent / "template" / ".venv" / "bin"
    checkout.mkdir(parents=True)
    put(checkout, {"copier": f'#!/bin/sh\nexec {COPIER} "$@"\n'})
    (checkout / "copier").chmod(0o755)
    put(house.parent / "template", {".gitignore": ".venv/\n"})
    assert with_path(house, programs(tmp_path / "bin")).returncode == 0
    assert (house / "new").exists()


@pytest.mark.parametrize("version", ["9.4.1", "9.19.0", "10.0.0"])
@pytest.mark.deep
def test_a_copier_that_does_not_fit_is_passed_over(house: Path, tmp_path: Path, version: str) -> None:
    stub = f"#!/bin/sh\n[ $1 = --version ] && echo copier {version}\n[ $1 = --version ] || exit 99\n"
    path = programs(tmp_path / "bin", copier=stub)
    said = untouched(house, lambda: with_path(house, path))
    assert said.returncode == 2 and said.stderr.startswith(
        f"Copier 9.19.1 or newer, and older than 10, is needed, and this is {version}.\nInstall it: pipx install 'copier>=9.19.1,<10'"
    )
    put(
        tmp_path / "bin",
        {
            "uvx": f'#!/bin/sh\necho "$@" >> {tmp_path}/called\nwhile [ "$1" != copier ]; do shift;'
            f' done\nshift\nexec {COPIER} "$@"\n'
        },
    )
    (tmp_path / "bin" / "uvx").chmod(0o755)
    assert with_path(house, path).returncode == 0
    assert (
        "--from copier>=9.19.1,<10 --with copier-template-extensions<1 copier update --trust"
        in (tmp_path / "called").read_text()
    )


# The reason
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.deep
def test_bare_repositories_that_have_to_be_named(house: Path) -> None:
    template = (house.parent / "template").rename(house.parent / "template.git")
    point_at(house, f"file://{template}")
    edit(
        house / ".copier-answers.yml",
        lambda text: text.replace(
            "_commit: v1.0.1", f"_commit: v1.0.1-0-g{git(template, 'rev-parse', 'v1.0.1^{commit}')[:8]}"
        ),
    )
    commit(house)
    done = script(house, GIT_CONFIG_COUNT="1", GIT_CONFIG_KEY_0="safe.bareRepository", GIT_CONFIG_VALUE_0="explicit")
    assert "has no version" not in done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.deep
def test_an_alias_of_ssh_is_an_address(house: Path, tmp_path: Path) -> None:
    (house.parent / "template").rename(house.parent / "template.git")
    address = f"alias:{house.parent / 'template.git'}"
    edit(
        house / ".copier-answers.yml",
        lambda text: text.replace(f"_src_path: {house.parent / 'template'}", f"_src_path: {address}"),
    )
    commit(house)
    put(tmp_path, {"ssh": '#!/bin/sh\n[ "$1" = alias ] || exit 255\nshift\nexec sh -c "$*"\n'})
    (tmp_path / "ssh").chmod(0o755)
    done = script(house, GIT_SSH=str(tmp_path / "ssh"), GIT_SSH_VARIANT="simple")
    assert done.returncode == 0, done.stderr
    assert (house / "new").exists()


def test_what_the_templates_server_says_moves_no_cursor(house: Path, tmp_path: Path) -> None:
    """Git hands on what the other side prints; the lab's command and the template's own part of it both quote that."""
    address = "alias:template.git"
    point_at(house, address)
    words = "\x1b]0;title\x07\x1b[2J\x1b]52;c;cm0=\x07WORDS\u202e\x9b1m"
    put(tmp_path, {"words": words, "ssh": f"#!/bin/sh\ncat '{tmp_path}/words' >&2; exit 255\n"})
    (tmp_path / "ssh").chmod(0o755)
    said = script(house, GIT_SSH=str(tmp_path / "ssh"), GIT_SSH_VARIANT="simple").stderr
    assert "cannot be reached" in said and "WORDS" in said
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", said)


def test_a_template_of_another_user(house: Path) -> None:
    said = untouched(house, lambda: script(house, GIT_TEST_ASSUME_DIFFERENT_OWNER="1")).stderr
    assert f"The template at {house.parent / 'template'} belongs to another user, so Git does not read it." in said
    assert f"git config --global --add safe.directory {house.parent / 'template'}\n" in said


def test_a_lab_of_another_user(
    house: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.chdir(house)
    template = house.parent / "template"
    assert command.main(command.Template(str(template), str(template), "v1.0.1"), ["--defaults"]) == command.REFUSED
    said = capsys.readouterr().err
    assert said.startswith("The lab belongs to another user, so Git does not touch it.")
    assert f"git config --global --add safe.directory {house}\n" in said


def test_the_whole_reason_why_a_template_cannot_be_reached(house: Path) -> None:
    address = f"file://{house.parent}/nowhere.git"
    point_at(house, address)
    said = untouched(house, lambda: script(house)).stderr
    assert (
        f"The template cannot be reached at {address}: fatal: '{house.parent}/nowhere.git' does not appear to be a"
        f" git repository" in said
    )
    assert "_commit" not in said


@pytest.mark.deep
def test_a_shallow_checkout_of_the_template(house: Path) -> None:
    template = house.parent / "template"
    shallow = house.parent / "shallow"
    git(house.parent, "clone", "--quiet", "--depth", "1", f"file://{template}", str(shallow))
    point_at(house, str(shallow))
    said = untouched(house, lambda: script(house)).stderr
    assert f"{shallow}, is a shallow clone, and does not reach back to v1.0.1" in said
    assert f"git -C {shallow} fetch --unshallow --tags" in said and "put the version" not in said
    assert run("sh", "-c", f"git -C {shallow} fetch --quiet --unshallow --tags").returncode == 0
    assert script(house).returncode == 0


def test_a_folder_that_is_no_repository(house: Path) -> None:
    shutil.rmtree(house / ".git")
    done = script(house)
    assert done.returncode == 2 and "The lab is no Git repository" in done.stderr


@pytest.mark.parametrize(
    "address",
    [
        "--upload-pack=touch pwned;x.git",
        "-u:touch${IFS}pwned",
        "--config=core.fsmonitor=touch:pwned",
        "ext::sh -c touch% pwned",
    ],
)
@pytest.mark.slow
def test_an_address_is_never_an_option(
    house: Path, address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(house / ".copier-answers.yml", lambda text: text.replace(str(house.parent / "template"), f"'{address}'"))
    commit(house)
    said = untouched(house, lambda: script(house))
    assert said.returncode == 2 and address in said.stderr
    assert "lab-update." not in said.stderr, "Git took the folder for the address, and the address for an option"
    assert not list(house.parent.rglob("pwned"))
    # The template's own part, which an older lab's program may call.
    monkeypatch.chdir(house)
    monkeypatch.setenv("PATH", str(COPIER.parent), prepend=os.pathsep)
    assert command.main(command.Template(address, address, "v1.0.1"), ["--defaults"]) == command.REFUSED
    said_here = capsys.readouterr().err
    assert f"The template cannot be reached at {address}: " in said_here
    assert "history.git" not in said_here, "Git took the folder for the address, and the address for an option"
    assert not list(house.parent.rglob("pwned"))


def test_a_folder_is_never_an_option(house: Path) -> None:
    """A template without a part of its own in an update, in a folder of the lab that is called like an option of Git's."""
    name = "--upload-pack=touch pwned;x"
    git(house.parent / "template", "rm", "--quiet", "-r", "hooks")
    commit(house.parent / "template")
    (house.parent / "template").rename(house / name)
    put(house / ".git" / "info", {"exclude": f"{name}/\n"})
    edit(house / ".copier-answers.yml", lambda text: text.replace(str(house.parent / "template"), f"'{name}'"))
    edit(house / ".copier-answers.yml", lambda text: text.replace("_commit: v1.0.1", "_commit: v0.9.0"))
    commit(house)
    put(house, {"HEAD": ""})
    said = script(house)
    assert said.returncode == 2 and f"The template cannot be reached at {name}: " in said.stderr, said.stderr
    assert not list(house.parent.rglob("pwned"))


def test_a_version_is_never_an_option(house: Path) -> None:
    edit(house / ".copier-answers.yml", lambda text: text.replace("_commit: v1.0.1", "_commit: --output=pwned"))
    commit(house)
    said = untouched(house, lambda: script(house))
    assert said.returncode == 2 and "has no version --output=pwned any more" in said.stderr
    assert not list(house.parent.rglob("pwned"))


def test_what_an_update_does_comes_from_the_newest_template(house: Path) -> None:
    """An old lab is updated by what the newest template knows: here, that it refuses."""
    put(
        house.parent / "template",
        {
            "hooks/update/command.py": "import sys\nclass Template:\n    def __init__(self, *words): pass\ndef"
            " main(*words):\n    print('the newest', file=sys.stderr)\n    return 2\n"
        },
    )
    commit(house.parent / "template")
    done = script(house)
    assert done.returncode == 2 and done.stderr == "the newest\n"
