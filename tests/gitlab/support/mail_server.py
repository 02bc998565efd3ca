"""A real mail server (aiosmtpd) on the loopback, in plain text, with STARTTLS or in TLS from the start, open or with a log-in."""

from __future__ import annotations

import hashlib
import hmac
import ssl
from dataclasses import dataclass
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP as Protocol
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from tests.gitlab.support.authority import Certificate
from tests.support.loopback import free_port

CHALLENGE = b"<1896.697170952@mail.lab>"


@dataclass(frozen=True)
class Received:
    """A mail that came: from whom and to whom, whether the connection was encrypted, and who had logged in how."""

    sender: str
    recipients: tuple[str, ...]
    encrypted: bool
    user: str | None
    mechanism: str | None


class MailServer:
    """Takes mail while it is entered.

    Args:
        security: `none`, `starttls` (offered, not asked for) or `tls`.
        certificate: what it shows.
        login: user and password that it asks for; None takes mail from everybody.
        mechanisms: the ways to log in that it knows, of LOGIN, PLAIN and CRAM-MD5.
    """

    def __init__(
        self,
        security: str,
        certificate: Certificate,
        login: tuple[str, str] | None = None,
        mechanisms: tuple[str, ...] = ("LOGIN", "PLAIN", "CRAM-MD5"),
    ) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate.crt, certificate.key)
        options: dict[str, Any] = {"tls_context": context} if security == "starttls" else {}
        outside = {"ssl_context": context} if security == "tls" else {}
        if login:
            excluded = {"LOGIN", "PLAIN", "CRAM-MD5"} - set(mechanisms)
            options |= {
                "authenticator": self._authenticate,
                "auth_required": True,
                "auth_require_tls": False,
                "auth_exclude_mechanism": excluded,
            }
        self.received: list[Received] = []
        self._login = tuple(part.encode() for part in login) if login else None
        self._mechanism: str | None = None
        self.port = free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, **outside, **options)

    def __enter__(self) -> MailServer:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    def _authenticate(
        self, _server: Protocol, _session: Session, _envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        self._mechanism = mechanism
        given = (data.login, data.password) if isinstance(data, LoginPassword) else data
        return AuthResult(success=given == self._login, auth_data=given, handled=given == self._login)

    async def auth_CRAM__MD5(self, server: Protocol, _arguments: list[str]) -> AuthResult:
        """RFC 2195. aiosmtpd calls this by its name."""
        assert self._login is not None
        answer = await server.challenge_auth(CHALLENGE)
        user, _, digest = answer.partition(b" ") if isinstance(answer, bytes) else (b"", b"", b"")
        right = hmac.new(self._login[1], CHALLENGE, hashlib.md5).hexdigest().encode()
        self._mechanism = "CRAM-MD5"
        return AuthResult(success=(user, digest) == (self._login[0], right), handled=False, auth_data=(user,))

    async def handle_DATA(self, server: Protocol, session: Session, envelope: Envelope) -> str:
        """Write down a mail. aiosmtpd calls this by its name."""
        user = session.auth_data[0].decode() if session.authenticated else None
        encrypted = server.transport.get_extra_info("ssl_object") is not None
        recipients = tuple(envelope.rcpt_tos)
        self.received.append(Received(str(envelope.mail_from), recipients, encrypted, user, self._mechanism))
        return "250 OK"
