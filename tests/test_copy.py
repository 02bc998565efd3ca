"""A copy, and an update, as the owner runs them: the command line, real Git, no settings of the developer."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from pytest_copie.plugin import Copie

from extensions import copier_extension as adapter
from extensions.copier_extension import destination_problems
from tests.support.copier_cli import copier_cli
from tests.support.rendering import ROOT, copy_lab, project_files, recorded_answers, snapshot
from tests.support.tools import run

COPIER = Path(sys.executable).with_name("copier")
ARTICLE = ROOT / "tests" / "answers" / "valid" / "article.yml"


def git(folder: Path, *arguments: str) -> str:
    done = run("git", *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository of its own with this project's files, committed: what somebody clones."""
    folder = tmp_path_factory.mktemp("clone") / "copier-gitlab-homelab"
    for name in project_files():
        if not name.startswith(("tests/", "example/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "The template")
    return folder


def make_lab(clone: Path, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run what `make lab` runs, without setting up the environment that the tests have."""
    return run(sys.executable, clone / "hooks" / "make_lab.py", *arguments, **options)


@pytest.mark.slow
def test_a_lab_is_a_git_repository_with_everything_staged(clone: Path, tmp_path: Path) -> None:
    lab = tmp_path / "My Läb"
    done = run(COPIER, "copy", "--trust", "--defaults", clone, lab, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert git(lab, "branch", "--show-current").strip() == "main"
    status = git(lab, "-c", "core.quotePath=false", "status", "--porcelain").splitlines()
    assert status and all(line.startswith("A  ") for line in status)
    assert len(status) == sum(path.is_file() and ".git" not in path.relative_to(lab).parts for path in lab.rglob("*"))
    assert recorded_answers(lab)["lab_name"] == "my-l-b"
    commands = [line for line in done.stderr.partition("What comes next:")[2].splitlines() if line.startswith("    ")]
    assert [command.split()[0] for command in commands] == ["cd", "git", "./lab"]


@pytest.mark.slow(each_commit=True)
def test_the_closing_messages_first_commands_work(clone: Path, tmp_path: Path) -> None:
    done = copier_cli("copy", "--trust", "--defaults", clone, tmp_path / "a lab")
    commands = [
        line.strip() for line in done.stderr.partition("What comes next:")[2].splitlines() if line.startswith("    ")
    ]
    script = " && ".join(commands[:2])
    assert run("bash", "-c", script, cwd=tmp_path).returncode == 0
    assert git(tmp_path / "a lab", "status", "--porcelain") == ""


@pytest.mark.slow
def test_a_dry_run_writes_nothing_and_says_so(clone: Path, tmp_path: Path) -> None:
    done = copier_cli("copy", "--trust", "--defaults", "--pretend", clone, tmp_path / "lab")
    assert done.returncode == 0, done.stderr
    assert "Nothing was written" in done.stderr and "is ready" not in done.stderr and not (tmp_path / "lab").exists()


@pytest.mark.slow
def test_an_empty_repository_becomes_the_lab_and_stays_itself(clone: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--initial-branch=trunk", "lab")
    assert copier_cli("copy", "--trust", "--defaults", clone, tmp_path / "lab").returncode == 0
    assert git(tmp_path / "lab", "branch", "--show-current").strip() == "trunk"
    assert "A  README.md" in git(tmp_path / "lab", "status", "--porcelain").splitlines()


@pytest.mark.slow
def test_inside_another_repository_the_lab_is_one_of_its_own_and_the_owner_is_told(clone: Path, tmp_path: Path) -> None:
    """The bootstrap pushes the repository that the lab is in: that must not be the outer one."""
    git(tmp_path, "init", "--quiet")
    done = copier_cli("copy", "--trust", "--defaults", clone, tmp_path / "in/my lab")
    lab = tmp_path / "in/my lab"
    assert (
        done.returncode == 0
        and "a separate repository" in done.stderr
        and "staged in Git and not yet committed" in done.stderr
    )
    assert git(lab, "rev-parse", "--show-toplevel").strip() == str(lab.resolve())
    assert "A  README.md" in git(lab, "status", "--porcelain").splitlines()
    assert git(tmp_path, "diff", "--cached", "--name-only") == ""
    (line,) = (line for line in done.stderr.splitlines() if "Keep it out of the outer one" in line)
    assert run("bash", "-c", line.partition("outer one: ")[2], cwd="/").returncode == 0
    assert git(tmp_path, "status", "--porcelain") == "?? .gitignore\n"


def test_a_lab_inside_of_the_templates_own_checkout_is_refused(clone: Path) -> None:
    for name in ("my-lab", "a/my-lab"):
        done = make_lab(clone, name, "", cwd=clone)
        assert done.returncode == 2 and f"`{name}` lies inside of the template's own checkout" in done.stderr
        assert "make lab DEST=../my-lab" in done.stderr and not (clone / name).exists()


@pytest.mark.slow
def test_without_git_the_closing_message_does_not_say_that_anything_is_staged(clone: Path, tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    assert copier_cli("copy", "--trust", "--defaults", clone, lab).returncode == 0
    assert adapter.is_staged(lab)
    shutil.rmtree(lab / ".git")
    assert not adapter.is_staged(lab) and not adapter.is_staged(tmp_path / "nowhere")
    git(tmp_path, "init", "--quiet")
    assert not adapter.is_staged(lab)
    git(lab, "init", "--quiet")
    assert not adapter.is_staged(lab)


@pytest.mark.parametrize("source", [".", "../{name}", "./"])
@pytest.mark.deep(keep=1)
def test_a_lab_made_from_a_relative_path_knows_the_whole_one(clone: Path, tmp_path: Path, source: str) -> None:
    """As `copier copy . ../my-lab` is typed in the checkout. An update looks for the template from the lab's folder."""
    done = run(
        COPIER,
        "copy",
        "--trust",
        "--defaults",
        "--vcs-ref",
        "HEAD",
        source.format(name=clone.name),
        tmp_path / "lab",
        cwd=clone,
    )
    assert done.returncode == 0, done.stderr
    assert recorded_answers(tmp_path / "lab")["_src_path"] == str(clone.resolve())


@pytest.mark.parametrize(
    "source",
    [
        "https://git.example.com/a/b.git",
        "git@git.example.com:a/b.git",
        "gh:a/b",
        "~/template",
        "/srv/template",
        "git+ssh://x/y.git",
    ],
)
def test_any_other_source_stays_as_it_was_given(source: str) -> None:
    assert adapter.with_whole_source({"_src_path": source, "a": 1}) == {"_src_path": source, "a": 1}


@pytest.mark.deep
def test_a_lab_that_was_made_before_a_question_keeps_who_may_sign_up_and_use_the_runner(
    clone: Path, tmp_path: Path
) -> None:
    """A new lab is closed; what an owner has set in GitLab by hand, or built upon, is not for an update to change."""
    lab = tmp_path / "lab"
    assert copier_cli("copy", "--trust", "--defaults", "--vcs-ref", "HEAD", clone, lab).returncode == 0
    file = lab / ".copier-answers.yml"
    assert (recorded_answers(lab)["sign_up"], recorded_answers(lab)["runner_scope"]) == ("closed", "groups")
    file.write_text(re.sub("(?m)^(sign_up|runner_scope): .*\n", "", file.read_text(encoding="utf-8")), encoding="utf-8")
    git(lab, "add", "--all")
    git(lab, "commit", "--quiet", "--message", "As it was before")
    done = copier_cli("update", "--trust", "--defaults", "--vcs-ref", "HEAD", lab)
    assert done.returncode == 0, done.stderr
    assert (recorded_answers(lab)["sign_up"], recorded_answers(lab)["runner_scope"]) == ("as-set", "instance")


@pytest.mark.deep
def test_a_lab_that_was_made_before_the_questions_stays_where_it_is_and_is_told_what_closes(
    clone: Path, tmp_path: Path
) -> None:
    """A new lab is closed; what an owner has set in GitLab by hand is not for an update to change."""
    lab = tmp_path / "lab"
    # The runner of a lab of before is one of the instance.
    assert (
        copier_cli(
            "copy", "--trust", "--defaults", "--data", "runner_scope=instance", "--vcs-ref", "HEAD", clone, lab
        ).returncode
        == 0
    )
    file = lab / ".copier-answers.yml"
    assert recorded_answers(lab)["sign_up"] == "closed"
    assert recorded_answers(lab)["lab_group"] == f"{recorded_answers(lab)['lab_name']}-ops", (
        "a new lab's project has a group of its own"
    )
    file.write_text(
        re.sub(
            "(?m)^(sign_up|lab_group|job_token_push|deployers|runner_scope): .*\n", "", file.read_text(encoding="utf-8")
        ),
        encoding="utf-8",
    )
    ours = [
        path
        for path in lab.rglob("*")
        if path.is_file() and ".git" not in path.parts and b"lab-ops" in path.read_bytes()
    ]
    assert len(ours) >= 3, "settings, Flux's source, statuses"
    with_project = [path for path in ours if b"lab-ops/lab" in path.read_bytes()]
    for path in ours:
        path.write_bytes(path.read_bytes().replace(b"lab-ops", b"homelab"))
    git(lab, "add", "--all")
    git(lab, "commit", "--quiet", "--message", "As it was before")
    done = copier_cli("update", "--trust", "--defaults", "--vcs-ref", "HEAD", lab)
    assert done.returncode == 0, done.stderr
    now = recorded_answers(lab)
    assert now["sign_up"] == "as-set" and (now["job_token_push"], now["deployers"]) == (False, "maintainers")
    assert now["lab_group"] == now["groups"][0] == "homelab", "an update moves no project"
    assert with_project and not [path for path in with_project if b"homelab/lab" not in path.read_bytes()]
    assert not [path for path in ours if b"lab-ops" in path.read_bytes()]
    report = (lab / "update-report.md").read_text(encoding="utf-8")
    assert (
        all(f"(`{name}`)" in report for name in ("lab_group", "job_token_push", "deployers", "runner_scope"))
        and "Transfer project" in report
    )


@pytest.mark.slow(each_commit=True)
def test_make_lab_takes_a_file_of_answers(clone: Path, tmp_path: Path) -> None:
    done = make_lab(clone, str(tmp_path / "lab"), str(ARTICLE), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert recorded_answers(tmp_path / "lab")["gitlab_host"] == "gitlab.lab"


@pytest.mark.slow
def test_make_lab_without_a_terminal_takes_the_defaults(clone: Path, tmp_path: Path) -> None:
    done = make_lab(clone, "lab", "", cwd=tmp_path, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    answers = recorded_answers(tmp_path / "lab")
    assert answers["base_domain"] == "lab.example.com" and answers["_src_path"] == str(clone)


@pytest.mark.slow
def test_ctrl_c_in_the_wizard_ends_it_with_a_word_and_leaves_nothing(clone: Path, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [COPIER, "copy", "--trust", clone, tmp_path / "lab"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "xterm"},
        close_fds=True,
        start_new_session=True,
    )
    os.close(slave)
    screen = b""
    while b"decide?" not in screen:
        screen += (chunk := os.read(master, 4096))
        if b"\x1b[6n" in chunk:
            os.write(master, b"\x1b[1;1R")
    os.write(master, b"\x03")
    with contextlib.suppress(OSError):
        while chunk := os.read(master, 4096):
            screen += chunk
    os.close(master)
    assert process.wait(timeout=60) == 1
    assert b"Execution stopped by user" in screen and b"Traceback" not in screen
    assert not (tmp_path / "lab").exists()


@pytest.mark.slow
def test_the_wizard_shows_a_message_whole_and_keeps_what_was_typed(clone: Path, tmp_path: Path) -> None:
    """A terminal of 80 columns, in which no message ends at the edge; then the answer is fixed, not typed again."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 0, 0))
    process = subprocess.Popen(
        [COPIER, "copy", "--trust", "--data", "runner_kind=none", clone, tmp_path / "lab"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "xterm"},
        close_fds=True,
        start_new_session=True,
    )
    os.close(slave)
    screen = ""
    said = "`https://Lab.de` is a URL; give the host only: `lab.de`"
    steps = [
        ("decide?", "\r"),
        ("One label is enough at home", "\x08" * 20 + "https://Lab.de\r"),
        (said, "\x01" + "\x04" * 9 + "l\r"),
        ("Who makes the certificates", "\r"),
        ("Where do GitLab's configuration", "\r"),
        ("The GitLab groups", "\r"),
    ]
    with contextlib.suppress(OSError):
        while chunk := os.read(master, 4096):
            if b"\x1b[6n" in chunk:
                os.write(master, b"\x1b[1;1R")
            screen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", chunk.decode(errors="replace"))
            if steps and steps[0][0] in re.sub(r"\s+", " ", screen):
                os.write(master, steps.pop(0)[1].encode())
    os.close(master)
    assert process.wait(timeout=60) == 0 and not steps, (steps, screen[-1500:])
    assert "Validation error" not in screen
    assert recorded_answers(tmp_path / "lab")["base_domain"] == "lab.de"


@pytest.mark.slow
def test_a_full_disk_ends_in_one_line_and_leaves_nothing(clone: Path, tmp_path: Path) -> None:
    # No file may grow beyond 8 KiB: a write fails as it does on a full disk, in the middle of the copy.
    shutil.copytree(clone, tmp_path / "template", ignore=shutil.ignore_patterns(".git"))
    done = run(
        "bash",
        "-c",
        'ulimit -f 8; exec "$@"',
        "_",
        COPIER,
        "copy",
        "--trust",
        "--defaults",
        "--quiet",
        tmp_path / "template",
        tmp_path / "lab",
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode != 0 and "Copier stopped: " in done.stderr and "Traceback" not in done.stderr, done.stderr[
        -500:
    ]
    assert not (tmp_path / "lab").exists()


def test_a_folder_that_is_not_the_owners_to_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing is closed to root, who may run this; so the question alone is answered otherwise.
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (tmp_path, os.W_OK | os.X_OK))
    said = [f"`{tmp_path}` is not yours to write; give another folder"]
    assert destination_problems(tmp_path / "new" / "lab", False, ".copier-answers.yml") == said
    assert destination_problems(tmp_path, True, ".copier-answers.yml") == said


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize("place", ["a file", "below a file", "not empty"])
def test_a_destination_that_cannot_be_is_refused_in_a_word(clone: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("mine")
    folder = {"a file": tmp_path / "file", "below a file": tmp_path / "file" / "lab", "not empty": tmp_path}[place]
    done = copier_cli("copy", "--trust", "--defaults", clone, folder)
    assert done.returncode == 1 and "nothing was written" in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "mine"


ODD = {
    "twice.yml": b"groups: [a]\nlab_name: b\ngroups: [c]\n",
    "key.yml": b"no: a\n",
    "object.yml": b"a: !!python/object/apply:os.getcwd []\n",
}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["", ""], "make lab DEST=../my-lab"),
        (["there", ""], "is not empty"),
        (["there/file", ""], "is a file"),
        (["lab", "no-such.yml"], "`no-such.yml` is no file"),
        (["lab", "broken.yml"], "is not YAML"),
        (["lab", "list.yml"], "holds no answers"),
        (["lab", "empty.yml"], "holds no answers"),
        (["lab", "binary.yml"], "cannot be read"),
        (["lab", "twice.yml"], "answers `groups` twice"),
        (["lab", "key.yml"], "holds `False`, which is no question's name"),
        (["lab", "object.yml"], "is not YAML"),
        (["lab", "there"], "`there` is no file"),
    ],
)
def test_make_lab_refuses_what_cannot_work_before_it_writes(
    clone: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("mine")
    for name, content in {
        "broken.yml": b"a: [b",
        "list.yml": b"- a\n",
        "empty.yml": b"",
        "binary.yml": b"\xff\xfe\0",
        **ODD,
    }.items():
        (tmp_path / name).write_bytes(content)
    before = sorted(tmp_path.rglob("*"))
    done = make_lab(clone, *arguments, cwd=tmp_path)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.deep
def test_make_lab_works_from_a_folder_without_git_history(clone: Path, tmp_path: Path) -> None:
    shutil.copytree(clone, tmp_path / "unpacked", ignore=shutil.ignore_patterns(".git"))
    done = make_lab(tmp_path / "unpacked", str(tmp_path / "lab"), "", stdin=subprocess.DEVNULL)
    assert done.returncode == 0 and (tmp_path / "lab" / "bootstrap.sh").exists()


@pytest.mark.deep
def test_a_lab_that_a_hook_of_another_repository_makes_is_staged_in_its_own(clone: Path, tmp_path: Path) -> None:
    """Git hands its hooks its repository down, and `git add` in the lab's folder would go there."""
    shutil.copytree(clone, tmp_path / "unpacked", ignore=shutil.ignore_patterns(".git"))
    other, lab = tmp_path / "other", tmp_path / "lab"
    git(tmp_path, "init", "--quiet", str(other))
    (other / "file").write_text("mine\n")
    git(other, "add", "file")
    before = git(other, "ls-files", "--stage")
    handed = {"GIT_DIR": str(other / ".git"), "GIT_INDEX_FILE": str(other / ".git/index"), "GIT_WORK_TREE": str(other)}
    done = run(
        COPIER,
        "copy",
        "--trust",
        "--defaults",
        tmp_path / "unpacked",
        lab,
        env={**os.environ, **handed},
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    assert git(other, "ls-files", "--stage") == before and git(other, "status", "--porcelain") == "A  file\n"
    assert "A  README.md" in git(lab, "status", "--porcelain").splitlines()


@pytest.mark.slow(each_commit=True)
def test_an_unchanged_lab_updates_to_a_newer_commit(clone: Path, tmp_path: Path) -> None:
    template, lab = tmp_path / "template", tmp_path / "lab"
    shutil.copytree(clone, template)
    assert copier_cli("copy", "--trust", "--defaults", "--vcs-ref", "HEAD", template, lab).returncode == 0
    git(lab, "commit", "--quiet", "--message", "The lab")
    rules = template / "template" / "infrastructure" / "network.yaml.jinja"
    rules.write_text("# A newer rule.\n" + rules.read_text(encoding="utf-8"), encoding="utf-8")
    git(template, "commit", "--quiet", "--all", "--message", "A newer rule")
    done = run(COPIER, "update", "--trust", "--defaults", cwd=lab, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    changed = git(lab, "status", "--porcelain").splitlines()
    assert changed == [" M .copier-answers.yml", " M infrastructure/network.yaml"]
    assert (lab / "infrastructure" / "network.yaml").read_text(encoding="utf-8").startswith("# A newer rule.\n")


def test_the_template_renders_through_pytest_copie(copie: Copie, clone: Path) -> None:
    result = copie.copy(extra_answers={"lab_name": "garage"}, template_dir=clone)
    assert result.exit_code == 0, result.exception
    assert recorded_answers(result.project_dir)["lab_name"] == "garage"


@pytest.mark.slow
def test_another_labs_answers_make_a_lab_but_for_a_name_that_nobody_knows(clone: Path, tmp_path: Path) -> None:
    answers = tmp_path / "old.yml"
    answers.write_text("_commit: v0.9.0\n_src_path: gh:someone/template\nlab_name: garage\ngitlab_hots: gitlab.lab\n")
    done = copier_cli("copy", "--trust", "--defaults", "--quiet", "--data-file", answers, clone, tmp_path / "lab")
    assert done.returncode != 0 and not (tmp_path / "lab").exists()
    assert done.stderr.rstrip().endswith("gitlab_hots: no question has this name; did you mean `gitlab_host`?")
    answers.write_text(answers.read_text().replace("gitlab_hots", "gitlab_host"))
    assert copier_cli("copy", "--trust", "--defaults", "--data-file", answers, clone, tmp_path / "lab").returncode == 0
    assert recorded_answers(tmp_path / "lab")["gitlab_host"] == "gitlab.lab"


def test_a_refused_answer_leaves_nothing_behind(clone: Path, tmp_path: Path) -> None:
    done = copier_cli(
        "copy", "--trust", "--defaults", "--data", "trusted_proxies=[10.42.0.7/16]", clone, tmp_path / "lab"
    )
    assert done.returncode != 0
    assert done.stderr.rstrip().endswith(
        "trusted_proxies: `10.42.0.7/16` has host bits set; did you mean `10.42.0.0/16`?"
    )
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "lab").exists()


@pytest.mark.slow
def test_what_python_compiled_in_an_unpacked_archive_is_in_no_lab(tmp_path: Path) -> None:
    template = snapshot(tmp_path / "template")
    compiled = template / "template" / "lab_program" / "__pycache__"
    compiled.mkdir()
    (compiled / "age.cpython-310.pyc").write_bytes(b"\x00")
    copy_lab(template, tmp_path / "lab", {})
    assert (tmp_path / "lab" / "lab_program").is_dir() and not list((tmp_path / "lab").rglob("*.pyc"))
    assert not list((tmp_path / "lab").rglob("__pycache__"))
