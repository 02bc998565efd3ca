"""A lab of an earlier template, built by its own scripts, edited by its owner, and brought to this one.

What restarts is what the update's report said; the first run of the new program then takes the lab over.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest

from tests.cluster import turns
from tests.cluster.api import condition
from tests.cluster.conftest import Figure, Worlds
from tests.cluster.labs import answers_of, git, make_lab, release
from tests.cluster.namespaces import Surroundings
from tests.cluster.test_bootstrap import LABS
from tests.cluster.test_effects import RESTARTS, check, pods, push, tree, updated
from tests.cluster.world import World, world_of
from tests.support.rendering import ROOT, snapshot

pytestmark = [pytest.mark.xdist_group("old-lab"), pytest.mark.world]
# The last template before the lab had one program: seven scripts of Bash did its work.
OLD = "05a205f"
# Its stages, without the one that only looks.
STAGES = ("preflight", "storage", "flux", "gitlab", "groups", "registry", "sync", "runner")
PARTS = ("copier.yml", "questions", "extensions", "hooks", "partials", "template")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a template with two versions: the old one, and that of this checkout."""
    if subprocess.run(
        ["git", "cat-file", "-e", f"{OLD}^{{commit}}"], cwd=ROOT, capture_output=True, check=False
    ).returncode:
        assert os.environ.get("REQUIRE_TOOLS") != "1", f"this clone is too shallow: it lacks {OLD}"
        pytest.skip(f"this clone is too shallow: it lacks {OLD}")
    folder = tmp_path_factory.mktemp("releases") / "template"
    folder.mkdir()
    with tarfile.open(fileobj=BytesIO(git(ROOT, "archive", OLD, *PARTS))) as archive:
        archive.extractall(folder, filter="data")
    release(folder, "0.9.0")
    for part in PARTS:
        path = folder / part
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    snapshot(folder)
    release(folder, "1.0.0")
    return folder


@pytest.fixture(scope="module")
def world(
    worlds: Worlds, surroundings: Surroundings, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Return a lab that the old scripts have built. Its repository lies elsewhere, so it is there while GitLab restarts."""
    worlds.close()
    name, changes = LABS["external-ssh"]
    lab = tmp_path_factory.mktemp("old") / "lab"
    make_lab(template, lab, answers_of(name, **changes), "0.9.0")
    assert not (lab / "lab").exists()
    with world_of(surroundings, lab, "old") as found:
        # That lab's first release of an application waits for its image for five minutes, and nothing else goes on.
        found.gitlab.push_image("homelab/demo", "v0.1.0")
        for stage in STAGES:
            found.bootstrap("--only", stage)
        found.gitlab.push_image("homelab/demo", "v1.0.0")
        namespace = found.answers["app_namespace"]
        with hurried(found):
            found.wait("the sample application", lambda: found.deployed_tag("demo", namespace) == "v1.0.0", 120)
        yield found


@contextmanager
def hurried(world: World) -> Iterator[None]:
    """Ask Flux again and again for what it looks at once in half a minute or a minute: the repository, and who waits for another.

    What is tested here is what restarts, not how soon.
    """
    done = threading.Event()

    def ask() -> None:
        while not done.wait(3):
            world.ask_flux()
            for item in world.api.list("kustomizations", "flux-system"):
                if condition(item)[0] != "True":
                    world.ask_flux("kustomization", item["metadata"]["name"])

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def push_hurried(world: World, message: str) -> None:
    """Push, ask Flux again and again, and wait until all of it is applied and rests."""
    with hurried(world):
        push(world, message)


def edit(world: World) -> None:
    """Make the lab the owner's: a setting of GitLab, a variable of the sample application, one more application, a note."""
    settings = world.lab / "apps" / "gitlab" / "gitlab.rb"
    settings.write_text(
        settings.read_text(encoding="utf-8") + "gitlab_rails['gitlab_default_projects_features_wiki'] = false\n",
        encoding="utf-8",
    )
    release_file = world.lab / "apps" / "demo" / "helmrelease.yaml"
    text = release_file.read_text(encoding="utf-8")
    assert "  values:\n" in text
    release_file.write_text(text.replace("  values:\n", "  values:\n    env: {COLOUR: blue}\n", 1), encoding="utf-8")
    for tag in ("0.0.0", "v0.1.0"):
        world.gitlab.push_image("homelab/shop", tag)
    run = world.run("./new-app.sh", "shop", "--port", "3000")
    assert run.status == 0, run.text
    readme = world.lab / "README.md"
    readme.write_text(readme.read_text(encoding="utf-8") + "\nThe key is under the mat.\n", encoding="utf-8")


def test_what_restarts_after_an_update_of_an_old_lab_is_what_its_report_said(world: World, figure: Figure) -> None:
    world.git("pull", "--quiet", "--rebase", str(world.repository), world.answers["gitops_branch"])
    edit(world)
    turns.give_way()
    # Flux commits the image of shop on top of it, so nobody waits for this very commit.
    world.push("Mine")
    namespace = world.answers["app_namespace"]
    with hurried(world):
        world.wait("the first image of shop", lambda: world.deployed_tag("shop", namespace) == "v0.1.0", 180)
    world.git("pull", "--quiet", "--rebase", str(world.repository), world.answers["gitops_branch"])
    (world.lab / "NOTES.md").write_text("Mine, too.\n", encoding="utf-8")
    push_hurried(world, "A note")
    before = tree(world.lab), pods(world)
    said = updated(world, {}, command="./update.sh")
    report = (world.lab / "update-report.md").read_text(encoding="utf-8")
    assert "<<<<<<<" not in "".join(
        path.read_text(encoding="utf-8", errors="replace") for path in world.lab.rglob("*.yaml")
    )
    for file, words in (("README.md", "under the mat"), ("apps/gitlab/gitlab.rb", "features_wiki")):
        assert words in (world.lab / file).read_text(encoding="utf-8"), file
    after = tree(world.lab)
    push_hurried(world, "The template's improvements")
    check(world, said, before, after)
    restarted = sorted(
        f"{namespace}/{name}"
        for (namespace, name), uids in before[1].items()
        if pods(world).get((namespace, name), set()).isdisjoint(uids)
    )
    figure(f"an old lab, updated and pushed, restarts {', '.join(restarted) or 'nothing'}, as its report said")
    assert ("gitlab/gitlab" in restarted) == (RESTARTS in said), report


def test_the_new_program_takes_an_old_lab_over_and_restarts_nothing(world: World, figure: Figure) -> None:
    before, starts = pods(world), dict(world.flux.starts)
    assert (world.lab / "lab").exists(), "the test before this one updates the lab"
    first = world.run("./lab", "up", "--yes")
    assert first.status == 0, first.text
    assert pods(world) == before
    figure(f"the first ./lab up in an old lab: {first.seconds:.1f} s")
    assert all(world.flux.starts[name] <= starts[name] + 1 for name in starts), (starts, world.flux.starts)
    again = world.run("./lab", "up", "--yes")
    assert again.status == 0, again.text
    assert not re.search(r"^ +done ", again.text, re.MULTILINE), again.text
    world.tag_sample("v1.1.0")
    world.wait("the commit of the new image", lambda: "tag: v1.1.0 #" in world.show("apps/demo/helmrelease.yaml"), 60)
    world.ask_flux()
    world.wait("the new image", lambda: world.deployed_tag("demo", world.answers["app_namespace"]) == "v1.1.0", 60)
