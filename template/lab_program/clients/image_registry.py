"""Image registries: whether an image is there, and which tags one has.

By what every registry speaks: the HTTP API of the OCI Distribution Specification,
https://github.com/opencontainers/distribution-spec/blob/main/spec.md, with the tokens of
https://distribution.github.io/distribution/spec/auth/token/.

Nothing of it ever raises: a registry that cannot be asked leaves an answer unknown, within the time that was given.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from ..secret import Secret
from .http import Answer, Http, HttpError, basic_login

T = TypeVar("T")
# Where an image without a registry comes from, and where that registry really is.
DOCKER_HUB, DOCKER_HUB_HOST = "docker.io", "registry-1.docker.io"
LATEST = "latest"
# A manifest, or a list of tags, is smaller; who sends more is no registry.
LARGEST = 8 * 2**20
MOST_PAGES = 5
# Words of a registry about an image, a tag or a repository that it does not have (the specification, "Error Codes").
_MISSING = {"MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN", "NOT_FOUND"}
_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
)
# The specification's own expressions, "Pulling manifests".
_REPOSITORY = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"[a-z0-9]+([+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]{32,}")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9.-]+)(:[0-9]{1,5})?")
_LOOPBACK = re.compile(r"(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]+)?")
_PARAMETER = re.compile(r'([a-zA-Z]+)="([^"]*)"')


class Existence(Enum):
    """What a registry says of an image."""

    EXISTS = "exists"
    MISSING = "missing"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Found:
    """Whether an image is there.

    Attributes:
        why: for a person, why it is missing or unknown.
    """

    existence: Existence
    why: str = ""


@dataclass(frozen=True)
class Reference:
    """An image as a pod names it.

    Attributes:
        registry: the host, with its port.
        repository: the path there.
        version: a tag or a digest.
    """

    registry: str
    repository: str
    version: str

    @property
    def url(self) -> str:
        """The address of its repository in the API. Like every runtime, over plain HTTP from this very machine only."""
        host = DOCKER_HUB_HOST if self.registry == DOCKER_HUB else self.registry
        scheme = "http" if _LOOPBACK.fullmatch(host) else "https"
        return f"{scheme}://{host}/v2/{self.repository}"


@dataclass(frozen=True)
class Credentials:
    """A user of a registry."""

    username: str
    password: Secret


def parsed(image: str) -> Reference | None:
    """Return what an image's name says, as container runtimes read it; None if it is no name of an image."""
    name, at, digest = image.partition("@")
    first, slash, rest = name.partition("/")
    registry = DOCKER_HUB
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, name = first, rest
    name, colon, tag = name.partition(":")
    if registry in (DOCKER_HUB, f"index.{DOCKER_HUB}"):
        registry, name = DOCKER_HUB, name if "/" in name else f"library/{name}"
    version = digest if at else tag if colon else LATEST
    right_tag = _TAG.fullmatch(tag) if colon else True
    right_version = _DIGEST.fullmatch(version) if at else right_tag
    if not (_HOST.fullmatch(registry) and _REPOSITORY.fullmatch(name) and right_tag and right_version):
        return None
    return Reference(registry, name, version)


class ImageRegistry:
    """Asks registries.

    Args:
        http: how; it knows whose certificates to trust.
        seconds: how long an answer may take, all requests for it together.
    """

    def __init__(self, http: Http, seconds: float = 10) -> None:
        self._http, self._seconds = http, seconds

    def existence(self, image: str, credentials: Credentials | None = None) -> Found:
        """Say whether an image is there, without loading it.

        "Missing" only where a registry has said so itself: no network, a log-in page in between, or a repository that
        wants another user leave it unknown.
        """
        late = Found(Existence.UNKNOWN, f"the registry of {image} did not answer in time")
        return _within(self._seconds, lambda: self._existence(image, credentials), late)

    def _existence(self, image: str, credentials: Credentials | None) -> Found:
        reference = parsed(image)
        if reference is None:
            return Found(Existence.MISSING, f'"{image}" is no name of an image')
        asking = _Asking(self._http, reference, credentials, time.monotonic() + self._seconds)
        path = f"/manifests/{reference.version}"
        try:
            answer = asking.ask("HEAD", path)
            if answer.status == 404:
                # Only the text tells a registry from whoever else answers with 404.
                answer = asking.ask("GET", path)
        except _NoAnswerError as error:
            return Found(Existence.UNKNOWN, str(error))
        # Anybody says 200, a hotel's log-in page for example. A manifest has a type of its own.
        if answer.status == 200 and answer.headers.get("content-type", "").startswith("application/vnd."):
            return Found(Existence.EXISTS)
        if answer.status == 404 and _error_codes(answer) & _MISSING:
            return Found(Existence.MISSING, f"{reference.registry} has no {reference.repository} {reference.version}")
        return Found(Existence.UNKNOWN, _refusal(reference, answer))

    def tags(self, image: str, prefix: str = "", credentials: Credentials | None = None) -> list[str] | None:
        """Return the tags of an image's repository that begin with *prefix*, sorted; None where they cannot be known.

        A registry with pages has them in lexical order, and begins after the tag that it is given ("Listing Tags"). An
        older one gives all at once, in any order.
        """
        return _within(self._seconds, lambda: self._tags(image, prefix, credentials), None)

    def _tags(self, image: str, prefix: str, credentials: Credentials | None) -> list[str] | None:
        reference = parsed(image)
        if reference is None:
            return None
        asking = _Asking(self._http, reference, credentials, time.monotonic() + self._seconds)
        found: list[str] = []
        last = prefix
        try:
            for _page in range(MOST_PAGES):
                query = urlencode({"n": 1000, **({"last": last} if last else {})})
                answer = asking.ask("GET", f"/tags/list?{query}")
                page = _json(answer).get("tags") if answer.status == 200 else None
                if not isinstance(page, list):
                    return None
                tags = [tag for tag in page if isinstance(tag, str) and _TAG.fullmatch(tag)]
                found += [tag for tag in tags if tag.startswith(prefix)]
                if "link" not in answer.headers or not tags or not tags[-1].startswith(prefix):
                    return sorted(found)
                last = tags[-1]
        except _NoAnswerError:
            return None
        return None


def _within(seconds: float, look: Callable[[], T], late: T) -> T:
    """Return what *look* returns, or *late* where that takes too long: nothing else ends the search for a host's
    address."""
    found: list[T] = []
    thread = threading.Thread(target=lambda: found.append(look()), daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else late


class _NoAnswerError(Exception):
    """The registry, or who gives its tokens, cannot be asked."""


class _Asking:
    """The requests for one answer: they share a token and a deadline."""

    def __init__(self, http: Http, reference: Reference, credentials: Credentials | None, deadline: float) -> None:
        self._http, self._reference, self._credentials = http, reference, credentials
        self._deadline, self._login = deadline, dict[str, str]()

    def ask(self, method: str, path: str) -> Answer:
        """Ask the repository for something; log in where it asks for that.

        Raises:
            _NoAnswerError: no answer came.
        """
        url = f"{self._reference.url}{path}"
        answer = self._send(method, url, self._login)
        if answer.status == 401 and not self._login:
            self._login = self._log_in(answer.headers.get("www-authenticate", ""))
            answer = self._send(method, url, self._login)
        return answer

    def _log_in(self, challenge: str) -> dict[str, str]:
        """Return the header that a registry asks for: a token, which anybody gets for a public image, or a password."""
        kind, parameters = challenge.partition(" ")[0].lower(), dict(_PARAMETER.findall(challenge))
        if kind == "basic":
            return self._password()
        realm = parameters.get("realm", "")
        try:
            parts = urlsplit(realm)
        except ValueError:
            parts = urlsplit("")
        # A registry that is reached by https has no reason to send its clients elsewhere in the clear.
        if (
            kind != "bearer"
            or not parts.hostname
            or parts.scheme not in {"https", self._reference.url.partition(":")[0]}
        ):
            raise _NoAnswerError(f'{self._reference.registry} asks for a log-in that nobody knows: "{challenge[:80]}"')
        wanted = {"service": parameters.get("service", ""), "scope": f"repository:{self._reference.repository}:pull"}
        query = urlencode({name: value for name, value in wanted.items() if value})
        answer = self._send("GET", f"{realm}{'&' if parts.query else '?'}{query}", self._password())
        content = _json(answer)
        token = content.get("token") or content.get("access_token")
        if answer.status != 200 or not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise _NoAnswerError(
                f"{parts.hostname} gives no token for {self._reference.repository} (HTTP {answer.status})"
            )
        return {"Authorization": f"Bearer {Secret(token).reveal()}"}

    def _password(self) -> dict[str, str]:
        return basic_login(self._credentials.username, self._credentials.password.reveal()) if self._credentials else {}

    def _send(self, method: str, url: str, login: Mapping[str, str]) -> Answer:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise _NoAnswerError(f"{self._reference.registry} did not answer in time")
        try:
            return self._http.send(method, url, headers={"Accept": _MANIFESTS, **login}, seconds=left, largest=LARGEST)
        except HttpError as error:
            raise _NoAnswerError(f"{self._reference.registry} cannot be asked: {error.words}") from error


def _refusal(reference: Reference, answer: Answer) -> str:
    if answer.status in (401, 403):
        return f"{reference.registry} shows {reference.repository} only to accounts, or does not have it"
    return f"{reference.registry} answered with HTTP {answer.status}"


def _json(answer: Answer) -> Mapping[str, Any]:
    """Return an answer's object; an empty one where it is something else."""
    try:
        content = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _error_codes(answer: Answer) -> set[str]:
    errors = _json(answer).get("errors")
    return {str(one.get("code", "")) for one in errors if isinstance(one, dict)} if isinstance(errors, list) else set()
