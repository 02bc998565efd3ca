"""ntfy, Gotify, Discord, Slack and Matrix as their pages publish them: what they take, what they refuse, what they answer.

Each refuses what its page does not allow, in its own words. They are no such servers: what those do with a message is not here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from tests.gitlab.support.authority import Certificate
from tests.support.http_server import Handler, HttpServer

Answer = tuple[int, Any]
TOKEN = "tk_AgQdq7mVBoFD37zQVN29RhuMzNIz2"
WEBHOOK = "/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"
DISCORD = "/api/webhooks/223704706495545344/3d89bb7572e0fb30d8128367b3b1b44fecd1726de135cbe28a41f8b2f777c372ba2939e72279b94526ff5d1bd4358d65cf11"
ROOM = "!abc123:lab"


@dataclass
class Services:
    """All five behind one port, while it is entered.

    Attributes:
        got: each message that was taken: the service, and its text.
        broken: an answer that every request gets, if it is set.
    """

    certificate: Certificate | None = None
    got: list[tuple[str, str]] = field(default_factory=list)
    broken: Answer | None = None
    numbers: set[str] = field(default_factory=set)
    port: int = 0

    def __enter__(self) -> Services:
        services = self

        class Service(Handler):
            def _serve(self) -> None:
                given = {name.lower(): value for name, value in self.headers.items()}
                status, content = services.answer(self.command, self.path, given, self.body())
                headers = {"Location": "/elsewhere"} if status in (301, 302) else {}
                if isinstance(content, dict):
                    self.reply_json(status, content, headers)
                else:
                    self.reply(status, (content or "").encode(), headers)

            do_GET = do_POST = do_PUT = _serve

        tls = (self.certificate.crt, self.certificate.key) if self.certificate else None
        self.server = HttpServer(Service, self.port, tls)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()

    @property
    def url(self) -> str:
        return f"{'https' if self.certificate else 'http'}://localhost:{self.server.server_address[1]}"

    def answer(self, method: str, path: str, headers: dict[str, str], raw: bytes) -> Answer:
        if self.broken:
            return self.broken
        try:
            body = json.loads(raw)
        except ValueError:
            return 400, "invalid JSON"
        if headers.get("content-type") != "application/json" or not isinstance(body, dict):
            return 415, "unsupported media type"
        posts: dict[str, Callable[[], Answer]] = {
            "/": lambda: self._ntfy(headers, body),
            "/message": lambda: self._gotify(headers, body),
            DISCORD: lambda: self._discord(body),
            WEBHOOK: lambda: self._slack(body),
        }
        if method == "POST" and path in posts:
            return posts[path]()
        if path.startswith("/_matrix/client/v3/rooms/") and method == "PUT":
            return self._matrix(path, headers, body)
        return 404, "404 page not found"

    def _ntfy(self, headers: dict[str, str], body: dict[str, Any]) -> Answer:
        """https://docs.ntfy.sh/publish/#publish-as-json"""
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return 403, {
                "code": 40301,
                "http": 403,
                "error": "forbidden",
                "link": "https://ntfy.sh/docs/publish/#authentication",
            }
        known = {"topic": str, "title": str, "message": str, "priority": int, "tags": list}
        if not re.fullmatch(r"[-_A-Za-z0-9]{1,64}", body.get("topic", "")) or not 1 <= body.get("priority", 3) <= 5:
            return 400, {"code": 40024, "http": 400, "error": "invalid request: request body must be valid JSON"}
        assert all(isinstance(value, known[name]) for name, value in body.items())
        assert len(body["message"].encode()) <= 4096, "ntfy would make an attachment of it"
        self.got.append(("ntfy", f"{body['title']}\n{body['message']}"))
        return 200, {"id": "sPs71M8A2T", "time": 1643935928, "event": "message", **body}

    def _gotify(self, headers: dict[str, str], body: dict[str, Any]) -> Answer:
        """https://gotify.net/api-docs, createMessage"""
        if headers.get("x-gotify-key") != TOKEN:
            return 401, {
                "error": "Unauthorized",
                "errorCode": 401,
                "errorDescription": "you need to provide a valid access token",
            }
        if not isinstance(body.get("message"), str) or not body["message"]:
            return 400, {"error": "Bad Request", "errorCode": 400, "errorDescription": "Field 'message' is required"}
        assert isinstance(body["priority"], int) and set(body) <= {"title", "message", "priority", "extras"}
        self.got.append(("gotify", f"{body['title']}\n{body['message']}"))
        return 200, {"id": 25, "appid": 5, "date": "2018-02-27T19:36:10.5045044+01:00", **body}

    def _discord(self, body: dict[str, Any]) -> Answer:
        """https://docs.discord.com/developers/resources/webhook#execute-webhook"""
        if not isinstance(body.get("content"), str) or not 1 <= len(body["content"]) <= 2000:
            return 400, {"code": 50035, "message": "Invalid Form Body"}
        assert body["allowed_mentions"] == {"parse": []}, "a fault would call people"
        self.got.append(("discord", body["content"]))
        return 204, None

    def _slack(self, body: dict[str, Any]) -> Answer:
        """https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks"""
        text = body.get("text")
        if not isinstance(text, str) or not text:
            return 400, "no_text"
        assert not re.search(r"<[^>]*>|&(?!amp;|lt;|gt;)", text), "Slack reads this as a link or a mention"
        self.got.append(("slack", text))
        return 200, "ok"

    def _matrix(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Answer:
        """https://spec.matrix.org/latest/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid"""
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, {"errcode": "M_UNKNOWN_TOKEN", "error": "Invalid access token passed."}
        room, send, kind, number = (unquote(part) for part in path.removeprefix("/_matrix/client/v3/rooms/").split("/"))
        if (room, send, kind) != (ROOM, "send", "m.room.message"):
            return 403, {"errcode": "M_FORBIDDEN", "error": f"User not in room {room}"}
        if body.get("msgtype") != "m.text" or not isinstance(body.get("body"), str):
            return 400, {"errcode": "M_BAD_JSON", "error": "no msgtype"}
        if number not in self.numbers:
            self.got.append(("matrix", body["body"]))
        self.numbers.add(number)
        return 200, {"event_id": "$YUwRidLecu:lab"}
