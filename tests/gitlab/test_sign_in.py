"""An application with a sign-in lets in who has logged in at GitLab and may come, and nobody else, whatever they send.

Traefik and oauth2-proxy are the real ones; the latter is an OpenID client built on go-oidc. `make cluster-test` builds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.gitlab.support.authority import Authority
from tests.gitlab.support.oidc_of_gitlab import Person
from tests.gitlab.support.sign_in_chain import DOMAIN, EVE, MIA, PORT, Chain, running, url_of
from tests.gitlab.support.traefik_cluster import Answer, ask
from tests.support.depth import with_the_clusters_programs

pytestmark = [
    pytest.mark.xdist_group("sign-in"),
    pytest.mark.skipif(not with_the_clusters_programs(), reason="make cluster-test builds oauth2-proxy, and runs this"),
]
# What says who somebody is, as applications read it. Some frameworks take an underscore for a hyphen.
NAMES = (
    "X-Auth-Request-User",
    "X-Auth-Request-Email",
    "X-Auth-Request-Groups",
    "X-Auth-Request-Preferred-Username",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Access-Token",
    "Remote-User",
    "Remote-Email",
    "X-Remote-User",
    "X-Remote-Groups",
    "X-WebAuth-User",
    "X_Auth_Request_User",
    "x_forwarded_user",
    "REMOTE_USER",
)
FORGED = "root-of-all"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Chain]:
    with running(tmp_path_factory.mktemp("sign-in"), authority) as found:
        yield found


def is_sent_to_log_in(chain: Chain, url: str, **headers: str) -> bool:
    answer = chain.browser().get(url, **headers)
    return answer.status == 302 and answer.headers["location"].startswith(
        f"https://gitlab.{DOMAIN}:{PORT}/oauth/authorize?"
    )


@pytest.mark.slow
def test_who_is_not_logged_in_is_sent_to_gitlab_and_the_application_is_not_asked(chain: Chain) -> None:
    answer = chain.browser().get(url_of("shop", "/cart?item=7"))
    asked = urlsplit(answer.headers["location"])
    query = parse_qs(asked.query)
    assert (answer.status, asked.netloc, answer.seen) == (302, f"gitlab.{DOMAIN}:{PORT}", {})
    assert query["redirect_uri"] == [url_of("sign-in", "/oauth2/callback")] and query["client_id"] == [
        chain.provider.client[0]
    ]
    ended, page = chain.browser(None).visit(url_of("shop"))
    assert urlsplit(ended).path == "/oauth/authorize" and page.seen == {"page": "log-in"}


def test_a_member_gets_in_where_they_wanted_to_go_and_the_application_knows_them(chain: Chain) -> None:
    browser = chain.browser(MIA)
    ended, page = browser.visit(url_of("shop", "/cart?item=7&back=%2Fhome"))
    assert ended == url_of("shop", "/cart?item=7&back=%2Fhome")
    headers = page.seen["headers"]
    assert (page.status, page.seen["name"], page.seen["path"]) == (200, "app", "/cart?item=7&back=%2Fhome")
    assert (headers["x-auth-request-user"], headers["x-auth-request-email"]) == ("mia", "mia@example.org")
    assert headers["x-auth-request-groups"].split(",") == MIA.groups
    assert browser.get(url_of("shop", "/more")).status == 200, "without another redirect"
    (cookie,) = [one for one in browser.jar if one.name == "__Secure-lab-sign-in"]
    assert cookie.secure and cookie.domain == f".{DOMAIN}" and cookie.has_nonstandard_attr("HttpOnly")


def test_a_stranger_is_refused_and_so_is_somebody_whose_address_nobody_has_checked(chain: Chain) -> None:
    """Also one of a group that is spelt nearly like it: GitLab's paths tell capitals apart in this claim."""
    for person in (EVE, Person("new"), Person("liar", ["homelab"], verified=False)):
        browser = chain.browser(person)
        ended, page = browser.visit(url_of("shop"))
        assert urlsplit(ended).path == "/oauth2/callback" and page.status in (403, 500) and page.seen == {}, (
            person
        )  # v7.15.5 says 500 of an unchecked address
        assert browser.get(url_of("shop")).status == 302
    assert chain.browser(EVE).visit(url_of("shop"))[1].status == 403


def test_an_application_may_be_for_fewer_people(chain: Chain) -> None:
    browser = chain.browser(MIA)
    assert browser.visit(url_of("shop"))[1].status == 200
    refused = browser.get(url_of("narrow"))
    assert (refused.status, refused.seen) == (403, {})
    both = chain.browser(Person("ann", ["homelab", "ops/inner"]))
    assert both.visit(url_of("narrow"))[1].seen["name"] == "app"
    assert both.get(url_of("shop")).status == 200, "one log-in is for all of them"


def test_forged_headers_open_nothing_and_name_nobody(chain: Chain) -> None:
    forged = dict.fromkeys(NAMES, FORGED)
    for more in (
        {},
        {
            "X-Forwarded-Host": f"sign-in.{DOMAIN}",
            "X-Forwarded-Uri": "/oauth2/static/x",
            "X-Forwarded-Method": "OPTIONS",
        },
    ):
        for path in (
            "/",
            "/oauth2/auth",
            "/oauth2/callback",
            "/ping",
            "/robots.txt",
            "//evil.example/",
            "/%2e%2e/ping",
        ):
            assert is_sent_to_log_in(chain, url_of("shop", path), **forged, **more), (path, more)
    assert is_sent_to_log_in(
        chain, url_of("shop"), Authorization="Bearer x", X_Forwarded_Proto="http", X_Original_URL="/ping"
    )
    browser = chain.browser(MIA)
    browser.visit(url_of("shop"))
    # ask() sends names as they are, underscores too.
    jar = "; ".join(f"{one.name}={one.value}" for one in browser.jar)
    answer = chain_ask(chain, "shop", {**forged, "Cookie": jar})
    assert answer.seen["headers"]["x-auth-request-user"] == "mia" and FORGED not in answer.seen["headers"].values()


def chain_ask(chain: Chain, name: str, headers: dict[str, str]) -> Answer:
    return ask(
        chain.cluster.exposed(PORT), f"{name}.{DOMAIN}", port=PORT, headers=headers, trusted=chain.cluster.authority.crt
    )


def test_a_cookie_that_was_changed_or_comes_from_elsewhere_is_none(chain: Chain) -> None:
    browser = chain.browser(MIA)
    browser.visit(url_of("shop"))
    (cookie,) = [one for one in browser.jar if one.name == "__Secure-lab-sign-in"]
    value = str(cookie.value)
    assert chain_ask(chain, "shop", {"Cookie": f"{cookie.name}={value}"}).status == 200
    middle = len(value) // 3
    for other in (
        value[:middle] + ("A" if value[middle] != "A" else "B") + value[middle + 1 :],
        value[:-12],
        "",
        f"{value}|1",
        "e30=|1|x",
    ):
        assert chain_ask(chain, "shop", {"Cookie": f"{cookie.name}={other}"}).status == 302, other


def test_a_token_that_another_key_signed_lets_nobody_in(chain: Chain) -> None:
    browser = chain.browser(MIA)
    chain.provider.forging = True
    ended, page = browser.visit(url_of("shop"))
    assert urlsplit(ended).path == "/oauth2/callback" and page.status >= 400 and page.seen == {}
    assert browser.get(url_of("shop")).status == 302


def test_the_sign_in_leads_back_to_hosts_of_the_lab_alone(chain: Chain) -> None:
    for evil in (
        "https://evil.example/",
        "//evil.example",
        f"https://evil-{DOMAIN}/",
        f"https://{DOMAIN}.evil.example/",
        "https:evil.example",
    ):
        ended, page = chain.browser(MIA).visit(url_of("sign-in", f"/oauth2/start?rd={evil}"))
        assert not re.search("evil", urlsplit(ended).netloc), evil
    ended, page = chain.browser(MIA).visit(url_of("sign-in", f"/oauth2/start?rd={url_of('shop', '/x')}"))
    assert ended == url_of("shop", "/x") and page.status == 200


def test_who_is_in_stays_in_while_gitlab_is_down(chain: Chain) -> None:
    browser = chain.browser(MIA)
    browser.visit(url_of("shop"))
    chain.provider.is_down = True
    assert browser.get(url_of("shop", "/again")).status == 200
    assert chain.browser(None).get(url_of("shop")).status == 302


def test_every_way_to_the_application_in_the_cluster_leads_over_traefik(chain: Chain) -> None:
    """What a pod could do is judged by the objects; tests/cluster/test_network.py has real rules between pods."""
    of_shop = [one for one in chain.objects if one["metadata"]["name"].startswith("shop")]
    assert {one["spec"].get("type", "ClusterIP") for one in of_shop if one["kind"] == "Service"} == {"ClusterIP"}
    (policy,) = [one for one in of_shop if one["kind"] == "NetworkPolicy"]
    callers = [peer for rule in policy["spec"]["ingress"] for peer in rule["from"]]
    labels = [peer["podSelector"]["matchLabels"] for peer in callers]
    assert labels == [{"app.kubernetes.io/instance": "shop"}, {"app.kubernetes.io/name": "traefik"}]
    (proxy,) = [one for one in chain.objects if (one["kind"], one["metadata"]["name"]) == ("NetworkPolicy", "sign-in")]
    labels = [peer["podSelector"]["matchLabels"] for rule in proxy["spec"]["ingress"] for peer in rule["from"]]
    assert labels == [{"app.kubernetes.io/instance": "sign-in"}, {"app.kubernetes.io/name": "traefik"}]


def test_traefik_has_nothing_to_complain_of(chain: Chain) -> None:
    assert chain.cluster.complaints() == []
