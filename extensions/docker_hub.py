"""Rules for the questions about the cache of Docker Hub, and who may use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import names, values
from .answers import Answers
from .facts import ACME_SOURCES, SAMPLE_NAME, SIGN_IN_NAME


def _host(value: Any, answers: Answers) -> str | None:
    base = answers["base_domain"]
    other = next(name for name in ("mirror", "docker-hub") if f"{name}.{base}" != value)
    if (found := names.served_name(value, f"{other}.{base}")) is not None:
        return found
    taken = {
        answers["gitlab_host"]: "GitLab's own host",
        answers["registry_host"]: "the registry's host",
        f"{SAMPLE_NAME}.{base}": "where the sample application goes",
        f"{SIGN_IN_NAME}.{base}": "where the sign-in goes",
        answers.get("runner_host", ""): "the runner's machine",
        answers.get("nfs_server", ""): "the storage server",
        answers.get("smtp_host", ""): "the mail server",
    }
    if value in taken:
        return f"`{value}` is {taken[value]}; the cache needs another, such as `{other}.{base}`"
    source = answers["tls_source"]
    if names.is_private_name(value) and source in ACME_SOURCES:
        return f"`{value}` is no name of the public DNS, and Let's Encrypt signs nothing for it; give one such as `{other}.{base}`"
    if names.is_private_name(value) and not answers["private_ca"]:
        return f"no public authority signs `{value}`, so nothing would trust its certificate; give a name such as `{other}.{base}`"
    return None


RULES: dict[str, Callable[[Any, Answers], str | None]] = {
    "docker_hub_cache_host": _host,
    "docker_hub_cache_size": lambda value, _: values.quantity(value, "5Gi", "a week of images"),
}
