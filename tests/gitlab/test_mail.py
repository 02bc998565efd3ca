"""Mail reaches a real mail server by what gitlab.rb sets, in each of the ways that a mail server may ask for."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.gitlab.support.authority import Authority, Certificate
from tests.gitlab.support.mail_server import MailServer, Received
from tests.gitlab.support.rendered_labs import RenderedLab, recorded
from tests.support.program import mail as mail_module
from tests.support.tools import run, tool

CLIENT = Path(__file__).resolve().parent / "gitlab_mail.rb"
ANSWERS = {"smtp_enabled": True, "smtp_host": "smtp.lab.example.com", "email_from": "gitlab@lab.example.com"}
PORTS = {"none": 2525, "starttls": 587, "tls": 465}
LOGIN = ("gitlab@lab", 'it\'s "secret" #{1} \\ $ <%= 1 %>')
# aiosmtpd says so at the start of a server that takes a log-in in plain text, as many at home do.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Certificate]:
    """Return certificates for this machine: one by a public authority, one by the lab's own, one that nobody signed."""
    folder = tmp_path_factory.mktemp("mail")
    made = {name: Authority(folder / name, name).sign(name, "localhost") for name in ("public", "own", "nobody")}
    (folder / "trusted-certs").mkdir()
    shutil.copy(folder / "own/ca.crt", folder / "trusted-certs/lab-ca-1.crt")
    assert run(tool("openssl"), "rehash", folder / "trusted-certs").returncode == 0
    return made


def send(
    folder: Path,
    server: MailServer,
    given: dict[str, Any],
    certificates: dict[str, Certificate],
    login: tuple[str, str] | None,
) -> str:
    """Send a mail as the lab's GitLab would, and return what went wrong."""
    secret = dict(zip(("SMTP_USER_NAME", "SMTP_PASSWORD"), login, strict=True)) if login else {}
    rails = recorded([RenderedLab({**ANSWERS, **given})], folder / "rb", secret)[0]["gitlab_rails"]
    home = certificates["public"].crt.parent.parent
    # The server is elsewhere, and so are the files: the package's own bundle, and what GitLab trusts besides.
    moved = {"smtp_address": "localhost", "smtp_port": server.port, "smtp_ca_file": str(home / "public/ca.crt")}
    if "smtp_ca_path" in rails:
        assert rails["smtp_ca_path"] == "/etc/gitlab/trusted-certs"
        moved["smtp_ca_path"] = str(home / "trusted-certs")
    done = subprocess.run(
        [tool("ruby"), str(CLIENT), rails["gitlab_email_from"], "root@lab.example.com"],
        input=json.dumps({**rails, **moved}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode == 0) == (not done.stderr), done.stderr
    return done.stderr


def mail(encrypted: bool, user: str | None = None, mechanism: str | None = None) -> Received:
    return Received("gitlab@lab.example.com", ("root@lab.example.com",), encrypted, user, mechanism)


# What the server does, who signed its certificate, the answers; whether the mail comes encrypted, or what GitLab says.
WAYS: list[tuple[str, str, dict[str, Any], bool | str]] = [
    # The relay at home that offers STARTTLS with a certificate that nobody signed.
    ("starttls", "nobody", {"smtp_port": 25}, "certificate verify failed"),
    ("starttls", "nobody", {"smtp_port": 25, "smtp_verify": False}, True),
    ("starttls", "nobody", {"smtp_port": 25, "smtp_security": "none"}, False),
    ("starttls", "public", {}, True),
    ("starttls", "own", {}, True),
    ("starttls", "own", {"base_domain": "lab"}, True),
    # Without the offer, GitLab goes on in plain text.
    ("none", "nobody", {}, False),
    ("none", "nobody", {"smtp_security": "none"}, False),
    ("tls", "public", {"smtp_port": 465}, True),
    ("tls", "own", {"smtp_port": 465}, True),
    ("tls", "nobody", {"smtp_port": 465}, "certificate verify failed"),
    ("tls", "nobody", {"smtp_port": 465, "smtp_verify": False}, True),
    ("tls", "own", {"smtp_port": 2465, "smtp_security": "tls"}, True),
]


@pytest.mark.parametrize(("security", "signer", "given", "wanted"), WAYS, ids=str)
def test_mail_arrives_as_the_answers_say(
    tmp_path: Path,
    certificates: dict[str, Certificate],
    security: str,
    signer: str,
    given: dict[str, Any],
    wanted: bool | str,
) -> None:
    with MailServer(security, certificates[signer]) as server:
        said = send(tmp_path, server, given, certificates, None)
    if isinstance(wanted, str):
        assert wanted in said and server.received == []
    else:
        assert said == "" and server.received == [mail(wanted)]


@pytest.mark.parametrize("way", ["login", "plain", "cram_md5"])
@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
@pytest.mark.deep(keep=3)
def test_gitlab_logs_in_as_the_mail_server_asks_for(
    tmp_path: Path, certificates: dict[str, Certificate], way: str, security: str
) -> None:
    mechanism = way.upper().replace("_", "-")
    given = {"smtp_port": PORTS[security], "smtp_security": security, "smtp_authentication": way}
    with MailServer(security, certificates["own"], LOGIN, (mechanism,)) as server:
        assert send(tmp_path, server, given, certificates, LOGIN) == ""
        assert server.received == [mail(security != "none", LOGIN[0], mechanism)]
        # A wrong password, and another way to log in than the server's.
        assert "Authentication" in send(tmp_path, server, given, certificates, (LOGIN[0], "wrong"))
        other = {"login": "plain", "plain": "cram_md5", "cram_md5": "login"}[way]
        assert send(tmp_path, server, {**given, "smtp_authentication": other}, certificates, LOGIN)
        assert len(server.received) == 1


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize(
    ("given", "login"), [({"smtp_authentication": "none"}, LOGIN), ({}, None), ({"smtp_authentication": "plain"}, None)]
)
def test_gitlab_does_not_log_in_if_it_shall_not_or_has_no_password(
    tmp_path: Path, certificates: dict[str, Certificate], given: dict[str, Any], login: tuple[str, str] | None
) -> None:
    with MailServer("starttls", certificates["own"]) as server:
        assert send(tmp_path, server, given, certificates, login) == ""
        assert server.received == [mail(True)]
    with MailServer("starttls", certificates["own"], LOGIN) as strict:
        assert "530" in send(tmp_path, strict, given, certificates, login)


# As GitLab's mailer: what it is asked to send goes by Ruby's own Net::SMTP to the server of the settings, and an error is raised.
NOTIFY = """\
require 'net/smtp'
class Notify
  def self.test_email(to, subject, text) = new(to, subject, text)
  def initialize(*mail)
    @to, @subject, @text = mail
  end
  def deliver_now
    Net::SMTP.new('127.0.0.1', ENV.fetch('SMTP_PORT').to_i).start('lab') do |session|
      session.send_message("Subject: #{@subject}\\r\\n\\r\\n#{@text}\\r\\n", 'gitlab@lab.example.com', @to)
    end
  end
end
"""


def told(address: str, port: int) -> str | None:
    """Run the program's own Ruby, and return what the program makes of what it prints."""
    done = run(tool("ruby"), "-e", NOTIFY + mail_module.code(address, "homelab"), env={"SMTP_PORT": str(port)})
    assert done.returncode == 0, done.stderr
    return mail_module.verdict("a warning of Rails\n" + done.stdout)


def test_the_program_says_whether_the_mail_server_took_its_mail(certificates: dict[str, Certificate]) -> None:
    with MailServer("none", certificates["nobody"]) as server:
        assert told("o'brien+lab@lab.example.com", server.port) is None
        assert [one.recipients for one in server.received] == [("o'brien+lab@lab.example.com",)]
    with MailServer("none", certificates["nobody"], LOGIN) as strict:
        assert "530" in str(told("root@lab.example.com", strict.port)) and strict.received == []
    gone = str(told("root@lab.example.com", strict.port))
    assert "Errno::ECONNREFUSED" in gone and "\n" not in gone


def test_a_rails_that_prints_something_else_has_sent_no_mail() -> None:
    assert mail_module.verdict("") and mail_module.verdict("mail=sent?\nKilled")


def test_the_runbook_sends_a_test_mail_to_the_administrator_by_one_command() -> None:
    lab = RenderedLab({**ANSWERS, "admin_email": "o'brien@lab.example.com"})
    said = lab.text("README.md")
    (command,) = (line for line in said.splitlines() if "Notify.test_email" in line)
    words = run("bash", "-c", f'kubectl() {{ printf "%s\\n" "$@"; }}; {command.strip("`.")}').stdout.splitlines()
    assert words[:6] == ["-n", "gitlab", "exec", "deployment/gitlab", "--", "gitlab-rails"]
    # What Rails would run is Ruby, and asks the pod's environment for the address.
    script = "class Notify; def self.test_email(*a); puts a.inspect; new; end; def deliver_now; end; end; " + words[-1]
    done = run(tool("ruby"), "-e", script, env={"GITLAB_ROOT_EMAIL": str(lab.values["env"]["GITLAB_ROOT_EMAIL"])})
    assert done.stdout == '["o\'brien@lab.example.com", "Mail from the lab", "It works."]\n', done.stderr
    assert "Notify.test_email" not in RenderedLab({}).text("README.md")
