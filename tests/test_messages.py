"""What the rules say where a file of wrong answers would be much ado: each message whole."""

from __future__ import annotations

from typing import Any

import pytest

from extensions import names, rules, values, wizard
from extensions.facts import DEFAULT_GITLAB_VERSION

ADDRESS = "is an address; certificates and Traefik's rules need a name, such as"
MESSAGES: list[tuple[Any, tuple[Any, ...], str | None]] = [
    (
        names.dns_name,
        ("HTTPS://Gitlab.lab:443/x.",),
        "`HTTPS://Gitlab.lab:443/x.` is a URL; give the host only: `gitlab.lab`",
    ),
    (names.dns_name, ("git+ssh://a.lab./",), "`git+ssh://a.lab./` is a URL; give the host only: `a.lab`"),
    (names.dns_name, ("a.lab/b",), "`a.lab/b` is a URL; give the host only: `a.lab`"),
    (names.dns_name, ("A.lab:8443",), "`A.lab:8443` has a port; give the host only: `a.lab`"),
    (names.dns_name, ("10.0.0.1", "a.lab"), f"`10.0.0.1` {ADDRESS} `a.lab`"),
    (names.dns_name, (5,), "5 is not a host name; give one such as `gitlab.lab.example.com`"),
    (names.dns_name, ("a." * 127,), "`a.a.a.a.a.a.a.a.a.a.…` has 254 characters; a host name has at most 253"),
    (names.dns_name, ("A.lab",), "`A.lab` has capital letters; did you mean `a.lab`?"),
    (
        names.host_or_address,
        ("",),
        "'' is not a host name; give one such as `storage.lab.example.com` or `192.168.1.10`",
    ),
    (
        names.host_or_address,
        (None,),
        "None is not a host name; give one such as `storage.lab.example.com` or `192.168.1.10`",
    ),
    (names.host_or_address, ("fd00::1",), None),
    (names.registry_name, ("",), "'' is not a host name; give one such as `registry.lab.example.com`"),
    (names.registry_name, ("10.0.0.1",), f"`10.0.0.1` {ADDRESS} `registry.lab.example.com`"),
    (names.group_path, ("a.b.GIT",), "`a.b.GIT` ends in `.git` or `.atom`, which GitLab refuses; did you mean `a.b`?"),
    (
        names.group_path,
        ("a b",),
        "`a b`: 'a b' is not a GitLab path; letters and digits with single `.`, `_` or `-` between them, such as `HomeLAB`",
    ),
    (names.group_path, ("a/" + "b" * 201,), "`bbbbbbbbbbbbbbbbbbbb…` has 201 characters; a group path has at most 200"),
    (names.email, (5,), "5 is not an e-mail address; give one such as `admin@lab.example.com`"),
    (names.email, ("a@B.lab",), None),
    (
        names.email,
        ("a@b_c",),
        "`a@b_c`: `b_c` is not a host name: 'b_c' is not a DNS label (a-z, 0-9, dashes inside, 1 to 63 characters)",
    ),
    (names.object_name, ("a..b",), "'a..b' is not a Kubernetes name; a-z, 0-9, dashes and dots inside, such as `a-b`"),
    (names.object_name, ("_",), "'_' is not a Kubernetes name; a-z, 0-9, dashes and dots inside, such as `lab`"),
    (names.object_name, (None,), "None is not a Kubernetes name; a-z, 0-9, dashes and dots inside, such as `none`"),
    (names.object_name, (".".join(["a" * 62] * 4) + ".b",), None),
    (names.absolute_path, ("/a//",), "`/a//` ends in a slash; did you mean `/a`?"),
    (names.absolute_path, (None,), "None is not an absolute path; give one such as `/storage`"),
    (names.absolute_path, ("/a/./b",), "`/a/./b` is not in its shortest form; leave out `//`, `.` and `..`"),
    (names.absolute_path, ("/etc/x",), "`/etc/x` belongs to the system; give another folder, such as `/storage`"),
    (values.time_zone, ("new york",), "`new york` is not an IANA time zone; did you mean `America/New_York`?"),
    (values.time_zone, ("Middle-earth",), "`Middle-earth` is not an IANA time zone; give one such as `Europe/Warsaw`"),
    (values.time_zone, ("VIENNA",), "`VIENNA` is not an IANA time zone; did you mean `Europe/Vienna`?"),
    (values.git_url, (5,), "5 is not a URL; give one such as `https://git.lab.example.com/homelab/lab.git`"),
    (
        values.git_url,
        ("me@a-b.lab:c/d.git",),
        "`me@a-b.lab:c/d.git` is in scp style, which Flux does not read; write `ssh://me@a-b.lab/c/d.git`",
    ),
    (values.git_url, ("ssh://git@a.lab:0/c.git",), "`0` is not a TCP port; give a number from 1 to 65535"),
    (values.git_url, ("ssh://git@a.lab:22/c.git",), None),
    (
        values.git_url,
        ("http://u@a.lab/c.git",),
        "the URL carries a user or a password, which would be in Git; leave it out, the bootstrap asks for it",
    ),
    (names.email, ("A.B@lab",), None),
    (
        names.email,
        ("a@[10.0.0.1]",),
        "`a@[10.0.0.1]`: `[10.0.0.1]` is an address; give the mail domain's name, such as `lab.example.com`",
    ),
    (names.absolute_path, ("/A",), None),
    (names.absolute_path, ("/X/",), "`/X/` ends in a slash; did you mean `/X`?"),
    (
        values.networks,
        ("10.0.0.0/8; x",),
        "'10.0.0.0/8; x' is not a list of networks; give one such as `[10.42.0.0/16]`",
    ),
    (values.docker_version, ("29.0.0",), None),
    (values.gitlab_version, ("19.2.0",), None),
    (values.git_url, ("https://a.lab/b.git",), None),
    (values.git_url, ("https://[fd00::b]:8443/A/b.git",), None),
    (
        values.git_url,
        ("https://a.lab/./b.git",),
        "`https://a.lab/./b.git` is not a Git URL; give `https://host/path.git` or `ssh://git@host:port/path.git`",
    ),
    (
        values.git_url,
        ("https://a.lab/X/",),
        "`https://a.lab/X/` does not end in `.git`; did you mean `https://a.lab/X.git`?",
    ),
    (
        values.git_url,
        ("git@a.lab:/b/c.git",),
        "`git@a.lab:/b/c.git` is in scp style, which Flux does not read; write `ssh://git@a.lab/b/c.git`",
    ),
    (values.listed, ("a b,c", "[x]"), "did you mean `[a, b, c]`?"),
    (values.listed, ("a; b", "[x]"), "give one such as `[x]`"),
    (values.gitlab_version, (19.3,), f"`19.3` is not an exact version; give one such as `{DEFAULT_GITLAB_VERSION}`"),
    (values.gitlab_version, ("19.3.0-ee.1",), "`19.3.0-ee.1` is an image tag; give the version only: `19.3.0`"),
    (values.cron, ("0 3 1,15 1-6/2 *",), None),
    (values.cron, ("0 3 * JAN,dec *",), None),
    (
        values.cron,
        ("0-10-20 * * * *",),
        "`0-10-20 * * * *`: `0-10-20` is not a minute (0 to 59); an example is `0 3 * * *`",
    ),
    (values.cron, ("*/60 * * * *",), "`*/60 * * * *`: `*/60` is not a minute (0 to 59); an example is `0 3 * * *`"),
    (values.cron, ("*/ * * * *",), "`*/ * * * *`: `*/` is not a minute (0 to 59); an example is `0 3 * * *`"),
    (values.cron, ("² * * * *",), "`² * * * *`: `²` is not a minute (0 to 59); an example is `0 3 * * *`"),
    (values.duration, ("9.999s",), "`9.999s` would ask GitLab more often than every ten seconds; give `10s` or more"),
    (values.duration, ("10000ms",), None),
    (values.duration, ("23h59m60s",), None),
    (values.git_branch, ("a" * 201,), f"{'a' * 201!r} is not a branch name; give one such as `main`"),
    (values.git_branch, ("a" * 200,), None),
    (values.git_branch, ("a/.b",), "'a/.b' is not a branch name; give one such as `main`"),
    (rules.one_line, ("a\nb\x00 `é`",), "a\\nb\\x00 `é`"),
    (rules.one_line, ("x" * 80,), "x" * 80),
    (rules.one_line, (f"`{'x' * 81}` is long, and '{'y' * 90}'",), f"`{'x' * 60}…` is long, and '{'y' * 60}…'"),
]


@pytest.mark.parametrize(
    ("check", "arguments", "said"), MESSAGES, ids=lambda value: getattr(value, "__name__", str(value)[:40])
)
def test_this_is_what_is_said(check: Any, arguments: tuple[Any, ...], said: str | None) -> None:
    assert check(*arguments) == said


@pytest.mark.parametrize(
    ("said", "typed", "shown"),
    [
        ("Validation error for question 'https_port': `80` is taken", "80", "`80` is taken"),
        ("Invalid input", "[a\t", "`[a\\t` has another form than what is asked for; write it like the example above"),
    ],
)
def test_the_wizard_shows_this_under_its_prompt(said: str, typed: str, shown: str) -> None:
    assert wizard.message(said, typed) == shown


@pytest.mark.parametrize("name", ["localtime", "Factory", "posixrules"])
def test_what_is_no_zone_is_refused_even_where_this_machine_lists_it(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(values, "time_zones", lambda: frozenset({name, "Etc/UTC"}))
    assert values.time_zone(name) == f"`{name}` is not an IANA time zone; give one such as `Europe/Warsaw`"


def test_ssh_keeps_off_the_node_port_of_https_and_home_off_the_systems_folders() -> None:
    taken = rules.refusal("ssh_port", {"ssh_exposure": "node-port", "https_port": 30443, "ssh_port": 30443})
    assert taken == "`30443` is where Traefik answers https, on the same nodes; give SSH another port, such as `30022`"
    home = rules.refusal("runner_home", {"runner_user": "etc", "runner_home": "/etc/runner"})
    assert (
        home == "`/etc/runner` belongs to the system; give another folder, such as `/home/etc/containers/gitlab-runner`"
    )


@pytest.mark.parametrize(
    ("name", "passes"),
    [("Etc/UTC", True), ("America/Argentina/Buenos_Aires", True), ("utc", False), ("A b", False), (5, False)],
)
def test_without_time_zone_data_the_form_alone_is_checked(
    monkeypatch: pytest.MonkeyPatch, name: Any, passes: bool
) -> None:
    monkeypatch.setattr(values, "time_zones", frozenset)
    assert (values.time_zone(name) is None) is passes


@pytest.mark.parametrize(
    ("question", "value", "said"),
    [
        ("smtp_host", "", "'' is not a host name; give one such as `storage.lab.example.com` or `192.168.1.10`"),
        ("nfs_server", "a.lab", "`a.lab` leads to Traefik; give the storage server's own name, such as `storage.lab`"),
        ("smtp_host", "r.lab", "`r.lab` leads to Traefik; give the mail server's own name, such as `smtp.lab`"),
        ("runner_host", "a.lab", "`a.lab` leads to Traefik; give the runner's own name, such as `gitlab-runner.lab`"),
        ("gitlab_host", "", "'' is not a host name; give one such as `gitlab.lab`"),
        (
            "gitlab_host",
            "demo.lab",
            "`demo.lab` is where the sample application goes; give another, such as `gitlab.lab`",
        ),
        (
            "registry_host",
            "demo.lab",
            "`demo.lab` is where the sample application goes; give another, such as `registry.lab`",
        ),
        ("base_domain", "", "'' is not a host name; give one such as `lab.example.com`"),
    ],
)
def test_a_rule_across_questions_says_this(question: str, value: str, said: str) -> None:
    others = {"gitlab_host": "a.lab", "registry_host": "r.lab", "base_domain": "lab"}
    assert rules.refusal(question, others | {question: value}) == said
