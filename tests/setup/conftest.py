"""The fixtures of these tests, which are in support/debian_fixtures.py."""

from tests.setup.support.debian_fixtures import *  # noqa: F403
