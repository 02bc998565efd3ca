"""Templates with a history, and labs that were made from them: real Git, and Copier's own command or its API."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import copier

from tests.support.copier_cli import copier_cli
from tests.support.rendering import ROOT, copy_lab, project_files, snapshot
from tests.support.terminal import Terminal  # noqa: F401 - tests take it from here
from tests.support.tools import run

COPIER = Path(sys.executable).with_name("copier")
REPORT = "update-report.md"


def git(folder: Path, *arguments: str) -> str:
    done = run("git", *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def commit(folder: Path, message: str = "Something") -> str:
    """Commit everything, and return the commit."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(folder, "rev-parse", "HEAD").strip()


def release(template: Path, version: str) -> None:
    # A template may hold what the lab's own .gitignore, which lies beside it, would leave out.
    git(template, "add", "--all", "--force")
    commit(template, version)
    git(template, "tag", f"v{version}")


def packed(folder: Path) -> Path:
    """Put all of a repository's objects into one file: what is made once and copied for each test, and cloned five times an update, is
    a handful of files then instead of a folder for each object.
    """
    git(folder, "repack", "-a", "-d", "--quiet")
    git(folder, "pack-refs", "--all")
    return folder


def new_repository(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet")
    return folder


# What the template copies as it is, whatever the answers: more than half of its files.
COPIED_AS_IT_IS = ("charts/app/templates", "charts/app/examples", "charts/app/tests", "lab_program")
# But for what its own extension reads.
READ = Path("template/lab_program/age.py")


def real_template(folder: Path, whole: bool = False) -> Path:
    """Make this project's template a repository of its own: the whole of it, or without what no answer and no test touches."""
    new_repository(snapshot(folder))
    for name in () if whole else COPIED_AS_IT_IS:
        shutil.rmtree(folder / "template" / name, ignore_errors=True)
    (folder / READ).parent.mkdir(exist_ok=True)
    shutil.copy2(ROOT / READ, folder / READ)
    return folder


def small_template(folder: Path, files: dict[str, bytes | str]) -> Path:
    """Make a template with this project's hooks, one question and a few files, released as 1.0.0."""
    for name in project_files():
        if name.startswith(("extensions/", "hooks/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    settings = (ROOT / "copier.yml").read_text(encoding="utf-8").split("\n---\n")[0]
    # Its few answers make no lab that could be summed up.
    settings = settings.replace("{{ answers_summary() }}", "")
    (folder / "copier.yml").write_text(settings + "\n---\n" + QUESTIONS, encoding="utf-8")
    put(
        folder / "template",
        {"{{ _copier_conf.answers_file }}.jinja": "# Answers.\n{{ _copier_answers | to_nice_yaml -}}\n", **files},
    )
    put(folder / "template", {".gitignore": f"/{REPORT}\n*.rej\n.env\n"})
    new_repository(folder)
    release(folder, "1.0.0")
    return folder


QUESTIONS = """\
lab_name:
  type: str
  default: lab
  when: "{{ answers_are_sound() }}"
  validator: "{{ refusal('lab_name') }}"
cluster_name:
  type: str
  default: garage
  validator: "{{ refusal('cluster_name') }}"
gitops_branch:
  type: str
  default: main
feature:
  type: bool
  default: true
"""


def put(folder: Path, files: dict[str, bytes | str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def make_lab(template: Path, lab: Path, data: dict[str, Any] | None = None, version: str = "v1.0.0") -> Path:
    """Make a lab as its owner would, committed."""
    copy_lab(template, lab, data or {}, vcs_ref=version, skip_tasks=True)
    new_repository(lab)
    commit(lab, "The lab")
    return lab


def update(lab: Path, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Update by the command line, without questions; with *env*, from a process that starts with it."""
    words = ["update", "--trust", "--defaults", *arguments]
    if env is None:
        return copier_cli(*words, cwd=lab)
    return run(COPIER, *words, cwd=lab, stdin=subprocess.DEVNULL, env={**os.environ, **env})


def update_here(lab: Path, data: dict[str, Any] | None = None, **options: Any) -> None:
    """Update in this process; raises what Copier raises."""
    copier.run_update(lab, data=data, defaults=True, overwrite=True, quiet=True, unsafe=True, **options)


def files(lab: Path) -> dict[str, tuple[bytes, bool]]:
    """Return a lab's files, with whether they may be run."""
    return {
        path.relative_to(lab).as_posix(): (path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for path in sorted(lab.rglob("*"))
        if path.is_file() and path.relative_to(lab).parts[0] not in {".git", REPORT}
    }


def edit(file: Path, change: Callable[[str], str]) -> None:
    file.write_text(change(file.read_text(encoding="utf-8")), encoding="utf-8")


@dataclass(frozen=True)
class State:
    """All that an update may touch: files, links and executable bits, Git's index, the commit, and what Git says of it."""

    files: dict[str, tuple[bytes, bool] | str]
    index: str
    head: str
    status: str


def state(folder: Path) -> State:
    """Return the state of a repository, ignored files and submodules included."""
    found: dict[str, tuple[bytes, bool] | str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if ".git" in name.split("/") or path.name == REPORT:
            continue
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file():
            found[name] = path.read_bytes(), bool(path.stat().st_mode & 0o100)
    status = git(folder, "status", "--porcelain=v2", "--branch", "--ignored", "--untracked-files=all")
    status = "".join(line for line in status.splitlines(keepends=True) if not line.endswith(f"{REPORT}\n"))
    return State(found, git(folder, "ls-files", "--stage"), git(folder, "rev-parse", "HEAD"), status)


def untouched(house: Path, act: Callable[[], CompletedProcess[str]]) -> CompletedProcess[str]:
    """Return what was said, after checking that nothing of the lab changed: no file, no index, no commit, no leftover."""
    before = files(house), git(house, "status", "--porcelain=v2", "--branch", "--ignored"), (house / "bin").is_dir()
    done = act()
    assert done.returncode != 0
    assert "Traceback" not in done.stderr, done.stderr
    assert (
        files(house),
        git(house, "status", "--porcelain=v2", "--branch", "--ignored"),
        (house / "bin").is_dir(),
    ) == before
    return done


def script(house: Path, *arguments: str, **env: str) -> CompletedProcess[str]:
    """Run the lab's own command, as its owner would, without questions."""
    path = os.pathsep.join([str(COPIER.parent), os.environ["PATH"]])
    words = arguments or ("--defaults",)
    return run("./lab", "update", *words, cwd=house, stdin=subprocess.DEVNULL, env={**os.environ, "PATH": path, **env})


def in_a_larger_repository(house: Path, outside: dict[str, bytes | str]) -> Path:
    """Make a lab the folder `lab` of a repository that holds more, committed; return where it is now."""
    shutil.rmtree(house / ".git")
    large = new_repository(house.parent / "large")
    put(large, outside)
    house = house.rename(large / "lab")
    commit(large)
    return house
