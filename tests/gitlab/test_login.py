"""GitLab behind a provider of the owner's: what gitlab.rb makes of the answers, as Ruby reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.gitlab.support.rendered_labs import CHART, RenderedLab, recorded
from tests.support import gitlab_rb
from tests.support.cluster import Loader, helm

ISSUER = "https://auth.lab.example.com/application/o/gitlab/"
OIDC = {
    "gitlab_login": "oidc",
    "login_issuer": ISSUER,
    "login_client_id": "it's #{git}",
    "login_label": 'Home\'s "Authentik" #{x}',
}
SECRET = {"LOGIN_CLIENT_SECRET": "a 'secret' #{1 + 1}"}


def of(tmp_path: Path, answers: dict[str, Any], environment: dict[str, str] | None = None) -> dict[str, Any]:
    return recorded([RenderedLab(answers)], tmp_path, environment)[0]["gitlab_rails"]  # type: ignore[no-any-return]


def omniauth(rails: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in rails.items() if name.startswith("omniauth")}


def test_people_may_log_in_at_the_provider_once_its_secret_is_in_the_cluster(tmp_path: Path) -> None:
    (provider,) = of(tmp_path, {**OIDC, "https_port": 8443, "login_client_id": "git-lab"}, SECRET)["omniauth_providers"]
    assert (provider["name"], provider["label"], provider["args"]["issuer"]) == (
        "openid_connect",
        OIDC["login_label"],
        ISSUER,
    )
    assert provider["args"]["client_options"] == {
        "identifier": "git-lab",
        "secret": SECRET["LOGIN_CLIENT_SECRET"],
        "redirect_uri": "https://gitlab.lab.example.com:8443/users/auth/openid_connect/callback",
    }
    assert (provider["args"]["discovery"], provider["args"]["pkce"], provider["args"]["scope"]) == (
        True,
        True,
        ["openid", "profile", "email"],
    )
    for answers, environment in (
        (OIDC | {"login_client_id": "x"}, {}),
        ({}, SECRET),
        ({"gitlab_login": "password"}, SECRET),
    ):
        assert omniauth(of(tmp_path, answers, environment)) == {}, "passwords alone, as before"


@pytest.mark.parametrize(
    ("sign_up", "blocked"), [("closed", True), ("approval", True), ("as-set", True), ("open", False)]
)
def test_a_new_person_waits_for_approval_unless_everybody_may_make_an_account(
    tmp_path: Path, sign_up: str, blocked: bool
) -> None:
    rails = of(tmp_path, {**OIDC, "login_client_id": "x", "sign_up": sign_up}, SECRET)
    assert (rails["omniauth_allow_single_sign_on"], rails["omniauth_block_auto_created_users"]) == (
        ["openid_connect"],
        blocked,
    )


def test_an_account_is_taken_over_by_its_address_only_if_the_owner_says_so(tmp_path: Path) -> None:
    assert "omniauth_auto_link_user" not in of(tmp_path, {**OIDC, "login_client_id": "x"}, SECRET)
    assert of(tmp_path, {**OIDC, "login_client_id": "x", "login_link": True}, SECRET)["omniauth_auto_link_user"] == [
        "openid_connect"
    ]


def test_nothing_takes_the_password_away(tmp_path: Path) -> None:
    """Root's is the way back if the provider is gone: nobody is sent to it by themselves, and no password form is switched off."""
    rails = of(tmp_path, {**OIDC, "login_client_id": "x", "login_link": True}, SECRET)
    assert "omniauth_auto_sign_in_with_provider" not in rails and not [
        name for name in rails if "password" in name and "backup" not in name
    ]
    assert gitlab_rb.unknown_keys({"gitlab_rails": omniauth(rails)}) == []


def test_the_secret_reaches_the_pod_and_is_in_no_file() -> None:
    lab = RenderedLab({**OIDC, "login_client_id": "x"})
    (pod,) = [one["spec"]["template"]["spec"] for one in lab.of_kind("Deployment")]
    (found,) = [one for one in pod["containers"][0]["env"] if one["name"] == "LOGIN_CLIENT_SECRET"]
    assert found["valueFrom"]["secretKeyRef"] == {"name": "gitlab-login", "key": "client-secret", "optional": True}
    assert "LOGIN_CLIENT_SECRET" not in json.dumps(RenderedLab({}).values)


def test_an_application_asks_the_labs_own_sign_in_where_it_is() -> None:
    lab = RenderedLab({"sign_in": "gitlab", "app_namespace": "shops"})
    release = yaml.load(lab.text("apps/{% if lab.signs_in %}sign-in{% endif %}/helmrelease.yaml"), Loader)
    objects = list(helm(CHART, release["spec"]["values"], "sign-in", "shops"))
    (service,) = [one for one in objects if one["kind"] == "Service"]
    guarded = {
        "image": {"repository": "r/x", "tag": "1.0.0"},
        "services": [{"name": "http", "servicePort": 80}],
        "networkPolicy": {"enabled": True},
    }
    guarded["ingress"] = {"enabled": True, "signIn": {"enabled": True}, "hosts": [{"name": "x.lab"}]}
    (asked,) = [
        one["spec"]["forwardAuth"]["address"]
        for one in helm(CHART, guarded, "x", "shops")
        if "forwardAuth" in one.get("spec", {})
    ]
    assert (
        asked == f"http://{service['metadata']['name']}.shops.svc.cluster.local/"
        and service["spec"]["ports"][0]["port"] == 80
    )
    routes = [one for one in objects if one["kind"] == "Ingress"]
    paths = {path["path"] for route in routes for rule in route["spec"]["rules"] for path in rule["http"]["paths"]}
    assert paths == {"/oauth2"}, "what the proxy answers elsewhere is nobody's business"
