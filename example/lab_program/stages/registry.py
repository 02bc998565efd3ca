"""registry: one deploy token a group, which may pull and nothing else and does not expire, and the Secret regcred with
all of them wherever images are pulled (the applications' namespace) or looked for (flux-system)."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..clients.gitlab import DeployToken
from ..clients.http import HttpError, basic_login
from ..clients.objects import NOTHING, KubeObject
from ..lab import Lab
from ..probes import FLUX
from ..secret import Secret, as_json
from .base import Stage

NAME = "regcred"
TYPE = "kubernetes.io/dockerconfigjson"
KEY = ".dockerconfigjson"
UNAUTHORIZED = 401
# What of an entry is no secret.
OPEN = ("username", "email", "serveraddress")


@dataclass(frozen=True)
class Login:
    """A user of a registry. What else its entry in a Docker configuration holds is kept as it is."""

    username: str
    password: Secret

    def entry(self) -> dict[str, str | Secret]:
        """Return its entry in a Docker configuration."""
        both = f"{self.username}:{self.password.reveal()}"
        auth = Secret(base64.b64encode(both.encode()).decode())
        return {"username": self.username, "password": self.password, "auth": auth}


class Registry(Stage):
    name = "registry"
    purpose = "deploy tokens that may pull, and regcred wherever images are pulled"
    looks_at = ("the groups' deploy tokens", "the Secrets regcred")
    changes = ("deploy tokens that are missing, or that the registry refuses", "the Secrets regcred")

    def run(self) -> None:
        settings = self.settings
        if self.lab.dry_run:
            names = " ".join(settings.groups)
            self.console.would(f"make sure that {names} have the deploy token flux-{settings.lab_name} (read_registry)")
            self.console.would(
                f"make sure that its credentials are in flux-system/{NAME} and {settings.app_namespace}/{NAME}"
            )
            return
        # Before anything is looked at: GitLab shows a token once, and then it must be possible to keep it.
        _ = self.lab.gitlab
        self.there = pull_secrets(self.lab)
        self.credentials = all_credentials(self.there)
        self.replaced = False
        for group in settings.groups:
            self.patience.settle(f"make a deploy token of {group}", partial(self._ensure_token, group))
        for namespace in (FLUX, settings.app_namespace):
            self._write(namespace)
        if self.replaced:
            self._let_flux_in()

    def _ensure_token(self, group: str) -> None:
        """Make a group's deploy token. GitLab shows it once. Where its Secret is lost it is replaced, never doubled."""
        name = f"flux-{self.settings.lab_name}"
        tokens = self.lab.gitlab.deploy_tokens(group, name)
        login = login_of(tokens, self.credentials.values())
        # GitLab numbers its tokens, so the user's name alone proves nothing: a GitLab that was restored on a new
        # cluster
        # brings a token of the same name with another password.
        if login is not None and registry_answer(self.lab, login) != str(UNAUTHORIZED):
            self._keep(group, login)
            self.console.have(f"deploy token of {group}")
            return
        self.lab.gitlab.delete_deploy_tokens(group, tokens)
        made = self.lab.gitlab.make_deploy_token(group, name, ["read_registry"])
        self._keep(group, Login(made.username, made.token))
        self.console.did(f"deploy token of {group}: {made.username}")
        self._write(FLUX)

    def _keep(self, group: str, login: Login) -> None:
        self.credentials[registry_key(self.settings.registry_address, self.settings.groups, group)] = login.entry()

    def _write(self, namespace: str) -> None:
        """Write regcred there, unless it holds just this. Entries for other registries are the owner's and stay."""
        settings = self.settings
        there = self.there[namespace]
        wanted = merged_auths(there, self.credentials, settings.registry_address, settings.groups)
        if wanted == there:
            self.console.have(f"Secret {namespace}/{NAME}")
            return
        config = Secret(as_json({"auths": wanted}).decode())
        self.cluster.put_secret(namespace, NAME, {KEY: config}, TYPE)
        self.there[namespace] = wanted
        self.replaced |= namespace == FLUX and any(there.get(key, entry) != entry for key, entry in wanted.items())

    def _let_flux_in(self) -> None:
        """Give Flux's scan another address: GitLab may have banned the one it has for its old log-in."""
        for pod in self.cluster.list_of("pods", FLUX, "app=image-reflector-controller"):
            self.cluster.delete("pod", pod.name, FLUX, "restart Flux's scan of images", wait=False)
            self.console.did("Flux's scan of images starts again: GitLab may have banned it for its old log-in")


Auths = dict[str, dict[str, Any]]


def registry_key(address: str, groups: Sequence[str], group: str) -> str:
    """Return which images the credentials of a group are for.

    With several groups the group's path belongs to it; both the kubelet and Flux then take the longest key that an
    image's name begins with. They compare characters, so that without the last slash friends/web would open
    friends/website; and they drop a leading /v1/ or /v2/, as an API's version.
    https://kubernetes.io/docs/concepts/containers/images/#config-json (kubelet);
    https://github.com/google/go-containerregistry/tree/main/pkg/authn/kubernetes (image-reflector-controller)
    """
    if len(groups) == 1:
        return address
    path = f"{group.lower()}/"
    return f"{address}/{'v2/' if re.match(r'v[12]/', path) else ''}{path}"


def auths_of(secret: KubeObject) -> Auths:
    """Return the entries of a pull secret, by registry. Something unreadable counts as nothing."""
    # All of it is hidden in output, whether or not it can be read.
    secret.secret(KEY)
    try:
        content = json.loads(secret.value(KEY) or "{}")
    except ValueError:
        return {}
    found = content.get("auths") if isinstance(content, dict) else None
    return {key: _hidden(entry) for key, entry in (found or {}).items() if isinstance(entry, dict)}


def _hidden(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry with its secrets as such. The field `auth` alone is enough: user and password in base64."""
    with contextlib.suppress(ValueError):
        Secret(base64.b64decode(str(entry.get("auth", "")), validate=True).decode().partition(":")[2])
    return {
        name: Secret(value) if name not in OPEN and isinstance(value, str) else value for name, value in entry.items()
    }


def pull_secrets(lab: Lab) -> dict[str, Auths]:
    """Return what the Secrets regcred hold now, by namespace."""
    places = (lab.settings.app_namespace, FLUX)
    return {place: auths_of(lab.cluster.find("secret", NAME, place) or NOTHING) for place in places}


def all_credentials(by_namespace: Mapping[str, Auths]) -> Auths:
    """Return what several pull secrets hold together; the last one's wins."""
    return {registry: entry for auths in by_namespace.values() for registry, entry in auths.items()}


def merged_auths(there: Auths, ours: Auths, address: str, groups: Sequence[str]) -> Auths:
    """Return what a pull secret should hold: the owner's entries as they are, and one of each of the lab's groups."""
    keys = {registry_key(address, groups, group) for group in groups}
    owners = {key: entry for key, entry in there.items() if key != address and not key.startswith(f"{address}/")}
    return owners | {key: entry for key, entry in ours.items() if key in keys}


def login_of(tokens: Sequence[DeployToken], entries: Iterable[Mapping[str, Any]]) -> Login | None:
    """Return the log-in of a group's one token, where one of these entries has its user; None for two tokens or
    none."""
    if len(tokens) != 1:
        return None
    for entry in entries:
        if entry.get("username") == tokens[0].username and isinstance(entry.get("password"), Secret):
            return Login(tokens[0].username, entry["password"])
    return None


def registry_answer(lab: Lab, login: Login) -> str:
    """Return what GitLab answers to a log-in at its registry: an HTTP status, or why no answer came."""
    url = f"{lab.settings.gitlab_url}/jwt/auth?service=container_registry"
    try:
        answer = lab.http.send("GET", url, headers=basic_login(login.username, login.password.reveal()))
    except HttpError as error:
        return lab.transport.in_words(error, 20)
    return str(answer.status)
