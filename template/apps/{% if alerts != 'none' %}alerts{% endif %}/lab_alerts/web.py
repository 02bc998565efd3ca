"""HTTP and TLS: what is asked, what is answered, and why no answer came, in words without secrets."""

from __future__ import annotations

import datetime
import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECONDS = 15
# What a server answers is shown to the owner up to here.
SHOWN = 300
LARGEST = 64 * 2**20
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18


class NoAnswerError(Exception):
    """No answer came, or none that could be used; its text names no address that is a secret."""


@dataclass(frozen=True)
class Request:
    """What is sent; its address and headers may be secrets."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300

    @property
    def words(self) -> str:
        """The answer for a person: its status, and the beginning of its text."""
        text = " ".join(self.body.decode("utf-8", "replace").split())
        return f"HTTP {self.status}" + (f": {text[:SHOWN]}" if text else "")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A message that is sent to one address goes to no other."""

    def redirect_request(self, *_: Any) -> None:
        return None


def trust(authority: str = "") -> ssl.SSLContext:
    """Return what trusts the system's authorities, and those of a file if it is there."""
    context = ssl.create_default_context()
    if authority and Path(authority).is_file():
        context.load_verify_locations(authority)
    return context


def only(authority: str, *, verify: bool = True) -> ssl.SSLContext:
    """Return what trusts the authorities of a file alone; everybody, if it is told not to verify."""
    context = ssl.create_default_context(cafile=authority)
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def send(request: Request, context: ssl.SSLContext, seconds: float = SECONDS) -> Answer:
    """Send a request, and return its answer, whatever its status.

    Raises:
        NoAnswerError: none came.
    """
    handlers = [_NoRedirect(), urllib.request.HTTPSHandler(context=context)]
    opener = urllib.request.build_opener(*handlers)
    asked = urllib.request.Request(  # noqa: S310 - the address is the owner's setting, or the cluster's
        request.url, request.body, {"User-Agent": "lab-alerts", **request.headers}, method=request.method
    )
    try:
        with opener.open(asked, timeout=seconds) as answer:
            return Answer(answer.status, _lower(answer.headers), answer.read(LARGEST))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, _lower(error.headers), error.read(LARGEST))
    except (OSError, ValueError, urllib.error.URLError) as error:
        raise NoAnswerError(in_words(error)) from None
    except Exception as error:  # noqa: BLE001 - http.client has many, for answers that are no HTTP
        raise NoAnswerError(f"the answer is no HTTP ({type(error).__name__})") from None


def get_json(url: str, headers: Mapping[str, str], context: ssl.SSLContext) -> tuple[Any, Mapping[str, str]]:
    """Return what an address answers, with the answer's headers.

    Raises:
        NoAnswerError: it did not answer with JSON.
    """
    answer = send(Request("GET", url, headers), context)
    if not answer.is_good:
        raise NoAnswerError(answer.words)
    try:
        return json.loads(answer.body), answer.headers
    except ValueError:
        raise NoAnswerError("the answer is no JSON") from None


def _lower(headers: Any) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in headers.items()}


def in_words(error: BaseException) -> str:
    """Return why no answer came. Neither host nor path is in it."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed: {cause.reason or type(cause).__name__}"
    if isinstance(cause, TimeoutError):
        return "it did not answer in time"
    if isinstance(cause, socket.gaierror):
        return f"its name cannot be resolved ({cause.strerror})"
    if isinstance(cause, OSError):
        return cause.strerror or type(cause).__name__
    return f"the request cannot be sent ({type(cause).__name__})"


def certificate_times(host: str, port: int) -> tuple[float, float]:
    """Return when the certificate that a host shows begins and ends. Whoever signed it: nothing is sent to that host.

    Raises:
        NoAnswerError: it shows none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            return times_in(secure.getpeercert(binary_form=True) or b"")
    except (OSError, ValueError, IndexError) as error:
        raise NoAnswerError(f"{host}:{port}: {in_words(error)}") from None


def times_in(der: bytes) -> tuple[float, float]:
    """Return when a certificate begins and ends (RFC 5280, section 4.1: the first field that is two times in DER)."""
    body = _elements(_elements(_elements(der)[0][1])[0][1])
    for _, value in body:
        try:
            parts = _elements(value)
        except (ValueError, IndexError):
            continue
        if len(parts) == 2 and all(tag in (_UTC_TIME, _GENERALIZED_TIME) for tag, _ in parts):
            return _time(*parts[0]), _time(*parts[1])
    raise ValueError("the certificate has no times")


def _elements(data: bytes) -> list[tuple[int, bytes]]:
    """Return tag and content of each element of DER (ITU-T X.690)."""
    found, at = [], 0
    while at < len(data):
        tag, length, start = data[at], data[at + 1], at + 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(data[at + 2 : start], "big")
        if start + length > len(data):
            raise ValueError("an element is cut off")
        found.append((tag, data[start : start + length]))
        at = start + length
    return found


def _time(tag: int, value: bytes) -> float:
    text = value.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.timezone.utc).timestamp()
