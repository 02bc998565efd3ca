"""Whose jobs the lab's runners take: each walk of an attacker ends at a runner that does not take the job.

What GitLab itself decides stands in `runners_for` of the stand-in, with the pages that say so.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bootstrap.support.faults import Fault
from tests.bootstrap.support.journeys import Journey
from tests.bootstrap.support.lab_folder import commit, write_settings
from tests.bootstrap.support.lab_world import World

LAB, SAMPLE = "HomeLAB/homelab", "HomeLAB/demo"


def answered(world: World, **answers: object) -> None:
    """Change answers of the lab, as an update does."""
    world.settings.update(answers)
    write_settings(world.lab, world.settings)
    commit(world.lab, "Other answers")


def tags_of(world: World, ref_is_protected: bool) -> set[str]:
    """Return the tags for which a job of the lab's pipeline asks: an empty variable is no tag, and a protected one is not there on other branches.

    https://docs.gitlab.com/ci/yaml/#tags, https://docs.gitlab.com/ci/variables/#protect-a-cicd-variable
    """
    project = world.gitlab.project(LAB)
    assert project is not None
    found = [v for v in world.gitlab.variables if (v.get("project"), v["key"]) == (project["id"], "LAB_RUNNER")]
    return {v["value"] for v in found if ref_is_protected or not v["protected"]}


def test_a_strangers_project_gets_no_runner(journey: Journey) -> None:
    """Whoever has an account may make a project below their own name, with any pipeline."""
    gitlab = journey.to("end").gitlab
    gitlab.projects.append({"id": 7000, "path_with_namespace": "mallory/miner", "path": "miner"})
    gitlab.groups.append({"id": 7001, "full_path": "HomeLABs", "path": "HomeLABs"})
    gitlab.projects.append({"id": 7002, "path_with_namespace": "HomeLABs/lookalike", "path": "lookalike"})
    for project in ("mallory/miner", "HomeLABs/lookalike"):
        for tags in (set(), {"protected"}):
            for protected in (False, True):
                assert gitlab.runners_for(project, protected, tags) == []


def test_jobs_that_hold_what_changes_the_lab_run_where_no_other_job_runs(journey: Journey) -> None:
    world = journey.to("end")
    gitlab = world.gitlab
    assert gitlab.runners_for(LAB, True, tags_of(world, True)) == ["lab-homelab protected"]
    assert gitlab.runners_for(LAB, False, tags_of(world, False)) == ["lab-homelab of HomeLAB"], "merge requests go on"
    # A Developer's branch, or another project of the group, asks for the protected runner by its tag.
    assert gitlab.runners_for(LAB, False, {"protected"}) == []
    assert gitlab.runners_for(SAMPLE, True, {"protected"}) == []
    # A job without tags is not for it either: a maintainer of the project who forgets them shares nothing.
    assert "lab-homelab protected" not in gitlab.runners_for(LAB, True, set())
    (made,) = [one for one in gitlab.runners if one["runner_type"] == "project_type"]
    assert made["locked"] is True and made["access_level"] == "ref_protected", "nobody enables it elsewhere"


@pytest.mark.slow
def test_the_jobs_of_a_lab_in_a_group_of_its_own_have_a_runner(make_world: Callable[..., World]) -> None:
    world = make_world(lab_project="ops/homelab")
    world.must_run()
    gitlab = world.gitlab
    assert gitlab.runners_for("ops/homelab", False, set()) == ["lab-homelab of ops"], "merge requests"
    assert gitlab.runners_for("ops/homelab", True, {"protected"}) == ["lab-homelab protected"]
    assert gitlab.runners_for(SAMPLE, True, set()) == ["lab-homelab of HomeLAB"]


@pytest.mark.slow
def test_an_old_labs_runner_goes_on_and_the_protected_one_comes_beside_it(make_world: Callable[..., World]) -> None:
    """A lab made before runner_scope has an instance runner; its token, and whose jobs it takes, stay as they are."""
    world = make_world(runner_scope="instance")
    world.must_run()
    home, gitlab = Path(world.settings["runner_home"]), world.gitlab
    old = gitlab.runners[0]
    assert (old["description"], old["runner_type"]) == ("lab-homelab", "instance_type")
    # As it was before there was a protected one.
    gitlab.runners[:] = [old]
    gitlab.variables[:] = [one for one in gitlab.variables if one["key"] != "LAB_RUNNER"]
    (home / ".env").write_text(f"RUNNER_TOKEN={old['token']}\n")
    world.must_run("--only", "runner")
    assert gitlab.runners[0] is old and [one["runner_type"] for one in gitlab.runners] == [
        "instance_type",
        "project_type",
    ]
    assert f"RUNNER_TOKEN={old['token']}\n" in (home / ".env").read_text()
    gitlab.projects.append({"id": 7000, "path_with_namespace": "friend/site", "path": "site"})
    assert gitlab.runners_for("friend/site", False, set()) == ["lab-homelab"]
    assert gitlab.runners_for(LAB, True, tags_of(world, True)) == ["lab-homelab protected"]
    world.changes.clear()
    assert "   done " not in world.must_run("--only", "runner").out


@pytest.mark.slow
def test_the_answer_groups_takes_the_runner_from_all_others(make_world: Callable[..., World]) -> None:
    world = make_world(runner_scope="instance")
    world.must_run()
    answered(world, runner_scope="groups")
    run = world.must_run("--only", "runner")
    assert "runner lab-homelab deleted" in run.out
    assert sorted(one["description"] for one in world.gitlab.runners) == [
        "lab-homelab of HomeLAB",
        "lab-homelab protected",
    ]
    env = (Path(world.settings["runner_home"]) / ".env").read_text()
    assert [line.partition("=")[0] for line in env.splitlines()] == [
        "RUNNER_TOKEN_PROTECTED",
        "RUNNER_TOKEN_OF_HOMELAB",
    ]
    assert world.summary()["runner up to date"]
    assert "   done " not in world.must_run("--only", "runner").out


def test_a_runner_of_somebody_else_is_left_alone(journey: Journey) -> None:
    world = journey.to("end")
    theirs = [
        {
            "description": name,
            "runner_type": kind,
            "token": f"r-{name}",
            "id": 9000 + number,
            "paused": False,
            "status": "online",
            "online": True,
        }
        for number, (name, kind) in enumerate(
            [("lab-homelab2", "instance_type"), ("big-iron", "group_type"), ("lab-homelab-protected", "project_type")]
        )
    ]
    world.gitlab.runners += [dict(one) for one in theirs]
    world.must_run("--only", "runner")
    assert [one for one in theirs if one["id"] not in {runner["id"] for runner in world.gitlab.runners}] == []


@pytest.mark.slow
def test_the_old_runner_goes_only_when_the_new_one_works(make_world: Callable[..., World]) -> None:
    """A run that ends in the middle leaves a runner that takes jobs."""
    world = make_world(runner_scope="instance")
    world.must_run()
    answered(world, runner_scope="groups")
    world.faults = [Fault("ssh", "compose up", "docker: no space left on device")]
    assert world.run("--only", "runner").status == 1
    assert "lab-homelab" in [one["description"] for one in world.gitlab.runners]
    world.faults = []
    world.must_run("--only", "runner")
    assert "lab-homelab" not in [one["description"] for one in world.gitlab.runners]


@pytest.mark.slow
def test_jobs_of_a_lab_whose_owner_brings_the_runner_ask_for_no_tag(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.must_run()
    assert tags_of(world, True) == {"protected"}
    answered(world, runner_kind="none", runner_scope="", runner_host="", runner_home="")
    world.must_run("--only", "runner")
    assert tags_of(world, True) == set()
    assert "   done " not in world.must_run("--only", "runner").out


@pytest.mark.parametrize(("stage", "missing"), [("runner", "groups")])
def test_a_missing_group_is_named_with_the_stage_that_makes_it(journey: Journey, stage: str, missing: str) -> None:
    world = journey.to("groups")
    run = world.run("--only", stage)
    assert run.status == 1 and "GitLab has no HomeLAB for the runner lab-homelab of HomeLAB" in run.err
    assert f"./lab up --only {missing}" in run.err
