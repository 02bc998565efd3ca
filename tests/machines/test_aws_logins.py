"""iac/aws*.tf of each way to log in, judged by the engines with the published schema, and applied at moto."""

from __future__ import annotations

import json
import re
import subprocess
import textwrap
from pathlib import Path

import pytest

from tests.machines.support.aws_world import ENGINES, World, lab_of, moto, world
from tests.support.depth import with_the_clusters_programs
from tests.support.questions import labs_with
from tests.support.rendering import recorded_answers, required

pytestmark = pytest.mark.xdist_group("aws")
# First the one whose log-in has most of its own.
LABS = sorted(labs_with(aws=["backups"]), key=lambda name: name != "pair-12")
DEEP = with_the_clusters_programs()


def authority(folder: Path) -> str:
    """Return the certificate of a new authority."""
    files = ["-keyout", str(folder / "ca.key"), "-out", str(folder / "ca.crt")]
    subject = ["-subj", "/CN=lab", "-days", "2", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(["openssl", "req", "-x509", *subject, *files], check=True, capture_output=True)
    return (folder / "ca.crt").read_text()


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Return each engine: OpenTofu where it is built, and only in the deep tests."""
    if request.param == "tofu":
        if not DEEP:
            pytest.skip("OpenTofu itself runs in make cluster-test, and with LONG=1")
        if not Path(ENGINES["tofu"][1][0]).exists():
            message = "tofu is not built; make cluster-test builds it"
            pytest.fail(message) if required() else pytest.skip(message)
    return str(request.param)


@pytest.mark.slow
def test_the_valid_answers_have_each_way_to_log_in(shared: Path) -> None:
    found = {
        (answers["aws_login"], answers.get("aws_issuer_bucket", "") != "")
        for answers in (recorded_answers(lab_of(shared, name)) for name in LABS)
    }
    assert found == {("oidc", True), ("oidc", False), ("roles-anywhere", False), ("keys", False)}


@pytest.mark.deep
@pytest.mark.parametrize("name", LABS)
def test_the_code_is_applied_and_a_second_plan_is_empty(shared: Path, tmp_path: Path, name: str, engine: str) -> None:
    lab = lab_of(shared, name)
    answers = recorded_answers(lab)
    with moto() as endpoint, world(lab / "iac", tmp_path / "iac", endpoint, answers, engine) as at:
        without_proxmox(at)
        at.init()
        if DEEP:
            assert at.run("fmt", "-check", "-diff", "-recursive").said.strip() == ""
            at.must("validate")
        if answers["aws_login"] == "roles-anywhere":
            done = at.run("plan", "-input=false")
            assert done.status == 1 and "aws-ca.crt is missing beside this file" in done.words
            (at.folder / "aws-ca.crt").write_text(authority(tmp_path))
        made = at.apply()
        assert at.difference() == ""
        expect_login(at, answers["aws_login"], answers["lab_name"], made)


def without_proxmox(at: World) -> None:
    """Leave the runner's machine out: its provider is another test's."""
    for name in ("runner.tf", "runner-variables.tf", "providers.tf"):
        (at.folder / name).unlink(missing_ok=True)


def expect_login(at: World, login: str, lab_name: str, made: list[tuple[str, str]]) -> None:
    users = [user["UserName"] for user in at.aws.iam.list_users()["Users"]]
    roles = [role["RoleName"] for role in at.aws.iam.list_roles()["Roles"]]
    assert f"lab-{lab_name}-backup" in users
    if login == "keys":
        assert f"lab-{lab_name}-iac" in users and roles == []
        # Nobody has a key yet: OpenTofu would keep it in the state.
        assert at.aws.iam.list_access_keys(UserName=f"lab-{lab_name}-iac")["AccessKeyMetadata"] == []
        return
    assert f"lab-{lab_name}-iac" in roles and users == [f"lab-{lab_name}-backup"]
    assert any(kind == "aws_iam_openid_connect_provider" for _, kind in made) is (login == "oidc")
    if login == "roles-anywhere":
        anchor, profile = at.aws.anywhere["trust-anchor"], at.aws.anywhere["profile"]
        assert (
            anchor["source"]["sourceType"] == "CERTIFICATE_BUNDLE"
            and "BEGIN CERTIFICATE" in anchor["source"]["sourceData"]["x509CertificateData"]
        )
        [role] = at.aws.iam.list_roles()["Roles"]
        assert profile["roleArns"] == [role["Arn"]]
        condition = role["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]
        assert condition["StringEquals"] == {"aws:PrincipalTag/x509Subject/CN": json.loads(tfvars(at, "iac_project"))}
        assert condition["ArnEquals"]["aws:SourceArn"].startswith("arn:aws:rolesanywhere:")


def tfvars(at: World, name: str) -> str:
    """Return a value as terraform.tfvars writes it."""
    lines = (at.folder / "terraform.tfvars").read_text().splitlines()
    [line] = [line for line in lines if line.split(" ")[0] == name]
    return line.partition("=")[2].strip()


@pytest.mark.deep
def test_a_private_key_is_no_authority(shared: Path, tmp_path: Path) -> None:
    lab = lab_of(shared, "pair-12")
    with moto() as endpoint, world(lab / "iac", tmp_path / "iac", endpoint, recorded_answers(lab)) as at:
        without_proxmox(at)
        at.init()
        (at.folder / "aws-ca.crt").write_text(authority(tmp_path) + (tmp_path / "ca.key").read_text())
        done = at.run("plan", "-input=false")
        assert done.status == 1 and "or is no certificate alone" in done.words


@pytest.mark.deep
def test_credentials_of_another_account_are_refused(shared: Path, tmp_path: Path) -> None:
    lab = lab_of(shared, "pair-09")
    with moto() as endpoint, world(lab / "iac", tmp_path / "iac", endpoint, recorded_answers(lab)) as at:
        without_proxmox(at)
        at.init()
        at.aws.account = "210987654321"
        done = at.run("apply", "-input=false", "-auto-approve")
        assert done.status == 1 and "AWS account ID not allowed: 210987654321" in done.words
        assert at.aws.done == []


UNKNOWN = {
    "argument": ("  object_ownership", "  object_owner", 'An argument named "object_owner" is not expected here'),
    "inner argument": ("      prefix = ", "      prefixes = ", 'An argument named "prefixes" is not expected here'),
    "block": ("  versioning_configuration {", "  versioning {", 'Blocks of type "versioning" are not expected here'),
    "missing": ('      sse_algorithm = "AES256"', "", 'The argument "sse_algorithm" is required'),
}


@pytest.mark.deep(keep=1)
@pytest.mark.parametrize("change", UNKNOWN)
def test_what_the_provider_does_not_know_is_refused(shared: Path, tmp_path: Path, change: str) -> None:
    lab = lab_of(shared, "pair-09")
    with moto() as endpoint, world(lab / "iac", tmp_path / "iac", endpoint, recorded_answers(lab)) as at:
        without_proxmox(at)
        at.init()
        file = at.folder / "aws.tf"
        before = file.read_text()
        there, instead, said = UNKNOWN[change]
        assert there in before
        file.write_text(before.replace(there, instead))
        done = at.run("validate")
        assert done.status == 1 and said in done.words


@pytest.mark.deep
def test_to_leave_aws_the_bucket_is_forgotten_and_the_rest_is_destroyed(
    shared: Path, tmp_path: Path, engine: str
) -> None:
    """As aws.md of the lab tells it."""
    lab = lab_of(shared, "aws")
    page = (lab / "iac" / "aws.md").read_text().partition("## Leave AWS")[2]
    [forgets] = re.findall(r"```hcl\n(.*?)```", page, re.DOTALL)
    with moto() as endpoint, world(lab / "iac", tmp_path / "iac", endpoint, recorded_answers(lab), engine) as at:
        at.init()
        at.apply()
        for file in at.folder.glob("aws*"):
            if file.name not in ("aws-provider.tf", "aws-variables.tf", "aws-oidc-variables.tf", "aws.md"):
                file.unlink()
        (at.folder / "leave.tf").write_text(textwrap.dedent(forgets))
        gone = [kind for what, kind in at.apply() if what == "delete"]
        assert at.difference() == ""
    assert len(gone) == 15 and sorted(set(gone)) == sorted(
        kind for kind in ALL_KINDS if kind != "aws_s3_bucket_lifecycle_configuration"
    )
    assert gone.count("aws_s3_bucket") == 1


ALL_KINDS = [
    "aws_iam_openid_connect_provider",
    "aws_iam_role",
    "aws_iam_role_policy",
    "aws_iam_user",
    "aws_iam_user_policy",
    "aws_s3_bucket",
    "aws_s3_bucket_lifecycle_configuration",
    "aws_s3_bucket_ownership_controls",
    "aws_s3_bucket_policy",
    "aws_s3_bucket_public_access_block",
    "aws_s3_bucket_server_side_encryption_configuration",
    "aws_s3_bucket_versioning",
    "aws_s3_object",
]
