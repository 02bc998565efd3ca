"""Which sets are complete, incomplete, broken or foreign, and which go: decided from what was seen, for drawn sets, too."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.backups import DAY, NOW, Volumes, archives, packed, program, sets

NAME = f"{NOW}_2026_09_21_19.3.0"
FILES = {sets.DATA: 1000, sets.CONFIG: 100, sets.MANIFEST: 50}


def manifest(name: str = NAME, **more: Any) -> sets.Manifest:
    parts = tuple(
        sets.Part(part, f"{part}.tar", FILES[part], "a" * 64, 10, "b" * 64) for part in (sets.CONFIG, sets.DATA)
    )
    found = sets.Manifest(name, "lab", "19.3.0", "ce", True, NOW, ("age1x",), parts)
    return dataclasses.replace(found, **more)


def test_a_manifest_says_when_it_is_read_what_was_written() -> None:
    assert sets.manifest_of(manifest().text(), NAME) == manifest()


def test_a_set_with_its_manifest_and_sizes_is_whole() -> None:
    found = sets.judged(NAME, FILES, manifest().text(), "lab")
    assert (found.state, found.why, found.made, found.size) == (sets.COMPLETE, "", NOW, 1150)


@pytest.mark.parametrize("there", [{}, {sets.DATA: 1000}, {sets.CONFIG: 100}, {sets.DATA: 1000, sets.CONFIG: 100}])
def test_without_a_manifest_it_is_half_whatever_is_there(there: dict[str, int]) -> None:
    found = sets.judged(NAME, there, None, "lab")
    assert found.state == sets.INCOMPLETE and sets.MANIFEST in found.why


@pytest.mark.parametrize(
    ("files", "text", "own", "state", "words"),
    [
        (
            FILES | {sets.DATA: 999},
            manifest().text(),
            "lab",
            sets.BROKEN,
            "data.tar.age has 999 bytes, and should have 1000",
        ),
        ({sets.DATA: 1000, sets.MANIFEST: 1}, manifest().text(), "lab", sets.BROKEN, "config.tar.age is missing"),
        (FILES, manifest().text()[:-20], "lab", sets.BROKEN, "cannot be read"),
        (FILES, "", "lab", sets.BROKEN, "cannot be read"),
        (FILES, "[]", "lab", sets.BROKEN, "cannot be read"),
        (FILES, manifest(format=9).text(), "lab", sets.BROKEN, "has format 9"),
        (FILES, manifest(parts=()).text(), "lab", sets.BROKEN, "both parts"),
        (FILES, manifest(set="1_2026_01_01_19.3.0").text(), "lab", sets.BROKEN, "is of 1_2026_01_01_19.3.0"),
        (FILES, manifest(version="19.2.0").text(), "lab", sets.BROKEN, "GitLab 19.2.0-ce"),
        (FILES, manifest().text(), "other", sets.FOREIGN, "of the lab lab, and this is other"),
    ],
)
def test_what_is_wrong_is_named(files: dict[str, int], text: str, own: str, state: str, words: str) -> None:
    found = sets.judged(NAME, files, text, own)
    assert found.state == state and words in found.why


def test_a_set_of_another_edition_is_foreign() -> None:
    name = f"{NAME}-ee"
    found = sets.judged(name, FILES, manifest(name, edition="ee").text(), "lab")
    assert found.state == sets.FOREIGN and "GitLab EE, and this lab runs CE" in found.why


def test_what_is_no_backup_is_foreign() -> None:
    for name in ("photos", "1790000000", ".minio.sys", "1790000000_2026_09_21_19.3"):
        assert sets.judged(name, {"a": 1}, None, "lab").state == sets.FOREIGN


@given(text=st.text(), cut=st.integers(0, 600))
def test_no_text_makes_a_manifest_fall_over(text: str, cut: int) -> None:
    for one in (text, manifest().text()[:cut], json.dumps([text])):
        assert sets.judged(NAME, FILES, one, "lab").state in (sets.BROKEN, sets.COMPLETE)


@st.composite
def some_sets(draw: st.DrawFn) -> list[sets.Set]:
    ages = draw(st.lists(st.integers(0, 60 * DAY), max_size=12, unique=True))
    states = st.sampled_from([sets.COMPLETE, sets.INCOMPLETE, sets.BROKEN, sets.FOREIGN])
    return [sets.Set(f"{NOW - one}_2026_01_01_19.3.0", draw(states), NOW - one, 1) for one in ages]


@given(found=some_sets(), keep=st.integers(1, 40))
def test_the_newest_whole_set_is_never_removed_nor_what_is_foreign_or_young(found: list[sets.Set], keep: int) -> None:
    gone = sets.to_remove(found, keep, NOW)
    whole = [one for one in found if one.state == sets.COMPLETE]
    if whole:
        assert max(whole, key=lambda one: one.made) not in gone
    else:
        assert all(one.state == sets.INCOMPLETE for one in gone)
    for one in gone:
        assert one.state != sets.FOREIGN
        assert NOW - one.made > (DAY if one.state == sets.INCOMPLETE else keep * DAY)
    left = [one for one in found if one not in gone]
    assert not [one for one in left if one.state == sets.INCOMPLETE and NOW - one.made > DAY]
    if whole:
        old = [one for one in left if one.state in (sets.COMPLETE, sets.BROKEN) and NOW - one.made > keep * DAY]
        assert len(old) <= 1
    # Once they are gone, nothing more goes.
    assert sets.to_remove(left, keep, NOW) == []


# GitLab's archives


def test_the_newest_backup_goes_with_the_configuration_of_its_night(volumes: Volumes) -> None:
    volumes.back_up(NOW - DAY)
    name = volumes.back_up(NOW)
    volumes.back_up(NOW - 5 * DAY, "19.2.0")
    pair = archives.newest(volumes.data, volumes.config)
    assert pair.name == name and pair.config.name == f"gitlab_config_{NOW - 20}_2026_09_21.tar"


def test_data_without_a_configuration_of_its_night_is_refused(volumes: Volumes) -> None:
    volumes.back_up(apart=13 * 3600)
    with pytest.raises(archives.ArchiveError, match=r"no backup of the configuration.*cannot be decrypted"):
        archives.newest(volumes.data, volumes.config)


def test_a_lab_without_a_backup_is_told(volumes: Volumes) -> None:
    packed(volumes.data / "somebody_s.tar", {})
    with pytest.raises(archives.ArchiveError, match="has made no backup yet"):
        archives.newest(volumes.data, volumes.config)


def test_an_archive_says_whether_the_registry_is_in_it(volumes: Volumes) -> None:
    for registry in (True, False):
        name = volumes.back_up(registry=registry)
        with (volumes.data / f"{name}_gitlab_backup.tar").open("rb") as stream:
            assert archives.look_at_data(stream, name) is registry


def test_an_archive_that_was_cut_off_anywhere_is_broken(volumes: Volumes) -> None:
    name = volumes.back_up(size=3000)
    whole = (volumes.data / f"{name}_gitlab_backup.tar").read_bytes()
    # The last record is padded with zeros: to cut some of them off takes nothing away.
    needed = len(whole.rstrip(b"\0")) // 512 * 512 + 512
    for length in [*range(0, needed + 512, 256), 1, 511, 513]:
        with pytest.raises(archives.ArchiveError):
            archives.look_at_data(io.BytesIO(whole[:length]), name)
    archives.look_at_data(io.BytesIO(whole), name)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"db/x": b"", "repositories/x": b""}, "no backup_information.yml"),
        ({"backup_information.yml": b":gitlab_version: 19.3.0\n", "db/x": b""}, "lacks repositories"),
        ({"backup_information.yml": b":gitlab_version: 19.3.0\n"}, "lacks db, repositories"),
        ({"backup_information.yml": b":gitlab_version: 18.11.0\n"}, "GitLab 18.11.0-ce wrote"),
        ({"backup_information.yml": b":gitlab_version: 19.3.0-ee\n"}, "GitLab 19.3.0-ee wrote"),
    ],
)
def test_an_archive_that_lacks_something_is_named(members: dict[str, bytes], words: str, tmp_path: Path) -> None:
    with packed(tmp_path / "x.tar", members).open("rb") as stream, pytest.raises(archives.ArchiveError, match=words):
        archives.look_at_data(stream, NAME)


def test_a_configuration_without_its_keys_is_refused(tmp_path: Path) -> None:
    words = r"holds no gitlab-secrets\.json"
    with (
        packed(tmp_path / "x.tar", {"etc/gitlab/gitlab.rb": b""}).open("rb") as stream,
        pytest.raises(archives.ArchiveError, match=words),
    ):
        archives.look_at_config(stream)
    with pytest.raises(archives.ArchiveError, match="broken"):
        archives.look_at_config(io.BytesIO(b"no archive"))


def test_an_archive_in_another_format_of_tar_is_read(tmp_path: Path) -> None:
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        file = tmp_path / f"{form}.tar"
        with tarfile.open(file, "w", format=form) as archive:
            archive.addfile(tarfile.TarInfo("/etc/gitlab/gitlab-secrets.json"))
        with file.open("rb") as stream:
            archives.look_at_config(stream)


# What the pods keep


def test_an_empty_place_where_sets_were_is_refused_and_not_begun_anew() -> None:
    state = program.seen({}, "nas:/backups", [sets.Set(NAME, sets.COMPLETE, NOW, 1)], NOW)
    with pytest.raises(
        program.RefusedError, match=r"nas:/backups is empty, and 1 sets were there: is the disk mounted"
    ):
        program.check_place(state, "nas:/backups", [])
    program.check_place(state, "another:/place", [])
    program.check_place({}, "nas:/backups", [])
    program.check_place(state, "nas:/backups", [sets.Set(NAME, sets.INCOMPLETE, NOW, 1)])


def test_the_keys_come_from_the_lab_or_from_the_owner(tmp_path: Path) -> None:
    assert program.recipients({"recipients": ["age1a"]}, tmp_path) == ["age1a"]
    with pytest.raises(program.RefusedError, match="no public key"):
        program.recipients({"recipients": []}, tmp_path)
    (tmp_path / "recipients").write_text("age1b\nage1c\n")
    assert program.recipients({"recipients": []}, tmp_path) == ["age1b", "age1c"]
