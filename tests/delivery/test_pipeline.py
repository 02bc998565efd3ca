"""The pipeline of an application: what it builds, and how its jobs treat images and tokens."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest

from tests.delivery.support import evaluator
from tests.delivery.support.job_shell import Ran, read_pipeline, run_job, shells
from tests.support.cluster import Lab
from tests.support.loopback import free_port
from tests.support.rendering import VALID, read_answers, rendered
from tests.support.tools import tool

REGISTRY = "registry.lab:8443"
IMAGE = f"{REGISTRY}/homelab/demo"
USUAL_SHELL = ("bash", "--posix")
TOKEN = "glcbt-64_a-Secret/with+every=Sign%s\\n"
# One lab for each pipeline that there is: how it builds, how it logs in.
PIPELINES = {
    "docker, job token": "article",
    "docker in the cluster, group's variable": "pair-11",
    "buildkit, job token": "pair-02",
    "buildkit, group's variable": "pair-12",
}
# What somebody pushes, as GitLab's variables say it, and whether there is a job then. More tags: test_versions.py.
PUSHES = {
    "v1.2.3": ({"CI_COMMIT_TAG": "v1.2.3"}, True),
    "1.2.3": ({"CI_COMMIT_TAG": "1.2.3"}, True),
    "a branch": ({"CI_COMMIT_BRANCH": "main"}, False),
    "a branch called like a version": ({"CI_COMMIT_BRANCH": "v1.2.3"}, False),
    "nightly": ({"CI_COMMIT_TAG": "nightly"}, False),
    "v1.2.3-rc1": ({"CI_COMMIT_TAG": "v1.2.3-rc1"}, False),
    "a merge request": ({"CI_PIPELINE_SOURCE": "merge_request_event", "CI_MERGE_REQUEST_IID": "7"}, False),
}


def lab_folder(shared: Path, name: str) -> Path:
    return rendered(shared, name, read_answers(next(file for file in VALID if file.stem == name)))


def pipeline_of(lab: Path) -> Path:
    """Return the pipeline of a lab's applications: the sample application's, or the one to copy."""
    return next(
        file for file in (lab / "sample-app/.gitlab-ci.yml", lab / ".gitlab/image.gitlab-ci.yml") if file.exists()
    )


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.xdist_group(lab), id=name) for name, lab in PIPELINES.items()]
)
def folder(request: pytest.FixtureRequest, shared: Path) -> Path:
    """Return a lab for each kind of pipeline."""
    return lab_folder(shared, PIPELINES[request.param])


def uses_group_variable(folder: Path) -> bool:
    return "DOCKER_REGISTRY_TOKEN" in pipeline_of(folder).read_text(encoding="utf-8")


def run(
    folder: Path, tmp_path: Path, shell: tuple[str, ...] = USUAL_SHELL, tag: str = "v1.2.3", **settings: str
) -> Ran:
    """Run the job that builds, as for a push of the tag."""
    project = tmp_path / "project"
    project.mkdir()
    source = folder / "sample-app"
    for name in ("Dockerfile", "index.html"):
        if source.exists():
            shutil.copy2(source / name, project / name)
        else:
            (project / name).write_text("FROM scratch AS app\nFROM app AS test\nRUN true\nFROM app\n")
    group = uses_group_variable(folder)
    variables = {
        "CI_REGISTRY": REGISTRY,
        "CI_REGISTRY_IMAGE": IMAGE,
        "CI_COMMIT_TAG": tag,
        "CI_REGISTRY_USER": "gitlab-ci-token",
        "CI_REGISTRY_PASSWORD": "another-secret" if group else TOKEN,
        **({"DOCKER_REGISTRY_TOKEN": TOKEN} if group else {}),
    }
    variables.update({name: settings.pop(name) for name in list(settings) if name in variables})
    user = "lab-push" if group else "gitlab-ci-token"
    settings = {"STAND_IN_ACCEPTS": f"{user}:{TOKEN}", **settings}
    return run_job(
        read_pipeline(pipeline_of(folder))["build"],
        project,
        tmp_path / "work",
        variables,
        shell=shell,
        settings=settings,
    )


@pytest.fixture(scope="module")
def usual_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Ran]:
    """Return a function that runs a lab's job as it is meant to run, once for all that is said of it."""
    return lru_cache(maxsize=None)(lambda folder: run(folder, tmp_path_factory.mktemp("usual")))


@pytest.mark.parametrize(
    ("name", "pushes"),
    [("docker, job token", list(PUSHES)), ("buildkit, group's variable", ["v1.2.3", "a branch", "v1.2.3-rc1"])],
)
@pytest.mark.deep
def test_exactly_versions_are_built(shared: Path, tmp_path: Path, name: str, pushes: list[str]) -> None:
    pipeline = pipeline_of(lab_folder(shared, PIPELINES[name])).read_text(encoding="utf-8")
    project = evaluator.make_project(tmp_path / "project", pipeline)
    found = {push: evaluator.jobs(project, **PUSHES[push][0]) == {"build"} for push in pushes}
    assert found == {push: PUSHES[push][1] for push in pushes}


@pytest.mark.slow(each_commit=True)
def test_each_lab_has_one_of_the_pipelines_that_these_tests_run(lab: Lab, shared: Path) -> None:
    def kind(text: str) -> str:
        # A version, and what only a pod's network needs.
        return re.sub(r"docker:[\d.]+-", "docker:X-", re.sub(r"\n +# A pod's.*\n +command: .*", "", text))

    own, a = pipeline_of(lab.path).read_text(encoding="utf-8"), lab.answers
    assert kind(own) in {
        kind(pipeline_of(lab_folder(shared, name)).read_text(encoding="utf-8")) for name in PIPELINES.values()
    }
    assert ("docker build" in own) is (a["build_method"] == "dind")
    assert ("DOCKER_REGISTRY_TOKEN" in own) is (a["pipeline_auth"] == "group-variable")
    assert ("--mtu" in own) is (a["build_method"] == "dind" and a["runner_kind"] == "kubernetes")


@pytest.mark.parametrize("shell", shells(), ids=lambda shell: shell[0])
def test_a_tag_is_built_tested_and_pushed_under_its_own_name(
    folder: Path, tmp_path: Path, usual_run: Callable[[Path], Ran], shell: tuple[str, ...]
) -> None:
    ran = usual_run(folder) if shell == USUAL_SHELL else run(folder, tmp_path, shell)
    assert ran.status == 0, ran.output
    assert [event["image"] for event in ran.of("push")] == [f"{IMAGE}:v1.2.3"]
    order = [
        event["event"] if event["event"] != "build" else event["target"]
        for event in ran.events
        if event["event"] in {"build", "push"}
    ]
    assert order.index("test") < order.index("push"), "the test comes before the push"
    assert [event["last"] for event in ran.of("build") if event["target"] != "test"] == [True], (
        "what is pushed is the last stage"
    )
    assert {event["ref"] for event in ran.of("cache from") + ran.of("cache to")} == {f"{IMAGE}:cache"}
    assert len(ran.of("cache to")) == 1


@pytest.mark.xdist_group("article")
def test_what_docker_pushes_is_the_image_that_was_tested(shared: Path, usual_run: Callable[[Path], Ran]) -> None:
    ran = usual_run(lab_folder(shared, "article"))
    assert [event["event"] for event in ran.events if event["event"] in {"tag", "build", "push"}] == [
        "build",
        "tag",
        "build",
        "push",
    ]
    assert ran.of("tag")[0]["image"] == ran.of("push")[0]["image"], "tagged before its test, and never built again"


def test_no_token_is_seen_on_a_command_line_or_in_the_log(folder: Path, usual_run: Callable[[Path], Ran]) -> None:
    ran = usual_run(folder)
    assert ran.status == 0, ran.output
    user = "lab-push" if uses_group_variable(folder) else "gitlab-ci-token"
    hidden = [TOKEN, base64.b64encode(f"{user}:{TOKEN}".encode()).decode()]
    assert ran.calls, "the programs wrote down how they were called"
    for secret in hidden:
        assert secret not in ran.output
        assert not [call for call in ran.calls if any(secret in word for word in call)]


def test_the_log_in_is_the_jobs_or_the_groups(folder: Path, usual_run: Callable[[Path], Ran]) -> None:
    ran = usual_run(folder)
    auth = json.loads((ran.home / ".docker/config.json").read_text())["auths"]
    assert list(auth) == [REGISTRY]
    user = "lab-push" if uses_group_variable(folder) else "gitlab-ci-token"
    assert base64.b64decode(auth[REGISTRY]["auth"]).decode() == f"{user}:{TOKEN}"
    assert (ran.home / ".docker/config.json").stat().st_mode & 0o077 == 0


def test_a_failed_test_pushes_nothing(folder: Path, tmp_path: Path) -> None:
    ran = run(folder, tmp_path, STAND_IN_TEST_FAILS="1")
    assert ran.status != 0 and ran.of("push") == []


def test_a_refused_log_in_pushes_nothing(folder: Path, tmp_path: Path) -> None:
    ran = run(folder, tmp_path, STAND_IN_ACCEPTS="somebody:else")
    assert ran.status != 0 and ran.of("push") == []


@pytest.mark.parametrize("name", [name for name in PIPELINES if "group" in name])
def test_a_missing_group_variable_is_named(shared: Path, tmp_path: Path, name: str) -> None:
    ran = run(lab_folder(shared, PIPELINES[name]), tmp_path, DOCKER_REGISTRY_TOKEN="")
    assert ran.status != 0 and ran.of("push") == []
    assert "DOCKER_REGISTRY_TOKEN is empty here" in ran.output


def test_a_slow_daemon_is_waited_for(shared: Path, tmp_path: Path) -> None:
    ran = run(lab_folder(shared, "article"), tmp_path, STAND_IN_DAEMON_AFTER="3")
    assert ran.status == 0 and len(ran.of("info")) == 4
    assert [call for call in ran.calls if call[0] == "sleep"], "with pauses in between"


def test_a_daemon_that_never_comes_ends_the_job_and_says_why(shared: Path, tmp_path: Path) -> None:
    ran = run(lab_folder(shared, "article"), tmp_path, STAND_IN_DAEMON_AFTER="-1", STAND_IN_PATIENCE="0.3")
    assert ran.status != 0 and "tcp://docker:2376: no such host" in ran.output
    assert ran.of("login") == ran.of("build") == []


def test_the_sample_application_is_tested_by_its_dockerfile(article: Lab) -> None:
    text = (article.path / "sample-app/Dockerfile").read_text(encoding="utf-8")
    stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", text, re.MULTILINE)
    assert [name for _, name in stages] == ["app", "test", ""]
    assert [source for source, _ in stages[1:]] == ["app", "app"], (
        "the test begins with the application, and what is pushed is nothing else"
    )
    assert text.rstrip().endswith("FROM app"), "nothing is added after the test"


@pytest.mark.parametrize("page", ["It works.", "It is broken."])
def test_the_test_of_the_sample_application_leaves_no_server_behind(article: Lab, tmp_path: Path, page: str) -> None:
    """Without privileges BuildKit cannot end it, and waits until nobody holds the step's output: moby/buildkit#2417. So does this."""
    real, wget, port = tool("nginx"), tool("wget"), free_port()
    paths = "".join(
        f"{kind}_temp_path {tmp_path}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log /dev/stderr notice; events {{}}\n"
        f"http {{ {paths} access_log /dev/stdout; server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{page}'; }} }} }}\n",
        encoding="utf-8",
    )
    (tmp_path / "nginx").write_text(
        f'#!/bin/sh\nexec {real} -p {tmp_path} -c {tmp_path}/nginx.conf "$@"\n', encoding="utf-8"
    )
    (tmp_path / "nginx").chmod(0o755)
    text = (article.path / "sample-app/Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    [step] = re.findall(r"^RUN (.*)$", text, re.MULTILINE)
    for old, new in {"127.0.0.1:8080": f"127.0.0.1:{port}", "/tmp/page": f"{tmp_path}/page", "wget": wget}.items():
        assert old in step
        step = step.replace(old, new)
    try:
        done = subprocess.run(
            ["sh", "-c", step],
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "no_proxy": "*"},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    finally:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text(encoding="utf-8")), signal.SIGTERM)
    assert (done.returncode == 0) == (page == "It works."), done.stderr


# A job made wrong in one place, and what must then be noticed. Without this the silence above would mean little.
MISTAKES: dict[str, tuple[str, str, str]] = {
    "the password as an argument": ("article", " --password-stdin", ' --password "$CI_REGISTRY_PASSWORD"'),
    "the password shown": ("article", "docker push", 'echo "$CI_REGISTRY_PASSWORD"; docker push'),
    "the log-in shown": ("pair-02", "mkdir -p", 'echo "$auth"; mkdir -p'),
    "pushed before the test": ("article", "docker build --target test .", 'docker push "$IMAGE"'),
    "another tag": ("article", 'docker push "$IMAGE"', 'docker push "$CI_REGISTRY_IMAGE:latest"'),
    "an option that Docker does not know": ("article", "--tag", "--tagged"),
    "no TLS": ("article", "", "DOCKER_TLS_VERIFY"),
    "a cache that is a version": (
        "pair-02",
        '--export-cache "$CACHE',
        '--export-cache "type=registry,ref=$CI_REGISTRY_IMAGE:1.0.0',
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_job_is_noticed(
    shared: Path, tmp_path: Path, mistake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, old, new = MISTAKES[mistake]
    folder = lab_folder(shared, name)
    job = read_pipeline(pipeline_of(folder))["build"]
    if old:
        assert any(old in line for line in [*job["before_script"], *job["script"]])
        job = {**job, **{key: [line.replace(old, new) for line in job[key]] for key in ("before_script", "script")}}
    else:
        job["variables"].pop(new)
    monkeypatch.setattr("tests.delivery.test_pipeline.read_pipeline", lambda _: {"build": job})
    with pytest.raises(AssertionError):
        ran = run(folder, tmp_path, **({} if old else {"STAND_IN_PATIENCE": "0.5"}))
        assert ran.status == 0
        assert not [
            secret
            for secret in (TOKEN, base64.b64encode(f"gitlab-ci-token:{TOKEN}".encode()).decode())
            if secret in ran.output
        ]
        order = [
            event["event"] if event["event"] != "build" else event["target"]
            for event in ran.events
            if event["event"] in {"build", "push"}
        ]
        assert "test" in order[: order.index("push")]
        assert {event["ref"] for event in ran.of("cache to")} == {f"{IMAGE}:cache"}
