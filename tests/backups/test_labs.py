"""What a lab has of backups that are sent elsewhere: pods with no right to spare, and settings that their program reads."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extensions.images import unsettled
from tests.support.backups import FOLDER, NOW, program, sets, target
from tests.support.cluster import Lab
from tests.support.program import backup_target, settings_of

SENT = ["folder", "s3"]


def cronjob(lab: Lab, name: str) -> dict[str, Any]:
    (found,) = [one for one in lab.of_kind("CronJob") if one["metadata"]["name"] == name]
    return dict(found["spec"]["jobTemplate"]["spec"])


def pod(lab: Lab, name: str) -> dict[str, Any]:
    return dict(cronjob(lab, name)["template"]["spec"])


@pytest.mark.labs(backup_target=SENT)
def test_the_pods_run_the_program_with_settings_that_it_reads(lab: Lab) -> None:
    for name, word in (("gitlab-backup", "send"), ("gitlab-backup-drill", "drill")):
        (container,) = pod(lab, name)["containers"]
        assert container["command"] == ["python3", "-B", "-m", "lab_backups"] and container["args"] == [word]
        mounts = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
        assert mounts["/opt/lab_backups"] == "program" and mounts[str(program.SETTINGS.parent)] == "settings"
        assert mounts[str(program.SECRETS)] == "secrets" and mounts["/tools"] == "tools" and "/tmp" in mounts
    found = json.loads((lab.path / "apps/backups/settings.json").read_text())
    assert set(found) == {"lab", "gitlab_namespace", "keep_days", "recipients", "target"}
    assert found["lab"] == lab.answers["lab_name"] and found["recipients"] == lab.answers["age_recipients"]
    kinds = {"s3": {"kind", "endpoint", "region", "bucket", "prefix"}, "folder": {"kind", "folder", "place"}}
    assert set(found["target"]) == kinds[lab.answers["backup_target"]]
    place = program.place_in_words(found["target"])
    for name in ("backup_bucket", "backup_folder"):
        if name in lab.answers:
            assert lab.answers[name] in place


@pytest.mark.labs(backup_target=SENT)
def test_every_module_of_the_program_reaches_the_pods(lab: Lab) -> None:
    (held,) = [one for one in lab.of_kind("ConfigMap") if one["metadata"]["name"] == "backups-program"]
    assert set(held["data"]) == {file.name for file in (FOLDER / "lab_backups").glob("*.py")}
    for name in ("backups-program", "backups-settings", "backups-state"):
        assert [one for one in lab.of_kind("ConfigMap") if one["metadata"]["name"] == name], "by this very name"


@pytest.mark.labs(backup_target=SENT)
def test_what_sends_reads_two_folders_of_gitlab_and_nothing_else(lab: Lab) -> None:
    spec = pod(lab, "gitlab-backup")
    (container,) = spec["containers"]
    gitlabs = {one["mountPath"]: one for one in container["volumeMounts"] if one["mountPath"].startswith("/gitlab")}
    assert set(gitlabs) == {str(program.DATA), str(program.CONFIG)}
    for path, end in ((str(program.DATA), "backups"), (str(program.CONFIG), "config_backup")):
        assert gitlabs[path]["readOnly"] is True and gitlabs[path]["subPath"].rpartition("/")[2] == end
    volumes = {one["name"]: one for one in spec["volumes"]}
    claims = {one["persistentVolumeClaim"]["claimName"] for one in volumes.values() if "persistentVolumeClaim" in one}
    own = {one["metadata"]["name"] for one in lab.of_kind("PersistentVolumeClaim")}
    assert claims <= own, "the names that GitLab's release gives them"
    # Before Kubernetes 1.35, a pod that has one claim as two volumes never starts.
    named = [one["persistentVolumeClaim"]["claimName"] for one in volumes.values() if "persistentVolumeClaim" in one]
    assert len(named) == len(set(named))


@pytest.mark.labs(backup_target=SENT)
def test_no_pod_has_a_privilege_that_it_does_not_need(lab: Lab) -> None:
    kind = lab.answers["backup_target"]
    for name in ("gitlab-backup", "gitlab-backup-drill"):
        spec = pod(lab, name)
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] == 65532
        for container in [*spec["initContainers"], *spec["containers"]]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False and context["readOnlyRootFilesystem"] is True
            assert context["capabilities"]["drop"] == ["ALL"] and unsettled(container["image"]) is None
            added = context["capabilities"].get("add", [])
            if container["name"] == "send":
                assert added == ["DAC_OVERRIDE" if kind == "folder" else "DAC_READ_SEARCH"]
            elif container["name"] == "drill" and kind == "folder":
                assert added == ["DAC_READ_SEARCH"]
            else:
                assert added == [] and "runAsUser" not in context
    (container,) = pod(lab, "gitlab-backup-drill")["containers"]
    (to_target,) = [one for one in container["volumeMounts"] if one["name"] == "target"] or [{"readOnly": True}]
    assert to_target["readOnly"] is True, "what only looks cannot write"


@pytest.mark.labs(backup_target=SENT)
def test_the_drill_may_write_what_it_saw_and_nothing_else(lab: Lab) -> None:
    (role,) = [one for one in lab.of_kind("Role") if one["metadata"]["name"] == "gitlab-backup-drill"]
    rule = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": ["backups-state"],
        "verbs": ["get", "patch"],
    }
    assert role["rules"] == [rule]


@pytest.mark.labs(backup_target=SENT)
def test_a_failed_sending_does_not_back_gitlab_up_again(lab: Lab) -> None:
    job = cronjob(lab, "gitlab-backup")
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule == {"action": "FailJob", "onExitCodes": {"containerName": "send", "operator": "NotIn", "values": [0]}}
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    assert job["activeDeadlineSeconds"] < sets.UNDER_WAY


@pytest.mark.labs(backup_target=SENT)
def test_the_alarm_and_the_labs_program_know_of_it(lab: Lab) -> None:
    found = settings_of(lab.path)
    assert found.backup_place
    if lab.answers["alerts"] != "none":
        alarm = json.loads((lab.path / "apps/alerts/settings.json").read_text())
        assert alarm["backups"] == ["gitlab-backup", "gitlab-backup-drill"]
        (role,) = [one for one in lab.of_kind("Role") if one["metadata"]["name"] == "alerts"]
        assert any(rule.get("resourceNames") == ["gitlab-backup", "gitlab-backup-drill"] for rule in role["rules"])


def test_a_lab_that_sends_nothing_has_nothing_of_it(article: Lab) -> None:
    assert not (article.path / "apps/backups").exists()
    assert not [one for one in article.of_kind("CronJob") if one["metadata"]["name"] == "gitlab-backup-drill"]
    assert settings_of(article.path).backup_place == ""
    assert set(cronjob(article, "gitlab-backup")) == {"backoffLimit", "activeDeadlineSeconds", "template"}


# What `./lab status` says


NAME = f"{NOW}_2026_09_21_19.3.0"


def known(**more: Any) -> backup_target.Known:
    state = program.seen({}, "nas:/x", [sets.Set(NAME, sets.COMPLETE, NOW, 1)], NOW)
    return backup_target.known({"state.json": json.dumps({**state, **more})})


def test_status_names_the_last_backup_that_is_known_to_be_whole() -> None:
    what, problem = backup_target.line(known(), "nas:/x", NOW + 3600)
    assert (
        what == f"the last backup that is known to be complete: {NAME} of 2026-09-21 14:13 UTC at nas:/x"
        and problem is None
    )
    checked = {"name": NAME, "at": NOW + 60, "problem": ""}
    what, problem = backup_target.line(known(checked=checked), "nas:/x", NOW + 3600)
    assert what.endswith("(checksums compared 2026-09-21 14:14 UTC)") and problem is None


def test_status_says_what_is_wrong_with_them() -> None:
    day = 86400
    assert backup_target.line(None, "nas:/x", NOW) == ("backups at nas:/x", "none was sent yet: ./lab backup")
    state = program.seen({}, "nas:/x", [sets.Set(NAME, sets.INCOMPLETE, NOW, 1)], NOW)
    _, problem = backup_target.line(backup_target.known({"state.json": json.dumps(state)}), "nas:/x", NOW)
    assert problem is not None and "no complete one" in problem
    assert "none came for 4 days" in str(backup_target.line(known(), "nas:/x", NOW + 4 * day)[1])
    broken = {"name": NAME, "at": NOW, "problem": f"{NAME} is broken"}
    assert f"{NAME} is broken" in str(backup_target.line(known(checked=broken), "nas:/x", NOW)[1])
    old = {"name": NAME, "at": NOW - 20 * day, "problem": ""}
    assert "none was checked since" in str(backup_target.line(known(checked=old), "nas:/x", NOW)[1])


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"sets": 1}'])
def test_a_state_that_cannot_be_read_is_as_good_as_none(text: str) -> None:
    assert backup_target.known({"state.json": text, "drill.json": text}).complete == ""
    assert target.PIECE % 65536 == 0


def test_the_pod_of_an_earlier_version_is_understood_until_flux_has_brought_this_one() -> None:
    made = sets.Set(NAME, sets.COMPLETE, NOW, 1).as_json() | {"manifest": None}
    assert backup_target.stored(made).state == sets.COMPLETE
    earlier = [backup_target.stored(made | {"state": word}).state for word in ("whole", "half", "broken", "foreign")]
    assert earlier == [sets.COMPLETE, sets.INCOMPLETE, sets.BROKEN, sets.FOREIGN]
