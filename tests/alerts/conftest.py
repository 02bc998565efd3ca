"""What the tests of the alarm share: an authority, and the mail server of tests/gitlab."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.rendering import ROOT

sys.path.insert(0, str(ROOT / "tests" / "gitlab"))

from authority import Authority, Certificate


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the certificate of another authority, which signed nothing here."""
    return Authority(tmp_path_factory.mktemp("stranger"), "Somebody else").crt


@pytest.fixture(scope="session")
def certificate(authority: Authority) -> Certificate:
    return authority.sign("here", "localhost")
