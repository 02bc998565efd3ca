"""OAuth applications in the stand-in GitLab: https://docs.gitlab.com/api/applications/ ."""

from __future__ import annotations

import secrets
from typing import Any

Answer = tuple[int, Any]


class Applications:
    """The applications of an instance. Their secret is shown once."""

    def __init__(self) -> None:
        super().__init__()
        self.applications: list[dict[str, Any]] = []

    def number(self) -> int:
        raise NotImplementedError

    def get_applications(self, *_: Any) -> Answer:
        return 200, [
            {key: value for key, value in one.items() if key not in ("secret", "scopes")} for one in self.applications
        ]

    def post_applications(self, _o: Any, _s: Any, _q: Any, body: dict[str, Any], _t: str) -> Answer:
        one = {
            "id": self.number(),
            "application_id": secrets.token_hex(32),
            "application_name": body["name"],
            "callback_url": body["redirect_uri"],
            "confidential": body.get("confidential", True),
            "scopes": body["scopes"],
            "secret": f"gloas-{secrets.token_hex(32)}",
        }
        self.applications.append(one)
        return 201, {key: value for key, value in one.items() if key != "scopes"}

    def delete_applications_one(self, _o: Any, segments: dict[str, str], *_: Any) -> Answer:
        left = [one for one in self.applications if str(one["id"]) != segments["id"]]
        found = len(left) < len(self.applications)
        self.applications[:] = left
        return (204, None) if found else (404, {"message": "404 Not Found"})
