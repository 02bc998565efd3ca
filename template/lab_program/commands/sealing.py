"""Encrypted Secrets of the lab: where each lies, and what makes Flux apply it and restart what uses it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..clients.sops import Sops
from ..errors import Failure
from ..sealed import ANNOTATION, FOLDER, SUFFIX
from ..secret import Secret
from ..value_lines import KEY, read_values
from .application import Application
from .base import Command

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
COMPONENT = "kustomization.yaml"
HEAD = """\
# `./lab secret` writes this file anew. The Secrets beside it are encrypted; Flux decrypts them.{restart}
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
resources:
"""
RESTART = """
# When one changes, the pods are replaced: an annotation of theirs says when it was encrypted last."""


@dataclass(frozen=True)
class Place:
    """Where an encrypted Secret lies.

    Attributes:
        owner: the application below apps/ that it belongs to, or `automation`.
        name: the Secret's name.
    """

    owner: str
    name: str

    @property
    def folder(self) -> Path:
        """Its owner's folder in the lab."""
        return Path(self.owner) if self.owner == "automation" else Path("apps") / self.owner

    @property
    def path(self) -> Path:
        return self.folder / FOLDER / f"{self.name}{SUFFIX}"

    def __str__(self) -> str:
        return f"{self.owner}/{self.name}"


def place_of(word: str, lab: Path) -> Place:
    """Return the place that `APPLICATION/NAME` names.

    Raises:
        Failure: there is no such application, or no Secret can have that name.
    """
    owner, slash, name = word.partition("/")
    place = Place(owner, name)
    if not slash or not _LABEL.fullmatch(owner):
        raise Failure(f'"{word}" names no Secret: write APPLICATION/NAME, such as gitlab/gitlab-env.')
    check_name(name)
    if not (lab / place.folder / COMPONENT).is_file():
        known = sorted(path.parent.name for path in lab.glob(f"apps/*/{COMPONENT}"))
        raise Failure(
            f"There is no {place.folder}/{COMPONENT}.", "", f"give one of these: {', '.join(known)}, automation"
        )
    return place


def check_name(name: str) -> None:
    """Refuse what cannot name a Secret here.

    Raises:
        Failure: why not.
    """
    if not _LABEL.fullmatch(name):
        raise Failure(f'"{name}" cannot name a Secret: use small letters, digits and hyphens, such as shop-db.')


def manifest(name: str, values: Mapping[str, Secret]) -> Secret:
    """Return a Secret in YAML, in plain text."""
    # JSON's strings are YAML's.
    lines = [f"  {key}: {json.dumps(value.reveal(), ensure_ascii=False)}\n" for key, value in values.items()]
    return Secret(f"apiVersion: v1\nkind: Secret\nmetadata:\n  name: {json.dumps(name)}\nstringData:\n{''.join(lines)}")


def seal(lab: Path, place: Place, text: str) -> list[str]:
    """Write an encrypted text to its place, have Flux apply it, and return the files that were written."""
    folder = lab / place.folder
    (folder / FOLDER).mkdir(exist_ok=True)
    written = [write(lab / place.path, text), write(folder / FOLDER / COMPONENT, component(folder))]
    owner = folder / COMPONENT
    before = owner.read_text(encoding="utf-8")
    after = with_component(before)
    if after != before:
        written.append(write(owner, after))
    return [path.relative_to(lab).as_posix() for path in written]


def component(folder: Path) -> str:
    """Return the Component that brings the encrypted Secrets of an application's folder, as they lie there now."""
    names = sorted(path.name.removesuffix(SUFFIX) for path in (folder / FOLDER).glob(f"*{SUFFIX}"))
    return component_of(names, has_release=(folder / "helmrelease.yaml").is_file())


def component_of(names: Sequence[str], *, has_release: bool) -> str:
    """Return the Component that brings Secrets of these names, beside a release or without one."""
    text = HEAD.format(restart=RESTART if has_release else "")
    text += "".join(f"  - {name}{SUFFIX}\n" for name in names)
    if has_release:
        text += "replacements:\n" + "".join(map(_replacement, names))
    return text


def _replacement(name: str) -> str:
    return f"""\
  - source:
      kind: Secret
      name: {json.dumps(name)}
      fieldPath: sops.lastmodified
    targets:
      - select:
          kind: HelmRelease
        fieldPaths:
          - spec.values.podAnnotations.{ANNOTATION}{name}
        options:
          create: true
"""


def with_component(text: str) -> str:
    """Return a kustomization.yaml that takes in the folder with the Secrets; one that does stays as it is."""
    if re.search(rf"^ *- [\"']?(\./)?{FOLDER}/?[\"']?[ \t]*$", text, re.MULTILINE):
        return text
    entry = f"  - {FOLDER}\n"
    found = re.search(r"^components:[ \t]*\n( *)- ", text, re.MULTILINE)
    if found:
        place = found.end() - len(found[1]) - 2
        return f"{text[:place]}{found[1]}- {FOLDER}\n{text[place:]}"
    if re.search(r"^components:", text, re.MULTILINE):
        raise Failure("kustomization.yaml lists components in another form.", "", f"add {FOLDER} to them by hand")
    return f"{text.rstrip()}\ncomponents:\n{entry}"


def write(path: Path, text: str) -> Path:
    """Write a file whole or not at all; like the lab's others it is the owner's to share."""
    new = path.with_name(f".{path.name}.new")
    with new.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    return new.replace(path)


def encrypt_values(sops: Sops, place: Place, values: Mapping[str, Secret]) -> str:
    """Return the encrypted text of a Secret of these values."""
    return sops.encrypt(place.path, manifest(place.name, values))


def sealed_text(command: Command, app: Application) -> str:
    """Return the encrypted Secret of a new application; its values come from a file, or the owner types them in.

    Raises:
        Failure: the lab has no recipients, or there is no terminal.
    """
    if not command.settings.age_recipients:
        raise Failure("This lab has no recipients yet: age_recipients is empty.", "", "./lab secret init")
    check_name(app.secret)
    sops = Sops(command.programs, command.folder, os.environ)
    console, file = command.console, command.options.secret_from
    sops.require()
    if file:
        return encrypt_values(sops, Place(app.name, app.secret), read_values(file))
    if not console.terminal:
        raise Failure("There is no terminal to ask for the values.", "", "--secret-from FILE takes them from a file")
    names = console.ask_line("The names of its values, such as DB_PASSWORD API_TOKEN:", "--secret-from FILE").split()
    wrong = next((name for name in names if not KEY.fullmatch(name)), None)
    if wrong is not None:
        raise Failure(f'"{wrong}" cannot name a value: use letters, digits and underscores.')
    values = {name: console.ask_secret(f"{name} (not shown):") for name in names}
    return encrypt_values(sops, Place(app.name, app.secret), values)


def sealed_files(folder: Path, app: Application, text: str) -> list[tuple[Path, str]]:
    """Return the files that bring an application's encrypted Secret, with their texts."""
    if not text:
        return []
    inside = folder / FOLDER
    return [
        (inside / f"{app.secret}{SUFFIX}", text),
        (inside / COMPONENT, component_of([app.secret], has_release=True)),
    ]
