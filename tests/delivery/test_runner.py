"""The runner's files: what Compose and the runner make of them, what a job may do, and where the token is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import program
from tests.support.cluster import Lab
from tests.support.texts import answered
from tests.support.tools import run, tool

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOKEN = "glrt-t1_AbCdEfGhIjKlMnOpQrSt"
with_runner = pytest.mark.labs(runner_kind=["docker", "kubernetes"])
on_a_machine = pytest.mark.labs(runner_kind=["docker"])
in_the_cluster = pytest.mark.labs(runner_kind=["kubernetes"])


def settings_of(lab: Lab) -> dict[str, Any]:
    """Return the runner's parsed config.toml, wherever it stands."""
    if lab.answers["runner_kind"] == "docker":
        return tomllib.loads((lab.path / "runner/config.toml").read_text(encoding="utf-8"))
    return tomllib.loads(lab.values["gitlab-runner/gitlab-runner"]["configMaps"]["config"]["data"]["config.toml"])


def as_on_the_machine(runner: Path, target: Path) -> Path:
    """Copy a runner's files as the bootstrap does, with a token in .env."""
    shutil.copytree(runner, target)
    (target / "ca.crt").write_text("certificate\n")
    environment = re.sub(
        r"^(RUNNER_TOKEN\w*)=$",
        rf"\1={TOKEN}",
        (target / ".env.example").read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )
    (target / ".env").write_text(environment, encoding="utf-8")
    (target / ".env").chmod(0o600)
    return target


def composed(folder: Path, work: Path) -> dict[str, Any]:
    """Return the project as Docker Compose resolves it, or as podman-compose does where Docker has no such plugin."""
    if shutil.which("docker") and run("docker", "compose", "version").returncode == 0:
        command, environment = ["docker", "compose"], dict(os.environ)
    else:
        # podman-compose asks for podman's version first; it starts nothing here.
        work.mkdir()
        (work / "podman").write_text("#!/bin/sh\necho 'podman version 5.4.0'\n")
        (work / "podman").chmod(0o755)
        command, environment = [tool("podman-compose")], {**os.environ, "PATH": f"{work}:{os.environ['PATH']}"}
    done = subprocess.run(
        [*command, "config"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


@on_a_machine
def test_compose_resolves_the_project(lab: Lab, tmp_path: Path) -> None:
    folder = as_on_the_machine(lab.path / "runner", tmp_path / "runner")
    project = composed(folder, tmp_path / "bin")
    assert project["name"] == "gitlab-runner" and set(project["services"]) == {"gitlab-runner", "clean-up"}
    runner, cleaner = project["services"]["gitlab-runner"], project["services"]["clean-up"]
    major, minor, _ = lab.answers["gitlab_version"].split(".")
    assert runner["image"] == f"gitlab/gitlab-runner:alpine-v{major}.{minor}.0", "pinned, and of GitLab's own version"
    for service in (runner, cleaner):
        assert service["restart"] == "unless-stopped"
        assert {"max-size", "max-file"} <= set(service["logging"]["options"]), "its log has an end"
    assert runner["healthcheck"]["test"][0] == "CMD" and "9252" in runner["healthcheck"]["test"][-1]
    mounts = [
        mount if isinstance(mount, str) else f"{mount['source']}:{mount['target']}" for mount in runner["volumes"]
    ]
    assert any("config.toml:/etc/gitlab-runner/config.toml" in mount for mount in mounts)
    assert any("ca.crt:/etc/gitlab-runner/certs/ca.crt" in mount for mount in mounts) is lab.answers["private_ca"]
    for source in [mount.split(":")[0] for mount in mounts if mount.startswith((".", str(folder)))]:
        assert (folder / source).is_file(), "a missing file would become a folder"
    assert settings_of(lab)["listen_address"] == "127.0.0.1:9252", "what the health check asks"


def test_the_clean_up_is_a_loop_that_a_shell_reads(article: Lab, tmp_path: Path) -> None:
    cleaner = yaml.safe_load((article.path / "runner/compose.yaml").read_text(encoding="utf-8"))["services"]["clean-up"]
    assert cleaner["entrypoint"] == ["sh", "-c"]
    (script,) = cleaner["command"]
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "docker").write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\n')
    # The third sleep does not come back, or the loop would never end.
    (programs / "sleep").write_text(
        f"#!/bin/sh\necho $1 >> {tmp_path}/sleeps\n[ $(/usr/bin/wc -l < {tmp_path}/sleeps) -lt 3 ]\n"
    )
    for file in programs.iterdir():
        file.chmod(0o755)
    subprocess.run(["/bin/sh", "-c", script], env={"PATH": str(programs)}, check=True)
    assert (tmp_path / "sleeps").read_text().split() == ["3600", "604800", "3600"]
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == [
        "system prune --all --force --filter until=24h",
        "volume prune --all --force --filter label=com.gitlab.gitlab-runner.managed=true",
    ]


@on_a_machine
def test_the_token_is_nowhere_but_in_env(lab: Lab, tmp_path: Path) -> None:
    folder = as_on_the_machine(lab.path / "runner", tmp_path / "runner")
    assert [file.name for file in sorted(folder.iterdir()) if TOKEN in file.read_text(encoding="utf-8")] == [".env"]
    variables = re.findall(r"^(\w+)=$", (lab.path / "runner/.env.example").read_text(encoding="utf-8"), re.MULTILINE)
    assert [one["token"] for one in settings_of(lab)["runners"]] == [f"${name}" for name in variables]
    compose = yaml.safe_load((folder / "compose.yaml").read_text(encoding="utf-8"))["services"]
    assert compose["gitlab-runner"]["env_file"] == [".env"] and "env_file" not in compose["clean-up"]
    assert not re.search(r"glrt-|environment:", (folder / "compose.yaml").read_text(encoding="utf-8"))


@on_a_machine
def test_git_never_takes_env(lab: Lab, tmp_path: Path) -> None:
    copy = tmp_path / "lab"
    copy.mkdir()
    shutil.copy2(lab.path / ".gitignore", copy / ".gitignore")
    shutil.copytree(lab.path / "runner", copy / "runner")
    (copy / "runner/.env").write_text(f"RUNNER_TOKEN={TOKEN}\n")
    for arguments in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", "-C", copy, *arguments], check=True)
    staged = run("git", "-C", copy, "ls-files").stdout.split()
    assert "runner/.env" not in staged and "runner/.env.example" in staged


def building_and_protected(lab: Lab) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the executors' settings: of the runners that build, and of those for protected branches alone."""
    found = [
        (one["name"].endswith((" protected", " machines")), one[one["executor"]]) for one in settings_of(lab)["runners"]
    ]
    return [one for protected, one in found if not protected], [one for protected, one in found if protected]


@with_runner
def test_jobs_may_do_what_their_way_of_building_needs_and_no_more(lab: Lab) -> None:
    building, _ = building_and_protected(lab)
    dind = lab.answers["build_method"] == "dind"
    assert building
    for executor in building:
        assert executor["privileged"] is False
        assert "docker.sock" not in str(executor), "no job reaches the machine's own Docker"
        if lab.answers["runner_kind"] == "docker":
            assert ("/certs/client" in executor["volumes"], "/cache" in executor["volumes"]) == (dind, True)
            assert executor.get("security_opt") == (None if dind else ["seccomp=unconfined", "apparmor=unconfined"])
        else:
            mounts = [one["mount_path"] for one in executor.get("volumes", {}).get("empty_dir", [])]
            assert mounts == (["/certs/client"] if dind else [])
            context = executor.get("build_container_security_context")
            wanted = {"seccomp_profile": {"type": "Unconfined"}, "app_armor_profile": {"type": "Unconfined"}}
            assert context == (None if dind else wanted) and executor["automount_service_account_token"] is False
            (namespace,) = [one for one in lab.of_kind("Namespace") if one["metadata"]["name"] == executor["namespace"]]
            assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged", (
                "which both ways need"
            )


def matches(pattern: str, name: str) -> bool:
    """Say whether a name is in a list of the runner's, as doublestar.Match compares them: no `*` goes over a slash."""
    return (
        re.fullmatch("".join("[^/]*" if part == "*" else re.escape(part) for part in re.split(r"(\*)", pattern)), name)
        is not None
    )


def is_privileged(executor: dict[str, Any], kind: str, service: str | None) -> bool:
    """Say whether a container of a job would be privileged: a service's, or the job's own where none is named.

    gitlab-runner, executors/docker/docker.go, createHostConfigForService and isInAllowedPrivilegedImages: an empty list
    allows every image. common/config.go, GetContainerSecurityContext: a container's own setting goes before `privileged`.
    """
    if service is None:
        return bool(executor.get("build_container_security_context", {}).get("privileged", executor["privileged"]))
    if kind == "kubernetes":
        return bool(executor.get("service_container_security_context", {}).get("privileged", executor["privileged"]))
    allowed = executor.get("allowed_privileged_services") or []
    return bool(executor.get("services_privileged", executor["privileged"])) and (
        not allowed or any(matches(one, service) for one in allowed)
    )


DOCKER = f"docker:29.8.1-dind@sha256:{'0' * 64}"


STRANGERS = (
    "alpine",
    "postgres:17",
    "evil/docker:29.8.1-dind",
    "evil.example/docker:1-dind",
    "docker:29.8.1-cli",
    "docker:latest",
    "docker:dind/../x",
    "dockerx:1-dind",
    "docker:1-dind/x",
    "docker.io/evil/docker:1-dind",
    "docker.io.evil.example/library/docker:1-dind",
    "registry.lab/docker:1-dind",
)


@with_runner
def test_no_job_is_privileged_and_no_service_but_docker_beside_it(lab: Lab) -> None:
    """A job that wants to be root on the machine names an image of its own as its service."""
    kind, dind = lab.answers["runner_kind"], lab.answers["build_method"] == "dind"
    building, protected = building_and_protected(lab)
    for executor in [*building, *protected]:
        assert not is_privileged(executor, kind, None)
    for executor in building:
        if kind == "docker":
            assert [one for one in STRANGERS if is_privileged(executor, kind, one)] == []
        for own in ("docker:29.8.1-dind", DOCKER, "docker.io/library/docker:29.8.1-dind"):
            assert is_privileged(executor, kind, own) is dind, "what the sample's pipeline starts"
    for executor in protected:
        assert [one for one in (*STRANGERS, DOCKER, "docker:29.8.1-dind") if is_privileged(executor, kind, one)] == []
        assert (
            "Unconfined" not in str(executor)
            and "security_opt" not in executor
            and "certs" not in str(executor.get("volumes"))
        )


@with_runner
def test_an_image_that_one_project_pulled_is_asked_for_again_with_the_next_ones_own_credential(lab: Lab) -> None:
    """docs.gitlab.com/runner/executors/docker/#how-pull-policies-work: a fallback, or a job's own choice, would hand it out."""
    for executor in (one for several in building_and_protected(lab) for one in several):
        assert executor["pull_policy"] == executor["allowed_pull_policies"] == ["always"]


@with_runner
def test_the_labs_own_jobs_ask_for_the_protected_runner_where_there_is_one(lab: Lab) -> None:
    pipeline = yaml.safe_load((lab.path / ".gitlab-ci.yml").read_text(encoding="utf-8"))
    assert pipeline["default"]["tags"] == ["$LAB_RUNNER"] and pipeline["variables"]["LAB_RUNNER"] == ""
    assert not [name for name, job in pipeline.items() if isinstance(job, dict) and "tags" in job and name != "default"]
    _, protected = building_and_protected(lab)
    has_machines = any(path.name == "iac" for path in lab.path.iterdir())
    assert len(protected) == (lab.answers["gitops_source"] == "self") + has_machines
    assert program.runners.PROTECTED_VARIABLE == "LAB_RUNNER"


def test_the_default_in_the_cluster_is_buildkit() -> None:
    given_ = {kind: answered({"runner_kind": kind})["build_method"] for kind in ("docker", "kubernetes")}
    assert given_ == {"docker": "dind", "kubernetes": "buildkit"}


@with_runner
def test_a_job_without_an_image_of_its_own_ends(lab: Lab) -> None:
    """BuildKit's image starts a daemon; a job that fell back on it would never begin."""
    for runner in settings_of(lab)["runners"]:
        image = runner[runner["executor"]]["image"]
        assert re.fullmatch(r"(docker:[\d.]+-cli|alpine:[\d.]+)(@sha256:[0-9a-f]{64})?", image)


@with_runner
def test_jobs_trust_the_labs_own_authority(lab: Lab) -> None:
    """The runner itself by tls-ca-file; Docker, its daemon and BuildKit by what Go reads besides the system's certificates."""
    runner = settings_of(lab)["runners"][0]
    executor = runner[runner["executor"]]
    mounted = (
        [one.split(":")[1] for one in executor.get("volumes", []) if ":" in one]
        if runner["executor"] == "docker"
        else [one["mount_path"] for one in executor.get("volumes", {}).get("secret", [])]
    )
    if not lab.answers["private_ca"]:
        assert "environment" not in runner and mounted == [] and "tls-ca-file" not in runner
        return
    (variable,) = runner["environment"]
    name, _, folders = variable.partition("=")
    assert name == "SSL_CERT_DIR" and folders.split(":")[0] == "/etc/ssl/certs", "the public authorities stay"
    assert any(path in (folders.split(":")[1], f"{folders.split(':')[1]}/ca.crt") for path in mounted)
    if runner["executor"] == "docker":
        assert any(one.startswith(f"{lab.answers['runner_home']}/ca.crt:") for one in executor["volumes"]), (
            "a path of the machine, not of the container"
        )
    else:
        pod = lab.values["gitlab-runner/gitlab-runner"]["volumes"]["items"]["ca"]
        assert f"{pod['mountPath'][0]}/ca.crt" == runner["tls-ca-file"]


@in_the_cluster
def test_the_runner_in_the_cluster_has_its_token_from_a_secret_and_its_settings_from_git(lab: Lab) -> None:
    environment = lab.values["gitlab-runner/gitlab-runner"]["env"]
    assert {one["token"] for one in settings_of(lab)["runners"]} == {f"${name}" for name in environment}
    for name, value in environment.items():
        # A lab that is updated has no token of the protected runners yet, and its other runner goes on.
        optional = {"optional": True} if name in ("RUNNER_TOKEN_PROTECTED", "RUNNER_TOKEN_MACHINES") else {}
        assert value == {"valueFrom": {"secretKeyRef": {"name": "gitlab-runner-token", "key": name, **optional}}}
    (deployment,) = [one for one in lab.of_kind("Deployment") if one["metadata"]["name"] == "gitlab-runner"]
    assert any("checksum" in key for key in deployment["spec"]["template"]["metadata"]["annotations"]), (
        "new settings restart it"
    )
    account = deployment["spec"]["template"]["spec"]["serviceAccountName"]
    (binding,) = [one for one in lab.of_kind("RoleBinding") if one["metadata"]["name"] == "gitlab-runner"]
    assert [(one["kind"], one["name"]) for one in binding["subjects"]] == [("ServiceAccount", account)]


@with_runner
def test_flux_waits_for_longer_than_a_pod_may_take_to_end(lab: Lab) -> None:
    """One pod at a time: a new runner begins when the old one's jobs have ended. Until then nothing has failed."""
    seconds = {"s": 1, "m": 60, "h": 3600}
    for release in lab.of_kind("HelmRelease"):
        spec, name = release["spec"], release["metadata"]["name"]
        (folder,) = [
            one["spec"]
            for one in lab.of_kind("Kustomization")
            if one["metadata"]["name"] == {"gitlab-runner": "runner"}.get(name, name)
        ]
        grace = lab.values[f"{release['metadata']['namespace']}/{name}"].get("terminationGracePeriodSeconds", 30)
        release_waits, folder_waits = (int(one["timeout"][:-1]) * seconds[one["timeout"][-1]] for one in (spec, folder))
        assert grace + 120 <= release_waits, name
        assert not folder.get("wait") or release_waits < folder_waits, name
