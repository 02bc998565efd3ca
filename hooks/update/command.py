"""The lab's own command for an update: which Copier, which version of the template, which exit code. It needs
Python alone.

Exit codes: 0 done, 1 done with conflicts, 2 refused or stopped and nothing was changed, 3 cut off while it wrote.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ..git import HANDED_DOWN, Git
from ..words import say
from . import journal

DONE, CONFLICTS, REFUSED, CUT_OFF = range(4)
# The versions of Copier that an update takes. 9.19.0 cannot use a template on the disk with Git 2.39.
OLDEST, BELOW = (9, 19, 1), (10,)
LOADER = "copier-template-extensions"
# Copier's short options that take a value.
WITH_VALUE = "acdorsx"
# A file of the lab's is no module of Python's, whatever its name.
ELSEWHERE = "import sys; sys.path[:] = [folder for folder in sys.path if folder]\n"
RELEASE = re.compile(r"v?\d+\.\d+\.\d+")


@dataclass(frozen=True)
class Template:
    """The template that made a lab: as the lab records it, its address for Git, and the version."""

    recorded: str
    address: str
    made_from: str

    @property
    def local(self) -> bool:
        """Whether it lies on this machine."""
        return Path(self.address).is_dir()


class Stop(Exception):
    """Why there is no update; the lab is as it was."""


@dataclass(frozen=True)
class Wanted:
    """What the owner asked for.

    words: what goes on to Copier.
    everything: whether every question is asked.
    """

    words: tuple[str, ...]
    everything: bool = False

    def has(self, long: str, letters: str) -> bool:
        """Say whether an option was given, by its name or by one of its letters."""
        return any(word == long or word.startswith(f"{long}=") or _has_letter(word, letters) for word in self.words)


def _has_letter(word: str, letters: str) -> bool:
    """Say whether an argument such as -lA holds one of the letters; behind one that takes a value comes the value."""
    if not word.startswith("-") or word.startswith("--"):
        return False
    for letter in word[1:]:
        if letter in letters:
            return True
        if letter in WITH_VALUE:
            return False
    return False


def main(template: Template, arguments: list[str]) -> int:
    """Update the lab in the current folder, and return the exit code."""
    for name in HANDED_DOWN:
        os.environ.pop(name, None)
    wanted = Wanted(tuple(word for word in arguments if word != "--all"), "--all" in arguments)
    try:
        lab = Path.cwd()
        git = Git(lab)
        where = _place(git)
        if journal.is_unfinished(where):
            return _finished(lab, git, where)
        copier = _copier(template)
        _refuse_unreadable_answers(copier)
        return _run(copier, [*_options(template, wanted), *wanted.words], where)
    except Stop as reason:
        say(f"{reason}\nThe lab is as it was.")
        return REFUSED


def _place(git: Git) -> Path:
    said = git.run("rev-parse", "--absolute-git-dir", "--show-prefix")
    if said.returncode == 0:
        lines = said.stdout.decode(errors="surrogateescape").splitlines()
        return journal.place(Path(lines[0]), lines[1] if len(lines) > 1 else "")
    reason = said.stderr.decode(errors="replace")
    if "dubious ownership" in reason:
        raise Stop(
            "The lab belongs to another user, so Git does not touch it. Run this as that user; or, if you trust the"
            " lab:\n"
            f"git config --global --add safe.directory {shlex.quote(str(git.folder))}"
        )
    if "not a git repository" in reason:
        raise Stop(
            "The lab is no Git repository, so an update could not be told from your own work: git init && git add"
            " --all && git commit"
        )
    raise Stop(f"Git cannot read the lab: {reason.strip()}\nMend that, and update again.")


# What was cut off
# ---------------------------------------------------------------------------------------------------------------


def _finished(lab: Path, git: Git, where: Path) -> int:
    """Bring to its end what was cut off, and tell."""
    with journal.only_one(where) as alone:
        if not alone:
            raise Stop("Another update of this lab is running. Wait for it, or end it.")
        try:
            done = journal.finish(lab, git, where)
        except (OSError, KeyError, ValueError) as error:
            say(
                f"An update was cut off while it wrote, and cannot be brought to its end: {error}\nMend that, and"
                f" run ./lab update again."
                f" What it would write lies in {where / journal.JOURNAL}."
            )
            return CUT_OFF
    begun = time.strftime("%Y-%m-%d %H:%M", time.localtime(done.begun))
    say(f"An update was cut off on {begun}, while it wrote. It is finished now; nothing else was begun. Its report:\n")
    for path, name in sorted(done.left.items()):
        version = f"The update's version: `git cat-file blob {name[:12]}`" if name else "The update would delete it."
        say(f"`{path}` was changed since, and stays as it is. {version}")
    say(done.report)
    return CONFLICTS if done.conflicts else DONE


# Which Copier
# -------------------------------------------------------------------------------------------------------------------


def _copier(template: Template) -> list[str]:
    """Return the command of a Copier that can do it: the one on PATH, the checkout's, or one that uv brings."""
    found: list[str] = []
    for path in (shutil.which("copier"), str(Path(template.address) / ".venv" / "bin" / "copier")):
        version = _version(path) if path and os.access(path, os.X_OK) else None
        if version is not None:
            if OLDEST <= version < BELOW:
                return [str(path)]
            found.append(".".join(map(str, version)))
    if shutil.which("uvx"):
        return [
            "uvx",
            "--quiet",
            "--from",
            f"copier>={_text(OLDEST)},<{_text(BELOW)}",
            "--with",
            f"{LOADER}<1",
            "copier",
        ]
    raise Stop(
        f"Copier {_text(OLDEST)} or newer, and older than {_text(BELOW)}, is needed"
        f"{f', and this is {found[0]}' if found else ''}.\n"
        f"Install it: pipx install 'copier>={_text(OLDEST)},<{_text(BELOW)}' && pipx inject copier {LOADER};"
        " or install uv, which brings it: docs.astral.sh/uv"
    )


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _version(copier: str) -> tuple[int, ...] | None:
    """Return a Copier's version. Its Python knows it by the package, without the half second that its start takes."""
    python = _interpreter([copier])
    ask = "import importlib.metadata; print(importlib.metadata.version('copier'))"
    said = _said([*python, "-c", ELSEWHERE + ask]) if python else ""
    found = re.search(r"\d+(?:\.\d+)+", said or _said([copier, "--version"]))
    return tuple(map(int, found[0].split("."))) if found else None


def _said(command: list[str]) -> str:
    """Return what a program prints; nothing where it fails or cannot be started."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _refuse_unreadable_answers(copier: list[str]) -> None:
    """Say where the answers file is no YAML: Copier reads it before the template can speak, and ends in a traceback."""
    python = _interpreter(copier)
    if python is None:
        return
    code = (
        f"{ELSEWHERE}import yaml\n"
        "try: yaml.safe_load(open('.copier-answers.yml', encoding='utf-8'))\n"
        "except yaml.MarkedYAMLError as e: print(e.problem_mark.line + 1)"
    )
    line = _said([*python, "-c", code])
    if line:
        raise Stop(
            f"The answers that made this lab cannot be read: .copier-answers.yml is not YAML at line {line}.\n"
            "Fix that line, and commit; or restore the file: git log -p -- .copier-answers.yml"
        )


def _interpreter(copier: list[str]) -> list[str] | None:
    """Return the Python that runs a Copier, which has a reader of YAML."""
    if len(copier) > 1:
        return [*copier[:-1], "python"]
    with contextlib.suppress(OSError, UnicodeDecodeError):
        # A long path stands in the second line: '''exec' /path/python "$0" "$@"
        for line in Path(copier[0]).read_text(encoding="utf-8").splitlines()[:2]:
            for word in line.removeprefix("#!").replace('"', " ").split():
                if "python" in Path(word).name and os.access(word, os.X_OK):
                    return [word]
    return None


# Which version
# ------------------------------------------------------------------------------------------------------------------


def _options(template: Template, wanted: Wanted) -> list[str]:
    """Return what Copier is told beside what the owner says: which questions, and which version."""
    options = ["update", "--trust"]
    if not (wanted.everything or wanted.has("--defaults", "lf") or wanted.has("--skip-answered", "A")):
        options.append("--skip-answered")
    reference = _reference(template)
    if reference is not None and not wanted.has("--vcs-ref", "r"):
        options += ["--vcs-ref", reference]
    return options


def _reference(template: Template) -> str | None:
    """Return the version to go to, where it is not the newest tag: a lab may be newer than that, made from a checkout.

    Raises:
        Stop: the version that made the lab is gone, so nobody could tell the owner's edits from it.
    """
    with tempfile.TemporaryDirectory(prefix="lab-update.") as folder:
        history = _history(template, Path(folder))
        made_from = _commit(history, template.made_from)
        if made_from is None:
            raise Stop(_why_lost(template, history))
        tags = [tag for tag in _git(history, "tag", "--list").stdout.split() if RELEASE.fullmatch(tag)]
        newest = max(tags, key=lambda tag: [int(part) for part in tag.removeprefix("v").split(".")], default=None)
        if newest is None or _holds(history, newest, made_from):
            return None
        head = _commit(history, "HEAD")
        # By its name, or Copier would take in what the checkout has uncommitted, and record a commit that nobody has.
        return head if head is not None and _holds(history, head, made_from) else ":current:"


def _history(template: Template, folder: Path) -> list[str]:
    """Return what leads Git to the template's history. Of a remote one the commits alone are fetched."""
    if template.local:
        return ["-C", template.address]
    place = str(folder / "history.git")
    done = subprocess.run(
        ["git", "clone", "--quiet", "--bare", "--filter=tree:0", "--", template.address, place],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Stop(
            f"The template cannot be reached at {template.address}: {done.stderr.strip()}\n"
            "Check the network and your access to it, and update again."
        )
    # Said aloud, since Git may be told to use no bare repository that it finds by itself (safe.bareRepository).
    return [f"--git-dir={place}"]


def _git(history: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", *history, *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def _commit(history: list[str], version: str) -> str | None:
    """Return the commit of a version as Copier records it: a tag, or what `git describe` makes of a commit."""
    for name in (f"refs/tags/{version}", re.sub(r"^.*-g(?=[0-9a-f]+$)", "", version)):
        done = _git(history, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        # A clone without trees may know a name and not have the commit.
        if done.returncode == 0 and _git(history, "cat-file", "-e", done.stdout.strip()).returncode == 0:
            return done.stdout.strip()
    return None


def _holds(history: list[str], version: str, commit: str) -> bool:
    return _git(history, "merge-base", "--is-ancestor", commit, version).returncode == 0


def _why_lost(template: Template, history: list[str]) -> str:
    here = shlex.quote(template.address)
    if template.local and _git(history, "rev-parse", "--is-shallow-repository").stdout.strip() == "true":
        return (
            f"The checkout of the template, {template.address}, is a shallow clone, and does not reach back to"
            f" {template.made_from}, which made"
            f" this lab. Fetch the rest: git -C {here} fetch --unshallow --tags"
        )
    more = (
        f" If it was only not fetched: git -C {here} fetch --tags. If it is gone:"
        if template.local
        else "\nIf it is gone for good:"
    )
    return (
        f"The template at {template.address} has no version {template.made_from} any more, which made this lab, so"
        f" your edits cannot be told"
        f" from it.{more} put the version that comes nearest into _commit in .copier-answers.yml, commit that, and"
        f" update again."
    )


# The run itself
# -----------------------------------------------------------------------------------------------------------------


def _run(copier: list[str], words: list[str], where: Path) -> int:
    with tempfile.TemporaryDirectory(prefix="lab-update.") as folder:
        result = Path(folder) / "result"
        status = _child([*copier, *words], {**os.environ, **_without_hooks(), "LAB_UPDATE_RESULT": str(result)})
        conflicts = json.loads(result.read_text(encoding="utf-8"))["conflicts"] if result.exists() else None
    if conflicts is not None:
        return CONFLICTS if conflicts else DONE
    if journal.is_unfinished(where):
        say("The update was cut off while it wrote. Run ./lab update again: it brings the update to its end.")
        return CUT_OFF
    if status < 0:
        say(f"Copier was ended by signal {-status}, before anything was changed. The lab is as it was; update again.")
    return DONE if status == 0 else REFUSED


def _without_hooks() -> dict[str, str]:
    """Return what keeps the owner's hooks out of the repositories that Copier makes for a moment."""
    count = os.environ.get("GIT_CONFIG_COUNT", "0")
    number = int(count) if count.isdigit() else 0
    return {
        "GIT_CONFIG_COUNT": str(number + 1),
        f"GIT_CONFIG_KEY_{number}": "core.hooksPath",
        f"GIT_CONFIG_VALUE_{number}": os.devnull,
    }


def _child(command: list[str], environment: dict[str, str]) -> int:
    """Run a program in this terminal. Ctrl-C is its own to answer; what ends this process ends it first."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGQUIT)}
    # Nothing else runs in this process, so there is no thread that a fork could catch unawares.
    process = subprocess.Popen(command, env=environment, preexec_fn=_usual_signals)  # noqa: PLW1509
    for number in (signal.SIGTERM, signal.SIGHUP):
        before[number] = signal.signal(number, lambda received, _: process.send_signal(received))
    try:
        return process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _usual_signals() -> None:
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
