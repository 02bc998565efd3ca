"""What comes of an update under the settings and habits of its owner: nothing lost, nothing wrong, nothing untold."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.support.rendering import ROOT, recorded_answers
from tests.update.support.histories import (
    COPIER,
    REPORT,
    Terminal,
    commit,
    edit,
    files,
    git,
    in_a_larger_repository,
    put,
    release,
    script,
    small_template,
    state,
    untouched,
    update,
)

ANSWERS = (ROOT / "template" / "{{ _copier_conf.answers_file }}.jinja").read_text(encoding="utf-8")
CLUSTER = {
    "clusters/{{ cluster_name }}/sync.yaml": "one\ntwo\nthree\n",
    "name.txt.jinja": "{{ cluster_name }} {{ feature }}\n",
}


@pytest.fixture
def named(house: Path) -> Path:
    """Return a lab with a folder that is named after an answer, and with the answers file that every real lab has."""
    template = house.parent / "template"
    put(template / "template", {**CLUSTER, "{{ _copier_conf.answers_file }}.jinja": ANSWERS})
    release(template, "1.2.0")
    assert update(house).returncode == 0
    edit(house / "clusters" / "garage" / "sync.yaml", lambda text: text + "mine\n")
    commit(house)
    return house


def moved(house: Path) -> None:
    assert (house / "clusters" / "cellar" / "sync.yaml").read_text() == "one\ntwo\nthree\nmine\n"
    assert not (house / "clusters" / "garage").exists() and (house / "name.txt").read_text() == "cellar True\n"
    assert recorded_answers(house)["cluster_name"] == "cellar"
    report = (house / REPORT).read_text()
    assert "- moved: `clusters/garage/sync.yaml` to `clusters/cellar/sync.yaml`\n" in report
    assert "- changed: `cluster_name: garage` is `cellar` now" in report
    # As `git mv` leaves it, so the history of the file goes on.
    assert git(house, "status", "--porcelain", "clusters").startswith(
        "RM clusters/garage/sync.yaml -> "
    ) or "R  clusters/garage" in git(house, "status", "--porcelain", "clusters")


# Every way in
# ------------------------------------------------------------------------------------------------------------------


@pytest.mark.deep
def test_an_answer_that_is_typed_moves_the_folder_that_is_named_after_it(named: Path) -> None:
    terminal = Terminal(COPIER, "update", "--trust", cwd=named)
    terminal.until("lab_name")
    terminal.type("\r")
    terminal.until("cluster_name")
    terminal.type("\x7f" * 6 + "cellar\r")
    terminal.type("\r\r")
    assert terminal.wait() == 0, terminal.said
    moved(named)


@pytest.mark.deep
def test_an_answer_that_is_given_moves_the_folder_that_is_named_after_it(named: Path) -> None:
    assert update(named, "--data", "cluster_name=cellar").returncode == 0
    moved(named)


@pytest.mark.deep
def test_an_answer_of_a_file_moves_the_folder_that_is_named_after_it(named: Path) -> None:
    put(named.parent, {"answers.yml": "cluster_name: cellar\n"})
    assert update(named, "--data-file", str(named.parent / "answers.yml")).returncode == 0
    moved(named)


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.deep
def test_an_answer_that_is_edited_by_hand_and_committed_is_carried_out(named: Path, later: bool) -> None:
    edit(named / ".copier-answers.yml", lambda text: text.replace("cluster_name: garage", "cluster_name: cellar"))
    commit(named)
    if later:
        put(named, {"something.txt": "else\n"})
        edit(named / ".copier-answers.yml", lambda text: text.replace("lab_name: lab", "lab_name: 'lab'"))
        commit(named)
    assert update(named).returncode == 0
    moved(named)
    assert "- edited by hand in the answers file, and carried out now: `cluster_name`\n" in (named / REPORT).read_text()
    commit(named)
    done = update(named)
    assert done.returncode == 0 and "No file changed." in done.stderr


@pytest.mark.deep
def test_an_answers_file_that_was_only_written_in_another_way_is_no_edit(named: Path) -> None:
    edit(named / ".copier-answers.yml", lambda text: text.replace("cluster_name: garage", 'cluster_name: "garage"'))
    commit(named)
    done = update(named)
    assert done.returncode == 0 and "edited by hand" not in done.stderr and "Files: 1 changed." in done.stderr


@pytest.mark.deep
def test_what_was_written_into_the_answers_file_by_hand_is_told(named: Path) -> None:
    edit(
        named / ".copier-answers.yml",
        lambda text: text.replace("cluster_name: garage", "cluster_name: garage # the one below"),
    )
    commit(named)
    assert (
        "what you had written into it by hand is gone from it: `cluster_name: garage # the one below`"
        in update(named).stderr
    )


@pytest.mark.slow
def test_two_answers_to_one_question_are_refused_with_their_lines(named: Path) -> None:
    edit(named / ".copier-answers.yml", lambda text: text + "cluster_name: cellar\n")
    commit(named)
    said = untouched(named, lambda: update(named)).stderr
    assert re.search(r"answers `cluster_name` twice, in lines \d+ and \d+; keep the right one", said)


@pytest.mark.slow
def test_a_checksum_holds_in_every_lab(named: Path) -> None:
    from hooks.update import recorded

    text = (named / ".copier-answers.yml").read_text(encoding="utf-8")
    assert recorded.as_written(text) is True
    assert recorded.as_written(text.replace("garage", "cellar")) is False
    assert recorded.as_written(text.replace("\n", "\r\n").replace("garage", "'garage' # mine")) is True
    assert recorded.as_written(text.replace("_src_path: ", "_src_path: https://elsewhere.example")) is True
    assert recorded.as_written(yaml.safe_dump(recorded.parsed(text))) is None


# Git's settings
# ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attributes", [True, False], ids=["with .gitattributes", "without"])
@pytest.mark.deep
def test_line_endings_of_windows_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attributes: bool
) -> None:
    for name, value in {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.autocrlf",
        "GIT_CONFIG_VALUE_0": "true",
    }.items():
        monkeypatch.setenv(name, value)
    lines = "".join(f"line {number}\n" for number in range(9))
    template = small_template(
        tmp_path / "template", {"a.txt": lines, "run.sh": "#!/bin/sh\necho one\necho two\necho three\n"}
    )
    if attributes:
        put(template, {".gitattributes": (ROOT / ".gitattributes").read_text()})
        put(template / "template", {".gitattributes": (ROOT / "template" / ".gitattributes").read_text()})
    release(template, "1.0.1")
    lab = tmp_path / "lab"
    done = Terminal(COPIER, "copy", "--trust", "--defaults", template, lab, cwd=tmp_path)
    assert done.wait() == 0, done.said
    commit(lab, "The lab")
    assert (b"\r" in (lab / "run.sh").read_bytes()) is not attributes
    if attributes:
        # On another machine of the owner's, which takes the lab from Git.
        git(tmp_path, "clone", "--quiet", str(lab), str(tmp_path / "clone"))
        lab = tmp_path / "clone"
        assert not [name for name, (data, _) in files(lab).items() if b"\r" in data]
    edit(lab / "a.txt", lambda text: text.replace("line 1\n", "mine\n"))
    commit(lab, "Mine")
    edit(template / "template" / "a.txt", lambda text: text + "newer\n")
    edit(template / "template" / "run.sh", lambda text: text + "echo four\n")
    release(template, "1.1.0")
    done_update = update(lab)
    assert done_update.returncode == 0, done_update.stderr
    git(lab, "add", "--all")
    assert git(lab, "diff", "--cached", "--numstat", "a.txt", "run.sh") == "1\t0\ta.txt\n1\t0\trun.sh\n"
    assert b"\r" not in (lab / "run.sh").read_bytes()


HOOK = """#!/bin/sh
for file in $(git ls-files '*.txt'); do tr a-z A-Z < $file > $file.new && mv $file.new $file && git add $file; done
echo "$0" >> %s
"""


# What Git runs for commands that commit nothing; Copier's first clone is its own.
OF_GIT = ["post-checkout", "post-index-change", "reference-transaction"]


@pytest.mark.parametrize("way", ["copier", "script"])
@pytest.mark.deep
def test_the_owners_hooks_run_in_no_repository_of_the_updates(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    log = tmp_path / "log"
    put(
        tmp_path / "hooks",
        dict.fromkeys(("pre-commit", "post-commit", *(OF_GIT if way == "script" else [])), HOOK % log),
    )
    for path in (tmp_path / "hooks").iterdir():
        path.chmod(0o755)
    edit(house / "feature.txt", lambda text: text + "mine\n")
    commit(house)
    for name, value in {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.hooksPath",
        "GIT_CONFIG_VALUE_0": str(tmp_path / "hooks"),
    }.items():
        monkeypatch.setenv(name, value)
    done = update(house) if way == "copier" else script(house)
    assert done.returncode == 0, done.stderr
    assert not log.exists() or (way == "copier" and "checkout" in log.read_text())
    assert (house / "feature.txt").read_text() == "on\nmine\n" and (
        house / "a.txt"
    ).read_text() == "one\n" * 9 + "new\n"


@pytest.mark.deep
def test_executable_bits_are_the_indexs_where_git_does_not_look_at_the_disk(house: Path) -> None:
    template = house.parent / "template"
    put(template / "template", {"run.sh": "#!/bin/sh\n", "plain.sh": "#!/bin/sh\n"})
    release(template, "1.2.0")
    update(house)
    git(house, "config", "core.fileMode", "false")
    git(house, "add", "--all")
    # The owner's own bit, which no file system shows.
    git(house, "update-index", "--chmod=+x", "plain.sh")
    git(house, "commit", "--quiet", "--message", "Mine")
    put(template / "template", {"new.sh": "#!/bin/sh\n"})
    (template / "template" / "run.sh").chmod(0o755)
    (template / "template" / "new.sh").chmod(0o755)
    edit(template / "template" / "plain.sh", lambda text: text + "newer\n")
    release(template, "1.3.0")
    done = update(house)
    assert done.returncode == 0, done.stderr
    git(house, "add", "--all")
    modes = {line.split("\t")[1]: line[:6] for line in git(house, "ls-files", "--stage").splitlines()}
    assert modes["run.sh"] == modes["plain.sh"] == modes["new.sh"] == "100755" and modes["a.txt"] == "100644"


@pytest.mark.slow
def test_a_repository_of_the_newer_object_format(house: Path) -> None:
    shutil.rmtree(house / ".git")
    git(house, "init", "--quiet", "--object-format=sha256")
    edit(house / "a.txt", lambda text: text.replace("one\n", "mine\n", 1))
    commit(house)
    edit(house.parent / "template" / "template" / "a.txt", lambda text: text.replace("one\n", "theirs\n", 1))
    (house.parent / "template" / "template" / "feature.txt").unlink()
    release(house.parent / "template", "1.2.0")
    done = update(house)
    assert done.returncode == 1 and "- `a.txt`, lines 1 to " in done.stderr, done.stderr
    assert not (house / "feature.txt").exists(), "nobody had edited it"
    assert len(git(house, "ls-files", "--unmerged").splitlines()) == 3 and (house / "new").read_text() == "old\n"


# Conflicts
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.deep
def test_conflict_markers_that_were_committed_are_refused_with_file_and_line(house: Path) -> None:
    edit(house / "a.txt", lambda text: text.replace("one\n", "mine\n", 1))
    commit(house)
    edit(house.parent / "template" / "template" / "a.txt", lambda text: text.replace("one\n", "theirs\n", 1))
    release(house.parent / "template", "1.2.0")
    assert update(house).returncode == 1
    assert "First resolve the conflicts above; then" in (house / REPORT).read_text()
    commit(house, "As it is")
    assert (
        "Conflict markers were committed: `a.txt` line 1. Keep what is right"
        in untouched(house, lambda: update(house)).stderr
    )
    edit(
        house / "a.txt", lambda text: re.sub(r"<<<<<<< .*?=======\n(.*?)>>>>>>> [^\n]*\n", r"\1", text, flags=re.DOTALL)
    )
    commit(house, "Resolved")
    assert update(house).returncode == 0


@pytest.mark.slow
def test_a_text_of_the_owners_about_conflicts_is_none(house: Path) -> None:
    put(house, {"notes.md": "Git writes\n<<<<<<< HEAD\nours\n=======\ntheirs\n>>>>>>> branch\n"})
    commit(house)
    assert update(house).returncode == 0


@pytest.mark.slow
def test_markers_that_the_template_brings_are_a_conflict(house: Path) -> None:
    put(
        house.parent / "template" / "template",
        {"b.txt": "<<<<<<< before updating\nx\n=======\ny\n>>>>>>> after updating\n"},
    )
    release(house.parent / "template", "1.2.0")
    done = update(house)
    assert done.returncode == 1 and "- `b.txt`, lines 1 to 5" in done.stderr


@pytest.mark.slow
def test_a_file_that_the_owner_skips_stays_also_where_it_is_edited(house: Path) -> None:
    edit(house / "a.txt", lambda text: "mine\n" + text)
    commit(house)
    before = (house / "a.txt").read_bytes()
    done = update(house, "--skip", "a.txt")
    assert done.returncode == 0, done.stderr
    assert (house / "a.txt").read_bytes() == before and (house / "new").exists()
    assert "- `a.txt`: `--skip` names it. The template has changed it since." in done.stderr


# What is told
# ------------------------------------------------------------------------------------------------------------------


@pytest.mark.deep
def test_a_file_that_moved_and_that_an_answer_then_removed_is_told_as_removed(house: Path) -> None:
    template = house.parent / "template"
    put(template / "template", {"first.txt": "first\n"})
    release(template, "1.2.0")
    update(house)
    commit(house)
    (template / "template" / "first.txt").rename(template / "template" / "{% if feature %}second.txt{% endif %}")
    (template / "hooks" / "renames.yml").write_text('{"1.3.0": {"moved": {"first.txt": "second.txt"}}}')
    release(template, "1.3.0")
    done = update(house, "--data", "feature=false")
    assert done.returncode == 0, done.stderr
    assert "- removed: `first.txt`" in done.stderr and "- moved: " not in done.stderr
    assert not (house / "first.txt").exists() and not (house / "second.txt").exists()


def test_no_file_is_told_twice(house: Path) -> None:
    put(house.parent / "template" / "template", {"b.txt": "b\n", "c/d.txt": "d\n"})
    release(house.parent / "template", "1.2.0")
    report = update(house).stderr.split("## Files\n\n")[1].split("\n\n")[0].splitlines()
    assert sorted(report) == [
        "- added: `b.txt`",
        "- added: `c/d.txt`",
        "- changed: `.copier-answers.yml`",
        "- changed: `a.txt`",
        "- moved: `bin/old` to `new`",
    ]


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.deep(keep=1)
def test_a_new_file_behind_a_link_is_told_and_not_written(house: Path, inside: bool) -> None:
    template = house.parent / "template"
    put(template / "template", {"extra/x.txt": "new\n"})
    release(template, "1.2.0")
    target = (house if inside else house.parent) / "elsewhere"
    put(target, {"mine.txt": "mine\n"})
    (house / "extra").symlink_to(os.path.relpath(target, house))
    commit(house)
    done = update(house)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in target.iterdir()] == ["mine.txt"]
    name = re.search(
        r"- `extra/x.txt`: Your `extra` is a link to `.*elsewhere`, so it was not written. The template's new"
        r" version: `git cat-file blob (\w+)`",
        done.stderr,
    )
    assert name and git(house, "cat-file", "blob", name[1]) == "new\n"


@pytest.mark.deep
def test_a_lab_without_apps_and_chart_is_updated_and_reported(house: Path) -> None:
    template = house.parent / "template"
    release_text = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: demo}\nspec: [broken\n"
    kind = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\n"
    flux = f"{kind}metadata: {{name: demo}}\nspec: {{path: ./apps/demo}}\n"
    put(
        template / "template",
        {
            "apps/demo/helmrelease.yaml": "kind: HelmRelease\n",
            "charts/app/Chart.yaml": "version: 1.0.0\n",
            "clusters/x/demo.yaml": flux,
        },
    )
    release(template, "1.2.0")
    update(house)
    commit(house)
    shutil.rmtree(house / "charts")
    put(house, {"apps/demo/helmrelease.yaml": release_text})
    commit(house)
    put(template / "template", {"charts/app/Chart.yaml": "version: 1.1.0\n"})
    edit(template / "template" / "a.txt", lambda text: text + "newer\n")
    release(template, "1.3.0")
    done = update(house)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    told = "Flux cannot read this, and applies nothing of its folder until it is fixed. (`apps/demo/helmrelease.yaml`)"
    assert told in done.stderr and "- changed: `a.txt`" in done.stderr


@pytest.mark.parametrize("way", ["copier", "script"])
@pytest.mark.deep(keep=1)
def test_temporary_folders_within_the_lab_are_no_part_of_it(
    house: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    put(house, {"tmp/.keep": ""})
    if way == "copier":
        edit(house / ".gitignore", lambda text: text + "tmp/copier*\n")
    commit(house)
    env = {"TMPDIR": str(house / "tmp")}
    done = update(house, env=env) if way == "copier" else script(house, **env)
    assert done.returncode == 0, done.stderr
    assert "tmp/" not in done.stderr.replace("/tmp/", "") and [file.name for file in (house / "tmp").iterdir()] == [
        ".keep"
    ]


@pytest.mark.slow
def test_an_ignored_file_that_nobody_may_read_stops_nothing(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The tests may run as a user who reads everything: what opens the file is made to fail for it.
    put(house.parent / "deny", {"sitecustomize.py": DENY})
    done = update(house, env={"PYTHONPATH": str(house.parent / "deny")})
    assert done.returncode == 0, done.stderr
    assert (house / ".env").read_text() == "TOKEN=secret\n"


DENY = """
import io, pathlib
original = io.open
def denied(file, *rest, **options):
    if str(file).endswith("/.env"):
        raise PermissionError(13, "Permission denied", str(file))
    return original(file, *rest, **options)
io.open = denied
pathlib.io.open = denied
"""


@pytest.mark.slow
def test_the_lab_in_a_larger_repository_keeps_the_rest_as_it_is(house: Path) -> None:
    edit(house / "a.txt", lambda text: "mine\n" + text)
    house = in_a_larger_repository(house, {"a.txt": "another\n", "bin/old": "another\n", "new": "another\n"})
    large = house.parent
    outside = {name: entry for name, entry in state(large).files.items() if not name.startswith("lab/")}
    done = update(house)
    assert done.returncode == 0, done.stderr
    assert {name: entry for name, entry in state(large).files.items() if not name.startswith("lab/")} == outside
    assert (
        files(house)["a.txt"][0].startswith(b"mine\n")
        and git(large, "status", "--porcelain", "--", "a.txt", "bin", "new") == ""
    )
