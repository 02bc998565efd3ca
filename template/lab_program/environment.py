"""What the owner's environment decides: one table for the variables that programs may see, and the settings `LAB_…`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from .errors import WrongCall

# What Git calls local to one repository (`git rev-parse --local-env-vars`): called by a Git hook or an alias, these
# name the repository and the settings of the caller. GIT_CONFIG_COUNT is not among them: it brings settings of the
# owner's.
ANOTHER_REPOSITORY = (
    r"GIT_(?:DIR|WORK_TREE|IMPLICIT_WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|COMMON_DIR"
    r"|NAMESPACE|PREFIX|CONFIG|CONFIG_PARAMETERS|GRAFT_FILE|SHALLOW_FILE|INTERNAL_SUPER_PREFIX|NO_REPLACE_OBJECTS"
    r"|REPLACE_REF_BASE)"
)
# Variables that no program which this one starts gets to see, each with the reason. Everything else is the owner's to
# decide: KUBECONFIG, the proxies, SSL_CERT_FILE, SSL_CERT_DIR, GIT_CONFIG_GLOBAL, GIT_CONFIG_COUNT, GIT_SSH_COMMAND,
# SSH_AUTH_SOCK …
REMOVED: dict[str, str] = {
    # A trace prints requests with their tokens.
    r"GIT_TRACE\w*|GIT_CURL_VERBOSE": "it prints tokens",
    ANOTHER_REPOSITORY: "it names another repository",
    r"GIT_ASKPASS|SSH_ASKPASS|SSH_ASKPASS_REQUIRE": "it would ask for a password that the program has",
    # Helm and Flux would work on another cluster or namespace than kubectl, or keep the release where Flux never looks.
    r"HELM_(KUBE\w*|NAMESPACE|DRIVER\w*|DEBUG)|FLUX_SYSTEM_NAMESPACE": "it names another cluster",
    r"LANGUAGE|LC_\w+|LANG": "messages are read in English",
    r"SOPS_AGE_KEY(_CMD)?": "it holds a private key, or says how to get one",
    r"GREP_OPTIONS|BASH_ENV|ENV|CDPATH|SHELLOPTS|BASHOPTS": "it changes what a shell does",
}
# Not seen by a Git that sends a credential of the lab's: it must check the certificate, and against the lab's
# authority.
REMOVED_WITH_CREDENTIAL = r"GIT_SSL_(NO_VERIFY|CAINFO|CAPATH)|GIT_PROXY_SSL_(NO_VERIFY|CAINFO)"
_REMOVED = re.compile("|".join(f"(?:{pattern})" for pattern in REMOVED))
_REMOVED_WITH_CREDENTIAL = re.compile(REMOVED_WITH_CREDENTIAL)


def for_programs(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of every program that is started: the owner's without REMOVED, and in English."""
    kept = {name: value for name, value in environment.items() if not _REMOVED.fullmatch(name)}
    return kept | {"LC_ALL": "C"}


def for_owner(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program that speaks with the owner itself, such as Copier: all of it, but for what
    names another repository."""
    return {name: value for name, value in environment.items() if not re.fullmatch(ANOTHER_REPOSITORY, name)}


def for_git_with_credential(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a Git that sends a credential of the lab's."""
    kept = {name: value for name, value in environment.items() if not _REMOVED_WITH_CREDENTIAL.fullmatch(name)}
    return kept | {"GIT_TERMINAL_PROMPT": "0"}


@dataclass(frozen=True)
class Limits:
    """How long to wait and how often to try; each is a variable `LAB_…` that `./lab up --help` lists.

    Attributes:
        wait_flux_minutes, wait_gitlab_minutes, wait_runner_minutes, wait_verify_minutes, wait_backup_minutes,
            wait_migrations_minutes: for what, and how long.
        poll_seconds: the pause between two looks while waiting.
        retries: how often a request that failed with a transient error is sent.
        retry_seconds: the first pause between such requests; it doubles up to 60 s.
        http_seconds: how long one request to GitLab may take.
        skip: the names of preflight's checks that are only warnings.
    """

    wait_flux_minutes: int = 10
    wait_gitlab_minutes: int = 20
    wait_runner_minutes: int = 5
    wait_verify_minutes: int = 15
    wait_backup_minutes: int = 360
    wait_migrations_minutes: int = 180
    poll_seconds: float = 5.0
    retries: int = 6
    retry_seconds: int = 1
    http_seconds: int = 60
    skip: frozenset[str] = frozenset()

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Limits:
        """Read the variables.

        Raises:
            WrongCall: one of them is no number.
        """
        values: dict[str, int | float] = {}
        for field in fields(cls):
            name = f"LAB_{field.name.upper()}"
            text = environment.get(name, "")
            if not text or field.name == "skip":
                continue
            if field.name == "poll_seconds":
                if not re.fullmatch(r"[0-9]+([.][0-9]+)?", text):
                    raise WrongCall(f'{name} must be a number of seconds, not "{text}"')
                values[field.name] = float(text)
            else:
                if not re.fullmatch(r"0|[1-9][0-9]{0,5}", text):
                    raise WrongCall(f'{name} must be a whole number, not "{text}"')
                values[field.name] = int(text)
        return cls(**values, skip=frozenset(environment.get("LAB_SKIP", "").split()))  # type: ignore[arg-type]
