"""The fixtures of these tests, which are in support/journeys.py."""

from tests.bootstrap.support.journeys import *  # noqa: F403
