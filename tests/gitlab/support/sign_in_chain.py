"""The whole way of a sign-in: a browser, a real Traefik, the real oauth2-proxy with its release's arguments, and GitLab's stand-in."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urljoin, urlsplit

import yaml

from tests.cluster.paths import BIN
from tests.gitlab.support.address_book import AddressBook
from tests.gitlab.support.authority import Authority
from tests.gitlab.support.oidc_of_gitlab import OidcOfGitlab, Person
from tests.gitlab.support.rendered_labs import CHART, Object, RenderedLab
from tests.gitlab.support.stand_in_pod import WebStub
from tests.gitlab.support.traefik_cluster import Address, Answer, TraefikCluster, ask
from tests.support.cluster import Loader, helm, merge
from tests.support.loopback import address, listens, wait_for
from tests.support.program import new_app, settings_module

PROGRAM = BIN / "oauth2-proxy"
RELEASE = "apps/{% if lab.signs_in %}sign-in{% endif %}/helmrelease.yaml"
DOMAIN = "lab.our-home.net"
PORT = 8443
ANSWERS = {
    "base_domain": DOMAIN,
    "https_port": PORT,
    "private_ca": True,
    "tls_source": "cert-manager",
    "cluster_issuer": "home-ca",
    "sign_in": "gitlab",
    "sign_in_groups": ["homelab", "Friends/web"],
}
APP_PORT, PROXY_PORT = 8080, 4180
MIA, EVE = Person("mia", ["homelab", "homelab/inner"]), Person("eve", ["strangers", "Homelab", "homelab-not"])


class Browser:
    """Keeps cookies as browsers do, and follows redirects on demand."""

    def __init__(self, cluster: TraefikCluster) -> None:
        self._cluster = cluster
        self.jar = CookieJar(DefaultCookiePolicy(rfc2965=False))

    def get(self, url: str, **headers: str) -> Answer:
        """Ask for a page, and keep the cookies of the answer. An underscore in a header's name stands for a hyphen."""
        request = urllib.request.Request(url)
        self.jar.add_cookie_header(request)
        parts = urlsplit(url)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent |= {"Cookie": cast("str", request.get_header("Cookie"))} if request.has_header("Cookie") else {}
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        answer = ask(
            self._cluster.exposed(PORT),
            cast("str", parts.hostname),
            path,
            port=parts.port,
            headers=sent,
            trusted=self._cluster.authority.crt,
        )
        message = Message()
        for name, value in answer.sent:
            message[name] = value
        self.jar.extract_cookies(cast("Any", SimpleNamespace(info=lambda: message)), request)
        return answer

    def visit(self, url: str) -> tuple[str, Answer]:
        """Follow redirects, and return where they end."""
        for _ in range(10):
            answer = self.get(url)
            if answer.status not in (301, 302, 303, 307, 308):
                return url, answer
            url = urljoin(url, answer.headers["location"])
        raise AssertionError(f"redirects without an end: {url}")


class Chain:
    """A running sign-in.

    Attributes:
        app: what the applications are served by; narrow asks for the group ops as well.
        seen: the paths that an application was asked for.
    """

    def __init__(self, cluster: TraefikCluster, provider: OidcOfGitlab, objects: list[Object], proxy: Address) -> None:
        self.cluster, self.provider, self.objects, self.proxy = cluster, provider, objects, proxy

    def browser(self, person: Person | None = None) -> Browser:
        """Return a new browser, whose person is logged in at GitLab."""
        self.provider.person, self.provider.forging, self.provider.is_down = person, False, False
        return Browser(self.cluster)


def url_of(name: str, path: str = "/") -> str:
    return f"https://{name}.{DOMAIN}:{PORT}{path}"


def application(lab: RenderedLab, name: str, ask_at: Address, **changes: Any) -> list[Object]:
    """Return the objects of an application that `./lab new-app NAME --sign-in` adds, with another way to the sign-in.

    Its own is a name of the cluster's DNS, which Traefik does not have here.
    """
    settings = settings_module.Settings.made_from(json.loads(lab.text("lab_program/settings.json")))
    app = new_app.Application(name, f"homelab/{name}", f"{name}.{DOMAIN}", str(APP_PORT), "", "128Mi", sign_in=True)
    values = yaml.load(app.helm_release(settings), Loader)["spec"]["values"]
    there = {"ingress": {"signIn": {"address": "http://{}:{}".format(*ask_at)}}}
    return helm(CHART, merge(merge(values, there), changes), name, settings.app_namespace)


def arguments(release: Object, proxy: Address, authority: Path) -> list[str]:
    """Return the program's arguments as its release has them, at another address and with the authority's file where it lies here."""
    found = []
    for one in release["spec"]["values"]["args"]:
        name, _, value = one.partition("=")
        value = {"--http-address": "{}:{}".format(*proxy), "--provider-ca-file": str(authority)}.get(name, value)
        found.append(f"{name}={value}")
    return found


@contextmanager
def running(folder: Path, authority: Authority) -> Iterator[Chain]:
    """Run all of it."""
    lab = RenderedLab(ANSWERS, trusted=["127.0.0.0/8"])
    release = yaml.load(lab.text(RELEASE), Loader)
    proxy = (address(), PROXY_PORT)
    client = (secrets.token_hex(32), f"gloas-{secrets.token_hex(32)}")
    provider = OidcOfGitlab(
        f"https://{lab.answers['gitlab_host']}:{PORT}", client, url_of("sign-in", "/oauth2/callback")
    )
    app, registry = WebStub("app"), WebStub("registry")
    objects = [*lab.objects, *helm(CHART, release["spec"]["values"], "sign-in", lab.answers["app_namespace"])]
    for name, groups in (("shop", []), ("narrow", ["ops", "ops/inner"])):
        objects += application(lab, name, proxy, ingress={"signIn": {"groups": groups}})
    rb = {
        lab.answers["http_port"]: provider.address,
        lab.answers["registry_port"]: registry.address,
        22: registry.address,
    }
    pod = {**rb, PROXY_PORT: proxy, APP_PORT: app.address}
    log = (folder / "oauth2-proxy.log").open("wb")
    with (
        TraefikCluster(folder / "traefik", objects, lab.traefik, pod, authority) as cluster,
        AddressBook(lambda _h, _p: cluster.exposed(PORT)) as book,
    ):
        environment = {
            "PATH": os.environ["PATH"],
            "HTTPS_PROXY": book.url,
            "NO_PROXY": "",
            "OAUTH2_PROXY_CLIENT_ID": client[0],
            "OAUTH2_PROXY_CLIENT_SECRET": client[1],
            "OAUTH2_PROXY_COOKIE_SECRET": secrets.token_urlsafe(32),
        }
        command = [str(PROGRAM), *arguments(release, proxy, authority.crt)]
        with subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT) as process:
            try:
                # GitLab is down: it has to start without it.
                provider.is_down = True
                wait_for(f"oauth2-proxy (see {log.name})", lambda: process.poll() is not None or listens(*proxy))
                assert process.poll() is None, Path(log.name).read_text()
                yield Chain(cluster, provider, objects, proxy)
            finally:
                process.kill()
    for server in (provider, app, registry):
        server.close()
    log.close()
