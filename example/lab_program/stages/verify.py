"""verify: the loop that the lab exists for, run for real, or the first thing that is wrong, in words.

In a full run it is content with a loop that has already carried the newest tag; `./lab verify` makes a new one.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping

from .. import mail, runners
from ..clients.http import HttpError
from ..clients.objects import KubeObject
from ..errors import Failure
from ..lab import Lab
from ..patience import TimedOutError
from ..probes import FLUX, GIT_REPOSITORY, KUSTOMIZATION, parts, readiness
from ..secret import Secret
from .base import Stage
from .flux import not_ready
from .loop import Loop
from .registry import Login, all_credentials, pull_secrets, registry_answer, registry_key
from .runner import runner_status

_REALM = re.compile(r'realm="([^"]*)"')


class Verify(Stage):
    """See the module. `again` is for `./lab verify`, which sends another tag."""

    name = "verify"
    purpose = "the whole loop, run for real: tag, build, scan, commit, pod"
    looks_at = ("GitLab, its registry, Flux and the runner, each for itself", "the loop, from a tag to a page")
    changes = ("a new tag of the sample project",)

    def __init__(self, lab: Lab, *, again: bool = False) -> None:
        super().__init__(lab)
        self.again = again

    def run(self) -> None:
        settings = self.settings
        if self.lab.dry_run:
            self.console.would("check GitLab, its registry, Flux and the runner, each for itself")
            if self.again and settings.smtp_enabled:
                self.console.would("have GitLab send a mail")
            if settings.sample_app:
                self.console.would(f"tag {settings.sample_project} and follow the tag until its pod runs")
            return
        self._verify_gitlab()
        self._verify_flux()
        _ = self.lab.gitlab
        self._verify_registry()
        if settings.runner_kind != "none":
            self._verify_runner()
        if not settings.sample_app:
            self.console.skip("this lab has no sample application, so there is no loop to run")
        elif settings.runner_kind == "none":
            self.console.skip("this lab has no runner, so nothing can build the sample application")
        else:
            Loop(self.lab).run(again=self.again)
        if self.again and settings.smtp_enabled:
            self._verify_mail()

    def _verify_gitlab(self) -> None:
        namespace, url = self.settings.gitlab_namespace, self.settings.gitlab_url
        reason = self.probes.gitlab_healthy()
        if reason is not None:
            look = f"kubectl get pods -n {namespace}; kubectl logs deploy/gitlab -n {namespace} --tail=80"
            raise Failure(f"GitLab is not healthy: {reason}.", look)
        reason = self.probes.gitlab_reachable()
        if reason is not None:
            look = f"kubectl get ingress,ingressroute,certificate -n {namespace}"
            raise Failure(f"GitLab is healthy, but {url} does not answer: {reason}.", look)
        self.console.have(f"{url} answers")

    def _verify_flux(self) -> None:
        # A commit may have just come: what is being applied is waited for, and the look that saw its end is judged.
        seen: dict[tuple[str, str], KubeObject] = {}
        with contextlib.suppress(TimedOutError):
            self.patience.wait(self.lab.limits.wait_flux_minutes, "Flux", lambda: self._applying(seen))
        reason = _controllers_not_ready(seen)
        if reason is not None:
            raise Failure(f"Flux is not healthy: {reason}.", "kubectl get pods -n flux-system")
        reason = readiness(seen.get(("GitRepository", FLUX)))
        if reason is not None:
            then = "fix that, then ./lab up --from sync"
            raise Failure(f"Flux cannot read the lab's repository: {reason}.", "flux get sources git -A", then)
        for part in parts(self.settings):
            reason = readiness(seen.get(("Kustomization", part)))
            if reason is not None:
                look = f"flux get kustomizations -A; kubectl describe kustomization {part} -n flux-system"
                raise Failure(f'Flux cannot apply "{part}": {reason}.', look)
        self.console.have("Flux reads and applies the repository")

    def _applying(self, seen: dict[tuple[str, str], KubeObject]) -> str | None:
        """Return what Flux is busy with, or None: all of it has ended well or badly.

        Args:
            seen: what this look saw, by kind and name; filled here.
        """
        seen.clear()
        listed = self.cluster.list_of(f"deployments,{GIT_REPOSITORY},{KUSTOMIZATION}", FLUX)
        seen.update({(one.kind, one.name): one for one in listed})
        if _controllers_not_ready(seen):
            return None
        wanted = [("GitRepository", FLUX), *(("Kustomization", part) for part in parts(self.settings))]
        found = [seen.get(one) for one in wanted]
        return next((one.ready.message for one in found if one is not None and one.ready.status == "Unknown"), None)

    def _verify_mail(self) -> None:
        """Have GitLab send a mail. A full run does not: nobody wants one for each."""
        address = self.settings.owner_email or self.settings.admin_email
        refused = mail.refusal(self.lab, address)
        if refused is not None:
            what = f"GitLab could not send a mail to {address}: {refused}"
            raise Failure(what, 'README.md, "Send a test mail"')
        self.console.have(f"the mail server took a mail for {address}; look whether it arrives")

    def _verify_registry(self) -> None:
        """Check that the registry answers, sends its clients to GitLab over https, and takes what regcred holds."""
        settings = self.settings
        realm, wanted = self._realm(), f"{settings.gitlab_url}/jwt/auth"
        if realm != wanted:
            raise Failure(
                f'The registry sends its clients to "{realm}" to log in, not to {wanted}.',
                "external_url and registry_external_url in apps/gitlab/gitlab.rb",
            )
        credentials = all_credentials(pull_secrets(self.lab))
        for group in settings.groups:
            entry = credentials.get(registry_key(settings.registry_address, settings.groups, group), {})
            password = entry.get("password")
            login = Login(str(entry.get("username", "")), password if isinstance(password, Secret) else Secret(""))
            answer = registry_answer(self.lab, login)
            if answer != "200":
                raise Failure(
                    f"The registry does not take the credentials in regcred for {group}: {answer}.",
                    f"{settings.gitlab_url}/groups/{group}/-/settings/repository (deploy tokens)",
                    "./lab up --only registry makes a new one if it is gone",
                )
        self.console.have("the registry answers and takes the cluster's credentials")

    def _realm(self) -> str:
        """Return where the registry sends its clients to log in."""
        settings = self.settings
        url = f"{settings.gitlab_url.partition('://')[0]}://{settings.registry_address}/v2/"
        try:
            answer = self.lab.http.send("GET", url)
        except HttpError as error:
            look = f"kubectl get ingress,ingressroute -n {settings.gitlab_namespace}"
            raise Failure(f"The registry {settings.registry_address} does not answer: {error.words}", look) from error
        found = _REALM.search(answer.headers.get("www-authenticate", ""))
        return found[1] if found else ""

    def _verify_runner(self) -> None:
        where, fix = f"{self.settings.gitlab_url}/admin/runners", "./lab up --only runner"
        gitlab, wanted = self.lab.gitlab, runners.wanted(self.settings)
        there = gitlab.runners()
        for one in wanted:
            found = [runner for runner in there if one.is_in(runner)]
            if not found:
                raise Failure(f"GitLab has no runner {one.name}.", where, fix)
            states = [runner_status(gitlab.runner_managers(runner.id)) for runner in found]
            if "online" not in states:
                what = f"The runner {one.name} is not online: GitLab calls it {states[-1]}."
                raise Failure(what, f"{where}, and the runner's log", fix)
            self.console.have(f"the runner {one.name} is online")


def _controllers_not_ready(seen: Mapping[tuple[str, str], KubeObject]) -> str | None:
    return not_ready([one for one in seen.values() if one.kind == "Deployment"])
