"""The accounts of the stand-in GitLab, as its API shows them to an administrator: users, their SSH keys, members of groups."""

from __future__ import annotations

import re
from typing import Any

Item = dict[str, Any]
Answer = tuple[int, Any]
ROOT = {
    "id": 1,
    "username": "root",
    "name": "Administrator",
    "email": "root@lab.test",
    "is_admin": True,
    "password": "",
    "mailed": False,
}


class People:
    """What GitLab knows of accounts. A password is kept as it is, so that a test can compare it."""

    groups: list[Item]

    def __init__(self) -> None:
        super().__init__()
        self.accounts: list[Item] = [dict(ROOT)]
        self.account_keys: list[Item] = []
        self.members: list[Item] = []

    def number(self) -> int:
        raise NotImplementedError

    def account(self, number: str) -> Item | None:
        return next((one for one in self.accounts if str(one["id"]) == number), None)

    @staticmethod
    def _shown(one: Item) -> Item:
        return {key: value for key, value in one.items() if key not in ("password", "mailed")}

    def get_users(self, _o: Any, _s: Any, query: dict[str, str], *_: Any) -> Answer:
        wanted = query.get("username", "").lower()
        return 200, [self._shown(one) for one in self.accounts if wanted in ("", one["username"].lower())]

    def post_users(self, _o: Any, _s: Any, _q: Any, body: Item, _t: str) -> Answer:
        """https://gitlab.com/gitlab-org/gitlab/-/blob/master/lib/api/users.rb"""
        if not (body.get("password") or body.get("reset_password")):
            return 400, {
                "error": "password, reset_password, force_random_password are missing, at least one parameter must be provided"
            }
        for field in ("email", "username"):
            if any(one[field].lower() == body[field].lower() for one in self.accounts):
                return 409, {"message": f"{field.capitalize()} has already been taken"}
        if any(one["full_path"].lower() == body["username"].lower() for one in self.groups):
            return 400, {"message": {"username": ["has already been taken"]}}
        if body.get("password") is not None and len(body["password"]) < 8:
            return 400, {"message": {"password": ["is too short (minimum is 8 characters)"]}}
        made = {
            "id": self.number(),
            "is_admin": body.get("admin", False),
            "confirmed": body.get("skip_confirmation", False),
            "password": body.get("password", ""),
            "mailed": body.get("reset_password", False),
            **{field: body[field] for field in ("username", "name", "email")},
        }
        self.accounts.append(made)
        return 201, self._shown(made)

    def get_users_one_keys(self, _o: Any, segments: dict[str, str], *_: Any) -> Answer:
        if self.account(segments["id"]) is None:
            return 404, {"message": "404 User Not Found"}
        return 200, [one for one in self.account_keys if str(one["user"]) == segments["id"]]

    def post_users_one_keys(self, _o: Any, segments: dict[str, str], _q: Any, body: Item, _t: str) -> Answer:
        owner = self.account(segments["id"])
        if owner is None:
            return 404, {"message": "404 User Not Found"}
        if not re.fullmatch(r"(ssh-|ecdsa-|sk-)\S+ [A-Za-z0-9+/=]{60,}( .*)?", body["key"]):
            return 400, {
                "message": {"key": ["type is forbidden. Must be RSA, ECDSA, ED25519, ECDSA_SK, or ED25519_SK"]}
            }
        if any(one["key"].split()[1] == body["key"].split()[1] for one in self.account_keys):
            return 400, {"message": {"fingerprint_sha256": ["has already been taken"]}}
        self.account_keys.append({"id": self.number(), "user": owner["id"], **body})
        return 201, self.account_keys[-1]

    def get_groups_one_members_one(self, group: Item, segments: dict[str, str], *_: Any) -> Answer:
        found = [one for one in self.members if (one["group"], str(one["id"])) == (group["id"], segments["user_id"])]
        return (200, found[0]) if found else (404, {"message": "404 Not found"})

    def post_groups_one_members(self, group: Item, _s: Any, _q: Any, body: Item, _t: str) -> Answer:
        person = self.account(str(body["user_id"]))
        if person is None:
            return 404, {"message": "404 User Not Found"}
        if any((one["group"], one["id"]) == (group["id"], person["id"]) for one in self.members):
            return 409, {"message": "Member already exists"}
        made = {
            "group": group["id"],
            "id": person["id"],
            "username": person["username"],
            "access_level": body["access_level"],
        }
        self.members.append(made)
        return 201, made
