"""A server's URL, as an answer. RFC 3986."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import SplitResult, urlsplit

from . import names, values

# Section 2, without the quote, which no server's URL needs. `urlsplit` would leave out tabs and line breaks without a word.
_CHARACTERS = re.compile(r"[A-Za-z0-9:/?#\[\]@!$&()*+,;=._~%-]*")


def server(value: Any, example: str, secret: str, *, secure: bool = False) -> SplitResult | str:
    """Return the parts of a server's URL, or why it is refused.

    Args:
        example: a URL that would do.
        secret: what the program asks for, if the URL must not hold it.
        secure: whether only https will do.
    """
    if not isinstance(value, str) or not _CHARACTERS.fullmatch(value):
        shown = "the address" if "@" in str(value) else repr(value)  # there may be a password in it
        return f"{shown} holds a character that no address has; give one such as `{example}`"
    if not value.startswith(("https://",) if secure else ("https://", "http://")):
        scheme = "https" if secure else "its scheme"
        return f"`{value}` is not the address of a server; give one with {scheme}, such as `{example}`"
    try:
        parts = urlsplit(value)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        return f"`{value}` is not the address of a server: its port or its brackets are wrong; give one such as `{example}`"
    if parts.username is not None or parts.password is not None:
        return f"the address has a user or a password, and would be in Git; leave it out, the program asks for {secret}"
    if (refusal := names.host_or_address(host)) is not None:
        return f"`{value}`: {refusal}"
    return f"`{value}`: {values.port(0)}" if port == 0 else parts
