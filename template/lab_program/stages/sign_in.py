"""sign-in: GitLab's OAuth application, with which the lab's applications have their visitors log in at GitLab."""

from __future__ import annotations

import secrets

from ..clients.gitlab_applications import Application
from ..clients.objects import NOTHING, KubeObject
from ..secret import Secret
from ..settings import Settings
from .base import Stage
from .gitlab import ensure_ca

NAME = "sign-in"
SCOPES = ("openid", "profile", "email")
# What is in the Secret; apps/sign-in names the same keys.
CLIENT_ID, CLIENT_SECRET, COOKIE_SECRET = "client-id", "client-secret", "cookie-secret"
# AES takes a key of so many bytes.
COOKIE_BYTES = 32


class SignIn(Stage):
    name = "sign-in"
    purpose = "GitLab's OAuth application for the applications' sign-in, if there is one"
    looks_at = ("GitLab's OAuth applications", "the Secret sign-in")
    changes = ("the OAuth application and the Secret, if one is missing or does not fit the other",)

    def run(self) -> None:
        settings = self.settings
        if not settings.sign_in_host:
            self.console.skip("nothing to do: sign_in is none")
            return
        if self.lab.dry_run:
            self.console.would(f"make sure that GitLab has the OAuth application {application_name(settings)}")
            self.console.would(f"make sure that its secret is in Secret {settings.app_namespace}/{NAME}")
            return
        namespace = settings.app_namespace
        self.cluster.ensure_namespace(namespace)
        ensure_ca(self.lab, namespace, self.cluster.find("secret", "lab-ca", namespace) or NOTHING)
        self.patience.settle("make GitLab's OAuth application for the sign-in", self._ensure_application)

    def _ensure_application(self) -> None:
        """Make the application. GitLab shows its secret once: if the Secret is lost, it is replaced, never doubled."""
        settings, gitlab = self.settings, self.lab.gitlab
        name, callback = application_name(settings), f"{settings.sign_in_url}/oauth2/callback"
        there = self.cluster.find("secret", NAME, settings.app_namespace) or NOTHING
        known = gitlab.oauth_applications(name)
        if fits(known, there, callback):
            self.console.have(f"GitLab's OAuth application {name}")
            return
        gitlab.delete_oauth_applications(known)
        made = gitlab.make_oauth_application(name, callback, SCOPES)
        self.console.did(f"GitLab's OAuth application {name}, confidential, for {' '.join(SCOPES)}")
        values: dict[str, str | Secret] = {
            CLIENT_ID: made.client_id,
            CLIENT_SECRET: made.secret,
            # The one that is there stays: who is logged in stays so.
            COOKIE_SECRET: there.secret(COOKIE_SECRET) or Secret(secrets.token_urlsafe(COOKIE_BYTES)),
        }
        self.cluster.put_secret(settings.app_namespace, NAME, values)
        for pod in self.cluster.list_of("pods", settings.app_namespace, f"app.kubernetes.io/instance={NAME}"):
            self.cluster.delete("pod", pod.name, settings.app_namespace, "restart the sign-in", wait=False)
            self.console.did("the sign-in starts again, with its new secret")


def application_name(settings: Settings) -> str:
    """Return what GitLab calls the OAuth application."""
    return f"Sign-in of {settings.lab_name}"


def fits(known: list[Application], there: KubeObject, callback: str) -> bool:
    """Say whether GitLab's one application is the Secret's, and leads back to the sign-in."""
    if len(known) != 1 or not (there.secret(CLIENT_SECRET) and there.secret(COOKIE_SECRET)):
        return False
    one = known[0]
    return one.client_id == there.value(CLIENT_ID) and one.callback == callback and one.confidential
