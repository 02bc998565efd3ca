"""`./lab upgrade`: GitLab from 19.2.4 to a version two stops away, on a real cluster with the real Flux, killed at each step.

The versions are this file's: no image is run, and the stand-in answers for GitLab's background migrations.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.conftest import Figure, Worlds
from tests.cluster.control_plane import node_info
from tests.cluster.test_kill import kill_at
from tests.cluster.world import World
from tests.support.depth import every
from tests.support.program import version_files

pytestmark = [pytest.mark.xdist_group("upgrade"), pytest.mark.world]
FIRST, STOP, NEXT, TARGET = "19.2.4", "19.5.2", "19.8.3", "19.8.4"
IMAGE, UPGRADE = "gitlab/gitlab-ce", ("./lab", "upgrade", "--yes")
# What the registry has: of each stop more than one patch, release candidates, and other editions.
TAGS = [
    *(f"{one}-ce.0" for one in (FIRST, "19.2.5", "19.3.2", "19.4.1", "19.5.0", STOP, "19.5.1", "19.6.0", "19.8.0")),
    *(f"{NEXT}-ce.0", "19.8.9-rc42.ce.0", "19.8.9-ee.0", "20.0.1-ce.0", "latest"),
]
BACKUPS = "gitlab-backup-of-"


@pytest.fixture(scope="module")
def world(worlds: Worlds) -> Iterator[World]:
    """Return a lab whose volumes lie on the node, with GitLab 19.2.4."""
    storage = {"storage_backend": "storage-class", "data_backend": "storage-class"}
    found = worlds.get("article", lab_name="upgrade", gitlab_version=FIRST, **storage)
    found.gitlab.published[IMAGE] = TAGS
    yield found.build()
    found.gitlab.published.clear()


def pull(world: World) -> None:
    """Begin with what is pushed, whatever a test before has left."""
    world.git("reset", "--quiet", "--hard")
    world.git("pull", "--quiet", "--rebase", str(world.repository), "main")


class Watch:
    """Follows which versions GitLab's Deployment had, and what was not done when each came."""

    def __init__(self, world: World) -> None:
        self.world, self.seen = world, list[str]()
        self.undone: dict[str, list[str]] = {}
        self.unsaved: list[str] = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Watch:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.thread.join()

    def _follow(self) -> None:
        namespace = self.world.answers["gitlab_namespace"]
        while not self.stopping.wait(0.1):
            version = self.world.deployed_tag("gitlab", namespace).partition("-")[0]
            if version and version != (self.seen[-1] if self.seen else ""):
                if self.seen and not self._saved(self.seen[-1], namespace):
                    self.unsaved.append(version)
                self.seen.append(version)
                with self.world.gitlab.lock:
                    self.undone[version] = self.world.gitlab.gitlab.unfinished_migrations()

    def _saved(self, before: str, namespace: str) -> bool:
        job = self.world.api.get("jobs", f"{BACKUPS}{before.replace('.', '-')}", namespace)
        return bool(job and job.get("status", {}).get("succeeded"))


def test_the_way_is_shown_and_nothing_is_changed(world: World) -> None:
    pull(world)
    before = world.tip(), world.git("rev-parse", "HEAD"), world.uids(world.answers["gitlab_namespace"], "gitlab")
    run = world.run("./lab", "upgrade", "--dry-run")
    assert run.status == 0, run.text
    for line in (f"GitLab {FIRST} runs.", f"1. {FIRST} -> {STOP}", f"2. {STOP} -> {NEXT}"):
        assert line in run.text, run.text
    assert "19.8.9" not in run.text and "20.0.1" not in run.text
    assert before == (
        world.tip(),
        world.git("rev-parse", "HEAD"),
        world.uids(world.answers["gitlab_namespace"], "gitlab"),
    )
    assert not [one for one in world.api.list("jobs") if one["metadata"]["name"].startswith(BACKUPS)]


def test_what_is_not_committed_or_not_pushed_does_not_go_along(world: World) -> None:
    pull(world)
    settings = world.lab / "apps/gitlab/gitlab.rb"
    good = settings.read_text(encoding="utf-8")
    settings.write_text(f"{good}# not committed\n", encoding="utf-8")
    run = world.run(*UPGRADE)
    assert run.status == 1 and "Files differ from the last commit" in run.text and "gitlab.rb" in run.text, run.text
    world.git("commit", "--quiet", "--all", "--message", "Not pushed yet")
    run = world.run(*UPGRADE)
    assert run.status == 1 and "Commits here are not pushed yet" in run.text and "Not pushed yet" in run.text, run.text
    assert settings.read_text(encoding="utf-8") == f"{good}# not committed\n"
    world.git("reset", "--quiet", "--hard", "HEAD~1")
    assert world.deployed_tag("gitlab", world.answers["gitlab_namespace"]).startswith(FIRST)


WAITS = ("roll-out", "migrations")


def places(world: World) -> Iterator[tuple[str, int]]:
    """Yield where to kill: each part of each step, at its beginning and after some lines, as long as it is to come."""
    for before, after in ((FIRST, STOP), (STOP, NEXT)):
        parts = [f"before {before}", *(f"{what} {before}" for what in WAITS), f"backup {after}", f"commit {after}"]
        for part in parts:
            for lines in (0, 1, 2, 3) if every() else (random.choice((0, 1, 2)),):
                if f"{before}-ce.0" in world.git("show", f"HEAD:{version_files.gitlab_image.VALUES}"):
                    yield part, lines
        while not every() and f"{before}-ce.0" in world.git("show", f"HEAD:{version_files.gitlab_image.VALUES}"):
            yield f"commit {after}", 1
    for what in WAITS:
        yield f"{what} {NEXT}", random.choice((0, 1, 2))


def test_an_upgrade_over_two_stops_that_is_killed_everywhere_jumps_over_nothing(world: World, figure: Figure) -> None:
    pull(world)

    def of_the_stop(gitlab: Any) -> None:
        # More than the list shows, and the oldest takes the longest.
        gitlab.add_migration("oldest_events", looks=30)
        for number in range(24):
            gitlab.add_migration(f"table_{number}", looks=number % 4)
        gitlab.add_migration("ci_builds", "ci", looks=5)

    world.gitlab.queued_by[STOP] = of_the_stop
    kills, started = 0, time.monotonic()
    with Watch(world) as watch:
        for part, lines in places(world):
            said = kill_at(world, part, lines, UPGRADE, there=True)
            assert f"== {part}:" in said and "\n   failed" not in said, said
            kills += 1
        run = world.run(*UPGRADE)
        assert run.status == 0, run.text
    assert watch.seen == [FIRST, STOP, NEXT]
    assert watch.undone == {FIRST: [], STOP: [], NEXT: []}
    assert watch.unsaved == []
    figure(f"an upgrade killed {kills} times, and the run after that: {time.monotonic() - started:.0f} s")
    check_lab(world, NEXT)
    log = world.git_of_repository("log", "--format=%s", "main").splitlines()
    ours = [line for line in log if line.startswith("GitLab ")]
    assert ours == [f"GitLab {STOP} -> {NEXT}", f"GitLab {FIRST} -> {STOP}"]
    again = world.run(*UPGRADE)
    assert again.status == 0 and "   done" not in again.text, again.text
    assert not world.gitlab.errors, world.gitlab.errors


def check_lab(world: World, version: str) -> None:
    """See that GitLab, the repository and the answers have one version."""
    namespace = world.answers["gitlab_namespace"]
    assert world.deployed_tag("gitlab", namespace) == f"{version}-ce.0" and world.gitlab.gitlab_is_ready()
    assert world.git("rev-parse", "HEAD") == world.tip()
    assert world.git("status", "--porcelain") == ""
    for name in (version_files.ANSWERS, version_files.settings.FILE, version_files.gitlab_image.VALUES):
        assert version in (world.lab / name).read_text(encoding="utf-8"), name
    minor = ".".join(version.split(".")[:2])
    assert f"alpine-v{minor}.0" in (world.lab / "runner/compose.yaml").read_text(encoding="utf-8")


def test_a_migration_that_fails_ends_the_run_with_its_name_and_the_next_run_goes_on(world: World) -> None:
    pull(world)
    world.gitlab.published[IMAGE] = [*TAGS, f"{TARGET}-ce.0"]
    broken: list[Any] = []

    def of_the_target(gitlab: Any) -> None:
        gitlab.add_migration("namespaces", looks=2)
        broken.append(gitlab.add_migration("broken_rows", "ci", status="failed"))

    world.gitlab.queued_by[TARGET] = of_the_target
    run = world.run(*UPGRADE, TARGET)
    assert run.status == 1, run.text
    assert "BackfillBrokenRows of broken_rows (failed" in run.text and "retry each on that page" in run.text, run.text
    assert f"{world.facts.gitlab_url}/admin/background_migrations?tab=failed" in run.text
    with world.gitlab.lock:
        broken[0].update(status="active", looks=2)
    # Image automation pushes meanwhile: a commit that this clone has not.
    world.tag_sample("v1.2.0")
    world.wait("the commit of the new image", lambda: "v1.2.0" in world.show("apps/demo/helmrelease.yaml"), 60)
    run = world.run(*UPGRADE)
    assert run.status == 0, run.text
    check_lab(world, TARGET)
    back = world.run(*UPGRADE, NEXT)
    assert back.status == 1 and f"cannot go back from {TARGET} to {NEXT}" in back.text, back.text
    ahead = world.run(*UPGRADE, "20.0.1")
    assert ahead.status == 1 and "required stops of GitLab 20.0.1 are not known" in ahead.text, ahead.text


def test_a_paused_migration_is_named_and_nothing_is_committed(world: World) -> None:
    pull(world)
    world.gitlab.published[IMAGE] = [*TAGS, f"{TARGET}-ce.0", "19.8.5-ce.0"]
    with world.gitlab.lock:
        paused = world.gitlab.gitlab.add_migration("sleepers", status="paused")
    before = world.tip()
    run = world.run(*UPGRADE)
    assert run.status == 1 and "BackfillSleepers" in run.text and "resume each" in run.text, run.text
    assert world.tip() == before
    with world.gitlab.lock:
        paused.update(status="finalized")


NODE = """\
apiVersion: v1
kind: Node
metadata:
  name: {name}
  annotations: {{kwok.x-k8s.io/node: fake, node.alpha.kubernetes.io/ttl: "0"}}
  labels: {{kubernetes.io/hostname: {name}, kubernetes.io/os: linux, kubernetes.io/arch: {arch}}}
spec: {{podCIDR: 10.42.{number}.0/24}}
status:
  addresses: [{{type: InternalIP, address: 192.168.7.{number}}}, {{type: Hostname, address: {name}}}]
  allocatable: {{cpu: "4", memory: 8Gi, pods: "110"}}
  capacity: {{cpu: "4", memory: 8Gi, pods: "110"}}
  nodeInfo: {info}
"""
# An application that keeps something on k3s-2, and one whose image that node does not pull.
THERE = """\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: wiki-data, namespace: {namespace}}}
spec: {{storageClassName: local-path, accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: wiki, namespace: {namespace}}}
spec:
  nodeSelector: {{kubernetes.io/hostname: k3s-2}}
  containers: [{{name: app, image: "example.org/wiki:1", volumeMounts: [{{name: data, mountPath: /data}}]}}]
  volumes: [{{name: data, persistentVolumeClaim: {{claimName: wiki-data}}}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: distrustful, namespace: {namespace}}}
spec:
  nodeName: k3s-2
  containers: [{{name: app, image: "{image}"}}]
"""


def add_node(world: World, name: str, number: int, arch: str) -> None:
    world.plane.apply(NODE.format(name=name, number=number, arch=arch, info=node_info(arch)))
    world.wait(f"the node {name}", lambda: " Ready " in world.plane.kubectl("get", "node", name), 30)


def status(world: World) -> str:
    return world.run("./lab", "status").text


def put_pods_on_the_new_node(world: World, image: str) -> None:
    """Run an application with a volume there, and one whose image the node does not pull, as containerd says it."""
    namespace = world.answers["app_namespace"]
    world.agent.fate_of = lambda pod: "none" if pod["metadata"]["name"] == "distrustful" else ""
    world.plane.apply(THERE.format(namespace=namespace, image=image))
    told = f'failed to pull image "{image}": tls: failed to verify certificate: x509: certificate signed by unknown authority'
    state = {"waiting": {"reason": "ErrImagePull", "message": told}}
    waiting = {"name": "app", "image": image, "imageID": "", "ready": False, "restartCount": 0, "state": state}
    world.api.patch("pods", "distrustful", namespace, {"status": {"containerStatuses": [waiting]}}, "status")
    claim = ("get", "persistentvolumeclaim", "wiki-data", f"--namespace={namespace}")
    world.wait("the volume", lambda: " Bound " in world.plane.kubectl(*claim), 30)


def test_a_node_that_comes_and_goes_is_seen_with_what_lies_on_it(world: World) -> None:
    pull(world)
    namespace, registry = world.answers["gitlab_namespace"], world.facts.registry_address
    well = status(world)
    for words in ("volume lies on", "authority", "then never bans"):
        assert words not in well, well
    add_node(world, "k3s-2", 8, "arm64")
    put_pods_on_the_new_node(world, f"{registry}/homelab/demo:v1")
    said = status(world)
    assert "k3s-2 (192.168.7.8)" in said and "./lab up --only gitlab" in said, said
    assert "node k3s-2 trusts the lab's authority" in said and "./lab trust root@192.168.7.8" in said, said
    assert f"whether k3s-1 may pull from {registry}" in said and "volume lies on" not in said, said
    checked = world.run("./lab", "up", "--yes", "--only", "preflight").text
    assert "of two architectures: amd64 (k3s-1), arm64 (k3s-2)" in checked, checked
    world.plane.kubectl("cordon", "k3s-1")
    said = status(world)
    assert f"GitLab's volume {namespace}/" in said and "lies on k3s-1, and" in said and "cordoned or drained" in said, (
        said
    )
    world.plane.kubectl("uncordon", "k3s-1")
    run = world.run("./lab", "up", "--yes", "--only", "gitlab")
    assert run.status == 0, run.text
    world.plane.kubectl("delete", "node", "k3s-2")
    said = status(world)
    wiki = f"the volume {world.answers['app_namespace']}/wiki-data: its volume lies on k3s-2, which is no node of this cluster"
    assert wiki in said and "GitLab's volume" not in said, said
    assert "192.168.7.8" in said and "may pass to a machine that GitLab then never bans" in said, said


def test_a_cluster_that_runs_no_image_of_the_lab_is_refused(world: World) -> None:
    def be(architecture: str) -> str:
        (node,) = world.api.list("nodes")
        info = {**node["status"]["nodeInfo"], "architecture": architecture}
        world.api.patch("nodes", "k3s-1", "", {"status": {"nodeInfo": info}}, "status")
        return world.run("./lab", "up", "--yes", "--only", "preflight").text

    said = be("riscv64")
    assert "[architecture] no node is amd64 or arm64" in said and "k3s-1: riscv64" in said, said
    for architecture in ("arm64", "amd64"):
        assert f"the nodes' architecture: {architecture}" in be(architecture)
