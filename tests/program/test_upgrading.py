"""An upgrade and the lab's repository: what it commits and pushes, what it takes in, and what of the owner's it leaves alone. Git is real."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import program
from tests.support.rendering import VALID, read_answers, rendered

VALUES, RUNNER = program.gitlab_image.VALUES, "runner/compose.yaml"
ANSWERS = program.version_files.ANSWERS


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


def put(folder: Path, name: str, change: Callable[[str], str]) -> None:
    (folder / name).write_text(change((folder / name).read_text(encoding="utf-8")), encoding="utf-8")


@dataclass
class Repository:
    """The lab's folder, and the repository that Flux would follow."""

    lab: Path
    bare: Path

    @property
    def work(self) -> program.upgrading.Upgrading:
        """Return a new run of the program in the folder."""
        settings = program.settings(gitops_source="external", gitops_url=str(self.bare))
        console = program.console()
        environment = {**os.environ, "LC_ALL": "C"}
        made = program.lab_module.Lab(
            self.lab,
            settings,
            program.environment.Limits(retries=1),
            console,
            program.programs.Programs(environment, console),
            self.lab.parent,
            environment,
        )
        return program.upgrading.Upgrading(made)

    def push_from_elsewhere(self, name: str = "apps/demo/helmrelease.yaml") -> str:
        """Commit and push as image automation does."""
        other = self.lab.parent / "elsewhere"
        git(self.lab.parent, "clone", "--quiet", str(self.bare), str(other))
        put(other, name, lambda text: f"{text}# a new image\n")
        git(other, "commit", "--quiet", "--all", "--message", "demo 1.0.0 -> 1.0.1")
        git(other, "push", "--quiet", "origin", "HEAD:main")
        return git(other, "rev-parse", "HEAD")

    def version(self) -> str:
        return program.gitlab_image.version_in((self.lab / VALUES).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def pushed(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("pushed")
    lab = rendered(shared, "article", read_answers(next(file for file in VALID if file.stem == "article")))
    shutil.copytree(lab, base / "lab")
    git(base / "lab", "init", "--quiet", "--initial-branch=main")
    git(base / "lab", "add", "--all")
    git(base / "lab", "commit", "--quiet", "--message", "The lab")
    git(base, "clone", "--quiet", "--bare", str(base / "lab"), str(base / "bare.git"))
    return base


@pytest.fixture
def repository(pushed: Path, tmp_path: Path) -> Repository:
    shutil.copytree(pushed, tmp_path / "here", symlinks=True)
    return Repository(tmp_path / "here" / "lab", tmp_path / "here" / "bare.git")


def test_a_step_is_one_commit_of_all_that_names_the_version_and_is_pushed(repository: Repository) -> None:
    before = repository.version()
    work = repository.work
    work.refuse_unfit()
    work._commit(before, "19.5.2")
    work._push()
    assert repository.version() == "19.5.2" and git(repository.lab, "status", "--porcelain") == ""
    assert git(repository.lab, "log", "-1", "--format=%s") == f"GitLab {before} -> 19.5.2"
    changed = git(repository.lab, "diff", "--name-only", "HEAD~1").splitlines()
    assert sorted(changed) == sorted([ANSWERS, VALUES, program.version_files.settings.FILE, RUNNER])
    assert git(repository.bare, "rev-parse", "main") == git(repository.lab, "rev-parse", "HEAD")
    # What is pushed already is no second commit, and no stranger.
    repository.work._push()


def test_what_was_pushed_meanwhile_goes_below_the_commit(repository: Repository) -> None:
    before = repository.version()
    repository.work._commit(before, "19.5.2")
    newer = repository.push_from_elsewhere()
    repository.work._push()
    assert git(repository.lab, "rev-parse", "HEAD~1") == newer
    assert git(repository.bare, "rev-parse", "main") == git(repository.lab, "rev-parse", "HEAD")


def test_what_was_pushed_before_is_taken_in(repository: Repository) -> None:
    newer = repository.push_from_elsewhere()
    repository.work._push()
    assert git(repository.lab, "rev-parse", "HEAD") == newer


@pytest.mark.parametrize("name", ["apps/gitlab/gitlab.rb", VALUES])
def test_a_commit_of_the_owners_is_not_rolled_out_with_an_upgrade(repository: Repository, name: str) -> None:
    put(repository.lab, name, lambda text: f"{text}# mine\n")
    git(repository.lab, "commit", "--quiet", "--all", "--message", "Not to be pushed yet")
    mine = git(repository.lab, "rev-parse", "HEAD")
    with pytest.raises(program.errors.Failure, match="Not to be pushed yet") as failure:
        repository.work._push()
    assert "./lab up --only sync" in failure.value.then
    assert git(repository.lab, "rev-parse", "HEAD") == mine and git(repository.bare, "rev-parse", "main") != mine


def test_what_a_run_that_was_cut_off_has_written_is_taken_back(repository: Repository) -> None:
    before, texts = repository.version(), program.version_files.read(repository.lab)
    for names in ([ANSWERS], [VALUES, RUNNER], list(texts)):
        made = {name: program.version_files.with_version(name, texts[name], before, "19.8.1") for name in names}
        program.version_files.write(repository.lab, made)
        assert git(repository.lab, "status", "--porcelain")
        repository.work.refuse_unfit()
        assert git(repository.lab, "status", "--porcelain") == ""


@pytest.mark.parametrize("name", [VALUES, "apps/gitlab/gitlab.rb"])
def test_what_the_owner_has_not_committed_stays_and_ends_the_run(repository: Repository, name: str) -> None:
    before, texts = repository.version(), program.version_files.read(repository.lab)
    program.version_files.write(
        repository.lab, {VALUES: program.version_files.with_version(VALUES, texts[VALUES], before, "19.8.1")}
    )
    put(repository.lab, name, lambda text: f"{text}# mine\n")
    with pytest.raises(program.errors.Failure, match=name):
        repository.work.refuse_unfit()
    assert "# mine" in (repository.lab / name).read_text(encoding="utf-8") and repository.version() == "19.8.1"


def test_a_digest_that_would_keep_the_old_gitlab_is_named(repository: Repository) -> None:
    digest = f"sha256:{'a' * 64}"
    put(repository.lab, VALUES, lambda text: text.replace("-ce.0\n", f'-ce.0\n  digest: "{digest}"\n', 1))
    git(repository.lab, "commit", "--quiet", "--all", "--message", "Pin GitLab")
    with pytest.raises(program.errors.Failure, match=r"by its digest sha256:aaaaaaaaaaaa"):
        repository.work.refuse_unfit()


def test_a_hook_of_the_owners_that_refuses_leaves_nothing_behind(repository: Repository) -> None:
    hook = repository.lab / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no commits on Fridays >&2\nexit 1\n")
    hook.chmod(0o755)
    git(repository.lab, "config", "core.hooksPath", str(hook.parent))
    before = repository.version()
    with pytest.raises(program.errors.Failure, match="no commits on Fridays"):
        repository.work._commit(before, "19.5.2")
    assert repository.version() == before and git(repository.lab, "status", "--porcelain") == ""


def test_a_version_that_somebody_else_has_pushed_meanwhile_is_not_taken_back(repository: Repository) -> None:
    before = repository.version()
    repository.work._commit(before, "19.5.1")
    newer = repository.push_from_elsewhere(VALUES)
    other = repository.lab.parent / "elsewhere"
    put(other, VALUES, lambda text: text.replace(f"{before}-ce.0", "19.5.2-ce.0"))
    git(other, "commit", "--quiet", "--all", "--message", "GitLab 19.5.2")
    git(other, "push", "--quiet", "origin", "HEAD:main")
    repository.work._push()
    assert repository.version() == "19.5.2" and git(repository.lab, "rev-parse", "HEAD~1") == newer


def test_a_version_that_the_check_refuses_ends_the_run_with_both_ways_on(repository: Repository) -> None:
    lab = repository.work.lab
    check = program.gitlab_check.GitLabCheck(lab)
    assert "run ./lab up again" in check.failure("no").then
    lab.upgrading = True
    assert "git revert HEAD" in check.failure("no").then and "run ./lab upgrade again" in check.failure("no").then
