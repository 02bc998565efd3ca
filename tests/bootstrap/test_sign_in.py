"""`./lab up` makes GitLab's OAuth application for the sign-in, keeps its secret where the sign-in reads it, and fixes either."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.bootstrap.support.lab_folder import write_settings
from tests.bootstrap.support.lab_world import World

HOST = "sign-in.localhost"
ANSWERS = {"sign_in": "gitlab", "sign_in_host": HOST, "sign_in_url": f"https://{HOST}"}
LAB_LOGIN = {"gitlab_login": "oidc"}


@pytest.fixture
def signed(make_world: Callable[..., World]) -> Iterator[World]:
    """Return a lab with a sign-in, as far as GitLab runs."""
    world = make_world(**ANSWERS)
    for stage in ("storage", "flux", "gitlab"):
        world.must_run("--only", stage)
    yield world


def kept(world: World) -> dict[str, str]:
    return world.cluster.secret(world.settings["app_namespace"], "sign-in")


@pytest.mark.slow
def test_the_application_is_made_once_and_replaced_where_it_does_not_fit(signed: World) -> None:
    first = signed.must_run("--only", "sign-in")
    (made,) = signed.gitlab.applications
    assert (
        made["confidential"]
        and made["callback_url"] == f"https://{HOST}/oauth2/callback"
        and made["scopes"] == "openid profile email"
    )
    assert (kept(signed)["client-id"], kept(signed)["client-secret"]) == (made["application_id"], made["secret"])
    assert len(kept(signed)["cookie-secret"]) >= 43
    for value in (kept(signed)["client-secret"], kept(signed)["cookie-secret"]):
        assert value not in first.text and not any(value in call.detail for call in signed.calls)
    assert "done" not in signed.must_run("--only", "sign-in").out and signed.gitlab.applications == [made]

    cookie = kept(signed)["cookie-secret"]
    signed.cluster.put(
        "Pod",
        signed.settings["app_namespace"],
        "sign-in-1",
        metadata={"labels": {"app.kubernetes.io/instance": "sign-in"}},
    )
    made["callback_url"] = "https://elsewhere.localhost/oauth2/callback"
    signed.must_run("--only", "sign-in")
    (anew,) = signed.gitlab.applications
    assert (
        anew["callback_url"] == f"https://{HOST}/oauth2/callback"
        and kept(signed)["client-secret"] == anew["secret"] != made["secret"]
    )
    assert kept(signed)["cookie-secret"] == cookie, "who is logged in stays so"
    assert signed.cluster.find("Pod", signed.settings["app_namespace"], "sign-in-1") is None, (
        "it reads its secret at its start"
    )

    del signed.cluster.objects["Secret", signed.settings["app_namespace"], "sign-in"]
    signed.must_run("--only", "sign-in")
    assert (
        len(signed.gitlab.applications) == 1
        and kept(signed)["client-id"] == signed.gitlab.applications[0]["application_id"]
    )


@pytest.mark.deep
def test_a_run_that_is_killed_between_the_two_leaves_none_too_many(signed: World) -> None:
    signed.kill_before = lambda call, _count: "sign-in" in call.detail and "apply" in call.detail
    signed.run("--only", "sign-in")
    signed.kill_before = None
    signed.must_run("--only", "sign-in")
    (made,) = signed.gitlab.applications
    assert kept(signed)["client-secret"] == made["secret"]


@pytest.mark.deep
def test_without_a_sign_in_nothing_is_made(signed: World) -> None:
    signed.settings.update(sign_in="none", sign_in_host="", sign_in_url="")
    write_settings(signed.lab, signed.settings)
    assert "sign_in is none" in signed.must_run("--only", "sign-in").out and signed.gitlab.applications == []


@pytest.mark.slow
def test_an_application_with_a_sign_in_has_to_be_one_that_the_cookie_reaches(signed: World) -> None:
    done = signed.run("shop", "--sign-in", "--host", "shop.example.com", command="new-app", yes=False)
    assert done.status == 1 and '"shop.example.com" is not below localhost' in done.err
    signed.must_run("shop", "--sign-in", command="new-app", yes=False)
    text = (signed.lab / "apps/shop/helmrelease.yaml").read_text()
    assert "      signIn:\n        enabled: true\n      hosts:\n" in text
    signed.settings.update(sign_in_host="")
    write_settings(signed.lab, signed.settings)
    done = signed.run("other", "--sign-in", command="new-app", yes=False)
    assert (
        done.status == 1
        and "./lab update --data sign_in=gitlab" in done.err
        and not (signed.lab / "apps/other").exists()
    )


@pytest.mark.slow
def test_the_providers_client_secret_comes_from_a_file_and_its_absence_stops_nothing(
    make_world: Callable[..., World],
) -> None:
    world = make_world(**LAB_LOGIN)
    for stage in ("storage", "flux"):
        world.must_run("--only", stage)
    run = world.must_run("--only", "gitlab")
    assert "LAB_LOGIN_FILE" in run.err and world.cluster.find("Secret", "gitlab", "gitlab-login") is None
    file = world.folder / "login.env"
    file.write_text("client-secret=it's a secret\n")
    run = world.must_run("--only", "gitlab", LAB_LOGIN_FILE=str(file))
    assert (
        world.cluster.secret("gitlab", "gitlab-login") == {"client-secret": "it's a secret"}
        and "it's a secret" not in run.text
    )
    assert "kubectl rollout restart deploy/gitlab -n gitlab" in run.err
    assert "rollout restart" not in world.must_run("--only", "gitlab").err
    file.write_text("secret=x\n")
    del world.cluster.objects["Secret", "gitlab", "gitlab-login"]
    run = world.run("--only", "gitlab", LAB_LOGIN_FILE=str(file))
    assert run.status == 1 and "lacks client-secret" in run.err
