"""What a lab has of the alarm: settings that the program reads, a pod without privileges, and an account without rights to spare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from extensions.images import unsettled
from tests.support.alerts import FOLDER, channels, judge, mail, settings
from tests.support.cluster import Lab

CHANNELS = ["email", "ntfy", "gotify", "discord", "slack", "matrix"]
MESSAGE = judge.Message("1.2", "lab: a fault", "FAULT a fault: why")
# What each channel adds to what every alarm has.
OWN = {"email": {"mail_to", "smtp"}, "ntfy": {"url", "topic"}, "gotify": {"url"}, "matrix": {"url", "room"}}
# Reading these would be reading everything, or running it.
FORBIDDEN = {"*", "secrets", "pods/exec", "nodes/proxy", "serviceaccounts/token", "pods", "roles", "rolebindings"}


def written(lab: Lab) -> dict[str, Any]:
    return dict(json.loads((lab.path / "apps/alerts/settings.json").read_text(encoding="utf-8")))


def cronjob(lab: Lab) -> dict[str, Any]:
    (found,) = [one for one in lab.of_kind("CronJob") if one["metadata"]["name"] == "alerts"]
    return dict(found["spec"]["jobTemplate"]["spec"]["template"]["spec"])


@pytest.mark.labs(alerts=CHANNELS)
def test_the_program_can_write_a_message_by_the_settings_of_the_lab(lab: Lab) -> None:
    found, channel = written(lab), lab.answers["alerts"]
    assert set(found) == set(settings(channel)) | OWN.get(channel, set())
    assert found["limits"] == {"gitlab_minutes": 10, "flux_minutes": 5, "volume_percent": 85, "days": 14}
    if channel == "email":
        letter = mail.letter(found, MESSAGE, 0)
        assert letter["To"] == ", ".join(lab.answers["alerts_mail_to"]) and str(letter["Subject"]) == "lab: a fault"
        assert found["smtp"]["host"] == lab.answers["smtp_host"] and found["smtp"]["port"] == lab.answers["smtp_port"]
        assert found["smtp"]["verify"] == (
            lab.answers["smtp_security"] != "none" and lab.answers.get("smtp_verify", True)
        )
    else:
        held = {"token": "t", "url": "https://hooks.example/x"}
        request = channels.request(found, held, MESSAGE)
        assert request.url.startswith(lab.answers.get("alerts_url", held["url"]))


@pytest.mark.labs(alerts=CHANNELS)
def test_the_pod_has_no_privilege_and_only_the_secrets_of_its_channel(lab: Lab) -> None:
    pod = cronjob(lab)
    (container,) = pod["containers"]
    assert (
        pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    )
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert unsettled(container["image"]) is None and "@sha256:" in container["image"]
    (sources,) = [volume["projected"]["sources"] for volume in pod["volumes"] if "projected" in volume]
    names = {one["secret"]["name"] for one in sources}
    wanted = {"alerts-gitlab", "gitlab-env" if lab.answers["alerts"] == "email" else "alerts"}
    assert names == wanted | ({"lab-ca"} if lab.answers["private_ca"] else set())
    assert all(one["secret"]["optional"] for one in sources), "a missing Secret would keep the alarm from starting"


@pytest.mark.labs(alerts=CHANNELS)
def test_a_run_ends_before_the_next_one_may_send_its_message(lab: Lab) -> None:
    (found,) = [one["spec"] for one in lab.of_kind("CronJob") if one["metadata"]["name"] == "alerts"]
    assert found["jobTemplate"]["spec"]["activeDeadlineSeconds"] == judge.RUN < 300
    assert (found["schedule"], found["concurrencyPolicy"]) == ("*/5 * * * *", "Forbid")


@pytest.mark.labs(alerts=CHANNELS)
def test_every_file_of_the_program_is_in_the_pod(lab: Lab) -> None:
    place = lab.path / "apps/alerts"
    held = {
        name
        for one in lab.of_kind("ConfigMap")
        if one["metadata"]["name"].startswith("alerts-program")
        for name in one["data"]
    }
    assert (
        held
        == {file.name for file in Path(FOLDER, "lab_alerts").glob("*.py")}
        == {file.name for file in (place / "lab_alerts").iterdir()}
    )


@pytest.mark.labs(alerts=CHANNELS)
def test_the_account_has_no_right_that_reads_secrets_runs_commands_or_changes_anything_but_its_state(lab: Lab) -> None:
    roles = [
        one
        for kind in ("Role", "ClusterRole")
        for one in lab.of_kind(kind)
        if one["metadata"]["name"] in ("alerts", "lab-alerts")
    ]
    assert len(roles) == 2
    for rule in (rule for role in roles for rule in role["rules"]):
        assert not FORBIDDEN & {*rule["resources"], *rule["verbs"], *rule["apiGroups"]}
        if not set(rule["verbs"]) <= {"get", "list"}:
            assert (rule["resources"], rule["resourceNames"], rule["verbs"]) == (
                ["configmaps"],
                ["alerts-state"],
                ["get", "patch"],
            )


def test_a_lab_without_an_alarm_has_nothing_of_it(lab: Lab) -> None:
    has = lab.answers["alerts"] != "none"
    assert (lab.path / "apps/alerts").exists() is has
    assert (lab.path / "clusters" / lab.answers["cluster_name"] / "alerts.yaml").exists() is has
    assert any(one["metadata"]["name"] in ("alerts", "lab-alerts") for one in lab.objects) is has
