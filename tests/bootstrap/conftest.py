"""The fixtures of these tests. They stand in journeys.py: a module with a name of its own, for tests to import."""

from tests.bootstrap.support.journeys import *  # noqa: F403
