"""A lab with a cache of Docker Hub: the runner's machine learns of it, after a yes, and everything goes on where it does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bootstrap.support.lab_folder import commit
from tests.bootstrap.support.lab_world import World

HOST = "mirror.localhost"
URL = f"https://{HOST}"
ANSWERS = {
    "docker_hub_cache": True,
    "docker_hub_cache_host": HOST,
    "docker_hub_cache_address": HOST,
    "machine_cache_file": "daemon.json",
}
MIRRORS = f'{{"registry-mirrors": ["{URL}"]}}\n'


@pytest.fixture
def cached(make_world: Callable[..., World]) -> World:
    """Return a lab with a cache, whose runner's machine has a Docker that knows nothing of it."""
    world = make_world(**ANSWERS)
    (world.lab / "runner/daemon.json").write_text(MIRRORS)
    commit(world.lab, "The cache")
    return world


def offer(world: World, *mirrors: str) -> None:
    """Let setup.sh have Docker ask these mirrors."""
    (world.container.parent / "offered").write_text(" ".join(f"{one}/" for one in mirrors) + "\n")


@pytest.mark.slow
def test_docker_on_the_runners_machine_is_led_to_the_cache_once(cached: World) -> None:
    offer(cached, "https://mirror.other", URL)
    run = cached.must_run()
    assert "lacks the way to the lab's cache of Docker Hub: the stage runner brings that" in run.out
    assert (Path(cached.settings["runner_home"]) / "daemon.json").read_text() == MIRRORS, (
        "what a job's own Docker reads"
    )
    assert (cached.container.parent / "set up").exists() and cached.summary()["runner up to date"]
    (cached.container.parent / "set up").unlink()
    again = cached.must_run("--only", "runner")
    assert "cache of Docker Hub" not in again.text and not (cached.container.parent / "set up").exists()


@pytest.mark.slow
def test_a_docker_that_does_not_take_it_stops_nothing(cached: World) -> None:
    """Its call names another mirror, say: setup.sh leaves it as it is."""
    offer(cached, "https://mirror.other")
    run = cached.must_run()
    assert (
        "it pulls from Docker Hub itself: docs/docker-hub-cache.md" in run.err and cached.summary()["runner up to date"]
    )


@pytest.mark.slow
def test_another_content_of_the_file_comes_to_the_machine(cached: World) -> None:
    offer(cached, URL)
    cached.must_run()
    (cached.lab / "runner/daemon.json").write_text('{"registry-mirrors": ["https://hub.localhost"]}\n')
    assert "daemon.json on" in cached.must_run("--only", "runner").out
    assert "hub.localhost" in (Path(cached.settings["runner_home"]) / "daemon.json").read_text()


def test_preflight_asks_dns_for_the_caches_host(cached: World) -> None:
    assert HOST in cached.must_run("--only", "preflight").out


def test_devices_and_nodes_are_told_of_the_cache(make_world: Callable[..., World]) -> None:
    world = make_world(private_ca=True, **ANSWERS)
    said = world.run("--devices", command="trust", yes=False).out
    assert f'endpoint: ["{URL}"]' in said and f'"{HOST}":' in said
    assert f"bash trust-ca.sh {world.settings['registry_address']} {HOST}" in said
