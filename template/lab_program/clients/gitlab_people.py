"""GitLab's REST API, as far as it knows people: accounts, their SSH keys, and their roles in groups."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import Failure
from ..secret import Secret
from .gitlab_requests import Requests, json_object, segment
from .gitlab_transport import in_words

# https://docs.gitlab.com/api/members/#roles
OWNER = 50


@dataclass(frozen=True)
class Person:
    """An account; `email` and `is_admin` are shown to administrators."""

    id: int
    username: str
    email: str
    is_admin: bool


class People(Requests):
    """Accounts. All of it takes an administrator's token."""

    def person(self, username: str) -> Person | None:
        """Return an account by its user name, in capitals or not."""
        found = self._list(f"/users?username={segment(username)}", f"accounts called {username}")
        return next((_person(one) for one in found), None)

    def make_administrator(self, username: str, email: str, password: Secret | None) -> Person:
        """Make an administrator's account, confirmed.

        Args:
            password: the first one; GitLab mails a link to set one if there is none.
        Raises:
            Failure: GitLab refuses, for example since another account has that address.
        """
        first: dict[str, Any] = {"reset_password": True} if password is None else {"password": password}
        body = {"username": username, "name": username, "email": email, "admin": True, "skip_confirmation": True}
        answer = self._post("/users", f"make the account {username}", body | first, 201, 409)
        if answer.status == 409:
            what = f"GitLab did not make the account {username}: {in_words(answer)}"
            raise Failure(
                what, "the accounts at Admin > Users", "answer owner_username or owner_email with another one"
            )
        return _person(json_object(answer))

    def ssh_keys(self, person: Person) -> list[str]:
        """Return the SSH keys of an account, without their comments."""
        path = f"/users/{person.id}/keys"
        return [" ".join(str(one["key"]).split()[:2]) for one in self._list(path, f"SSH keys of {person.username}")]

    def add_ssh_key(self, person: Person, title: str, key: str) -> str:
        """Give an account an SSH key; return why GitLab refuses it, or nothing."""
        body = {"title": title, "key": key}
        answer = self._post(f"/users/{person.id}/keys", f"add an SSH key of {person.username}", body, 201, 400)
        return "" if answer.status == 201 else in_words(answer)

    def role(self, person: Person, group: str) -> int:
        """Return the role that an account has in a group itself; 0 for none."""
        path, what = f"/groups/{segment(group)}/members/{person.id}", f"show the members of {group}"
        answer = self._get(path, what, 200, 404)
        return 0 if answer.status == 404 else int(json.loads(answer.body)["access_level"])

    def make_owner(self, person: Person, group: str) -> None:
        """Make an account an owner of a group of which it is no member."""
        body = {"user_id": person.id, "access_level": OWNER}
        self._post(f"/groups/{segment(group)}/members", f"add {person.username} to {group}", body, 201, 409)


def _person(one: Mapping[str, Any]) -> Person:
    return Person(int(one["id"]), str(one["username"]), str(one.get("email") or ""), one.get("is_admin") is True)
