"""`make bench`: what `copier copy` and `copier update` of the default lab cost beside a plain template of as many static files.

Every figure is a ratio of two medians taken in turn in the same run, so it holds on a slow machine too.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.chart import bench as chart_bench
from tests.support.rendering import copy_lab, snapshot

COPIER = Path(sys.executable).with_name("copier")
ROUNDS = 7


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=b", "-c", "user.email=b@b", *arguments], cwd=folder, check=True, capture_output=True
    )


def repository(folder: Path) -> Path:
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "one")
    return folder


def plain_template(lab: Path, target: Path) -> Path:
    """Make a template with the lab's files, as static files and without questions."""
    shutil.copytree(lab, target / "template", ignore=shutil.ignore_patterns(".git", ".copier-answers.yml"))
    (target / "copier.yml").write_text("_subdirectory: template\n")
    (target / "template" / "{{ _copier_conf.answers_file }}.jinja").write_text("{{ _copier_answers | to_nice_yaml }}")
    return repository(target)


def timed(*command: str | Path, cwd: Path | None = None) -> float:
    start = time.perf_counter()
    subprocess.run([str(part) for part in command], cwd=cwd, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - start


def copies(templates: dict[str, Path], folder: Path) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in templates}
    for number in range(ROUNDS):
        for name, template in templates.items():
            target = folder / f"copy-{name}-{number}"
            taken[name].append(
                timed(COPIER, "copy", "--trust", "--defaults", "--quiet", "--vcs-ref", "HEAD", template, target)
            )
    return taken


def updates(templates: dict[str, Path], folder: Path) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in templates}
    for name, template in templates.items():
        lab = folder / f"copy-{name}-0"
        if not (lab / ".git").exists():
            git(lab, "init", "--quiet")
        git(lab, "add", "--all")
        git(lab, "commit", "--quiet", "--message", "lab")
        with (template / "template" / ".editorconfig").open("a") as file:
            file.write("# newer\n")
        git(template, "commit", "--quiet", "--all", "--message", "two")
    for number in range(ROUNDS):
        for name in templates:
            lab = folder / f"update-{name}-{number}"
            shutil.copytree(folder / f"copy-{name}-0", lab)
            taken[name].append(timed(COPIER, "update", "--trust", "--defaults", "--quiet", cwd=lab))
    return taken


def ratio(what: str, taken: dict[str, list[float]]) -> None:
    lab, plain = statistics.median(taken["lab"]), statistics.median(taken["plain"])
    print(f"{what:<14} {lab / plain:5.2f} times a plain template ({lab:.2f} s against {plain:.2f} s)")


def where_the_time_goes(template: Path, folder: Path) -> None:
    """Profile one copy in this process, and print Copier's own steps."""
    profile = cProfile.Profile()
    profile.runcall(copy_lab, template, folder / "profiled", {}, vcs_ref="HEAD")
    stats = pstats.Stats(profile)
    total = stats.total_tt  # type: ignore[attr-defined]
    steps = {
        "asking and checking": "_ask",
        "rendering templates' text": "render",
        "compiling templates": "compile",
        "writing files": "_render_file",
        "running git": "run",
        "tasks": "_execute_tasks",
    }
    print("Where the time of a copy goes (steps contain one another):")
    for label, function in steps.items():
        spent = max((row[3] for key, row in stats.stats.items() if key[2] == function), default=0.0)  # type: ignore[attr-defined]
        print(f"  {label:<28} {spent / total:4.0%}")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["COPIER_SETTINGS_PATH"] = str(folder / "settings.yml")
        (folder / "settings.yml").write_text("{}\n")
        os.environ.update(
            GIT_AUTHOR_NAME="b", GIT_AUTHOR_EMAIL="b@b", GIT_COMMITTER_NAME="b", GIT_COMMITTER_EMAIL="b@b"
        )
        template = repository(snapshot(folder / "lab-template"))
        copy_lab(template, folder / "first", {}, skip_tasks=True, vcs_ref="HEAD")
        files = sum(path.is_file() for path in (folder / "first").rglob("*"))
        print(f"The default lab has {files} files; medians of {ROUNDS} runs, in turn.")
        templates = {"lab": template, "plain": plain_template(folder / "first", folder / "plain-template")}
        ratio("copier copy", copies(templates, folder))
        ratio("copier update", updates(templates, folder))
        where_the_time_goes(template, folder)
        chart_bench.main()


if __name__ == "__main__":
    main()
