"""The fixtures of these tests. They are in engine_fixtures.py: a module with a name of its own, for tests to import."""

from tests.machines.support.engine_fixtures import *  # noqa: F403
