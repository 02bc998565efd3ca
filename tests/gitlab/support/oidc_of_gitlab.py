"""GitLab as an OpenID provider, as far as a client meets it: discovery, keys, log-in, tokens, and who somebody is.

The paths and claims are GitLab's (docs.gitlab.com/integration/openid_connect_provider/); the tokens are made and signed by joserfc. What
this cannot show: GitLab's own pages, its consent screen, and how it finds a person's groups.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.support.http_server import Handler, HttpServer


@dataclass
class Person:
    """Somebody with an account: their groups are full paths, as GitLab's claim has them."""

    name: str
    groups: list[str] = field(default_factory=list)
    verified: bool = True

    @property
    def email(self) -> str:
        return f"{self.name}@example.org"


class OidcOfGitlab:
    """A provider on a port of 127.0.0.1, for one client.

    Args:
        issuer: its public address.
        client: the client's ID and secret.
        callback: the one address that it leads back to.

    Attributes:
        person: who is logged in at GitLab in every browser; nobody: the log-in page.
        forging: whether it signs with a key that it does not publish.
        is_down: whether it answers 502 to everything.
    """

    def __init__(self, issuer: str, client: tuple[str, str], callback: str) -> None:
        self.issuer, self.client, self.callback = issuer, client, callback
        self.person: Person | None = None
        self.forging = self.is_down = False
        self._key, self._other = (
            RSAKey.generate_key(2048, {"kid": "lab", "use": "sig", "alg": "RS256"}) for _ in range(2)
        )
        self._codes: dict[str, tuple[Person, str, str]] = {}
        self._tokens: dict[str, Person] = {}
        outer = self

        class Provider(Handler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                query = {key: values[0] for key, values in parse_qs(url.query).items()}
                outer._answer(self, url.path, query, {})

            def do_POST(self) -> None:
                form = {key: values[0] for key, values in parse_qs(self.body().decode()).items()}
                outer._answer(self, urlsplit(self.path).path, {}, form)

        self._server = HttpServer(Provider)
        self.address = self._server.address

    def close(self) -> None:
        self._server.stop()

    def _answer(self, request: Handler, path: str, query: dict[str, str], form: dict[str, str]) -> None:
        pages = {
            "/.well-known/openid-configuration": lambda: (200, self._discovery(), ""),
            "/oauth/discovery/keys": lambda: (200, {"keys": [self._key.as_dict(private=False)]}, ""),
            "/oauth/authorize": lambda: self._authorize(query),
            "/oauth/token": lambda: self._token(form, request.headers.get("Authorization", "")),
            "/oauth/userinfo": lambda: self._userinfo(request.headers.get("Authorization", "")),
        }
        status, body, location = (502, {}, "") if self.is_down else pages.get(path, lambda: (404, {}, ""))()
        request.reply_json(status, body, {"Location": location} if location else {})

    def _discovery(self) -> dict[str, Any]:
        ends = {"authorization": "authorize", "token": "token", "userinfo": "userinfo"}
        return {
            "issuer": self.issuer,
            "jwks_uri": f"{self.issuer}/oauth/discovery/keys",
            "id_token_signing_alg_values_supported": ["RS256"],
            **{f"{name}_endpoint": f"{self.issuer}/oauth/{path}" for name, path in ends.items()},
        }

    def _authorize(self, query: dict[str, str]) -> tuple[int, Any, str]:
        # With a callback that is not the client's, nobody is sent anywhere.
        if (query.get("client_id"), query.get("redirect_uri")) != (self.client[0], self.callback):
            return 400, {"error": "invalid_client"}, ""
        if query.get("response_type") != "code" or set(query.get("scope", "").split()) != {
            "openid",
            "profile",
            "email",
        }:
            return 400, {"error": "invalid_scope"}, ""
        if query.get("code_challenge_method") != "S256" or self.person is None:
            return (400, {"error": "no PKCE"}, "") if self.person else (200, {"page": "log-in"}, "")
        code = secrets.token_hex(16)
        self._codes[code] = (self.person, query["code_challenge"], query.get("nonce", ""))
        return 302, {}, f"{self.callback}?{urlencode({'code': code, 'state': query['state']})}"

    def _token(self, form: dict[str, str], authorization: str) -> tuple[int, Any, str]:
        given = (form.get("client_id", ""), form.get("client_secret", ""))
        if authorization.startswith("Basic "):
            user, _, password = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
            given = (unquote(user), unquote(password))
        if given != self.client:
            return 401, {"error": "invalid_client"}, ""
        # A code is good for one time, and for who began.
        person, challenge, nonce = self._codes.pop(form.get("code", ""), (None, "", ""))
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if (
            person is None
            or base64.urlsafe_b64encode(digest).decode().rstrip("=") != challenge
            or form.get("redirect_uri") != self.callback
        ):
            return 400, {"error": "invalid_grant"}, ""
        now, token = int(time.time()), secrets.token_hex(16)
        self._tokens[token] = person
        claims = {
            "iss": self.issuer,
            "aud": self.client[0],
            "sub": person.name,
            "iat": now,
            "exp": now + 120,
            "auth_time": now,
        }
        claims |= {"nonce": nonce} if nonce else {}
        claims |= {"email": person.email, "email_verified": person.verified, "groups_direct": person.groups}
        signed = jwt.encode({"alg": "RS256", "kid": "lab"}, claims, self._other if self.forging else self._key)
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": 7200, "id_token": signed}, ""

    def _userinfo(self, authorization: str) -> tuple[int, Any, str]:
        person = self._tokens.get(authorization.removeprefix("Bearer "))
        if person is None:
            return 401, {"error": "invalid_token"}, ""
        known = {"sub": person.name, "name": person.name, "nickname": person.name, "preferred_username": person.name}
        return 200, {**known, "email": person.email, "email_verified": person.verified, "groups": person.groups}, ""
