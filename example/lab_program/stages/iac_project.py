"""The GitLab project for infrastructure, and how the lab's iac/ gets there.

The project is the truth for what runs: its pipeline applies it, and the owner adds machines there. The lab's folder is
what updates and answers reach. So the program keeps a branch in the project, `from-the-lab`, that holds exactly the
lab's files as they were carried last. If they have changed, it gets another commit, and a merge request takes that to
main: Git merges three ways, and what the owner changed stays. Nothing is ever forced.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path

from .. import sealed
from ..clients.git import GitError
from ..clients.gitlab_infrastructure import MergeRequest
from ..errors import Failure
from ..lab import Lab
from .groups import Groups

FOLDER, MAIN, CARRIED = "iac", "main", "from-the-lab"
# The last line of each commit that the program carries.
MARK = "Carried-from: iac/ of the lab"
TITLE = "The lab's changes to iac/"
WORDS = """\
An update, or an answer, has changed `iac/` of the lab. This brings the changes here, and keeps what you changed in this
project.

Read the plan of the pipeline, then merge. After that apply from `main`. If there are conflicts, solve them on your
own branch. The branch `from-the-lab` is the program's: leave it, and its history, as it is.
"""


class Step(Enum):
    """What has to be done so that the lab's files are in the project."""

    START = "the project has nothing yet"
    RECORD = "main has the lab's files, and the program's branch is missing"
    ADD = "the lab's files have changed"
    NOTHING = "the program's branch has the lab's files"
    STRANGE = "main has a history of somebody else's"


@dataclass(frozen=True)
class Branches:
    """What the project has; each is empty if there is none.

    Attributes:
        main, carried: the commits at main and at the program's branch.
        carried_tree: the files of the latter.
        begin_again: the commit of main from which the program's branch can begin again.
    """

    main: str
    carried: str
    carried_tree: str
    begin_again: str


def next_step(seen: Branches, tree: str) -> Step:
    """Return what to do where the lab's files are this tree."""
    if not seen.carried:
        if not seen.main:
            return Step.START
        return Step.RECORD if seen.begin_again else Step.STRANGE
    return Step.NOTHING if seen.carried_tree == tree else Step.ADD


def needs_request(carried: str, *, merged: bool, requests: Sequence[MergeRequest]) -> bool:
    """Say whether a merge request has to be opened for the program's branch.

    One that was merged as one commit leaves no trace in main's history, and one that the owner closed is an answer:
    each is known by its commit.
    """
    if merged or any(one.state in ("opened", "locked") for one in requests):
        return False
    return not any(one.commit == carried for one in requests)


class IacProject:
    """The project, and a private copy of its repository for this run."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.settings, self.console, self.git = lab, lab.settings, lab.console, lab.git
        self.path = self.settings.iac_project
        self.url = f"{self.settings.gitlab_url}/{self.path}.git"
        self.folder = lab.private / FOLDER

    def ensure(self) -> None:
        """Make the project, in a group that only its members see."""
        group, groups = self.path.rpartition("/")[0], Groups(self.lab)
        if group.lower() not in {one.lower() for one in self.settings.groups}:
            self.lab.patience.settle(f"create the group {group}", partial(groups.ensure_group, group, "private"))
        groups.ensure_project(self.path, "private")

    def carry(self) -> None:
        """Bring the lab's iac/ into the project.

        Raises:
            Failure: it is not committed, cannot be pushed, or the project is somebody else's.
        """
        try:
            tree = self._prepare()
            seen = self._look()
            step = next_step(seen, tree)
            if step is Step.STRANGE:
                raise Failure(
                    f"{self.path} has a history that did not begin with the lab's iac/.",
                    f"{self.settings.gitlab_url}/{self.path}/-/commits/{MAIN}",
                    "rename that project (Settings > General > Advanced), then run ./lab up again",
                )
            carried = self._take(step, seen, tree)
            self._protect()
            self._propose(carried)
        except GitError as error:
            raise Failure(
                f"iac/ could not be carried to {self.path}: {error.words}", f"git ls-remote {self.url}"
            ) from error

    def _take(self, step: Step, seen: Branches, tree: str) -> str:
        """Take the step; return the commit that the program's branch is at then."""
        if step is Step.NOTHING:
            self.console.have(f"{CARRIED} of {self.path} holds the lab's iac/")
            return seen.carried
        if step is Step.START:
            first = self._commit(tree, "", "Machines, as the lab has them")
            self._push(first, MAIN)
            self._push(first, CARRIED)
            self.console.did(f"{self.path} has the lab's iac/ as its content")
            return first
        parent = seen.carried
        if step is Step.RECORD:
            parent = seen.begin_again
            self._push(parent, CARRIED)
            self.console.did(f"branch {CARRIED} of {self.path}, at {parent[:8]}")
            if self._inside("rev-parse", f"{parent}^{{tree}}") == tree:
                return parent
        added = self._commit(tree, parent, TITLE)
        self._push(added, CARRIED)
        self.console.did(f"branch {CARRIED} of {self.path}: the lab's iac/ has changed")
        return added

    def _protect(self) -> None:
        """Protect the program's branch: merging it does not remove it, and its merge requests get a plan.

        https://docs.gitlab.com/ci/pipelines/merge_request_pipelines/#control-access-to-protected-variables-and-runners
        """
        for branch in (MAIN, CARRIED):
            if not self.lab.gitlab.is_protected(self.path, branch):
                self.lab.gitlab.protect(self.path, branch)
                self.console.did(f"{branch} of {self.path} is protected")

    def _propose(self, carried: str) -> None:
        """Open a merge request where the program's branch is not in main, or say which one waits."""
        main = self._remote_branches().get(MAIN, "")
        if main != carried:
            self._fetch(MAIN)
        merged = self._is_ancestor(carried, f"refs/remotes/gitlab/{MAIN}") if main != carried else True
        gitlab = self.lab.gitlab
        requests = [] if merged else gitlab.merge_requests(self.path, CARRIED, MAIN)
        if needs_request(carried, merged=merged, requests=requests):
            ensure = partial(self._make_request, carried)
            self.lab.patience.settle(f"open the merge request of {self.path}", ensure)
            return
        waiting = next((one for one in requests if one.state in ("opened", "locked")), None)
        if waiting is not None:
            self.console.warn(f"The lab's changes to iac/ wait for you to merge them: {waiting.url}")

    def _make_request(self, carried: str) -> None:
        requests = self.lab.gitlab.merge_requests(self.path, CARRIED, MAIN)
        if needs_request(carried, merged=False, requests=requests):
            made = self.lab.gitlab.make_merge_request(self.path, CARRIED, MAIN, TITLE, WORDS)
            self.console.did(f"merge request for {MAIN} of {self.path}")
            self.console.warn(f"Read its plan, merge it, then apply from {MAIN}: {made.url}")

    # The copy of this run

    def check_out(self) -> Path:
        """Return a folder with the project's main, as it is now."""
        try:
            self._fetch(MAIN)
            self._inside("checkout", "--quiet", "--force", "-B", "work", f"refs/remotes/gitlab/{MAIN}")
        except GitError as error:
            raise Failure(f"{self.path} could not be read: {error.words}", f"git ls-remote {self.url}") from error
        return self.folder

    def add_to_main(self, names: Sequence[str], message: str) -> bool:
        """Commit files of the copy that main does not have so, and push them there; return whether there were any.

        Raises:
            Failure: main moved on meanwhile, or the push was refused.
        """
        there = [name for name in names if (self.folder / name).is_file()]
        if not there or not self._inside("status", "--porcelain", "--ignored", "--", *there):
            return False
        try:
            self._inside("add", "--force", "--", *there)
            self._inside("commit", "--quiet", "--no-verify", "--message", message, author=self._author)
            self._push("HEAD", MAIN)
        except GitError as error:
            raise Failure(f"{', '.join(there)} could not be pushed to {self.path}: {error.words}", self.url) from error
        self.console.did(f"{', '.join(there)} in {MAIN} of {self.path}")
        return True

    @property
    def _author(self) -> tuple[str, str]:
        return f"{self.settings.lab_name} bootstrap", self.settings.admin_email

    def _prepare(self) -> str:
        """Make the copy, which reads the lab's own objects; return the tree of iac/ without what is encrypted."""
        committed = self.git.here("rev-parse", "--verify", "--quiet", f"HEAD:{FOLDER}")
        if committed.status:
            raise Failure(f"{FOLDER}/ of this lab is not committed.", "git status", f"git add {FOLDER} && git commit")
        if any(name.startswith(f"{FOLDER}/") for name in self.git.uncommitted()):
            self.console.warn(f"Files in {FOLDER}/ differ from the last commit; what is committed counts.")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700)
        self._inside("init", "--quiet", "--template=")
        objects = Path(self.git.here("rev-parse", "--git-path", "objects").out.rstrip("\n"))
        alternates = self.folder / ".git/objects/info/alternates"
        alternates.parent.mkdir(parents=True, exist_ok=True)
        # A relative path, and one with a quote, would be read otherwise.
        link = self.folder / ".git/lab-objects"
        link.symlink_to((self.lab.folder / objects).resolve())
        alternates.write_text(f"{link}\n")
        self._inside("read-tree", committed.out.strip())
        # A Secret that the lab keeps encrypted is none of the project's.
        secret = [name for name in self._inside("ls-files", "-z").split("\0") if name.endswith(sealed.SUFFIX)]
        if secret:
            self._inside("update-index", "--force-remove", "--", *secret)
        return self._inside("write-tree")

    def _look(self) -> Branches:
        there = self._remote_branches()
        found = [name for name in (MAIN, CARRIED) if name in there]
        self._fetch(*found)
        carried = there.get(CARRIED, "")
        tree = self._inside("rev-parse", f"{carried}^{{tree}}") if carried else ""
        begin_again = self._last_carried() if MAIN in there and not carried else ""
        return Branches(there.get(MAIN, ""), carried, tree, begin_again)

    def _last_carried(self) -> str:
        """Return the newest commit in main's history that the program carried, with nothing but such before it.

        A merge as one commit may repeat the program's message, and holds the owner's files as well.
        """
        said = self._inside("log", "--topo-order", f"--grep=^{MARK}$", "--format=%H %P", f"refs/remotes/gitlab/{MAIN}")
        parents = {commit: rest for commit, *rest in (line.split() for line in said.splitlines())}
        sound: dict[str, bool] = {}
        for commit in reversed(list(parents)):
            above = parents[commit]
            sound[commit] = not above or (len(above) == 1 and sound.get(above[0], False))
        return next((commit for commit in parents if sound[commit]), "")

    def _remote_branches(self) -> dict[str, str]:
        said = self.git.remote(self.folder, self.lab.as_root, "ls-remote", "--heads", self.url)
        pairs = (line.split("\t", 1) for line in said.splitlines() if "\t" in line)
        return {name.removeprefix("refs/heads/"): commit for commit, name in pairs}

    def _fetch(self, *names: str) -> None:
        if names:
            refs = [f"+refs/heads/{name}:refs/remotes/gitlab/{name}" for name in names]
            self.git.remote(self.folder, self.lab.as_root, "fetch", "--quiet", "--no-tags", self.url, *refs)

    def _is_ancestor(self, older: str, newer: str) -> bool:
        # merge-base says it by its status alone, of which 1 is no error.
        return self._inside("rev-list", "--count", older, f"^{newer}") == "0"

    def _commit(self, tree: str, parent: str, title: str) -> str:
        above = ["-p", parent] if parent else []
        message = f"{title}\n\n{MARK}"
        return self._inside("commit-tree", tree, *above, "-m", message, author=self._author)

    def _push(self, commit: str, branch: str) -> None:
        target = f"{commit}:refs/heads/{branch}"
        self.git.remote(self.folder, self.lab.as_root, "push", "--quiet", "--no-verify", self.url, target)

    def _inside(self, *arguments: str, author: tuple[str, str] | None = None) -> str:
        return self.git.inside(self.folder, *arguments, author=author)
