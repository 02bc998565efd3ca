"""What the tests of GitLab share in one process: an authority that signs certificates, and the servers of GitLab's pod."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from authority import Authority
from stand_in_pod import SshStub, WebStub


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of one group on one worker: what they share is started once.

    pytest-xdist 3.8 writes the group to `_nodeid`, which pytest has not read since 9.2; elsewhere this changes nothing.
    """
    for item in items:
        named = vars(item).get("_nodeid", item.nodeid) if hasattr(item, "__dict__") else item.nodeid
        if named != item.nodeid and Path(__file__).parent in item.path.parents:
            item._id = type(item.id).parse(named)  # type: ignore[attr-defined]


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
