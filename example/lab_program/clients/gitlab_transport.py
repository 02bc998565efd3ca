"""Requests to GitLab's REST API: which are repeated, which outcomes are uncertain, and what an answer says in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..errors import AnswerLostError, ClientError, Failure
from ..patience import Patience
from ..secret import Secret, as_json
from ..settings import Settings
from .http import IDEMPOTENT, Answer, Fault, Http, HttpError

# Answers that say "later".
LATER = (429, 500, 502, 503, 504)
# GitLab turned the request away before it did anything.
TURNED_AWAY = (429,)


class ApiError(ClientError):
    """No answer, or one that says "later".

    Args:
        status: the HTTP status; 0 where no answer came.
        carried_out: whether GitLab may have done what was asked.
    """

    def __init__(
        self, words: str, *, transient: bool, carried_out: bool, status: int = 0, retry_after: int | None = None
    ) -> None:
        super().__init__("GitLab", words, transient=transient, retry_after=retry_after)
        self.status, self.carried_out = status, carried_out


class Transport:
    """GitLab's API at one address.

    Attributes:
        token: an administrator's, which lives for this run only; none before the log-in.
    """

    def __init__(self, http: Http, patience: Patience, settings: Settings) -> None:
        self._http, self._patience, self._settings = http, patience, settings
        self.token: Secret | None = None

    def request(  # noqa: PLR0913 - all but what makes the request by name
        self,
        method: str,
        path: str,
        what: str,
        *accepted: int,
        body: Mapping[str, Any] | None = None,
        token: Secret | None = None,
        tries: int | None = None,
        seconds: int | None = None,
    ) -> Answer:
        """Send a request, and return its answer.

        Transient errors are tried again. A POST or a PATCH is not, unless it certainly was not carried out.

        Args:
            what: what is asked, to go on after "GitLab did not".
            accepted: the statuses that are right.
            token: the token of somebody else; an empty one for none.
        Raises:
            Failure: another status, or no answer.
            AnswerLostError: a POST or a PATCH may or may not have been carried out.
        """
        secret = self.token if token is None else token
        limit = self._patience.limits.http_seconds if seconds is None else seconds
        repeatable = method in IDEMPOTENT

        def attempt() -> Answer:
            try:
                return self._once(method, path, body, secret, limit)
            except ApiError as error:
                if not repeatable and error.transient and error.carried_out:
                    raise AnswerLostError(error.words, self._look(error.status)) from error
                raise

        try:
            answer = self._patience.retry(attempt, tries)
        except ApiError as error:
            raise Failure(f"GitLab did not {what}: {error.words}", self._look(error.status)) from error
        if answer.status not in accepted:
            raise Failure(f"GitLab did not {what}: {in_words(answer)}", self._look(answer.status))
        return answer

    def _once(
        self, method: str, path: str, body: Mapping[str, Any] | None, token: Secret | None, seconds: int
    ) -> Answer:
        headers = {"PRIVATE-TOKEN": token.reveal()} if token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        url = f"{self._settings.gitlab_url}/api/v4{path}"
        try:
            answer = self._http.send(
                method, url, headers=headers, body=as_json(body) if body is not None else b"", seconds=seconds
            )
        except HttpError as error:
            raise ApiError(self.in_words(error, seconds), transient=error.transient, carried_out=error.sent) from error
        if answer.status in LATER:
            raise ApiError(
                in_words(answer),
                transient=True,
                carried_out=answer.status not in TURNED_AWAY,
                status=answer.status,
                retry_after=_seconds(answer.headers.get("retry-after", "")),
            )
        if 200 <= answer.status < 300 and not _is_whole(answer.body):
            raise ApiError(
                f"the answer of {self._settings.gitlab_url} is not GitLab's", transient=True, carried_out=True
            )
        return answer

    def in_words(self, error: HttpError, seconds: float) -> str:
        """Say for a person why no answer came."""
        url, host = self._settings.gitlab_url, self._settings.gitlab_host
        return {
            Fault.DNS: f"{host} is not known to DNS here",
            Fault.REFUSED: f"nothing listens at {url}",
            Fault.BROKEN: f"the connection to {url} broke in the middle of an answer",
            Fault.TIMEOUT: f"no answer from {url} within {seconds:g} s",
            Fault.CERTIFICATE: f"the certificate of {url} is not trusted here ({error.words})",
            Fault.OTHER: error.words,
        }[error.fault]

    def _look(self, status: int) -> str:
        """Say what the owner should look at after such a status."""
        url, namespace = self._settings.gitlab_url, self._settings.gitlab_namespace
        known = {
            0: f"curl -v {url}; kubectl get pods -n {namespace}",
            401: "the token was refused: is the clock of this machine and of the cluster right?",
            403: f"the rights of the user root in {url}/admin/users, and the rate limits in its settings",
            404: f"whether it was renamed or deleted in {url}",
            429: f"GitLab's rate limits: {url}/admin/application_settings/network",
            **dict.fromkeys((400, 409, 422), f"what is in its way in {url}, as GitLab says above"),
        }
        logs = f"kubectl logs deploy/gitlab -n {namespace} --tail=50"
        return known.get(status, f"{logs}; kubectl exec deploy/gitlab -n {namespace} -- gitlab-ctl status")


def in_words(answer: Answer) -> str:
    """Return an answer's status, and GitLab's own message where there is one."""
    try:
        content = json.loads(answer.body)
    except ValueError:
        content = None
    said = (content.get("message") or content.get("error") or "") if isinstance(content, dict) else ""
    text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
    return f"HTTP {answer.status}{f', {text}' if text else ''}"


def _is_whole(body: bytes) -> bool:
    """Say whether a body is JSON or nothing: neither half an answer, nor some proxy's page.

    A bare number is JSON: the release of a state is answered with one.
    """
    if not body.strip():
        return True
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def _seconds(header: str) -> int | None:
    return int(header) if header.isdecimal() and len(header) < 7 else None
