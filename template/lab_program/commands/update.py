"""`./lab update`: the template's improvements into this lab, or another answer.

What an update does is the template's: this fetches that, so that an old lab is updated as a new one is. A template
without it is Copier's alone to update.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from .. import versions
from ..console import complain
from ..environment import for_owner
from ..errors import ExitCode, Failure
from .base import Command

ANSWERS = ".copier-answers.yml"
# The versions of Copier that the template was tried with: from, and below.
OLDEST_COPIER, NEWER_COPIER = "9.19.1", "10"
AS_IT_WAS = "The lab is as it was."
# Refused or stopped, and nothing was changed.
REFUSED = 2
DRIVER = "hooks/run.py"
HELP = """\
Brings the template's improvements into this lab, or changes an answer. Commit first: an update starts from a clean
working tree, and commits nothing. update-report.md says what changed and what that does in the cluster. Every option is
`copier update`'s: --data QUESTION=ANSWER changes an answer, --defaults asks nothing, --vcs-ref VERSION goes to that
version, --pretend only says between which versions it would go. Only new questions are asked, and those whose answer is
no longer valid; --all asks every one.

For example: ./lab update
             ./lab update --data gitlab_version=19.5.1

Exit status: 0 done; 1 done, with conflicts to resolve; 2 refused or stopped, and nothing was changed; 3 cut off while it
wrote; the next run completes it.
"""
_URL_OF = {"gh:": "https://github.com/", "gl:": "https://gitlab.com/"}


@dataclass(frozen=True)
class Template:
    """Where a lab comes from, as its answers say.

    Attributes:
        source: as the answers write it.
        address: what Git takes for it.
        version: the tag, or the description of a commit, that the lab was last made from.
    """

    source: str
    address: str
    version: str

    @property
    def is_remote(self) -> bool:
        """What has a colon before its first slash is an address: https://…, host:path.git, an alias of ~/.ssh/config."""
        return ":" in self.address.partition("/")[0]


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
            driver = self._driver(template)
            if driver is not None:
                self.hand_over(sys.executable, "-B", str(driver / DRIVER), str(driver), *vars(template).values(), *rest)
            self._check_version(template)
            copier = self._copier()
        except Stop as why:
            complain("\n".join([*why.lines, AS_IT_WAS]))
            return REFUSED
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
        template = Template(source, address_of(source), version)
        if not Path(self.folder, template.address).exists() and not template.is_remote:
            raise Stop(
                f"The template that made this lab, {template.address}, is not there any more.",
                f"Put where it is now into _src_path in {ANSWERS}, and commit that.",
            )
        return template

    def _driver(self, template: Template) -> Path | None:
        """Return a new folder with the template's part of an update, from its newest commit; None where it has none.

        The driver removes the folder in the end.
        """
        folder = Path(tempfile.mkdtemp(prefix="lab-update.", dir=self._temporary()))
        source = template.address
        if not Path(self.folder, source).is_dir():
            source = str(folder / "template")
            cloned = self._git("clone", "--quiet", "--depth", "1", "--no-checkout", "--", template.address, source)
            if cloned.returncode:
                shutil.rmtree(folder, ignore_errors=True)
                raise unreachable(template.address, cloned.stderr)
        archived = subprocess.run(
            ["git", "-C", source, "archive", "--format=tar", "HEAD", "hooks"],
            cwd=self.folder,
            env=for_owner(os.environ),
            capture_output=True,
            check=False,
        )
        if archived.returncode == 0:
            with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as archive:
                archive.extraction_filter = getattr(tarfile, "data_filter", None)
                archive.extractall(folder)  # noqa: S202 - what the owner's own template holds
        if (folder / DRIVER).is_file():
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        said = archived.stderr.decode("utf-8", "replace").strip()
        if archived.returncode and "did not match any files" not in said:
            raise unreachable(template.address, said)
        return None

    def _temporary(self) -> str | None:
        """Return where temporary files go: never into the lab, whose changes they would be."""
        usual = Path(tempfile.gettempdir()).resolve()
        inside = usual == self.folder or self.folder in usual.parents
        return "/tmp" if inside else None  # noqa: S108

    def _check_version(self, template: Template) -> None:
        """Refuse a template that has lost the version that made the lab: nobody could tell the owner's edits."""
        address = template.address
        listed = self._git("ls-remote", "--quiet", "--exit-code", "--", address, "HEAD", "refs/tags/*")
        if listed.returncode:
            raise unreachable(address, listed.stderr)
        if re.fullmatch(r"v[0-9]+\.[0-9]+\.[0-9]+", template.version):
            found = re.search(rf"refs/tags/{re.escape(template.version)}$", listed.stdout, re.MULTILINE) is not None
        else:
            found = self._holds_commit(template)
        if not found:
            raise Stop(
                f"The template at {address} has no version {template.version} any more, which made this lab, so your edits cannot be"
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
            cloned = self._git("clone", "--quiet", "--bare", "--filter=tree:0", "--", template.address, history)
            return cloned.returncode != 0 or self._git("-C", history, "cat-file", "-e", commit).returncode == 0

    def _copier(self) -> list[str]:
        """Return how Copier is called: as it is installed, or through uv. Its first look shows whether it reads the
        answers."""
        copier, found = ["copier"], ""
        if self.programs.has("copier"):
            found = versions.shown(self._run("copier", "--version").stdout)
        if not versions.at_least(found, OLDEST_COPIER) or versions.at_least(found, f"{NEWER_COPIER}.0"):
            if not self.programs.has("uvx"):
                raise Stop(
                    f"Copier {OLDEST_COPIER} or newer, and older than {NEWER_COPIER}, is needed{f', and this is {found}' if found else ''}.",
                    f"Install it: pipx install 'copier>={OLDEST_COPIER},<{NEWER_COPIER}' && pipx inject copier copier-template-extensions;"
                    " or install uv, which brings it: docs.astral.sh/uv",
                )
            loader = ["--with", "copier-template-extensions<1"]
            copier = ["uvx", "--quiet", "--from", f"copier>={OLDEST_COPIER},<{NEWER_COPIER}", *loader, "copier"]
        looked = self._run(*copier, "check-update", "--quiet")
        said = looked.stdout + looked.stderr
        if looked.returncode and re.search(r"yaml\..*Error:", said):
            place = said.rpartition(", line ")[2].partition(",")[0]
            raise Stop(
                f"The answers that made this lab cannot be read: {ANSWERS} is not YAML at line {place}.",
                f"Fix that line, and commit; or restore the file: git log -p -- {ANSWERS}",
            )
        return copier

    def _git(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run("git", *arguments)

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program as the owner would: a private template needs their credentials, and may ask for them."""
        environment = for_owner(os.environ)
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, errors="replace", check=False
        )


def update_was_cut_off(folder: Path) -> bool:
    """Say whether an update of this lab ended while it wrote: its journal is beside Git's own files then."""
    command = ("git", "rev-parse", "--absolute-git-dir", "--show-prefix")
    said = subprocess.run(command, cwd=folder, env=for_owner(os.environ), capture_output=True, text=True, check=False)
    if said.returncode:
        return False
    git_dir, prefix = (*said.stdout.splitlines(), "")[:2]
    name = f"lab-update-{quote(prefix, safe='')}" if prefix else "lab-update"
    return Path(git_dir, name, "journal").is_dir()


def refuse_half_an_update(folder: Path) -> None:
    """End a run that would push and roll out half a lab.

    Raises:
        Failure: an update was cut off while it wrote.
    """
    if update_was_cut_off(folder):
        then = "run ./lab update, which brings the update to its end"
        raise Failure("An update of this lab was cut off while it wrote.", then=then)


def unreachable(address: str, said: str) -> Stop:
    """Return what Git says of a template that it cannot read, all of it."""
    if "dubious ownership" in said:
        return Stop(
            f"The template at {address} belongs to another user, so Git does not read it. If you trust it:",
            f"git config --global --add safe.directory {shlex.quote(address)}",
        )
    return Stop(
        f"The template cannot be reached at {address}: {said.strip() or 'it has no commit'}",
        "Check the network and your access to it; or put where it is now into _src_path in"
        f" {ANSWERS}, and commit that.",
    )


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
