"""Rules for the questions about who logs in where."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from . import names, urls, values
from .answers import Answers
from .facts import SIGN_IN_NAME

# Names without an owner: no browser keeps a cookie for all hosts below one (publicsuffix.org).
_SHARED = frozenset({"home.arpa", "duckdns.org", "ddns.net", "dyndns.org", "dedyn.io", "nip.io", "sslip.io"})


def _sign_in(value: Any, answers: Answers) -> str | None:
    base = answers["base_domain"]
    if value != "gitlab":
        return None
    if "." not in base or base in _SHARED:
        why = f"browsers keep no cookie for all hosts below `{base}`, and the sign-in needs one"
        return f"`{value}` needs a base_domain of yours: {why}; answer one such as `lab.{base}`, or `none` here"
    host = f"{SIGN_IN_NAME}.{base}"
    if host in (answers["gitlab_host"], answers["registry_host"]):
        return f"`{value}` puts the sign-in at `{host}`, which is another host of the lab; rename that one, or answer `none`"
    return None


def _sign_in_groups(value: Any, _: Answers) -> str | None:
    if not isinstance(value, list):
        return f"{value!r} is not a list of groups; {values.listed(value, '[homelab]')}"
    for path in value:
        if (refusal := names.group_path(path)) is not None:
            return refusal
    if len(set(value)) < len(value):
        twice = next(path for path in value if value.count(path) > 1)
        return f"`{twice}` is in the list twice; keep one"
    return None


def _issuer(value: Any, answers: Answers) -> str | None:
    example = "https://auth.example.com"
    parts = urls.server(value, example, "the client's secret", secure=True)
    if isinstance(parts, str):
        return parts
    if value.rstrip("/").endswith("/.well-known/openid-configuration"):
        return f"`{value}` is the issuer's document; give what comes before it: `{value.partition('/.well-known')[0]}`"
    if "?" in value or "#" in value:
        return f"`{value}` has more than host and path; an issuer has no query and no fragment"
    if parts.hostname == answers["gitlab_host"]:
        return (
            f"`{value}` is this GitLab itself, which cannot log people in to itself; give the address of your provider"
        )
    return None


def _client_id(value: Any, _: Answers) -> str | None:
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]{1,255}", value):
        return f"`{value}` is not a client ID: up to 255 letters, digits and signs without a space, such as `gitlab`"
    return None


def _label(value: Any, _: Answers) -> str | None:
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > 60:
        return f"`{value}` is not a text for a button; give up to 60 characters, such as `Authentik`"
    return None


RULES: dict[str, Callable[[Any, Answers], str | None]] = {
    "sign_in": _sign_in,
    "sign_in_groups": _sign_in_groups,
    "login_issuer": _issuer,
    "login_client_id": _client_id,
    "login_label": _label,
}
