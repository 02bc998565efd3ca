"""The answers so far of a lab that is not made yet: one file a folder, readable by its owner alone.

It is there from the first answer until the lab is written: Ctrl-C, a closed terminal or a failed copy lose nothing.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Unreadable(Exception):
    """A file of answers so far that is none."""


@dataclass(frozen=True)
class Begun:
    """What was answered for a lab: in the order of the answers, and when the last one was given."""

    answers: dict[str, Any]
    when: datetime.datetime


class Kept:
    """The file for one lab.

    Args:
        destination: the folder that the lab will be in.
        environment: where XDG_STATE_HOME may be.
    """

    def __init__(self, destination: Path, environment: Mapping[str, str]) -> None:
        base = environment.get("XDG_STATE_HOME", "")
        # The lab's program has homelab/<name of the lab> there; no lab's name has an underscore.
        state = Path(base) if Path(base).is_absolute() else Path("~/.local/state").expanduser()
        whole = str(destination.absolute())
        digest = hashlib.sha256(whole.encode(errors="surrogateescape")).hexdigest()[:12]
        self.destination = whole
        self.file = state / "homelab" / "unfinished_labs" / f"{digest}.json"

    def read(self) -> Begun | None:
        """Return what was answered so far; None if nothing was.

        Raises:
            Unreadable: there is a file, and it cannot be used.
        """
        try:
            held = json.loads(self.file.read_text(encoding="utf-8"))
            when = datetime.datetime.fromtimestamp(self.file.stat().st_mtime).astimezone()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise Unreadable(f"`{self.file}` cannot be read: {error}") from error
        answers = held.get("answers") if isinstance(held, dict) else None
        if not isinstance(answers, dict):
            raise Unreadable(f"`{self.file}` holds no answers")
        return Begun(answers, when)

    def write(self, answers: Mapping[str, Any]) -> None:
        """Keep the answers, in this order; the file is whole at every moment."""
        self._put({"destination": self.destination, "answers": dict(answers)})

    def _put(self, content: Mapping[str, Any]) -> None:
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp's file is its owner's alone from the start.
        descriptor, name = tempfile.mkstemp(dir=self.file.parent, prefix=f"{self.file.stem}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(content, file, ensure_ascii=False, indent=2)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def set_aside(self) -> Path:
        """Move a file that cannot be used out of the way, and return where it is now."""
        aside = self.file.with_name(f"{self.file.stem}.unreadable")
        self.file.replace(aside)
        return aside

    def remove(self) -> None:
        """Forget the answers: the lab records them now, or the owner begins anew."""
        with contextlib.suppress(NotADirectoryError):
            self.file.unlink(missing_ok=True)
