"""What ca.crt holds, said before it is trusted: certificates of the openssl program, whole and broken."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gitlab.support.authority import Authority
from tests.support.program import certificates, preflight_here

NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return certificates by name: two authorities, and a server."""
    folder = tmp_path_factory.mktemp("ca")
    first, second = Authority(folder / "a", "Labs & Sons, 2nd floor"), Authority(folder / "b", "Second")
    server = first.sign("gitlab.lab", "gitlab.lab")
    key = (folder / "a/ca.key").read_text()
    return {
        "first": first.crt.read_text(),
        "second": second.crt.read_text(),
        "server": server.crt.read_text(),
        "key": key,
    }


def findings(text: str, now: datetime.datetime = NOW) -> tuple[list[str], list[str]]:
    """Return what preflight finds good, and what it complains of."""
    found = list(preflight_here.authority_findings(certificates.read(text), now))
    good = [one.what for one in found if isinstance(one, preflight_here.Good)]
    return good, [one.what for one in found if isinstance(one, preflight_here.Problem)]


def test_each_certificate_is_named_with_its_last_day(made: dict[str, str]) -> None:
    ends = (NOW + 2 * DAY).date()
    first, second = f"Labs & Sons, 2nd floor (until {ends})", f"Second (until {ends})"
    assert findings(made["first"]) == ([f"ca.crt, of your authority: {first}"], [])
    both = f"# of 2026\r\n{made['first'].replace(chr(10), chr(13) + chr(10))}\nsubject=CN=Second\n{made['second']}"
    assert findings(both) == ([f"ca.crt, of your authority: {first}, {second}"], [])


def test_the_certificate_of_a_server_in_place_of_its_authoritys_is_said(made: dict[str, str]) -> None:
    [good], problems = findings(made["server"])
    assert problems == [] and f"gitlab.lab (until {(NOW + DAY).date()}, a server's, not an authority's)" in good


def test_one_that_has_ended_is_said_and_refused_where_no_other_is_left(made: dict[str, str], tmp_path: Path) -> None:
    later = NOW + 3 * DAY
    good, problems = findings(made["first"] + made["second"], later)
    assert (
        good == []
        and len(problems) == 1
        and problems[0].startswith("every certificate in ca.crt has expired: Labs & Sons, 2nd floor (expired on ")
    )


def broken(text: str, at: int) -> str:
    """Change one letter in the middle of a certificate."""
    lines = text.splitlines(keepends=True)
    line = lines[len(lines) // 2]
    place = at % (len(line) - 1)
    lines[len(lines) // 2] = f"{line[:place]}!{line[place + 1 :]}"
    return "".join(lines)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["first"] + broken(c["second"], 7), "in ca.crt part 2 is a broken certificate"),
        (lambda c: c["first"][: len(c["first"]) // 2] + "\n" + c["second"], "in ca.crt part 1 is a broken certificate"),
        (lambda c: c["second"] + c["first"].replace("-----END CERTIFICATE-----\n", ""), "in ca.crt part 2 is a broken certificate"),
        (lambda c: c["first"] + c["second"].replace(" CERTIFICATE", " CERTIFICATE REQUEST"), "part 2 is a CERTIFICATE REQUEST, not a CERTIFICATE"),
        (lambda c: c["second"].replace(" CERTIFICATE", " TRUSTED CERTIFICATE") + c["first"], "part 1 is a TRUSTED CERTIFICATE"),
        (lambda c: c["first"] + c["key"], "holds a private key"),
        (lambda c: c["first"] + "-----BEGIN RSA PRIVATE KEY-----\n", "holds a private key"),
        (lambda c: c["first"] + "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "holds a private key"),
        (lambda c: "", "ca.crt is missing or holds no PEM certificate"),
        (lambda c: c["first"].replace("-----BEGIN CERTIFICATE-----", ""), "ca.crt is missing or holds no PEM certificate"),
    ],
)  # fmt: skip
def test_what_else_is_in_the_file_is_named_by_its_place(made: dict[str, str], change, said: str) -> None:  # noqa: ANN001
    _, problems = findings(change(made))
    assert len(problems) == 1 and said in problems[0]


@given(st.text(), st.integers(0, 10**6))
def test_no_text_makes_it_fail(made: dict[str, str], text: str, at: int) -> None:
    certificates.read(text)
    cut = made["first"][: at % made["first"].index("-----END")]
    assert certificates.read(f"{cut}{text}").certificates == ()
    [only] = certificates.read(broken(made["first"], at) + made["second"]).certificates
    assert only.subject == "Second"


@pytest.mark.parametrize(
    ("tag", "value", "year"),
    [(0x17, b"491231235959Z", 2049), (0x17, b"500101000000Z", 1950), (0x18, b"99991231235959Z", 9999)],
)
def test_the_century_of_a_year_is_that_of_the_standard(tag: int, value: bytes, year: int) -> None:
    assert certificates._time(tag, value).year == year
