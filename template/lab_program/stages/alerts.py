"""alerts: what the alarm needs that is in no file here: its channel's token or webhook, and a token for GitLab's API.

Flux applies apps/alerts. The Secret `alerts` comes from its encrypted file, if there is one, and else from the owner.
The token for GitLab's API may read the lab's project, its access tokens and its runners among it, and change nothing.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from .. import sealed
from ..alarm import NAME
from ..clients.gitlab_access import MAINTAINER
from ..clients.objects import NOTHING
from ..errors import Failure
from ..secret import Secret, hidden_address
from ..settings import Settings
from .asking import given, how_to_give
from .base import Stage
from .early_secrets import bring
from .tokens import YEAR, lasts, today

SEALED = Path("apps") / NAME / sealed.FOLDER / f"{NAME}{sealed.SUFFIX}"
GITLAB_SECRET, GITLAB_TOKEN = "alerts-gitlab", "lab-alerts"
VARIABLE = "LAB_ALERTS_FILE"
WORDS = {
    "ntfy": "ntfy's access token, tk_…; nothing if everybody may write to the topic",
    "gotify": "Gotify's token of an application",
    "matrix": "the access token of the Matrix account that writes",
    "discord": "the address of Discord's webhook, https://discord.com/api/webhooks/…",
    "slack": "the address of Slack's incoming webhook, https://hooks.slack.com/services/…",
}


class Alerts(Stage):
    name = "alerts"
    purpose = "the secrets of the alarm, if the lab has one"
    looks_at = ("the Secrets alerts and alerts-gitlab", "the access tokens of the lab's project")
    changes = ("the Secrets alerts and alerts-gitlab", "the project access token lab-alerts, which may read")

    @classmethod
    def programs(cls, settings: Settings) -> set[str]:
        sops = {"sops"} if settings.alerts_entry and settings.age_recipients else set()
        return super().programs(settings) | sops

    def run(self) -> None:
        settings = self.settings
        if settings.alerts == "none":
            self.console.skip("nothing to do: alerts is none")
            return
        if settings.alerts_entry:
            self._ensure_secret(settings.alerts_entry)
        if settings.self_hosted:
            self._ensure_gitlab_token()
        else:
            self.console.skip("access tokens and runners are not watched: the lab's repository is not in its GitLab")

    def _ensure_secret(self, key: str) -> None:
        namespace = self.settings.gitlab_namespace
        if (self.lab.folder / SEALED).is_file() and self.settings.age_recipients:
            bring(self.lab, SEALED.parent, NAME, namespace)
            return
        there = self.cluster.find("secret", NAME, namespace)
        # An empty token of ntfy is an answer, too.
        if there is not None and (there.secret(key) or self._may_be_empty) and key in (there.content.get("data") or {}):
            self.console.have(f"Secret {namespace}/{NAME}")
        elif self.lab.dry_run:
            self.console.would(f"ask for {WORDS[self.settings.alerts]}, and keep it in Secret {namespace}/{NAME}")
        else:
            self.cluster.put_secret(namespace, NAME, {key: self._ask(key)})

    @property
    def _may_be_empty(self) -> bool:
        return self.settings.alerts == "ntfy"

    def _ask(self, key: str) -> Secret:
        """Return the token or webhook from the owner's file, or from the owner.

        Raises:
            Failure: there is neither, or it is none of the kind.
        """
        words = WORDS[self.settings.alerts]
        then = how_to_give(self.lab, VARIABLE, f"{key}=…", f"{NAME}/{NAME}")
        value = given(self.lab, VARIABLE, key, words, "docs/alerts.md", then).reveal().strip()
        problem = secret_problem(self.settings.alerts, key, value)
        if problem:
            raise Failure(f"That is not {words}: {problem}.", "docs/alerts.md", then)
        return hidden_address(value) if key == "url" else Secret(value)

    def _ensure_gitlab_token(self) -> None:
        """Keep the token with which the alarm reads access tokens and runners. GitLab shows both to maintainers alone.

        It expires after a year at most, and is replaced within its last month; the alarm itself tells when that is due.
        """
        project, namespace = self.settings.lab_project, self.settings.gitlab_namespace
        if self.lab.dry_run:
            self.console.would(
                f"make a project access token {GITLAB_TOKEN} that may read, in Secret {namespace}/{GITLAB_SECRET}"
            )
            return
        self.patience.settle(f"make the token {GITLAB_TOKEN} of {project}", partial(self._keep_gitlab_token, project))

    def _keep_gitlab_token(self, project: str) -> None:
        namespace, gitlab = self.settings.gitlab_namespace, self.lab.gitlab
        token = (self.cluster.find("secret", GITLAB_SECRET, namespace) or NOTHING).secret("token")
        known = gitlab.own_token(token) if token else None
        lasting = known if known is not None and lasts(known, today()) else None
        there = gitlab.access_tokens(project, GITLAB_TOKEN)
        gitlab.delete_access_tokens(project, [one for one in there if lasting is None or one.id != lasting.id])
        if lasting is not None:
            self.console.have(f"Secret {namespace}/{GITLAB_SECRET}")
            return
        ends = (today() + YEAR).isoformat()
        made = gitlab.make_access_token(project, GITLAB_TOKEN, ends, ("read_api",), MAINTAINER)
        self.cluster.put_secret(namespace, GITLAB_SECRET, {"token": made.token})
        self.console.did(f"access token {GITLAB_TOKEN} of {project}, which may read, until {ends}")


def secret_problem(channel: str, key: str, value: str) -> str:
    """Return why a value cannot be a channel's token or webhook; nothing if it can. The value is not in the words."""
    if not value:
        return "" if channel == "ntfy" else "it is empty"
    if any(character.isspace() or not character.isprintable() for character in value):
        return "it holds blanks or more than one line"
    if not value.isascii():
        return "it holds letters beyond ASCII"
    if key == "url" and not value.startswith("https://"):
        return "a webhook begins with https://"
    if key == "token" and "://" in value:
        return "an address is no token"
    return ""
