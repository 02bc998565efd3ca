"""Fixtures of these tests: a Proxmox server for all of them, and worlds as the bootstrap's tests make them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bootstrap"))

from journeys import make_world  # noqa: F401
from proxmox_server import ProxmoxServer


@pytest.fixture(scope="session")
def proxmox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxmoxServer]:
    """Return a Proxmox server; each test arranges it anew."""
    server = ProxmoxServer(tmp_path_factory.mktemp("proxmox"))
    yield server
    server.stop()
