"""Messages reach real servers: HTTP in each service's form, and mail by SMTP; and what goes wrong is said without a secret."""

from __future__ import annotations

import email
import email.policy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.alerts.support.services import DISCORD, ROOM, TOKEN, WEBHOOK, Services
from tests.gitlab.support.authority import Authority, Certificate
from tests.gitlab.support.mail_server import MailServer
from tests.support.alerts import channels, judge, mail, program, settings, web
from tests.support.loopback import free_port

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
NOW = 1_800_000_000.0
MESSAGE = judge.Message(
    "7.1800000000", "lab: GitLab is not ready", "FAULT GitLab is not ready: <why> & @everyone (for 12 min)"
)
HTTP = ("ntfy", "gotify", "discord", "slack", "matrix")


def setting(channel: str, url: str) -> dict[str, Any]:
    return settings(channel, url=url, topic="lab", room=ROOM)


def secrets(folder: Path, channel: str, server: str, **more: str) -> Path:
    held = (
        {"token": TOKEN}
        if channel not in ("discord", "slack")
        else {"url": server + (DISCORD if channel == "discord" else WEBHOOK)}
    )
    for name, value in (held | more).items():
        (folder / name).write_text(value, encoding="utf-8")
    return folder


@pytest.mark.parametrize("channel", HTTP)
def test_a_message_comes_in_the_form_of_its_service(channel: str, tmp_path: Path) -> None:
    with Services() as services:
        folder = secrets(tmp_path, channel, services.url)
        said = program.deliver(setting(channel, services.url), folder, MESSAGE, NOW)
        again = program.deliver(setting(channel, services.url), folder, MESSAGE, NOW)
    assert said.startswith("HTTP 20") and again.startswith("HTTP 20")
    text = services.got[0][1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert {name for name, _ in services.got} == {channel}
    assert MESSAGE.subject in text and MESSAGE.text in text
    # Matrix alone knows a message by its number.
    assert len(services.got) == (1 if channel == "matrix" else 2)


@pytest.mark.parametrize("channel", HTTP)
@given(subject=st.text(min_size=1, max_size=400), text=st.text(max_size=6000))
@examples(max_examples=15, deadline=None)
def test_every_text_comes_within_what_the_service_takes(channel: str, subject: str, text: str) -> None:
    services = Services()
    url = "http://localhost"
    held = {"token": TOKEN, "url": url + (DISCORD if channel == "discord" else WEBHOOK)}
    request = channels.request(setting(channel, url), held, judge.Message("1.2", subject, text or "x"))
    headers = {name.lower(): value for name, value in request.headers.items()}
    status, content = services.answer(
        request.method, request.url.removeprefix(url) or "/", headers, request.body or b""
    )
    assert status < 300, content


@pytest.mark.parametrize("channel", HTTP)
def test_a_wrong_token_is_said_in_the_servers_words_and_never_shown(channel: str, tmp_path: Path) -> None:
    wrong = "another-token-of-somebody"
    with Services() as services:
        more = {"url": f"{services.url}/services/{wrong}"} if channel in ("discord", "slack") else {"token": wrong}
        folder = secrets(tmp_path, channel, services.url, **more)
        with pytest.raises(program.NotSentError) as refused:
            program.deliver(setting(channel, services.url), folder, MESSAGE, NOW)
    assert str(refused.value).startswith("HTTP 4") and wrong not in str(refused.value) and not services.got


@pytest.mark.parametrize("channel", HTTP)
def test_a_secret_that_the_server_repeats_is_hidden(channel: str, tmp_path: Path) -> None:
    with Services() as services:
        folder = secrets(tmp_path, channel, services.url)
        secret = next(file.read_text() for file in folder.iterdir())
        services.broken = (500, f"no such thing: {secret}")
        with pytest.raises(program.NotSentError) as refused:
            program.deliver(setting(channel, services.url), folder, MESSAGE, NOW)
    assert secret not in str(refused.value) and "[hidden]" in str(refused.value)


@pytest.mark.parametrize(("status", "said"), [(302, "HTTP 302"), (429, "HTTP 429"), (503, "HTTP 503")])
def test_only_the_server_itself_takes_a_message(status: int, said: str, tmp_path: Path) -> None:
    with Services() as services:
        services.broken = (status, "wait")
        with pytest.raises(program.NotSentError, match=said):
            program.deliver(setting("gotify", services.url), secrets(tmp_path, "gotify", services.url), MESSAGE, NOW)
    assert not services.got


def test_a_server_that_is_not_there_or_talks_otherwise_is_said(tmp_path: Path, certificate: Certificate) -> None:
    url = f"http://localhost:{free_port()}"
    folder = secrets(tmp_path, "slack", url)
    with pytest.raises(program.NotSentError) as refused:
        program.deliver(setting("slack", url), folder, MESSAGE, NOW)
    assert str(refused.value) == "Connection refused"
    with Services(certificate) as services:
        plain = services.url.replace("https", "http")
        secrets(tmp_path, "slack", plain)
        with pytest.raises(program.NotSentError) as broken:
            program.deliver(setting("slack", plain), folder, MESSAGE, NOW)
    assert WEBHOOK not in str(broken.value)


def test_a_server_of_the_labs_own_authority_is_believed_and_another_is_not(
    tmp_path: Path, authority: Authority, stranger: Path, certificate: Certificate
) -> None:
    with Services(certificate) as services:
        folder = secrets(tmp_path, "ntfy", services.url, **{"ca.crt": authority.crt.read_text()})
        assert program.deliver(setting("ntfy", services.url), folder, MESSAGE, NOW).startswith("HTTP 200")
        (folder / "ca.crt").write_text(stranger.read_text())
        with pytest.raises(program.NotSentError, match="its certificate is refused"):
            program.deliver(setting("ntfy", services.url), folder, MESSAGE, NOW)
        (folder / "ca.crt").unlink()
        with pytest.raises(program.NotSentError, match="its certificate is refused"):
            program.deliver(setting("ntfy", services.url), folder, MESSAGE, NOW)
    assert len(services.got) == 1


@pytest.mark.parametrize("channel", ["gotify", "matrix", "discord", "slack"])
def test_a_channel_without_its_secret_says_what_to_do(channel: str, tmp_path: Path) -> None:
    with pytest.raises(program.NotSentError, match=r"\./lab up --only alerts"):
        program.deliver(setting(channel, "http://localhost"), tmp_path, MESSAGE, NOW)
    (tmp_path / "url").write_text("hooks.slack.com/x")
    if channel in ("discord", "slack"):
        with pytest.raises(program.NotSentError, match="no address of a webhook"):
            program.deliver(setting(channel, ""), tmp_path, MESSAGE, NOW)


# Mail


class Keeping(MailServer):
    """Keeps the letters whole."""

    letters: list[Any]

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.letters = [
            *getattr(self, "letters", []),
            email.message_from_bytes(envelope.content, policy=email.policy.default),
        ]
        return await super().handle_DATA(server, session, envelope)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address.startswith("nobody"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"


def smtp(server: MailServer, security: str, authentication: str = "none", **more: Any) -> dict[str, Any]:
    found = {
        "host": "localhost",
        "port": server.port,
        "security": security,
        "verify": True,
        "authentication": authentication,
    }
    found |= {"domain": "gitlab.lab", "from": "gitlab@lab.example", "display_name": "Git: Lab, home"}
    return settings("email", mail_to=["me@lab.example", "you@lab.example"], smtp=found | more)


LOGIN = ("alarm", "pässword of the alarm")


def with_login(folder: Path, authority: Authority, password: str = LOGIN[1]) -> Path:
    for name, value in (("smtp-user", LOGIN[0]), ("smtp-password", password), ("ca.crt", authority.crt.read_text())):
        (folder / name).write_text(value, encoding="utf-8")
    return folder


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
def test_mail_comes_over_each_kind_of_encryption(
    security: str, tmp_path: Path, authority: Authority, certificate: Certificate
) -> None:
    (tmp_path / "ca.crt").write_text(authority.crt.read_text())
    with Keeping(security, certificate) as server:
        said = program.deliver(smtp(server, security), tmp_path, MESSAGE, NOW)
    (received,) = server.received
    assert received.encrypted == (security != "none") and received.recipients == ("me@lab.example", "you@lab.example")
    assert said.startswith("250")
    (letter,) = server.letters
    assert letter["Subject"] == MESSAGE.subject and letter["From"].addresses[0].display_name == "Git: Lab, home"
    assert (
        letter["Message-ID"] == "<lab-alerts.lab.7.1800000000@gitlab.lab>"
        and letter["Auto-Submitted"] == "auto-generated"
    )
    assert letter.get_content().strip() == MESSAGE.text


@pytest.mark.parametrize(
    ("authentication", "security"),
    [("login", "starttls"), ("plain", "tls"), ("cram_md5", "starttls"), ("cram_md5", "none")],
)
def test_mail_logs_in_as_gitlab_does(
    authentication: str, security: str, tmp_path: Path, authority: Authority, certificate: Certificate
) -> None:
    login = (LOGIN[0], "password")
    with Keeping(security, certificate, login) as server:
        program.deliver(smtp(server, security, authentication), with_login(tmp_path, authority, login[1]), MESSAGE, NOW)
    (received,) = server.received
    assert received.mechanism == authentication.upper().replace("_", "-")


@pytest.mark.parametrize("authentication", ["login", "plain", "cram_md5"])
def test_a_wrong_password_is_said_and_not_shown(
    authentication: str, tmp_path: Path, authority: Authority, certificate: Certificate
) -> None:
    with Keeping("starttls", certificate, (LOGIN[0], "right")) as server:
        folder = with_login(tmp_path, authority, "a-wrong-password")
        with pytest.raises(program.NotSentError) as refused:
            program.deliver(smtp(server, "starttls", authentication), folder, MESSAGE, NOW)
    assert str(refused.value).startswith("535") and "a-wrong-password" not in str(refused.value) and not server.received


def test_a_password_never_goes_out_in_plain_text(
    tmp_path: Path, authority: Authority, certificate: Certificate
) -> None:
    with Keeping("none", certificate, (LOGIN[0], "password")) as server:
        for authentication in ("login", "plain"):
            with pytest.raises(program.NotSentError, match="no encryption"):
                program.deliver(
                    smtp(server, "starttls", authentication), with_login(tmp_path, authority, "password"), MESSAGE, NOW
                )
    assert not server.received


def test_a_mail_server_that_nobody_vouches_for_is_refused_unless_the_answer_says_otherwise(
    tmp_path: Path, authority: Authority, stranger: Path, certificate: Certificate
) -> None:
    with Keeping("starttls", certificate) as server:
        (tmp_path / "ca.crt").write_text(stranger.read_text())
        with pytest.raises(program.NotSentError, match="its certificate is refused"):
            program.deliver(smtp(server, "starttls"), tmp_path, MESSAGE, NOW)
        assert not server.received
        assert program.deliver(smtp(server, "starttls", verify=False), tmp_path, MESSAGE, NOW).startswith("250")


def test_a_recipient_that_is_refused_keeps_no_other_from_the_mail(tmp_path: Path, certificate: Certificate) -> None:
    with Keeping("none", certificate) as server:
        wanted = smtp(server, "none") | {"mail_to": ["nobody@lab.example", "me@lab.example"]}
        said = program.deliver(wanted, tmp_path, MESSAGE, NOW)
        assert "250" in said and "nobody@lab.example: 550 5.1.1 no such user" in said
        with pytest.raises(program.NotSentError, match=r"550 5\.1\.1"):
            program.deliver(smtp(server, "none") | {"mail_to": ["nobody@lab.example"]}, tmp_path, MESSAGE, NOW)
    assert [one.recipients for one in server.received] == [("me@lab.example",)]


@given(subject=st.text(), text=st.text(), name=st.text(min_size=1, max_size=40).filter(lambda one: one.isprintable()))
@examples(max_examples=40, deadline=None)
def test_no_text_breaks_a_letter(subject: str, text: str, name: str) -> None:
    found = settings(
        "email",
        mail_to=["me@lab.example"],
        smtp={"domain": "gitlab.lab", "from": "gitlab@lab.example", "display_name": name},
    )
    raw = mail.letter(found, judge.Message("1.2", subject, text), NOW).as_bytes()
    read = email.message_from_bytes(raw, policy=email.policy.default)
    assert read["To"] == "me@lab.example" and read["Auto-Submitted"] == "auto-generated"


# Certificates


def test_the_end_of_a_certificate_that_a_host_shows_is_read_whoever_signed_it(certificate: Certificate) -> None:
    with Services(certificate) as services:
        begins, ends = web.certificate_times("localhost", services.server.server_address[1])
    assert ends - begins == pytest.approx(86400, abs=2)
    assert (begins, ends) == web.times_in(certificate.der)


@given(raw=st.binary(max_size=80))
def test_what_is_no_certificate_is_refused(raw: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        web.times_in(raw)
