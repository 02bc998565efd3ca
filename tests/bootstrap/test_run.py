"""A bare cluster and a lab's folder become a working lab, for each source of the repository and kind of runner."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bootstrap.support.gitlab_api_table import ENDPOINTS
from tests.bootstrap.support.journeys import LONG, Journey
from tests.bootstrap.support.lab_world import ROOT_TOKEN, World
from tests.support import program
from tests.support.program import storage

# What a run changes that finds everything in place: it makes the token to look with, and revokes it.
LOOKING = list(ROOT_TOKEN.values())


def test_a_run_builds_the_whole_lab_and_a_second_one_changes_nothing(world: World) -> None:
    """From another folder, in a path with a space, a quote and an umlaut; with a home that even root cannot write."""
    assert re.search("[ ']", str(world.lab)) and not str(world.lab).isascii()
    nowhere = {"HOME": "/proc", "XDG_RUNTIME_DIR": "/proc", "TMPDIR": "/proc/nothing"}
    first = world.must_run(cwd=Path("/"), **nowhere)
    left = subprocess.run(
        ["git", "-C", str(world.lab), "status", "--porcelain"], capture_output=True, text=True, check=True
    )
    assert left.stdout == "", "nothing is left in the lab's folder"
    assert "GitLab: migrating the database, 0 of at most 1 minutes" in first.out, "a long wait says what it waits for"
    assert "GitLab was not restarted" in first.out
    result = world.summary()
    assert result["groups"] == [{"full_path": "HomeLAB", "of": None, "visibility": "internal"}]
    assert [(p["path_with_namespace"], p["visibility"], p["default_branch"]) for p in result["projects"]] == [
        ("HomeLAB/demo", "internal", "main"),
        ("HomeLAB/homelab", "private", "main"),
    ]
    assert [t["name"] for t in result["deploy tokens"]] == ["flux-homelab"]
    assert result["deploy keys"] == [
        {"can_push": True, "key": "<flux identity.pub>", "of": "HomeLAB/homelab", "title": "flux-homelab"}
    ]
    assert {"name": "main", "of": "HomeLAB/homelab", "push": ["40", "flux-homelab"]} in result["branches"]
    assert result["protected tags"] == [{"name": "*", "of": "HomeLAB/demo"}], "v1.2.3 and 1.2.3 both deploy"
    assert result["hooks"] == [
        {
            "of": "HomeLAB/homelab",
            "token": "<receiver token>",
            "url": "http://webhook-receiver.flux-system.svc.cluster.local/hook/<path of gitlab>",
        }
    ]
    assert [(r["description"], r["runner_type"], r["status"]) for r in result["runners"]] == [
        ("lab-homelab of HomeLAB", "group_type", "online"),
        ("lab-homelab protected", "project_type", "online"),
    ]
    assert [one for one in result["variables"] if one["key"] == "LAB_RUNNER"] == [
        {
            "key": "LAB_RUNNER",
            "value": "protected",
            "masked": False,
            "hidden": False,
            "protected": True,
            "of": "HomeLAB/homelab",
        }
    ]
    assert result["root tokens that are valid"] == []
    assert result["gitlab pods"] == 1
    pull = {
        world.settings["registry_address"]: {
            "username": "<user of deploy token flux-homelab of HomeLAB>",
            "password": "<deploy token flux-homelab of HomeLAB>",
        }
    }
    ours = {name: secret["data"] for name, secret in result["secrets"].items()}
    host = "[gitlab-ssh.gitlab.svc.cluster.local]:2223"
    assert ours == {
        "default/regcred": pull,
        "flux-system/regcred": pull,
        "flux-system/flux-system": {
            "identity": "<flux identity>",
            "identity.pub": "<flux identity.pub>",
            "known_hosts": "\n".join(
                f"{host} {' '.join(line.split()[:2])}" for line in sorted(world.host_keys.splitlines())
            ),
        },
        "flux-system/gitlab-status": {"token": "<project token flux-status>"},
        "flux-system/receiver-token": {"token": "<receiver token>"},
        "gitlab/gitlab-root": {"password": "40 characters"},
        "gitlab/registry-webhook": {
            "url": "http://webhook-receiver.flux-system.svc.cluster.local/hook/<path of registry>"
        },
    }
    assert result["vm"]["it's home/.env"] == [
        "RUNNER_TOKEN_OF_HOMELAB=<runner lab-homelab of HomeLAB>\nRUNNER_TOKEN_PROTECTED=<runner lab-homelab protected>\n",
        "0o600",
    ]
    assert {"it's home/compose.yaml", "it's home/config.toml"} < set(result["vm"])
    assert result["tags"] == [{"name": "v1.0.0", "of": "HomeLAB/demo"}]
    assert result["repositories"] == {
        "homelab/demo.git": {"main": ["The sample application, as generated"]},
        "homelab/homelab.git": {"main": ["demo -> v1.0.0", "The lab as generated"]},
    }

    world.changes.clear()
    again = world.must_run()
    assert world.changes == LOOKING
    assert world.summary() == result
    assert "done" not in again.out


@pytest.fixture
def owner_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the owner's own Git configuration, which holds their own way to the external repository."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "owner.gitconfig"))
    return tmp_path / "owner.gitconfig"


def external_repository(world: World) -> None:
    repository = world.gitlab.repository("external/lab")
    for arguments in (
        ["init", "--quiet", "--bare", str(repository)],
        ["-C", str(repository), "config", "http.receivepack", "true"],
    ):
        subprocess.run(["git", *arguments], check=True)


@pytest.mark.slow
def test_an_external_repository_over_https_serves_flux_which_installs_gitlab(
    make_world: Callable[..., World], owner_config: Path
) -> None:
    """Several groups, one of them below another; a private CA; NFS and a node's disk; the runner in the cluster."""
    world = make_world(
        gitops_source="external",
        gitops_url="https://git.example/external/lab.git",
        runner_kind="kubernetes",
        runner_host="",
        runner_home="",
        groups=["HomeLAB", "Tools/Apps"],
        pipeline_auth="group-variable",
        storage_backend="nfs",
        data_backend="host-path",
        nfs_server="127.0.0.1",
        storage_root="/storage",
        tls_source="secret",
        tls_secret_name="lab-tls",
        private_ca=True,
        app_namespace="apps",
    )
    external_repository(world)
    world.external_logins = {("owner", "theirs"), ("flux", "the flux password")}
    owner_config.write_text(f"""
[url "http://localhost:{world.server.port}/external/"]
  insteadOf = https://git.example/external/
[credential]
  helper = "!echo username=owner; echo password=theirs; :"
""")
    refused = world.run("--only", "gitlab")
    assert refused.status == 1 and "set LAB_GIT_USERNAME" in refused.err
    password = owner_config.with_name("password")
    password.write_text("the flux password\n")
    world.must_run(LAB_GIT_USERNAME="flux", LAB_GIT_PASSWORD_FILE=str(password), LAB_SKIP="nfs")

    result = world.summary()
    secrets = {name: secret["data"] for name, secret in result["secrets"].items()}
    certificate = (world.lab / "ca.crt").read_text()
    assert secrets["flux-system/flux-system"] == {
        "username": "flux",
        "password": "the flux password",
        "ca.crt": certificate,
    }
    keys = {f"{world.settings['registry_address']}/homelab/", f"{world.settings['registry_address']}/tools/apps/"}
    assert set(secrets["apps/regcred"]) == set(secrets["flux-system/regcred"]) == keys
    assert secrets["gitlab-runner/gitlab-runner-token"] == {
        "RUNNER_TOKEN_OF_HOMELAB": "<runner lab-homelab of HomeLAB>",
        "RUNNER_TOKEN_OF_TOOLS_2FAPPS": "<runner lab-homelab of Tools/Apps>",
    }
    assert [secrets[f"{n}/lab-ca"] for n in ("gitlab", "flux-system", "gitlab-runner")] == [{"ca.crt": certificate}] * 3
    assert secrets["apps/lab-tls"] == secrets["gitlab/lab-tls"]
    assert "flux-system/gitlab-status" not in secrets
    assert [
        (v["of"], v["value"], v["masked"], v["hidden"], v["protected"])
        for v in result["variables"]
        if v["key"] == "DOCKER_REGISTRY_TOKEN"
    ] == [(group, f"<deploy token push-homelab of {group}>", True, True, True) for group in ("HomeLAB", "Tools/Apps")]
    assert [g["full_path"] for g in result["groups"]] == ["HomeLAB", "Tools", "Tools/Apps"]
    assert result["hooks"] == [] and [p["path_with_namespace"] for p in result["projects"]] == ["HomeLAB/demo"]
    assert len(result["storage"]) == 2, "a Job for the NFS folders and one for the node's"
    assert result["repositories"]["external/lab.git"] == {"main": ["demo -> v1.0.0", "The lab as generated"]}

    if LONG:
        world.changes.clear()
        world.must_run(LAB_SKIP="nfs")
        assert world.changes == LOOKING and world.summary() == result

    world.gitlab.runners.clear()
    assert "the runner starts again" in world.must_run("--only", "runner").out, "its pod keeps the old token otherwise"
    assert "   done " not in world.must_run("--only", "runner").out

    world.external_logins = {("owner", "theirs"), ("flux", "a new one")}
    expired = world.run("--only", "gitlab")
    assert expired.status == 1 and "does not take Flux's password any more" in expired.err
    password.write_text("a new one\n")
    world.must_run("--only", "gitlab", LAB_GIT_USERNAME="flux", LAB_GIT_PASSWORD_FILE=str(password))
    assert world.cluster.secret("flux-system", "flux-system")["password"] == "a new one"


@pytest.mark.slow
def test_an_external_repository_over_ssh_takes_fluxs_own_key(
    make_world: Callable[..., World], owner_config: Path
) -> None:
    """Without a terminal neither the host's keys nor the deploy key are taken on trust. No runner, no sample."""
    world = make_world(
        gitops_source="external",
        gitops_url="ssh://git@external.example/external/lab.git",
        runner_kind="none",
        runner_host="",
        runner_home="",
        sample_app=False,
        sample_project="",
        ssh_exposure="traefik",
        tls_source="traefik",
        traefik_kind="other",
    )
    external_repository(world)
    key = world.folder / "owners.key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    world.external_keys.add(" ".join(key.with_suffix(".key.pub").read_text().split()[:2]))
    owner_config.write_text(f"[core]\n  sshCommand = ssh -i '{key}'\n")

    unknown = world.run("--from", "storage")
    assert unknown.status == 1 and "set LAB_GIT_HOST_KEY" in unknown.err
    wrong = world.run("--from", "gitlab", LAB_GIT_HOST_KEY="SHA256:somebody-else")
    assert wrong.status == 1 and "No host key of" in wrong.err
    listing = subprocess.run(
        ["ssh-keygen", "-l", "-f", "-"], input=world.host_keys, text=True, capture_output=True, check=True
    )
    trusted = {"LAB_GIT_HOST_KEY": listing.stdout.split()[1]}
    refused = world.run("--from", "gitlab", **trusted)
    public = world.cluster.secret("flux-system", "flux-system")["identity.pub"]
    assert refused.status == 1 and public.strip() in refused.err, "the owner is shown the key to add"
    always_yes = world.terminal("--yes", "--from", "gitlab", **trusted)
    assert always_yes.wait() == 1 and public.strip() in always_yes.said, "yes beforehand answers nothing here"
    world.external_keys.add(" ".join(public.split()[:2]))
    run = world.must_run(**trusted)
    assert "this lab has no runner" in run.out and "there is no loop to run" in run.out
    result = world.summary()
    assert result["secrets"]["flux-system/flux-system"]["data"]["identity.pub"] == "<flux identity.pub>"
    assert result["repositories"]["external/lab.git"] == {"main": ["The lab as generated"]}
    if LONG:
        world.changes.clear()
        world.must_run(**trusted)
        assert world.changes == LOOKING and world.summary() == result


def test_every_request_of_the_table_is_used(journey: Journey) -> None:
    """A request that nothing sends any more has no place in the table of GitLab's documentation."""
    assert {e.name for e in ENDPOINTS} - journey.world.requests - USED_ELSEWHERE == set()


USED_ELSEWHERE = {
    # By ./lab upgrade, by the alarm in the cluster, and in a lab with sign_in.
    "GET /admin/batched_background_migrations",
    "GET /admin/batched_background_migrations/:id",
    "GET /projects/:id/runners",
    "GET /applications",
    "POST /applications",
    "DELETE /applications/:id",
    "GET /projects/:id/merge_requests",
    "POST /projects/:id/merge_requests",
    "DELETE /groups/:id/deploy_tokens/:token_id",
    "DELETE /groups/:id/variables/:key",
    "DELETE /projects/:id/registry/protection/tag/rules/:rule_id",
    "DELETE /projects/:id/variables/:key",
    "PUT /projects/:id",
    "DELETE /projects/:id/access_tokens/:token_id",
    "DELETE /projects/:id/deploy_keys/:key_id",
    "DELETE /projects/:id/hooks/:hook_id",
    "DELETE /runners/:id",
    "GET /personal_access_tokens/self",
    "POST /projects/:id/protected_branches",
    "POST /runners/verify",
}


def test_the_folders_are_made_where_only_gitlabs_own_is_exported(tmp_path: Path) -> None:
    """NFS then lets nobody write above it, and answers so to a mkdir of what is there, with which BusyBox's mkdir -p begins."""
    (tmp_path / "bin").mkdir()
    mkdir = 'case "$*" in gitlab/*) exec /bin/mkdir "$@";; esac; echo "Read-only file system" >&2; exit 1'
    for name, does in (("mkdir", mkdir), ("chown", "")):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    settings = program.settings(gitlab_namespace="gitlab", storage_root="/storage", nfs_server="nas.lan")
    job = storage.job(settings, "nfs", ["gitlab/config", "gitlab/logs"])
    _, options, script = job["spec"]["template"]["spec"]["containers"][0]["command"]
    (tmp_path / "lab/gitlab/logs").mkdir(parents=True)
    path = f"{tmp_path / 'bin'}:/usr/bin:/bin"
    command = ["sh", options, script.replace("cd /lab", f"cd {tmp_path}/lab")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": path})
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(file.name for file in (tmp_path / "lab/gitlab").iterdir()) == ["config", "logs"]
