"""The pages of a lab's docs/, followed literally: their commands are taken out of the rendered page, and run by their owner."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.api import condition
from tests.cluster.conftest import Worlds
from tests.cluster.world import World
from tests.support.rendering import ROOT
from tests.support.terminal import Terminal

pytestmark = pytest.mark.xdist_group("defaults")
NODE = "k3s-1"  # the one node of this cluster
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What takes more than this cluster has, by a part of the line; each has to be on some page.
NOT_HERE = {
    "2fa_recovery_codes": "GitLab's own sshd answers it",
    "exec deployment/gitlab -- df ": "there is no container, so it has no disks",
    "git push ": "the owner's key is not known to this GitLab; the test pushes",
    "./lab check": "uv fetches its tools; the test runs the same check with those that it has",
}
ELSEWHERE = "# on "  # a block that begins so is for another machine: k3s, disks, the runner


@pytest.fixture(scope="module")
def world(worlds: Worlds) -> Iterator[World]:
    found = worlds.get("defaults").build()
    yield found


def page(world: World, name: str) -> str:
    return (world.lab / "docs" / name).read_text(encoding="utf-8")


def blocks(world: World, name: str) -> list[str]:
    """Return a page's blocks of commands that are for the owner's own machine."""
    found = [one.replace("node-1", NODE) for one in BLOCK.findall(page(world, name))]
    return [one for one in found if not one.startswith(ELSEWHERE)]


def block(world: World, name: str, word: str) -> str:
    [found] = [one for one in blocks(world, name) if word in one]
    return found


def follow(world: World, commands: str) -> str:
    """Run a block in a terminal, as an owner would; each question is answered with yes. Return what was said."""
    lines = [line for line in commands.splitlines() if not any(part in line for part in NOT_HERE)]
    # One line of it tells what GitLab's container was started with, and there is none.
    lines = [f"{line} || test $? -eq 1" if line == "./lab status" else line for line in lines]
    script = "set -euo pipefail\n" + "\n".join(lines)
    run = Terminal("bash", "-c", script, cwd=world.lab, env=world.environment(TERM="dumb"))
    answered = 0
    while run._read():
        if run.said.count("[y/N]") > answered:
            answered += 1
            run.type("y\r")
    assert run.wait() == 0, run.said
    assert warned(run.said) == []
    return run.said


def warned(said: str) -> list[str]:
    """Return what `./lab status` warns of, but for what this cluster cannot have."""
    return [line for line in said.splitlines() if line.startswith("   warn") and "GitLab bans no node" not in line]


def rails(world: World) -> str:
    """Return the Ruby that GitLab's Rails was given."""
    return (world.plane.folder / "rails").read_text(encoding="utf-8")


def wait_for_gitlab(world: World) -> None:
    namespace = world.answers["gitlab_namespace"]
    world.wait(
        "GitLab", lambda: world.gitlab.gitlab_is_ready() and world.ready("helmreleases", "gitlab", namespace), 90
    )


def test_every_page_is_in_the_list_and_what_is_not_run_is_on_a_page(world: World) -> None:
    names = {file.name for file in (world.lab / "docs").glob("*.md")} - {"README.md"}
    assert names == set(re.findall(r"\]\((\S+\.md)\)", page(world, "README.md"))) - {"../README.md"}
    text = "\n".join(page(world, name) for name in names)
    assert [part for part in NOT_HERE if part not in text] == []


def test_two_factor_authentication_and_a_friend_who_leaves(world: World) -> None:
    for name in ("two-factor.md", "inviting.md"):
        for one in blocks(world, name):
            follow(world, one)
    given = rails(world)
    assert "require_two_factor_authentication: true" in given
    assert (
        'User.find_by!(username: "root").disable_two_factor!' in given
        and 'User.find_by!(username: "ana").block!' in given
    )


@pytest.mark.slow
def test_a_node_is_emptied_and_comes_back_with_gitlab_on_it(world: World) -> None:
    namespace = world.answers["gitlab_namespace"]
    wait_for_gitlab(world)
    before = world.uids(namespace, "gitlab")
    first, drain, uncordon = (
        block(world, "k3s.md", word) for word in ("get nodes -o wide", "kubectl drain", "kubectl uncordon")
    )
    assert NODE in follow(world, first)
    follow(world, drain)
    assert not world.gitlab.gitlab_is_ready()
    status, _, rest = uncordon.rpartition("./lab status")
    follow(world, status + rest)
    world.wait("everything", lambda: not warned(world.run("./lab", "status").text), 90)
    follow(world, uncordon)
    assert world.gitlab.gitlab_is_ready() and world.uids(namespace, "gitlab") != before


@pytest.mark.slow
def test_k3s_is_looked_at_and_the_loop_verified_after_an_upgrade(world: World) -> None:
    said = follow(world, block(world, "k3s.md", "./lab verify"))
    assert "is running" in said


@pytest.mark.slow
def test_gitlabs_data_moves_to_another_storage_class(world: World) -> None:
    """All of it but the copying of bytes: the Job's pod runs nothing here."""
    namespace = world.answers["gitlab_namespace"]
    kind = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "fast"}}
    world.plane.apply(
        json.dumps({**kind, "provisioner": "rancher.io/local-path", "volumeBindingMode": "WaitForFirstConsumer"})
    )
    world.agent.classes.add("fast")
    world.git("pull", "--quiet", "--rebase", str(world.repository), "main")
    follow(world, block(world, "volumes.md", "allowVolumeExpansion"))
    follow(world, block(world, "volumes.md", "<<'CLAIM'"))
    [lines] = re.findall(r"^```yaml\n(.*?)^```$", page(world, "volumes.md"), re.MULTILINE | re.DOTALL)
    values = world.lab / "apps/gitlab/values.yaml"
    text = values.read_text(encoding="utf-8")
    changed, count = re.subn(r"(?m)(^    data:\n)      claim:\n(?: {8,}.*\n)+", lambda found: found[1] + lines, text)
    assert count == 1, text
    values.write_text(changed, encoding="utf-8")
    world.git("commit", "--quiet", "--all", "--message", "GitLab's data on fast disks")
    follow(world, block(world, "volumes.md", "job/gitlab-move"))
    assert not world.gitlab.gitlab_is_ready()
    follow(world, block(world, "volumes.md", "./lab rescue"))
    wait_for_gitlab(world)
    [pod] = world.pods(namespace, "gitlab")
    claims = {
        one["persistentVolumeClaim"]["claimName"] for one in pod["spec"]["volumes"] if "persistentVolumeClaim" in one
    }
    assert "gitlab-data-fast" in claims and "gitlab-data" not in claims
    assert world.api.get("persistentvolumeclaims", "gitlab-data", namespace), (
        "the old one stays until the owner deletes it"
    )
    assert "gitlab-data-fast" in world.show("apps/gitlab/values.yaml")
    assert not (world.api.get("helmreleases", "gitlab", namespace) or {})["spec"].get("suspend")


@pytest.mark.slow
def test_a_chart_of_somebody_else_comes_and_goes(world: World) -> None:
    """As far as a network would be needed for its source: Flux takes the objects, and says that it cannot reach them."""
    world.git("pull", "--quiet", "--rebase", str(world.repository), "main")
    write, commit = (block(world, "other-charts.md", word) for word in ("mkdir -p apps/podinfo", "git commit"))
    follow(world, write)
    follow(world, commit)
    tools = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LAB_TOOLS": "installed"}
    checked = world.run(sys.executable, ".gitlab/check.py", **tools)
    assert checked.status == 0, checked.text
    world.git("reset", "--quiet", "--soft", "HEAD~1")
    world.push("podinfo")
    world.wait("the Kustomization", lambda: world.ready("kustomizations", "podinfo"), 60)
    where = ("ocirepository", "podinfo", "--namespace", "podinfo", "--ignore-not-found", "--output", "json")
    said = world.wait("its source", lambda: world.plane.kubectl("get", *where).strip())
    source = json.loads(said)
    assert source["spec"]["url"].startswith("oci://") and condition(source)[0] != "True"
    assert "HelmRelease podinfo/podinfo" in world.run("./lab", "status").text
    [remove] = re.findall(r"`(git rm -r [^`]+)`", page(world, "other-charts.md"))
    world.git("pull", "--quiet", "--rebase", str(world.repository), "main")
    follow(world, remove)
    world.push("podinfo goes")
    world.wait("its end", lambda: not world.api.get("helmreleases", "podinfo", "podinfo"), 60)


def test_the_pages_speak_of_hardware_only_in_blocks_that_say_so() -> None:
    """What is not run here says where it is run: each such block of the template begins with its machine."""
    hardware = re.compile(r"get\.k3s\.io|apt-get|rsync|systemctl|docker compose|reboot")
    for file in sorted((ROOT / "template/docs").glob("*.jinja")):
        for one in BLOCK.findall(file.read_text(encoding="utf-8")):
            assert not hardware.search(one) or one.startswith(ELSEWHERE), (file.name, one)
