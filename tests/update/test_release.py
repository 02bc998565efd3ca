"""`make release` tags a version only where an owner's update can rely on it; what is missing is said with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hooks import answer_changes, release
from tests.update.support.histories import commit, edit, git, new_repository, put


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a small checkout, released as 1.0.0 and ready for 1.1.0."""
    root = new_repository(tmp_path / "checkout")
    put(
        root,
        {
            "CHANGELOG.md": "# Changelog\n\n## 1.1.0 - 2026-11-01\n\n## 1.0.0\n",
            "hooks/renames.yml": "unreleased: {}\n",
            "questions/lab.yml": "lab_name: {}\nnickname: {}\n",
            "template/a.txt.jinja": "a\n",
            "template/clusters/{{ cluster_name }}/{% if sample_app %}demo.yaml{% endif %}": "a\n",
            "template/charts/app/Chart.yaml": "version: 1.0.0\n",
        },
    )
    commit(root)
    git(root, "tag", "v1.0.0")
    return root


def found(root: Path, version: str = "1.1.0", fresh: bool = True) -> list[str]:
    return release.problems(root, version, lambda _: fresh)


def test_a_checkout_in_order_is_released(checkout: Path) -> None:
    assert found(checkout) == []


@pytest.mark.parametrize(
    ("last", "version", "right"),
    [
        ("v1.0.0", "1.0.1", True),
        ("v1.0.0", "1.1.0", True),
        ("v1.0.0", "2.0.0", True),
        ("v1.9.0", "1.10.0", True),
        (None, "1.0.0", True),
        ("v1.0.0", "1.0.0", False),
        ("v1.0.0", "1.2.0", False),
        ("v1.1.0", "1.0.1", False),
        ("v1.0.0", "2.1.0", False),
        ("v1.0.0", "v1.0.1", False),
        ("v1.0.0", "1.1", False),
        (None, "1.0.0-rc1", False),
        (None, "01.0.0", False),
    ],
)
def test_a_version_follows_the_last_one(last: str | None, version: str, right: bool) -> None:
    assert (release.order_problem(version, last) is None) is right


def test_the_newest_tag_is_the_newest_version(checkout: Path) -> None:
    for tag in ("v1.9.0", "v1.10.0", "v1.11.0-rc1", "vacation"):
        git(checkout, "tag", tag)
    assert release.last_tag(checkout) == "v1.10.0"


def test_changes_that_are_not_committed_are_refused(checkout: Path) -> None:
    put(checkout, {"new.txt": "new\n"})
    assert found(checkout) == ["the checkout has changes; commit them first"]


def test_a_changelog_without_the_version_is_refused(checkout: Path) -> None:
    edit(checkout / "CHANGELOG.md", lambda text: text.replace("1.1.0", "Unreleased"))
    commit(checkout)
    assert found(checkout) == ["CHANGELOG.md has no section `## 1.1.0`; give that name to what is under Unreleased"]


def test_a_stale_example_is_refused(checkout: Path) -> None:
    assert found(checkout, fresh=False) == [
        "example/ is not what the template makes; run `make example`, and commit it"
    ]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("{}", '`a.txt` is gone since the last release; say in hooks/renames.yml, under "1.1.0", where it moved'),
        ('"1.1.0": {moved: {a.txt: c.txt}}', "hooks/renames.yml sends a file to `c.txt`, which no lab has"),
        ("unreleased: {moved: {a.txt: b.txt}}", 'has entries under `unreleased`; call that section "1.1.0"'),
        ('"1.0.0": {moved: {a.txt: b.txt}}', "`a.txt` is gone"),
        ('"1.1.0": {moved: {a.txt: b.txt}}', None),
        ('"1.1.0": {split: {a.txt: [b.txt]}}', None),
        ('"1.1.0": {removed: {a.txt: Nobody needs it.}}', None),
    ],
)
def test_a_file_that_vanished_has_to_be_in_the_table(checkout: Path, table: str, said: str | None) -> None:
    git(checkout, "mv", "template/a.txt.jinja", "template/b.txt")
    (checkout / "hooks" / "renames.yml").write_text(table)
    commit(checkout)
    lines = found(checkout)
    assert len(lines) == (said is not None) and (said is None or said in lines[0]), lines


def test_a_file_that_only_gained_a_condition_has_not_vanished(checkout: Path) -> None:
    git(checkout, "mv", "template/a.txt.jinja", "template/{% if backups %}a.txt{% endif %}.jinja")
    commit(checkout)
    assert found(checkout) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "a.txt.jinja",
            "a.txt/in.txt",
            "`a.txt` was a file in the last release and is a folder now, so no lab could be updated",
        ),
        (
            "clusters",
            "clusters",
            "`clusters` was a folder in the last release and is a file now, so no lab could be updated",
        ),
    ],
)
def test_a_file_that_became_a_folder_is_refused_and_the_other_way_round(
    checkout: Path, old: str, new: str, said: str
) -> None:
    git(checkout, "rm", "-r", "--quiet", f"template/{old}")
    put(checkout / "template", {new: "x\n"})
    (checkout / "hooks" / "renames.yml").write_text('"1.1.0": {removed: {a.txt: Why., clusters/: Why.}}')
    commit(checkout)
    lines = found(checkout)
    assert len(lines) == 1 and lines[0].startswith(said), lines


def test_a_path_with_an_answer_is_named_as_the_table_names_it() -> None:
    path = "template/clusters/{{ cluster_name }}/{% if sample_app %}demo.yaml{% endif %}.jinja"
    assert release.path_in_lab(path) == "clusters/{cluster_name}/demo.yaml"


def test_a_question_that_vanished_has_to_be_migrated(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / "questions" / "lab.yml").write_text("lab_name: {}\ndisplay_name: {}\n")
    commit(checkout)
    assert found(checkout) == [
        '`nickname` is asked no more; say in hooks/answer_changes.py, under "1.1.0", what becomes of its answer'
    ]
    told: dict[str, Any] = {"1.1.0": (answer_changes.renamed("nickname", "display_name"),)}
    monkeypatch.setattr(answer_changes, "CHANGES", told)
    assert found(checkout) == []


def test_a_chart_that_changed_has_to_have_a_new_version(checkout: Path) -> None:
    put(checkout, {"template/charts/app/templates/a.yaml": "a\n"})
    commit(checkout)
    assert found(checkout) == [
        "charts/app changed and is still 1.0.0, so Flux would release nothing; raise `version` in its Chart.yaml"
    ]
    put(checkout, {"template/charts/app/Chart.yaml": "version: 1.1.0\n"})
    commit(checkout)
    assert found(checkout) == []


def test_a_release_is_an_annotated_tag_and_a_refusal_none(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(release, "ROOT", checkout)
    monkeypatch.setattr(release, "problems", lambda root, version: ["one", "two"])
    assert release.main("1.1.0") == 1
    assert capsys.readouterr().err == "1.1.0 is not released:\n  one\n  two\n" and git(checkout, "tag") == "v1.0.0\n"
    monkeypatch.setattr(release, "problems", lambda root, version: [])
    assert release.main("1.1.0") == 0 and release.main("") == 2
    assert git(checkout, "cat-file", "-t", "v1.1.0") == "tag\n"
