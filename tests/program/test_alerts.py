"""The alarm as the program sees it: its secrets, its line in the status, and the Job that sends a test."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab_program import alarm
from lab_program.commands.alerts import test_job as job_of
from lab_program.stages.alerts import WORDS, Alerts, secret_problem

from tests.program.support.faked import Faked
from tests.program.support.secret_world import SecretWorld
from tests.support import program
from tests.support.alerts import judge
from tests.support.program import errors, lab_module

TOKEN = "tk_thatNobodySees0123456789"
WEBHOOK = "https://hooks.slack.com/services/T00000000/B00000000/thatNobodySees0123456789"


World = partial(SecretWorld, "alerts", frozenset({TOKEN, WEBHOOK}))


def stage(tmp_path: Path, world: SecretWorld, channel: str, text: str | None = None) -> Alerts:
    environment = {}
    if text is not None:
        file = tmp_path / "given"
        file.write_text(text, encoding="utf-8")
        environment["LAB_ALERTS_FILE"] = str(file)
    entry = "url" if channel in ("discord", "slack") else "token"
    settings = program.settings(alerts=channel, alerts_entry=entry, age_recipients=())
    console, limits = program.console(assume_yes=True), program.environment.Limits()
    return Alerts(lab_module.Lab(tmp_path, settings, limits, console, Faked(world), tmp_path, environment))


@pytest.mark.parametrize(
    ("channel", "text", "written"),
    [
        ("ntfy", f"token={TOKEN}\n", {"token": TOKEN}),
        ("ntfy", "token=\n", {"token": ""}),
        ("gotify", f"# mine\ntoken={TOKEN}\nmore=x\n", {"token": TOKEN}),
        ("slack", f"url={WEBHOOK}\n", {"url": WEBHOOK}),
    ],
)
def test_the_secret_comes_from_the_owners_file_into_the_cluster_alone(
    tmp_path: Path, channel: str, text: str, written: dict[str, str]
) -> None:
    world = World()
    made = stage(tmp_path, world, channel, text)
    made._ensure_secret(made.settings.alerts_entry)
    assert world.written == written
    said = "".join(call.line for call in made.lab.programs.calls)  # type: ignore[attr-defined]
    said += made.console.out.getvalue() + made.console.err.getvalue()  # type: ignore[attr-defined]
    assert TOKEN not in said and "thatNobodySees" not in said


@pytest.mark.parametrize(
    ("channel", "text", "said"),
    [
        ("gotify", "token=\n", "it is empty"),
        ("gotify", "url=https://gotify.lab\n", "no line token="),
        ("gotify", f"token=https://gotify.lab/{TOKEN}\n", "an address is no token"),
        ("slack", f"url=http://{WEBHOOK[8:]}\n", "begins with https://"),
        ("discord", f"url={WEBHOOK} x\n", "blanks"),
        ("matrix", "token=größer\n", "beyond ASCII"),
    ],
)
def test_what_cannot_be_the_secret_is_refused_and_not_shown(tmp_path: Path, channel: str, text: str, said: str) -> None:
    world = World()
    made = stage(tmp_path, world, channel, text)
    with pytest.raises(errors.Failure) as refused:
        made._ensure_secret(made.settings.alerts_entry)
    words = refused.value.what + refused.value.then
    assert said in words and "LAB_ALERTS_FILE" in words and not world.applied
    assert TOKEN not in words and "thatNobodySees" not in words


@pytest.mark.parametrize(
    ("there", "asks"), [({"token": TOKEN}, False), ({"token": ""}, True), ({"url": "x"}, True), (None, True)]
)
def test_a_secret_that_is_there_is_kept_and_without_a_terminal_a_missing_one_is_said(
    tmp_path: Path, there: dict[str, str] | None, asks: bool
) -> None:
    world = World(there)
    made = stage(tmp_path, world, "gotify")
    if asks:
        with pytest.raises(errors.Failure) as refused:
            made._ensure_secret("token")
        assert WORDS["gotify"] in refused.value.what and "token=…" in refused.value.then
    else:
        made._ensure_secret("token")
    assert not world.applied
    if there == {"token": ""}:
        stage(tmp_path, world, "ntfy")._ensure_secret("token")


@given(value=st.text(max_size=80))
def test_no_refusal_of_a_secret_shows_it(value: str) -> None:
    for channel in WORDS:
        found = secret_problem(channel, "url" if channel in ("discord", "slack") else "token", value)
        assert not found or len(value) < 4 or value not in found


def test_a_lab_without_an_alarm_has_no_line_and_nothing_to_do(tmp_path: Path) -> None:
    world = World()
    settings = program.settings(alerts="none", alerts_entry="")
    lab = lab_module.Lab(
        tmp_path, settings, program.environment.Limits(), program.console(), Faked(world), tmp_path, {}
    )
    Alerts(lab).run()
    assert list(alarm.status(lab)) == [] and not lab.programs.calls  # type: ignore[attr-defined]


NOW = 1_800_000_000.0


def state(*facts: judge.Fact, **more: Any) -> str:
    """Return what the alarm itself would write of a look."""
    found = judge.judge(judge.new_state(), judge.Look(facts, frozenset()), NOW - 600)
    return json.dumps(found | {"looked": NOW - 60, "unread": {}, "not_sent": ""} | more)


def bad(key: str, grace: int = 0) -> judge.Fact:
    return judge.Fact(key, judge.BAD, f"fault {key}", "why", grace)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it has not looked yet"),
        ("{broken", "it has not looked yet"),
        (state(), None),
        (state(bad("a/1", 9999)), None),
        (state(bad("a/1")), "1 open fault: fault a/1 (./lab alerts)"),
        (
            state(*(bad(f"a/{one}") for one in range(5))),
            "5 open faults: fault a/0; fault a/1; fault a/2 and 2 more (./lab alerts)",
        ),
        (state(not_sent="HTTP 503"), "its message was not sent: HTTP 503"),
        (state(looked=NOW - 3600), "it has not looked since"),
    ],
)
def test_the_status_has_one_line_of_what_the_alarm_wrote(text: str, said: str | None) -> None:
    what, problem = alarm.line(alarm.alarm_of(text), NOW)
    assert what.startswith("alarm")
    assert problem is None if said is None else problem is not None and said in problem


def test_the_open_faults_are_those_that_the_alarm_wrote_the_oldest_first() -> None:
    older = judge.Fact("gitlab/ready", judge.BAD, "GitLab is not ready", "down", 0, NOW - 9000)
    found = alarm.alarm_of(state(bad("a/1", 9999), older))
    assert [(one.title, one.text, one.told) for one in found.faults] == [
        ("GitLab is not ready", "down", True),
        ("fault a/1", "why", False),
    ]


def test_the_job_of_a_test_is_the_cronjobs_own_with_another_word() -> None:
    pod = {
        "containers": [{"name": "alerts", "command": ["python3", "-m", "lab_alerts"]}],
        "serviceAccountName": "alerts",
    }
    template = {"spec": {"backoffLimit": 0, "template": {"spec": pod}}}
    made = job_of(template, "gitlab", "abc")
    assert (
        made["spec"]["template"]["spec"]["containers"][0]["args"] == ["test", "abc"]
        and made["metadata"]["name"] == "alerts-test-abc"
    )
    assert "args" not in pod["containers"][0] and made["spec"]["template"]["spec"]["serviceAccountName"] == "alerts"
