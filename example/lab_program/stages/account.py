"""account: the owner's own account in GitLab, beside root's, with their SSH keys and the lab's groups.

An account that exists keeps its password and its rights: only keys and memberships that are missing are added.
"""

from __future__ import annotations

from functools import partial

from .. import mail, public_keys
from ..clients.gitlab_people import OWNER, Person
from ..clients.objects import NOTHING
from ..secret import Secret, random_secret
from ..settings import Settings
from .base import Stage

SECRET, KEY = "gitlab-owner", "password"


def password_command(settings: Settings) -> str:
    """Return what shows the account's first password, if no mail has brought it."""
    return f"kubectl get secret {SECRET} -n {settings.gitlab_namespace} -o jsonpath={{.data.{KEY}}} | base64 -d"


class Account(Stage):
    name = "account"
    purpose = "your own account in GitLab, with your SSH keys, if owner_username names one"
    looks_at = ("GitLab's accounts, their keys and roles", "the public keys in ~/.ssh")
    changes = ("your account, its keys and roles, if one is missing", "Secret gitlab-owner with its first password")

    def run(self) -> None:
        settings = self.settings
        if not settings.owner_username:
            self.console.skip(
                "no account for you beside root: owner_username is empty (./lab update --data owner_username=NAME)"
            )
            return
        if self.lab.dry_run:
            self.console.would(f"make sure that GitLab has your account {settings.owner_username}, an administrator")
            self.console.would(f"give it your SSH keys, and make it an owner of {' '.join(top_groups(settings))}")
            return
        person = self.lab.gitlab.person(settings.owner_username)
        if person is None:
            person = self._make()
        elif not self._is_ours(person):
            return
        self._ensure_keys(person)
        for group in top_groups(settings):
            self.patience.settle(
                f"make {person.username} an owner of {group}", partial(self._ensure_role, person, group)
            )

    def _is_ours(self, person: Person) -> bool:
        """Say whether an account that was there is the owner's: somebody else may have signed up under the name."""
        settings = self.settings
        if person.email.lower() != settings.owner_email.lower():
            self.console.warn(
                f"GitLab has an account {person.username} with another address than owner_email, "
                f"{settings.owner_email}.\n"
                "It is left alone. If it is yours: ./lab update --data owner_email=ITS-ADDRESS; otherwise choose\n"
                "another owner_username"
            )
            return False
        self.console.have(f"your account {person.username}")
        if not person.is_admin:
            self.console.warn(
                f"{person.username} is no administrator. If it should be: "
                f"{settings.gitlab_url}/admin/users/{person.username}/edit"
            )
        return True

    def _make(self) -> Person:
        settings = self.settings
        refused = mail.refusal(self.lab, settings.owner_email) if settings.smtp_enabled else None
        mails = settings.smtp_enabled and refused is None
        if refused is not None:
            self.console.warn(f"GitLab cannot send mail: {refused}\nSo your first password lies in a Secret.")
        password = None if mails else self._first_password()
        person = self.patience.settle(
            f"make the account {settings.owner_username}", partial(self._ensure_person, password)
        )
        first = f"GitLab mails a link to {settings.owner_email}, with which you set its password"
        if not mails:
            first = f"its first password, to be changed after the first log-in:\n{password_command(settings)}"
        self.console.did(f"your account {person.username}, an administrator; {first}")
        return person

    def _ensure_person(self, password: Secret | None) -> Person:
        """Look again: the answer to an earlier try may have been lost."""
        settings, gitlab = self.settings, self.lab.gitlab
        found = gitlab.person(settings.owner_username)
        return found or gitlab.make_administrator(settings.owner_username, settings.owner_email, password)

    def _first_password(self) -> Secret:
        """Return the password that the account begins with, from its Secret; it is there before the account is."""
        namespace = self.settings.gitlab_namespace
        there = (self.cluster.find("secret", SECRET, namespace) or NOTHING).secret(KEY)
        if there:
            return there
        made = random_secret()
        self.cluster.put_secret(namespace, SECRET, {KEY: made})
        return made

    def _ensure_keys(self, person: Person) -> None:
        lines = self.settings.owner_ssh_keys or public_keys.own(self.lab.environment)
        if not lines:
            self.console.warn(
                f"{person.username} gets no SSH key: there is none in ~/.ssh/*.pub.\n"
                "ssh-keygen -t ed25519, then ./lab up --only account"
            )
        for line in lines:
            self.patience.settle(f"add an SSH key of {person.username}", partial(self._ensure_key, person, line))

    def _ensure_key(self, person: Person, line: str) -> None:
        kind, material, *comment = line.split(" ", 2)
        shown = f"{kind} …{material[-12:]}"
        if f"{kind} {material}" in self.lab.gitlab.ssh_keys(person):
            self.console.have(f"{person.username} has the SSH key {shown}")
            return
        title = comment[0] if comment else f"{self.settings.lab_name}, {shown}"
        refused = self.lab.gitlab.add_ssh_key(person, title, f"{kind} {material}")
        if refused:
            self.console.warn(f"GitLab did not take the SSH key {shown} for {person.username}: {refused}")
        else:
            self.console.did(f"{person.username} has the SSH key {shown}")

    def _ensure_role(self, person: Person, group: str) -> None:
        role = self.lab.gitlab.role(person, group)
        if role >= OWNER:
            self.console.have(f"{person.username} owns {group}")
        elif role:
            self.console.warn(
                f"{person.username} is in {group}, and does not own it: "
                f"{self.settings.gitlab_url}/groups/{group}/-/group_members"
            )
        else:
            self.lab.gitlab.make_owner(person, group)
            self.console.did(f"{person.username} owns {group}")


def top_groups(settings: Settings) -> list[str]:
    """Return the lab's groups, without those that lie below another one: a role counts in all that is below."""
    groups = [*settings.groups, *([settings.lab_project.rpartition("/")[0]] if settings.self_hosted else [])]
    known = {group.lower(): group for group in reversed(groups)}
    return [
        known[name]
        for name in dict.fromkeys(group.lower() for group in groups)
        if not any(name.startswith(f"{other}/") for other in known)
    ]
