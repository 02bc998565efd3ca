"""The summary of all answers, as lines for a terminal: before a lab is written, and after."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any, cast

from .advice import preparation, second_look
from .answers import Answers
from .facts import Lab
from .pages import LEVEL
from .walk import Entry

WIDTH = 80
_KEPT = "\ue000"  # a space at which no line ends
_NAME = 20  # columns of a name and what follows it
_CERTIFICATES = {
    "cert-manager": "by the ClusterIssuer {issuer} of your cert-manager",
    "letsencrypt-http": "by Let's Encrypt, over port 80 (HTTP-01)",
    "letsencrypt-dns": "by Let's Encrypt, over records in your DNS (DNS-01)",
    "lab-authority": "by an authority that the lab makes",
    "secret": "yours, in a Secret",
    "traefik": "Traefik's own",
}


def shown(value: Any) -> str:
    """Return an answer as a person writes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return f"[{', '.join(str(item) for item in value)}]"
    return str(value) if value != "" else "(empty)"


def lines(entries: list[Entry], width: int = WIDTH) -> list[str]:
    """Return the whole summary. What the owner has to do something about comes last, where a terminal shows it."""
    answers = cast("Answers", {entry.name: entry.value for entry in entries})
    lab = Lab(answers)
    filled_in = frozenset(entry.name for entry in entries if entry.filled_in)
    found = [*_answers(entries, bool(filled_in), width), "", "WHAT COMES OF THEM", "", *_outcome(answers, lab, width)]
    found += ["", "WHAT YOU HAVE TO PREPARE", "", *_listed(preparation(answers, lab), width)]
    points = second_look(answers, lab, filled_in)
    if points:
        found += ["", "WORTH A SECOND LOOK", ""]
        for name, text in points:
            found += _row(name, text, width)
    return found


def _answers(entries: Iterable[Entry], filled_in: bool, width: int) -> Iterator[str]:
    yield "ALL ANSWERS"
    if filled_in:
        yield from wrapped(f"* was not asked ({LEVEL}: quick); the template filled it in.", width)
    page = ""
    for entry in entries:
        if not entry.applies:
            continue
        if entry.page != page:
            page = entry.page
            yield ""
            yield f"{page.replace('_', '-')}:"
        yield from _row(entry.name, shown(entry.value), width, "*" if entry.filled_in else " ")


def _outcome(answers: Answers, lab: Lab, width: int) -> Iterator[str]:
    yield from _row("GitLab", lab.gitlab_url, width)
    yield from _row("registry", lab.registry_url, width)
    yield from _row("Git over SSH", f"{lab.ssh_clone_prefix}/", width)
    if answers["sample_app"]:
        yield from _row("sample application", f"https://{lab.sample_host}{lab.port_suffix}", width)
    if lab.signs_in:
        yield from _row("sign-in", lab.sign_in_url, width)
    if answers["docker_hub_cache"]:
        yield from _row("Docker Hub's cache", lab.docker_hub_cache_url, width)
    if answers["runner_kind"] == "docker":
        yield from _row("runner's machine", answers["runner_host"], width)
    told = "; devices have to be told" if answers["private_ca"] else ""
    made = _CERTIFICATES[answers["tls_source"]].format(issuer=answers["cluster_issuer"])
    yield from _row("certificates", made + told, width)
    for part in lab.backends:
        yield from _row(
            {"config": "configuration", "logs": "logs", "data": "Git data, database"}[part],
            _place(part, answers, lab),
            width,
        )
    yield from _row("backups", _backups(answers, lab), width)


def _place(part: str, answers: Answers, lab: Lab) -> str:
    backend = lab.backends[part]
    if backend == "storage-class":
        return f"{lab.claim_sizes[part]} of the storage class {answers['storage_class']}"
    folder = f"{lab.gitlab_root}/{part}"
    return f"{answers['nfs_server']}:{folder} (NFS)" if backend == "nfs" else f"{folder} on the node"


def _backups(answers: Answers, lab: Lab) -> str:
    if not answers["backups"]:
        return "none"
    places = ["beside the data"]
    places += [f"in the bucket {answers['aws_bucket']}"] if lab.uploads_backups else []
    places += [f"encrypted at {lab.backup_place}"] if lab.sends_backups else []
    when = f"{answers['backup_schedule']} ({answers['timezone']}), kept for {answers['backup_keep_days']} days"
    return f"{when}, {' and '.join(places)}"


def wrapped(text: str, width: int, first: str = "", after: str = "") -> list[str]:
    """Return *text* as lines of at most *width*, which do not begin within a command or a value in backticks.

    Args:
        first: what the first line begins with.
        after: what each further line begins with.
    """
    whole = re.sub(r"`[^`]*`", lambda code: code[0].replace(" ", _KEPT), text)
    if max((len(word) for word in whole.split(" ")), default=0) > width - len(after):
        whole = text
    found = textwrap.wrap(whole, width, initial_indent=first, subsequent_indent=after, break_on_hyphens=False)
    return [line.replace(_KEPT, " ") for line in found]


def _listed(texts: Iterable[str], width: int) -> Iterator[str]:
    for text in texts:
        yield from wrapped(text, width, "  - ", "    ")


def _row(name: str, text: str, width: int, mark: str = " ") -> list[str]:
    """Return a name with its text beside it, on as many lines as it takes; below it, if the terminal is too narrow."""
    start = f"{mark} {name:<{_NAME}}"
    if width < 2 * _NAME:
        return [start.rstrip(), *wrapped(text, width, "    ", "    ")]
    return wrapped(text, width, start, " " * len(start))
