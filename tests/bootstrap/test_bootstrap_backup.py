"""The nightly backup: GitLab's own tools in GitLab's own pod, data and configuration apart, kept as long as asked."""

from __future__ import annotations

import re
from typing import Any

from support.cluster import Lab
from support.program import restore


def of(lab: Lab, kind: str, name: str = "gitlab-backup") -> dict[str, Any]:
    return next(o for o in lab.of_kind(kind) if o["metadata"]["name"] == name)


def test_the_backup_runs_both_of_gitlabs_tools_in_gitlabs_pod(article: Lab) -> None:
    """The second one also writes gitlab-secrets.json, without which the first cannot be restored."""
    job = of(article, "CronJob")["spec"]
    [container] = job["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    target, *command = [a for a in container["args"][1:] if a != "--"]
    assert container["args"][0] == "exec" and target == "deployment/gitlab" and command[:2] == ["sh", "-c"]
    assert command[2].split(" && ") == ["gitlab-backup create CRON=1", "gitlab-ctl backup-etc --delete-old-backups"]
    where = [of(article, *what)["metadata"]["namespace"] for what in (("Deployment", "gitlab"), ("CronJob",))]
    assert where[0] == where[1]
    assert job["concurrencyPolicy"] == "Forbid"


def test_the_backup_may_do_no_more_than_enter_gitlabs_pod(article: Lab) -> None:
    rules = {(r, verb) for rule in of(article, "Role")["rules"] for r in rule["resources"] for verb in rule["verbs"]}
    assert ("pods/exec", "create") in rules and ("deployments", "get") in rules
    assert {verb for _, verb in rules} <= {"get", "list", "create"} and not {r for r, _ in rules} & {"secrets", "*"}
    [subject] = of(article, "RoleBinding")["subjects"]
    pod = of(article, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert subject["name"] == pod["serviceAccountName"] == of(article, "ServiceAccount")["metadata"]["name"]


def test_backups_are_kept_for_the_days_that_were_asked_and_where_restore_looks(article: Lab) -> None:
    settings = (article.path / "apps/gitlab/gitlab.rb").read_text()
    kept = re.search(r"^gitlab_rails\['backup_keep_time'\] = (\d+)$", settings, re.M)
    assert kept and int(kept[1]) == article.answers["backup_keep_days"] * 86400
    # https://docs.gitlab.com/administration/backup_restore/: the folders where nothing else is said.
    assert "backup_path" not in settings
    assert (restore.BACKUPS_IN_POD, restore.CONFIGS_IN_POD) == ("/var/opt/gitlab/backups", "/etc/gitlab/config_backup")
