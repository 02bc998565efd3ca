"""The repository pushed, and Flux following it: what the stages gitlab and sync share."""

from __future__ import annotations

from ..clients.git import Access, GitError
from ..clients.objects import NOTHING, KubeObject
from ..errors import Failure
from ..gitlab_check import NAME, GitLabCheck
from ..lab import Lab
from ..patience import TimedOutError
from ..probes import FLUX, GIT_REPOSITORY, HELM_RELEASE, KUSTOMIZATION, RECEIVER, Probes, attempted, parts, short
from ..settings import Settings
from .credential import OWNER, GitCredential
from .repository import unfit

KINDS = {
    GIT_REPOSITORY: "GitRepository",
    KUSTOMIZATION: "Kustomization",
    HELM_RELEASE: "HelmRelease",
    RECEIVER: "Receiver",
}


class Following:
    """Brings Flux to follow the lab's repository."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.settings, self.console, self.cluster = lab, lab.settings, lab.console, lab.cluster
        self.probes = Probes(lab)

    @staticmethod
    def programs(settings: Settings) -> set[str]:
        """Return the programs that it calls."""
        found = {"git"}
        if settings.self_hosted or settings.gitops_url.startswith("ssh://"):
            found |= {"ssh", "ssh-keygen"}
        if not settings.self_hosted and settings.gitops_url.startswith("ssh://"):
            found.add("ssh-keyscan")
        return found

    def follow_external_repository(self) -> None:
        """Push to the owner's own repository, with the owner's own rights, and have Flux follow that."""
        if not self.lab.dry_run:
            self.refuse_unfit()
        GitCredential(self.lab).ensure()
        url, branch = self.settings.gitops_url, self.settings.gitops_branch
        try:
            self.push_branch(url, OWNER)
        except GitError as error:
            raise Failure(
                f"This repository could not be pushed to {url}: {error.words}", f"git push {url} HEAD:{branch}"
            ) from error
        self.ensure_flux_follows()

    def refuse_unfit(self) -> None:
        """End the run where what would be pushed is another repository, or not all of the lab: Flux would not deploy
        what is here, and GitLab would restart for it."""
        problem = unfit(self.lab)
        if problem is not None:
            what = f"{problem.what[0].upper()}{problem.what[1:]}"
            raise Failure(what, "git status", f"{problem.fix}\nthen run ./lab up --from sync")

    def push_branch(self, url: str, access: Access) -> None:
        """Bring the branch at *url* to this repository's HEAD, unless it is there or further.

        Raises:
            GitError: the other side does not take it, or cannot be reached.
            Failure: the two have diverged.
        """
        git, branch = self.lab.git, self.settings.gitops_branch
        head = git.head()
        there = git.branch_at(url, branch, access)
        if there == head:
            self.console.have(f"{branch} is pushed")
            return
        if self.lab.dry_run:
            self.console.would(f"push {git.short_head()} to {url}, branch {branch}, unless that is ahead")
            return
        if there:
            git.remote(self.lab.folder, access, "fetch", "--quiet", "--no-tags", url, f"refs/heads/{branch}")
            if git.is_ancestor(head, there):
                self.console.have(f"{branch} is pushed; it has newer commits (image updates, for example): git pull")
                return
            if not git.is_ancestor(there, head):
                raise Failure(
                    f"{branch} here and at {url} have diverged.",
                    f"git fetch {url} {branch}; git log --graph HEAD FETCH_HEAD",
                    "git pull --rebase, then run ./lab up --from sync",
                )
        git.remote(self.lab.folder, access, "push", "--quiet", "--no-verify", url, f"HEAD:refs/heads/{branch}")
        self.console.did(f"pushed {git.short_head()} to {url}, branch {branch}")

    def ensure_flux_follows(self) -> None:
        """Apply GitRepository and Kustomization flux-system, the two objects that everything else hangs on.

        Flux keeps them up to date itself, but not across an answer that moves them: where it looks, their new form
        never comes.
        """
        if self._follows():
            self.console.have("Flux follows the repository")
            return
        folder = f"{self.settings.cluster_folder}/flux-system"
        self.cluster.apply_folder("Flux follows the repository", self.lab.folder, folder)

    def _follows(self) -> bool:
        """Say whether Flux has this repository's address and branch, and this cluster's folder in it."""
        found = self.cluster.list_of(f"{GIT_REPOSITORY},{KUSTOMIZATION}", FLUX)
        specs = {one.kind: one.spec for one in found if one.name == FLUX}
        source, entry = specs.get("GitRepository", {}), specs.get("Kustomization", {})
        followed = (source.get("url"), (source.get("ref") or {}).get("branch"), entry.get("path"))
        return followed == (
            self.settings.gitops_url,
            self.settings.gitops_branch,
            f"./{self.settings.cluster_folder}",
        )

    # Waiting

    def wait_for_flux(self) -> None:
        """Wait until Flux has read the repository, and applied its parts."""
        if self.lab.dry_run:
            self.console.would(f"wait until Flux has read the repository and applied {', '.join(parts(self.settings))}")
            return
        wanted = [(GIT_REPOSITORY, FLUX), *((KUSTOMIZATION, part) for part in parts(self.settings))]
        self.wait_for_objects(FLUX, wanted)
        self.wait_for_objects(self.settings.gitlab_namespace, [(HELM_RELEASE, "gitlab")])

    def wait_for_objects(self, namespace: str, wanted: list[tuple[str, str]]) -> list[KubeObject]:
        """Wait until each object, by kind and name, is ready at this commit; return them. One look is enough where
        all are."""
        kinds = ",".join(dict.fromkeys(kind for kind, _ in wanted))
        seen = {(one.kind, one.name): one for one in self.cluster.list_of(kinds, namespace)}
        found = []
        for kind, name in wanted:
            one = seen.get((KINDS[kind], name))
            if one is None or self.probes.currency(one) is not None:
                one = self._wait_for_object(kind, name, namespace)
            self.console.have(f"{short(kind)} {name} is ready")
            found.append(one)
        return found

    def _wait_for_object(self, kind: str, name: str, namespace: str) -> KubeObject:
        minutes, what = self.lab.limits.wait_flux_minutes, short(kind)

        def probe() -> str | None:
            if (kind, name) == (KUSTOMIZATION, NAME):
                self.refuse_what_the_check_refused()
            return self.probes.object_current(kind, name, namespace)

        try:
            self.lab.patience.wait(minutes, f"{what} {name}", probe)
        except TimedOutError as late:
            raise Failure(
                f"{what} {namespace}/{name} is not ready after {minutes} minutes: {late}",
                f"flux get all -A; kubectl describe {what} {name} -n {namespace}",
            ) from late
        return self.cluster.find(kind, name, namespace) or NOTHING

    def refuse_what_the_check_refused(self) -> None:
        """End the run if GitLab's check has failed at this very commit: waiting cannot help."""
        check = self.cluster.find(KUSTOMIZATION, NAME, FLUX)
        if check is None or check.ready.status != "False" or not self.lab.git.holds_head(attempted(check)):
            return
        verdict = GitLabCheck(self.lab)
        refusal = verdict.refusal()
        if refusal is not None:
            raise verdict.failure(refusal)
