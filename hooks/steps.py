"""The update's steps as Copier comes to them: copier.yml asks for each in a `when`; they run in its process."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import copier
import yaml

from . import answer_changes, renames
from .files import Entry, tree
from .git import Git
from .update import copier_contract, effects, journal, moves, pins, plan, recorded, refusals, report, security
from .update.findings import Findings
from .update.refusals import Refused
from .update.state import Lab
from .words import say

HERE = Path(__file__).resolve().parent
# Where the lab's own command wants to be told how the update ended.
RESULT = "LAB_UPDATE_RESULT"
Answers = dict[str, Any]


@dataclass(frozen=True)
class Judge:
    """What the template's rules say of answers.

    problems: what is wrong with recorded answers, a line each; and the names of those that the wizard has to ask
    for again.
    jump: why GitLab cannot go from the first answers' version to the second ones', if it cannot.
    """

    problems: Callable[[Answers], tuple[list[str], list[str]]]
    jump: Callable[[Answers, Answers], list[str]]


@dataclass
class Begun:
    """An update that has begun, from Copier's before-migration to its after-migration."""

    lab: Path
    git: Git
    where: Path
    lock: contextlib.ExitStack
    versions: tuple[str, str]
    wishes: plan.Wishes
    old: dict[str, Entry]
    answers_file: bytes
    answers_then: Answers
    answers_now: Answers
    migrated: list[str]
    by_hand: list[str]
    asked: list[str]
    judge: Judge
    new: dict[str, Entry] | None = None
    finished: bool = field(default=False)

    def rendered(self, folder: Path) -> None:
        """Take note of today's template, where Copier has rendered it into a folder of its own."""
        if folder.absolute() != self.lab:
            self.new = tree(folder)

    def close(self) -> None:
        """Let go of the lab, and say that it is as it was, unless it was updated."""
        self.lock.close()
        if not self.finished:
            self.finished = True
            say("The update stopped, and the lab is as it was.")


def before(notes: Any, conf: Mapping[str, Any], version_from: str, version_to: str, judge: Judge) -> None:
    """Begin an update: look at everything, and touch nothing of the lab.

    Args:
        notes: what the templates of one process tell one another; `old_copy` is the folder of the last one rendered.
        conf: Copier's own settings, `_copier_conf`.
        version_from: the lab's version, as PEP 440 writes it.
        version_to: the template's.
        judge: the template's rules.

    Raises:
        Refused: why there is no update.
    """
    if (earlier := getattr(notes, "update", None)) is not None:
        # One that ended within this process, before it wrote.
        earlier.lock.close()
    notes.update = None
    if conf["skip_tasks"]:
        raise Refused("`--skip-tasks` would skip what keeps your edits; update without it. Nothing was changed.")
    lab, old_copy = Path(conf["dst_path"]).absolute(), getattr(notes, "old_copy", None)
    if old_copy is None or not old_copy.is_dir():
        raise Refused(
            f"The template's version {version_from} cannot say what it rendered, so your edits could not be told"
            f" from it. Make a lab beside this one from the same answers,"
            f" `copier copy --trust --data-file {conf['answers_file']} <template> ../{lab.name}-new`,"
            " and carry your edits over. Nothing was changed."
        )
    worker, frame = copier_contract.apply_update()
    git = Git(lab)
    found = refusals.looked_at(lab, git)
    lock = contextlib.ExitStack()
    where = journal.place(found.git_dir, found.prefix)
    _hold(lock, where)
    try:
        begun = _begun(found, lock, conf, old_copy, (version_from, version_to), judge)
        changed = (
            {name: value for name, value in begun.answers_now.items() if begun.answers_then.get(name, lab) != value}
            if begun.migrated
            else {}
        )
        copier_contract.answer(
            worker, changed, [*begun.asked, *(changed if not conf["skip_answered"] and not conf["defaults"] else [])]
        )
        begun.wishes = plan.Wishes(
            str(conf["answers_file"]), worker.conflict == "rej", worker.context_lines, copier_contract.skips(worker)
        )
        copier_contract.keep_off(worker, frame, git)
    except BaseException:
        lock.close()
        raise
    if _command_line():
        atexit.register(begun.close)
        _end_in_order()
    notes.update = begun


def _hold(lock: contextlib.ExitStack, where: Path) -> None:
    if not lock.enter_context(journal.only_one(where)):
        raise Refused("Another update of this lab is running. Wait for it, or end it; nothing was changed.")
    if journal.is_unfinished(where):
        raise Refused(
            "An earlier update was cut off while it wrote. Run `./lab update`: it brings that one to its end first."
            " Nothing was changed."
        )


def _begun(
    found: Lab,
    lock: contextlib.ExitStack,
    conf: Mapping[str, Any],
    old_copy: Path,
    versions: tuple[str, str],
    judge: Judge,
) -> Begun:
    """Read what the update starts from."""
    lab, git, where = found.folder, found.git, journal.place(found.git_dir, found.prefix)
    file = lab / str(conf["answers_file"])
    try:
        text = file.read_bytes()
        now = recorded.parsed(text.decode("utf-8"))
        edited = recorded.edited_since(git, str(conf["answers_file"]), text.decode("utf-8"))
    except (OSError, ValueError) as error:
        raise Refused(f"The answers file, {file.name}, {error}. Nothing was changed.") from error
    then, by_hand = edited if edited is not None else (now, [])
    old = tree(old_copy) if edited is None else _rendered_again(then, conf)
    refusals.refuse_before(found, old)
    changes = renames.newer(answer_changes.CHANGES, versions[0])
    answers, migrated = answer_changes.migrated(now, changes)
    problems, asked = judge.problems(answers)
    problems = problems or judge.jump({**then, **_gitlab_of(lab)}, {**answers, **conf["data"]})
    if problems:
        raise Refused(
            "The lab was not updated, and nothing was changed:\n" + "\n".join(f"  {line}" for line in problems)
        )
    wishes = plan.Wishes(str(conf["answers_file"]))
    return Begun(lab, git, where, lock, versions, wishes, old, text, then, answers, migrated, by_hand, asked, judge)


def _gitlab_of(lab: Path) -> Answers:
    """Return the version of GitLab that a lab has committed for its cluster, as the answer it would be; nothing if it
    names none. `./lab upgrade` goes there from stop to stop, and writes the answer by hand."""
    try:
        text = (lab / "apps" / "gitlab" / "values.yaml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    found = re.search(r"^ *tag: *[\"']?(\d+\.\d+\.\d+)-ce\.\d+", text, re.MULTILINE)
    return {"gitlab_version": found[1]} if found else {}


def _rendered_again(answers: Answers, conf: Mapping[str, Any]) -> dict[str, Entry]:
    """Render the old template with the answers of the last update; Copier took those of the edited file."""
    with tempfile.TemporaryDirectory(prefix="copier.answers.") as folder:
        copier.run_copy(
            str(answers["_src_path"]),
            folder,
            data=answers,
            answers_file=str(conf["answers_file"]),
            vcs_ref=str(answers["_commit"]),
            exclude=list(conf["exclude"]),
            defaults=True,
            overwrite=True,
            quiet=True,
            unsafe=True,
            skip_tasks=True,
        )
        return tree(Path(folder))


def after(notes: Any, quiet: bool) -> None:
    """End an update: merge, write, and report.

    Raises:
        UserMessageError: there is no update, or conflicts remain; Copier exits with 1.
    """
    begun: Begun = notes.update
    notes.update = None
    try:
        found = _merged_and_written(begun)
        begun.finished = True
    finally:
        if not _command_line():
            begun.lock.close()
    if os.environ.get(RESULT):
        Path(os.environ[RESULT]).write_text(json.dumps({"conflicts": sorted(found.conflicts)}), encoding="utf-8")
    if not quiet:
        # The terminal may be closed by now; the lab is updated, and the file has the report.
        with contextlib.suppress(OSError):
            say(f"\n{(begun.lab / journal.REPORT).read_text(encoding='utf-8')}")
    if found.conflicts:
        files = ", ".join(sorted(found.conflicts))
        raise Refused(f"The lab is updated, but conflicts remain in {files}. {journal.REPORT} says where.")


def _merged_and_written(begun: Begun) -> Findings:
    if begun.new is None:
        raise Refused(
            "Copier did not render today's template, so nothing is known of it. Update with the Copier that this was"
            f" tried with: {copier_contract.tried()}. Nothing was changed."
        )
    # A person may have thought for an hour: nothing that was seen before counts.
    lab = refusals.looked_at(begun.lab, begun.git)
    file = begun.wishes.answers_file
    here = lab.here(file)
    if here is None or here.data != begun.answers_file:
        raise Refused(
            f"`{file}` was changed while the update ran. Commit that, or take it back, and update again; nothing was"
            f" changed."
        )
    final = recorded.parsed(begun.new[file].data.decode("utf-8")) if file in begun.new else {}
    if jump := begun.judge.jump({**begun.answers_then, **_gitlab_of(begun.lab)}, final):
        raise Refused("The lab was not updated, and nothing was changed:\n" + "\n".join(f"  {line}" for line in jump))
    then = answer_changes.migrated(begun.answers_then, renames.newer(answer_changes.CHANGES, begun.versions[0]))[0]
    steps = [*renames.steps(HERE / "renames.yml", begun.versions[0], then), renames.of_answers(then, final)]
    findings = Findings(
        *begun.versions,
        lab.commit,
        answers_before=begun.answers_then,
        answers_after=final,
        migrated=begun.migrated,
        by_hand=begun.by_hand,
    )
    made = plan.made(lab, moves.carried_over(lab, begun.old, steps), begun.new, begun.wishes, findings)
    said = report.text(findings, _parts(lab, made, findings))
    try:
        journal.write(begun.lab, begun.git, begun.where, lab.prefix, made, said, sorted(findings.conflicts))
    except journal.CutOff as error:
        # Then "as it was" would be wrong.
        begun.finished = True
        raise Refused(str(error)) from error
    except journal.Stopped as error:
        raise Refused(str(error)) from error
    return findings


def _parts(lab: Lab, made: journal.Plan, findings: Findings) -> list[report.Part]:
    """Return the parts of the report that look at the whole lab, before and after."""
    trees: list[tuple[dict[str, bytes], dict[str, bytes]]] = []

    def cluster() -> list[str]:
        trees.append(effects.trees(lab, made))
        if trees[0][0] == trees[0][1]:
            return []
        table = yaml.safe_load((HERE / "effects.yml").read_text(encoding="utf-8"))
        return effects.told(*trees[0], (findings.answers_before, findings.answers_after), table)

    def limits() -> list[str]:
        return security.told(findings.answers_before, findings.answers_after, trees[0][1]) if trees else []

    def images() -> list[str]:
        return pins.told(*trees[0], str(findings.answers_after.get("cluster_name"))) if trees else []

    return [
        ("In the cluster", cluster),
        ("Images by digest", images),
        ("Limits of the applications", limits),
        ("The chart", lambda: effects.chart(*trees[0]) if trees else []),
    ]


def template_folder(notes: Any, conf: Mapping[str, Any]) -> str:
    """Return the folder of the template that is rendered: for the lab itself, in an update, an empty one."""
    begun = getattr(notes, "update", None)
    if begun is None or Path(conf["dst_path"]).absolute() != begun.lab:
        return "template"
    folder = Path(conf["src_path"]) / "hooks" / "nothing"
    folder.mkdir(exist_ok=True)
    return "hooks/nothing"


def _command_line() -> bool:
    """Say whether this process is Copier's command, and so ends with the update."""
    program = Path(sys.argv[0])
    return program.stem == "copier" or program.parts[-2:] == ("copier", "__main__.py")


def _end_in_order() -> None:
    """Let a closed terminal, or a job that is cancelled, end this program as Ctrl-C does: in order."""
    for name in ("SIGHUP", "SIGTERM"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _as_ctrl_c)


def _as_ctrl_c(number: int, _: object) -> None:
    def end(_alarm: int, _frame: object) -> None:
        sys.exit(128 + number)

    # A list of choices knows the key, and not the signal.
    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, 2)
    os.kill(os.getpid(), signal.SIGINT)
