"""What a file of certificates holds: each with its name and its last day, and what in it is none.

OpenSSL, through Python, judges whether a certificate is one. Of its fields Python shows those of authorities only, so
the two that are told here are read from it: DER, ITU-T X.690; the fields, RFC 5280, section 4.1.
"""

from __future__ import annotations

import datetime
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

_BEGIN = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")
# The one name that GitLab, Git and the container runtimes all read.
_NAME = "CERTIFICATE"
# Tags of DER.
_VERSION, _UTC_TIME, _GENERALIZED_TIME, _OBJECT_ID = 0xA0, 0x17, 0x18, 0x06
# How a subject is called: its common name (2.5.4.3), else its unit or organization.
_NAMED_BY = (b"\x55\x04\x03", b"\x55\x04\x0b", b"\x55\x04\x0a")


@dataclass(frozen=True)
class Certificate:
    """One certificate.

    Attributes:
        subject: its name for a person.
        ends: when it ends, in UTC.
        is_authority: whether it may sign others.
    """

    subject: str
    ends: datetime.datetime
    is_authority: bool

    def in_words(self, now: datetime.datetime) -> str:
        kind = "" if self.is_authority else ", a server's, not an authority's"
        return f"{self.subject} ({'expired on' if self.ends <= now else 'until'} {self.ends.date().isoformat()}{kind})"


@dataclass(frozen=True)
class Holding:
    """What a file holds.

    Attributes:
        certificates: those that are whole, in their order.
        problems: what else there is, in words.
        has_key: whether a private key is among it.
    """

    certificates: tuple[Certificate, ...]
    problems: tuple[str, ...]
    has_key: bool


def read(text: str) -> Holding:
    """Return what a text in PEM form (RFC 7468) holds. Words between its parts are comments."""
    certificates: list[Certificate] = []
    problems: list[str] = []
    has_key = False
    for number, (kind, block) in enumerate(_parts(text), start=1):
        if kind.endswith("PRIVATE KEY"):
            has_key = True
        elif kind != _NAME:
            problems.append(f"part {number} is a {kind}, not a CERTIFICATE")
        elif not block.isascii() or (found := _certificate(block)) is None:
            problems.append(f"part {number} is a broken certificate")
        else:
            certificates.append(found)
    return Holding(tuple(certificates), tuple(problems), has_key)


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """Yield each part of a PEM file: its kind, and its text up to its end or, where it has none, to the next."""
    begins = list(_BEGIN.finditer(text))
    limits = [*(begin.start() for begin in begins[1:]), len(text)]
    for begin, limit in zip(begins, limits, strict=False):
        block = text[begin.start() : limit]
        end = f"-----END {begin[1]}-----"
        yield begin[1], block.partition(end)[0] + end if end in block else block


def _certificate(block: str) -> Certificate | None:
    """Return the certificate of one part; None where it is broken."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=block)
        count = context.cert_store_stats()
        subject, ends = _fields(ssl.PEM_cert_to_DER_cert(block.strip()))
    except (ssl.SSLError, ValueError, IndexError):
        return None
    return Certificate(subject, ends, count["x509_ca"] == 1) if count["x509"] == 1 else None


def _fields(der: bytes) -> tuple[str, datetime.datetime]:
    """Return subject and end of a certificate that OpenSSL has read."""
    (_, certificate), *_ = _elements(der)
    (_, body), *_ = _elements(certificate)
    fields = [(tag, value) for tag, value in _elements(body) if tag != _VERSION]
    # serialNumber, signature, issuer, validity, subject
    validity, subject = fields[3][1], fields[4][1]
    tag, value = list(_elements(validity))[1]
    return _name(subject), _time(tag, value)


def _name(subject: bytes) -> str:
    found: dict[bytes, str] = {}
    for _, entry in _elements(subject):
        for _, pair in _elements(entry):
            (tag, kind), (_, value) = list(_elements(pair))[:2]
            if tag == _OBJECT_ID:
                text = value.decode("utf-8", "replace")
                found.setdefault(kind, "".join(letter if letter.isprintable() else "?" for letter in text))
    return next((found[kind] for kind in _NAMED_BY if found.get(kind)), "without a name")


def _time(tag: int, value: bytes) -> datetime.datetime:
    """Read a time. A year of two digits is one of 1950 to 2049 (RFC 5280, section 4.1.2.5.1)."""
    text = value.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError(f"no time: {tag}")
    return datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.timezone.utc)


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each element of DER."""
    at = 0
    while at < len(data):
        tag, size, start = data[at], data[at + 1], at + 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(data[at + 2 : start], "big")
        if start + size > len(data):
            raise ValueError("an element is cut off")
        yield tag, data[start : start + size]
        at = start + size
