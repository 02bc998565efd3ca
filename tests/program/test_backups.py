"""Backups that are sent elsewhere, as the program sees them: what the stage brings, and what passes through this machine."""

from __future__ import annotations

import hashlib
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lab_program import age, pipeline, programs
from lab_program.stages.backups import Backups

from tests.program.support.faked import Faked
from tests.program.support.secret_world import SecretWorld
from tests.support import program
from tests.support.program import errors, lab_module

KEY = {"access-key-id": "AKIATHATNOBODYSEES00", "secret-access-key": "thatNobodySees/0123456789abcdefghijklmnop"}
S3 = ("access-key-id", "secret-access-key", "recipients")


World = partial(SecretWorld, "backup-target", frozenset(KEY.values()))


def stage(
    tmp_path: Path, world: SecretWorld, entries: tuple[str, ...] = S3, text: str | None = None, **more: Any
) -> Backups:
    environment = {"HOME": str(tmp_path)}
    if text is not None:
        (tmp_path / "given").write_text(text, encoding="utf-8")
        environment["LAB_BACKUPS_FILE"] = str(tmp_path / "given")
    answers = {"backup_place": "s3://b/home", "backup_entries": entries, "age_recipients": ()}
    console, limits = program.console(assume_yes=True), program.environment.Limits()
    settings = program.settings(**{**answers, **more})
    return Backups(lab_module.Lab(tmp_path, settings, limits, console, Faked(world), tmp_path, environment))


def given(values: dict[str, str]) -> str:
    return "".join(f"{key}={value}\n" for key, value in values.items())


def key_file(tmp_path: Path) -> Path:
    return tmp_path / ".config/sops/age/keys.txt"


def test_it_brings_the_access_key_and_the_public_half_of_a_new_key(tmp_path: Path) -> None:
    world = World()
    made = stage(tmp_path, world, text=given(KEY))
    made.run()
    (mine,) = age.identities(key_file(tmp_path).read_text())
    assert world.written == {**KEY, "recipients": mine.recipient}
    assert key_file(tmp_path).stat().st_mode & 0o777 == 0o600
    assert mine.private not in world.applied, "the private half never reaches the cluster"
    assert "Keep a copy of that file away" in made.console.err.getvalue() + made.console.out.getvalue()  # type: ignore[attr-defined]


def test_the_owners_own_key_is_taken_and_no_other_made(tmp_path: Path) -> None:
    mine = age.new_identity()
    key_file(tmp_path).parent.mkdir(parents=True)
    key_file(tmp_path).write_text(f"# mine\n{mine.private}\n")
    before, world = key_file(tmp_path).read_text(), World()
    stage(tmp_path, world, ("recipients",)).run()
    assert world.written == {"recipients": mine.recipient} and key_file(tmp_path).read_text() == before


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    world = World({**KEY, "recipients": "age1x"})
    stage(tmp_path, world).run()
    assert world.applied == "" and not key_file(tmp_path).exists()


def test_what_is_missing_is_added_and_the_rest_stays(tmp_path: Path) -> None:
    world = World({"recipients": "age1x"})
    stage(tmp_path, world, text=given(KEY)).run()
    assert world.written == {**KEY, "recipients": "age1x"}


@pytest.mark.parametrize(
    ("entries", "more"),
    [(S3, {"backup_place": ""}), ((), {"age_recipients": ("age1x",)})],
)
def test_a_lab_that_needs_nothing_gets_nothing(entries: tuple[str, ...], more: dict[str, Any], tmp_path: Path) -> None:
    world = World()
    stage(tmp_path, world, entries, **more).run()
    assert world.applied == "" and not key_file(tmp_path).exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "There is no terminal to ask for the ID of the access key"),
        ("other=1\n", "has no line access-key-id="),
        ("access-key-id=AKIA\nother=1\n", "has no line secret-access-key="),
        (given({**KEY, "access-key-id": "two words"}), "it holds blanks"),
        (given({**KEY, "secret-access-key": ""}), "it is empty"),
        (given({**KEY, "secret-access-key": "schlüssel"}), "beyond ASCII"),
    ],
)
def test_what_is_no_access_key_is_refused_and_nothing_is_written(text: str | None, words: str, tmp_path: Path) -> None:
    world = World()
    with pytest.raises(errors.Failure) as failed:
        stage(tmp_path, world, text=text).run()
    assert words in failed.value.what and world.applied == ""
    assert not any(value in str(failed.value) for value in KEY.values())


# What passes through this machine


def passing(*steps: str, source: str) -> pipeline.Poured:
    run = programs.Programs(dict(os.environ), program.console())
    return pipeline.pour(run, ["sh", "-c", source], *(["sh", "-c", step] for step in steps))


def test_what_the_first_program_writes_is_counted_on_its_way(tmp_path: Path) -> None:
    done = passing("tr a b", f"cat >{tmp_path}/got", source="head -c 300000 /dev/zero | tr '\\0' a")
    assert (tmp_path / "got").read_bytes() == b"b" * 300000
    assert (done.size, done.sha256) == (300000, hashlib.sha256(b"a" * 300000).hexdigest()) and done.problem == ""


@pytest.mark.parametrize(
    ("source", "steps", "problem"),
    [
        ("echo x; echo the network is gone >&2; exit 1", ("cat", "cat"), "sh: the network is gone"),
        (
            "head -c 3000000 /dev/zero",
            ("echo 'age: error: no identity' >&2; echo report it >&2; exit 1", "cat"),
            "sh: age: error: no identity",
        ),
        ("head -c 3000000 /dev/zero", ("cat", "echo it is full >&2; exit 3"), "sh: it is full"),
        ("head -c 3000000 /dev/zero", ("cat", "exit 3"), "sh: status 3"),
    ],
)
def test_the_program_that_failed_first_says_why(source: str, steps: tuple[str, ...], problem: str) -> None:
    assert passing(*steps, source=source).problem == problem
