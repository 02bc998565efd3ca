"""sync: this repository where Flux reads it, with a key that may also write (image automation commits), and Flux
following it. The GitLab release passes from Helm's hands into Flux's without a restart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ..clients.git import GitError
from ..clients.gitlab import DeployKey, Hook
from ..clients.gitlab_access import MAINTAINER
from ..clients.objects import NOTHING
from ..errors import AnswerLostError, Failure
from ..hands_off import HandsOff
from ..patience import TimedOutError
from ..probes import FLUX, RECEIVER
from ..secret import Secret, hidden_address
from ..settings import Settings
from .base import Stage
from .credential import GitCredential
from .following import Following
from .gitlab import WEBHOOK_RECEIVER, tell_registry
from .tokens import UPDATE_TOKEN, UPDATE_VARIABLE, YEAR, ensure_update_token, lasts, today

STATUS_TOKEN = "flux-status"  # noqa: S105 - its name


class Sync(Stage):
    name = "sync"
    purpose = "this repository pushed, Flux following it, the GitLab release handed over to Flux"
    looks_at = (
        "the branch that Flux follows",
        "Flux's objects, and the commit that they are at",
        "GitLab's keys and hooks",
    )
    changes = ("Secret flux-system/flux-system", "the branch", "the lab's project: deploy key, tokens, webhook")

    @classmethod
    def programs(cls, settings: Settings) -> set[str]:
        return super().programs(settings) | Following.programs(settings)

    def run(self) -> None:
        following = Following(self.lab)
        pods = self.probes.gitlab_pods()
        if self.settings.self_hosted:
            self._sync_self(following)
        else:
            following.follow_external_repository()
        if self.lab.rescuing:
            HandsOff(self.lab).give_back()
        following.wait_for_flux()
        self._report_adoption(pods)
        if self.settings.self_hosted:
            self._ensure_push_hook(following)

    def _sync_self(self, following: Following) -> None:
        """The lab's own GitLab hosts the lab's repository."""
        if not self.lab.dry_run:
            following.refuse_unfit()
        key, project, console = GitCredential(self.lab).ensure(), self.settings.lab_project, self.console
        if self.lab.dry_run:
            console.would(f"push this repository to {self.settings.lab_project_url} and let Flux's key write there")
            console.would(f"make a project access token {STATUS_TOKEN} for commit statuses")
            console.would(f"make a project access token {UPDATE_TOKEN}, in the protected variable {UPDATE_VARIABLE}")
        else:
            self._push(following)
            self.patience.settle(f"let Flux's key into {project}", lambda: self._ensure_deploy_key(key))
            self.patience.settle(f"make the token {STATUS_TOKEN} of {project}", self._ensure_status_token)
            self.patience.settle(f"make the token {UPDATE_TOKEN} of {project}", partial(ensure_update_token, self.lab))
        following.ensure_flux_follows()

    def _push(self, following: Following) -> None:
        settings, url = self.settings, self.settings.lab_project_url
        try:
            following.push_branch(url, self.lab.as_root)
        except GitError as error:
            look = f"{settings.gitlab_url}/{settings.lab_project}/-/settings/repository"
            raise Failure(f"This repository could not be pushed to {url}: {error.words}", look) from error
        if not self.lab.git.remote_url("origin"):
            origin = f"ssh://git@{settings.gitlab_host}:{settings.ssh_port}/{settings.lab_project}.git"
            self.lab.git.here("remote", "add", "origin", origin)
            self.console.did(f"Git remote origin: {origin}")

    def _ensure_deploy_key(self, public: str) -> None:
        """Add Flux's public key to the lab's project, with the right to write, also to the protected branch."""
        project, title = self.settings.lab_project, f"flux-{self.settings.lab_name}"
        keys = sort_keys(self.lab.gitlab.deploy_keys(project), title, public)
        self.lab.gitlab.delete_deploy_keys(project, keys.strays)
        if keys.ours is not None:
            number = keys.ours.id
            self.console.have(f"Flux's key is a deploy key of {project}")
        else:
            number = self.lab.gitlab.make_deploy_key(project, title, public).id
            self.console.did(f"Flux's key is a deploy key of {project}, with the right to write")
        self._ensure_key_may_push(number)

    def _ensure_key_may_push(self, key: int) -> None:
        project, branch = self.settings.lab_project, self.settings.gitops_branch
        found = self.lab.gitlab.protected_branch(project, branch)
        if found is not None and found.lowest_level < MAINTAINER:
            self.console.warn(
                f"Developers may push or merge to {branch} of {project}, so each of them rules the cluster. If you do "
                f"not want that:\n{self.settings.gitlab_url}/{project}/-/settings/repository, Protected branches: "
                f"Maintainers in both fields"
            )
        if found is not None and key in found.key_ids:
            self.console.have(f"Flux's key may push to {branch}")
            return
        if found is None:
            found = self.lab.gitlab.protect_branch(project, branch, key)
            if found is None:
                raise AnswerLostError(f"{branch} was protected meanwhile", "")
        else:
            found = self.lab.gitlab.let_key_push(project, branch, key)
        if key not in found.key_ids:
            raise Failure(
                f"GitLab did not let Flux's deploy key push to the protected branch {branch}.",
                "",
                f"in {self.settings.gitlab_url}/{project}/-/settings/repository, Protected branches:\n"
                f'add the deploy key flux-{self.settings.lab_name} to "Allowed to push and merge"',
            )
        self.console.did(f"Flux's key may push to {branch}")

    def _ensure_status_token(self) -> None:
        """Keep the token with which Flux writes onto each commit whether it was deployed.

        The branch is protected, so that takes the role of a maintainer. The token expires after a year at most;
        within its last month this stage replaces it.
        """
        project = self.settings.lab_project
        token = (self.cluster.find("secret", "gitlab-status", FLUX) or NOTHING).secret("token")
        known = self.lab.gitlab.own_token(token) if token else None
        lasting = known if known is not None and lasts(known, today()) else None
        there = self.lab.gitlab.access_tokens(project, STATUS_TOKEN)
        self.lab.gitlab.delete_access_tokens(project, [one for one in there if lasting is None or one.id != lasting.id])
        if lasting is not None:
            self.console.have("Secret flux-system/gitlab-status")
            return
        made = self.lab.gitlab.make_access_token(project, STATUS_TOKEN, (today() + YEAR).isoformat())
        self.cluster.put_secret(FLUX, "gitlab-status", {"token": made.token})

    def _report_adoption(self, before: list[str]) -> None:
        """Flux took GitLab's release over; the same pod should still run."""
        if self.lab.dry_run:
            return
        if self.probes.gitlab_pods() == before:
            self.console.have("Flux keeps the GitLab release now; GitLab was not restarted")
            return
        self.console.warn(
            "GitLab's pod was replaced meanwhile: what is committed differs from what was installed.\nWaiting "
            "for the new one."
        )
        self.probes.wait_for_gitlab()

    def _ensure_push_hook(self, following: Following) -> None:
        """Have GitLab tell Flux of every push. GitLab refuses to call private addresses; this one name is allowed."""
        project = self.settings.lab_project
        if self.lab.dry_run:
            self.console.would(f"make a webhook of {project} that tells Flux of pushes")
            return
        receivers = following.wait_for_objects(FLUX, [(RECEIVER, "gitlab"), (RECEIVER, "registry")])
        paths = {one.name: str(one.status.get("webhookPath", "")) for one in receivers}
        self._check_registry_address(hidden_address(WEBHOOK_RECEIVER + paths.get("registry", "")))
        self._ensure_outbound_allowed(WEBHOOK_RECEIVER.removeprefix("http://"))
        url = hidden_address(WEBHOOK_RECEIVER + paths.get("gitlab", ""))
        try:
            minutes = self.lab.limits.wait_flux_minutes
            self.patience.wait(minutes, f"webhook of {project}", lambda: self._hook_accepted(url))
        except TimedOutError as late:
            look = f"{self.settings.gitlab_url}/admin/application_settings/network, Outbound requests"
            raise Failure(f"GitLab does not take the webhook to Flux: {late}", look) from late

    def _hook_accepted(self, url: Secret) -> str | None:
        """Whether the hook is there. GitLab's processes keep its settings for a minute, so that the one that answers
        may not know yet that this address is allowed."""
        refusal = self.patience.settle(
            f"make the webhook of {self.settings.lab_project}", lambda: self._ensure_hook(url)
        )
        return f"GitLab does not know yet that it may call Flux ({refusal})" if refusal else None

    def _check_registry_address(self, url: Secret) -> None:
        """Check that what GitLab was told at its start is what Flux answers to."""
        found = self.cluster.find("secret", "registry-webhook", self.settings.gitlab_namespace) or NOTHING
        old = found.secret("url")
        if old != url:
            tell_registry(self.lab, url, was_told=bool(old))

    def _ensure_outbound_allowed(self, host: str) -> None:
        allowed = self.lab.gitlab.allowed_outbound()
        if host in allowed.hosts:
            self.console.have("GitLab may call Flux")
            return
        if host not in self.lab.gitlab.allow_outbound(allowed, host).hosts:
            raise Failure(
                f"GitLab accepted the address {host} but does not list it, so it cannot call Flux.",
                f"{self.settings.gitlab_url}/admin/application_settings/network, Outbound requests",
                f"add {host} there, then run ./lab up --only sync",
            )
        self.console.did("GitLab may call Flux, and no other private address")

    def _ensure_hook(self, url: Secret) -> str:
        """Keep one webhook to this address, none to an older one of Flux's; return why GitLab refuses it, or
        nothing."""
        project = self.settings.lab_project
        there, strays = sort_hooks(self.lab.gitlab.hooks(project), url)
        self.lab.gitlab.delete_hooks(project, strays)
        if there is None:
            token = (self.cluster.find("secret", "receiver-token", FLUX) or NOTHING).secret("token")
            refusal = self.lab.gitlab.make_hook(project, url, token)
            if refusal:
                return refusal
            self.console.did(f"GitLab tells Flux of pushes to {project}")
        else:
            self.console.have(f"GitLab tells Flux of pushes to {project}")
        return ""


@dataclass(frozen=True)
class Keys:
    """A project's deploy keys: Flux's, which may write, and those that are in its way."""

    ours: DeployKey | None
    strays: Sequence[DeployKey]


def sort_keys(keys: Sequence[DeployKey], title: str, public: str) -> Keys:
    """Tell Flux's key from those of an earlier one, or without the right to write."""
    material = public.split()[:2]
    ours = next((key for key in keys if key.material == material and key.may_write), None)
    strays = [
        key
        for key in keys
        if (key.material == material and not key.may_write) or (key.title == title and key.material != material)
    ]
    return Keys(ours, strays)


def sort_hooks(hooks: Sequence[Hook], url: Secret) -> tuple[Hook | None, list[Hook]]:
    """Return the webhook to an address of Flux's, and the others to Flux."""
    ours = [hook for hook in hooks if hook.server == WEBHOOK_RECEIVER]
    there = next((hook for hook in ours if hook.url == url), None)
    return there, [hook for hook in ours if hook is not there]
