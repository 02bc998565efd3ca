"""GitLab's REST API, as far as GitLab logs people in for others: OAuth applications of the whole instance.

https://docs.gitlab.com/api/applications/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..secret import Secret
from .gitlab_requests import Requests, json_object


@dataclass(frozen=True)
class Application:
    """An OAuth application; `secret` is known only where it was made just now."""

    id: int
    client_id: str
    name: str
    callback: str
    confidential: bool
    secret: Secret


class Applications(Requests):
    """OAuth applications."""

    def oauth_applications(self, name: str) -> list[Application]:
        """Return the applications that have a name."""
        found = map(_application, self._list("/applications", "OAuth applications"))
        return [one for one in found if one.name == name]

    def make_oauth_application(self, name: str, callback: str, scopes: Sequence[str]) -> Application:
        body = {"name": name, "redirect_uri": callback, "scopes": " ".join(scopes), "confidential": True}
        return _application(json_object(self._post("/applications", f"make the OAuth application {name}", body)))

    def delete_oauth_applications(self, applications: Sequence[Application]) -> None:
        self._delete_each("/applications", [one.id for one in applications])


def _application(one: Mapping[str, Any]) -> Application:
    return Application(
        int(one["id"]),
        str(one.get("application_id", "")),
        str(one.get("application_name", "")),
        str(one.get("callback_url", "")),
        one.get("confidential") is True,
        Secret(str(one.get("secret") or "")),
    )
