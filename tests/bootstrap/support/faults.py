"""What is ordered to go wrong with the calls of a run."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass
class Fault:
    """What goes wrong with the calls that match.

    Attributes:
        source: `api` or `git` for requests to GitLab, otherwise the program.
        pattern: matches the request (`METHOD /path`), or the program's arguments.
        kind: for requests a status (500; 429 with `retry_after`), `reset` (no answer, nothing done), `slow` (an answer that
            comes too late); for programs what they say; for both `lost` (done, no answer) and `half` (done, half an answer).
        times: how often; 0: always.
        message: what GitLab says with a status.
    """

    source: str
    pattern: str
    kind: int | str
    times: int = 0
    retry_after: str | None = None
    message: str = ""
    hits: int = 0

    def applies(self, source: str, detail: str) -> bool:
        """Say whether a call is to go wrong, and count it."""
        if source != self.source or not re.search(self.pattern, detail) or (self.times and self.hits >= self.times):
            return False
        self.hits += 1
        return True
