"""The fixtures of these tests, which are in support/engine_fixtures.py."""

from tests.machines.support.engine_fixtures import *  # noqa: F403
