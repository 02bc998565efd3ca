"""What the cluster and GitLab answer, and which faults that is."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.support.alerts import cron, facts, judge

BAD, GOOD, UNCLEAR = judge.BAD, judge.GOOD, judge.UNCLEAR
NOW = facts.seconds("2026-11-28T12:00:00Z")
DAY = facts.DAY


def iso(days: float) -> str:
    return datetime.datetime.fromtimestamp(NOW + days * DAY, datetime.timezone.utc).isoformat().replace("+00:00", "Z")


def conditions(**found: tuple[str, str] | str) -> dict[str, Any]:
    made = []
    for kind, value in found.items():
        status, reason = value if isinstance(value, tuple) else (value, "")
        made.append(
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": f"{kind} is {status}",
                "lastTransitionTime": iso(-1),
            }
        )
    return {"conditions": made}


def flux(kind: str, ready: tuple[str, str] | str, **spec: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "metadata": {"namespace": "flux-system", "name": "x"},
        "spec": spec,
        "status": conditions(Ready=ready),
    }


@pytest.mark.parametrize(
    ("item", "ready", "state"),
    [
        (flux("Kustomization", "True"), True, GOOD),
        (flux("Kustomization", "False"), True, BAD),
        (flux("Kustomization", "Unknown"), True, UNCLEAR),
        (flux("Kustomization", ("False", "DependencyNotReady")), True, UNCLEAR),
        (flux("Kustomization", "False", suspend=True), True, GOOD),
        (flux("HelmRelease", "False"), False, BAD),
        (flux("GitRepository", "False"), True, BAD),
        (flux("GitRepository", "False"), False, UNCLEAR),
        (flux("ImageUpdateAutomation", "False"), False, UNCLEAR),
        ({"kind": "HelmRelease", "metadata": {"namespace": "flux-system", "name": "x"}}, True, UNCLEAR),
    ],
)
def test_flux_fails_if_it_says_so_and_nothing_that_is_told_already_is_in_the_way(
    item: dict[str, Any], ready: bool, state: str
) -> None:
    (found,) = facts.flux([item], gitlab_is_ready=ready, self_hosted=True, grace=300)
    assert (found.state, found.grace, found.key) == (state, 300, f"flux/{item['kind']}/flux-system/x")
    if state == BAD:
        assert found.text == "Ready is False"


def test_a_repository_elsewhere_fails_by_itself_when_gitlab_is_down() -> None:
    (found,) = facts.flux([flux("GitRepository", "False")], gitlab_is_ready=False, self_hosted=False, grace=0)
    assert found.state == BAD


@pytest.mark.parametrize(
    ("deployment", "state", "since"),
    [
        (None, BAD, None),
        ({"status": {"readyReplicas": 1}}, GOOD, None),
        ({"status": conditions(Available="False")}, BAD, NOW - DAY),
        ({"spec": {"replicas": 0}, "status": conditions(Available="True")}, BAD, None),
        ({"status": {}}, BAD, None),
    ],
)
def test_gitlab_is_down_since_its_deployment_says_so(
    deployment: dict[str, Any] | None, state: str, since: float | None
) -> None:
    found = facts.gitlab(deployment, 600)
    assert (found.state, found.since) == (state, since)


def cronjob(success: float | None, schedule: str = "0 3 * * *", made: float = -100) -> dict[str, Any]:
    status = {} if success is None else {"lastSuccessfulTime": iso(success)}
    return {
        "metadata": {"name": "gitlab-backup", "creationTimestamp": iso(made)},
        "spec": {"schedule": schedule},
        "status": status,
    }


def job(name: str, made: float, of: str = "gitlab-backup", **found: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": "gitlab", "creationTimestamp": iso(made), "ownerReferences": [{"name": of}]}
    return {"metadata": meta, "status": conditions(**found)}


def states(found: list[judge.Fact]) -> dict[str, str]:
    return {one.key: one.state for one in found}


@pytest.mark.parametrize(
    ("made", "jobs", "failed", "old"),
    [
        (cronjob(-0.5), [job("a", -0.5, Complete="True")], GOOD, GOOD),
        (cronjob(-1.5), [job("a", -1.5, Complete="True"), job("b", -0.5, Failed="True")], BAD, GOOD),
        (cronjob(-0.1), [job("b", -0.5, Failed="True"), job("c", -0.1, Complete="True")], GOOD, GOOD),
        (cronjob(-1.5), [job("a", -1.5, Complete="True"), job("b", -0.1)], GOOD, GOOD),
        (cronjob(-2.5), [job("c", -0.1, of="another", Failed="True")], UNCLEAR, BAD),
        (cronjob(None, made=-0.5), [], UNCLEAR, GOOD),
        (cronjob(None, made=-3), [], UNCLEAR, BAD),
        (cronjob(-5, "0 3 * * 0"), [], UNCLEAR, GOOD),
        (cronjob(-9, "0 3 * * 0"), [], UNCLEAR, BAD),
    ],
)
def test_a_backup_failed_or_is_too_old(made: dict[str, Any], jobs: list[dict[str, Any]], failed: str, old: str) -> None:
    assert states(facts.backup(made, jobs, NOW)) == {
        "backup/gitlab-backup/failed": failed,
        "backup/gitlab-backup/old": old,
    }


def test_a_lab_without_backups_has_no_fault_of_them() -> None:
    assert facts.backup(None, [], NOW) == []


@given(day=st.integers(1, 28), month=st.integers(1, 12), weekday=st.integers(0, 7))
@examples(max_examples=6, deadline=None)
def test_the_pause_of_a_schedule_is_that_of_its_days(day: int, month: int, weekday: int) -> None:
    assert cron.longest_pause(f"5 4 * * {weekday}") == 7 * DAY
    assert cron.longest_pause(f"5 4 {day} * *") == 31 * DAY
    assert cron.longest_pause(f"5 4 {day} {month} *") in (365 * DAY, 366 * DAY)
    # Cron takes either day, if both are given.
    assert cron.longest_pause(f"0 3 {day} * {weekday}") == 7 * DAY


@pytest.mark.parametrize(
    ("schedule", "days"),
    [
        ("* * * * *", 1),
        ("@daily", 1),
        ("@weekly", 7),
        ("@monthly", 31),
        ("0 3 * * mon-fri", 3),
        ("0 3 * jan,jul *", 154),
        ("0 3 29 2 *", 1461),
        ("0 3 */10 * *", 10),
        ("?", 1),
    ],
)
def test_the_pause_of_a_schedule_in_words(schedule: str, days: int) -> None:
    assert cron.longest_pause(schedule) == days * DAY


def figures(share: float, capacity: int = 100 * 2**30, **more: Any) -> dict[str, Any]:
    return {"capacityBytes": capacity, "availableBytes": int(capacity * (100 - share) / 100), **more}


def summary(disk: float, images: dict[str, Any] | None = None, **claims: dict[str, Any]) -> dict[str, Any]:
    volumes = [{**found, "pvcRef": {"namespace": "gitlab", "name": name}} for name, found in claims.items()]
    volumes.append({"name": "a ConfigMap", **figures(99, 77)})
    return {
        "node": {"fs": figures(disk), "runtime": {"imageFs": images or figures(disk)}},
        "pods": [{"volume": volumes}],
    }


def test_a_volume_above_its_limit_is_a_fault_and_one_just_below_ends_none() -> None:
    found = facts.volumes(
        {"n": summary(50, data=figures(86, 7 * 2**30), logs=figures(83, 8 * 2**30), config=figures(50, 2**30))}, 85
    )
    assert states(found) == {
        "volume/node/n": GOOD,
        "volume/claim/gitlab/data": BAD,
        "volume/claim/gitlab/logs": UNCLEAR,
        "volume/claim/gitlab/config": GOOD,
    }
    assert next(one for one in found if one.state == BAD).text == "86 % of 7 GiB are used, 1004 MiB are free"


def test_a_full_disk_that_many_volumes_lie_on_is_one_fault() -> None:
    found = facts.volumes({"n": summary(91, data=figures(91), logs=figures(91))}, 85)
    assert states(found) == {"volume/node/n": BAD}
    apart = facts.volumes({"n": summary(20, images=figures(90, 5 * 2**30))}, 85)
    assert states(apart) == {"volume/node/n": GOOD, "volume/images/n": BAD}


@given(share=st.floats(0, 100), limit=st.integers(10, 99))
def test_no_volume_is_both_full_and_well(share: float, limit: int) -> None:
    (found,) = facts.volumes({"n": {"node": {"fs": figures(share)}}}, limit)
    used = 100 * (1 - figures(share)["availableBytes"] / figures(share)["capacityBytes"])
    assert (found.state == BAD) == (used > limit) and (found.state == GOOD) == (used < limit * facts.WELL_BELOW)


@pytest.mark.parametrize(
    ("begins", "ends", "state"),
    [(-76, 14, BAD), (-75, 15, GOOD), (-90, -1, BAD), (-3, 3, GOOD), (-5, 1, BAD), (-365, 13.9, BAD), (-30, 17, GOOD)],
)
def test_a_certificate_ends_soon_measured_by_its_own_time(begins: float, ends: float, state: str) -> None:
    found = facts.served_certificates({"gitlab.lab": (NOW + begins * DAY, NOW + ends * DAY)}, NOW, 14)
    assert states(found) == {"certificate/gitlab.lab": state}
    item = {
        "metadata": {"namespace": "gitlab", "name": "tls"},
        "status": {"notBefore": iso(begins), "notAfter": iso(ends), **conditions(Ready="True")},
    }
    assert states(facts.certificates([item], NOW, 14)) == {
        "certificate/gitlab/tls": state,
        "certificate/gitlab/tls/ready": GOOD,
    }


def test_a_certificate_that_was_never_issued_is_told_after_an_hour() -> None:
    item = {"metadata": {"namespace": "apps", "name": "tls"}, "status": conditions(Ready="False")}
    (found,) = facts.certificates([item], NOW, 14)
    assert (found.key, found.state, found.grace) == ("certificate/apps/tls/ready", BAD, 3600)


def token(name: str, ends: float | None, revoked: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "expires_at": None if ends is None else iso(ends)[:10],
        "revoked": revoked,
        "active": not revoked,
    }


def test_a_token_ends_soon_unless_another_of_its_name_lasts() -> None:
    found = facts.tokens(
        [
            token("flux-status", 10),
            token("old", 2),
            token("old", 300),
            token("gone", 3, revoked=True),
            token("ended", -2),
            token("for ever", None),
            token("far", 16),
        ],
        "homelab/lab",
        NOW,
        14,
    )
    assert states(found) == {
        "token/flux-status": BAD,
        "token/old": GOOD,
        "token/ended": BAD,
        "token/for ever": GOOD,
        "token/far": GOOD,
    }


def test_a_runner_of_the_lab_is_offline_and_others_are_not_the_alarms() -> None:
    items = [
        {"id": 1, "description": "lab-lab", "status": "offline"},
        {"id": 2, "description": "lab-lab protected", "status": "online"},
        {"id": 3, "description": "lab-lab of one", "status": "never_contacted"},
        {"id": 4, "description": "lab-laboratory", "status": "offline"},
        {"id": 5, "description": "lab-lab of two", "status": "stale", "paused": True},
    ]
    found = facts.runners(items, "lab-lab")
    assert states(found) == {"runner/1": BAD, "runner/2": GOOD, "runner/3": BAD, "runner/5": GOOD}
    assert [one.grace for one in found] == [0, 0, 3600, 0]


@pytest.mark.parametrize(
    ("answer", "state", "said"),
    [
        (
            {"version": "19.3.1", "severity": "danger", "latest_stable_versions": ["19.4.0", "19.3.2", "19.2.5"]},
            BAD,
            "./lab upgrade 19.3.2",
        ),
        (
            {
                "version": "19.3.1",
                "severity": "danger",
                "critical_vulnerability": True,
                "latest_stable_versions": ["19.4.0"],
            },
            BAD,
            "critical vulnerabilities; ./lab upgrade 19.4.0",
        ),
        ({"version": "19.3.1", "severity": "danger"}, BAD, "19.3.1 has vulnerabilities"),
        ({"version": "19.3.1", "severity": "warning", "latest_stable_versions": ["19.4.0"]}, GOOD, ""),
        ({"version": "19.3.1", "severity": "success"}, GOOD, ""),
        ({"version": "19.3.0", "severity": "danger"}, UNCLEAR, ""),
        (None, UNCLEAR, ""),
    ],
)
def test_a_security_release_is_told_and_a_usual_one_is_not(
    answer: dict[str, Any] | None, state: str, said: str
) -> None:
    (found,) = facts.security("19.3.1", answer)
    assert found.state == state and said in found.text


def test_what_cannot_be_looked_at_is_told_after_an_hour_unless_gitlab_is_down() -> None:
    found = facts.blind(["flux", "token", "volume"], {"token": "no answer", "volume": "refused"}, frozenset({"token"}))
    assert states(found) == {"blind/flux": GOOD, "blind/token": UNCLEAR, "blind/volume": BAD}
    assert {one.grace for one in found} == {3600}


def test_no_module_of_the_alarm_needs_more_than_pythons_own() -> None:
    import sys

    from tests.support.alerts import FOLDER

    names = set()
    for file in Path(FOLDER, "lab_alerts").glob("*.py"):
        for line in file.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if words[:1] in (["import"], ["from"]) and not words[1].startswith("."):
                names.add(words[1].split(".")[0])
    assert names <= sys.stdlib_module_names | {"__future__"}
