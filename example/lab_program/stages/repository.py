"""The lab's own repository: what would be pushed, and whether that is the lab as it lies here."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from ..clients.machine import quoted
from ..lab import Lab
from .findings import Problem

# What Flux and the runner read from Git, and the kinds of file that they read there: no notes, no editor's copies.
READ_FROM_GIT = ("apps", "automation", "charts", "clusters", "infrastructure", "runner")
KINDS = {".json", ".rb", ".toml", ".tpl", ".yaml", ".yml"}


def unfit(lab: Lab) -> Problem | None:
    """Return why this repository must not be pushed; None if it may."""
    folder = quoted(str(lab.folder))
    commit = f"git -C {folder} add --all && git -C {folder} commit -m 'The lab as generated'"
    top = lab.git.top()
    if top and not Path(top).samefile(lab.folder):
        what = f"the lab is not a separate repository: it lies in that of {top}, and all of that would be pushed"
        return Problem("repository", what, f"git init {folder} && {commit}")
    if not lab.git.head():
        return Problem("repository", "this lab has no commit yet, so there is nothing to push", commit)
    changed = lab.git.uncommitted()
    if changed:
        files = "\n".join(changed)
        what = f"files differ from the last commit; GitLab would be installed with what Flux does not know:\n{files}"
        return Problem("repository", what, "git commit them, or git stash")
    forgotten = untracked(lab)
    if forgotten:
        files = "\n".join(forgotten)
        what = f"files that the lab needs are not in Git, so Flux would not know them:\n{files}"
        named = " ".join(map(quoted, forgotten))
        return Problem("repository", what, f"git -C {folder} add --force -- {named}, and git commit; or take them away")
    return None


def untracked(lab: Lab) -> list[str]:
    """Return the files that the lab needs and Git does not know. ca.crt counts even where an ignore rule hides it."""
    found = [name for name in lab.git.untracked(*READ_FROM_GIT) if PurePosixPath(name).suffix in KINDS]
    settings = lab.settings
    # The program writes the certificate of an authority that the lab makes, again in each clone.
    comes_with_git = settings.private_ca and not settings.makes_authority
    if comes_with_git and lab.ca_file.is_file() and not lab.git.tracks(lab.ca_file.name):
        found.append(lab.ca_file.name)
    return sorted(found)
