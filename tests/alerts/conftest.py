"""What the tests of the alarm share: an authority, and the mail server of tests/gitlab."""

from __future__ import annotations

import pytest

from tests.gitlab.support.authority import Authority, Certificate, authority, stranger  # noqa: F401 - fixtures of these tests


@pytest.fixture(scope="session")
def certificate(authority: Authority) -> Certificate:  # noqa: F811 - pytest passes the fixture
    return authority.sign("here", "localhost")
