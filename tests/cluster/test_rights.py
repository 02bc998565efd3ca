"""A lab whose credentials are wrong: what each of them is for stops, and is told; the next bootstrap fixes it."""

from __future__ import annotations

import pytest

from tests.cluster.api import condition
from tests.cluster.conftest import Worlds
from tests.cluster.world import World

pytestmark = pytest.mark.xdist_group("defaults")


@pytest.fixture
def world(worlds: Worlds) -> World:
    """Return a lab of default answers, built."""
    return worlds.get("defaults").build()


def test_a_webhook_with_another_token_is_refused(world: World) -> None:
    """Flux's address is made from the token, so that a wrong one leads nowhere."""
    with world.gitlab.lock:
        hook = world.gitlab.gitlab.hooks[0]
        token, hook["token"] = hook["token"], "another token"
    count = len(world.gitlab.deliveries)
    (world.lab / "note").write_text("1\n", encoding="utf-8")
    world.push("A note")
    found = world.wait("the webhook", lambda: world.gitlab.deliveries[count:])
    assert found[0].answer != 200
    with world.gitlab.lock:
        hook["token"] = token
    (world.lab / "note").write_text("2\n", encoding="utf-8")
    count = len(world.gitlab.deliveries)
    world.push("Another note")
    assert world.wait("the webhook", lambda: world.gitlab.deliveries[count:])[0].answer == 200


def test_a_deploy_key_without_the_right_to_push_is_told_and_fixed(world: World) -> None:
    with world.gitlab.lock:
        world.gitlab.gitlab.deploy_keys[0]["can_push"] = False
    world.tag_sample(world.next_sample_tag())
    world.wait(
        "the image automation's word",
        lambda: condition(world.api.get("imageupdateautomations", "apps", "flux-system"))[0] == "False",
        90,
    )
    message = condition(world.api.get("imageupdateautomations", "apps", "flux-system"))[1]
    assert "push" in message
    # The image automation pauses longer after each failure; the bootstrap asks it again.
    world.bootstrap("--only", "sync")
    done = world.bootstrap("verify")
    assert " is committed by Flux" in done.text
    assert "tag: v1.0." in world.show("apps/demo/helmrelease.yaml")
