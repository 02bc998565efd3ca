"""The forms of request that GitLab's REST API knows, and how its answers are read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from ..errors import Failure
from .gitlab_transport import Transport
from .http import Answer


def segment(text: str) -> str:
    """Return *text* for one segment of a path; a group's a/b becomes a%2Fb."""
    return quote(text, safe="")


class Requests:
    """What every part of the API's client is made of; the transport raises what becomes of a request."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def _get(self, path: str, what: str, *accepted: int) -> Answer:
        return self._transport.request("GET", path, what, *(accepted or (200,)))

    def _post(self, path: str, what: str, body: Mapping[str, Any], *accepted: int) -> Answer:
        return self._transport.request("POST", path, what, *(accepted or (201,)), body=body)

    def _list(self, path: str, what: str) -> Iterator[Mapping[str, Any]]:
        """Yield a whole list, over all its pages."""
        page, mark = "1", "&" if "?" in path else "?"
        while page:
            answer = self._get(f"{path}{mark}per_page=100&page={page}", f"list {what}")
            yield from json.loads(answer.body)
            page = answer.headers.get("x-next-page", "").strip()

    def _delete_each(self, path: str, ids: Iterable[int]) -> None:
        """Delete what is below a path under these numbers. Gone already is as good."""
        for one in ids:
            self._transport.request("DELETE", f"{path}/{one}", f"delete {path}/{one}", 204, 404)


def json_object(answer: Answer) -> Mapping[str, Any]:
    """Return the object that an answer holds.

    Raises:
        Failure: it holds something else.
    """
    content = json.loads(answer.body or b"{}")
    if not isinstance(content, dict):
        raise Failure("GitLab answered with a list, not with an object.")
    return content
