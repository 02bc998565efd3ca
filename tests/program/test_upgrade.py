"""An upgrade's decisions: the way from stop to stop, the files that name a version, and GitLab's background migrations."""

from __future__ import annotations

import datetime
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.program.support.faked import patience
from tests.support import program
from tests.support.cluster import Lab
from tests.support.image_tags import image_tags
from tests.support.program import (
    background_migrations,
    errors,
    fresh_backup,
    gitlab_image,
    gitlab_migrations,
    objects,
    upgrade_path,
    version_files,
    versions,
)
from tests.support.rendering import VALID, read_answers, recorded_answers, rendered

exact = st.tuples(st.integers(19, 21), st.integers(0, 11), st.integers(0, 20)).map(lambda one: ".".join(map(str, one)))


def newest_of(patch: int) -> Callable[[str], str | None]:
    return lambda minor: f"{minor}.{patch}"


@settings(max_examples=200, deadline=None)
@given(exact, exact, st.integers(0, 30))
def test_no_step_of_a_way_jumps_over_a_stop_or_goes_back(one: str, other: str, patch: int) -> None:
    now, target = sorted((one, other), key=lambda version: versions.numbers(version) or (0, 0, 0))
    way = [now, *(step.version for step in upgrade_path.plan(now, target, newest_of(patch)))]
    assert way[-1] == target
    for before, after in itertools.pairwise(way):
        assert versions.required_stops(before, after) == []
        assert versions.at_least(after, before) and before != after


def test_each_stop_is_taken_at_its_newest_patch_with_a_reason() -> None:
    steps = upgrade_path.plan("19.2.4", "19.9.1", {"19.5": "19.5.7", "19.8": "19.8.2"}.get)
    assert [step.version for step in steps] == ["19.5.7", "19.8.2", "19.9.1"]
    assert all(step.why for step in steps) and "19.5" in steps[0].why
    assert upgrade_path.plan("19.8.2", "19.8.2", {}.get) == []


def test_a_stop_without_a_version_ends_the_run() -> None:
    with pytest.raises(errors.Failure) as unknown:
        upgrade_path.plan("19.2.4", "19.9.1", lambda _: None)
    assert "19.5" in unknown.value.what and "./lab upgrade 19.5.N" in unknown.value.then
    with pytest.raises(errors.Failure) as none:
        upgrade_path.plan("19.2.4", "19.9.1", lambda _: "")
    assert "has no 19.5" in none.value.what


@pytest.mark.parametrize(
    ("now", "target", "said"),
    [
        ("19.3.2", "19.3.1", "cannot go back from 19.3.2 to 19.3.1"),
        ("19.3.2", "18.11.9", "cannot go back"),
        ("19.11.4", f"{versions.NEWEST_MAJOR + 1}.0.0", f"up to GitLab {versions.NEWEST_MAJOR}"),
        ("19.3.2", "19.3.2", ""),
        ("19.3.2", "19.11.0", ""),
    ],
)
def test_a_way_that_there_is_not_is_refused(now: str, target: str, said: str) -> None:
    refusal = upgrade_path.refusal(now, target)
    assert said in refusal and bool(refusal) is bool(said)


def test_the_newest_version_is_the_registrys_as_far_as_its_stops_are_known() -> None:
    registry = program.image_registry.ImageRegistry(program.http.Http(None, {}), 5)
    beyond = f"{versions.NEWEST_MAJOR + 1}.0.0-ce.0"
    tags = ["19.3.2-ce.0", "19.10.1-ce.0", "19.9.9-ce.0", "19.11.0-rc42.ce.0", "19.12.0-ee.0", "18.11.7-ce.0", beyond]
    with image_tags(tags) as where:
        place = f"{where}/gitlab/gitlab-ce"
        assert gitlab_image.newest(registry, place, "19.3.0") == "19.10.1"
        assert gitlab_image.newest(registry, place, "19.10.1") == "19.10.1"
        assert gitlab_image.newest(registry, place, "19.10.2") == ""
    assert gitlab_image.newest(registry, "127.0.0.1:1/gitlab/gitlab-ce", "19.3.0") is None


# The files


def edited(lab: Path, version: str) -> dict[str, str]:
    texts = version_files.read(lab)
    before = gitlab_image.version_in(texts[gitlab_image.VALUES])
    return {name: version_files.with_version(name, text, before, version) for name, text in texts.items()}


# One with its runner on a machine, one with its runner in the cluster, then the others.
FIRST = ("article", "pair-02")
LABS = [*FIRST, *(file.stem for file in VALID if file.stem not in FIRST)]


def without_checksum(text: str) -> list[str]:
    """Return a file's lines, but for the answers' checksum, by which the next update sees that somebody has changed one."""
    return [line for line in text.splitlines() if not line.startswith("# Checksum")]


@pytest.mark.deep(keep=len(FIRST))
@pytest.mark.parametrize("name", LABS)
def test_the_files_become_what_the_template_makes_of_that_answer(name: str, shared: Path) -> None:
    lab = rendered(shared, name, read_answers(next(file for file in VALID if file.stem == name)))
    answers = {key: value for key, value in recorded_answers(lab).items() if not key.startswith("_")}
    wanted = rendered(shared, f"{name}, another GitLab", {**answers, "gitlab_version": "19.10.12"})
    made = edited(lab, "19.10.12")
    for file, text in version_files.read(wanted).items():
        assert without_checksum(made[file]) == without_checksum(text), file
    files = {file.relative_to(wanted).as_posix() for file in wanted.rglob("*") if file.is_file()}
    differing = {file for file in files if (lab / file).read_bytes() != (wanted / file).read_bytes()}
    assert differing == {file for file, text in version_files.read(lab).items() if text != made[file]}


def test_what_an_owner_has_made_of_the_files_stays() -> None:
    values = "image:\n  tag: '19.3.2-ce.0'  # mine\nsidecars:\n  - tag: 19.3.2-ce.0\n"
    assert version_files.with_version(gitlab_image.VALUES, values, "19.3.2", "19.5.1") == values.replace(
        "19.3.2", "19.5.1", 1
    )
    for kept in ("alpine-v19.3.0@sha256:aa", "alpine-v19.3.1", "alpine-v19.2.0", "alpine-v19.3.0-bleeding"):
        text = f"    image: gitlab/gitlab-runner:{kept}\n"
        assert version_files.with_version("runner/compose.yaml", text, "19.3.2", "19.5.1") == text
    moved = version_files.with_version("runner/helmrelease.yaml", "      tag: alpine-v19.3.0\n", "19.3.2", "19.5.1")
    assert moved == "      tag: alpine-v19.5.0\n"


def test_a_file_without_an_exact_version_is_named(article: Lab, tmp_path: Path) -> None:
    lab = shutil.copytree(article.path, tmp_path / "lab")
    for name in version_files.NAMES[:3]:
        text = (lab / name).read_text(encoding="utf-8")
        (lab / name).write_text(text.replace(article.answers["gitlab_version"], "latest"), encoding="utf-8")
        with pytest.raises(errors.Failure, match=name.replace(".", r"\.")):
            version_files.read(lab)
        (lab / name).write_text(text, encoding="utf-8")
        assert version_files.read(lab)


def test_only_what_an_upgrade_writes_counts_as_its_own(article: Lab) -> None:
    before, after = version_files.read(article.path), edited(article.path, "19.8.1")
    assert version_files.is_only_another_version(before, after)
    # Cut off between two files.
    for name in before:
        assert version_files.is_only_another_version(before, {**before, name: after[name]})
    for name in before:
        assert not version_files.is_only_another_version(before, {**after, name: f"{after[name]}# mine\n"})
    two = {**after, gitlab_image.VALUES: edited(article.path, "19.8.2")[gitlab_image.VALUES]}
    assert not version_files.is_only_another_version(before, two)


# Background migrations


class GitLab:
    """The two requests, over the newest twenty of a list."""

    def __init__(self, statuses: dict[str, dict[int, str]]) -> None:
        self.statuses, self.shown = statuses, list[int]()

    def _one(self, database: str, number: int) -> gitlab_migrations.Migration:
        status = self.statuses[database][number]
        return gitlab_migrations.Migration(database, number, f"Job{number}", f"table_{number}", status, 40.0)

    def newest_migrations(self, database: str) -> list[gitlab_migrations.Migration]:
        return [self._one(database, number) for number in sorted(self.statuses.get(database, {}), reverse=True)[:20]]

    def migration(self, database: str, number: int) -> gitlab_migrations.Migration | None:
        self.shown.append(number)
        return self._one(database, number) if number in self.statuses[database] else None


def looking(statuses: dict[str, dict[int, str]]) -> tuple[Any, GitLab]:
    gitlab = GitLab(statuses)
    lab = SimpleNamespace(
        gitlab=gitlab,
        patience=patience(wait_migrations_minutes=1),
        limits=program.environment.Limits(wait_migrations_minutes=1),
        console=program.console(),
        settings=SimpleNamespace(gitlab_url="https://gitlab.lab", gitlab_namespace="gitlab"),
    )
    return background_migrations.BackgroundMigrations(lab), gitlab


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.integers(1, 60), st.sampled_from(["finished", "finalized", "active", "finalizing"]), max_size=60)
)
def test_every_migration_that_is_not_done_is_found_however_old(statuses: dict[int, str]) -> None:
    work, gitlab = looking({"main": statuses, "ci": {1: "finished"}})
    wanted = [
        number for number, status in sorted(statuses.items()) if not status.startswith("fin") or status == "finalizing"
    ]
    assert [one.id for one in work.unfinished()] == wanted
    gitlab.shown.clear()
    assert [one.id for one in work.unfinished()] == wanted
    # What is done, or was never there, is not asked for again.
    assert set(gitlab.shown) <= set(wanted)


def test_waiting_ends_when_all_are_done() -> None:
    statuses = {"main": {1: "active", 2: "finished"}, "ci": {7: "finalizing"}}
    work, gitlab = looking(statuses)
    looks = []

    def done_after_a_while(database: str) -> list[gitlab_migrations.Migration]:
        looks.append(database)
        if len(looks) > 6:
            statuses["main"][1], statuses["ci"][7] = "finished", "finalized"
        return GitLab.newest_migrations(gitlab, database)

    gitlab.newest_migrations = done_after_a_while  # type: ignore[method-assign]
    work.wait("19.5.2")
    assert len(looks) > 6


@pytest.mark.parametrize(
    ("status", "said", "then"),
    [
        ("failed", "main_3 Job3 of table_3 (failed, 40 %)", "retry each on that page"),
        ("paused", "main_3 Job3 of table_3 (paused, 40 %)", "resume each on that page"),
        ("active", "not done after 1 minutes: 1 to go: main_3 Job3", "LAB_WAIT_MIGRATIONS_MINUTES"),
        ("of tomorrow", "not done after 1 minutes: 1 to go: main_3 Job3", "LAB_WAIT_MIGRATIONS_MINUTES"),
    ],
)
def test_what_is_never_done_by_itself_is_named_with_what_to_do(status: str, said: str, then: str) -> None:
    work, _ = looking({"main": {2: "finished", 3: status}})
    with pytest.raises(errors.Failure) as failure:
        work.wait("19.5.2")
    assert said in failure.value.what and then in failure.value.then
    assert "https://gitlab.lab/admin/background_migrations?tab=" in failure.value.look


# The backup


@pytest.mark.parametrize(
    ("status", "leaving", "useless"),
    [
        ({}, False, False),
        ({}, True, True),
        (
            {"conditions": [{"type": "Complete", "status": "True"}], "completionTime": "2026-03-01T10:30:00Z"},
            False,
            False,
        ),
        (
            {"conditions": [{"type": "Complete", "status": "True"}], "completionTime": "2026-03-01T08:30:00Z"},
            False,
            True,
        ),
        ({"conditions": [{"type": "Complete", "status": "True"}], "completionTime": "soon"}, False, True),
        ({"conditions": [{"type": "Failed", "status": "True"}]}, False, True),
        ({"conditions": [{"type": "Failed", "status": "False"}]}, False, False),
    ],
)
def test_a_backup_counts_while_it_runs_and_for_an_hour(status: dict[str, Any], leaving: bool, useless: bool) -> None:
    metadata = {"creationTimestamp": "2026-03-01T10:00:00Z", **({"deletionTimestamp": "now"} if leaving else {})}
    job = objects.KubeObject({"metadata": metadata, "status": status})
    now = datetime.datetime(2026, 3, 1, 11, tzinfo=datetime.timezone.utc)
    assert fresh_backup.is_of_no_use(job, now) is useless
