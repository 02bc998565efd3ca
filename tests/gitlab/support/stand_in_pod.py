"""GitLab's pod as Traefik meets it: web servers that tell what they were asked, and an SSH server that greets."""

from __future__ import annotations

import contextlib
import hashlib
import socket
from collections.abc import Iterator

from tests.support.http_server import Handler, HttpServer, serve_each

BANNER = b"SSH-2.0-OpenSSH_9.9 GitLab\r\n"


class WebStub:
    """Answers every request with a JSON description of it, under a name that tells the servers of one pod apart."""

    def __init__(self, name: str) -> None:
        class Web(Handler):
            def answer(self) -> None:
                digest, size = hashlib.sha256(), 0
                for piece in self.pieces():
                    digest.update(piece)
                    size += len(piece)
                if self.headers.get("Upgrade"):
                    self.send_response(101)
                    self.send_header("Connection", "Upgrade")
                    self.send_header("Upgrade", self.headers["Upgrade"])
                    self.end_headers()
                    self.wfile.write(f"{name} speaks {self.headers['Upgrade']}".encode())
                    self.close_connection = True
                    return
                told = {
                    "name": name,
                    "method": self.command,
                    "path": self.path,
                    "size": size,
                    "sha256": digest.hexdigest(),
                    "headers": {key.lower(): value for key, value in self.headers.items()},
                    "peer": self.client_address[0],
                }
                self.reply_json(200, told)

            def pieces(self) -> Iterator[bytes]:
                if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                    while size := int(self.rfile.readline().split(b";")[0], 16):
                        yield self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                    return
                left = int(self.headers.get("Content-Length", 0))
                while left and (piece := self.rfile.read(min(left, 1 << 16))):
                    left -= len(piece)
                    yield piece

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        self._server = HttpServer(Web)
        self.address = self._server.address

    def close(self) -> None:
        self._server.stop()


class SshStub:
    """Sends the greeting of an SSH server to whoever connects, before the client says a word, and then waits for the client."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        serve_each(self._listener, self._greet)

    @staticmethod
    def _greet(connection: socket.socket) -> None:
        with connection:
            connection.sendall(BANNER)
            with contextlib.suppress(OSError):
                connection.recv(1024)

    def close(self) -> None:
        self._listener.close()
