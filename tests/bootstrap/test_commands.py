"""The program's smaller commands: status says what is wrong and changes nothing, check hands over to uv."""

from __future__ import annotations

import re

import pytest

from tests.bootstrap.support.faults import Fault
from tests.bootstrap.support.journeys import Journey
from tests.bootstrap.support.lab_world import World
from tests.bootstrap.test_verify import change, not_ready


def test_the_status_of_a_lab_that_works_names_versions_and_changes_nothing(journey: Journey) -> None:
    world = journey.to("end")
    run = world.must_run(command="status", yes=False)
    assert world.changes == [] and "warn" not in run.err
    for words in (
        "node node-1",
        "source-controller v2.9.4",
        "GitRepository flux-system/flux-system at ",
        "Kustomization flux-system/automation",
        "GitLab 19.3.0",
        "HelmRelease gitlab/gitlab",
        "image of demo v1.0.0",
    ):
        assert re.search(rf"^   ok     {re.escape(words)}", run.out, re.MULTILINE), words


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize(
    ("breaks", "words"),
    [
        (change("cluster.crash", "CrashLoopBackOff"), "GitLab 19.3.0-ce.0: GitLab keeps crashing."),
        (not_ready("GitRepository", "flux-system"), "GitRepository flux-system/flux-system"),
        (not_ready("Kustomization", "automation"), "Kustomization flux-system/automation"),
    ],
)
def test_the_status_says_what_fails_and_why_and_goes_on(journey: Journey, breaks, words: str) -> None:  # noqa: ANN001
    world = journey.to("end")
    breaks(world)
    run = world.run(command="status", yes=False)
    assert run.status == 1 and words in run.err and "image of demo" in run.out and world.changes == []


def test_an_application_whose_pods_are_refused_is_named_with_the_reason_in_one_line(journey: Journey) -> None:
    world = journey.to("end")
    assert re.search(
        r"^   ok     Deployment default/demo$", world.must_run(command="status", yes=False).out, re.MULTILINE
    )
    why = 'pods "demo-1" is forbidden: violates PodSecurity "restricted:latest"'
    world.cluster.refused = {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": why}]}
    run = world.run(command="status", yes=False)
    assert run.status == 1 and world.changes == []
    assert f"warn   Deployment default/demo: 0 of 1 pods ready; Kubernetes refuses its pods: {why}\n" in run.err


def another_node(world: World) -> None:
    addresses = [{"type": "InternalIP", "address": "192.168.1.77"}, {"type": "Hostname", "address": "node-2"}]
    world.cluster.put(
        "Node", "", "node-2", status={"conditions": [{"type": "Ready", "status": "True"}], "addresses": addresses}
    )


@pytest.mark.slow
def test_a_node_that_gitlab_would_ban_is_named_until_gitlab_was_started_with_it(journey: Journey) -> None:
    """With one expired pull secret, each node fails to log in; GitLab bans whoever it was not told to spare."""
    world = journey.to("end")
    assert "GitLab bans no node" in world.must_run(command="status", yes=False).out
    another_node(world)
    run = world.run(command="status", yes=False)
    assert run.status == 1 and "node-2 (192.168.1.77)" in run.err and "node-1" not in run.err
    assert "./lab up --only gitlab, then kubectl rollout restart deploy/gitlab -n gitlab" in run.err
    run = world.must_run("--only", "gitlab")
    assert "GitLab knows the old addresses of the nodes until its next start" in run.err
    assert world.cluster.find("ConfigMap", "gitlab", "gitlab-nodes")["data"] == {
        "addresses": "192.168.1.11 192.168.1.77"
    }
    assert "node-2 (192.168.1.77)" in world.run(command="status", yes=False).err, "the running one does not know it yet"
    world.cluster.node_ips = "192.168.1.11 192.168.1.77"
    assert "GitLab bans no node" in world.must_run(command="status", yes=False).out
    run = world.must_run("--only", "gitlab")
    assert "ConfigMap" not in run.out and "next start" not in run.err


def test_the_status_of_a_bare_cluster_is_that_nothing_is_there_yet(world: World) -> None:
    run = world.run(command="status", yes=False)
    assert (
        run.status == 1
        and "source-controller: not there yet" in run.err
        and "GitLab 19.3.0: not installed yet" in run.err
    )
    world.faults = [Fault("kubectl", "get nodes", "The connection to the server 127.0.0.1:6443 was refused")]
    run = world.run(command="status", yes=False)
    assert run.status == 1 and "Could not reach the cluster" in run.err


def test_check_is_uvs_to_run_and_says_so_where_there_is_none(world: World) -> None:
    run = world.run(command="check", yes=False)
    assert run.status == 1 and "uv is not installed" in run.err and "docs.astral.sh/uv" in run.err
    uv = world.bin / "uv"
    uv.write_text('#!/bin/sh\necho "$(pwd) $*"\nexit 7\n')
    uv.chmod(0o755)
    run = world.run(command="check", yes=False)
    assert (run.status, run.out) == (7, f"{world.lab} run --quiet .gitlab/check.py\n")


@pytest.mark.slow
def test_a_lab_whose_settings_are_broken_says_how_to_fix_them(world: World) -> None:
    settings = world.lab / "lab_program/settings.json"
    text = settings.read_text()
    for broken, words in (
        ("<<<<<<< mine\n", "cannot be read"),
        (text.replace('"lab_name"', '"lab_nam"'), "lab_nam is not known; lab_name is missing"),
        (text.replace('"ssh_port": 2223', '"ssh_port": "2223"'), "ssh_port is '2223'"),
    ):
        settings.write_text(broken)
        run = world.run()
        assert run.status == 1 and words in run.err and "git checkout HEAD -- lab_program/settings.json" in run.err
    assert world.calls == []
    assert world.run("--help", command="update", yes=False).status == 0, "an update does without them"
