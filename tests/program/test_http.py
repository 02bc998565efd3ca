"""The program's HTTP client against servers that answer late, half, or not at all, and through proxies."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support.http_server import serve_each
from tests.support.program import http

Behaviour = Callable[[socket.socket, bytes], None]


@contextmanager
def server(behave: Behaviour) -> Iterator[tuple[int, list[bytes]]]:
    """Serve connections that read a request's head and then behave; yield the port, and the heads."""
    heads: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            head = b""
            while b"\r\n\r\n" not in head and (part := connection.recv(4096)):
                head += part
            heads.append(head)
            behave(connection, head)

    threads = serve_each(listener, serve)
    try:
        yield listener.getsockname()[1], heads
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in threads:
            thread.join(10)


def answering(text: bytes) -> Behaviour:
    return lambda connection, _: connection.sendall(text)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Next-Page: 3\r\n\r\n{}"


@pytest.fixture
def client() -> Iterator[http.Http]:
    found = http.Http(None, {})
    yield found
    found.close()


def test_a_whole_answer_comes_back_with_its_headers(client: http.Http) -> None:
    with server(answering(OK)) as (port, heads):
        answer = client.send("POST", f"http://127.0.0.1:{port}/a?b=c", headers={"X-One": "1"}, body=b"{}")
    assert (answer.status, answer.text, answer.headers["x-next-page"]) == (200, "{}", "3")
    assert heads[0].startswith(b"POST /a?b=c HTTP/1.1\r\n") and b"X-One: 1\r\n" in heads[0]
    assert f"Host: 127.0.0.1:{port}\r\n".encode() in heads[0]


def test_a_chunked_answer_is_read_to_its_end(client: http.Http) -> None:
    with server(answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n")) as (port, _):
        assert client.send("GET", f"http://127.0.0.1:{port}/").text == "[]"


def keeping(answers: int) -> Behaviour:
    """Answer so many requests of a connection, then close it without a word."""

    def behave(connection: socket.socket, _: bytes) -> None:
        for _ in range(answers - 1):
            connection.sendall(OK)
            if not connection.recv(4096):
                return
        connection.sendall(OK)

    return behave


def test_a_connection_is_kept_for_the_next_request(client: http.Http) -> None:
    with server(keeping(3)) as (port, heads):
        for method in ("GET", "PUT", "GET"):
            assert client.send(method, f"http://127.0.0.1:{port}/").status == 200
        client.close()
    assert len(heads) == 1


def test_a_kept_connection_that_the_server_has_closed_is_opened_again(client: http.Http) -> None:
    with server(keeping(1)) as (port, heads):
        for _ in range(3):
            assert client.send("GET", f"http://127.0.0.1:{port}/").status == 200
            time.sleep(0.05)
    assert len(heads) == 3


def test_a_request_that_may_not_be_sent_twice_gets_a_connection_for_itself(client: http.Http) -> None:
    with server(keeping(9)) as (port, heads):
        for method in ("GET", "POST", "GET", "PATCH"):
            assert client.send(method, f"http://127.0.0.1:{port}/").status == 200
        client.close()
    assert [head.partition(b" ")[0] for head in heads] == [b"GET", b"POST", b"PATCH"]


def test_after_a_broken_answer_the_connection_is_not_used_again(client: http.Http) -> None:
    def behave(connection: socket.socket, _: bytes) -> None:
        for answer in (OK, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"):
            connection.sendall(answer)
            if not connection.recv(4096):
                return

    with server(behave) as (port, heads):
        url = f"http://127.0.0.1:{port}/"
        assert client.send("GET", url).status == 200
        with pytest.raises(http.HttpError) as failed:
            client.send("GET", url, seconds=0.2)
        assert failed.value.fault is http.Fault.TIMEOUT
        assert client.send("GET", url).status == 200
        client.close()
    assert len(heads) == 2


def test_a_redirect_is_an_answer_like_another(client: http.Http) -> None:
    with server(answering(b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n")) as (
        port,
        _,
    ):
        assert client.send("GET", f"http://127.0.0.1:{port}/").status == 302


def drip(connection: socket.socket, _: bytes) -> None:
    """Send a byte now and then, so that no single read takes long."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _number in range(40):
        try:
            connection.sendall(b"x")
        except OSError:
            return
        threading.Event().wait(0.02)


@pytest.mark.parametrize(
    ("behave", "fault"),
    [
        (lambda *_: None, http.Fault.BROKEN),
        (answering(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"), http.Fault.BROKEN),
        (answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1"), http.Fault.BROKEN),
        (answering(b"SSH-2.0-OpenSSH_9.2\r\n"), http.Fault.BROKEN),
        (lambda connection, _: connection.recv(1), http.Fault.TIMEOUT),
        (drip, http.Fault.TIMEOUT),
    ],
    ids=["nothing", "half", "half of a chunk", "another protocol", "silence", "a byte now and then"],
)
def test_a_part_of_an_answer_is_none_and_may_have_been_carried_out(
    client: http.Http, behave: Behaviour, fault: http.Fault
) -> None:
    with server(behave) as (port, _), pytest.raises(http.HttpError) as failed:
        client.send("GET", f"http://127.0.0.1:{port}/", seconds=0.3)
    assert (failed.value.fault, failed.value.sent, failed.value.transient) == (fault, True, True)


def test_where_nothing_listens_nothing_was_carried_out(client: http.Http) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(http.HttpError) as failed:
        client.send("POST", f"http://gitlab.localhost:{port}/")
    assert (failed.value.fault, failed.value.sent, failed.value.transient) == (http.Fault.REFUSED, False, True)


def test_a_host_that_dns_does_not_know_stays_unknown(client: http.Http) -> None:
    with pytest.raises(http.HttpError) as failed:
        client.send("GET", "http://gitlab.nowhere.invalid/")
    assert failed.value.fault in (http.Fault.DNS, http.Fault.OTHER) and not failed.value.sent


@pytest.mark.slow
def test_a_server_without_tls_is_told_from_one_that_is_not_trusted(client: http.Http) -> None:
    with server(answering(OK)) as (port, _), pytest.raises(http.HttpError) as failed:
        client.send("GET", f"https://127.0.0.1:{port}/", seconds=2)
    assert failed.value.fault is not http.Fault.CERTIFICATE and not failed.value.sent


@pytest.mark.parametrize(
    ("environment", "used"),
    [
        ({}, False),
        ({"http_proxy": "PROXY"}, True),
        ({"all_proxy": "PROXY"}, True),
        ({"ALL_PROXY": "PROXY"}, True),
        ({"HTTP_PROXY": "PROXY"}, False),  # a request's header in a CGI program; curl does not read it either
        ({"http_proxy": "PROXY", "no_proxy": "lab.test"}, False),
        ({"http_proxy": "PROXY", "NO_PROXY": ".lab.test"}, False),
        ({"http_proxy": "PROXY", "no_proxy": "other.test"}, True),
    ],
)
def test_proxies_are_read_as_curl_reads_them(environment: dict[str, str], used: bool) -> None:
    with server(answering(OK)) as (port, heads):
        client = http.Http(
            None,
            {
                name: value.replace("PROXY", f"http://me:pass%20word@127.0.0.1:{port}")
                for name, value in environment.items()
            },
        )
        try:
            client.send("GET", "http://gitlab.lab.test/a")
        except http.HttpError as error:
            assert not used and error.fault in (http.Fault.DNS, http.Fault.OTHER)
        client.close()
    assert bool(heads) is used
    if used:
        assert (
            heads[0].startswith(b"GET http://gitlab.lab.test/a HTTP/1.1\r\n")
            and b"Host: gitlab.lab.test\r\n" in heads[0]
        )
        assert b"Proxy-Authorization: Basic bWU6cGFzcyB3b3Jk\r\n" in heads[0]


def test_a_secure_address_goes_through_a_tunnel_so_that_the_proxy_sees_nothing() -> None:
    refused = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    with server(answering(refused)) as (port, heads), pytest.raises(http.HttpError) as failed:
        http.Http(None, {"https_proxy": f"127.0.0.1:{port}"}).send(
            "GET", "https://gitlab.lab.test/", headers={"PRIVATE-TOKEN": "secret"}
        )
    assert heads[0].startswith(b"CONNECT gitlab.lab.test:443 HTTP/1.") and b"secret" not in heads[0]
    assert not failed.value.sent


def test_a_proxy_of_another_kind_is_named() -> None:
    with pytest.raises(http.HttpError, match=r"socks5://127\.0\.0\.1"):
        http.Http(None, {"all_proxy": "socks5://127.0.0.1:1080"}).send("GET", "http://gitlab.lab.test/")
