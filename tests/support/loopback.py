"""Addresses of this machine's loopback network, so that every stand-in keeps the port numbers of the real thing.

Linux answers on all of 127.0.0.0/8. Each test process has a corner of its own there, made from its process id.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

_numbers = itertools.count(1)
Found = TypeVar("Found")


def address() -> str:
    """Return an address of 127.0.0.0/8 that nobody else uses. Skips where the machine has only 127.0.0.1."""
    corner, number = os.getpid(), next(_numbers)
    found = f"127.{64 + corner % 128}.{corner // 128 % 256}.{1 + number % 250}"
    with socket.socket() as probe:
        try:
            probe.bind((found, 0))
        except OSError:
            pytest.skip("this machine's loopback network is 127.0.0.1 alone")
    return found


def free_port() -> int:
    """Return a port that is free on all addresses at this moment, from a corner of this process: below those that connections take."""
    for number in itertools.count():
        port = 20000 + (os.getpid() * 16 + next(_numbers)) % 12000
        try:
            with socket.create_server(("0.0.0.0", port)):
                pass
            if socket.has_ipv6:
                with socket.create_server(("::", port), family=socket.AF_INET6):
                    pass
            return port  # noqa: TRY300 - it is the end of what is tried
        except OSError as error:
            if error.errno == errno.EAFNOSUPPORT or number > 100:
                return port
    raise AssertionError("no port is free")


def wait_for(what: str, look: Callable[[], Found | None], seconds: float = 20, pause: float = 0.01) -> Found:
    """Return what *look* finds, asking again after each *pause* until it does.

    Raises:
        AssertionError: nothing was found in time.
    """
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(pause)


def listens(host: str, port: int) -> bool:
    """Say whether somebody accepts connections there."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True
