"""`./lab up` sets clean-up policies in GitLab: for the projects whose images the lab runs, and never over the owner's own."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.bootstrap.support.journeys import Journey
from tests.bootstrap.support.lab_folder import write_settings
from tests.bootstrap.support.lab_world import World

DEMO = "HomeLAB/demo"
OWNERS = {
    "enabled": True,
    "cadence": "7d",
    "keep_n": 5,
    "older_than": "7d",
    "name_regex": ".*",
    "name_regex_keep": "v[01].*",
}


def policy(world: World, project: str = DEMO) -> dict[str, Any]:
    found = world.gitlab.project(project)
    assert found is not None
    return found["container_expiration_policy"]  # type: ignore[no-any-return]


def pod_with(world: World, name: str, tag: str) -> None:
    image = f"{world.settings['registry_address']}/homelab/demo:{tag}"
    world.cluster.put("CronJob", "default", name, spec={"jobTemplate": {"spec": {"containers": [{"image": image}]}}})


def kept(world: World, tag: str) -> bool:
    return re.search(rf"\A{policy(world)['name_regex_keep']}\Z", tag) is not None


def test_a_new_labs_policy_follows_what_is_in_use(journey: Journey) -> None:
    world = journey.to("end")
    assert policy(world)["enabled"] and kept(world, "v1.2.3") and kept(world, "0.1.0-rc1") and not kept(world, "main")
    assert not policy(world, "HomeLAB/homelab")["enabled"], "the lab's own project has no images"
    assert "done" not in world.must_run("--only", "groups").out
    pod_with(world, "nightly", "main")
    assert "tags of HomeLAB/demo that are no version and not in use" in world.must_run("--only", "groups").out
    assert kept(world, "main") and not kept(world, "mainx") and not kept(world, "other")


def test_an_owners_policy_stays_and_a_running_tag_that_it_may_take_is_named(journey: Journey) -> None:
    world = journey.to("end")
    policy(world).update(OWNERS)
    pod_with(world, "nightly", "main")
    pod_with(world, "stable", "v1.4.0")
    run = world.must_run("--only", "groups")
    assert policy(world) == OWNERS
    assert (
        "HomeLAB/demo may remove tags that are in use: main.\n" in run.err
        and "/-/settings/packages_and_registries" in run.err
    )


def test_a_policy_that_its_owner_has_switched_off_stays_off(journey: Journey) -> None:
    world = journey.to("end")
    policy(world)["enabled"] = False
    assert "is off, as you set it" in world.must_run("--only", "groups").out
    assert not policy(world)["enabled"]


def test_a_lab_of_before_keeps_what_it_has_until_its_owner_says_so(journey: Journey) -> None:
    world = journey.to("end")
    untouched = {**OWNERS, "enabled": False, "keep_n": 10, "older_than": "90d", "name_regex_keep": None}
    policy(world).update(untouched)
    for answer, is_set in (("as-set", False), ("build-tags", True)):
        world.settings["registry_cleanup"] = answer
        write_settings(world.lab, world.settings)
        world.must_run("--only", "groups")
        assert policy(world)["enabled"] is is_set


@pytest.mark.deep
def test_an_image_policy_that_may_choose_any_tag_stops_the_clean_up(journey: Journey) -> None:
    world = journey.to("end")
    world.cluster.put(
        "ImagePolicy",
        "flux-system",
        "demo",
        spec={"imageRepositoryRef": {"name": "demo"}, "policy": {"alphabetical": {"order": "asc"}}},
        status={},
    )
    assert (
        "nothing of HomeLAB/demo is removed: its image policy may choose any tag"
        in world.must_run("--only", "groups").out
    )
    assert kept(world, "anything")
