"""The client secret with which GitLab logs people in at a provider of the owner's (gitlab_login: oidc)."""

from __future__ import annotations

from ..clients.objects import NOTHING
from ..errors import Failure
from ..lab import Lab
from ..value_lines import read_values

NAME, KEY = "gitlab-login", "client-secret"
VARIABLE = "LAB_LOGIN_FILE"


def ensure_login_secret(lab: Lab) -> None:
    """Keep the client secret in GitLab's namespace; without one GitLab starts all the same, with passwords alone."""
    settings, console = lab.settings, lab.console
    if settings.gitlab_login != "oidc":
        return
    namespace = settings.gitlab_namespace
    if (lab.cluster.find("secret", NAME, namespace) or NOTHING).secret(KEY):
        console.have(f"Secret {namespace}/{NAME}")
        return
    if lab.dry_run:
        console.would(f"ask for the provider's client secret, and keep it in Secret {namespace}/{NAME}")
        return
    file = lab.environment.get(VARIABLE, "")
    if file:
        value = read_values(file).get(KEY)
        if value is None or not value.reveal().strip():
            raise Failure(f"{VARIABLE}={file} lacks {KEY}.", "", f"write a line {KEY}=… there, and run ./lab up again")
    elif console.terminal:
        value = console.ask_secret("The client secret that your provider gave to GitLab (not shown; empty: later):")
    else:
        value = None
    if value is None or not value.reveal().strip():
        console.warn(
            f"GitLab has no client secret for your provider yet, so people log in with passwords alone.\n"
            f"Set {VARIABLE} to a file (chmod 600) with a line {KEY}=…, and run ./lab up --only gitlab"
        )
        return
    lab.cluster.put_secret(namespace, NAME, {KEY: value})
    if lab.cluster.find("deployment", "gitlab", namespace):
        console.warn(
            f"GitLab reads the client secret when it starts: kubectl rollout restart deploy/gitlab -n {namespace}"
        )
