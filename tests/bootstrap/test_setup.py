"""A runner's machine without Docker: the stage runner sets it up, after a yes, before it hands the token over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bootstrap.support.faults import Fault
from tests.bootstrap.support.lab_world import World, ready_machine

BARE = ready_machine(docker=False, compose=False, trust=False)


@pytest.fixture
def bare(make_world: Callable[..., World]) -> World:
    """Return a world of a lab with an authority of its own, whose runner's machine is bare."""
    world = make_world(private_ca=True)
    world.vm_has = dict(BARE)
    return world


def test_a_bare_machine_is_set_up_once_and_the_runner_starts(bare: World) -> None:
    run = bare.must_run()
    assert (
        "lacks Docker and its compose plugin and the certificate of your authority: the stage runner brings that"
        in run.out
    )
    assert "done   127.0.0.1: installed docker.io" in run.out.replace(bare.settings["runner_host"], "127.0.0.1")
    assert "no swap" in run.err and bare.container.exists() and bare.summary()["runner up to date"]
    bare.changes.clear()
    again = bare.must_run("--only", "runner")
    assert "   done " not in again.out and "installed" not in again.text


def test_a_dry_run_says_that_the_machine_would_be_set_up_and_leaves_it(bare: World) -> None:
    run = bare.must_run("--dry-run")
    assert "would  set up" in run.out and "runner/setup.sh" in run.out
    assert not (bare.container.parent / "set up").exists()


@pytest.mark.slow
def test_a_machine_that_cannot_be_set_up_gets_no_token(bare: World) -> None:
    (bare.container.parent / "refuses").touch()
    run = bare.run()
    assert run.status == 1 and "could not be set up" in run.err and "setup.sh: apt cannot get docker.io" in run.err
    assert bare.gitlab.runners == [] and not (Path(bare.settings["runner_home"]) / ".env").exists()
    (bare.container.parent / "refuses").unlink()
    bare.must_run("--only", "runner")
    assert bare.summary()["runner up to date"]


@pytest.mark.slow
def test_a_connection_that_breaks_while_the_machine_is_set_up_is_made_again(bare: World) -> None:
    bare.faults = [Fault("ssh", "setup.sh", "lost", times=1)]
    bare.must_run()
    assert bare.summary()["runner up to date"]


@pytest.mark.slow
def test_only_the_certificate_is_missing_and_cannot_be_brought(make_world: Callable[..., World]) -> None:
    """A runner that works goes on: its owner is told, whatever the system."""
    world = make_world(private_ca=True)
    world.vm_has = ready_machine(trust=False, apt=False)
    run = world.must_run()
    assert "./lab trust --runner" in run.err and world.summary()["runner up to date"]
    assert not (world.container.parent / "set up").exists()
