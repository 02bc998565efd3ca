"""Another name for an application, without a moment in which it does not run.

What Flux and Kubernetes call it stays: another name there is another release, made after the old one and its volumes are gone.
https://fluxcd.io/flux/faq/#how-can-i-safely-rename-a-flux-kustomization
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import Failure
from .application import quoted

REMARK = "# In the cluster it goes on as {name}: another name there would remove it, with its volumes, first."


@dataclass(frozen=True)
class Renaming:
    """What an application is to be called, and where it comes from and is served from then on.

    Attributes:
        old, new: its folder's name below apps/.
        image: its new image without a tag; nothing to leave it.
        host: its new host; nothing to leave it.
    """

    old: str
    new: str
    image: str = ""
    host: str = ""


def rename(lab: Path, clusters: Path, renaming: Renaming) -> list[str]:
    """Move an application's files, and return what was changed, a line each.

    Args:
        lab: the lab's folder.
        clusters: the folder that Flux follows.

    Raises:
        Failure: there is no such application, or its files are not as the lab wrote them; nothing was changed.
    """
    folder, entry = lab / "apps" / renaming.old, clusters / f"{renaming.old}.yaml"
    if not folder.is_dir() or not entry.is_file():
        names = ", ".join(sorted(path.parent.name for path in lab.glob("apps/*/helmrelease.yaml"))) or "none"
        raise Failure(
            f'There is no application "{renaming.old}" with apps/{renaming.old}/ and {entry.relative_to(lab)}.',
            "",
            f"give one of these: {names}",
        )
    text = entry.read_text(encoding="utf-8")
    path = re.compile(rf"^(\s*path: )(\./)?apps/{re.escape(renaming.old)}/?$", re.MULTILINE)
    if len(path.findall(text)) != 1:
        raise Failure(
            f"{entry.relative_to(lab)} has no line `path: ./apps/{renaming.old}`, so it is not clear what follows it.",
            "",
            "rename it by hand: move the folder, and write the new path into that file; leave metadata.name as it is",
        )
    release = folder / "helmrelease.yaml"
    changed, texts = _release(release, renaming), {}
    text = path.sub(rf"\g<1>./apps/{renaming.new}", text)
    name = re.search(r"^  name: (\S+)$", text, re.MULTILINE)
    remark = REMARK.format(name=name[1] if name else renaming.old)
    texts[entry] = text if "# In the cluster it goes on as" in text else f"{remark}\n{text}"
    if changed is not None:
        texts[release] = changed
    for file, new in texts.items():
        file.write_text(new, encoding="utf-8")
    entry.rename(clusters / f"{renaming.new}.yaml")
    folder.rename(lab / "apps" / renaming.new)
    done = [
        f"apps/{renaming.old}/ is apps/{renaming.new}/",
        f"{entry.relative_to(lab)} is {renaming.new}.yaml, and leads there",
    ]
    done += [f"its image is {renaming.image}"] if renaming.image else []
    return done + ([f"it is served at {renaming.host}"] if renaming.host else [])


def _release(file: Path, renaming: Renaming) -> str | None:
    """Return the release's new text; None where nothing in it changes."""
    if not renaming.image and not renaming.host:
        return None
    text = file.read_text(encoding="utf-8")
    for what, value, line in (
        ("image", renaming.image, r"^(\s*repository: )\S+$"),
        ("host", renaming.host, r"^(\s*- name: )\S+\.\S+$"),
    ):
        if not value:
            continue
        found = re.compile(line, re.MULTILINE)
        if len(found.findall(text)) != 1:
            raise Failure(
                f"apps/{renaming.old}/{file.name} has not exactly one {what}, so it is not clear which changes.",
                "",
                f"write {value} into it by hand, and call this without --{'project' if what == 'image' else what}",
            )
        text = found.sub(rf"\g<1>{_yaml(value)}", text)
    return text


def _yaml(word: str) -> str:
    return word if re.fullmatch(r"[a-z][a-z0-9./-]*", word) else quoted(word)
