"""Which answers about the owner's own account are refused, and why. Names: docs.gitlab.com/user/reserved_names/, docs.gitlab.com/user/profile/."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from . import machines, names
from .answers import Answers

# Accounts that every GitLab has, or makes when it needs them (app/models/concerns/has_user_type.rb).
TAKEN = frozenset(
    {
        "root",
        "ghost",
        "alert-bot",
        "support-bot",
        "security-bot",
        "automation-bot",
        "migration-bot",
        "visual-review-bot",
    }
)
LONGEST = 255


def owner_username(value: Any, answers: Answers) -> str | None:
    """Check a user name of GitLab. It shares its paths with the groups; nothing means that no account is made."""
    if value == "":
        return None
    if (
        not isinstance(value, str)
        or not re.fullmatch(r"[A-Za-z0-9](?:[._-]?[A-Za-z0-9])*", value)
        or len(value) > LONGEST
    ):
        return f"`{str(value)[:40]}` is not a user name of GitLab; letters and digits with single `.`, `_` or `-` between them, {LONGEST} at most, such as `jane`"
    if re.search(r"\.(git|atom)$", value, flags=re.IGNORECASE):
        return f"`{value}` ends in `.git` or `.atom`, which GitLab refuses; did you mean `{value.rsplit('.', 1)[0]}`?"
    if value.lower() in TAKEN or value.lower() in names.RESERVED_GROUPS:
        return f"`{value}` is a name that GitLab keeps for itself; give your own, such as `jane`"
    paths = [*answers["groups"], *([answers["lab_group"]] if answers.get("lab_group") else [])]
    group = next((path for path in paths if path.split("/")[0].lower() == value.lower()), None)
    if group is not None:
        return f"`{value}` is the path of the group `{group}`, and GitLab gives a path once; give another, such as `{value}-me`"
    return None


def owner_email(value: Any, answers: Answers) -> str | None:
    """Check the owner's address: GitLab takes an address for one account, and admin_email is root's."""
    refusal = names.email(value)
    if refusal is None and value.lower() == answers["admin_email"].lower():
        return f"`{value}` is root's address (admin_email), and GitLab takes an address once; give another of yours, such as `owner@{answers['base_domain']}`"
    return refusal


RULES: dict[str, Callable[[Any, Answers], str | None]] = {
    "owner_username": owner_username,
    "owner_email": owner_email,
    "owner_ssh_keys": machines.runner_ssh_keys,
}
