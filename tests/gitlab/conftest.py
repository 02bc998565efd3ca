"""What the tests of GitLab share in one process: an authority that signs certificates, and the servers of GitLab's pod."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from authority import Authority
from stand_in_pod import SshStub, WebStub


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the certificate of another authority, which signed nothing here."""
    return Authority(tmp_path_factory.mktemp("stranger"), "Somebody else").crt


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, WebStub | SshStub]]:
    """Return the servers of GitLab's pod by name: gitlab, registry, ssh."""
    started: dict[str, WebStub | SshStub] = {"gitlab": WebStub("gitlab"), "registry": WebStub("registry"), "ssh": SshStub()}
    yield started
    for server in started.values():
        server.close()
