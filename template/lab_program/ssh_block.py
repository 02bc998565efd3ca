"""The lab's block in the owner's ~/.ssh/config: between two marks, first in the file. The owner's lines stay.

It ends in `Host *`, so that what follows it means what it meant before: options that stood outside of any Host.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import Failure

_HOST = re.compile(r"\s*host(?:\s+|\s*=\s*)(.*)", re.IGNORECASE)


@dataclass(frozen=True)
class Parts:
    """A configuration in three parts, each with its line ends: before the lab's block, the block, and after it."""

    before: str
    block: str
    after: str

    @property
    def owners(self) -> str:
        return self.before + self.after


def marks(lab_name: str) -> tuple[str, str]:
    """Return the lines around a lab's block."""
    return f"# >>> lab {lab_name}: ./lab ssh-config --remove takes this block out", f"# <<< lab {lab_name}"


def block(lab_name: str, entry: str, line_end: str = "\n") -> str:
    """Return the block of a lab.

    Args:
        entry: the lab's file ssh_config. What is said of the file itself, its first comment, is left out.
        line_end: as the owner's lines end.
    """
    lines = entry.splitlines()
    while lines and (not lines[0].strip() or lines[0].startswith("#")):
        del lines[0]
    begin, end = marks(lab_name)
    return "".join(f"{line}{line_end}" for line in (begin, *lines, "Host *", end))


def split(text: str, lab_name: str) -> Parts:
    """Find a lab's block in a configuration.

    Raises:
        Failure: one of its marks is missing, or is there twice.
    """
    begin, end = marks(lab_name)
    lines = text.splitlines(keepends=True)
    # The words behind the name may change; the owner's editor may have changed blanks.
    first = [n for n, line in enumerate(lines) if line.strip().startswith(begin.partition(":")[0] + ":")]
    last = [n for n, line in enumerate(lines) if line.strip() == end]
    if not first and not last:
        return Parts("", "", text)
    if len(first) != 1 or len(last) != 1 or first[0] > last[0]:
        where = ", ".join(str(number + 1) for number in sorted([*first, *last]))
        what = f"The lab's block in ~/.ssh/config is damaged: its marks are in line {where}. Nothing was changed."
        raise Failure(what, f'the lines "{begin}" and "{end}"', "take out what is left of the block, then run it again")
    return Parts("".join(lines[: first[0]]), "".join(lines[first[0] : last[0] + 1]), "".join(lines[last[0] + 1 :]))


def lines_that_name(text: str, host: str) -> list[int]:
    """Return the numbers of the lines that begin a block for this very host, not for a pattern that it fits."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        match = _HOST.fullmatch(line)
        if match and host in (word.strip('"') for word in match[1].split()):
            found.append(number)
    return found


def leads_to(said: Sequence[str], host: str, port: int) -> bool:
    """Say whether what `ssh -G` prints is how the lab's GitLab is reached."""
    wanted = {f"hostname {host}", f"port {port}", "user git"}
    return wanted <= {line.strip().lower() for line in said}
