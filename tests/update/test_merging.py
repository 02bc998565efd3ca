"""How one file comes of three versions, and where the edits of a split file go."""

from __future__ import annotations

from pathlib import Path

import pytest

from hooks.files import Entry
from hooks.git import Git
from hooks.update import merging

BASE = b"".join(b"row %d\n" % number for number in range(1, 11))
TEXT, OTHER, BINARY, LINK = Entry(BASE), Entry(b"new\n" + BASE), Entry(b"\0\1"), Entry(b"elsewhere", link=True)
MINE = Entry(BASE + b"mine\n")
CASES = {
    "the template left it alone": (MINE, TEXT, TEXT, MINE, False, None),
    "both did the same": (OTHER, TEXT, OTHER, OTHER, False, None),
    "both, in two places": (MINE, TEXT, OTHER, Entry(b"new\n" + BASE + b"mine\n"), False, None),
    "the template has it no more": (MINE, TEXT, None, MINE, False, None),
    "a binary of the owner's": (BINARY, Entry(b"\0\0"), Entry(b"\0\2"), BINARY, False, Entry(b"\0\2")),
    "a text that the owner made a link": (LINK, TEXT, OTHER, LINK, False, OTHER),
    "a text that the owner made a binary": (BINARY, TEXT, OTHER, BINARY, False, OTHER),
    "the owner's mode, the template's lines": (Entry(BASE, True), TEXT, OTHER, Entry(OTHER.data, True), False, None),
    "the template's mode, the owner's lines": (MINE, TEXT, Entry(BASE, True), Entry(MINE.data, True), False, None),
    "the owner's mode, the template's binary": (Entry(BASE, True), TEXT, BINARY, Entry(BINARY.data, True), False, None),
    "the template's mode of a binary of the owner's": (
        Entry(b"\0\2"),
        BINARY,
        Entry(BINARY.data, True),
        Entry(b"\0\2", True),
        False,
        None,
    ),
    "not UTF-8": (Entry(BASE + b"\xfc\n"), TEXT, OTHER, Entry(b"new\n" + BASE + b"\xfc\n"), False, None),
    "Windows' line endings": (
        Entry(b"a\r\nb\r\nmine\r\n"),
        Entry(b"a\r\nb\r\n"),
        Entry(b"new\r\na\r\nb\r\n"),
        Entry(b"new\r\na\r\nb\r\nmine\r\n"),
        False,
        None,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_file_is_merged(tmp_path: Path, name: str) -> None:
    ours, base, theirs, *expected = CASES[name]
    assert merging.merge(Git(tmp_path), ours, base, theirs) == merging.Merged(*expected)


def test_the_same_place_is_a_conflict_with_both_versions(tmp_path: Path) -> None:
    merged = merging.merge(
        Git(tmp_path), Entry(BASE.replace(b"row 5", b"mine")), TEXT, Entry(BASE.replace(b"row 5", b"theirs"))
    )
    assert merged.conflict and merged.entry is not None
    assert merging.conflict_lines(merged.entry.data) == [(5, 9)]
    assert merging.lost(BASE.replace(b"row 5", b"mine"), BASE, merged.entry.data) == []


def test_two_new_files_of_one_name_are_a_conflict(tmp_path: Path) -> None:
    merged = merging.merge(Git(tmp_path), Entry(b"mine\n"), None, Entry(b"theirs\n"))
    assert (
        merged.conflict
        and merged.entry is not None
        and b"mine\n" in merged.entry.data
        and b"theirs\n" in merged.entry.data
    )


def test_edits_of_a_split_file_go_where_their_surroundings_are() -> None:
    lines = BASE.splitlines(keepends=True)
    pieces = {"head": b"# Head.\n" + b"".join(lines[:5]), "tail": b"".join(lines[5:])}
    mine = BASE.replace(b"row 2\n", b"row 2\nmine\n").replace(b"row 8\n", b"").replace(b"row 10\n", b"row ten\n")
    carried, homeless = merging.carry_over(mine, BASE, pieces)
    assert homeless == []
    assert carried["head"] == b"# Head.\nrow 1\nrow 2\nmine\nrow 3\nrow 4\nrow 5\n"
    assert carried["tail"] == b"row 6\nrow 7\nrow 9\nrow ten\n"


def test_edits_without_one_clear_place_are_named() -> None:
    base, pieces = b"a\nb\na\n", {"one": b"a\n", "two": b"a\n"}
    carried, homeless = merging.carry_over(b"a\nmine\na\n", base, pieces)
    assert carried == pieces and homeless == [b"mine\n"]


def test_a_patch_leaves_what_found_no_place_beside_the_templates_file() -> None:
    base = Entry(BASE)
    mine, theirs = (
        Entry(b"first\n" + BASE.replace(b"row 9\n", b"mine\n")),
        Entry(BASE.replace(b"row 9\n", b"theirs\n"), True),
    )
    made = merging.rejected(mine, base, theirs, 3)
    assert made is not None
    assert made[0].data == b"first\n" + BASE.replace(b"row 9\n", b"theirs\n") and b"-row 9\n+mine\n" in made[1]
    # Nothing rejected, nothing to say.
    assert merging.rejected(mine, base, base, 3) is None
