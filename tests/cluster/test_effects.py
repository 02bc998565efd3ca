"""What an update's report says of the cluster, held against a cluster that the update is pushed to.

An owner changes answers with ./lab update, commits and pushes; the real Flux applies it. What the report said before is compared with
what happened: which pods were replaced, which objects came and went, and what waited for ./lab up.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hooks.update import effects
from tests.cluster import turns
from tests.cluster.conftest import Figure, Worlds
from tests.cluster.labs import answers_of, make_lab, release
from tests.cluster.namespaces import Surroundings
from tests.cluster.test_bootstrap import LABS
from tests.cluster.world import NAMESPACE, World, world_of
from tests.support.depth import every
from tests.support.rendering import ROOT, recorded_answers, snapshot

pytestmark = [pytest.mark.xdist_group("effects"), pytest.mark.world]
TABLE = yaml.safe_load((ROOT / "hooks" / "effects.yml").read_text(encoding="utf-8"))
# Drawn in a random order, and some of them with one another.
ANSWERS: tuple[dict[str, str], ...] = (
    {"scan_interval": "7m"},
    {"backups": "false"},
    {"rack_attack": "false"},
    {"groups": "[HomeLAB, second]"},
    {"gitlab_size": "standard"},
    {"timezone": "Etc/UTC"},
    {"backup_schedule": "17 4 * * *", "sync_interval": "3m"},
    {"runner_concurrent": "5"},
)
# What an owner writes into the sample application's release, and whether its pods go.
EDITS = {
    "replicas": ("  values:\n", "  values:\n    replicas: 2\n"),
    "a variable": ("  values:\n", "  values:\n    env: {COLOUR: blue}\n"),
}
RESTARTS = "Pushing this restarts GitLab."
Tree = dict[str, bytes]


@pytest.fixture(scope="module")
def world(worlds: Worlds, surroundings: Surroundings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Return a built lab that knows where its template is; its repository lies elsewhere, so it is there while GitLab is down."""
    worlds.close()
    folder = tmp_path_factory.mktemp("effects")
    template = release(snapshot(folder / "template"), "1.0.0")
    name, changes = LABS["external-ssh"]
    with world_of(surroundings, make_lab(template, folder / "lab", answers_of(name, **changes)), "effects") as found:
        yield found.build()


def tree(lab: Path) -> Tree:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=lab, capture_output=True, text=True, check=True).stdout
    return {name: (lab / name).read_bytes() for name in listed.split("\0") if name and (lab / name).is_file()}


def pods(world: World) -> dict[tuple[str, str], set[str]]:
    """Return the pods that are there to stay, by namespace and release."""
    found: dict[tuple[str, str], set[str]] = {}
    for pod in world.api.list("pods"):
        meta = pod["metadata"]
        release = meta.get("labels", {}).get("app.kubernetes.io/instance")
        by_a_job = any(owner["kind"] == "Job" for owner in meta.get("ownerReferences", ()))
        if release and not by_a_job and not meta.get("deletionTimestamp"):
            found.setdefault((meta["namespace"], release), set()).add(meta["uid"])
    return found


def push(world: World, message: str) -> None:
    """Push, ask Flux to look, and wait until all of it is applied and rests."""
    turns.give_way()
    commit = world.push(message)
    # A repository that is elsewhere tells Flux nothing, and Flux looks once in a sync_interval.
    world.ask_flux()

    def applied() -> bool:
        items = world.api.list("kustomizations", NAMESPACE)
        done = all(str(item.get("status", {}).get("lastAppliedRevision", "")).endswith(commit) for item in items)
        releases = [
            (item["metadata"]["name"], item["metadata"]["namespace"]) for item in world.api.list("helmreleases")
        ]
        return (
            done
            and all(world.ready("kustomizations", item["metadata"]["name"]) for item in items)
            and all(world.ready("helmreleases", *release) for release in releases)
        )

    world.wait("Flux with the commit", applied, 180)
    seen = pods(world)
    # Two looks apart: what a release replaces is replaced one after another.
    for _ in range(30):
        time.sleep(3)
        before, seen = seen, pods(world)
        if before == seen and applied() and world.gitlab.gitlab_is_ready():
            return
    raise AssertionError(f"the cluster does not come to rest\n{world.report()}")


def updated(world: World, changes: dict[str, str], command: str = "./lab update") -> str:
    """Change answers as an owner does, and return what the report says of the cluster."""
    turns.give_way()
    world.git("pull", "--quiet", "--rebase", str(world.repository), world.answers["gitops_branch"])
    words = [word for name, value in changes.items() for word in ("--data", f"{name}={value}")]
    path = f"{Path(sys.executable).parent}:{world.environment()['PATH']}"
    run = world.run(*command.split(), "--defaults", *words, PATH=path)
    assert run.status == 0, run.text
    report = (world.lab / "update-report.md").read_text(encoding="utf-8")
    found = re.search(r"## In the cluster\n\n(.*?)\n\n", report, re.DOTALL)
    return found[1] if found else ""


def check(world: World, said: str, before: tuple[Tree, dict[tuple[str, str], set[str]]], after: Tree) -> None:
    """Hold what was said against what is."""
    old, new = effects.applied(before[0]), effects.applied(after)
    now = pods(world)
    gone = {(key.namespace, key.name) for key in old.keys() - new.keys() if key.kind == "HelmRelease"}
    for place, uids in before[1].items():
        name = place[1]
        if place in gone:
            assert not now.get(place), f"{place} is gone from the lab, and its pods are there"
            assert "Flux removes from the cluster: " in said and f"HelmRelease `{name}`" in said
            continue
        replaced = now.get(place, set()).isdisjoint(uids)
        if name == "gitlab":
            assert replaced == (RESTARTS in said), f"{place}: replaced is {replaced}, and this was said:\n{said}"
        elif name == NAMESPACE:
            assert uids <= now.get(place, set()) or "Those whose arguments change restart" in said, said
        elif f"`{name}`: its pods are replaced." in said:
            assert replaced, f"{place}: its pods go on, and this was said:\n{said}"
        else:
            assert uids <= now.get(place, set()), f"{place}: its pods were replaced, and this was said:\n{said}"
    for key in old.keys() ^ new.keys():
        if key.kind == effects.SETTINGS:
            continue
        where = [f"--namespace={key.namespace}"] if key.namespace else []
        there = world.plane.kubectl("get", key.kind, key.name, "--ignore-not-found", "--output=name", *where)
        assert bool(there.strip()) == (key in new), f"{key} came or went otherwise than the report says:\n{said}"
        assert f"{key.kind} `{key.name}`" in said or " more." in said, f"{key} is not told:\n{said}"


def push_and_check(world: World, what: str, said: str, before: tuple[Tree, dict[tuple[str, str], set[str]]]) -> None:
    after = tree(world.lab)
    push(world, what)
    check(world, said, before, after)


def test_what_a_report_says_of_pods_and_objects_is_what_flux_does(world: World, figure: Figure) -> None:
    rng = random.Random()
    rounds = rng.sample(ANSWERS, len(ANSWERS))
    # Some changes come together.
    pair = {**rounds.pop(), **rounds.pop()}
    pushes = restarts = 0
    for changes in [pair, *rounds, *(dict(rng.choice(ANSWERS)) for _ in range(12))]:
        if pushes > 1 and restarts and not every():
            break
        before = tree(world.lab), pods(world)
        said = updated(world, changes)
        restarts += RESTARTS in said
        push_and_check(world, f"Answers: {changes}", said, before)
        pushes += 1
    figure(f"answers changed one after another: {pushes} pushes, {restarts} of them restart GitLab, as was said")
    assert restarts, "at least one of the answers reaches GitLab's pod"


@pytest.mark.deep
def test_a_second_group_comes_with_the_command_that_the_report_names(world: World) -> None:
    def groups() -> set[str]:
        with world.gitlab.lock:
            return {group["full_path"] for group in world.gitlab.gitlab.groups}

    before = tree(world.lab), pods(world)
    said = updated(world, {"groups": "[HomeLAB, another/third]"})
    command = re.search(r"`regcred` come only with `\./lab up --only groups` and `\./lab up --only registry`", said)
    assert command, said
    push_and_check(world, "Another group", said, before)
    assert "another/third" not in groups(), "no push makes a group"
    world.bootstrap("--only", "groups")
    world.bootstrap("--only", "registry")
    assert "another/third" in groups()
    assert pods(world) == before[1]


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_of_a_release_does_to_its_pods_what_is_derived_from_it(world: World, what: str) -> None:
    world.git("pull", "--quiet", "--rebase", str(world.repository), world.answers["gitops_branch"])
    before = tree(world.lab), pods(world)
    release = world.lab / "apps" / "demo" / "helmrelease.yaml"
    release.write_text(release.read_text(encoding="utf-8").replace(*EDITS[what], 1), encoding="utf-8")
    answers: dict[str, Any] = recorded_answers(world.lab)
    said = "\n".join(effects.told(before[0], tree(world.lab), (answers, answers), TABLE))
    assert ("`demo`: its pods are replaced." in said) == (what == "a variable"), said
    push_and_check(world, f"Of the sample application: {what}", said, before)


@pytest.mark.deep
def test_the_sample_application_goes_and_comes_as_the_report_says(world: World) -> None:
    place = (world.answers["app_namespace"], "demo")
    before = tree(world.lab), pods(world)
    assert before[1][place]
    said = updated(world, {"sample_app": "false"})
    # Flux wrote the image's tag into it, so it is the owner's to delete, as the report says.
    kept = (
        "`apps/demo/helmrelease.yaml`: The template has it no more, or an answer has switched it off. You had edited it"
    )
    assert kept in (world.lab / "update-report.md").read_text(encoding="utf-8")
    (world.lab / "apps" / "demo" / "helmrelease.yaml").unlink()
    push_and_check(world, "Without it", said, before)
    assert place not in pods(world)
    before = tree(world.lab), pods(world)
    push_and_check(world, "With it again", updated(world, {"sample_app": "true"}), before)
    world.wait("the Kustomization", lambda: world.ready("kustomizations", "demo"))
