"""A lab of each version that was ever released, updated to the template as it lies here; and the next version, ready to be released.

The versions are Git's: a tag vX.Y.Z that this commit holds. A clone with a tag of its own shows that one would be found.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hooks import release as release_hook
from tests.support.rendering import ROOT, VALID, copy_lab, project_files, read_answers
from tests.update.support.histories import REPORT, commit, files, git, make_lab, packed, update

NOW = "999.0.0"
A_TAGGED_CLONE = "a clone with a tag of its own"


def released(root: Path) -> list[str]:
    """Return the versions that a checkout's history holds, the newest first."""
    said = subprocess.run(
        ["git", "tag", "--merged", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    ).stdout
    found = [tag[1:] for tag in said.split() if re.fullmatch(r"v\d+\.\d+\.\d+", tag)]
    return sorted(found, key=lambda one: tuple(map(int, one.split("."))), reverse=True)


def clone_of(folder: Path) -> Path:
    """Clone this repository with its tags, as it is committed."""
    done = subprocess.run(
        ["git", "clone", "--quiet", "--shared", str(ROOT), str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def bring_here(clone: Path) -> Path:
    """Put the tree as it lies here on top of a clone, as one more version."""
    for path in clone.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in project_files():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, clone / name)
    git(clone, "add", "--all", "--force")
    commit(clone, NOW)
    git(clone, "tag", f"v{NOW}")
    return packed(clone)


@pytest.mark.slow(each_commit=True)
@pytest.mark.deep(keep=1)
@pytest.mark.parametrize("version", [*released(ROOT), A_TAGGED_CLONE])
@pytest.mark.parametrize("name", ["article", "defaults"])
def test_a_lab_of_each_release_is_updated_to_the_tree(name: str, version: str, tmp_path: Path) -> None:
    template = clone_of(tmp_path / "template")
    if version == A_TAGGED_CLONE:
        version = "998.0.0"
        git(template, "tag", f"v{version}")
        assert released(template)[0] == version
    bring_here(template)
    answers = read_answers(next(file for file in VALID if file.stem == name))
    lab = make_lab(template, tmp_path / "lab", answers, f"v{version}")
    done = update(lab)
    assert done.returncode == 0, done.stderr
    assert f"from {version} to {NOW}" in (lab / REPORT).read_text(encoding="utf-8")
    assert git(lab, "ls-files", "--unmerged") == ""
    # An untouched lab becomes what a new one is; answers that were recorded stay, whatever their default is now.
    wanted = tmp_path / "wanted"
    recorded = {
        key: value for key, value in read_answers(lab / ".copier-answers.yml").items() if not key.startswith("_")
    }
    copy_lab(template, wanted, recorded, skip_tasks=True, vcs_ref=f"v{NOW}")
    left = {path: held for path, held in files(lab).items() if path != REPORT}
    assert left == files(wanted)


@pytest.mark.slow
def test_only_versions_that_the_history_holds_count(tmp_path: Path) -> None:
    clone = clone_of(tmp_path / "clone")
    before = released(clone)
    assert before == released(ROOT)
    for tag in ("v1.10.0", "v1.9.3", "v2.0.0-rc1", "vacation"):
        git(clone, "tag", tag)
    git(clone, "checkout", "--quiet", "--orphan", "elsewhere")
    commit(clone, "Another history")
    git(clone, "tag", "v7.0.0")
    git(clone, "checkout", "--quiet", "--force", "v1.9.3")
    assert set(released(clone)) == {*before, "1.10.0", "1.9.3"}
    assert released(clone).index("1.10.0") < released(clone).index("1.9.3")


# The next release


def named_in_changelog(root: Path) -> str:
    """Return the version of the changelog's newest section, or Unreleased."""
    found = re.search(r"^## \[?([^\s\]]+)", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert found, "CHANGELOG.md has no section"
    return found[1]


@pytest.mark.slow
def test_the_version_that_the_changelog_names_could_be_released(tmp_path: Path) -> None:
    clone = bring_here(clone_of(tmp_path / "clone"))
    git(clone, "tag", "--delete", f"v{NOW}")
    version = named_in_changelog(clone)
    if f"v{version}" in git(clone, "tag").split():
        assert release_hook.last_tag(clone) == f"v{version}"
        return
    if version == "Unreleased":
        major, minor, _ = (release_hook.last_tag(clone) or "v0.0.0")[1:].split(".")
        found = release_hook.problems(clone, f"{major}.{int(minor) + 1}.0", lambda _: True)
        assert all("Unreleased" in line or "`unreleased`" in line for line in found) and found
        return
    # That example/ is what the template makes is another test's to say.
    assert release_hook.problems(clone, version, lambda _: True) == []


@pytest.mark.deep
def test_make_release_tags_the_version_in_a_throw_away_clone(tmp_path: Path) -> None:
    clone = bring_here(clone_of(tmp_path / "clone"))
    git(clone, "tag", "--delete", f"v{NOW}")
    version = named_in_changelog(clone)
    if version == "Unreleased" or f"v{version}" in git(clone, "tag").split():
        pytest.skip(f"CHANGELOG.md names no version to come: {version}")
    done = subprocess.run(
        [sys.executable, "hooks/release.py", version], cwd=clone, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"Tagged v{version}" in done.stdout and f"v{version}" in git(clone, "tag").split()
    again = subprocess.run(
        [sys.executable, "hooks/release.py", version], cwd=clone, capture_output=True, text=True, check=False
    )
    assert again.returncode == 1 and f"`{version}` does not follow v{version}" in again.stderr
