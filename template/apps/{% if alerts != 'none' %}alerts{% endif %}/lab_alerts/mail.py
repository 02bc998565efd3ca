"""E-mail through the server that GitLab's own settings name. GitLab itself has no part in it."""

from __future__ import annotations

import email.utils
import smtplib
import ssl
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from typing import Any

from . import web
from .judge import Message


class MailError(Exception):
    """The server did not take the message; its words hold no secret."""


def letter(settings: Mapping[str, Any], message: Message, now: float) -> EmailMessage:
    """Return a message as an e-mail; each try of one has the same Message-ID."""
    smtp = settings["smtp"]
    found = EmailMessage()
    found["From"] = email.utils.formataddr((smtp["display_name"], smtp["from"]))
    found["To"] = ", ".join(settings["mail_to"])
    found["Subject"] = " ".join(message.subject.split())
    found["Date"] = email.utils.formatdate(now)
    found["Message-ID"] = f"<lab-alerts.{settings['lab']}.{message.number}@{smtp['domain']}>"
    # No answer of a holiday is wanted (RFC 3834).
    found["Auto-Submitted"] = "auto-generated"
    found.set_content(message.text)
    return found


def send(settings: Mapping[str, Any], login: tuple[str, str], authority: str, mail: EmailMessage) -> str:
    """Send an e-mail, and return what the server answered.

    Args:
        login: user name and password; both empty for a server that wants none.
        authority: a file with the lab's own authority, which may be missing.
    Raises:
        MailError: the server did not take it.
    """
    smtp = settings["smtp"]
    context = web.trust(authority)
    if not smtp["verify"]:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with _connect(smtp, context) as server:
            if login[1] and smtp["authentication"] != "none":
                _log_in(server, smtp["authentication"], login)
            return _deliver(server, mail, settings["mail_to"])
    except smtplib.SMTPResponseException as error:
        raise MailError(f"{error.smtp_code} {_text(error.smtp_error)}") from None
    except smtplib.SMTPException as error:
        raise MailError(_refused(error)) from None
    except (OSError, ValueError) as error:
        raise MailError(f"{smtp['host']}:{smtp['port']}: {web.in_words(error)}") from None


def _connect(smtp: Mapping[str, Any], context: ssl.SSLContext) -> smtplib.SMTP:
    where = (smtp["host"], smtp["port"])
    if smtp["security"] == "tls":
        return smtplib.SMTP_SSL(*where, local_hostname=smtp["domain"], timeout=web.SECONDS, context=context)
    server = smtplib.SMTP(*where, local_hostname=smtp["domain"], timeout=web.SECONDS)
    try:
        server.ehlo_or_helo_if_needed()
        if smtp["security"] == "starttls" and server.has_extn("starttls"):
            server.starttls(context=context)
            server.ehlo()
    except BaseException:
        server.close()
        raise
    return server


def _log_in(server: smtplib.SMTP, how: str, login: tuple[str, str]) -> None:
    if not isinstance(server.sock, ssl.SSLSocket) and how != "cram_md5":
        raise MailError("the server offers no encryption, and a password is not sent in plain text")
    server.ehlo_or_helo_if_needed()
    server.user, server.password = login
    forms: dict[str, tuple[str, Any]] = {
        "login": ("LOGIN", server.auth_login),
        "plain": ("PLAIN", server.auth_plain),
        "cram_md5": ("CRAM-MD5", server.auth_cram_md5),
    }
    name, form = forms[how]
    if name not in server.esmtp_features.get("auth", "").upper().split():
        raise MailError(f"the server offers no log-in by {name}")
    server.auth(name, form)


def _deliver(server: smtplib.SMTP, mail: EmailMessage, recipients: Sequence[str]) -> str:
    """Hand the e-mail over; smtplib's own way to do it keeps what the server says to itself."""
    server.ehlo_or_helo_if_needed()
    code, words = server.mail(email.utils.parseaddr(str(mail["From"]))[1])
    refused = [] if code == 250 else [f"{code} {_text(words)}"]
    taken = 0
    for recipient in recipients if not refused else []:
        code, words = server.rcpt(recipient)
        taken += code in (250, 251)
        refused += [] if code in (250, 251) else [f"{recipient}: {code} {_text(words)}"]
    if not taken:
        server.rset()
        raise MailError("; ".join(refused))
    code, words = server.data(mail.as_bytes(policy=mail.policy.clone(linesep="\r\n")))
    if code != 250:
        raise MailError(f"{code} {_text(words)}")
    return "; ".join([f"{code} {_text(words)}", *refused])


def _refused(error: smtplib.SMTPException) -> str:
    return str(error) or type(error).__name__


def _text(words: bytes | str) -> str:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    return " ".join(text.split())
