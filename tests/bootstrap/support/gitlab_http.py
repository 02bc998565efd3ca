"""GitLab's front door: its REST API, Git over HTTP, the registry's log-in, and the sample's page. tests/cluster adds to it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from tests.bootstrap.support.gitlab_api_table import Endpoint, complaints, find_endpoint
from tests.bootstrap.support.stand_in_infrastructure import STATE
from tests.support import http_server

if TYPE_CHECKING:
    from tests.bootstrap.support.world_server import WorldServer

Reply = tuple[int, bytes, dict[str, str]]


class Handler(http_server.Handler):
    """One request: to the API, to Git, to the registry, or to the page of the sample application."""

    server: WorldServer

    def do_ANY(self) -> None:
        raw, url = self.body(), urlsplit(self.path)
        try:
            with self.server.world.lock:
                if ".git/" in url.path:
                    self.git(url.path, url.query, raw)
                elif url.path.startswith("/api/v4"):
                    self.api(url.path.removeprefix("/api/v4"), url.query, raw)
                else:
                    status, headers = self.other(url.path)
                    self.reply(status, b"", headers)
        except ConnectionAbortedError:  # who asked was killed first
            self.drop()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_ANY

    def drop(self) -> None:
        """The connection breaks without an answer."""
        self.close_connection = True

    def login(self) -> tuple[str, str]:
        """Return the user and the password of the request."""
        encoded = (self.headers.get("Authorization") or "").removeprefix("Basic ")
        user, _, password = base64.b64decode(encoded).decode().partition(":")
        return user, password

    def carry_out(self, source: str, request: str, place: str, do: Callable[[], Reply]) -> None:
        """Do what is asked and answer it, as far as no fault is in the way and the run is not killed for it."""
        world = self.server.world
        fault = world.fault_for(source, request)
        kind = fault.kind if fault else ""
        if fault and isinstance(kind, int):
            later = {"Retry-After": fault.retry_after} if fault.retry_after else {}
            return self.reply_json(kind, {"message": fault.message or f"{kind} by order"}, later)
        if kind == "reset":
            return self.drop()
        before = world.fingerprint(reading=self.command == "GET")
        status, body, headers = do()
        if world.changed_since(before, place) or kind == "lost":
            return self.drop()
        if kind == "slow":
            time.sleep(1.3)
        if kind != "half":
            return self.reply(status, body, headers)
        self.send_response(status)
        self.send_header("Content-Length", str(max(len(body), 2)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        return self.drop()

    # What is asked

    def other(self, path: str) -> tuple[int, dict[str, str]]:
        world = self.server.world
        host = (self.headers.get("Host") or "").split(":")[0]
        world.see("http", f"{self.command} {host}{path}")
        settings = world.settings
        if host == settings["registry_host"] and path == "/v2/":
            realm = world.registry_realm or f"{settings['gitlab_url']}/jwt/auth"
            return 401, {"Www-Authenticate": f'Bearer realm="{realm}",service="container_registry"'}
        if host == settings["sample_host"]:
            return (200 if world.demo_runs() else 404), {}
        if path == "/jwt/auth":
            return (200 if world.gitlab.registry_accepts(*self.login()) else 401), {}
        if path == "/users/sign_in":
            return (200 if world.gitlab_is_ready() else 502), {}
        return 404, {}

    def api(self, path: str, query_text: str, raw: bytes) -> None:
        """Answer a request that GitLab documents; what is wrong with it, or with the answer, is the test's to hear."""
        world, request = self.server.world, f"{self.command} {path}"
        query = dict(parse_qsl(query_text, keep_blank_values=True))
        world.see("api", request)
        if STATE.match(path):
            return self.carry_out("api", request, request, lambda: self.state(path, query, raw))
        found = find_endpoint(self.command, path)
        if found is None:
            world.errors.append(f"{request} is in no table of GitLab's documentation")
            return self.reply(404, b'{"error":"404 Not Found"}')
        endpoint, body = found[0], json.loads(raw) if raw else {}
        if raw and self.headers.get("Content-Type") != "application/json":
            world.errors.append(f"{endpoint.name}: a body that is not declared as JSON")
        world.errors += complaints(endpoint, query, body)
        world.requests.add(endpoint.name)
        token = self.headers.get("PRIVATE-TOKEN", "")

        def answer() -> Reply:
            status, content = world.gitlab.answer(self.command, path, query, body, token)
            headers = {"Content-Type": "application/json"}
            if isinstance(content, list):
                content, more = self.page(content, query, world.gitlab.page_size)
                headers |= more
            world.errors += self.undocumented(endpoint, status, content)
            return status, b"" if content is None else json.dumps(content).encode(), headers

        return self.carry_out("api", request, request, answer)

    def state(self, path: str, query: dict[str, str], raw: bytes) -> Reply:
        token = self.headers.get("PRIVATE-TOKEN") or self.login()[1]
        found = self.server.world.gitlab.state_answer(self.command, path, query, raw, token)
        assert found is not None
        return *found, {"Content-Type": "application/json"}

    @staticmethod
    def undocumented(endpoint: Endpoint, status: int, content: Any) -> list[str]:
        """Return in what the stand-in itself leaves the documentation."""
        if status >= 400:
            return []
        if status not in endpoint.answers:
            return [f"{endpoint.name}: the stand-in answers {status}, which is not documented"]
        items = content if isinstance(content, list) else [content]
        missing = {name for item in items for name in set(endpoint.answers[status]) - set(item or ())}
        return [f"{endpoint.name}: the stand-in's answer lacks {sorted(missing)}"] if missing else []

    @staticmethod
    def page(items: list[Any], query: dict[str, str], limit: int) -> tuple[list[Any], dict[str, str]]:
        """GitLab's offset pagination: https://docs.gitlab.com/api/rest/#pagination"""
        size, number = min(int(query.get("per_page", "20")), limit), int(query.get("page", "1"))
        following = str(number + 1) if number * size < len(items) else ""
        headers = {"X-Page": str(number), "X-Per-Page": str(size), "X-Total": str(len(items)), "X-Next-Page": following}
        return items[(number - 1) * size : number * size], headers

    def git(self, path: str, query: str, raw: bytes) -> None:
        """Git over HTTP: git's own http-backend, behind GitLab's log-in."""
        world = self.server.world
        name, _, rest = path.strip("/").partition(".git/")
        user, password = self.login()
        known = world.gitlab.known_token(password) and world.gitlab.project(name) is not None
        external = name.startswith("external")
        if not ((user, password) in world.external_logins if external else known):
            return self.reply(401, b"", {"Www-Authenticate": 'Basic realm="GitLab"'})
        refusal = "" if external or "git-receive-pack" not in rest + query else world.gitlab.git_refusal(password, name)
        if refusal:
            return self.reply(403, refusal.encode(), {"Content-Type": "text/plain"})
        world.see("git", f"{self.command} {path}")

        def answer() -> Reply:
            closed = (
                world.gitlab.closed_refs(password, name, raw) if rest == "git-receive-pack" and not external else []
            )
            found = self.http_backend(f"/{name.lower()}.git/{rest}", query, raw, closed)
            if rest == "git-receive-pack" and not external:
                world.gitlab.after_push(name)
            return found

        return self.carry_out("git", f"{self.command} {path}?{query}", f"push {name}", answer)

    def http_backend(self, path: str, query: str, raw: bytes, closed: list[str]) -> Reply:
        """Run git's own server; a push to a closed ref is refused by a hook, as GitLab does it."""
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server.world.gitlab.repositories),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": "root",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(raw)),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "GIT_CONFIG_NOSYSTEM": "1",
            "HOME": "/nonexistent",
        }
        if closed:
            hooks = self.server.world.gitlab.hook_folder()
            environment |= {
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "core.hooksPath",
                "GIT_CONFIG_VALUE_0": str(hooks),
            }
            environment["CLOSED_REFS"] = " ".join(closed)
        if self.headers.get("Content-Encoding"):
            environment["HTTP_CONTENT_ENCODING"] = self.headers["Content-Encoding"]
        result = subprocess.run(["git", "http-backend"], input=raw, env=environment, capture_output=True, check=False)
        head, _, body = result.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        return int(headers.pop("Status", "200").split()[0]), body, headers
