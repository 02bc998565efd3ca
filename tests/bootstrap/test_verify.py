"""verify names the first thing that is wrong with the loop, in words; with nothing wrong it sends a new tag through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.bootstrap.support.journeys import LONG, Journey
from tests.bootstrap.support.lab_world import World

SOON = {"LAB_WAIT_VERIFY_MINUTES": "0", "LAB_WAIT_GITLAB_MINUTES": "0", "LAB_WAIT_FLUX_MINUTES": "0"}


def test_verify_sends_the_next_tag_through_the_loop(journey: Journey) -> None:
    world = journey.to("end")
    run = world.must_run(command="verify")
    assert [t["name"] for t in world.gitlab.tags] == ["v1.0.0", "v1.0.1"]
    assert world.gitlab.images == {"homelab/demo": ["v1.0.0", "v1.0.1"]}
    for step in (
        "built by the runner",
        "in the registry",
        "found by Flux",
        "committed by Flux",
        "running",
        "served at",
    ):
        assert f"v1.0.1 is {step}" in run.out


def test_a_full_run_is_content_with_what_the_loop_has_carried(journey: Journey) -> None:
    world = journey.to("end")
    run = world.must_run("--from", "verify")
    assert "the loop has carried HomeLAB/demo v1.0.0 to its pod" in run.out
    assert [t["name"] for t in world.gitlab.tags] == ["v1.0.0"]


@pytest.mark.parametrize(
    ("tags", "following"),
    [(["1.2.3", "nightly", "v1.10.0", "v1.9.9"], "v1.10.1"), (["2.0.0"], "2.0.1"), (["v1.2.9"], "v1.2.10")][
        : 3 if LONG else 1
    ],
)
def test_the_next_tag_follows_the_highest(journey: Journey, tags: list[str], following: str) -> None:
    world = journey.to("verify")
    project = world.gitlab.project("HomeLAB/demo")
    assert project is not None
    world.gitlab.tags = [{"project": project["id"], "name": t, "target": "0" * 40} for t in tags]
    world.gitlab.pipelines = [
        {"id": 1, "project": project["id"], "ref": t, "status": "failed", "looks": 0, "web_url": ""} for t in tags
    ]
    world.must_run(command="verify")
    assert world.gitlab.tags[-1]["name"] == following


def runner_offline(world: World) -> None:
    world.container.unlink()
    world.gitlab.runners[0].update(status="offline", online=False)


@pytest.mark.slow
def test_a_runner_that_never_reports_is_missed_by_each_run(journey: Journey, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage shows GitLab the runner's token, too; that is no sign of life from the runner's machine."""
    world = journey.to("end")
    world.gitlab.runners[0].update(status="never_contacted", online=False)
    monkeypatch.setattr(world.pods, "report_runners", lambda: None)
    for _ in range(2):
        run = world.run("--only", "runner", LAB_WAIT_RUNNER_MINUTES="0")
        assert run.status == 1 and not world.errors, (run.text, world.errors)
        assert (
            "The runner lab-homelab of HomeLAB has not reported to GitLab" in run.err
            and "GitLab calls it never_contacted" in run.err
        )
    run = world.run(command="verify", **SOON)
    assert (
        run.status == 1
        and "The runner lab-homelab of HomeLAB is not online: GitLab calls it never_contacted" in run.err
    ), run.text


def regcred_broken(world: World) -> None:
    world.gitlab.deploy_tokens = []


def change(path: str, value: Any) -> Callable[[World], None]:
    def apply(world: World) -> None:
        target: Any = world
        *names, last = path.split(".")
        for name in names:
            target = getattr(target, name)
        setattr(target, last, value)

    return apply


def not_ready(kind: str, name: str) -> Callable[[World], None]:
    def apply(world: World) -> None:
        world.cluster.flux_works = False
        item = world.cluster.find(kind, "flux-system", name)
        assert item is not None
        item["status"]["conditions"] = [{"type": "Ready", "status": "False", "message": "by order"}]

    return apply


BROKEN: list[tuple[str, Callable[[World], None], str, str]] = [
    ("GitLab crashes", change("cluster.crash", "CrashLoopBackOff"), "GitLab keeps crashing", "--previous"),
    (
        "Flux cannot read",
        not_ready("GitRepository", "flux-system"),
        "Flux cannot read the lab's repository: by order",
        "flux get sources git",
    ),
    (
        "Flux cannot apply",
        not_ready("Kustomization", "automation"),
        'Flux cannot apply "automation": by order',
        "kubectl describe kustomization",
    ),
    (
        "realm",
        change("registry_realm", "http://gitlab.lab//jwt/auth"),
        'to "http://gitlab.lab//jwt/auth" to log in',
        "external_url",
    ),
    ("credentials", regcred_broken, "does not take the credentials in regcred for HomeLAB: 401", "--only registry"),
    (
        "runner offline",
        runner_offline,
        "The runner lab-homelab of HomeLAB is not online: GitLab calls it offline",
        "--only runner",
    ),
    ("no runner", change("gitlab.runners", []), "GitLab has no runner lab-homelab of HomeLAB", "--only runner"),
    (
        "build fails",
        change("gitlab.pipeline_result", "failed"),
        'The pipeline of HomeLAB/demo v1.0.1 ended as "failed"',
        "it makes a new tag",
    ),
    (
        "scan fails",
        change("cluster.image_scan_error", "x509: certificate signed by unknown authority"),
        "is not found by Flux",
        "x509",
    ),
    (
        "push fails",
        change("cluster.push_error", "authorization failed"),
        "is not committed by Flux",
        "authorization failed",
    ),
]


CHOSEN = (
    BROKEN if LONG else [b for b in BROKEN if b[0] in ("credentials", "runner offline", "build fails", "push fails")]
)


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize(("breaks", "what", "more"), [b[1:] for b in CHOSEN], ids=[b[0] for b in CHOSEN])
def test_the_first_thing_that_is_wrong_is_named(
    journey: Journey, breaks: Callable[[World], None], what: str, more: str
) -> None:
    world = journey.to("end")
    breaks(world)
    # With no patience at all a run gives up at the first step that takes time; the next one goes on with the same tag.
    for _ in range(6):
        run = world.run(command="verify", **({} if "pipeline" in what else SOON))
        if what in run.err or "is not" not in run.err:
            break
    assert run.status == 1 and not world.errors, (run.text, world.errors)
    assert what in run.err and more in run.err
    assert len(world.gitlab.tags) <= 2, "it goes on with the tag that is under way"
