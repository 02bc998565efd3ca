"""`./lab rescue`, where the real cluster of tests/cluster cannot easily be: a bare one, another host of the repository, a refusal."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.bootstrap.support.journeys import Journey
from tests.bootstrap.support.lab_world import World
from tests.bootstrap.support.stand_in_flux import git


def test_on_a_bare_cluster_a_rescue_builds_the_lab(world: World) -> None:
    """It ends its own run first: two runs of one lab at once are refused."""
    run = world.must_run(command="rescue")
    assert "going on as ./lab up" in run.out and "is up: " in run.out
    pods = world.cluster.gitlab_uid
    again = world.must_run(command="rescue")
    assert "Flux follows it again" in again.out
    assert world.cluster.gitlab_uid == pods


def test_what_the_check_refuses_leads_back_to_the_rescue(journey: Journey) -> None:
    world = journey.to("verify")
    pods, refusal = world.cluster.gitlab_uid, "GitLab refuses gitlab.rb:\nsomething that nobody wrote down"
    file = world.lab / "apps/gitlab/gitlab.rb"
    file.write_text(file.read_text(encoding="utf-8") + "# another\n", encoding="utf-8")
    git(world.lab, "commit", "--quiet", "--all", "--message", "Another gitlab.rb")
    world.cluster.failing_jobs["gitlab-check"] = refusal
    run = world.run(command="rescue")
    assert run.status == 1 and "something that nobody wrote down" in run.err
    assert "run ./lab rescue again" in run.err and "./lab up again" not in run.err
    assert world.cluster.gitlab_uid == pods


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize("version", ["19.3.9", "19.4.1"])
def test_the_version_is_that_of_the_values_whatever_the_answer_says(world: World, version: str) -> None:
    """Helm and Flux install what apps/gitlab/values.yaml says: an owner, or Renovate, takes a patch there."""
    answer = world.settings["gitlab_version"]
    image = {"name": "gitlab", "image": f"gitlab/gitlab-ce:{version}-ce.0"}
    world.cluster.put("Deployment", "gitlab", "gitlab", spec={"template": {"spec": {"containers": [image]}}})
    run = world.run("--only", "preflight")
    assert run.status == 1 and f"GitLab {version} is installed; this lab asks for {answer}" in run.err

    values = world.lab / "apps/gitlab/values.yaml"
    values.write_text(values.read_text(encoding="utf-8").replace(answer, version), encoding="utf-8")
    git(world.lab, "commit", "--quiet", "--all", "--message", f"GitLab {version}")
    run = world.must_run("--only", "preflight")
    assert f"asks for GitLab {version}, the answer gitlab_version for {answer}" in run.err + run.out


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize(("started", "problem"), [(False, ""), (True, "GitLab 19.3.9 is installed")])
def test_a_version_that_never_started_does_not_forbid_the_one_before(world: World, started: bool, problem: str) -> None:
    """An owner who has set a version by hand whose image no node gets comes back by `./lab rescue`."""
    answer, labels = world.settings["gitlab_version"], {"app.kubernetes.io/instance": "gitlab"}

    def put(kind: str, name: str, version: str, metadata: dict[str, object], **rest: object) -> None:
        image = {"name": "gitlab", "image": f"gitlab/gitlab-ce:{version}-ce.0"}
        spec = {"replicas": 1, "template": {"spec": {"containers": [image]}}}
        world.cluster.put(kind, "gitlab", name, metadata={"labels": labels} | metadata, spec=spec, **rest)

    put("Deployment", "gitlab", "19.3.9", {})
    for number, version in enumerate([answer, "19.3.9"], 1):
        annotations = {"deployment.kubernetes.io/revision": str(number)}
        put("ReplicaSet", f"gitlab-{number}", version, {"annotations": annotations})
    state = {"running": {}} if started else {"waiting": {"reason": "ImagePullBackOff"}}
    owner = {"ownerReferences": [{"kind": "ReplicaSet", "name": "gitlab-2"}]}
    put("Pod", "gitlab-2-pod", "19.3.9", owner, status={"containerStatuses": [{"state": state}]})
    run = world.run("--only", "preflight")
    assert run.status == bool(problem), run.text
    assert problem in run.err and ("[upgrade]" in run.err) == started


def test_a_repository_elsewhere_needs_no_rescue(make_world: Callable[..., World]) -> None:
    world = make_world(gitops_source="external", gitops_url="https://git.example/lab.git")
    run = world.run(command="rescue")
    assert run.status == 1 and "git push https://git.example/lab.git HEAD:main" in run.err
    assert world.calls == []
