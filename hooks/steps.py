"""The update's steps as Copier comes to them: copier.yml asks for each in a `when`, and they run in Copier's process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from copier.errors import UserMessageError

from . import charts, report
from .update import HERE, REPORT, Update


def before(
    notes: ModuleType, conf: Mapping[str, Any], version_from: str, version_to: str, problems: Callable[[Mapping[str, Any]], list[str]]
) -> None:
    """Begin an update.

    Args:
        notes: what the templates of one process tell one another; `old_copy` is the folder of the last one rendered.
        conf: Copier's own settings, `_copier_conf`.
        version_from: the lab's version, as PEP 440 writes it.
        version_to: the template's.
        problems: returns what is wrong with recorded answers, a line each.
    """
    notes.update = None
    if conf["skip_tasks"]:
        raise UserMessageError("`--skip-tasks` would skip what keeps your edits; update without it. Nothing was changed.")
    lab, old_copy = Path(conf["dst_path"]).absolute(), getattr(notes, "old_copy", None)
    if old_copy is None or not old_copy.is_dir():
        raise UserMessageError(
            f"The template's version {version_from} cannot say what it rendered, so your edits could not be told from it. Make a lab"
            f" beside this one from the same answers, `copier copy --trust --data-file {conf['answers_file']} <template> ../{lab.name}-new`,"
            " and carry your edits over. Nothing was changed."
        )
    update = Update(lab, old_copy, version_from, version_to, conf["conflict"] == "rej")
    update.before(str(conf["answers_file"]), conf["data"], problems)
    notes.update = update


def after(notes: ModuleType, quiet: bool) -> None:
    """End an update with its report.

    Raises:
        UserMessageError: conflicts remain; Copier exits with 1.
    """
    update, notes.update = notes.update, None
    found = update.after()
    said = report.text(found, HERE / "effects.yml", lambda: _chart(update))
    (update.lab / REPORT).write_text(said, encoding="utf-8")
    if not quiet:
        print(f"\n{said}", file=sys.stderr)
    if found.conflicts:
        files = ", ".join(found.conflicts)
        raise UserMessageError(f"The lab is updated, but conflicts remain in {files}. {REPORT} says where.")


def _chart(update: Update) -> tuple[str, str, list[str]]:
    before = update.git.run("show", f"{update.commit}:{update.prefix}{charts.CHART}/Chart.yaml").stdout.decode(errors="replace")
    after = update.lab / charts.CHART / "Chart.yaml"
    return (
        charts.version(before),
        charts.version(after.read_text(encoding="utf-8")) if after.exists() else "gone",
        charts.what_changes(update.git, update.commit),
    )
