"""Whatever fails, and how: a message with what to do, a non-zero exit, no damage; what passes is tried again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.bootstrap.support.faults import Fault
from tests.bootstrap.support.journeys import LONG, STAGES, Journey, alone
from tests.bootstrap.support.lab_world import Call, Run
from tests.support import program

# How GitLab can fail, and for how long an owner would wait: LAB_RETRIES is 3 here.
GITLAB_FAILURES: list[int | str] = [401, 403, 404, 409, 422, 429, 500, 502, 503, "reset", "lost", "half", "slow"]
KUBECTL_FAILURES = [
    "The connection to the server 127.0.0.1:6443 was refused - did you specify the right host or port?",
    "Unable to connect to the server: net/http: TLS handshake timeout",
    "error: You must be logged in to the server (Unauthorized)",
    'Error from server (Forbidden): secrets is forbidden: User "owner" cannot patch',
    "Error from server (Conflict): Operation cannot be fulfilled: the object has been modified",
    "Error from server (TooManyRequests): too many requests, please try again later",
    "Error from server (InternalError): an error on the server has prevented the request from succeeding",
    "lost",
]
SSH_FAILURES = [
    "ssh: connect to host gitlab-runner port 22: Connection timed out",
    "cloud-user@gitlab-runner: Permission denied (publickey).",
    "client_loop: send disconnect: Broken pipe",
    "lost",
]
FAILURES = {
    "api": GITLAB_FAILURES,
    "git": [401, 403, 500, "reset", "lost"],
    "kubectl": KUBECTL_FAILURES,
    "ssh": SSH_FAILURES,
    "helm": ["Error: context deadline exceeded", "lost"],
    "flux": ["✗ no Kubernetes cluster found", "lost"],
}
IMPATIENT = {
    "LAB_RETRIES": "3",
    "LAB_HTTP_SECONDS": "1",
    "LAB_WAIT_GITLAB_MINUTES": "0",
    "LAB_WAIT_FLUX_MINUTES": "0",
    "LAB_WAIT_RUNNER_MINUTES": "0",
    "LAB_WAIT_VERIFY_MINUTES": "0",
}


def distinct(calls: list[Call]) -> list[Call]:
    """Each kind of call once, in their order."""
    seen, found = set(), []
    for call in calls:
        if call.source in FAILURES and (call.source, call.detail) not in seen:
            seen.add((call.source, call.detail))
            found.append(call)
    return found


def scenarios(journey: Journey, stage: str) -> Iterator[tuple[Call, int | str]]:
    """Every call of a stage with every way to fail; without LONG a few, chosen so that each way occurs."""
    calls = distinct(journey.calls[stage])
    if LONG:
        yield from ((call, kind) for call in calls for kind in FAILURES[call.source])
        return
    for number in CHOSEN.get(stage, ()):
        call = calls[number % len(calls)]
        kinds = FAILURES[call.source]
        yield call, kinds[(number + STAGES.index(stage)) % len(kinds)]


# Without LONG: calls of each stage, by their number.
CHOSEN = {"gitlab": (9,), "groups": (8,), "registry": (5,), "sync": (12,), "runner": (6,)}


def check_message(run: Run, where: object) -> None:
    """What happened, and what to do; never an error that nobody expected."""
    assert "unexpected error" not in run.err, (where, run.text)
    assert "Traceback" not in run.err, (where, run.text)
    if run.status != 0:
        assert run.status == 1, (where, run.text)
        assert re.search(r"^ {3}failed \S", run.err, re.MULTILINE) and re.search(
            r"^ {3}then {3}\S", run.err, re.MULTILINE
        ), (
            where,
            run.text,
        )


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.deep(keep=4)
def test_a_failure_that_stays_ends_in_a_message_and_does_no_damage(journey: Journey, stage: str) -> None:
    for call, kind in scenarios(journey, stage):
        where = (stage, call, kind)
        world = journey.to(stage)
        world.faults = [Fault(call.source, re.escape(call.detail) + "$", kind)]
        patient = {} if kind != "slow" else {"LAB_RETRIES": "1"}
        run = world.run(*alone(stage), **IMPATIENT | patient)
        check_message(run, where)
        world.faults = []
        world.errors = [e for e in world.errors if "is missing" not in e]
        again = world.run(*alone(stage))
        assert again.status == 0 and not world.errors, (where, world.errors, run.text, again.text)
        assert world.summary() == journey.after[stage], where


PASSING = [
    (stage, request, kind)
    for stage, request in [
        ("registry", "POST /groups/.*/deploy_tokens"),
        ("runner", "POST /user/runners"),
        ("sync", "POST /projects/.*/access_tokens"),
        ("groups", "POST /projects$"),
        ("groups", "POST .*/variables"),
        ("sync", "GET /projects/.*/deploy_keys"),
        ("sync", "PUT /application/settings"),
        ("sync", "PATCH /projects/.*/protected_branches"),
    ]
    for kind in (429, 500, 502, "reset", "lost", "half")
]
# Without LONG: an answer lost after a token was made or a key let in, and one of each other way to fail.
TELLING = [PASSING[n] for n in (4, 9, 14, 46)]


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize(("stage", "request_", "kind"), PASSING if LONG else TELLING)
def test_a_failure_that_passes_is_waited_for_and_leaves_nothing_twice(
    journey: Journey, stage: str, request_: str, kind: int | str
) -> None:
    world = journey.to(stage)
    fault = Fault("api", request_, kind, times=1, retry_after="0")
    world.faults = [fault]
    run = world.run(*alone(stage))
    assert run.status == 0 and not world.errors, (run.text, world.errors)
    assert fault.hits == 1 and "trying again" in run.out
    assert world.summary() == journey.after[stage]


REFUSED = "The connection to the server 127.0.0.1:6443 was refused - did you specify the right host or port?"


@pytest.mark.parametrize(
    ("stage", "source", "pattern", "kind"),
    [
        ("registry", "kubectl", "get secret regcred", REFUSED),
        ("flux", "kubectl", "get deployments", REFUSED),
        ("sync", "kubectl", "get pods --namespace gitlab", REFUSED),
        ("gitlab", "helm", "--install", "Error: Kubernetes cluster unreachable: dial tcp 10.0.0.1:6443: i/o timeout"),
    ],
)
@pytest.mark.deep(keep=2)
def test_a_second_try_is_told_to_the_owner_and_stays_out_of_what_was_asked(
    journey: Journey, stage: str, source: str, pattern: str, kind: str
) -> None:
    world = journey.to(stage)
    world.faults = [Fault(source, pattern, kind, times=1)]
    run = world.must_run("--only", stage)
    assert "trying again" in run.text
    assert world.summary() == journey.after[stage]


def test_a_gitlab_that_has_not_read_its_new_settings_yet_is_waited_for(journey: Journey) -> None:
    """Its processes keep the settings for a minute: one that has not heard yet refuses the private address."""
    world = journey.to("sync")
    world.faults = [Fault("api", "POST .*/hooks", 422, times=2)]
    run = world.must_run("--only", "sync")
    assert "GitLab does not know yet that it may call Flux (HTTP 422" in run.out
    assert world.summary() == journey.after["sync"]


@pytest.fixture
def api(journey: Journey) -> Callable[..., program.gitlab_transport.Transport]:
    """Return a function that makes the program's own client of a GitLab that is up, with a valid token."""
    world = journey.to("registry")

    def make(**limits: Any) -> program.gitlab_transport.Transport:
        waited: list[float] = []
        patience = program.patience.Patience(
            program.environment.Limits(**({"retry_seconds": 0} | limits)), program.console(), sleep=waited.append
        )
        settings = program.settings(gitlab_url=world.settings["gitlab_url"], gitlab_host=world.settings["gitlab_host"])
        transport = program.gitlab_transport.Transport(program.http.Http(None, {}), patience, settings)
        transport.token = program.secret.Secret(world.gitlab.new_pat("test"))
        transport.waited = waited  # type: ignore[attr-defined]
        return transport

    return make


TOKENS = "/groups/HomeLAB/deploy_tokens"


def test_retry_after_is_obeyed_and_tries_have_an_end(journey: Journey, api: Callable[..., Any]) -> None:
    world, transport = journey.world, api()
    world.faults = [Fault("api", "GET /groups", 429, retry_after="7", times=1)]
    assert transport.request("GET", TOKENS, "list tokens", 200).status == 200 and transport.waited == [7]
    world.faults = [Fault("api", "GET /groups", 503)]
    with pytest.raises(program.errors.Failure) as failed:
        api(retries=4).request("GET", TOKENS, "list tokens", 200)
    assert world.faults[0].hits == 4
    assert failed.value.what == "GitLab did not list tokens: HTTP 503, 503 by order"


def test_the_pauses_between_tries_grow_up_to_a_minute(journey: Journey, api: Callable[..., Any]) -> None:
    transport = api(retries=9, retry_seconds=1)
    journey.world.faults = [Fault("api", "GET /groups", 500)]
    with pytest.raises(program.errors.Failure):
        transport.request("GET", TOKENS, "list tokens", 200)
    assert transport.waited == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize(
    ("method", "kind"),
    [("GET", "half"), ("PUT", "reset"), ("DELETE", 500), ("GET", 429), ("PUT", 503), ("DELETE", "lost")],
)
def test_what_may_be_sent_twice_is_sent_again(
    journey: Journey, api: Callable[..., Any], method: str, kind: int | str
) -> None:
    paths = {"GET": "/application/settings", "PUT": "/application/settings", "DELETE": "/groups/HomeLAB/variables/NONE"}
    body = {"outbound_local_requests_whitelist": []} if method == "PUT" else None
    journey.world.faults = [Fault("api", re.escape(f"{method} {paths[method]}"), kind, times=1)]
    transport = api()
    assert transport.request(method, paths[method], "do it", 200, 404, body=body).status in (200, 404)
    assert journey.world.faults[0].hits == 1 and len(transport.waited) == 1


@pytest.mark.parametrize("kind", [500, 502, "reset", "lost", "half"])
def test_a_request_that_may_not_be_sent_twice_leads_to_another_look(
    journey: Journey, api: Callable[..., Any], kind: int | str
) -> None:
    journey.world.faults = [Fault("api", "POST", kind, times=1)]
    transport = api()
    with pytest.raises(program.errors.AnswerLostError):
        transport.request("POST", "/user/runners", "make a runner", 201, body={"runner_type": "instance_type"})
    assert transport.waited == [], "it was sent once"


@pytest.mark.parametrize("kind", [429])
def test_a_request_that_was_turned_away_is_sent_again(journey: Journey, api: Callable[..., Any], kind: int) -> None:
    journey.world.faults = [Fault("api", "POST", kind, times=1)]
    transport = api()
    made = transport.request("POST", "/user/runners", "make a runner", 201, body={"runner_type": "instance_type"})
    assert made.status == 201 and len(transport.waited) == 1


def test_a_list_of_several_pages_is_read_to_its_end(journey: Journey) -> None:
    """Six groups' worth of strangers' tokens, hooks and runners, two to a page."""
    for stage in ("registry", "sync", "runner") if LONG else ("registry",):
        world = journey.to(stage)
        gitlab = world.gitlab
        gitlab.page_size = 2
        group, project = gitlab.groups[0]["id"], gitlab.project("HomeLAB/homelab")
        for number in range(5):
            gitlab.deploy_tokens.append(
                {
                    "id": 900 + number,
                    "group": group,
                    "name": f"somebody's {number}",
                    "username": f"u{number}",
                    "token": f"t{number}",
                    "scopes": ["read_registry"],
                    "expires_at": None,
                    "revoked": False,
                    "expired": False,
                }
            )
            gitlab.runners.append(
                {
                    "id": 900 + number,
                    "description": f"somebody's {number}",
                    "runner_type": "instance_type",
                    "paused": False,
                    "status": "online",
                    "online": True,
                    "token": f"r{number}",
                }
            )
            assert project is not None
            gitlab.hooks.append(
                {
                    "id": 900 + number,
                    "project": project["id"],
                    "url": f"http://elsewhere/{number}",
                    "token": None,
                    "push_events": True,
                    "enable_ssl_verification": True,
                }
            )
        world.must_run("--only", stage)
        world.changes.clear()
        again = world.must_run("--only", stage)
        assert "done" not in again.out and len(world.changes) <= 2, "what stands on a later page is found"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://gitlab.localhost:1", "nothing listens at http://gitlab.localhost:1"),
        ("http://gitlab.nowhere.invalid", "gitlab.nowhere.invalid is not known to DNS here"),
    ],
)
def test_an_address_without_gitlab_is_named(url: str, words: str) -> None:
    patience = program.patience.Patience(program.environment.Limits(retries=2), program.console(), sleep=lambda _: None)
    settings = program.settings(gitlab_url=url, gitlab_host=url.split("/")[2].split(":", maxsplit=1)[0])
    transport = program.gitlab_transport.Transport(program.http.Http(None, {}), patience, settings)
    with pytest.raises(program.errors.Failure) as failed:
        transport.request("GET", "/projects", "list projects", 200)
    assert words in failed.value.what and failed.value.look
