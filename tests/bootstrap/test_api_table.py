"""The table of GitLab's documentation is enforced: what it does not know fails, whatever the stand-in would answer."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request

import pytest

from tests.bootstrap.support.gitlab_api_table import DOCS, ENDPOINTS, complaints, find_endpoint
from tests.bootstrap.support.lab_world import World


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda e: e.name)
def test_every_request_names_its_page_and_its_answers(endpoint) -> None:  # noqa: ANN001
    assert re.fullmatch(r"https://docs\.gitlab\.com/api/(admin/)?[a-z_]+/#[a-z0-9-]+", DOCS + endpoint.page)
    assert endpoint.answers and all(200 <= status < 300 for status in endpoint.answers)
    assert endpoint.paginated == (
        endpoint.method == "GET"
        and not endpoint.path.split("/")[-1].startswith(":")
        and endpoint.path.split("/")[-1] not in ("self", "settings", "managers", "batched_background_migrations")
    )
    assert not (endpoint.method == "GET" and endpoint.body)


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "words"),
    [
        ("POST", "/groups", {}, {"name": "a"}, "attribute path is missing"),
        (
            "POST",
            "/groups",
            {},
            {"name": "a", "path": "a", "visibilty": "private"},
            "attribute visibilty is not documented",
        ),
        ("POST", "/groups", {}, {"name": "a", "path": "a", "visibility": "secret"}, "attribute visibility='secret'"),
        (
            "POST",
            "/groups/1/deploy_tokens",
            {},
            {"name": "a", "scopes": "read_registry"},
            "attribute scopes='read_registry'",
        ),
        ("GET", "/runners/all", {"type": "shared"}, {}, "query parameter type='shared'"),
        ("GET", "/runners/all", {"kind": "x"}, {}, "query parameter kind is not documented"),
        ("GET", "/groups/a%2Fb", {"page": "2"}, {}, "query parameter page is not documented"),
        ("POST", "/user/runners", {}, {"runner_type": "instance_type", "locked": "false"}, "attribute locked='false'"),
    ],
)
def test_an_undocumented_request_is_complained_about(
    method: str, path: str, query: dict[str, str], body: dict[str, object], words: str
) -> None:
    found = find_endpoint(method, path)
    assert found is not None
    assert any(words in complaint for complaint in complaints(found[0], query, body))


def test_the_server_notes_an_unknown_endpoint_and_refuses_a_wrong_token(world: World) -> None:
    def ask(path: str, token: str) -> tuple[int, object]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{world.server.port}/api/v4{path}", headers={"PRIVATE-TOKEN": token}
        )
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    token = world.gitlab.new_pat("test")
    assert ask("/application/settings", token)[0] == 200
    assert ask("/application/settings", "glpat-wrong")[0] == 401
    assert world.errors == []
    assert ask("/topics", token)[0] == 404
    assert world.errors == ["GET /topics is in no table of GitLab's documentation"]


def test_a_token_is_shown_once(world: World) -> None:
    gitlab = world.gitlab
    token = gitlab.new_pat("test")
    _, group = gitlab.answer("POST", "/groups", {}, {"name": "a", "path": "a"}, token)
    status, made = gitlab.answer(
        "POST", "/groups/a/deploy_tokens", {}, {"name": "t", "scopes": ["read_registry"]}, token
    )
    assert status == 201 and made["token"].startswith("gldt-") and group["full_path"] == "a"
    _, listed = gitlab.answer("GET", "/groups/a/deploy_tokens", {}, {}, token)
    assert [t["id"] for t in listed] == [made["id"]] and "token" not in listed[0]
