"""The summary of all answers: everything is in it, in lines that fit; and what it advises follows from the answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extensions import summary
from extensions.advice import preparation, second_look
from extensions.facts import Lab
from extensions.walk import Entry, recorded
from hooks.front.template import Template
from tests.support.rendering import VALID, read_answers


@pytest.fixture(scope="module")
def template() -> Template:
    return Template("lab")


def advised(entries: list[Entry]) -> tuple[str, dict[str, str]]:
    """Return what to prepare, and what to look at twice by the answer's name."""
    answers: Any = {entry.name: entry.value for entry in entries}
    filled_in = frozenset(entry.name for entry in entries if entry.filled_in)
    return "\n".join(preparation(answers, Lab(answers))), dict(second_look(answers, Lab(answers), filled_in))


@pytest.mark.parametrize("file", VALID, ids=lambda file: file.stem)
def test_every_answer_is_in_it_and_no_line_is_too_long(template: Template, file: Path) -> None:
    entries = template.walk(read_answers(file))
    for width in (80, 60, 40):
        lines = summary.lines(entries, width)
        assert max(map(len, lines)) <= width
        text = "".join("".join(lines).split())
        for name, value in recorded(entries).items():
            assert name + "".join(summary.shown(value).split()) in text, name
    _, points = advised(entries)
    assert set(points) <= {entry.name for entry in entries if entry.applies}, "what it names can be changed"


@pytest.mark.parametrize(
    ("given", "prepared", "looked_at"),
    [
        (
            {},
            "A bare k3s has neither",
            ["data_backend", "data_size", "backups", "timezone", "base_domain", "smtp_enabled"],
        ),
        ({"base_domain": "home.lan"}, "gitlab.home.lan, registry.home.lan, demo.home.lan", ["admin_email", "alerts"]),
        ({"storage_backend": "nfs"}, "storage.lab.example.com:/storage, with no_root_squash", ["data_backend"]),
        ({"tls_source": "letsencrypt-http"}, "open to the internet", []),
        ({"tls_source": "letsencrypt-dns"}, "API token, with Zone.DNS:Edit", []),
        ({"tls_source": "lab-authority"}, "./lab trust --nodes", []),
        ({"tls_source": "secret", "private_ca": True}, "as ca.crt in the lab", []),
        ({"runner_kind": "none"}, "nothing is built without one", []),
        ({"runner_machine": "proxmox"}, "An API token of https://pve.lab.example.com:8006/", []),
        ({"gitops_source": "external"}, "An empty repository at https://git.lab.example.com/lab/lab.git", []),
        ({"backups": False}, "", ["backups"]),
        (
            {"backup_target": "s3", "backup_bucket": "lab-backups"},
            "The bucket lab-backups at AWS, and an access key for it",
            [],
        ),
        (
            {"backup_target": "folder", "backup_nfs_server": "nas.lan", "backup_folder": "/export/gitlab"},
            "nas.lan:/export/gitlab, an NFS export",
            [],
        ),
        (
            {"docker_hub_cache": True, "docker_hub_cache_host": "hub.home.lan"},
            ", hub.home.lan. ./lab up prints them",
            [],
        ),
        ({"alerts": "ntfy"}, "token or webhook of ntfy", []),
    ],
    ids=str,
)
def test_what_follows_from_an_answer(
    template: Template, given: dict[str, Any], prepared: str, looked_at: list[str]
) -> None:
    prepare, points = advised(template.walk(given))
    assert prepared in prepare and set(looked_at) <= points.keys()


@pytest.mark.parametrize(
    ("given", "not_looked_at"),
    [
        ({"timezone": "Europe/Warsaw"}, "timezone"),
        ({"backup_target": "s3", "backup_bucket": "lab-backups"}, "backups"),
        ({"storage_class": "longhorn"}, "data_backend"),
        ({"data_backend": "host-path"}, "data_backend"),
        ({"smtp_enabled": True}, "smtp_enabled"),
        ({"owner_username": "jane"}, "owner_username"),
        ({"base_domain": "home.lan"}, "base_domain"),
        ({"setup_level": "full"}, "timezone"),
    ],
    ids=str,
)
def test_what_the_owner_has_decided_needs_no_second_look(
    template: Template, given: dict[str, Any], not_looked_at: str
) -> None:
    assert not_looked_at not in advised(template.walk(given))[1]


def test_what_quick_filled_in_is_marked(template: Template) -> None:
    lines = summary.lines(template.walk({"setup_level": "quick", "gitlab_size": "standard"}))
    assert "* was not asked (setup_level: quick); the template filled it in." in lines
    assert (
        "* timezone            Etc/UTC" in lines
        and "  gitlab_size         standard" in lines
        and "  base_domain         lab.example.com" in lines
    )
    assert not [line for line in summary.lines(template.walk({"setup_level": "full"})) if line.startswith("*")]


def test_a_command_is_not_broken_across_lines() -> None:
    assert summary.wrapped("aaa `bb cc` dd", 9) == ["aaa", "`bb cc`", "dd"]
    assert summary.wrapped("aaa `bb cc dd ee` ff", 9) == ["aaa `bb", "cc dd ee`", "ff"], (
        "unless it is longer than a line"
    )


def test_the_summary_says_each_place_of_the_backups(template: Template) -> None:
    def said(**given: Any) -> str:
        text = " ".join(" ".join(summary.lines(template.walk(given))).split())
        return text.partition("WHAT COMES OF THEM")[2].partition("WHAT YOU HAVE TO PREPARE")[0]

    assert said().endswith("for 7 days, beside the data ")
    sent = said(backup_target="s3", backup_bucket="lab-backups", backup_prefix="home")
    assert sent.endswith("beside the data and encrypted at s3://lab-backups/home ")
