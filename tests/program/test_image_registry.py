"""Whether an image is in its registry: asked of a real registry, of one that gives tokens, and of servers that lie."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.delivery.support.registry_server import Registry, make_image, push, registry, skopeo
from tests.support.http_server import Handler, HttpServer
from tests.support.program import http, image_registry, secret

EXISTS, MISSING, UNKNOWN = image_registry.Existence
CLIENT = http.Http(None, {})
MANIFEST = "application/vnd.oci.image.index.v1+json"


def existence(image: str, seconds: float = 5, **more: object) -> image_registry.Existence:
    return image_registry.ImageRegistry(CLIENT, seconds).existence(image, **more).existence


# A real registry

USER = image_registry.Credentials("me", secret.Secret("pass:word"))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    with registry(folder / "registry", {"me": "pass:word"}) as one:
        image = make_image(folder / "image")
        logged_in = folder / "auth.json"
        done = skopeo(
            "login",
            "--tls-verify=false",
            "--username=me",
            "--password=pass:word",
            one.address,
            config=logged_in,
            home=folder,
        )
        assert done.returncode == 0, done.stderr
        for tag in ("19.3.1-ce.0", "19.3.2-ce.0", "19.30.0-ce.0", "19.4.0-ce.0", "latest"):
            done = push(image, f"{one.address}/gitlab/gitlab-ce:{tag}", logged_in, folder)
            assert done.returncode == 0, done.stderr
        yield one


@pytest.mark.tool("docker-registry")
@pytest.mark.tool("skopeo")
@pytest.mark.tool("ruby")
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("gitlab/gitlab-ce:19.3.1-ce.0", EXISTS),
        ("gitlab/gitlab-ce", EXISTS),
        ("gitlab/gitlab-ce:19.3.9-ce.0", MISSING),
        ("gitlab/gitlab-xe:19.3.1-ce.0", MISSING),
        (f"gitlab/gitlab-ce@sha256:{'0' * 64}", MISSING),
        ("Gitlab/gitlab-ce:19.3.1-ce.0", MISSING),
    ],
)
def test_a_real_registry_is_asked(real: Registry, name: str, found: image_registry.Existence) -> None:
    assert existence(f"{real.address}/{name}", credentials=USER) is found


@pytest.mark.tool("docker-registry")
@pytest.mark.tool("skopeo")
@pytest.mark.tool("ruby")
def test_a_real_registry_that_lets_nobody_in_leaves_it_unknown(real: Registry) -> None:
    assert existence(f"{real.address}/gitlab/gitlab-ce") is UNKNOWN
    wrong = image_registry.Credentials("me", secret.Secret("another"))
    assert existence(f"{real.address}/gitlab/gitlab-ce", credentials=wrong) is UNKNOWN


@pytest.mark.tool("docker-registry")
@pytest.mark.tool("skopeo")
@pytest.mark.tool("ruby")
@pytest.mark.parametrize(
    ("prefix", "found"),
    [("19.3.", ["19.3.1-ce.0", "19.3.2-ce.0"]), ("19.30.", ["19.30.0-ce.0"]), ("18.", []), ("la", ["latest"])],
)
def test_the_tags_of_a_real_registry_are_listed_by_their_beginning(
    real: Registry, prefix: str, found: list[str]
) -> None:
    asked = image_registry.ImageRegistry(CLIENT).tags(f"{real.address}/gitlab/gitlab-ce", prefix, USER)
    assert asked == found


# A registry as the world has them: with tokens, page by page


class Stand:
    """A server that answers each path as a test orders, and remembers what it was asked, with which log-in."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        stand = self

        class Answers(Handler):
            # The client outlives this server, and must not keep a connection to it.
            protocol_version = "HTTP/1.0"

            def do_GET(self) -> None:
                stand.asked.append((self.command, self.path, self.headers.get("Authorization", "")))
                status, headers, body = stand.answer(self.path, self.headers.get("Authorization", ""))
                self.reply(status, body, headers)

            do_HEAD = do_GET

        self.server = HttpServer(Answers)
        self.address = f"127.0.0.1:{self.server.server_port}"
        self.realm = f"http://{self.address}/token"
        self.tags = ["1.0.0", *(f"2.{number:04}" for number in range(2500)), "3.0.0"]
        self.token_answer: tuple[int, dict[str, str], bytes] = (200, {}, json.dumps({"token": "anybody's"}).encode())

    def answer(self, path: str, login: str) -> tuple[int, dict[str, str], bytes]:
        parts = urlsplit(path)
        if parts.path == "/token":
            return self.token_answer
        if login != "Bearer anybody's":
            challenge = f'Bearer realm="{self.realm}",service="it",scope="repository:a/b:pull"'
            return 401, {"WWW-Authenticate": challenge}, b'{"errors":[{"code":"UNAUTHORIZED"}]}'
        if parts.path == "/v2/a/b/tags/list":
            query = parse_qs(parts.query)
            after = [tag for tag in self.tags if tag > query.get("last", [""])[0]]
            page = after[: int(query["n"][0])]
            more = {"Link": '</v2/a/b/tags/list?last=x>; rel="next"'} if len(after) > len(page) else {}
            return 200, more, json.dumps({"name": "a/b", "tags": page}).encode()
        if parts.path.startswith("/v2/a/b/manifests/") and parts.path.rpartition("/")[2] in self.tags:
            return 200, {"Content-Type": MANIFEST}, b"{}"
        return 404, {}, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'


@contextmanager
def standing(stand: Stand) -> Iterator[Stand]:
    with stand.server:
        yield stand


@pytest.fixture
def stand() -> Iterator[Stand]:
    with standing(Stand()) as one:
        yield one


def test_a_token_is_fetched_as_anybody_may_and_shown_to_the_registry(stand: Stand) -> None:
    assert existence(f"{stand.address}/a/b:1.0.0") is EXISTS
    assert existence(f"{stand.address}/a/b:1.0.1") is MISSING
    token = next(path for _, path, _ in stand.asked if path.startswith("/token"))
    assert parse_qs(urlsplit(token).query) == {"service": ["it"], "scope": ["repository:a/b:pull"]}
    assert {login for _, path, login in stand.asked if path.startswith("/token")} == {""}
    # A look loads nothing, and does not count as a pull.
    assert stand.asked[0][:2] == ("HEAD", "/v2/a/b/manifests/1.0.0")


def test_tags_are_read_over_pages_and_no_further_than_needed(stand: Stand) -> None:
    client = image_registry.ImageRegistry(CLIENT)
    assert client.tags(f"{stand.address}/a/b", "2.") == stand.tags[1:-1]
    stand.asked.clear()
    assert client.tags(f"{stand.address}/a/b", "2.249") == [f"2.249{number}" for number in range(10)]
    assert len([path for _, path, login in stand.asked if "tags" in path and login]) == 1


@pytest.mark.parametrize(
    "token",
    [
        (200, {}, b""),
        (200, {}, b"[]"),
        (200, {}, b'{"token": 7}'),
        (200, {}, b'{"token": "a\\r\\nX: y"}'),
        (403, {}, b'{"token": "anybody\'s"}'),
        (200, {}, b"[" * 200000),
    ],
    ids=["nothing", "a list", "a number", "two lines", "a refusal", "a deep one"],
)
def test_without_a_token_it_is_unknown(stand: Stand, token: tuple[int, dict[str, str], bytes]) -> None:
    stand.token_answer = token
    assert existence(f"{stand.address}/a/b:1.0.0") is UNKNOWN
    assert image_registry.ImageRegistry(CLIENT).tags(f"{stand.address}/a/b", "1.") is None


@pytest.mark.parametrize(
    "realm",
    ["", "file:///etc/passwd", "http://[", "//host/", "ftp://127.0.0.1/", "http://127.0.0.1:99999/", "http://é/"],
)
def test_a_realm_that_is_no_address_of_the_web_is_not_followed(stand: Stand, realm: str) -> None:
    stand.realm = realm.encode().decode("latin-1")
    assert existence(f"{stand.address}/a/b:1.0.0") is UNKNOWN


# Servers that are no registry, or a bad one


class Lying(Stand):
    """One answer to everything."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__()
        self.only = status, headers, body

    def answer(self, *_: str) -> tuple[int, dict[str, str], bytes]:
        return self.only


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, {"Content-Type": "text/html"}, b"<h1>Log in to the hotel's network</h1>"),
        (200, {"Content-Type": "application/json"}, b"{}"),
        (404, {"Content-Type": "text/html"}, b"<h1>Not found</h1>"),
        (404, {}, b'{"errors": "MANIFEST_UNKNOWN"}'),
        (404, {}, b'{"errors": [["MANIFEST_UNKNOWN"]]}'),
        (404, {}, b'{"errors": [{"code": "TOOMANYREQUESTS"}]}'),
        (301, {"Location": "https://elsewhere/"}, b""),
        (401, {}, b""),
        (401, {"WWW-Authenticate": "Negotiate"}, b""),
        (403, {}, b'{"errors": [{"code": "DENIED"}]}'),
        (429, {"Retry-After": "3600"}, b""),
        (500, {}, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}'),
        (404, {}, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}' + b" " * 2**24),
    ],
)
def test_whoever_is_no_registry_says_nothing(status: int, headers: dict[str, str], body: bytes) -> None:
    with standing(Lying(status, headers, body)) as one:
        assert existence(f"{one.address}/a/b:1.0.0") is UNKNOWN
        assert image_registry.ImageRegistry(CLIENT).tags(f"{one.address}/a/b", "1.") in (None, [])


def test_pages_without_end_come_to_one() -> None:
    page = json.dumps({"tags": ["1.0.0"]}).encode()
    with standing(Lying(200, {"Link": '</v2/>; rel="next"'}, page)) as one:
        assert image_registry.ImageRegistry(CLIENT).tags(f"{one.address}/a/b", "1.") is None
        assert len(one.asked) <= image_registry.MOST_PAGES


class Slow(http.Http):
    """A network that answers nothing, not even where a host is: no time limit of a socket holds there."""

    def send(self, *_: object, **__: object) -> http.Answer:
        threading.Event().wait(20)
        return http.Answer(200, {}, b"")


def test_without_a_network_nobody_waits() -> None:
    begin = time.monotonic()
    client = image_registry.ImageRegistry(Slow(None, {}), 0.2)
    assert client.existence("gitlab/gitlab-ce:19.3.0-ce.0").existence is UNKNOWN
    assert client.tags("gitlab/gitlab-ce", "19.3.") is None
    assert time.monotonic() - begin < 5


def test_where_nothing_listens_it_is_unknown_and_said_why() -> None:
    found = image_registry.ImageRegistry(CLIENT).existence("127.0.0.1:1/a/b:1")
    assert found.existence is UNKNOWN and found.why.startswith("127.0.0.1:1 cannot be asked: ")


# Names

DOCKER = "https://registry-1.docker.io/v2/"


@pytest.mark.parametrize(
    ("image", "url", "version"),
    [
        ("busybox", f"{DOCKER}library/busybox", "latest"),
        ("gitlab/gitlab-ce:19.3.0-ce.0", f"{DOCKER}gitlab/gitlab-ce", "19.3.0-ce.0"),
        ("docker.io/library/busybox:1.37.0", f"{DOCKER}library/busybox", "1.37.0"),
        ("docker.io/busybox", f"{DOCKER}library/busybox", "latest"),
        ("index.docker.io/a/b", f"{DOCKER}a/b", "latest"),
        ("localhost/a/b", "http://localhost/v2/a/b", "latest"),
        ("localhost:5000/a", "http://localhost:5000/v2/a", "latest"),
        ("[::1]:5000/a:b", "http://[::1]:5000/v2/a", "b"),
        ("127.evil.example/a:b", "https://127.evil.example/v2/a", "b"),
        (
            "registry.lab.example:8443/home/web/app:v1.2.3",
            "https://registry.lab.example:8443/v2/home/web/app",
            "v1.2.3",
        ),
        (f"ghcr.io/a/b:1@sha256:{'a' * 64}", "https://ghcr.io/v2/a/b", f"sha256:{'a' * 64}"),
    ],
)
def test_an_image_is_looked_for_where_a_container_runtime_looks(image: str, url: str, version: str) -> None:
    reference = image_registry.parsed(image)
    assert reference is not None
    assert (reference.url, reference.version) == (url, version)


@pytest.mark.parametrize(
    "image",
    [
        "",
        ":",
        "a:",
        "a@",
        "A/b",
        "a//b",
        "a b",
        "a:b:c",
        "a/../b",
        "a@sha256:short",
        "x.y/",
        "a?b",
        "a#b",
        "u@h/a",
        "a:-b",
    ],
)
def test_what_is_no_name_of_an_image_is_missing(image: str) -> None:
    assert image_registry.parsed(image) is None
    assert existence(image) is MISSING


@given(st.text(max_size=40))
def test_no_text_leads_to_another_path_of_the_registry(image: str) -> None:
    reference = image_registry.parsed(image)
    if reference is not None:
        parts = urlsplit(f"{reference.url}/manifests/{reference.version}")
        assert (parts.query, parts.fragment, parts.username) == ("", "", None)
        assert (
            parts.path == f"/v2/{reference.repository}/manifests/{reference.version}"
            and ".." not in parts.path.split("/")
        )
