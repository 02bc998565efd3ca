"""A registry with one image in some tags, as far as its existence goes: for anybody, over plain HTTP, on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

PATH = "/v2/gitlab/gitlab-ce/"
MANIFEST = "application/vnd.oci.image.index.v1+json"
UNKNOWN = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}


@contextmanager
def image_tags(tags: Sequence[str]) -> Iterator[str]:
    """Serve gitlab/gitlab-ce in these tags; yield the registry's address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path.removeprefix(PATH)
            status, kind, content = 404, "application/json", dict(UNKNOWN)
            if path == "tags/list":
                status, content = 200, {"name": "gitlab/gitlab-ce", "tags": list(tags)}
            elif path.removeprefix("manifests/") in tags:
                status, kind, content = 200, MANIFEST, {}
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
