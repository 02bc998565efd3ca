"""Random edits of an owner times random changes of the template: every line that the owner wrote is somewhere, and is named."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from copier.errors import UserMessageError
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from update_support import REPORT, commit, git, make_lab, put, release, small_template, update_here

LONG = os.environ.get("LONG") == "1"
EXAMPLES = int(os.environ.get("UPDATE_SCENARIOS", 1000 if LONG else 24))
# Two halves, for two workers of pytest.
HALVES = (1, 2)

TEXTS = {
    "plain.txt": "".join(f"line {number}\n" for number in range(12)),
    "folder/repeated.yaml": "list:\n" + "  - name: same\n    value: 1\n" * 4,
    "folder/deep/one.txt": "alone\n",
    "no-newline.txt": "first\nlast",
    "empty.txt": "",
    "windows.txt": "".join(f"row {number}\r\n" for number in range(5)),
    "ünï cödé.txt": "ä\nö\nü\n",
    "clusters/garage/sync.yaml": "a: 1\nb: 2\nc: 3\n",
}
BINARIES = {"picture.png": b"\x89PNG\0\x01\x02", "latin.txt": "Grüße\nan\nalle\n".encode("latin-1")}
PATHS = [*TEXTS, *BINARIES]
NEW = ["mine.txt", "folder/mine.yaml", "clusters/garage/mine.yaml", "new.txt", "secret.key", ".hidden", "folder/deep/two words.md"]
# Where files go; some of it may be there already.
TARGETS = ["moved.txt", "other/moved.yaml", "new.txt", "folder/mine.yaml"]
words = st.sampled_from(["x", "line 3", "  - name: same", "a: 1", "", "first", "=======", "ü", "row 2", "#", "\tend"])
lines = st.lists(words, min_size=1, max_size=4)
places = st.integers(0, 12)
contents = st.one_of(lines.map(lambda found: "\n".join(found).encode() + b"\n"), st.sampled_from([b"", b"\0\1", "é".encode("latin-1"), b"a"]))
in_a_file = st.one_of(
    st.tuples(st.just("insert"), st.sampled_from(PATHS), places, lines),
    st.tuples(st.just("replace"), st.sampled_from(PATHS), places, lines),
    st.tuples(st.just("drop"), st.sampled_from(PATHS), places, st.integers(1, 5)),
    st.tuples(st.just("write"), st.sampled_from(PATHS), contents),
    st.tuples(st.just("mode"), st.sampled_from(PATHS)),
    st.tuples(st.just("delete"), st.sampled_from(PATHS)),
    st.tuples(st.just("rename"), st.sampled_from(PATHS), st.sampled_from(TARGETS)),
    st.tuples(st.just("add"), st.sampled_from(NEW), contents),
)
owner_only = st.one_of(
    st.tuples(st.just("ignored"), st.sampled_from([".env", "folder/.env"]), contents),
    st.tuples(st.just("link"), st.sampled_from(PATHS)),
)
template_only = st.one_of(
    st.tuples(st.just("carried"), st.sampled_from(PATHS), st.sampled_from(TARGETS)),
    st.tuples(st.just("split"), st.sampled_from(list(TEXTS)), places),
    st.tuples(st.just("add"), st.sampled_from([".env", "folder/.env"]), contents),
)
OWNER = st.lists(st.one_of(in_a_file, in_a_file, in_a_file, owner_only), min_size=1, max_size=6)
TEMPLATE = st.lists(st.one_of(in_a_file, in_a_file, in_a_file, template_only), min_size=1, max_size=6)


def act(folder: Path, action: tuple[Any, ...], table: dict[str, Any]) -> None:
    """Do one thing to the files of a folder: the lab's, or the template's."""
    kind, path = action[0], folder / action[1]
    if kind in {"insert", "replace", "drop"} and path.is_file():
        have = path.read_bytes().split(b"\n")
        place = min(action[2], len(have))
        new = [word.encode() for word in action[3]] if kind != "drop" else []
        removed = action[3] if kind == "drop" else len(new) if kind == "replace" else 0
        have[place : place + removed] = new
        path.write_bytes(b"\n".join(have))
    elif kind == "write" and path.is_file():
        path.write_bytes(action[2])
    elif kind in {"add", "ignored"} and not path.is_dir() and not path.exists():
        put(folder, {action[1]: action[2]})
    elif kind == "mode" and path.is_file():
        path.chmod(path.stat().st_mode ^ 0o111)
    elif kind == "delete":
        path.unlink(missing_ok=True)
    elif kind == "link" and path.is_file():
        path.unlink()
        path.symlink_to("plain.txt" if action[1] != "plain.txt" else "empty.txt")
    elif kind in {"rename", "carried"} and path.is_file() and not (folder / action[2]).exists():
        (folder / action[2]).parent.mkdir(parents=True, exist_ok=True)
        path.rename(folder / action[2])
        if kind == "carried":
            table.setdefault("moved", {})[action[1]] = action[2]
    elif kind == "split" and path.is_file() and not (folder / "part-1.txt").exists():
        have = path.read_bytes().split(b"\n")
        put(folder, {"part-1.txt": b"\n".join(have[: action[2]]), "part-2.txt": b"\n".join(have[action[2] :])})
        path.unlink()
        table.setdefault("split", {})[action[1]] = ["part-1.txt", "part-2.txt"]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the template and a lab of it, to be copied for each scenario."""
    folder = tmp_path_factory.mktemp("random")
    small_template(folder / "template", {**TEXTS, **BINARIES})
    make_lab(folder / "template", folder / "lab")
    return folder


def snapshot_of(lab: Path) -> dict[str, bytes]:
    """Return what the owner has: each file's bytes, or where a link leads."""
    return {
        path.relative_to(lab).as_posix(): os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
        for path in lab.rglob("*")
        if (path.is_symlink() or path.is_file()) and path.relative_to(lab).parts[0] not in {".git", REPORT}
    }


def check_nothing_is_lost(start: Path, owner: list[tuple[Any, ...]], template: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory(prefix="scenario.") as name:
        work = Path(name)
        # The lab remembers where its template was; a scenario has its own.
        for folder in ("lab", "template"):
            shutil.copytree(start / folder, work / folder, symlinks=True)
        lab = work / "lab"
        answers = lab / ".copier-answers.yml"
        answers.write_text(answers.read_text().replace(str(start / "template"), str(work / "template")))
        pristine = snapshot_of(lab)
        for action in owner:
            act(lab, action, {})
        before = commit(lab, "The owner's edits")
        mine = snapshot_of(lab)
        ignored = {path for path in mine if path.endswith(".env")}
        table: dict[str, Any] = {}
        for action in template:
            act(work / "template" / "template", action, table)
        # JSON is YAML.
        (work / "template" / "hooks" / "renames.yml").write_text(json.dumps({"1.1.0": table}))
        release(work / "template", "1.1.0")
        conflict = None
        try:
            update_here(lab)
        except UserMessageError as error:
            conflict = error.message
        if conflict is not None and "is a folder in your lab" in conflict:
            assert git(lab, "status", "--porcelain") == ""
            return
        report = (lab / REPORT).read_text()
        now = snapshot_of(lab)
        marked = {path for path, data in now.items() if b"<<<<<<< before updating" in data.splitlines() and path not in ignored}
        unmerged = set(git(lab, "-c", "core.quotePath=false", "diff", "--name-only", "--diff-filter=U", "-z").split("\0")) - {""}
        assert marked == unmerged
        assert (conflict is not None) == bool(unmerged), "the exit code says whether conflicts remain"
        assert all(f"`{path}`, lines" in report for path in unmerged)
        assert not [path for path in now if path.endswith(".rej")]
        everything = b"\n".join(now.values())
        for path, data in mine.items():
            if path == ".copier-answers.yml" or data == pristine.get(path):
                continue
            # In the quotes that a shell needs where a name holds a blank.
            named = f"`{path}`" in report and f"git show {shlex.quote(f'{before[:12]}:{path}')}`" in report
            target = table.get("moved", {}).get(path, path)
            # A file whole where nothing was to be merged, otherwise line by line.
            there = now.get(path, now.get(target))
            if there == data or named:
                continue
            if path in ignored or b"\0" in data:
                raise AssertionError(f"{path} was {data!r} and is {there!r}")
            have = set((there if there is not None else everything).replace(b"\r", b"").split(b"\n"))
            lost = set(data.replace(b"\r", b"").split(b"\n")) - set(pristine.get(path, b"").replace(b"\r", b"").split(b"\n")) - have
            assert not lost, f"{path}: {lost!r} is gone, and the report does not say where it is:\n{report}"
        # What the owner deleted stays away, unless the template wrote a file there that he never had.
        for path in set(pristine) - set(mine):
            assert path not in now or path in table.get("moved", {}).values(), f"{path} came back"
        git(lab, "reset", "--quiet", "--hard")
        git(lab, "clean", "--quiet", "-d", "--force")
        # What Git ignores is not Git's to undo.
        left = {path: data for path, data in snapshot_of(lab).items() if path in mine or not path.endswith(".env")}
        assert left == mine


@pytest.mark.parametrize("half", HALVES)
@settings(
    max_examples=max(1, EXAMPLES // 2), deadline=None, derandomize=False, database=None,
    # Shrinking one failure takes minutes.
    phases=(Phase.explicit, Phase.generate, *([Phase.shrink] if LONG else [])), suppress_health_check=list(HealthCheck),
)
@given(owner=OWNER, template=TEMPLATE)
# Git's markers end as the file's lines do.
@example(owner=[("write", "windows.txt", b"")], template=[("insert", "windows.txt", 2, ["#", "ü"])])
@example(owner=[("write", "ünï cödé.txt", b"=======\n")], template=[("split", "ünï cödé.txt", 0)])
def test_every_line_that_the_owner_wrote_is_there_or_named(start: Path, half: int, owner: list[Any], template: list[Any]) -> None:
    check_nothing_is_lost(start, owner, template)
