"""Secrets: values that are shown nowhere. They leave through a pipe or a header, and are removed from all output."""

from __future__ import annotations

import base64
import json
import secrets as random_source
from typing import NoReturn
from urllib.parse import quote, urlsplit

HIDDEN = "[hidden]"
# Shorter values occur by chance; to remove them would make nonsense of other words.
SHORTEST = 6
# A part of an address that is longer stands for itself: a digest, a token.
LONG_PART = 30
_patterns: dict[str, None] = {}


class Secret:
    """A value that prints as `…`. Making one is enough to have it removed from everything that the program prints.

    `reveal` gives the value to what a pipe or a header carries away; nothing else may call it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        for form in _forms(value):
            _patterns.setdefault(form)

    def __repr__(self) -> str:
        return "…"

    __str__ = __repr__

    def __format__(self, _: str) -> str:
        return "…"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and random_source.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written to a file")

    def reveal(self) -> str:
        """Return the value itself, for a pipe or a header."""
        return self._value


def _forms(value: str) -> list[str]:
    """Return how a value may show up in another program's words: as it is, each line, quoted, and in base64."""
    forms = [value.strip(), quote(value, safe=""), json.dumps(value)[1:-1]]
    forms += [line for line in value.splitlines() if len(line) > 20 and not line.startswith("-----")]
    # The first and the last characters of base64 depend on what stands around the value.
    raw = value.strip().encode()
    for lead, first in enumerate((0, 2, 3)):
        encoded = base64.b64encode(b"\0" * lead + raw).decode()
        forms.append(encoded[first : (lead + len(raw)) * 8 // 6])
    return [form for form in forms if len(form) >= SHORTEST]


def redact(text: str) -> str:
    """Return *text* without any secret that this run knows of, also in base64 as kubectl's errors quote it."""
    for form in sorted(_patterns, key=len, reverse=True):
        if form in text:
            text = text.replace(form, HIDDEN)
    return text


def hidden_address(url: str) -> Secret:
    """Return an address that is a secret, such as a webhook's; the part that makes it one is removed by itself, too."""
    for part in urlsplit(url).path.split("/"):
        if len(part) > LONG_PART:
            Secret(part)
    return Secret(url)


def random_secret() -> Secret:
    """Make a secret of 40 characters that need no quoting anywhere; GitLab takes it as a password."""
    return Secret(random_source.token_urlsafe(30))


def as_json(content: object) -> bytes:
    """Return content as JSON for a pipe or a request's body, the secrets in it included."""
    return json.dumps(content, default=_reveal, separators=(",", ":")).encode()


def _reveal(value: object) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
