"""A job of a pipeline, run as the runner runs it: its variables, its lines in one shell, its programs stand-ins that judge.

Every program that a job may call is one in a folder of its own, and PATH holds nothing else. Each writes down how it was
called, so a secret on any command line is seen.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
# What the images of the jobs bring along besides Docker and BuildKit, and a job of ours uses.
ORDINARY = ("base64", "mkdir", "sh", "tr")
KEYWORDS = {
    "stages",
    "default",
    "variables",
    "workflow",
    "include",
    "image",
    "services",
    "cache",
    "before_script",
    "after_script",
}


def read_pipeline(file: Path) -> dict[str, dict[str, Any]]:
    """Return the jobs of a pipeline by name, with `default` and the global `variables` filled in."""
    text = yaml.safe_load(file.read_text(encoding="utf-8"))
    jobs = {name: job for name, job in text.items() if name not in KEYWORDS}
    for job in jobs.values():
        job["variables"] = {**text.get("variables", {}), **job.get("variables", {})}
        for key, value in text.get("default", {}).items():
            job.setdefault(key, value)
    return jobs


def expanded(own: dict[str, Any], given: dict[str, str]) -> dict[str, str]:
    """Return a job's own variables with others in their values replaced, as GitLab does before a job begins."""
    found = {name: str(value) for name, value in own.items()}
    for _ in own:
        for name, value in found.items():
            found[name] = re.sub(
                r"\$(?:\{(\w+)\}|(\w+))", lambda match: {**given, **found}.get(match[1] or match[2], ""), value
            )
    return {**given, **found}


@dataclass
class Ran:
    """How a job ended.

    Attributes:
        output: what stands in the job's log.
        calls: each program that it called: name and arguments.
        events: what the stand-ins saw.
    """

    status: int
    output: str
    home: Path
    calls: list[list[str]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == kind]


def make_programs(folder: Path, *stand_ins: str, real: tuple[str, ...] = ()) -> Path:
    """Fill a folder with what a job finds on its PATH; each program writes its call into the file `calls` beside it."""
    folder.mkdir(parents=True)
    note = f"printf '%s\\037' \"${{0##*/}}\" \"$@\" >> {shlex.quote(str(folder / 'calls'))}; printf '\\n' >> {shlex.quote(str(folder / 'calls'))}\n"
    for name in (*ORDINARY, *real):
        program = shutil.which(name)
        assert program, f"{name} is missing on this machine"
        (folder / name).write_text(f'#!/bin/sh\n{note}exec {program} "$@"\n')
    for name in stand_ins:
        client = " ".join(
            map(shlex.quote, [sys.executable, "-IS", str(HERE / "stand_in_builder.py"), name, str(folder / "events")])
        )
        (folder / name).write_text(f'#!/bin/sh\n{note}exec {client} "$@"\n')
    # Nothing waits here: what a job would sleep through passes at once, and its patience ends when a test says so.
    (folder / "sleep").write_text(f"#!/bin/sh\n{note}")
    (folder / "timeout").write_text(
        f'#!/bin/sh\n{note}seconds=${{STAND_IN_PATIENCE:-$1}}; shift\nexec {shutil.which("timeout")} "$seconds" "$@"\n'
    )
    for program in folder.iterdir():
        program.chmod(0o755)
    return folder


def run_job(
    job: dict[str, Any],
    project: Path,
    work: Path,
    variables: dict[str, str],
    *,
    shell: tuple[str, ...] = ("bash", "--posix"),
    settings: dict[str, str] | None = None,
    stand_ins: tuple[str, ...] = ("docker", "buildctl-daemonless.sh"),
    real: tuple[str, ...] = (),
) -> Ran:
    """Run `before_script` and `script` of a job.

    Args:
        project: the checkout that the job works in.
        work: a folder for its home and its programs; made new.
        variables: what GitLab and the runner hand to the job.
        shell: what the job's image has as `sh`.
        settings: how the stand-ins behave, by the names that stand_in_builder.py reads.
    """
    programs = make_programs(work / "bin", *stand_ins, real=real)
    home = work / "home"
    home.mkdir()
    lines = [*job.get("before_script", []), *job["script"]]
    # The runner shows each line as it is written, and ends at the first that fails.
    body = "set -e\n" + "".join(f"echo {shlex.quote('$ ' + line)}\n{line}\n" for line in lines)
    environment = {
        **expanded(job["variables"], variables),
        "PATH": str(programs),
        "HOME": str(home),
        **(settings or {}),
    }
    program = shutil.which(shell[0])
    assert program
    done = subprocess.run(
        [program, *shell[1:]],
        input=body,
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    return Ran(done.returncode, done.stdout, home, read_calls(programs), read_events(programs))


def read_calls(programs: Path) -> list[list[str]]:
    log = programs / "calls"
    return [line.rstrip("\x1f").split("\x1f") for line in log.read_text().split("\n") if line] if log.exists() else []


def read_events(programs: Path) -> list[dict[str, Any]]:
    log = programs / "events"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def shells() -> list[tuple[str, ...]]:
    """Return the shells at hand that a job's image may have: bash, and the small ones."""
    found = [("bash", "--posix"), ("dash",), ("busybox", "sh")]
    return [shell for shell in found if shutil.which(shell[0])] or [("sh",)]
