"""The owner's own account: made once, with keys and groups; an account that is there is left alone apart from what is missing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.bootstrap.support.faults import Fault
from tests.bootstrap.support.journeys import Journey
from tests.bootstrap.support.lab_folder import commit, write_settings
from tests.bootstrap.support.lab_world import Run, World

KEYS = tuple(f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{letter * 43}" for letter in "AB")
OWNER = {
    "owner_username": "Jane.Doe",
    "owner_email": "jane@lab.test",
    "owner_ssh_keys": [f"{KEYS[0]} jane at her desk"],
    "smtp_enabled": False,
}


def owned(journey: Journey, stage: str = "account", **changes: Any) -> World:
    """Return a lab whose owner is named, as far as a stage."""
    world = journey.to(stage)
    write_settings(world.lab, world.settings | OWNER | changes)
    commit(world.lab, "My own account")
    return world


def account(world: World, name: str = "Jane.Doe") -> dict[str, Any]:
    [found] = [one for one in world.gitlab.accounts if one["username"].lower() == name.lower()]
    return dict(found)


def run(world: World, *arguments: str, **environment: str) -> Run:
    return world.must_run("--only", "account", *arguments, **environment)


def test_without_an_answer_there_is_no_account_and_it_is_told_once(journey: Journey) -> None:
    world = owned(journey, owner_username="", owner_email="", owner_ssh_keys=[])
    said = run(world)
    assert said.out.count("owner_username is empty") == 1 and len(world.gitlab.accounts) == 1


def test_the_account_is_an_administrator_with_the_key_and_owns_the_labs_groups(journey: Journey) -> None:
    world = owned(journey)
    said = run(world)
    made = account(world)
    assert (made["is_admin"], made["confirmed"], made["email"], made["mailed"]) == (True, True, "jane@lab.test", False)
    [key] = world.gitlab.account_keys
    assert (key["user"], key["key"], key["title"]) == (made["id"], KEYS[0], "jane at her desk")
    roles = {(one["group"], one["id"]): one["access_level"] for one in world.gitlab.members}
    assert roles == {(group["id"], made["id"]): 50 for group in world.gitlab.groups if "/" not in group["full_path"]}
    # Its first password is where the command says, and nowhere else.
    password = world.cluster.secret("gitlab", "gitlab-owner")["password"]
    assert made["password"] == password and len(password) == 40
    assert "kubectl get secret gitlab-owner -n gitlab -o jsonpath={.data.password} | base64 -d" in said.out
    logs = "".join(file.read_text() for file in (world.home / ".local/state/homelab").rglob("*.log"))
    assert "Jane.Doe" in logs and password not in said.text + logs
    assert not [call for call in world.calls if password in " ".join(call.arguments)]


def test_a_second_run_makes_nothing(journey: Journey) -> None:
    world = owned(journey)
    run(world)
    before, world.changes = json.dumps([world.gitlab.accounts, world.gitlab.account_keys, world.gitlab.members]), []
    again = run(world)
    assert json.dumps([world.gitlab.accounts, world.gitlab.account_keys, world.gitlab.members]) == before
    assert world.changes == ["root token made", "root token revoked"] and "   done" not in again.out


def test_a_dry_run_says_what_it_would_do(journey: Journey) -> None:
    world = owned(journey)
    said = run(world, "--dry-run")
    assert "your account Jane.Doe" in said.out and "an owner of HomeLAB" in said.out and world.changes == []


def test_without_an_answer_the_keys_of_who_runs_it_are_taken_without_their_comments(journey: Journey) -> None:
    world = owned(journey, owner_ssh_keys=[])
    assert "there is none in ~/.ssh" in run(world).err
    ssh = world.home / ".ssh"
    ssh.mkdir()
    for number, key in enumerate(KEYS):
        (ssh / f"id_{number}.pub").write_text(f"{key} somebody@a-private-host\n")
    run(world)
    assert sorted(one["key"] for one in world.gitlab.account_keys) == sorted(KEYS)
    assert "a-private-host" not in json.dumps(world.gitlab.account_keys)


def test_with_mail_that_works_gitlab_sends_the_link_and_there_is_no_password(journey: Journey) -> None:
    world = owned(journey, smtp_enabled=True)
    said = run(world)
    assert account(world)["mailed"] and world.cluster.mails[0][0] == "jane@lab.test"
    assert (
        world.cluster.find("Secret", "gitlab", "gitlab-owner") is None and "mails a link to jane@lab.test" in said.out
    )


def test_with_mail_that_is_refused_the_password_lies_in_the_secret_and_the_reason_is_told(journey: Journey) -> None:
    world = owned(journey, smtp_enabled=True)
    world.cluster.mail_refusal = "Net::SMTPFatalError: 550 relay not permitted"
    said = run(world)
    assert "550 relay not permitted" in said.err and not account(world)["mailed"]
    assert account(world)["password"] == world.cluster.secret("gitlab", "gitlab-owner")["password"]


def test_somebody_elses_account_of_that_name_gets_neither_keys_nor_roles(journey: Journey) -> None:
    world = owned(journey)
    other = {
        "id": 77,
        "username": "jane.doe",
        "name": "Jane",
        "email": "other@elsewhere.test",
        "is_admin": False,
        "password": "x",
        "mailed": False,
    }
    world.gitlab.accounts.append(dict(other))
    said = run(world)
    assert "another address than owner_email, jane@lab.test" in said.err and "owner_email=ITS-ADDRESS" in said.err
    assert account(world) == other and world.gitlab.members == [] and world.gitlab.account_keys == []


def test_an_account_of_the_owners_is_left_alone_apart_from_what_is_missing(journey: Journey) -> None:
    world = owned(journey)
    mine = {
        "id": 77,
        "username": "jane.doe",
        "name": "Jane",
        "email": "JANE@lab.test",
        "is_admin": False,
        "password": "my own",
        "mailed": False,
    }
    world.gitlab.accounts.append(dict(mine))
    [group] = [one for one in world.gitlab.groups if one["full_path"] == "HomeLAB"]
    world.gitlab.members = [{"group": group["id"], "id": 77, "username": "jane.doe", "access_level": 30}]
    said = run(world)
    assert account(world) == mine and world.gitlab.members[0]["access_level"] == 30
    assert [one["user"] for one in world.gitlab.account_keys] == [77]
    assert "no administrator" in said.err and "is in HomeLAB, and does not own it" in said.err


def test_a_key_that_another_account_has_is_told_and_the_rest_goes_on(journey: Journey) -> None:
    world = owned(journey, owner_ssh_keys=list(KEYS))
    world.gitlab.account_keys = [{"id": 5, "user": 1, "title": "root's", "key": KEYS[0]}]
    said = run(world)
    assert "has already been taken" in said.err
    assert [one["key"] for one in world.gitlab.account_keys if one["user"] != 1] == [KEYS[1]]
    assert account(world)["id"] in {one["id"] for one in world.gitlab.members}


def test_an_address_that_another_account_has_ends_the_run_with_what_to_answer(journey: Journey) -> None:
    world = owned(journey, owner_email="root@lab.test")
    said = world.run("--only", "account")
    assert said.status == 1 and "Email has already been taken" in said.err and "owner_email" in said.err


@pytest.mark.deep(keep=1)
@pytest.mark.parametrize("lost", ["POST /users", "POST /users/[0-9]+/keys", "POST /groups/[^/]+/members"])
def test_a_lost_answer_makes_nothing_twice(journey: Journey, lost: str) -> None:
    world = owned(journey)
    world.faults = [Fault("api", f"{lost}$", "lost", times=1)]
    run(world)
    assert world.faults[0].hits == 1
    assert len(world.gitlab.accounts) == 2 and len(world.gitlab.account_keys) == 1
    assert account(world)["password"] == world.cluster.secret("gitlab", "gitlab-owner")["password"]


def test_a_run_that_was_killed_after_the_secret_gives_the_account_that_very_password(journey: Journey) -> None:
    world = owned(journey)
    world.kill_after = lambda what, _: "apply" in what
    assert world.run("--only", "account").status < 0
    password = world.cluster.secret("gitlab", "gitlab-owner")["password"]
    assert len(world.gitlab.accounts) == 1
    run(world)
    assert account(world)["password"] == password


@pytest.mark.slow
def test_verify_by_itself_sends_a_mail_and_a_refusal_ends_it_with_the_reason(journey: Journey) -> None:
    world = owned(journey, "end", smtp_enabled=True)
    good = world.must_run(command="verify")
    assert [mail[0] for mail in world.cluster.mails] == [
        "jane@lab.test"
    ] and "took a mail for jane@lab.test" in good.out
    world.cluster.mail_refusal = "OpenSSL::SSL::SSLError: certificate verify failed"
    bad = world.run(command="verify")
    assert (
        bad.status == 1
        and "could not send a mail to jane@lab.test: OpenSSL::SSL::SSLError: certificate verify failed" in bad.err
    )
    # A full run sends none: it would be one for each.
    world.must_run("--from", "verify")
    assert len(world.cluster.mails) == 2
