"""The fixtures of these tests. They stand in debian_fixtures.py: a module with a name of its own, for tests to import."""

from tests.setup.support.debian_fixtures import *  # noqa: F403
