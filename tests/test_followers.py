"""What an update says of answers that were made from another one, which has changed."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest

from extensions import rules
from hooks import followers
from tests.support.questions import QUESTIONS
from tests.support.rendering import VALID, read_answers
from tests.support.texts import answered, problems


def changed(answers: dict[str, Any], **new: Any) -> dict[str, Any]:
    return {**answers, **new}


def test_every_answer_that_is_made_from_the_domain_is_named_with_what_it_would_be() -> None:
    """By the wizard's own defaults: what another domain would make of a new lab."""
    before = answered({"setup_level": "full", "smtp_enabled": True, "storage_backend": "nfs"})
    moved = answered(
        {"setup_level": "full", "smtp_enabled": True, "storage_backend": "nfs", "base_domain": "home.example.org"}
    )
    wanted = {
        name: (before[name], moved[name]) for name in QUESTIONS if before[name] != moved[name] and name != "base_domain"
    }
    assert followers.followers(before, changed(before, base_domain="home.example.org")) == wanted
    assert {
        "gitlab_host",
        "registry_host",
        "admin_email",
        "smtp_host",
        "email_from",
        "runner_host",
        "nfs_server",
    } <= set(wanted)


def test_the_one_command_moves_them_all_and_the_wizard_takes_it() -> None:
    before = answered(
        {
            "setup_level": "full",
            "smtp_enabled": True,
            "storage_backend": "nfs",
            "email_reply_to": "o'brien@lab.example.com",
        }
    )
    after = changed(before, base_domain="home.example.org")
    said = followers.lines(before, after)[-1]
    words = shlex.split(re.search(r"`(\./lab update .*)`", said)[1])  # type: ignore[index]
    given = dict(word.split("=", 1) for word in words if "=" in word)
    assert given["email_reply_to"] == "o'brien@home.example.org"
    assert problems({**{name: value for name, value in after.items() if name in QUESTIONS}, **given}) == []
    assert followers.lines(before, changed(after, **given)) == []


@pytest.mark.parametrize(
    ("old", "new", "value", "moved"),
    [
        ("lab", "home", "gitlab.lab", "gitlab.home"),
        ("lab", "home", "homelab", None),
        ("lab", "home", "lab.example.com", None),
        ("lab", "home", "my-lab", None),
        ("lab.example.com", "x.org", "me@lab.example.com", "me@x.org"),
        ("lab.example.com", "x.org", "other.example.com", None),
        ("example.com", "x.org", "gitlab.example.com.au", None),
        ("a.b", "x.org", "gitlab.axb", None),
    ],
)
def test_a_name_follows_as_a_whole(old: str, new: str, value: str, moved: str | None) -> None:
    before = {"base_domain": old, "gitlab_host": value}
    found = followers.followers(before, changed(before, base_domain=new))
    assert found == ({} if moved is None else {"gitlab_host": (value, moved)})


def test_nothing_is_said_if_nothing_that_leads_has_changed() -> None:
    for file in VALID:
        answers = answered(read_answers(file))
        assert (
            followers.lines(answers, answers)
            == followers.lines(answers, changed(answers, https_port=8443, timezone="Etc/UTC"))
            == []
        )


def test_an_answer_that_was_given_anew_in_the_same_update_is_left_alone() -> None:
    before = {"base_domain": "lab", "gitlab_host": "gitlab.lab", "registry_host": "registry.lab"}
    found = followers.followers(before, changed(before, base_domain="home", gitlab_host="git.lab"))
    assert found == {"registry_host": ("registry.lab", "registry.home")}


def test_what_leads_is_each_question_that_others_are_made_from() -> None:
    """By the wizard's own defaults: each answer that is typed is given anew, and whatever text moves with it follows."""
    given = {"setup_level": "full", "smtp_enabled": True, "storage_backend": "nfs", "gitops_source": "external"}
    before, leaders = answered(given), set()
    typed = [
        name
        for name, question in QUESTIONS.items()
        if question["type"] == "str" and "choices" not in question and isinstance(before.get(name), str)
    ]
    for leader in typed:
        new = "other.example.org" if "." in before[leader] else "other"
        made = answered({**given, leader: new})
        wanted = {
            name: (before[name], made[name])
            for name in QUESTIONS
            if name != leader and isinstance(made[name], (str, list)) and made[name] != before[name]
        }
        leaders |= {leader} if wanted else set()
        assert followers.followers(before, changed(before, **{leader: new})) == wanted, leader
    assert leaders == set(followers.LEADERS) and leaders <= set(rules.RULES)
    assert set(followers.CAUTIONS) <= set(QUESTIONS)
