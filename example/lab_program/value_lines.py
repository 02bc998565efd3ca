"""Lines NAME=value in a file of the owner's, from which the values of a Secret come."""

from __future__ import annotations

import re
from pathlib import Path

from .errors import Failure
from .secret import Secret

KEY = re.compile(r"[A-Za-z0-9._-]+")


def values_in(text: str, where: str) -> dict[str, Secret]:
    """Return the values of a text of lines NAME=value, which are taken as they are; empty ones and comments are none.

    Raises:
        Failure: a line is none of these, or there are no values.
    """
    found = {}
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals or not KEY.fullmatch(key):
            raise Failure(f"{where}, line {number}: this is no NAME=value.")
        found[key] = Secret(value)
    if not found:
        raise Failure(f"{where} holds no line NAME=value.")
    return found


def read_values(file: str) -> dict[str, Secret]:
    """Return the values that a file of the owner's holds; see values_in."""
    try:
        text = Path(file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{file} cannot be read: {error}") from error
    return values_in(text, file)
