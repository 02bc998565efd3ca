"""What the servers of these tests share: programs that listen until a test has ended, and stand-ins that answer in this process."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from http.server import ThreadingHTTPServer
from pathlib import Path

from tests.support.loopback import listens, wait_for


class Program:
    """A program that has been started, and ends with its test."""

    _process: subprocess.Popen[bytes]
    _log: Path

    def _is_complete(self, what: str, addresses: Sequence[tuple[str, int]]) -> None:
        """Wait until the program listens at all of its addresses; stop it if it does not."""

        def answers() -> bool:
            assert self._process.poll() is None, self._log.read_text()
            return all(listens(*address) for address in addresses)

        try:
            wait_for(f"{what} (see {self._log})", answers)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class HttpServer(ThreadingHTTPServer):
    """A server for many clients at once: a connection that finds no place would come back a second later."""

    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """A client that went away is no news."""

    def in_background(self) -> None:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


def serve_each(listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    """Serve each connection in a thread, until the listener is closed."""

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
