"""Which private addresses GitLab may call, under whichever name its API has them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import program
from tests.support.program import errors, gitlab, http, outbound, sync

FLUX = "webhook-receiver.flux-system.svc.cluster.local"
WHITELIST, ALLOWLIST = "outbound_local_requests_whitelist", "outbound_local_requests_allowlist"


class Settings:
    """GitLab's settings: it shows and takes those that it knows, and ignores every other name without a word."""

    def __init__(self, **known: Any) -> None:
        self.known, self.written = {"id": 1, **known}, 0

    def request(self, method: str, path: str, _what: str, *_: int, body: dict[str, Any] | None = None) -> http.Answer:
        assert path == "/application/settings"
        if method == "PUT":
            self.written += 1
            self.known |= {name: value for name, value in (body or {}).items() if name in self.known}
        return http.Answer(200, {}, json.dumps(self.known).encode())


def allow(settings: Settings) -> None:
    """Run the step of the stage sync."""
    console = program.console()
    lab = SimpleNamespace(
        gitlab=gitlab.GitLab(settings), console=console, settings=program.settings(), cluster=None, patience=None
    )
    sync.Sync(lab)._ensure_outbound_allowed(FLUX)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({WHITELIST: []}, {WHITELIST: [FLUX]}),
        ({WHITELIST: None}, {WHITELIST: [FLUX]}),
        ({WHITELIST: ["printer.lan"]}, {WHITELIST: ["printer.lan", FLUX]}),
        ({ALLOWLIST: ["printer.lan"]}, {ALLOWLIST: ["printer.lan", FLUX]}),
        ({ALLOWLIST: [], WHITELIST: []}, {ALLOWLIST: [FLUX], WHITELIST: []}),
        ({f"{ALLOWLIST}_raw": "a.lan\nb.lan"}, {f"{ALLOWLIST}_raw": f"a.lan\nb.lan\n{FLUX}"}),
        ({f"{ALLOWLIST}_raw": ""}, {f"{ALLOWLIST}_raw": FLUX}),
    ],
)
def test_flux_is_allowed_under_the_name_that_this_gitlab_has(before: dict[str, Any], after: dict[str, Any]) -> None:
    settings = Settings(**before)
    allow(settings)
    assert settings.known == {"id": 1, **after}
    allow(settings)
    assert (settings.known, settings.written) == ({"id": 1, **after}, 1), "once is enough"


def test_a_gitlab_that_has_none_of_the_names_ends_the_run_with_what_to_do_by_hand() -> None:
    with pytest.raises(errors.Failure, match=f"none of {ALLOWLIST}, {WHITELIST}") as failed:
        allow(Settings(allow_outbound="x"))
    assert "Outbound requests" in failed.value.then


def test_a_gitlab_that_does_not_keep_it_is_noticed() -> None:
    class Forgetful(Settings):
        def request(self, method: str, path: str, what: str, *_: int, body: Any = None) -> http.Answer:
            return super().request("GET", path, what)

    with pytest.raises(errors.Failure, match="does not list it"):
        allow(Forgetful(**{ALLOWLIST: ["printer.lan"]}))


@given(
    st.sampled_from([*outbound.LISTS, *outbound.TEXTS]),
    st.lists(st.from_regex(r"[a-z0-9./:-]+", fullmatch=True), unique=True),
)
def test_what_is_written_is_read_again_and_nothing_that_was_there_is_lost(name: str, hosts: list[str]) -> None:
    there = outbound.Outbound(name, tuple(hosts))
    assert outbound.Outbound.read(there.body()) == there
    assert outbound.Outbound.read(there.body(FLUX)).hosts == (*hosts, FLUX)
