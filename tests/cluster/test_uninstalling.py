"""docs/uninstalling.md, followed to its end: what each step says that it deletes is gone, what stays is there. The last test of its world."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.conftest import Worlds
from tests.cluster.test_pages import blocks, follow
from tests.cluster.world import World

pytestmark = [pytest.mark.xdist_group("defaults"), pytest.mark.slow]


@pytest.fixture(scope="module")
def world(worlds: Worlds) -> Iterator[World]:
    found = worlds.get("defaults").build()
    yield found
    # Nothing can be asked of this world any more.
    worlds.close()


def test_each_step_deletes_what_it_says_and_no_more(world: World) -> None:
    answers, api = world.answers, world.api
    namespace, apps = answers["gitlab_namespace"], answers["app_namespace"]
    flux, releases, data, rest = blocks(world, "uninstalling.md")
    pods = world.uids(namespace, "gitlab")
    volumes = {one["metadata"]["name"] for one in api.list("persistentvolumeclaims", namespace)}
    assert pods and volumes and world.run("./lab", "ssh-config", "--install").status == 0

    follow(world, flux)
    world.wait("Flux's end", lambda: not api.get("namespaces", "flux-system"), 60)
    assert world.uids(namespace, "gitlab") == pods, "GitLab runs on"

    said = follow(world, releases)
    world.wait("GitLab's pod", lambda: not world.pods(namespace, "gitlab"), 60)
    assert {one["metadata"]["name"] for one in api.list("persistentvolumeclaims", namespace)} == volumes, (
        "the volumes stay"
    )
    assert not world.pods(apps, "demo") and "demo" not in said.rpartition("NAMESPACE")[2]

    follow(world, data)
    world.wait("the namespaces", lambda: not api.get("namespaces", namespace) and not api.get("namespaces", apps), 60)

    follow(world, rest)
    assert "# >>> lab" not in (world.home / ".ssh/config").read_text(encoding="utf-8")
