"""The server of a stand-in world: GitLab, and where the stand-in programs ask what to do."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from tests.bootstrap.support import gitlab_http
from tests.bootstrap.support.stand_in_programs import Caller
from tests.support.http_server import HttpServer

if TYPE_CHECKING:
    from tests.bootstrap.support.lab_world import World


class Handler(gitlab_http.Handler):
    """Requests to GitLab, and calls of the programs (stand_in_client.sh), which tell their process number."""

    def do_CALL(self) -> None:
        """Let a program end as the world says; it waits until its answer is complete."""
        with contextlib.suppress(OSError):  # a run that was killed meanwhile waits for no answer
            caller = Caller(self.path.strip("/"))
            answer = self.server.world.call(caller)
            if answer is not None:
                caller.hear(4, answer.out)  # the client keeps its standard output there
                caller.hear(2, answer.err)
                self.wfile.write("\n".join([str(answer.status), *answer.command]).encode() + b"\n")


class WorldServer(HttpServer):
    """Listens on a free port of the loopback, in a thread of its own."""

    def __init__(self, world: World) -> None:
        self.world = world
        super().__init__(Handler)
        self.port = self.server_port

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell the world, unless a run was killed that waited for an answer."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError):
            self.world.errors.append(f"a stand-in failed: {error!r}")
