"""A real ssh reads the lab's ssh_config, and reaches a real sshd on the lab's port, whichever way leads there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.gitlab.support.authority import Authority
from tests.gitlab.support.rendered_labs import RenderedLab
from tests.gitlab.support.sshd_of_gitlab import Forward, Machine, SshdOfGitlab
from tests.gitlab.support.stand_in_pod import SshStub, WebStub
from tests.gitlab.support.traefik_cluster import TraefikCluster, behind_service
from tests.support.loopback import address
from tests.support.tools import tool

REPOSITORY = "homelab/lab.git"


@dataclass
class World:
    """An owner's machine, the lab's node, and GitLab's sshd behind it."""

    lab: RenderedLab
    owner: Machine
    sshd: SshdOfGitlab

    @property
    def host(self) -> str:
        return self.lab.answers["gitlab_host"]

    @property
    def port(self) -> int:
        return self.lab.answers["ssh_port"]


@pytest.fixture
def world(
    request: pytest.FixtureRequest, tmp_path: Path, authority: Authority, servers: dict[str, WebStub | SshStub]
) -> Iterator[World]:
    exposure = getattr(request, "param", "load-balancer")
    lab = RenderedLab({"base_domain": "lab", "lab_name": "homelab", "ssh_exposure": exposure})
    sshd = SshdOfGitlab(tmp_path / "pod")
    pod = {80: servers["gitlab"].address, 5050: servers["registry"].address, 22: sshd.address}
    node = address()
    owner = Machine(tmp_path / "owner", "owner", {lab.answers["gitlab_host"]: node})
    world = World(lab, owner, sshd)
    (owner.home / ".ssh/config").write_text(lab.text("ssh_config"))
    (owner.home / ".ssh/known_hosts").write_text(f"[{world.host}]:{world.port} {sshd.host_key}")
    with ExitStack() as stack:
        stack.callback(sshd.close)
        behind = behind_service(lab.objects, pod, "gitlab-ssh", world.port)
        if exposure == "traefik":
            cluster = TraefikCluster(tmp_path / "traefik", lab.objects, lab.traefik, pod, authority)
            stack.callback(cluster.close)
            behind = cluster.exposed(world.port)
        stack.callback(Forward((node, world.port), behind).close)
        yield world


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize("world", ["load-balancer", "traefik", "node-port"], indirect=True)
def test_git_clones_by_the_address_that_gitlab_shows_and_by_the_short_one(world: World, tmp_path: Path) -> None:
    world.sshd.allow(world.owner.new_key())
    world.sshd.new_repository(REPOSITORY)
    for number, url in enumerate((f"ssh://git@{world.host}:{world.port}/{REPOSITORY}", f"{world.host}:{REPOSITORY}")):
        target = tmp_path / str(number)
        done = world.owner.run(tool("git"), "clone", "--quiet", url, target)
        assert done.returncode == 0, done.stderr + world.sshd.log()
        assert world.owner.run(tool("git"), "-C", target, "log", "--format=%s").stdout == f"{REPOSITORY}\n"
    assert len(re.findall("Accepted publickey for git ", world.sshd.log())) == 2


@pytest.mark.parametrize("same", ["http_port", "registry_port"])
def test_ssh_goes_to_sshd_though_a_port_in_the_pod_has_its_number(same: str) -> None:
    lab = RenderedLab({"ssh_exposure": "traefik", "ssh_port": 2223, same: 2223})
    routes = [thing["spec"]["routes"] for thing in lab.objects if thing["kind"] == "IngressRouteTCP"]
    assert [route["services"] for route in routes[0]] == [[{"name": "gitlab-ssh", "port": 2223}]]


@pytest.mark.slow
def test_a_key_for_the_lab_alone_is_used_once_its_lines_are_taken_in(world: World) -> None:
    config = world.owner.home / ".ssh/config"
    world.owner.new_key()
    world.sshd.allow(world.owner.new_key("id_ed25519_homelab"))
    world.sshd.new_repository(REPOSITORY)
    ask = (tool("git"), "ls-remote", f"{world.host}:{REPOSITORY}")
    assert world.owner.run(*ask).returncode != 0
    config.write_text(re.sub(r"# (Identit)", r"\1", config.read_text()))
    done = world.owner.run(*ask)
    assert done.returncode == 0 and "refs/heads/main" in done.stdout, done.stderr


@pytest.mark.slow
def test_another_servers_key_is_refused(world: World) -> None:
    world.sshd.allow(world.owner.new_key())
    another = world.owner.new_key("another")
    (world.owner.home / ".ssh/known_hosts").write_text(f"[{world.host}]:{world.port} {another}")
    done = world.owner.run(tool("ssh"), "-o", "BatchMode=yes", world.host)
    assert done.returncode == 255 and "REMOTE HOST IDENTIFICATION HAS CHANGED" in done.stderr
