"""What a stage is. `docs/adding-a-stage.md` of the template shows how to add one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from ..lab import Lab
from ..probes import Probes
from ..settings import Settings


class Stage(ABC):
    """One step from a bare cluster to a working lab: it looks at the world first, and does only what is missing.

    Attributes:
        name: how `--from` and `--only` call it.
        purpose: what it leaves behind, in half a sentence.
        looks_at: what it reads, for the owner.
        changes: what it may change, for the owner; nothing for a stage that only looks.
    """

    name: ClassVar[str]
    purpose: ClassVar[str]
    looks_at: ClassVar[tuple[str, ...]]
    changes: ClassVar[tuple[str, ...]]

    def __init__(self, lab: Lab) -> None:
        self.lab, self.settings, self.console = lab, lab.settings, lab.console
        self.cluster, self.patience, self.probes = lab.cluster, lab.patience, Probes(lab)

    @classmethod
    def programs(cls, settings: Settings) -> set[str]:
        """Return the programs that it calls in a lab of these settings."""
        del settings
        return {"kubectl"}

    @abstractmethod
    def run(self) -> None:
        """Bring the world to where it should be; in a dry run, say what would be done.

        Raises:
            Failure: it could not.
        """
