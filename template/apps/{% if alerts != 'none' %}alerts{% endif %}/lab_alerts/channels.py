"""Where messages go by HTTP, in the form that each service takes. Nothing is sent here.

ntfy: docs.ntfy.sh/publish; Gotify: gotify.net/docs/pushmsg; Discord: docs.discord.com/developers/resources/webhook;
Slack: docs.slack.dev/messaging/sending-messages-using-incoming-webhooks; Matrix: spec.matrix.org, client-server API.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from .judge import Message
from .web import Request

# What the services take at most, in characters; ntfy counts 4096 bytes.
DISCORD, SLACK, NTFY = 2000, 4000, 4096
JSON = {"Content-Type": "application/json"}
Secrets = Mapping[str, str]


class NotSetUpError(Exception):
    """A channel lacks what it needs."""


def request(settings: Mapping[str, Any], secrets: Secrets, message: Message) -> Request:
    """Return the request that sends a message.

    Args:
        settings: apps/alerts/settings.json.
        secrets: what the Secret `alerts` holds.
    Raises:
        NotSetUpError: a secret is missing, or is none of the kind.
    """
    return _FORMS[settings["channel"]](settings, secrets, message)


def _needed(secrets: Secrets, name: str) -> str:
    value = secrets.get(name, "").strip()
    if not value:
        raise NotSetUpError(f"the Secret alerts has no {name}; ./lab up --only alerts asks for it")
    return value


def _ntfy(settings: Mapping[str, Any], secrets: Secrets, message: Message) -> Request:
    token = secrets.get("token", "").strip()
    headers = JSON | ({"Authorization": f"Bearer {token}"} if token else {})
    body = {
        "topic": settings["topic"],
        "title": message.subject,
        "message": _cut_bytes(message.text, NTFY),
        "priority": 4 if message.is_bad else 3,
        "tags": ["warning" if message.is_bad else "white_check_mark"],
    }
    return Request("POST", settings["url"], headers, json.dumps(body).encode())


def _gotify(settings: Mapping[str, Any], secrets: Secrets, message: Message) -> Request:
    headers = JSON | {"X-Gotify-Key": _needed(secrets, "token")}
    body = {"title": message.subject, "message": message.text, "priority": 8 if message.is_bad else 4}
    return Request("POST", f"{settings['url']}/message", headers, json.dumps(body).encode())


def _discord(_: Mapping[str, Any], secrets: Secrets, message: Message) -> Request:
    # Without `parse` a name in a fault would call people.
    body = {"content": _cut(f"**{message.subject}**\n{message.text}", DISCORD), "allowed_mentions": {"parse": []}}
    return Request("POST", _webhook(secrets), JSON, json.dumps(body).encode())


def _slack(_: Mapping[str, Any], secrets: Secrets, message: Message) -> Request:
    text = _cut(f"{message.subject}\n{message.text}", SLACK)
    # Slack's three characters that are no text.
    for character, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, written)
    return Request("POST", _webhook(secrets), JSON, json.dumps({"text": text}).encode())


def _matrix(settings: Mapping[str, Any], secrets: Secrets, message: Message) -> Request:
    headers = JSON | {"Authorization": f"Bearer {_needed(secrets, 'token')}"}
    body = {"msgtype": "m.text", "body": f"{message.subject}\n{message.text}"}
    # The homeserver drops a second message with the same number.
    room, number = quote(settings["room"], safe=""), quote(f"{settings['lab']}-{message.number}", safe="")
    url = f"{settings['url']}/_matrix/client/v3/rooms/{room}/send/m.room.message/{number}"
    return Request("PUT", url, headers, json.dumps(body).encode())


def _webhook(secrets: Secrets) -> str:
    url = _needed(secrets, "url")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NotSetUpError("the Secret alerts has an url that is no address of a webhook, such as https://…")
    return url


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _cut_bytes(text: str, most: int) -> str:
    raw = text.encode()
    return text if len(raw) <= most else raw[: most - 3].decode("utf-8", "ignore") + "…"


_FORMS: dict[str, Callable[[Mapping[str, Any], Secrets, Message], Request]] = {
    "ntfy": _ntfy,
    "gotify": _gotify,
    "discord": _discord,
    "slack": _slack,
    "matrix": _matrix,
}
