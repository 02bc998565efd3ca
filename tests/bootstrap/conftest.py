"""The fixtures of these tests, which stand in journeys.py: a module of a name of its own, so that tests can import from it."""

from journeys import *  # noqa: F403
