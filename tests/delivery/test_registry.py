"""A real registry takes what the lab's own docker configurations say, and nothing without them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.delivery.support.bootstrap_secrets import credentials, pull_secrets
from tests.delivery.support.job_shell import read_pipeline, run_job
from tests.delivery.support.registry_server import make_image, pull, push, registry
from tests.support.rendering import VALID, read_answers, rendered

TOKEN = "glcbt-64_aSecretOfTheJob"
pytestmark = pytest.mark.xdist_group("registry")
# How a job logs in, and a lab that does so.
JOBS = {
    "docker, job token": ("article", "gitlab-ci-token"),
    "docker, group's variable": ("pair-11", "lab-push"),
    "buildkit, job token": ("pair-02", "gitlab-ci-token"),
    "buildkit, group's variable": ("pair-12", "lab-push"),
}


def lab_folder(shared: Path, name: str) -> Path:
    return rendered(shared, name, read_answers(next(file for file in VALID if file.stem == name)))


def log_in(folder: Path, address: str, user: str, work: Path) -> Path:
    """Run what a job does before it builds, and return the docker configuration that it leaves."""
    job = read_pipeline(folder / "sample-app/.gitlab-ci.yml")["build"]
    project = work / "project"
    project.mkdir(parents=True)
    variables = {
        "CI_REGISTRY": address,
        "CI_REGISTRY_IMAGE": f"{address}/homelab/demo",
        "CI_COMMIT_TAG": "v1.2.3",
        "CI_REGISTRY_USER": "gitlab-ci-token",
        "CI_REGISTRY_PASSWORD": TOKEN,
        "DOCKER_REGISTRY_TOKEN": TOKEN,
    }
    ran = run_job(
        {**job, "script": ["true"]}, project, work / "job", variables, settings={"STAND_IN_ACCEPTS": f"{user}:{TOKEN}"}
    )
    assert ran.status == 0, ran.output
    return ran.home / ".docker/config.json"


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize("name", JOBS)
def test_a_registry_takes_a_push_with_the_jobs_configuration_and_refuses_without(
    shared: Path, tmp_path: Path, name: str
) -> None:
    lab, user = JOBS[name]
    image = make_image(tmp_path / "image")
    with registry(tmp_path / "registry", {user: TOKEN}) as server:
        target = f"{server.address}/homelab/demo:v1.2.3"
        config = log_in(lab_folder(shared, lab), server.address, user, tmp_path / "login")
        assert push(image, target, None, tmp_path).returncode != 0, "nobody pushes without a name"
        wrong = tmp_path / "wrong.json"
        wrong.write_text(config.read_text().replace('"auth": "', '"auth": "x').replace('"auth":"', '"auth":"x'))
        assert push(image, target, wrong, tmp_path).returncode != 0, "or with a wrong token"
        done = push(image, target, config, tmp_path)
        assert done.returncode == 0, done.stderr
        assert json.loads(pull(target, config, tmp_path).stdout)["RepoTags"] == ["v1.2.3"], "exactly the tag"


def test_dockers_own_client_logs_in_as_the_job_says(shared: Path, tmp_path: Path) -> None:
    """The same lines, and no stand-in: Docker's client asks the registry itself when there is no daemon to ask."""
    docker = shutil.which("docker")
    if docker is None:
        pytest.skip("there is no docker here, and the tests do without")
    line = next(
        line
        for line in read_pipeline(lab_folder(shared, "article") / "sample-app/.gitlab-ci.yml")["build"]["before_script"]
        if "login" in line
    )
    image = make_image(tmp_path / "image")
    with registry(tmp_path / "registry", {"gitlab-ci-token": TOKEN}) as server:
        environment = {
            "PATH": f"{Path(docker).parent}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "CI_REGISTRY": server.address,
            "CI_REGISTRY_USER": "gitlab-ci-token",
            "CI_REGISTRY_PASSWORD": TOKEN,
        }
        done = subprocess.run(["sh", "-ec", line], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert TOKEN not in done.stdout + done.stderr
        assert (
            push(image, f"{server.address}/homelab/demo:v1.2.3", tmp_path / ".docker/config.json", tmp_path).returncode
            == 0
        )


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize(
    ("name", "groups"), [("article", ["HomeLAB"]), ("pair-02", ["one", "Two", "three-3", "four_4", "five.5"])]
)
def test_the_clusters_pull_secret_opens_each_group_with_its_own_token(
    shared: Path, tmp_path: Path, name: str, groups: list[str]
) -> None:
    image = make_image(tmp_path / "image")
    users = {f"flux of {group}": f"token of {group}" for group in groups}
    with registry(tmp_path / "registry", {"a pipeline": "pushes", **users}) as server:
        auths = pull_secrets(lab_folder(shared, name), server.address)["flux-system/regcred"]
        assert list(auths) == (
            [server.address] if len(groups) == 1 else [f"{server.address}/{group.lower()}/" for group in groups]
        )
        pipeline = tmp_path / "pipeline.json"
        pipeline.write_text(json.dumps({"auths": {server.address: {"auth": "YSBwaXBlbGluZTpwdXNoZXM="}}}))
        images = {group: f"{server.address}/{group.lower()}/demo:1.0.0" for group in groups}
        for group, target in images.items():
            assert push(image, target, pipeline, tmp_path).returncode == 0
            assert pull(target, None, tmp_path).returncode != 0, "a private image is private"
            # Only this group's token is valid now, so it is this one that opens its image, and no other's.
            server.let_in("a pipeline", f"flux of {group}")
            assert pull(target, first_of(auths, target, tmp_path), tmp_path).returncode == 0
            for other in groups[: groups.index(group)][-1:]:
                assert pull(images[other], first_of(auths, images[other], tmp_path), tmp_path).returncode != 0


def first_of(auths: dict[str, dict[str, str]], image: str, work: Path) -> Path:
    """Write the log-in that the kubelet and Flux take for an image, as skopeo reads it: by the registry, and never by a prefix."""
    config = work / "regcred.json"
    config.write_text(json.dumps({"auths": {image.split("/", maxsplit=1)[0]: credentials(auths, image)[0]}}))
    return config
