"""How long something may take on the machine that the tests run on."""

from __future__ import annotations

import os


def allowed(seconds: float) -> float:
    """Return how long a promised time may take on this machine now: longer, where more wants to run than it has cores."""
    busy = os.getloadavg()[0] / (os.cpu_count() or 1)
    return seconds * min(max(busy, 1), 4)
