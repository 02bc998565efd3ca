"""A server of a stand-in world, on a free port of the loopback, in a thread that is its own."""

from __future__ import annotations

import sys
import threading
from http.server import ThreadingHTTPServer
from socketserver import BaseRequestHandler
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab_world import World


class WorldServer(ThreadingHTTPServer):
    """Args: the world, which is told of what fails here; and who answers a connection."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, world: World, handler: type[BaseRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.world = world
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    @property
    def port(self) -> int:
        return self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell the world, unless a run was killed that waited for an answer."""
        error = sys.exc_info()[1]
        if not isinstance(error, (BrokenPipeError, ConnectionError)):
            self.world.errors.append(f"a stand-in failed: {error!r}")

    def stop(self) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()
