"""The stage machines at AWS: with the owner's own credentials, which nobody keeps, and only where they are needed.

What it decides is tried with values alone. With LONG=1, and in `make cluster-test`, the real OpenTofu applies the lab's code at moto.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_program.clients.gitlab_access import Variable
from lab_program.stages import machines_aws

from tests.bootstrap.support.lab_folder import commit, write_settings
from tests.bootstrap.support.lab_world import World
from tests.machines.support.aws_stand_in import Aws, HttpSource
from tests.machines.support.aws_world import GitLab, lab_of, moto
from tests.machines.support.provider_stand_in import serving
from tests.stage_machines.support.machines_world import PROJECT, TOFU, skip_without_tofu
from tests.support import program
from tests.support.depth import with_the_clusters_programs

DEEP = with_the_clusters_programs()
pytestmark = pytest.mark.xdist_group("machines")


def test_every_resource_of_the_labs_code_is_one_that_the_stage_looks_for(shared: Path) -> None:
    code = lab_of(shared, "aws") / "iac"
    found = machines_aws.addresses(file.read_text() for file in code.glob("aws*.tf"))
    written = sum(
        file.read_text().count('\nresource "') + file.read_text().startswith('resource "') for file in code.glob("*.tf")
    )
    assert len(found) == written and "aws_iam_role.job" in found and "aws_s3_object.issuer" in found


@pytest.mark.parametrize(
    ("state", "missing"),
    [
        ([], ["aws_iam_role.job", "aws_s3_bucket.lab"]),
        (['aws_iam_role.job["lab-x-iac"]', "aws_s3_bucket.lab", "proxmox_virtual_environment_vm.runner"], []),
        (["aws_s3_bucket.lab", "data.http.gitlab"], ["aws_iam_role.job"]),
        (["aws_s3_bucket.lab2", 'aws_iam_role.job["a[0]"]'], ["aws_s3_bucket.lab"]),
    ],
)
def test_what_the_state_does_not_know_is_missing(state: list[str], missing: list[str]) -> None:
    assert machines_aws.not_made(["aws_iam_role.job", "aws_s3_bucket.lab"], state) == missing


def test_credentials_are_those_that_awss_programs_read(tmp_path: Path) -> None:
    nobody = {"HOME": str(tmp_path), "AWS_REGION": "eu-central-1", "AWS_PROFILE": ""}
    assert not machines_aws.logged_in(nobody)
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        assert machines_aws.logged_in(nobody | {name: "x"})
    (tmp_path / "elsewhere").touch()
    assert machines_aws.logged_in(nobody | {"AWS_CONFIG_FILE": str(tmp_path / "elsewhere")})
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").touch()
    assert machines_aws.logged_in(nobody)
    assert machines_aws.credentials({"AWS_PROFILE": "me", "PROXMOX_VE_API_TOKEN": "no", "HOME": "/"}) == {
        "AWS_PROFILE": "me"
    }


def test_keys_are_compared_by_name_and_number_whatever_else_is_said_of_them() -> None:
    one, two = ({"kid": kid, "n": kid * 2, "e": "AQAB"} for kid in "ab")

    def keys(*shown: dict[str, str]) -> bytes:
        return json.dumps({"keys": shown}, indent=1).encode()

    assert machines_aws.key_set(keys(one, two)) == machines_aws.key_set(keys(two | {"use": "sig"}, one))
    assert (
        machines_aws.key_set(keys(one))
        != machines_aws.key_set(keys(one | {"n": "other"}))
        != machines_aws.key_set(keys(two))
    )
    for other in (b"<html>", b"[]", b'{"keys": 1}', b'{"keys": [{"kid": "a"}]}', b""):
        assert machines_aws.key_set(other) is None


@pytest.mark.parametrize(
    ("login", "variable", "said"),
    [
        ("keys", None, "is missing"),
        ("keys", Variable(is_protected=False, is_masked=True, is_hidden=True), "is not protected"),
        ("keys", Variable(is_protected=True, is_masked=False, is_hidden=False), "is not masked"),
        ("keys", Variable(is_protected=True, is_masked=True, is_hidden=False), ""),
        ("roles-anywhere", Variable(is_protected=True, is_masked=False, is_hidden=False), ""),
        ("roles-anywhere", Variable(is_protected=False, is_masked=False, is_hidden=False), "is not protected"),
    ],
)
def test_a_variable_by_which_jobs_log_in_is_there_and_closed(login: str, variable: Variable | None, said: str) -> None:
    found = machines_aws.variable_problem(login, variable)
    assert found.startswith(said) and bool(found) is bool(said)


# The whole stage


@dataclasses.dataclass
class Place:
    """A world whose lab uses AWS, and what is at AWS."""

    world: World
    aws: Aws
    gitlab: GitLab

    def run(self, *options: str, **more: str) -> Any:
        return self.world.run("--only", "machines", *options, **more)


LOGGED_IN = {"AWS_ACCESS_KEY_ID": "AKIAOFTHEOWNER", "AWS_SECRET_ACCESS_KEY": "the/owners+own"}


@pytest.fixture
def place(make_world: Callable[..., World], shared: Path, tmp_path: Path) -> Iterator[Place]:
    """Return a world that is through with sync, and has nothing at AWS yet."""
    if not DEEP:
        pytest.skip("ten seconds each: LONG=1, or make cluster-test")
    skip_without_tofu()
    lab = lab_of(shared, "aws")
    found = dataclasses.asdict(program.settings_of(lab))
    world = make_world(
        **{name: value for name, value in found.items() if name.startswith("aws")},
        iac_project=PROJECT,
        gitlab_host="localhost",
    )
    shutil.copytree(lab / "iac", world.lab / "iac")
    # A name below localhost is this machine's for curl and Git, and not for OpenTofu.
    world.settings["gitlab_url"] = f"http://localhost:{world.server.port}"
    write_settings(world.lab, world.settings)
    commit(world.lab, "What the lab has at AWS")
    with moto() as endpoint:
        gitlab = GitLab("https://gitlab.home.arpa", machines_aws.issuer(program.settings_of(lab)))
        aws = Aws(endpoint, found["aws_account"])
        names = {
            "registry.opentofu.org/hashicorp/aws": aws,
            "registry.opentofu.org/hashicorp/http": HttpSource(gitlab.answer),
        }
        with serving(names) as attached:
            # The stand-ins of the providers are no setting of the owner's: OpenTofu alone is told of them, and shows what it was told.
            seen = shlex.quote(str(tmp_path / "seen"))
            script = f'#!/bin/sh\nenv | grep ^AWS_ | sort > {seen}\nTF_REATTACH_PROVIDERS={shlex.quote(attached)} exec {TOFU} "$@"\n'
            (world.bin / "tofu").write_text(script)
            (world.bin / "tofu").chmod(0o755)
            world.must_run("--only", "gitlab")
            yield Place(world, aws, gitlab)


def test_aws_is_made_with_the_owners_credentials_and_then_needs_none(place: Place, tmp_path: Path) -> None:
    call = place.run()
    assert call.status == 1 and place.aws.done == []
    assert "there are none here" in call.text and "aws sso login" in call.text
    said = place.world.must_run("--only", "machines", **LOGGED_IN).text
    assert (
        "Plan: 22 to add, 0 to change, 0 to destroy." in said
        and "done   22 change(s) in the AWS account 123456789012" in said
    )
    assert "AWS_ACCESS_KEY_ID=AKIAOFTHEOWNER" in (tmp_path / "seen").read_text()
    # Nobody keeps them: neither the project, nor the cluster, nor a log.
    assert [one["key"] for one in place.world.gitlab.variables if one["key"].startswith("AWS")] == []
    logs = "".join(log.read_text() for log in place.world.home.rglob("*.log"))
    assert "tofu apply" in logs and "the/owners+own" not in said + logs
    place.aws.done.clear()
    again = place.world.must_run("--only", "machines").text
    assert "cloudy-lab at AWS is in OpenTofu's state" in again and place.aws.done == []
    again = place.world.must_run("--only", "machines", **LOGGED_IN).text
    assert "AWS account 123456789012 is as ops/iac says" in again and place.aws.done == []


def test_new_keys_of_gitlab_are_published_by_the_next_run(place: Place) -> None:
    place.world.must_run("--only", "machines", **LOGGED_IN)
    place.gitlab.rotate()
    place.aws.done.clear()
    place.world.must_run("--only", "machines", **LOGGED_IN)
    assert place.aws.done == [("update", "aws_s3_object")]


def test_nothing_is_done_in_another_account(place: Place) -> None:
    place.aws.account = "210987654321"
    call = place.run(**LOGGED_IN)
    assert call.status == 1 and "AWS account ID not allowed: 210987654321" in call.text and place.aws.done == []
