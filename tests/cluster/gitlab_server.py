"""The tests' GitLab behind TLS on its usual ports, with what a real Flux asks of it beside the bootstrap's requests.

The API, its state and Git over HTTP are those of tests/bootstrap. Added are the registry's tags and manifests with their tokens,
commit statuses, webhooks after a push and after an image, and the keys and rights that GitLab's sshd asks for.
"""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from extensions.facts import Lab
from tests.bootstrap.support import gitlab_http, stand_in_gitlab
from tests.cluster.api import Api, ApiError

INTERNAL_PORT = 18080
DOCKER_HUB = ("registry-1.docker.io", "auth.docker.io")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class Status:
    """What Flux wrote onto a commit."""

    commit: str
    name: str
    state: str
    description: str


@dataclass
class Delivery:
    """A webhook that GitLab or its registry sent, and what was answered."""

    url: str
    answer: int | str
    at: float = field(default_factory=time.monotonic)


class GitLabWorld:
    """What the tests' GitLab asks of the world around it, answered by a real cluster.

    Args:
        folder: where its repositories go.
        lab: what follows from the lab's answers.
        answers: the answers themselves.
        api: the cluster.
    """

    def __init__(self, folder: Path, lab: Lab, answers: dict[str, Any], api: Api) -> None:
        self.lock = threading.RLock()
        self.folder, self.lab, self.answers, self.api = folder, lab, answers, api
        self.errors: list[str] = []
        self.requests: set[str] = set()
        self.registry_realm = ""
        self.external_logins: set[tuple[str, str]] = set()
        self.statuses: list[Status] = []
        self.deliveries: list[Delivery] = []
        self.refuses_pushes = False
        self.unpublished: set[str] = set()
        # The tags of an image of Docker Hub's, where a test says which there are.
        self.published: dict[str, list[str]] = {}
        # What a version of GitLab does in its background after its first start: each called with the stand-in.
        self.queued_by: dict[str, Callable[[stand_in_gitlab.GitLab], None]] = {}
        # What another registry answers, by path: media type and content.
        self.files: dict[str, tuple[str, bytes]] = {}
        self.settings = {
            "registry_host": answers["registry_host"],
            "gitlab_url": lab.gitlab_url,
            "sample_host": lab.sample_host,
        }
        repositories = folder / "repositories"
        repositories.mkdir(parents=True)
        self.gitlab = stand_in_gitlab.GitLab(repositories)

    # What gitlab_http.Handler asks. Nothing is broken or killed on purpose here: that is what tests/bootstrap is for.

    def see(self, source: str, detail: str) -> None:
        """Take note of nothing: the real cluster is what these tests look at."""

    def fault_for(self, source: str, detail: str) -> None:
        return None

    def fingerprint(self, reading: bool = False) -> str:
        return ""

    def changed_since(self, before: str, what: str) -> bool:
        return False

    def _ready(self, name: str, namespace: str) -> bool:
        try:
            found = self.api.get("deployments", name, namespace)
        except (ApiError, OSError):
            return False
        return bool(found and found["status"].get("readyReplicas"))

    def demo_runs(self) -> bool:
        return self._ready("demo", self.answers["app_namespace"])

    def gitlab_is_ready(self) -> bool:
        return self._ready("gitlab", self.answers["gitlab_namespace"])

    # The registry

    def has_image(self, image: str) -> bool:
        """Say whether a node can pull an image: of the lab's registry what was pushed, of others' all but what is not published."""
        host, _, rest = image.partition("/")
        if host != self.lab.registry_address:
            name, _, version = image.partition("@")[0].rpartition(":")
            return image not in self.unpublished and version in self.published.get(name, [version])
        repository, _, tag = rest.partition(":")
        with self.lock:
            return tag.split("@")[0] in self.gitlab.images.get(repository, [])

    def push_image(self, repository: str, tag: str) -> None:
        """Do what a pipeline's `docker push` ends in: the registry has the tag, and tells who wants to know."""
        with self.lock:
            self.gitlab.images.setdefault(repository, []).append(tag)
        self._announce(repository, tag)

    def _announce(self, repository: str, tag: str) -> None:
        secret = self.api.get("secrets", "registry-webhook", self.answers["gitlab_namespace"])
        if secret:
            url = base64.b64decode(secret["data"]["url"]).decode()
            event = {"events": [{"action": "push", "target": {"repository": repository, "tag": tag}}]}
            self._deliver(url, event, {"Content-Type": "application/vnd.docker.distribution.events.v2+json"})

    def _deliver(self, url: str, body: Any, headers: dict[str, str]) -> None:
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        answer: int | str
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                answer = response.status
        except OSError as error:
            answer = str(error)
        self.deliveries.append(Delivery(url, answer))

    # Time passes

    def tick(self, runner_online: Callable[[], bool]) -> None:
        """Let a runner that is there take jobs, and announce what they pushed."""
        online = runner_online()
        with self.lock:
            for runner in self.gitlab.runners:
                runner.update(
                    {"status": "online", "online": True} if online else {"status": "offline", "online": False}
                )
            before = {name: len(tags) for name, tags in self.gitlab.images.items()}
            self.gitlab.run_pipelines(online)
            new = [(n, t) for n, tags in self.gitlab.images.items() for t in tags[before.get(n, 0) :]]
        for repository, tag in new:
            self._announce(repository, tag)

    def tell_of_push(self, path: str, branch: str, commit: str) -> None:
        """Send the push webhooks of a project."""
        with self.lock:
            self.gitlab.after_push(path)
            project = self.gitlab.project(path)
            hooks = [h for h in self.gitlab.hooks if project and h["project"] == project["id"]]
        for hook in hooks:
            body = {"object_kind": "push", "ref": f"refs/heads/{branch}", "after": commit}
            headers = {"Content-Type": "application/json", "X-Gitlab-Event": "Push Hook"}
            self._deliver(hook["url"], body, {**headers, "X-Gitlab-Token": hook.get("token") or ""})

    def begin_migrations(self) -> None:
        """Queue what a version of GitLab that has just started does in its background."""
        found = self.api.get("deployments", "gitlab", self.answers["gitlab_namespace"])
        image = found["spec"]["template"]["spec"]["containers"][0]["image"] if found else ""
        with self.lock:
            queue = self.queued_by.pop(image.rpartition(":")[2].partition("-")[0], None)
            if queue is not None:
                queue(self.gitlab)

    # SSH: https://docs.gitlab.com/development/internal_api/#git-authentication

    def may(self, key: str, action: str, path: str) -> str:
        """Return why a deploy key may not do that; nothing if it may.

        Args:
            key: the public key, as sshd saw it.
            action: `git-upload-pack` or `git-receive-pack`.
            path: the project's path.
        """
        words = key.split()[:2]
        if self.answers["gitops_source"] == "external" and path.startswith("external/"):
            return ""
        if not self.gitlab_is_ready():
            return "Failed to contact the internal API"
        with self.lock:
            project = self.gitlab.project(path)
            keys = [k for k in self.gitlab.deploy_keys if k["key"].split()[:2] == words]
            here = [k for k in keys if project and k["project"] == project["id"]]
            if project is None or not here:
                return "The project you were looking for could not be found or you don't have permission to view it."
            if action == "git-receive-pack":
                if not here[0]["can_push"]:
                    return "This deploy key does not have write access to this project."
                branch = project["default_branch"] or "main"
                if not self.gitlab.key_may_push(path, branch, key):
                    return "You are not allowed to push code to protected branches on this project."
        return ""

    def knows_key(self, key: str) -> bool:
        with self.lock:
            known = [k["key"].split()[:2] for k in self.gitlab.deploy_keys]
        return self.answers["gitops_source"] == "external" or key.split()[:2] in known


class Handler(gitlab_http.Handler):
    """One request to GitLab, its registry or its internal API."""

    server: Server  # type: ignore[assignment]  # the tests' own server, with what the cluster adds

    def do_ANY(self) -> None:
        path = self.path.split("?")[0]
        if not self._ready_for(path):
            return self.reply(502, b"", {})
        host = (self.headers.get("Host") or "").split(":")[0]
        world = self.server.world
        if host in DOCKER_HUB:
            return self._docker_hub(path)
        if path in world.files or host == "quay.io":
            kind, content = world.files.get(path, ("text/plain", b""))
            found = 200 if path in world.files or path == "/v2/" else 404
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            return self.reply(found, content, {"Content-Type": kind, "Docker-Content-Digest": digest})
        if path == "/internal/allowed":
            return self._allowed()
        if path == "/internal/personal-access-token":
            with world.lock:
                token = world.gitlab.new_pat(self.headers["X-Name"])
            return self.reply(200, f"token={token}\n".encode(), {})
        if path == "/jwt/auth":
            return self._token()
        if host == world.settings["registry_host"] and path.startswith("/v2/"):
            return self._registry(path)
        if path.startswith("/api/v4/projects/") and ("/statuses/" in path or "/commits/" in path):
            return self._commit_status(path)
        if path.startswith("/api/v4/admin/batched_background_migrations"):
            world.begin_migrations()
        if world.refuses_pushes and "git-receive-pack" in self.path:
            return self.reply(503, b"", {})
        return super().do_ANY()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_ANY

    def _ready_for(self, path: str) -> bool:
        """A GitLab whose pod is not ready answers nothing; Traefik says 502."""
        world = self.server.world
        host = (self.headers.get("Host") or "").split(":")[0]
        ours = (world.answers["gitlab_host"], world.answers["registry_host"])
        return host not in ours or world.gitlab_is_ready()

    def _allowed(self) -> None:
        asked = json.loads(self.body())
        world = self.server.world
        if asked["action"] == "key":
            return self.reply(200 if world.knows_key(asked["key"]) else 404, b"", {})
        why = world.may(asked["key"], asked["action"], asked["project"])
        return self.reply(403 if why else 200, why.encode(), {})

    def _token(self) -> None:
        login = (self.headers.get("Authorization") or "").removeprefix("Basic ")
        user, _, password = base64.b64decode(login).decode().partition(":")
        with self.server.world.lock:
            accepted = self.server.world.gitlab.registry_accepts(user, password)
        if accepted:
            return self.reply_json(200, {"token": "registry", "access_token": "registry", "expires_in": 300})
        return self.reply_json(401, {"errors": [{"code": "UNAUTHORIZED", "message": "HTTP Basic: Access denied"}]})

    def _registry(self, path: str) -> None:
        """The registry's API as far as a scan needs it: https://distribution.github.io/distribution/spec/api/"""
        world = self.server.world
        if not self.headers.get("Authorization"):
            realm = f'Bearer realm="{world.settings["gitlab_url"]}/jwt/auth",service="container_registry"'
            return self.reply_json(401, {"errors": [{"code": "UNAUTHORIZED"}]}, {"Www-Authenticate": realm})
        parts = path.removeprefix("/v2/").split("/")
        if path == "/v2/":
            return self.reply_json(200, {})
        with world.lock:
            tags = list(world.gitlab.images.get("/".join(parts[:-2]), []))
        if path.endswith("/tags/list"):
            if not tags:
                return self.reply_json(
                    404, {"errors": [{"code": "NAME_UNKNOWN", "message": "repository name not known to registry"}]}
                )
            return self.reply_json(200, {"name": "/".join(parts[:-2]), "tags": list(dict.fromkeys(tags))})
        if parts[-2] == "manifests" and parts[-1] in tags:
            config = {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                # Pushed again, a tag leads to other bytes.
                "digest": f"sha256:{hashlib.sha256(f'{parts[-1]} {tags.count(parts[-1])}'.encode()).hexdigest()}",
                "size": 2,
            }
            body = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}).encode()
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            return self.reply(200, body, {"Content-Type": MANIFEST, "Docker-Content-Digest": digest})
        return self.reply_json(404, {"errors": [{"code": "MANIFEST_UNKNOWN"}]})

    def _docker_hub(self, path: str) -> None:
        """What an anonymous client is told of public images: https://distribution.github.io/distribution/spec/auth/token/"""
        if path == "/token":
            return self.reply_json(200, {"token": "anonymous", "expires_in": 300})
        if self.headers.get("Authorization") != "Bearer anonymous":
            repository = path.removeprefix("/v2/").partition("/manifests/")[0]
            realm = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"'
            return self.reply_json(401, {}, {"Www-Authenticate": f'{realm},scope="repository:{repository}:pull"'})
        published, name = self.server.world.published, path.removeprefix("/v2/").removesuffix("/tags/list")
        if path.endswith("/tags/list") and name in published:
            return self.reply_json(200, {"name": name, "tags": published[name]})
        image = path.removeprefix("/v2/").replace("/manifests/", ":")
        if self.server.world.has_image(image):
            return self.reply(200, b"{}", {"Content-Type": INDEX})
        return self.reply_json(404, {"errors": [{"code": "MANIFEST_UNKNOWN"}]})

    def _commit_status(self, path: str) -> None:
        """https://docs.gitlab.com/api/commits/#commit-status, for whom has a token of the project."""
        world = self.server.world
        token = self.headers.get("PRIVATE-TOKEN") or (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        body = self.body()
        with world.lock:
            if not world.gitlab.known_token(token):
                return self.reply_json(401, {"message": "401 Unauthorized"})
            parts = path.split("/")
            if self.command == "POST":
                told = json.loads(body)
                commit = parts[parts.index("statuses") + 1]
                name = told.get("name") or told.get("context") or "default"
                world.statuses.append(Status(commit, name, told["state"], told.get("description", "")))
                return self.reply_json(201, {"id": len(world.statuses), "sha": commit, "status": told["state"]})
            commit = parts[parts.index("commits") + 1]
            newest = {s.name: s for s in world.statuses if s.commit == commit}
        return self.reply_json(200, [{"sha": commit, "name": s.name, "status": s.state} for s in newest.values()])


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(str(certificate), str(key))
    return made


class Server(ThreadingHTTPServer):
    """GitLab, its registry and the sample page on one port; Docker Hub as well.

    Args:
        certificates: certificate and key by host name; those of "" for each other name. Without any it speaks plain HTTP.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, world: GitLabWorld, port: int, certificates: dict[str, tuple[Path, Path]] | None) -> None:
        super().__init__(("0.0.0.0", port), Handler)  # each host of the world has an address of the loopback
        self.world = world
        if certificates:
            self.contexts = {name: _context(*certificate) for name, certificate in certificates.items()}
            context = self.contexts[""]

            def choose(connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
                connection.context = self.contexts.get(name or "", context)

            context.sni_callback = choose
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def show(self, hosts: list[str], certificate: Path, key: Path) -> None:
        """Show another certificate for some hosts from now on."""
        made = _context(certificate, key)
        self.contexts |= dict.fromkeys(hosts, made)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Let a broken connection be: a killed run leaves many."""
