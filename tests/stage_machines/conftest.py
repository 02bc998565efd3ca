"""Fixtures of these tests: a Proxmox server for all of them, and worlds as the bootstrap's tests make them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bootstrap.support.journeys import make_world  # noqa: F401
from tests.stage_machines.support.proxmox_server import ProxmoxServer


@pytest.fixture(scope="session")
def proxmox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxmoxServer]:
    """Return a Proxmox server; each test arranges it anew."""
    server = ProxmoxServer(tmp_path_factory.mktemp("proxmox"))
    yield server
    server.stop()
