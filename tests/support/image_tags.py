"""A registry with one image in some tags, as far as its existence goes: for anybody, over plain HTTP, on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.support.http_server import Handler, HttpServer

PATH = "/v2/gitlab/gitlab-ce/"
MANIFEST = "application/vnd.oci.image.index.v1+json"
UNKNOWN = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}


@contextmanager
def image_tags(tags: Sequence[str]) -> Iterator[str]:
    """Serve gitlab/gitlab-ce in these tags; yield the registry's address."""

    class Registry(Handler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path.removeprefix(PATH)
            if path == "tags/list":
                self.reply_json(200, {"name": "gitlab/gitlab-ce", "tags": list(tags)})
            elif path.removeprefix("manifests/") in tags:
                self.reply_json(200, {}, {"Content-Type": MANIFEST})
            else:
                self.reply_json(404, UNKNOWN)

        do_HEAD = do_GET

    with HttpServer(Registry) as server:
        yield f"127.0.0.1:{server.server_port}"
