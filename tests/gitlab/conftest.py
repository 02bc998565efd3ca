"""What the tests of GitLab share in one process: an authority that signs certificates, and the servers of GitLab's pod."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gitlab.support.authority import authority, stranger  # noqa: F401 - fixtures of these tests
from tests.gitlab.support.stand_in_pod import SshStub, WebStub


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, WebStub | SshStub]]:
    """Return the servers of GitLab's pod by name: gitlab, registry, ssh."""
    started: dict[str, WebStub | SshStub] = {
        "gitlab": WebStub("gitlab"),
        "registry": WebStub("registry"),
        "ssh": SshStub(),
    }
    yield started
    for server in started.values():
        server.close()
