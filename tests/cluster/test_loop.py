"""From a tag to a pod, by the real Flux: how long it takes, for several applications at once, beside broken ones."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterator

import pytest

from tests.cluster.api import Object, condition
from tests.cluster.conftest import Figure, Worlds
from tests.cluster.node_agent import CRASH_LOOP
from tests.cluster.timing import allowed
from tests.cluster.world import World
from tests.support.depth import every

pytestmark = pytest.mark.xdist_group("article")
ROUNDS = 10


@pytest.fixture
def world(worlds: Worlds) -> Iterator[World]:
    """Return the article's lab, built."""
    found = worlds.get("article").build()
    yield found
    found.agent.fate_of = lambda pod: ""


def add_application(world: World, name: str, *options: str) -> None:
    run = world.run("./new-app.sh", name, "--project", f"HomeLAB/{name}", *options)
    assert run.status == 0, run.text


def push_and_follow(world: World, name: str, tag: str, seconds: float = 60) -> tuple[float, float]:
    """Push an image and return after how many seconds its commit and its Deployment were there."""
    namespace = world.answers["app_namespace"]
    started = time.monotonic()
    world.gitlab.push_image(f"homelab/{name}", tag)
    commit = world.wait(
        f"the commit of {name} {tag}",
        lambda: time.monotonic() if f"tag: {tag} #" in world.show(f"apps/{name}/helmrelease.yaml") else None,
        seconds,
    )
    deployed = world.wait(
        f"the Deployment of {name} {tag}",
        lambda: time.monotonic() if world.deployed_tag(name, namespace) == tag else None,
        seconds,
    )
    return commit - started, deployed - started


def follow_all(world: World, tags: dict[str, str], seconds: float = 60) -> dict[str, float]:
    """Wait until each application's Deployment has its tag, and return after how many seconds it had."""
    started, namespace = time.monotonic(), world.answers["app_namespace"]
    found: dict[str, float] = {}

    def look() -> bool:
        for name, tag in tags.items():
            if name not in found and world.deployed_tag(name, namespace) == tag:
                found[name] = time.monotonic() - started
        return len(found) == len(tags)

    world.wait(f"the Deployments of {', '.join(tags)}", look, seconds)
    return found


@pytest.mark.alone
def test_an_image_is_deployed_within_five_seconds_of_its_push(world: World, figure: Figure) -> None:
    """Webhooks tell Flux of image and commit; nothing waits for a poll, a retry or another part."""
    push_and_follow(world, "demo", "v1.1.0")
    taken = []
    for number in range(ROUNDS):
        taken.append(push_and_follow(world, "demo", f"v1.2.{number}"))
        world.wait("the release", lambda: world.ready("helmreleases", "demo", world.answers["app_namespace"]))
    commits, deployments = zip(*taken, strict=True)
    figure(
        f"image pushed -> commit: median {statistics.median(commits):.1f} s ({min(commits):.1f} to {max(commits):.1f})"
    )
    figure(
        f"image pushed -> Deployment: median {statistics.median(deployments):.1f} s ({min(deployments):.1f} to {max(deployments):.1f})"
    )
    assert statistics.median(commits) <= allowed(2)
    assert statistics.median(deployments) <= allowed(5)


def test_a_change_of_gitlabs_settings_reaches_its_pods_within_fifteen_seconds(world: World, figure: Figure) -> None:
    namespace = world.answers["gitlab_namespace"]
    taken = []
    for number in range(3):
        before = {item["metadata"]["uid"] for item in world.api.list("replicasets", namespace)}
        with (world.lab / "apps/gitlab/gitlab.rb").open("a", encoding="utf-8") as file:
            file.write(f"# change {number}\n")
        world.push(f"Change {number} of GitLab's settings")
        started = time.monotonic()
        world.wait(
            "the new ReplicaSet",
            lambda known=before: {item["metadata"]["uid"] for item in world.api.list("replicasets", namespace)} - known,
        )
        taken.append(time.monotonic() - started)
        world.wait("GitLab", lambda: world.gitlab.gitlab_is_ready() and world.ready("kustomizations", "gitlab"), 90)
    figure(
        f"push of gitlab.rb -> new ReplicaSet: median {statistics.median(taken):.1f} s ({min(taken):.1f} to {max(taken):.1f})"
    )
    assert statistics.median(taken) <= allowed(15)


def test_three_applications_whose_images_come_at_one_moment_are_all_deployed(world: World, figure: Figure) -> None:
    names = ["shop", "blog", "wiki"]
    for name in names:
        add_application(world, name)
    world.push("Three applications")
    for name in names:
        world.wait(f"the policy of {name}", lambda name=name: world.api.get("imagepolicies", name, "flux-system"))
    for name in names:
        world.wait(f"{name} before its first image", lambda name=name: world.ready("helmreleases", name, "default"), 30)
        assert not world.pods("default", name), "nothing runs before the first image"
    for name in names:
        world.gitlab.push_image(f"homelab/{name}", "v1.0.0")
    figure(f"three first images at once: {follow_all(world, dict.fromkeys(names, 'v1.0.0'))}")
    for name in names:
        world.gitlab.push_image(f"homelab/{name}", "v1.0.1")
    figure(f"three next images at once: {follow_all(world, dict.fromkeys(names, 'v1.0.1'))}")


# Each that is not ready takes a worker of two controllers, which have four by themselves. Minutes, as of a world: it is drawn as one.
@pytest.mark.world
@pytest.mark.parametrize("number", [6, 20])
def test_broken_applications_do_not_hold_up_a_healthy_one(world: World, figure: Figure, number: int) -> None:
    alone = statistics.median(push_and_follow(world, "demo", f"v1.{number}.{patch}")[1] for patch in range(3))
    broken = [f"broken-{number}-{index}" for index in range(number)]

    def fate(pod: Object) -> str:
        return CRASH_LOOP if pod["metadata"]["name"].startswith("broken-") else ""

    world.agent.fate_of = fate
    for name in broken:
        add_application(world, name)
        world.gitlab.push_image(f"homelab/{name}", "v1.0.0")
    world.push(f"{number} applications")
    world.wait("the broken pods", lambda: all(world.pods("default", name) for name in broken), 120)
    beside = [push_and_follow(world, "demo", f"v1.{number + 1}.{patch}")[1] for patch in range(3)]
    figure(f"healthy beside {number} broken ones: {statistics.median(beside):.1f} s (alone {alone:.1f})")
    # With four workers of Flux it was four minutes.
    assert statistics.median(beside) <= alone + allowed(10)
    assert not any(condition(pod)[0] == "True" for name in broken for pod in world.pods("default", name))
    # A commit with another application, while all the others wait.
    newcomer = f"newcomer-{number}"
    add_application(world, newcomer)
    world.gitlab.push_image(f"homelab/{newcomer}", "v1.0.0")
    commit = world.push("One more application")
    figure(f"a new application beside them: {follow_all(world, {newcomer: 'v1.0.0'})}")
    world.git("pull", "--quiet", "--rebase", str(world.repository), "main")
    for name in broken:
        world.git("rm", "-r", "--quiet", f"apps/{name}", f"clusters/homelab/{name}.yaml")
    world.push(f"{number} applications less")
    world.wait("their removal", lambda: not any(world.api.get("deployments", name, "default") for name in broken), 60)
    assert commit


@pytest.mark.slow
def test_a_removed_application_goes_and_its_commit_is_green(world: World) -> None:
    """Again and again, for its Kustomization may be reconciled once more before it is removed."""
    add_application(world, "leaving")
    world.gitlab.push_image("homelab/leaving", "v1.0.0")
    for number in range(5 if every() else 2):
        if number:
            world.git("revert", "--no-edit", "HEAD")
            world.git("commit", "--amend", "--quiet", "--allow-empty", "--message", f"Back again {number}")
            (world.lab / "note").write_text(f"{number}\n", encoding="utf-8")
        world.push(f"leaving comes {number}")
        world.wait("the application", lambda: world.pods("default", "leaving"), 60)
        world.git("pull", "--quiet", "--rebase", str(world.repository), "main")
        world.git("rm", "-r", "--quiet", "apps/leaving", "clusters/homelab/leaving.yaml")
        commit = world.push(f"leaving goes {number}")
        world.wait(
            "its end",
            lambda: (
                not world.api.get("deployments", "leaving", "default")
                # Flux would apply it again to what is about to go, and not look again before its interval.
                and not world.api.get("helmreleases", "leaving", "default")
                and not world.api.get("kustomizations", "leaving", "flux-system")
            ),
            60,
        )
        world.wait(
            "the commit's status",
            lambda commit=commit: (
                "success" in {s.state for n, s in world.statuses(commit).items() if "flux-system" in n}
            ),
            60,
        )
        assert not [s for s in world.statuses(commit).values() if s.state == "failed"]
    assert world.gitlab.gitlab.images["homelab/leaving"] == ["v1.0.0"], "its images stay"


def replicas(world: World, name: str) -> int | None:
    found = world.api.get("deployments", name, "default")
    return found["spec"]["replicas"] if found else None


@pytest.mark.slow
def test_a_change_by_hand_is_put_back(world: World, figure: Figure) -> None:
    world.wait("the release", lambda: world.ready("helmreleases", "demo", "default"))
    world.plane.kubectl("scale", "deployment", "demo", "--namespace", "default", "--replicas", "3")
    started = time.monotonic()
    world.wait("one pod", lambda: replicas(world, "demo") == 1, 90)
    figure(f"a change by hand is put back after {time.monotonic() - started:.0f} s")


@pytest.mark.parametrize("policy", ["semver: '>=9.0.0'", "suspend: true"], ids=["matches nothing", "suspended"])
def test_a_policy_without_an_image_keeps_no_release_from_being_ready(world: World, policy: str) -> None:
    name = "held-" + policy[:4].strip(":")
    add_application(world, name)
    file = world.lab / "apps" / name / "helmrelease.yaml"
    text = file.read_text(encoding="utf-8").replace("    imagePolicy:\n", f"    imagePolicy:\n      {policy}\n")
    file.write_text(text.replace("tag: 0.0.0", "tag: v1.0.0"), encoding="utf-8")
    world.gitlab.push_image(f"homelab/{name}", "v1.0.0")
    world.push(f"{name}, held at its tag")
    world.wait("the release", lambda: world.ready("helmreleases", name, "default"), 60)
    assert len(world.pods("default", name)) == 1


DIGEST = '# {{"$imagepolicy": "flux-system:{}:digest"}}'


def pinned(world: World, name: str) -> dict[str, str]:
    """Return tag and digest as the repository has them now, and the image that the Deployment has."""
    text = world.show(f"apps/{name}/helmrelease.yaml")
    tag, digest = re.search(r"tag: (\S+) #", text), re.search(r'digest: "?([^"\s]+)"? #', text)
    item = world.api.get("deployments", name, "default")
    image = item["spec"]["template"]["spec"]["containers"][0]["image"] if item else ""
    return {"tag": tag[1] if tag else "", "digest": digest[1] if digest else "", "image": image.partition("/")[2]}


@pytest.mark.deep
def test_a_tag_that_is_pushed_again_is_not_deployed_where_its_digest_is_pinned(world: World) -> None:
    """As the lab's README says how to: whoever may push the tag anew changes nothing of what runs."""
    name = "sealed"
    add_application(world, name)
    file = world.lab / "apps" / name / "helmrelease.yaml"
    text = file.read_text(encoding="utf-8").replace(
        "    imagePolicy:\n", "    imagePolicy:\n      digestReflectionPolicy: IfNotPresent\n"
    )
    file.write_text(
        re.sub(r"^( *)(tag: .*\n)", rf'\1\2\1digest: "" {DIGEST.format(name)}\n', text, flags=re.MULTILINE),
        encoding="utf-8",
    )
    world.push("An application whose image is pinned to its bytes")
    world.gitlab.push_image(f"homelab/{name}", "v1.0.0")

    def is_pinned(tag: str) -> bool:
        now = pinned(world, name)
        return now["tag"] == tag and now["image"] == f"homelab/{name}:{tag}@{now['digest']}"

    world.wait("tag and digest", lambda: is_pinned("v1.0.0"), 90)
    first = pinned(world, name)
    world.gitlab.push_image(f"homelab/{name}", "v1.0.0")
    # Another application's image goes all the way meanwhile, and a scan of this one has seen the other bytes.
    push_and_follow(world, "demo", "v7.0.0")
    world.plane.kubectl(
        "annotate",
        "imagerepository",
        name,
        "--namespace",
        "flux-system",
        "--overwrite",
        "reconcile.fluxcd.io/requestedAt=again",
    )
    repository = lambda: world.api.get("imagerepositories", name, "flux-system") or {}  # noqa: E731
    world.wait("another scan", lambda: repository().get("status", {}).get("lastHandledReconcileAt") == "again")
    push_and_follow(world, "demo", "v7.0.1")
    assert pinned(world, name) == first
    world.gitlab.push_image(f"homelab/{name}", "v1.0.1")
    world.wait("the next tag and its digest", lambda: is_pinned("v1.0.1"), 90)
    assert pinned(world, name)["digest"] != first["digest"]
    changed = world.git_of_repository(
        "log",
        world.answers["gitops_branch"],
        "-1",
        "-p",
        "--format=",
        "-G",
        "v1.0.1",
        "--",
        f"apps/{name}/helmrelease.yaml",
    )
    assert len(re.findall(r"^\+ +(?:tag|digest): ", changed, re.MULTILINE)) == 2, "one commit has both"


@pytest.mark.slow
def test_a_renamed_application_runs_on_with_its_volume(world: World) -> None:
    add_application(world, "ledger")
    file = world.lab / "apps/ledger/helmrelease.yaml"
    volume = "      enabled: true\n      mountPath:\n        - data:/data\n      claim:\n        size: 1Gi\n"
    text = file.read_text(encoding="utf-8")
    assert text.count("\n    volumes:\n") == 1
    file.write_text(text.replace("\n    volumes:\n", f"\n    volumes:\n{volume}"), encoding="utf-8")
    world.gitlab.push_image("homelab/ledger", "v1.0.0")
    world.push("An application with a volume")
    world.wait("its pod", lambda: any(condition(pod)[0] == "True" for pod in world.pods("default", "ledger")), 60)
    pods = world.uids("default", "ledger")
    claims = {item["metadata"]["uid"] for item in world.api.list("persistentvolumeclaims", "default")}
    world.git("pull", "--quiet", "--rebase", str(world.repository), "main")
    run = world.run("./lab", "new-app", "ledger", "--rename", "accounts", "--host", "accounts.lab")
    assert run.status == 0, run.text
    world.push("Call ledger accounts")
    path = "./apps/accounts"
    world.wait(
        "Flux",
        lambda: (world.api.get("kustomizations", "ledger", "flux-system") or {}).get("spec", {}).get("path") == path,
    )
    world.wait(
        "its release",
        lambda: world.ready("kustomizations", "ledger") and world.ready("helmreleases", "ledger", "default"),
    )
    assert world.uids("default", "ledger") == pods, "its pod runs on"
    assert {item["metadata"]["uid"] for item in world.api.list("persistentvolumeclaims", "default")} == claims
    world.gitlab.push_image("homelab/ledger", "v1.0.1")
    world.wait("the next image", lambda: world.deployed_tag("ledger", "default") == "v1.0.1")
    assert "tag: v1.0.1 #" in world.show("apps/accounts/helmrelease.yaml")
