"""`./lab propose`: the template's improvements as a merge request. The scheduled pipeline runs it (.gitlab-ci.yml).

What could not be merged it says in the merge request, with the whole report. It pushes with the token in LAB_UPDATE_TOKEN,
a variable of the project that `./lab up` makes. Where there is none, as in a repository of another Git server, it is the
job's own token. Either reaches Git through its credential helper: it is on no command line, and nowhere in the log.
"""

from __future__ import annotations

import html
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence

from ..errors import ExitCode, Failure
from ..stages.tokens import UPDATE_TOKEN, UPDATE_VARIABLE
from .base import Command
from .update import ANSWERS, recorded

BRANCH = "template-update"
AUTHOR = "Template update"
REPORT = "update-report.md"
# The report's last words are for a terminal.
LAST_WORDS = "Nothing is committed"
LONGEST_REPORT = 30000
# Git's shell expands it when it asks, and nobody earlier.
HELPER = (
    f'!f() {{ test "$1" = get || return 0; if test -n "${UPDATE_VARIABLE}"; then printf "username={UPDATE_TOKEN}\\npassword=%s\\n" "${UPDATE_VARIABLE}";'
    ' else printf "username=gitlab-ci-token\\npassword=%s\\n" "$CI_JOB_TOKEN"; fi; }; f'
)
WITHOUT_TOKEN = (
    f"this job has no {UPDATE_VARIABLE}, so it pushed with its job token. ./lab up --only sync makes that variable. Only a schedule\n"
    "of a protected branch gets it. In a repository of another Git server, make it yourself: Settings > Access tokens\n"
    "(Developer, write_repository), then Settings > CI/CD > Variables (protected, masked and hidden)"
)
NEEDED = ("CI_PROJECT_URL", "CI_SERVER_URL", "CI_COMMIT_BRANCH", "CI_JOB_URL", "CI_JOB_TOKEN")


class Propose(Command):
    name = "propose"
    purpose = "propose the template's improvements as a merge request; for the scheduled pipeline"
    example = "./lab propose, in a job of GitLab's"

    def run(self) -> int:
        missing = [name for name in NEEDED if not os.environ.get(name)]
        if missing:
            raise Failure(
                f"{', '.join(missing)} is not set: this is for a job of the lab's own pipeline.",
                "",
                "make a schedule (Build > Pipeline schedules); here, run ./lab update",
            )
        self.remote = address(os.environ["CI_PROJECT_URL"], UPDATE_TOKEN if os.environ.get(UPDATE_VARIABLE) else "")
        self._set_up_git()
        lease = self._leave_others_work()
        if lease is None:
            self._say(
                f"Somebody works on the branch {BRANCH}. Merge it, or delete it; then the next run proposes again."
            )
            return ExitCode.DONE
        before = self._version()
        self._git("checkout", "--quiet", "-B", BRANCH)
        status, conflicts = self._update()
        if status and not conflicts:
            self._say("There was no update, so nothing is proposed; the reason is above.")
            return status
        if not self._differs("--cached"):
            self._say("The lab is as the template has it.")
            return ExitCode.DONE
        title, description = self._describe(f"Update from the template, {before} to {self._version()}", conflicts)
        self._git("commit", "--quiet", "--no-verify", "--message", title)
        if lease and not self._differs(lease, "HEAD"):
            self._say(f"The branch {BRANCH} proposes this already.")
            return ExitCode.DONE
        self._push(lease, title, description)
        return ExitCode.DONE

    def _push(self, lease: str, title: str, description: str) -> None:
        options = [
            "merge_request.create",
            f"merge_request.target={os.environ['CI_COMMIT_BRANCH']}",
            "merge_request.remove_source_branch",
            f"merge_request.title={title}",
            f"merge_request.description={description}",
        ]
        words = [word for option in options for word in ("-o", option)]
        self._git(
            "push",
            "--quiet",
            "--no-verify",
            f"--force-with-lease={BRANCH}:{lease}",
            *words,
            self.remote,
            f"HEAD:refs/heads/{BRANCH}",
            then="fix that, and run the schedule again" if os.environ.get(UPDATE_VARIABLE) else WITHOUT_TOKEN,
        )
        self._say(f"Proposed: {os.environ['CI_PROJECT_URL']}/-/merge_requests?source_branch={BRANCH}")

    def _set_up_git(self) -> None:
        """Say who commits, and how Git reaches GitLab, a private certificate authority included."""
        server = os.environ["CI_SERVER_URL"]
        settings = {"user.name": AUTHOR, "user.email": self.settings.admin_email, f"credential.{server}.helper": HELPER}
        authority = os.environ.get("CI_SERVER_TLS_CA_FILE", "")
        if authority:
            settings[f"http.{server}.sslCAInfo"] = authority
        for name, value in settings.items():
            self._git("config", "--global", name, value)

    def _leave_others_work(self) -> str | None:
        """Return the commit that the branch is at, or nothing where there is none; None where it is somebody's work.

        What somebody has pushed onto the branch, to resolve conflicts for example, is not overwritten.
        """
        if self._run(
            "git", "fetch", "--quiet", "--no-tags", self.remote, f"refs/heads/{BRANCH}", quiet=True
        ).returncode:
            return ""
        lease = self._git("rev-parse", "FETCH_HEAD").strip()
        return lease if self._git("log", "-1", "--format=%an", lease).strip() == AUTHOR else None

    def _update(self) -> tuple[int, list[str]]:
        """Merge what the template has into this lab, and stage it; return the status, and the files with conflicts."""
        status = self._run(sys.executable, str(self.folder / "lab"), "update", "--defaults", capture=False).returncode
        said = self._git("ls-files", "--unmerged", "-z")
        conflicts = sorted({entry.partition("\t")[2] for entry in said.split("\0") if entry})
        if status == 0 or conflicts:
            self._git("add", "--all")
        return status, conflicts

    def _describe(self, title: str, conflicts: Sequence[str]) -> tuple[str, str]:
        """Return title and description of the merge request."""
        try:
            description = as_html((self.folder / REPORT).read_text(encoding="utf-8"))
        except FileNotFoundError:
            description = ""
        if conflicts:
            title = f"Draft: {title}: conflicts"
            description = (
                "<p><strong>Not mergeable as it is:</strong> you and the template changed the same lines of"
                f" {html.escape(', '.join(conflicts), quote=False)}. Both versions are there between conflict "
                f"markers. Keep what is"
                f" right, and push to this branch.</p>{description}"
            )
        # They run here already: what they say decides whether it is a draft. A job's own push starts no pipeline.
        elif self._run(*_checks(), ".gitlab/check.py", capture=False).returncode:
            title = f"Draft: {title}: checks fail"
            job = os.environ["CI_JOB_URL"]
            description = f"<p><strong>The checks fail with it:</strong> {job} says how.</p>{description}"
        return title, description.replace("\n", " ")

    def _version(self) -> str:
        return recorded((self.folder / ANSWERS).read_text(encoding="utf-8"), "_commit")

    def _differs(self, *arguments: str) -> bool:
        return self._run("git", "diff", *arguments, "--quiet").returncode != 0

    def _git(self, *arguments: str, then: str = "fix that, and run the schedule again") -> str:
        done = self._run("git", *arguments)
        if done.returncode:
            raise Failure(
                f"git {shlex.quote(arguments[0])} failed: {done.stderr.strip()}",
                "",
                then,
            )
        return done.stdout

    def _run(self, *command: str, capture: bool = True, quiet: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a program as the job would; what is not captured is in the job's log."""
        del quiet
        sys.stdout.flush()
        umask = self.programs.owner_umask
        return subprocess.run(
            command, cwd=self.folder, capture_output=capture, text=True, errors="replace", umask=umask, check=False
        )

    def _say(self, text: str) -> None:
        self.console.print(text)


def address(project: str, user: str) -> str:
    """Return the address to push to. With a user's name in it, it is none that the runner has rewritten to its job token."""
    scheme, mark, rest = project.partition("://")
    return f"{scheme}{mark}{f'{user}@' if user and scheme.startswith('http') else ''}{rest}.git"


def _checks() -> list[str]:
    """Return what runs the checks: this Python, where the job has installed what they need by its hashes; otherwise uv."""
    return [sys.executable] if os.environ.get("LAB_TOOLS") == "installed" else ["uv", "run", "--quiet"]


def as_html(report: str) -> str:
    """Return a report on one line, since a push takes no other; without its last words."""
    lines, open_list = [], False
    for line in report.partition(f"\n{LAST_WORDS}")[0].splitlines():
        text = re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(line, quote=False))
        item = text.startswith("- ")
        if item is not open_list and (item or text.startswith("#") or text.strip()):
            lines.append("<ul>" if item else "</ul>")
            open_list = item
        if item:
            lines.append(f"<li>{text[2:]}</li>")
        elif text.startswith("#"):
            lines.append(f"<h4>{text.lstrip('#').strip()}</h4>")
        elif text.strip():
            lines.append(f"<p>{text}</p>")
    return ("".join(lines) + ("</ul>" if open_list else ""))[:LONGEST_REPORT]
