"""`./lab update`: the template's improvements into this lab, or another answer. It checks what Copier would stumble
over."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .. import versions
from ..errors import ExitCode
from ..programs import last_line
from .base import Command

ANSWERS = ".copier-answers.yml"
OLDEST_COPIER = "9.19.0"
AS_IT_WAS = "The lab is as it was."
HELP = """\
Brings the template's improvements into this lab, or changes an answer. Every option is copier update's. Nothing is
committed; update-report.md says what changed and what that does.

For example: ./lab update
             ./lab update --data gitlab_version=19.5.1
"""
_URL_OF = {"gh:": "https://github.com/", "gl:": "https://gitlab.com/"}


@dataclass(frozen=True)
class Template:
    """Where a lab comes from, as its answers say.

    Attributes:
        address: what Git takes for it.
        version: the tag, or the description of a commit, that the lab was last made from.
    """

    address: str
    version: str

    @property
    def is_remote(self) -> bool:
        return "://" in self.address or re.search(r"@.*:", self.address) is not None


class Stop(Exception):  # noqa: N818 - as Failure
    """Why there is no update, and what to do, a line each. Nothing has been touched when this is said."""

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)
        self.lines = lines


class Update(Command):
    name = "update"
    purpose = "bring the template's improvements into this lab, or change an answer"
    example = "./lab update --data gitlab_version=19.5.1"
    passes_everything_on = True

    def run(self) -> int:
        rest = list(self.invocation.rest)
        if rest in (["--help"], ["-h"]):
            self.console.print(HELP.rstrip())
            return ExitCode.DONE
        try:
            template = self._template()
            self._check_reach(template)
            copier = self._copier()
        except Stop as why:
            sys.stderr.write("\n".join([*why.lines, AS_IT_WAS, ""]))
            return ExitCode.FAILED
        return self.hand_over(*copier, "update", "--trust", *rest)

    def _template(self) -> Template:
        if not self.programs.has("git"):
            raise Stop("Git is not installed, and an update is a merge: install it.")
        try:
            text = (self.folder / ANSWERS).read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            what = f"The answers that made this lab, {ANSWERS}, are missing."
            raise Stop(what, f"Restore them: git checkout HEAD -- {ANSWERS}") from error
        if re.search(r"^<<<<<<< ", text, re.MULTILINE):
            raise Stop(
                f"There are conflict markers in {ANSWERS}, so your answers cannot be read.",
                "Keep what is right between them, remove the markers, and commit.",
            )
        source, version = recorded(text, "_src_path"), recorded(text, "_commit")
        if not source or not version:
            raise Stop(
                f'{ANSWERS} does not say which template made this lab: _src_path is "{source}", _commit is '
                f'"{version}".',
                f"Restore it from an earlier commit: git log -p -- {ANSWERS}",
            )
        return Template(address_of(source), version)

    def _check_reach(self, template: Template) -> None:
        """Refuse a template that is not there, or has lost the version that made the lab: nobody could tell the
        owner's edits."""
        address, mend = template.address, f"put where it is now into _src_path in {ANSWERS}, and commit that."
        if not template.is_remote and not Path(self.folder, address).exists():
            raise Stop(
                f"The template that made this lab, {address}, is not there any more.", mend[0].upper() + mend[1:]
            )
        listed = self._git("ls-remote", "--quiet", "--exit-code", address, "HEAD", "refs/tags/*")
        if listed.returncode:
            why = last_line(listed.stderr) or "it has no commit"
            raise Stop(
                f"The template cannot be reached at {address}: {why}",
                f"Check the network and your access to it; or {mend}",
            )
        if re.fullmatch(r"v[0-9]+\.[0-9]+\.[0-9]+", template.version):
            found = re.search(rf"refs/tags/{re.escape(template.version)}$", listed.stdout, re.MULTILINE) is not None
        else:
            found = self._holds_commit(template)
        if not found:
            raise Stop(
                f"The template at {address} has no version {template.version} any more, which made this lab, so "
                f"your edits cannot be"
                " told from it.",
                f"Put the version that comes nearest into _commit in {ANSWERS}, commit that, and update again.",
            )

    def _holds_commit(self, template: Template) -> bool:
        """Say whether the template's history holds a commit. Of a remote one the commits alone are fetched; where that
        fails, Copier says why."""
        commit = template.version.rpartition("-g")[2] + "^{commit}"
        if Path(self.folder, template.address).is_dir():
            return self._git("-C", template.address, "cat-file", "-e", commit).returncode == 0
        with tempfile.TemporaryDirectory() as history:
            cloned = self._git("clone", "--quiet", "--bare", "--filter=tree:0", template.address, history)
            return cloned.returncode != 0 or self._git("-C", history, "cat-file", "-e", commit).returncode == 0

    def _copier(self) -> list[str]:
        """Return how Copier is called: as it is installed, or through uv. Its first look shows whether it reads the
        answers."""
        copier, found = ["copier"], ""
        if self.programs.has("copier"):
            found = versions.shown(self._run("copier", "--version").stdout)
        if not versions.at_least(found, OLDEST_COPIER):
            if not self.programs.has("uvx"):
                raise Stop(
                    f"Copier 9.19 or newer is needed{f', and this is {found}' if found else ''}.",
                    "Install it: pipx install copier && pipx inject copier copier-template-extensions; or "
                    "install uv, which brings"
                    " it: docs.astral.sh/uv",
                )
            loader = ["--with", "copier-template-extensions<1"]
            copier = ["uvx", "--quiet", "--from", "copier>=9.19,<10", *loader, "copier"]
        looked = self._run(*copier, "check-update", "--quiet")
        said = looked.stdout + looked.stderr
        if looked.returncode and re.search(r"yaml\..*Error:", said):
            place = said.rpartition(", line ")[2].partition(",")[0]
            raise Stop(
                f"The answers that made this lab cannot be read: {ANSWERS} is not YAML at line {place}.",
                f"Mend that line, and commit; or restore the file: git log -p -- {ANSWERS}",
            )
        return copier

    def _git(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run("git", *arguments)

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program as the owner would: a private template needs their credentials, and may ask for them."""
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, errors="replace", check=False)


def recorded(text: str, name: str) -> str:
    """Return what the answers say, without its quotes. YAML folds a long path at its blanks; an editor may have
    ended the
    lines as Windows does."""
    unfolded = re.sub(r"\n +", " ", text.replace("\r\n", "\n"))
    found = re.search(rf"^{re.escape(name)}: *(.*)$", unfolded, re.MULTILINE)
    value = found[1].strip() if found else ""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    return value.replace("''", "'")


def address_of(source: str) -> str:
    """Return what Git takes for a template's address: Copier knows a few short forms."""
    for short, url in _URL_OF.items():
        if source.startswith(short):
            return url + source.removeprefix(short)
    if source.startswith("git+"):
        return source.removeprefix("git+")
    return str(Path(source).expanduser()) if source.startswith("~/") else source
