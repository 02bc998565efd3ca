"""What the small servers of the tests share: a handler of HTTP, its server, and a thread for each connection. All are on 127.0.0.1."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Speaks HTTP/1.1, and writes no log."""

    protocol_version = "HTTP/1.1"
    # A body would wait 40 ms until the client has acknowledged the headers.
    disable_nagle_algorithm = True

    def body(self) -> bytes:
        """Return what the request carries. It can be read once."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def reply(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def reply_json(self, status: int, content: object, headers: Mapping[str, str] | None = None) -> None:
        self.reply(status, json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})})

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class HttpServer(ThreadingHTTPServer):
    """Serves many clients at once, in the background, until it is stopped or its block ends.

    Args:
        handler: answers the requests of a connection.
        port: where it listens; a free one for 0.
        tls: the files of a certificate and its key, if it speaks HTTPS.
    """

    # A connection that finds no place would come back a second later.
    request_queue_size = 128

    def __init__(
        self, handler: Callable[..., BaseHTTPRequestHandler], port: int = 0, tls: tuple[Path, Path] | None = None
    ) -> None:
        super().__init__(("127.0.0.1", port), handler)
        if tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*tls)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.address = ("127.0.0.1", self.server_port)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell of a fault of the handler; a client that went away is no news."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def serve_each(listener: socket.socket, serve: Callable[[socket.socket], None]) -> list[threading.Thread]:
    """Serve each connection in a thread, until the listener is closed.

    Returns the threads: the first one accepts, and adds one for each connection.
    """

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(connection,), daemon=True))
            threads[-1].start()

    threads = [threading.Thread(target=accept, daemon=True)]
    threads[0].start()
    return threads
