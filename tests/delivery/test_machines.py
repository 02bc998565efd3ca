"""The pipeline of the project for machines: which job runs when, who gets its secrets, and what OpenTofu is told."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.delivery.support import evaluator
from tests.delivery.support.job_shell import expanded, read_pipeline
from tests.support.rendering import VALID, read_answers, rendered

CHECKS = {"fmt", "validate"}
PROTECTED = {"TF_VAR_state_passphrase": "x"}
MERGE_REQUEST = {"CI_PIPELINE_SOURCE": "merge_request_event", "CI_MERGE_REQUEST_IID": "7"}
MAIN = {"CI_COMMIT_BRANCH": "main", "CI_DEFAULT_BRANCH": "main"}
PIPELINES: dict[str, tuple[dict[str, str], set[str]]] = {
    "a push to main": ({**MAIN, **PROTECTED}, {*CHECKS, "plan", "apply"}),
    "a pipeline on main that somebody starts": (
        {**MAIN, **PROTECTED, "CI_PIPELINE_SOURCE": "web"},
        {*CHECKS, "plan", "apply"},
    ),
    "a merge request between protected branches": ({**MERGE_REQUEST, **PROTECTED}, {*CHECKS, "plan"}),
    "a merge request from any branch": (MERGE_REQUEST, CHECKS),
    "a branch": ({"CI_COMMIT_BRANCH": "x", "CI_DEFAULT_BRANCH": "main"}, CHECKS),
    "a protected branch": ({"CI_COMMIT_BRANCH": "from-the-lab", "CI_DEFAULT_BRANCH": "main", **PROTECTED}, CHECKS),
    "a branch with a merge request, which has a pipeline of its own": (
        {"CI_COMMIT_BRANCH": "x", "CI_OPEN_MERGE_REQUESTS": "a!1"},
        set(),
    ),
    "a schedule on main": ({**MAIN, **PROTECTED, "CI_PIPELINE_SOURCE": "schedule"}, {"drift"}),
    "a schedule on a branch": (
        {"CI_COMMIT_BRANCH": "x", "CI_DEFAULT_BRANCH": "main", "CI_PIPELINE_SOURCE": "schedule"},
        set(),
    ),
    "a tag": ({"CI_COMMIT_TAG": "v1"}, set()),
}
SECRET = {"plan", "apply", "drift"}


@pytest.fixture(scope="module")
def file(shared: Path) -> Path:
    """Return the pipeline of a lab that makes its runner's machine."""
    answers = next(one for one in VALID if one.stem == "machines")
    return rendered(shared, "machines", read_answers(answers)) / "iac/.gitlab-ci.yml"


@pytest.fixture(scope="module")
def jobs(file: Path) -> dict[str, dict[str, Any]]:
    """Return its jobs, with what they extend."""
    found = read_pipeline(file)
    return {
        name: {**found.get(job.get("extends", ""), {}), **job}
        for name, job in found.items()
        if not name.startswith(".")
    }


@pytest.mark.slow
def test_plans_run_where_the_secrets_are_and_apply_on_main_alone(file: Path, tmp_path: Path) -> None:
    """The evaluator does not read `workflow`, so its rules are in a job of their own: without that there is no pipeline."""
    text = file.read_text(encoding="utf-8")
    made = {"made": {"stage": "check", "script": ["true"], "rules": yaml.safe_load(text)["workflow"]["rules"]}}
    project = evaluator.make_project(tmp_path / "project", text + yaml.safe_dump(made))
    found = {what: evaluator.jobs(project, **variables) for what, (variables, _) in PIPELINES.items()}
    assert {what: one - {"made"} if "made" in one else set() for what, one in found.items()} == {
        what: one for what, (_, one) in PIPELINES.items()
    }


def test_nothing_is_applied_by_itself_or_twice_at_a_time_or_halfway(jobs: dict[str, dict[str, Any]]) -> None:
    apply = jobs["apply"]
    assert [rule["when"] for rule in apply["rules"]] == ["never", "manual"]
    assert apply["needs"] == ["plan"] and apply["environment"]["name"] == "machines"
    assert apply["resource_group"] == jobs["drift"]["resource_group"] and apply["interruptible"] is False
    # What was shown is what is done: the plan's file, and no option that would make another.
    assert [line for line in apply["script"] if "apply" in line] == [
        "tofu apply -lock-timeout=5m -parallelism=1 lab.tfplan"
    ]


def test_the_plan_is_kept_from_guests_and_its_report_reaches_the_merge_request(jobs: dict[str, dict[str, Any]]) -> None:
    kept = jobs["plan"]["artifacts"]
    assert (
        kept["access"] == "developer"
        and kept["reports"] == {"terraform": "plan.json"}
        and kept["paths"] == ["lab.tfplan"]
    )
    assert any("-out=lab.tfplan" in line for line in jobs["plan"]["script"])


def test_only_jobs_with_secrets_look_at_the_state_and_all_ask_for_the_protected_runner(
    jobs: dict[str, dict[str, Any]],
) -> None:
    assert {name for name, job in jobs.items() if "SSL_CERT_FILE" in str(job.get("before_script"))} == SECRET
    assert all(job["tags"] == ["$LAB_RUNNER"] for job in jobs.values())
    assert jobs["fmt"]["variables"]["LAB_RUNNER"] == ""
    assert "-backend=false" in str(jobs["validate"]["script"])


def test_opentofu_is_told_of_the_state_by_the_environment_alone(jobs: dict[str, dict[str, Any]]) -> None:
    given = {"CI_API_V4_URL": "https://gitlab.lab/api/v4", "CI_PROJECT_ID": "42", "CI_JOB_TOKEN": "glcbt-x"}
    found = expanded(jobs["plan"]["variables"], given)
    state = "https://gitlab.lab/api/v4/projects/42/terraform/state/lab"
    assert {name: value for name, value in found.items() if name.startswith("TF_HTTP")} == {
        "TF_HTTP_ADDRESS": state, "TF_HTTP_LOCK_ADDRESS": f"{state}/lock", "TF_HTTP_UNLOCK_ADDRESS": f"{state}/lock",
        "TF_HTTP_LOCK_METHOD": "POST", "TF_HTTP_UNLOCK_METHOD": "DELETE",
        "TF_HTTP_USERNAME": "gitlab-ci-token", "TF_HTTP_PASSWORD": "glcbt-x", "TF_HTTP_RETRY_WAIT_MIN": "5",
    }  # fmt: skip
    assert found["PROXMOX_VE_ENDPOINT"] == "https://192.168.7.2:8006/"
    assert not [name for name in found if "TOKEN" in name and name.startswith("PROXMOX")], (
        "the token is the project's variable, not in Git"
    )


@pytest.mark.parametrize("there", [set(), {"own"}, {"proxmox"}, {"own", "proxmox"}])
def test_a_job_trusts_the_public_authorities_and_those_that_are_there(
    jobs: dict[str, dict[str, Any]], tmp_path: Path, there: set[str]
) -> None:
    """The job's own lines, with the folders of its image below one of the test's."""
    places = {
        "public": "etc/ssl/certs/ca-certificates.crt",
        "own": "usr/local/share/ca-certificates/lab/ca.crt",
        "proxmox": "work/proxmox-ca.crt",
    }
    for name, place in places.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        if name in {"public", *there}:
            (tmp_path / place).write_text(f"the {name} authority\n", encoding="utf-8")
    (tmp_path / "tmp").mkdir()
    lines = [re.sub(r"(?<![\w.])/(?=etc/|usr/|tmp/)", f"{tmp_path}/", line) for line in jobs["plan"]["before_script"]]
    script = "\n".join(['tofu() { cat "$SSL_CERT_FILE"; }', *lines])
    done = subprocess.run(
        ["sh", "-eu", "-c", script], cwd=tmp_path / "work", capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:-1] == [f"the {name} authority" for name in places if name in {"public", *there}]
