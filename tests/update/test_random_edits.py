"""Random edits of an owner, random changes of the template, random surroundings: every line that the owner wrote is
somewhere, and is named; and what Git merges by itself comes out as Git has it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from copier._main import Worker
from copier.errors import UserMessageError
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hooks.git import Git
from hooks.update import journal
from tests.support.depth import every
from tests.support.rendering import required
from tests.support.tools import run
from tests.update.support.histories import (
    REPORT,
    commit,
    git,
    make_lab,
    new_repository,
    packed,
    put,
    release,
    small_template,
    update_here,
)

LONG = every()
# What CI runs asks for every tool, and has the time.
EXAMPLES = int(os.environ.get("UPDATE_SCENARIOS") or (2000 if LONG else 40 if required() else 12))
# Tests, each of which draws its own: two at least, for two workers of pytest, and short ones, so that both have some to the end.
BATCHES = max(2, EXAMPLES // 25)

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
NEW = [
    "mine.txt",
    "folder/mine.yaml",
    "clusters/garage/mine.yaml",
    "new.txt",
    "secret.key",
    ".hidden",
    "folder/deep/two words.md",
]
# Where files go; some of it may be there already.
TARGETS = ["moved.txt", "other/moved.yaml", "new.txt", "folder/mine.yaml"]
words = st.sampled_from(["x", "line 3", "  - name: same", "a: 1", "", "first", "=======", "ü", "row 2", "#", "\tend"])
lines = st.lists(words, min_size=1, max_size=4)
places = st.integers(0, 12)
contents = st.one_of(
    lines.map(lambda found: "\n".join(found).encode() + b"\n"),
    st.sampled_from([b"", b"\0\1", "é".encode("latin-1"), b"a"]),
)
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
# What an owner's Git may be told, none of which may make a difference.
SETTINGS = [
    {"core.fileMode": "false"},
    {"core.autocrlf": "input"},
    {"submodule.recurse": "true"},
    {"merge.conflictStyle": "diff3"},
    {"diff.noprefix": "true"},
    {"apply.whitespace": "fix"},
    {"status.showUntrackedFiles": "all"},
    {"diff.renames": "copies"},
    {"core.quotePath": "true"},
    {"color.ui": "always"},
    {"core.hooksPath": "hooks that do not exist"},
    {"diff.external": "false"},
    {"core.commentChar": ";"},
    {"status.relativePaths": "false"},
]
surroundings = st.fixed_dictionaries(
    {
        "settings": st.sampled_from([{}, {}, *SETTINGS]),
        "larger": st.booleans(),
        "format": st.sampled_from(["sha1", "sha1", "sha256"]),
        # What the owner saves while the wizard waits, and at which step of the writing the update is cut off.
        "saved": st.one_of(st.just([]), st.lists(in_a_file, max_size=2)),
        "staged": st.booleans(),
        "killed": st.one_of(st.none(), st.none(), st.integers(1, 40)),
    }
)
USUAL = {"settings": {}, "larger": False, "format": "sha1", "saved": [], "staged": False, "killed": None}
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
    make_lab(packed(folder / "template"), folder / "lab")
    packed(folder / "lab")
    return folder


def snapshot_of(lab: Path) -> dict[str, bytes]:
    """Return what the owner has: each file's bytes, or where a link leads."""
    return {
        path.relative_to(lab).as_posix(): os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in lab.rglob("*")
        if (path.is_symlink() or path.is_file()) and path.relative_to(lab).parts[0] not in {".git", REPORT}
    }


class Killed(BaseException):
    """The process ends here: nothing of the update's own may catch it."""


@contextmanager
def cut_off(number: int | None) -> Iterator[None]:
    """End the update at the n-th thing that its writing does to the file system."""
    count = 0
    with pytest.MonkeyPatch.context() as patch:
        for name in ("link", "replace", "rename", "symlink", "mkdir", "unlink", "rmdir"):

            def wrapped(path: Any, *rest: Any, original: Any = getattr(os, name), **options: Any) -> Any:  # noqa: B008 - each its own
                nonlocal count
                if count or str(path).endswith("being-made"):
                    count += 1
                if number is not None and count >= number:
                    count = -(10**6)
                    raise Killed
                return original(path, *rest, **options)

            patch.setattr(os, name, wrapped)
        yield


@contextmanager
def at_the_end_of_the_wizard(lab: Path, act: Callable[[], None]) -> Iterator[None]:
    """Do something while the wizard waits for its last answer."""
    ask = Worker._ask

    def asked(self: Worker) -> None:
        ask(self)
        if Path(self.dst_path).absolute() == lab:
            act()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "_ask", asked)
        yield


def prepared(start: Path, work: Path, around: dict[str, Any]) -> Path:
    """Return a lab in the surroundings of this scenario, with its template beside it."""
    for folder in ("lab", "template"):
        shutil.copytree(start / folder, work / folder, symlinks=True)
    lab = top = work / "lab"
    answers = lab / ".copier-answers.yml"
    answers.write_text(answers.read_text().replace(str(start / "template"), str(work / "template")))
    if around["larger"]:
        top = work / "large"
        put(top, {"outside.txt": "outside\n", "plain.txt": "another\n"})
        lab = lab.rename(top / "the lab")
    if around["larger"] or around["format"] != "sha1":
        shutil.rmtree(lab / ".git")
        git(top, "init", "--quiet", f"--object-format={around['format']}")
    for name, value in around["settings"].items():
        git(top, "config", name, value)
    return lab


def check_nothing_is_lost(
    start: Path, owner: list[tuple[Any, ...]], template: list[tuple[Any, ...]], around: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory(prefix="scenario.") as name:
        # The lab remembers where its template was; a scenario has its own.
        work = Path(name).resolve()
        lab = prepared(start, work, around)
        pristine = snapshot_of(lab)
        for action in owner:
            act(lab, action, {})
        commit(lab, "The owner's edits")
        committed = snapshot_of(lab)
        table: dict[str, Any] = {}
        for action in template:
            act(work / "template" / "template", action, table)
        # JSON is YAML.
        (work / "template" / "hooks" / "renames.yml").write_text(json.dumps({"1.1.0": table}))
        release(work / "template", "1.1.0")
        mine = dict(committed)
        conflict = updated(lab, around, mine)
        now = snapshot_of(lab)
        if around["larger"]:
            assert {path.name: path.read_text() for path in lab.parent.glob("*.txt")} == {
                "outside.txt": "outside\n",
                "plain.txt": "another\n",
            }
        if conflict is not None and ("in your lab, where the template has" in conflict or conflict == "killed"):
            assert now == mine, "refused, or ended before it wrote: the lab is as it was"
            return
        report = (lab / REPORT).read_text()
        check_conflicts(lab, report, now, {path for path in mine if path.endswith(".env")}, conflict)
        check_lines(mine, pristine, now, report, table)
        # What the owner deleted stays away, unless the template wrote a file there that he never had.
        for path in set(pristine) - set(mine):
            assert path not in now or path in table.get("moved", {}).values(), f"{path} came back"
        modes = {action[1] for action in [*owner, *template, *around["saved"]] if action[0] in ("mode", "link")}
        check_against_git(work, pristine, mine, now, table, report, modes)
        check_undo(lab, report, committed, mine)


def updated(lab: Path, around: dict[str, Any], mine: dict[str, bytes]) -> str | None:
    """Update, and return what stopped it or that conflicts remain.

    *mine* becomes what stood in the lab at the end of the wizard, after the owner saved something.
    """

    def save() -> None:
        for action in around["saved"]:
            act(lab, action, {})
        if around["staged"]:
            git(lab, "add", "--all", ".")
        mine.clear()
        mine.update(snapshot_of(lab))

    try:
        with at_the_end_of_the_wizard(lab, save), cut_off(around["killed"]):
            update_here(lab)
    except UserMessageError as error:
        return error.message
    except Killed:
        seen = Git(lab)
        where = journal.place(
            Path(git(lab, "rev-parse", "--absolute-git-dir").strip()),
            git(lab, "rev-parse", "--show-prefix").strip("\n"),
        )
        if not journal.is_unfinished(where):
            done = (lab / REPORT).exists()
            return (
                "killed"
                if not done
                else " and ".join(
                    re.findall(
                        r"`(.*)`,"
                        r" lines",
                        (lab / REPORT).read_text(),
                    )
                )
                or None
            )
        done_then = journal.finish(lab, seen, where)
        assert done_then.left == {}
        return " and ".join(done_then.conflicts) or None
    return None


def check_undo(lab: Path, report: str, committed: dict[str, bytes], mine: dict[str, bytes]) -> None:
    """The report's command brings all back but what the owner saved meanwhile: those files stay, or are as they were saved."""
    undo = report.split("To undo all of it: `")[1].split("`.\nThe lab before", maxsplit=1)[0]
    done = run("sh", "-c", undo, cwd=lab)
    assert done.returncode == 0, f"{undo}\n{done.stderr}"
    left, before = plain(snapshot_of(lab)), plain(mine)
    saved = {path for path in {*committed, *mine} if committed.get(path) != mine.get(path)}
    # A mode, which is no part of what is compared here, and which a link leads to another file.
    saved |= {
        path
        for path in mine
        if f"- `{path}`: it is as you saved it" in report or f"- `{path}`: what you saved" in report
    }
    assert {*mine} <= {*left}, f"gone: {set(mine) - set(left)}\n{undo}"
    for path in left.keys() - saved:
        # What Git ignores is not Git's to undo.
        assert path.endswith(".env") or left[path] == before.get(path), f"{path} is not as it was\n{undo}"


def plain(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return files without what a setting of Git's may do to the ends of their lines."""
    return {path: data.replace(b"\r\n", b"\n") for path, data in files.items()}


def check_conflicts(lab: Path, report: str, now: dict[str, bytes], ignored: set[str], conflict: str | None) -> None:
    """Markers, Git's index, the report and the exit code name the same conflicts."""
    marked = {
        path for path, data in now.items() if b"<<<<<<< before updating" in data.splitlines() and path not in ignored
    }
    unmerged = {
        os.fsdecode(name)
        for name in subprocess.run(
            ["git", "diff", "--name-only", "--no-ext-diff", "--diff-filter=U", "--relative", "-z"],
            cwd=lab,
            capture_output=True,
            check=True,
        ).stdout.split(b"\0")
        if name
    }
    assert marked == unmerged
    assert (conflict is not None) == bool(unmerged), "the exit code says whether conflicts remain"
    assert all(f"`{path}`, lines" in report for path in unmerged)
    assert not [path for path in now if path.endswith((".rej", ".lab-update"))]


def check_lines(
    mine: dict[str, bytes], pristine: dict[str, bytes], now: dict[str, bytes], report: str, table: dict[str, Any]
) -> None:
    """Every line that the owner wrote is somewhere, or the report has a command that shows the file."""
    everything = b"\n".join(now.values())
    for path, data in mine.items():
        if path == ".copier-answers.yml" or data == pristine.get(path):
            continue
        named = re.search(rf"`{re.escape(path)}`.*`git (show|cat-file blob) ", report)
        there = now.get(path, now.get(table.get("moved", {}).get(path, path)))
        # A file whole where nothing was to be merged, otherwise line by line.
        if there == data or named:
            continue
        if path.endswith(".env") or b"\0" in data:
            raise AssertionError(f"{path} was {data!r} and is {there!r}")
        have = set((there if there is not None else everything).replace(b"\r", b"").split(b"\n"))
        lost = (
            set(data.replace(b"\r", b"").split(b"\n"))
            - set(pristine.get(path, b"").replace(b"\r", b"").split(b"\n"))
            - have
        )
        assert not lost, f"{path}: {lost!r} is gone, and the report does not say where it is:\n{report}"


def check_against_git(
    work: Path,
    pristine: dict[str, bytes],
    mine: dict[str, bytes],
    now: dict[str, bytes],
    table: dict[str, Any],
    report: str,
    modes: set[str],
) -> None:
    """What Git merges by itself without a conflict is what the lab has: read-tree and merge-one-file know no
    renames.
    """
    judge = new_repository(work / "judge")
    trees = []
    for files in (pristine, mine, snapshot_of(work / "template" / "template")):
        for path in judge.iterdir():
            if path.name != ".git":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        put(judge, {path: data for path, data in plain(files).items() if not path.endswith(NOT_COMPARED)})
        git(judge, "add", "--all", "--force")
        trees.append(git(judge, "write-tree").strip())
    git(judge, "read-tree", trees[1])
    git(judge, "checkout-index", "--all", "--force")
    git(judge, "read-tree", "-i", "-m", "--aggressive", *trees)
    run("git", "merge-index", "-o", "-q", "git-merge-one-file", "-a", cwd=judge)
    listed = subprocess.run(["git", "ls-files", "--stage", "-z"], cwd=judge, capture_output=True, check=True).stdout
    entries = [
        (os.fsdecode(line.split(b"\t")[1]), *line.decode(errors="surrogateescape").split()[1:3])
        for line in listed.split(b"\0")
        if line
    ]
    undecided = {path for path, _, stage in entries if stage != "0"}
    merged = {path: name for path, name, stage in entries if stage == "0"}
    moved = table.get("moved", {})
    elsewhere = {*moved, *moved.values(), *table.get("split", {}), "part-1.txt", "part-2.txt"}
    for path in {*merged, *pristine, *mine} - undecided - elsewhere:
        if path.endswith(NOT_COMPARED):
            continue
        expected = Git(judge)("cat-file", "blob", merged[path]) if path in merged else None
        if expected is None and path in modes:
            # The judge sees no modes: a file that the owner made executable is one that he edited.
            continue
        there = now.get(path)
        same = (None if there is None else there.replace(b"\r\n", b"\n")) == expected
        assert same, f"{path}: Git has {expected!r}, the lab {there!r}\n{report}"


# Rendered by Copier, or ignored by Git.
NOT_COMPARED = (".env", ".jinja", "answers.yml")


# Scenarios that once went wrong.
KNOWN: dict[str, tuple[list[tuple[Any, ...]], list[tuple[Any, ...]], dict[str, Any]]] = {
    "git's markers end as the file's lines do": (
        [("write", "windows.txt", b"")],
        [("insert", "windows.txt", 2, ["#", "ü"])],
        USUAL,
    ),
    "a file that has CRLF in the index stays so, whatever core.autocrlf says later": (
        [("delete", "plain.txt")],
        [("insert", "windows.txt", 10, ["line 3"])],
        {**USUAL, "settings": {"core.autocrlf": "input"}},
    ),
    "what was saved while its file is split comes back with the undo": (
        [("delete", "latin.txt")],
        [("split", "clusters/garage/sync.yaml", 6)],
        {**USUAL, "saved": [("mode", "clusters/garage/sync.yaml"), ("insert", "clusters/garage/sync.yaml", 1, ["x"])]},
    ),
    "what was saved and staged while its file moves comes back with the undo": (
        [],
        [("carried", "plain.txt", "moved.txt"), ("insert", "plain.txt", 1, ["ü"])],
        {
            **USUAL,
            "larger": True,
            "staged": True,
            "saved": [("insert", "plain.txt", 6, ["x"]), ("add", "mine.txt", b"a")],
        },
    ),
    "what was saved, and is in conflict with the template, comes back with the undo": (
        [("write", "clusters/garage/sync.yaml", b"")],
        [("drop", "latin.txt", 0, 3), ("split", "windows.txt", 0)],
        {**USUAL, "larger": True, "saved": [("insert", "latin.txt", 10, ["#", "a: 1"])]},
    ),
    "a file that moved and is in conflict comes back with the undo": (
        [("write", "empty.txt", b"\xe9")],
        [("replace", "empty.txt", 4, ["a: 1", ""]), ("carried", "empty.txt", "moved.txt")],
        {**USUAL, "larger": True},
    ),
    "what was saved at a path that the template takes comes back with the undo": (
        [],
        [("rename", "plain.txt", "new.txt")],
        {**USUAL, "staged": True, "saved": [("add", "new.txt", b"mine")]},
    ),
    "what looks like a marker is carried into the parts of a split file": (
        [("write", "ünï cödé.txt", b"=======\n")],
        [("split", "ünï cödé.txt", 0)],
        USUAL,
    ),
}


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.deep
def test_what_once_went_wrong_comes_out_right(start: Path, name: str) -> None:
    check_nothing_is_lost(start, *KNOWN[name])


@pytest.mark.parametrize("batch", range(BATCHES))
@settings(
    max_examples=max(1, EXAMPLES // BATCHES),
    deadline=None,
    derandomize=False,
    database=None,
    # Shrinking one failure takes minutes.
    phases=(Phase.explicit, Phase.generate, *([Phase.shrink] if LONG else [])),
    suppress_health_check=list(HealthCheck),
)
@given(owner=OWNER, template=TEMPLATE, around=surroundings)
@pytest.mark.deep(keep=1)
@pytest.mark.slow(each_commit=True)
def test_every_line_that_the_owner_wrote_is_there_or_named(
    start: Path, batch: int, owner: list[Any], template: list[Any], around: dict[str, Any]
) -> None:
    check_nothing_is_lost(start, owner, template, around)
