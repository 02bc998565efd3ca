"""DNS and the road to the cluster, for programs that know proxies only: names become addresses of stand-ins, TLS stays end to end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from tests.support.http_server import serve_each

Address = tuple[str, int]


class AddressBook:
    """An HTTP proxy that only tunnels (CONNECT).

    Args:
        where: returns the address of a host and port; raises KeyError where there is none.

    Attributes:
        url: for the variable HTTPS_PROXY.
    """

    def __init__(self, where: Callable[[str, int], Address]) -> None:
        self._where = where
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = "http://{}:{}".format(*self._listener.getsockname())
        serve_each(self._listener, self._tunnel)

    def __enter__(self) -> AddressBook:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _tunnel(self, client: socket.socket) -> None:
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                if not (piece := client.recv(4096)):
                    return
                head += piece
            verb, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            host, _, port = target.rpartition(":")
            try:
                server = socket.create_connection(self._where(host, int(port)), timeout=10)
            except (KeyError, OSError):
                client.sendall(b"HTTP/1.1 502 nobody of that name\r\nContent-Length: 0\r\n\r\n")
                return
            assert verb == "CONNECT"
            with server:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=pour, args=(server, client), daemon=True)
                back.start()
                pour(client, server)
                back.join()


def pour(source: socket.socket, target: socket.socket) -> None:
    """Hand on what comes from one side, until that side ends."""
    try:
        while piece := source.recv(1 << 16):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass
