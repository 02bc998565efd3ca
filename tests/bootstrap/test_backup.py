"""The nightly backup: GitLab's own tools in GitLab's own pod, data and configuration apart, kept as long as asked."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import Lab, container_of
from tests.support.program import restore
from tests.support.tools import run


def of(lab: Lab, kind: str, name: str = "gitlab-backup") -> dict[str, Any]:
    return next(o for o in lab.of_kind(kind) if o["metadata"]["name"] == name)


def test_the_backup_runs_both_of_gitlabs_tools_in_gitlabs_pod(article: Lab) -> None:
    """The second one also writes gitlab-secrets.json, without which the first cannot be restored."""
    job = of(article, "CronJob")["spec"]
    [container] = job["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    target, *command = [a for a in container["args"][1:] if a != "--"]
    assert container["args"][0] == "exec" and target == "deployment/gitlab" and command[:2] == ["sh", "-c"]
    assert len(command) == 3
    where = [of(article, *what)["metadata"]["namespace"] for what in (("Deployment", "gitlab"), ("CronJob",))]
    assert where[0] == where[1]
    assert job["concurrencyPolicy"] == "Forbid"


def night(
    lab: Lab, folder: Path, *, newest: int = 0, free: int = 10_000, fails: str = ""
) -> tuple[int, str, list[str]]:
    """Run the job's script as GitLab's pod does, with its tools and its disk replaced; return status, output, and the calls.

    Args:
        newest: the size of the last backup in MiB; 0: there is none.
        free: what is free on the disk in MiB.
        fails: which of the tools fails.
    """
    backups, tools = folder / "backups", folder / "bin"
    for made in (backups, tools):
        made.mkdir(parents=True)
    if newest:
        (backups / "1_gitlab_backup.tar").write_bytes(b"")
        os.utime(backups / "1_gitlab_backup.tar", (1, 1))
        (backups / "1790000000_2026_09_21_19.3.2_gitlab_backup.tar").write_bytes(os.urandom(newest << 20))
    for name in ("gitlab-ctl", "gitlab-backup"):
        (tools / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {folder}/calls\n[ {name} != "{fails}" ] || exit 3\n')
    (tools / "df").write_text(
        f"#!/bin/sh\nprintf 'Filesystem 1048576-blocks Used Available Capacity Mounted on\\n/dev/sda1 1 1 {free} 1%% /\\n'\n"
    )
    for file in tools.iterdir():
        file.chmod(0o755)
    container = container_of(of(lab, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"], "backup")
    script = container["args"][-1].replace("/var/opt/gitlab/backups", str(backups))
    done = run("sh", "-c", script, env={"PATH": f"{tools}:/usr/bin:/bin"})
    return done.returncode, done.stdout + done.stderr, (folder / "calls").read_text().splitlines()


CONFIGURATION, DATA = "gitlab-ctl backup-etc --delete-old-backups", "gitlab-backup create CRON=1"


def test_the_configuration_is_saved_even_if_the_data_is_not_and_the_other_way_round(
    article: Lab, tmp_path: Path
) -> None:
    """The first holds gitlab-secrets.json, without which no backup can be restored."""
    for number, (fails, status) in enumerate([("", 0), ("gitlab-backup", 3), ("gitlab-ctl", 3)]):
        assert night(article, tmp_path / str(number), fails=fails)[::2] == (status, [CONFIGURATION, DATA])


def test_a_backup_that_would_fill_the_disk_is_not_begun_and_the_sum_is_said(article: Lab, tmp_path: Path) -> None:
    kept = article.answers["backup_keep_days"] + 1
    for free, (status, calls) in {6: (0, [CONFIGURATION, DATA]), 5: (1, [CONFIGURATION])}.items():
        found = night(article, tmp_path / str(free), newest=3, free=free)
        assert (found[0], found[2]) == (status, calls)
        assert f"A backup takes 3 MiB, and {kept} of them {3 * kept} MiB. {free} MiB are free." in found[1]
        assert ("leave the registry out (backup_registry)" in found[1]) is bool(status)


@pytest.mark.labs(backups=[True])
@pytest.mark.deep
def test_the_registry_is_left_out_on_request(lab: Lab, tmp_path: Path) -> None:
    registry = "" if lab.answers["backup_registry"] else " SKIP=registry"
    # At AWS each archive has a folder there.
    place = " DIRECTORY=backups" if lab.answers["aws"] == "backups" else ""
    assert night(lab, tmp_path)[2] == [CONFIGURATION, DATA + place + registry]


def test_the_backup_may_do_no_more_than_enter_gitlabs_pod(article: Lab) -> None:
    rules = {(r, verb) for rule in of(article, "Role")["rules"] for r in rule["resources"] for verb in rule["verbs"]}
    assert ("pods/exec", "create") in rules and ("deployments", "get") in rules
    assert {verb for _, verb in rules} <= {"get", "list", "create"} and not {r for r, _ in rules} & {"secrets", "*"}
    [subject] = of(article, "RoleBinding")["subjects"]
    pod = of(article, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert subject["name"] == pod["serviceAccountName"] == of(article, "ServiceAccount")["metadata"]["name"]


def test_backups_are_kept_for_the_days_that_were_asked_and_where_restore_looks(article: Lab) -> None:
    settings = (article.path / "apps/gitlab/gitlab.rb").read_text()
    kept = re.search(r"^gitlab_rails\['backup_keep_time'\] = (\d+)$", settings, re.MULTILINE)
    assert kept and int(kept[1]) == article.answers["backup_keep_days"] * 86400
    # https://docs.gitlab.com/administration/backup_restore/: the folders where nothing else is said.
    assert "backup_path" not in settings
    assert (restore.BACKUPS_IN_POD, restore.CONFIGS_IN_POD) == ("/var/opt/gitlab/backups", "/etc/gitlab/config_backup")
