"""`./lab secret`: encrypted Secrets in this repository, by SOPS and age. Plain text is only ever in memory."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from .. import age, key_file, sealed
from ..clients.sops import Sops
from ..errors import ExitCode, Failure, WrongCall
from ..sealed import FOLDER
from ..secret import Secret
from ..value_lines import read_values
from .base import Command
from .editing import edited
from .sealing import COMPONENT, Place, encrypt_values, place_of, seal, write

ACTIONS = ("init", "edit", "rotate", "check")
NEW = """\
apiVersion: v1
kind: Secret
metadata:
  name: {name}
stringData:
  NAME: "value"
"""
NOTES = """\
init     makes a private key if there is none, and has an update set the answer age_recipients. It asks before it
         takes a key that you have. With --another it makes one more, for a second recipient, or instead of one that is
         to go.
edit     opens the Secret APPLICATION/NAME in your editor (VISUAL, EDITOR), and encrypts it; it is made if it is
         missing. With --from FILE it takes lines NAME=value from a file instead, and keeps the other values.
rotate   encrypts every file anew, with new data keys, for the recipients that the answer names now.
check    says whether each file is intact, encrypted, and for these recipients.

Plain text is in memory only: your editor's file lies in /dev/shm or XDG_RUNTIME_DIR, for you alone, and is gone when
the editor ends. It needs sops; the private key is read where SOPS looks for it (SOPS_AGE_KEY_FILE).

Exit status: 0 done, 1 refused or something to fix, 2 wrong call.
"""


class Secrets(Command):
    name = "secret"
    purpose = "encrypted Secrets in this repository: init, edit, rotate, check"
    example = "./lab secret edit gitlab/gitlab-env"
    notes = NOTES

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("action", metavar="ACTION", nargs="?", help=", ".join(ACTIONS))
        parser.add_argument("secret", metavar="APPLICATION/NAME", nargs="?", help="the Secret to edit")
        parser.add_argument("--from", dest="file", metavar="FILE", help="take lines NAME=value from a file")
        parser.add_argument("--another", action="store_true", help="make one more key")

    def run(self) -> int:
        options = self.options
        if options.action not in ACTIONS:
            raise WrongCall(f"say what to do: {', '.join(ACTIONS)}")
        if (options.action == "edit") is not bool(options.secret):
            raise WrongCall("only edit takes a name" if options.secret else "name the Secret: edit APPLICATION/NAME")
        if (options.file is not None and options.action != "edit") or (options.another and options.action != "init"):
            raise WrongCall("--from goes with edit, --another with init")
        steps = {"init": self._init, "edit": self._edit, "rotate": self._rotate, "check": self._check}
        return steps[options.action]()

    @cached_property
    def sops(self) -> Sops:
        return Sops(self.programs, self.folder, os.environ)

    def _ready(self) -> None:
        """End the run where nothing could be encrypted and read again."""
        recipients = self.settings.age_recipients
        if not recipients:
            raise Failure("This lab has no recipients yet: age_recipients is empty.", "", "./lab secret init")
        self.sops.require()
        file = self.sops.key_file
        wrong = key_file.problem(file, key_file.keys_in(file), recipients, os.environ)
        if wrong:
            raise Failure(f"{wrong[0].upper()}{wrong[1:]}.", "", key_file.fix(file))
        if key_file.loose(file):
            self.console.warn(f"Others on this machine can read {file}: chmod 600 {file}")

    # init

    def _init(self) -> int:
        file, recipients = self.sops.key_file, list(self.settings.age_recipients)
        keys = key_file.keys_in(file)
        mine = key_file.of_this_lab(keys, recipients)
        if mine and not self.options.another:
            self.console.have(f"{file} has the key of {mine[0].recipient}, a recipient of this lab")
            return ExitCode.DONE
        key = None if self.options.another else self._found(file, keys)
        if key is None:
            key = key_file.add_key(file)
            self.console.did(f"a private key in {file}, for you alone; its public key is {key.recipient}")
        self.console.print(self._after_init(file, first=not recipients))
        answer = json.dumps([*recipients, key.recipient])
        return self.hand_over(str(self.folder / "lab"), "update", "--defaults", "--data", f"age_recipients={answer}")

    def _found(self, file: Path, keys: Sequence[age.Identity]) -> age.Identity | None:
        """Return the last key of the file, if the owner wants it for this lab: it may be for other repositories, and this
        cluster would get it."""
        if not keys or not self.console.terminal:
            return None
        asked = f"{file} has the key of {keys[-1].recipient}.\nUse it for this lab, and give it to the cluster? Otherwise a new one is made."
        return keys[-1] if self.console.ask_yes(asked, "", in_person=True) else None

    @staticmethod
    def _after_init(file: Path, *, first: bool) -> str:
        rotate = "" if first else "\n     ./lab secret rotate encrypts what is there for the new key, too."
        return f"""\
What comes next:

  1. Copy {file} to where it outlives this machine: paper, a password manager. Anyone who has it reads every secret
     of this lab; without it, no new cluster can.
  2. The update that begins now sets the answer. Read `git diff`, and commit.{rotate}
  3. Before you push: ./lab up --only flux gives the key to the cluster. Without it Flux applies nothing.
  4. git push. From then on ./lab secret edit writes encrypted Secrets.
"""

    # edit

    def _edit(self) -> int:
        place = place_of(self.options.secret, self.folder)
        self._ready()
        path = self.folder / place.path
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        text = self._from_file(place, old) if self.options.file is not None else self._from_editor(place, old)
        if not text:
            self.console.have(f"{place.path} is as it was; an editor that returns at once needs a flag such as --wait")
            return ExitCode.DONE
        os.umask(self.programs.owner_umask)
        written = seal(self.folder, place, text)
        self.console.did(f"{place.path}, encrypted for {len(self.settings.age_recipients)} recipient(s)")
        self.console.print(f"\nWhat comes next: git add {' '.join(written)} && git commit -m 'Set {place}' && git push")
        hint = self._hint(place)
        if hint:
            self.console.print(hint)
        return ExitCode.DONE

    def _from_file(self, place: Place, old: str) -> str:
        values = self.sops.values(place.path, old) if old else {}
        return encrypt_values(self.sops, place, values | read_values(self.options.file))

    def _from_editor(self, place: Place, old: str) -> str:
        """Return what the owner made of it, encrypted; nothing if they changed nothing. What cannot be kept goes back
        into the editor."""
        plain = self.sops.decrypt(place.path, old) if old else Secret(NEW.format(name=json.dumps(place.name)))
        before = plain
        while True:
            plain = edited(f"{place.name}.yaml", plain, self.console)
            if plain == before:
                return ""
            try:
                text = self.sops.encrypt(place.path, plain)
                self._refuse_shown(place, text)
                self.sops.values(place.path, text)
            except Failure as failure:
                self.console.warn(failure.what)
                if not self.console.ask_yes("Edit it again? Otherwise it is lost.", "", in_person=True):
                    raise
                continue
            return text

    @staticmethod
    def _refuse_shown(place: Place, text: str) -> None:
        """Refuse what SOPS would leave in plain text: it encrypts what lies below stringData, and nothing else."""
        shown = sealed.shows(text)
        if shown:
            raise Failure(
                f"{place.path} would show {shown} to everybody who reads this repository: only what is below stringData is "
                f"encrypted. Labels and annotations belong in {place.folder}/{FOLDER}/{COMPONENT}."
            )

    def _hint(self, place: Place) -> str:
        """Return how the release takes the values, unless its files name the Secret already."""
        texts = (
            path.read_text(encoding="utf-8", errors="replace") for path in (self.folder / place.folder).glob("*.yaml")
        )
        if place.owner == "automation" or any(re.search(rf"\b{re.escape(place.name)}\b", text) for text in texts):
            return ""
        lines = f"    envFrom:\n      - secretRef:\n          name: {place.name}"
        return f"{place.folder}/helmrelease.yaml does not use it yet. Below spec.values:\n\n{lines}"

    # rotate

    def _rotate(self) -> int:
        self._ready()
        # All of them in memory, before the first is written.
        texts = {}
        for path in sealed.files(self.folder):
            old = (self.folder / path).read_text(encoding="utf-8")
            plain = self.sops.decrypt(path, old) if sealed.read(old) else Secret(old)
            texts[path] = self.sops.encrypt(path, plain)
        os.umask(self.programs.owner_umask)
        for path, text in texts.items():
            write(self.folder / path, text)
            self.console.did(str(path))
        if not texts:
            self.console.have("there is nothing encrypted here")
            return ExitCode.DONE
        self.console.print(
            "\nWhat comes next: ./lab up --only flux, if a recipient is new; then commit and push. What uses these\n"
            "Secrets restarts, GitLab too. A key that others have got opens the old commits for ever: then change the\n"
            "values as well, by ./lab secret edit."
        )
        return ExitCode.DONE

    # check

    def _check(self) -> int:
        recipients, faults = self.settings.age_recipients, 0
        keys = key_file.of_this_lab(key_file.keys_in(self.sops.key_file), recipients)
        opens = self.programs.has("sops") and bool(keys)
        for path in sealed.files(self.folder):
            text = (self.folder / path).read_text(encoding="utf-8", errors="replace")
            wrong = sealed.problem(path.as_posix(), text, recipients)
            if wrong is None and not recipients and path.parent.name == FOLDER:
                wrong = sealed.FOR_NOBODY
            if wrong is None and opens:
                try:
                    self.sops.decrypt(path, text)
                except Failure as failure:
                    wrong = f"{failure.what.removeprefix(f'{path} ')} {failure.then}".strip()
            if wrong is None:
                self.console.have(str(path))
            else:
                faults += 1
                self.console.bad(str(path), wrong, "")
        if not opens and recipients:
            why = "sops is not installed" if keys else "no key of a recipient is here"
            self.console.skip(f"whether each file is intact was not looked at: {why}")
        return ExitCode.FAILED if faults else ExitCode.DONE
