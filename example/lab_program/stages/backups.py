"""backups: what sending backups needs that is in no file here: the access key of S3, and a public key to encrypt for.

Flux applies apps/backups. A lab with `age_recipients` encrypts for those. In one without, the owner's own key is taken,
or made, where SOPS would look for it; the cluster gets its public half alone.
"""

from __future__ import annotations

from pathlib import Path

from .. import key_file, sealed
from ..clients.objects import NOTHING
from ..errors import Failure
from ..secret import Secret
from ..settings import Settings
from .asking import given, how_to_give
from .base import Stage
from .early_secrets import bring

NAME, OWNER = "backup-target", "backups"
SEALED = Path("apps") / OWNER / sealed.FOLDER / f"{NAME}{sealed.SUFFIX}"
VARIABLE = "LAB_BACKUPS_FILE"
RECIPIENTS = "recipients"
WORDS = {
    "access-key-id": "the ID of the access key for the bucket",
    "secret-access-key": "its secret access key",
}


class Backups(Stage):
    name = "backups"
    purpose = "the access key and the public key with which backups are sent, if the lab sends them"
    looks_at = ("the Secret backup-target", "your age key file, in a lab without age_recipients")
    changes = ("the Secret backup-target", "your age key file: a key is added if there is none")

    @classmethod
    def programs(cls, settings: Settings) -> set[str]:
        sops = {"sops"} if settings.backup_entries and settings.age_recipients else set()
        return super().programs(settings) | sops

    def run(self) -> None:
        settings = self.settings
        if not settings.backup_place:
            self.console.skip("nothing to do: backup_target is none")
            return
        if not settings.backup_entries:
            self.console.have("nothing is asked for: backups are encrypted for this lab's age_recipients")
            return
        namespace = settings.gitlab_namespace
        if (self.lab.folder / SEALED).is_file() and settings.age_recipients:
            bring(self.lab, SEALED.parent, OWNER, namespace)
            return
        there = self.cluster.find("secret", NAME, namespace) or NOTHING
        missing = [key for key in settings.backup_entries if not there.secret(key)]
        if not missing:
            self.console.have(f"Secret {namespace}/{NAME}")
        elif self.lab.dry_run:
            self.console.would(f"bring {', '.join(missing)} into Secret {namespace}/{NAME}")
        else:
            # All of them: what is not applied again would be taken away.
            values: dict[str, str | Secret] = {
                key: there.secret(key) for key in settings.backup_entries if key not in missing
            }
            values |= {key: self._recipients() if key == RECIPIENTS else self._ask(key) for key in missing}
            self.cluster.put_secret(namespace, NAME, values)

    def _ask(self, key: str) -> Secret:
        """Return a part of the access key from the owner's file, or from the owner.

        Raises:
            Failure: there is neither, or it is none.
        """
        words = WORDS[key]
        then = how_to_give(self.lab, VARIABLE, "\n".join(f"{one}=…" for one in WORDS), f"{OWNER}/{NAME}")
        value = given(self.lab, VARIABLE, key, words, "docs/backups.md", then).reveal().strip()
        if not value or not value.isascii() or any(one.isspace() or not one.isprintable() for one in value):
            why = "holds blanks, or letters beyond ASCII" if value else "is empty"
            raise Failure(f"That is not {words}: it {why}.", "docs/backups.md", then)
        return Secret(value)

    def _recipients(self) -> str:
        """Return the public keys of the owner's key file; a key is made if there is none."""
        file = self.lab.sops.key_file
        keys = key_file.keys_in(file)
        if keys:
            self.console.have(f"an age key in {file}, for whose public half backups are encrypted")
        else:
            keys = [key_file.add_key(file)]
            self.console.did(f"a new age key in {file}, for whose public half backups are encrypted")
        self.console.warn(
            f"Without the private key in {file} nobody opens a backup, and it is in no cluster and in no Git.\n"
            "Keep a copy of that file away from this machine and from the lab, such as in a password manager."
        )
        return "\n".join(one.recipient for one in keys)
