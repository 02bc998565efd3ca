"""Rules for where the lab's alarm is told.

ntfy's topics: docs.ntfy.sh/publish; Matrix' identifiers of rooms: spec.matrix.org, appendices.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from . import names, urls, values
from .answers import Answers

# Servers on which everybody who knows a topic reads it.
OPEN_SERVERS = frozenset({"ntfy.sh"})
SHORTEST_OPEN_TOPIC = 16
MOST_RECIPIENTS = 20


def alerts(value: Any, answers: Answers) -> str | None:
    """Refuse e-mail without a mail server."""
    if value == "email" and not answers["smtp_enabled"]:
        return "`email` goes through the mail server of GitLab's settings, and `smtp_enabled` is no; answer that yes, or give another, such as `ntfy`"
    return None


def alerts_url(value: Any, answers: Answers) -> str | None:
    """Check a server's address: scheme and host, a port and a path if it has them."""
    example = f"https://ntfy.{answers['base_domain']}"
    parts = urls.server(value, example, "the token")
    if isinstance(parts, str):
        return parts
    if "?" in value or "#" in value:
        return f"`{value}` has a `?` or a `#`; give the server's address alone, such as `{example}`"
    if value.endswith("/"):
        return f"`{value}` ends in a slash; did you mean `{value.rstrip('/')}`?"
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", parts.path):
        return f"`{value}` has a path that is not plain; give the server's address, such as `{example}`"
    if parts.hostname in (answers["gitlab_host"], answers["registry_host"]):
        return f"`{value}` is GitLab's own host; give the server that takes messages, such as `{example}`"
    return None


def alerts_topic(value: Any, answers: Answers) -> str | None:
    """Check a topic of ntfy. On a public server it is all that keeps others from reading."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value):
        return f"`{value}` is not a topic of ntfy: letters, digits, `_` and `-`, 64 at most, such as `lab`"
    host = urlsplit(answers["alerts_url"]).hostname
    if host in OPEN_SERVERS and len(value) < SHORTEST_OPEN_TOPIC:
        return f"everybody who guesses `{value}` reads it on {host}; give {SHORTEST_OPEN_TOPIC} characters or more that nobody guesses, such as `lab-` and the output of `openssl rand -hex 8`"
    return None


def alerts_room(value: Any, _: Answers) -> str | None:
    """Check the identifier of a room of Matrix; newer rooms have no server in theirs."""
    if isinstance(value, str) and value.startswith("#"):
        return f"`{value}` is a room's address, which may move; give its internal ID (room settings, Advanced), such as `!abc123:matrix.org`"
    if not isinstance(value, str) or not re.fullmatch(r"![A-Za-z0-9._~=+/-]{1,200}(:[A-Za-z0-9.:\[\]-]{1,50})?", value):
        return f"`{value}` is not the internal ID of a room, which begins with `!`, such as `!abc123:matrix.org`"
    return None


def alerts_mail_to(value: Any, _: Answers) -> str | None:
    """Check the recipients: some, each once, each an address."""
    if not isinstance(value, list) or not value:
        return f"{value!r} names no recipient; {values.listed(value, '[me@lab.example.com]')}"
    if len(value) > MOST_RECIPIENTS:
        return f"these are {len(value)} recipients; {MOST_RECIPIENTS} at most, or one address that is a list"
    for one in value:
        if (refusal := names.email(one)) is not None:
            return refusal
    double = next(
        (one for number, one in enumerate(value) if one.lower() in {other.lower() for other in value[:number]}), None
    )
    return f"`{double}` is in the list twice; keep one of them" if double else None


RULES: dict[str, Callable[[Any, Answers], str | None]] = {
    "alerts": alerts,
    "alerts_url": alerts_url,
    "alerts_topic": alerts_topic,
    "alerts_room": alerts_room,
    "alerts_mail_to": alerts_mail_to,
}
