"""runner/cloud-init.yaml: what cloud-init's own schema says of it, and that it carries the very script of the lab."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from check_jsonschema.cli import main as check_jsonschema
from click.testing import CliRunner

from tests.setup.support.debian_fixtures import rendered
from tests.support.cluster import Lab

SCHEMA = Path(__file__).with_name("schema-cloud-config-v1.json")
on_a_machine = pytest.mark.labs(runner_kind=["docker"])
# The least that a cloud takes as user data (AWS).
LIMIT = 16 * 1024


def faults(text: str, folder: Path) -> str:
    """Return what the schema says of user data."""
    file = folder / "user-data.yaml"
    file.write_text(text, encoding="utf-8")
    done = CliRunner().invoke(check_jsonschema, ["--schemafile", str(SCHEMA), str(file)])
    return done.output if done.exit_code or done.exception else ""


@on_a_machine
def test_user_data_fits_the_schema_and_carries_the_labs_script(lab: Lab, tmp_path: Path) -> None:
    text = (lab.path / "runner/cloud-init.yaml").read_text(encoding="utf-8")
    assert text.startswith("#cloud-config\n") and len(text.encode()) < LIMIT
    assert faults(text, tmp_path) == ""
    data: dict[str, Any] = yaml.safe_load(text)
    (file,) = data["write_files"]
    script = (lab.path / "runner/setup.sh").read_text(encoding="utf-8").splitlines()
    code = [line for line in script[1:] if line.strip() and not line.lstrip().startswith("#")]
    assert [line for line in file["content"].splitlines() if line.strip()] == [script[0], *code]
    assert data["runcmd"] == [["sh", file["path"]]] and file["permissions"] == "0755"
    (user,) = data["users"]
    assert user["name"] == lab.answers["runner_user"] and not re.search(
        r"passw(?!d: true)|BEGIN|glrt-", text.split("write_files")[0]
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("runcmdd: []", "runcmdd"),
        ("write_file: []", "write_file"),
        ("users: 5", "users"),
        ("disable_root: perhaps", "disable_root"),
    ],
)
def test_the_schema_would_refuse_what_cloud_init_does_not_know(line: str, said: str, tmp_path: Path) -> None:
    name = line.partition(":")[0]
    text = (
        re.sub(rf"^{name}:.*\n(?:[ -].*\n|\n)*", "", rendered()["runner/cloud-init.yaml"], flags=re.MULTILINE)
        + f"{line}\n"
    )
    assert said in faults(text, tmp_path)


def test_root_itself_may_be_the_runners_user(tmp_path: Path) -> None:
    text = rendered(runner_user="root", runner_home="/srv/runner")["runner/cloud-init.yaml"]
    data = yaml.safe_load(text)
    assert faults(text, tmp_path) == "" and data["disable_root"] is False
    assert set(data["users"][0]) == {"name", "ssh_authorized_keys"}
