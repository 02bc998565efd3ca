"""Opening backups with the owner's private key: on this machine, which alone has it, and never in a file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from . import key_file
from .backup_target import CONFIG, DATA, Stored, Target
from .backups import BACKUPS_IN_POD, CONFIGS_IN_POD, SUFFIX, configuration_name
from .errors import Failure
from .lab import Lab
from .programs import how_to_install


class Key:
    """The owner's private key, as `age` reads it.

    Raises:
        Failure: age is missing, or no key here opens the backup.
    """

    def __init__(self, lab: Lab, backup: Stored) -> None:
        missing = lab.programs.missing({"age"})
        if missing:
            raise Failure("age is not installed; it decrypts backups.", "", how_to_install(missing))
        file = lab.sops.key_file
        mine = key_file.of_this_lab(key_file.keys_in(file), backup.recipients)
        if not mine:
            then = f"copy your key file to {file} (chmod 600), or name where it is in {key_file.KEY_FILE}"
            for_whom = ", ".join(backup.recipients)
            raise Failure(f"No private key in {file} opens {backup.name}, which is encrypted for {for_whom}.", "", then)
        self.recipients = tuple(one.recipient for one in mine)
        self.command = ["age", "--decrypt", "--identity", str(file)]


def look_inside(lab: Lab, target: Target, backup: Stored, key: Key) -> None:
    """Decrypt a backup, and read both of its archives to their end.

    Raises:
        Failure: a part is not what it should be.
    """
    # The pods' own program looks into the archives, as it did before it sent them.
    program = lab.folder / "apps" / "backups"
    for part in backup.parts:
        what = ["data", backup.name] if part.name == DATA else ["config"]
        lab.console.doing(f"decrypting {part.of}, {in_words(part.plain_size)}, and reading it to its end")
        target.pour(backup.name, part, key.command, looker(program, what))
        lab.console.have(f"{part.of} is complete")


def looker(program: Path, words: Sequence[str]) -> list[str]:
    """Return the command that looks into an archive."""
    code = (
        "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('lab_backups', run_name='__main__')"
    )
    return [sys.executable, "-B", "-c", code, str(program), "look", *words]


def bring_into_pod(lab: Lab, target: Target, backup: Stored, key: Key) -> None:
    """Bring a backup from the target into GitLab's pod, decrypted on its way through this machine.

    A file has its name in the pod once it is complete: what is cut off is never taken for one.

    Raises:
        Failure: a part did not arrive whole.
    """
    for part in sorted(backup.parts, key=lambda one: one.name != CONFIG):
        if part.name == DATA:
            file, owner = f"{BACKUPS_IN_POD}/{backup.name}{SUFFIX}", "git:git"
        else:
            file, owner = f"{CONFIGS_IN_POD}/{configuration_name(backup.name)}", "root:root"
        lab.console.doing(f"bringing {part.of}, {in_words(part.plain_size)}, into GitLab's pod")
        target.pour(backup.name, part, key.command, lab.pod.receiver(f"{file}.part", part.plain_size))
        # What has come was compared with the manifest by now.
        if lab.pod.run("chown", owner, f"{file}.part").status or lab.pod.run("mv", f"{file}.part", file).status:
            raise Failure(
                f"{file} in GitLab's pod could not be written.",
                f"kubectl exec deploy/gitlab -n {target.namespace} -- df -h",
            )
        lab.console.did(f"{part.of} in GitLab's pod")


def in_words(count: float) -> str:
    """Return a number of bytes in words: 12 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
