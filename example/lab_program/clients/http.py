"""HTTP for the lab's own hosts: one request, one answer, and in which way it failed. It follows no redirect."""

from __future__ import annotations

import base64
import http.client
import select
import socket
import ssl
import time
import urllib.request
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..errors import ClientError

CONNECT_SECONDS = 10
# Methods that may be sent twice: RFC 9110, section 9.2.2. They alone use a kept connection: the server may close it
# in the same moment, and a POST would then be uncertain.
IDEMPOTENT = ("GET", "HEAD", "PUT", "DELETE")

# Open connections, by scheme and host.
_Connections = dict[str, list[http.client.HTTPConnection]]


class Fault(Enum):
    """In which way no answer came."""

    DNS = "dns"
    REFUSED = "refused"
    BROKEN = "broken"
    TIMEOUT = "timeout"
    CERTIFICATE = "certificate"
    OTHER = "other"


class HttpError(ClientError):
    """No answer came, or only a part of one.

    Args:
        fault: in which way.
        words: the error's own words.
        sent: whether the request may have reached the server; it may then have been carried out.
    """

    def __init__(self, fault: Fault, words: str, *, sent: bool) -> None:
        super().__init__("HTTP", words, transient=fault not in (Fault.DNS, Fault.CERTIFICATE))
        self.fault, self.sent = fault, sent


@dataclass(frozen=True)
class Answer:
    """A whole answer; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


class Http:
    """Sends requests, and keeps its connections for the next ones until it is closed, or goes.

    Args:
        authority: the certificate of the lab's own authority, where it has one. Then nobody else's is trusted.
        environment: for the proxies, as curl and Git read them. SSL_CERT_FILE and SSL_CERT_DIR are OpenSSL's to read.
        forgives_form: whether a certificate may lack what RFC 5280 asks of its form. Authorities that programs make for
            themselves often do. Go takes them, and so OpenTofu; Python refuses them since 3.13.
    """

    def __init__(self, authority: Path | None, environment: Mapping[str, str], *, forgives_form: bool = False) -> None:
        self._authority, self._forgives_form = authority, forgives_form
        self._kept: _Connections = {}
        weakref.finalize(self, _close, self._kept)
        # The proxy of http:// in capitals comes from a request's header "Proxy" in a CGI program; curl reads it not.
        self._proxies = {
            name[:-6].lower(): value
            for name, value in sorted(environment.items())
            if name.lower().endswith("_proxy") and value and name != "HTTP_PROXY"
        }

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self._authority) if self._authority else None)
        if self._forgives_form:
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        seconds: float = 20,
        largest: int = 0,
    ) -> Answer:
        """Send one request, and return its answer, whatever its status.

        Args:
            seconds: how long all of it may take.
            largest: how many bytes its body may have; any number for 0.
        Raises:
            HttpError: no whole answer came.
        """
        deadline = time.monotonic() + seconds
        sent = keep = False
        try:
            connection, path, more = self._prepare(url, min(CONNECT_SECONDS, seconds))
            server = "://".join(urlsplit(url)[:2])
            kept = self._take(server, method)
            try:
                if kept is not None:
                    connection = kept
                else:
                    connection.connect()
                sent = True
                connection.sock.settimeout(max(0.01, deadline - time.monotonic()))
                connection.request(method, path, body=body or None, headers={**more, **(headers or {})})
                answer = _read(connection, deadline, largest)
                keep = connection.sock is not None
                return answer
            finally:
                if keep:
                    self._kept.setdefault(server, []).append(connection)
                else:
                    connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise HttpError(*_fault(error), sent=sent) from error

    def close(self) -> None:
        """Close the connections that were kept."""
        _close(self._kept)

    def _take(self, server: str, method: str) -> http.client.HTTPConnection | None:
        """Return a connection that was kept to a server and is still open; others are closed.

        Nothing is read from a kept connection, so what arrives is its end.
        """
        while method in IDEMPOTENT and (kept := self._kept.get(server)):
            connection = kept.pop()
            arrived = select.poll()
            arrived.register(connection.sock, select.POLLIN)
            if not arrived.poll(0):
                return connection
            connection.close()
        return None

    def _prepare(self, url: str, seconds: float) -> tuple[http.client.HTTPConnection, str, dict[str, str]]:
        """Return a connection to open, the path to ask it for, and the headers that its proxy wants."""
        parts = urlsplit(url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        proxy = self._proxy_for(parts.scheme, f"{host}:{port}")
        where = (proxy.hostname or "", proxy.port or 80) if proxy else (name_to_look_up(host), port)
        connection: http.client.HTTPConnection
        if secure:
            connection = _Verified(where[0], where[1], timeout=seconds, context=self._trust)
            connection.wanted_host = host
        else:
            connection = http.client.HTTPConnection(*where, timeout=seconds)
        own_host = host if port == (443 if secure else 80) else f"{host}:{port}"
        headers = {"Host": own_host, "User-Agent": "lab", "Accept": "*/*"}
        if proxy and secure:
            connection.set_tunnel(host, port, headers=_proxy_login(proxy.username, proxy.password))
        elif proxy:
            path, headers = f"http://{own_host}{path}", headers | _proxy_login(proxy.username, proxy.password)
        return connection, path, headers

    def _proxy_for(self, scheme: str, host: str) -> urllib.parse.SplitResult | None:
        address = self._proxies.get(scheme) or self._proxies.get("all")
        if not address or urllib.request.proxy_bypass_environment(host, self._proxies):  # type: ignore[attr-defined]
            return None
        proxy = urlsplit(address if "://" in address else f"http://{address}")
        if proxy.scheme != "http":
            raise ValueError(
                f"the proxy {proxy.scheme}://{proxy.hostname} is of a kind that is not supported: give an http:// one"
            )
        return proxy


def _close(connections: _Connections) -> None:
    for kept in connections.values():
        while kept:
            kept.pop().close()


class _Verified(http.client.HTTPSConnection):
    """A connection that checks the certificate for the name in the URL, also where another one is looked up."""

    wanted_host = ""

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        context: ssl.SSLContext = self._context  # type: ignore[attr-defined]
        self.sock = context.wrap_socket(self.sock, server_hostname=self.wanted_host)


def name_to_look_up(host: str) -> str:
    """Return the name under which a host is looked up: names below localhost are this machine (RFC 6761, section
    6.3)."""
    return "localhost" if host.endswith(".localhost") else host


def _proxy_login(user: str | None, password: str | None) -> dict[str, str]:
    if user is None:
        return {}
    login = f"{unquote(user)}:{unquote(password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


def basic_login(user: str, password: str) -> dict[str, str]:
    """Return the header that logs a user in."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def _read(connection: http.client.HTTPConnection, deadline: float, largest: int) -> Answer:
    """Read an answer to its end; one that ends before its announced length has broken."""
    response = connection.getresponse()
    parts: list[bytes] = []
    size = 0
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        if connection.sock is not None:
            connection.sock.settimeout(left)
        part = response.read1(65536)
        if not part:
            break
        parts.append(part)
        size += len(part)
        if largest and size > largest:
            raise http.client.HTTPException(f"an answer of more than {largest} bytes")
    if response.length:
        raise http.client.IncompleteRead(b"".join(parts), response.length)
    response.close()  # not the connection, which may take the next request
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, b"".join(parts))


def _fault(error: BaseException) -> tuple[Fault, str]:
    words = str(error) or type(error).__name__
    if isinstance(error, socket.gaierror):
        # A resolver that does not answer may do so later.
        return (Fault.OTHER if error.errno == socket.EAI_AGAIN else Fault.DNS), words
    if isinstance(error, ssl.SSLCertVerificationError):
        return Fault.CERTIFICATE, error.verify_message or words
    if isinstance(error, FileNotFoundError):
        return Fault.CERTIFICATE, f"{words}: the file with its authority is missing"
    if isinstance(error, ConnectionRefusedError):
        return Fault.REFUSED, words
    if isinstance(error, TimeoutError):
        return Fault.TIMEOUT, words
    broken = (ConnectionError, ssl.SSLEOFError, http.client.IncompleteRead, http.client.BadStatusLine)
    return (Fault.BROKEN if isinstance(error, broken) else Fault.OTHER), words
