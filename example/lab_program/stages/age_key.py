"""The private age key in the cluster: Secret flux-system/sops-age, with which Flux decrypts what SOPS encrypted in Git.

It comes from the owner's key file, through a pipe; only a key of one of this lab's recipients does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .. import age, key_file, sealed
from ..clients.objects import NOTHING
from ..clients.sops import INSTALL
from ..errors import Failure
from ..lab import Lab
from ..probes import FLUX
from ..secret import Secret
from .findings import Advice, Finding, Good, Problem

NAME, ENTRY = "sops-age", "lab.agekey"


def ensure_age_key(lab: Lab) -> None:
    """Put the owner's keys that belong to a recipient into the cluster, and nothing else.

    Raises:
        Failure: neither the owner nor the cluster has one.
    """
    recipients = lab.settings.age_recipients
    if not recipients:
        return
    file = lab.sops.key_file
    mine, there = key_file.of_this_lab(key_file.keys_in(file), recipients), in_cluster(lab)
    if not mine:
        if key_file.of_this_lab(there, recipients):
            lab.console.have(f"Flux has the key of a recipient, in Secret {FLUX}/{NAME}; this machine has none")
            return
        wrong = key_file.problem(file, key_file.keys_in(file), recipients, lab.environment)
        raise Failure(f"Flux needs the private age key of this lab: {wrong}.", "", key_file.fix(file))
    # Another administrator's key stays, as long as it is a recipient's.
    wanted = list(dict.fromkeys([*key_file.of_this_lab(there, recipients), *mine]))
    if wanted == there:
        lab.console.have(f"Flux has the key of {', '.join(one.recipient for one in wanted)}, in Secret {FLUX}/{NAME}")
        return
    text = "".join(f"# public key: {one.recipient}\n{Secret(one.private).reveal()}\n" for one in wanted)
    lab.cluster.put_secret(FLUX, NAME, {ENTRY: Secret(text)})


def in_cluster(lab: Lab) -> list[age.Identity]:
    """Return the private keys that Flux has."""
    found = age.identities((lab.cluster.find("secret", NAME, FLUX) or NOTHING).secret(ENTRY).reveal())
    for one in found:
        Secret(one.private)
    return found


def secrets_can_be_read(lab: Lab, *, cluster_answers: bool) -> Iterator[Finding]:
    """Preflight: the key, sops where the bootstrap itself decrypts, and files that are encrypted for this lab."""
    recipients, file = lab.settings.age_recipients, lab.sops.key_file
    if not recipients:
        left = [path for path in sealed.files(lab.folder) if path.parent.name == sealed.FOLDER]
        if left:
            fix = "set age_recipients again (the earlier keys: git log -p -- .sops.yaml), or remove the encrypted files"
            yield Problem("secrets", f"{left[0]}: {sealed.FOR_NOBODY}", fix)
        return
    keys = key_file.keys_in(file)
    wrong = key_file.problem(file, keys, recipients, lab.environment)
    if wrong and not (cluster_answers and key_file.of_this_lab(in_cluster(lab), recipients)):
        yield Problem("age", wrong, key_file.fix(file))
    elif wrong:
        yield Advice(f"{wrong}; Flux has the key, and only you can put it into another cluster")
    else:
        yield Good(f"the private age key of this lab, in {file}")
    if not wrong and key_file.loose(file):
        yield Problem("age", f"others on this machine can read {file}", f"chmod 600 {file}")
    yield from _files(lab, recipients)


def _files(lab: Lab, recipients: Sequence[str]) -> Iterator[Finding]:
    found = list(sealed.files(lab.folder))
    for path in found:
        text = (lab.folder / path).read_text(encoding="utf-8", errors="replace")
        wrong = sealed.problem(path.as_posix(), text, recipients)
        if wrong is not None:
            yield Problem("secrets", f"{path}: {wrong}", "./lab secret check shows them all")
    if found and not lab.programs.has("sops"):
        yield Problem("tools", "sops is not installed, and secrets here are encrypted", INSTALL)
