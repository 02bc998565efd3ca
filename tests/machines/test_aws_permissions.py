"""Who may do what at AWS, by the very documents that OpenTofu makes. moto's evaluator reads actions, resources and StringEquals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from moto.iam.access_control import IAMPolicy, PermissionResult

from tests.machines.support.aws_pipeline import jobs, merged
from tests.machines.support.aws_world import World, cloudy_lab, lab_of  # noqa: F401 - one is a fixture

pytestmark = pytest.mark.xdist_group("aws")
BUCKET, ISSUER = "arn:aws:s3:::cloudy-lab", "arn:aws:s3:::cloudy-issuer"
# Who: what they may do, and what not. A job of a project that keeps its state here, of this project, and GitLab.
RIGHTS = {
    "lab-cloudy-iac-plan": (
        [
            ("s3:GetBucketPolicy", BUCKET),
            ("s3:GetLifecycleConfiguration", BUCKET),
            ("s3:ListBucket", ISSUER),
            ("s3:GetObjectTagging", f"{ISSUER}/oauth/discovery/keys"),
            ("iam:GetRolePolicy", "arn:aws:iam::123456789012:role/lab-cloudy-iac"),
            ("iam:GetUser", "arn:aws:iam::123456789012:user/lab-cloudy-backup"),
        ],
        [
            ("s3:PutLifecycleConfiguration", BUCKET),
            ("s3:GetObject", f"{BUCKET}/backups/1_gitlab_backup.tar"),
            ("s3:GetObject", f"{BUCKET}/state/homelab/website/terraform.tfstate"),
        ],
    ),
    "lab-cloudy-iac": (
        [
            ("s3:PutLifecycleConfiguration", BUCKET),
            ("s3:PutEncryptionConfiguration", BUCKET),
            ("s3:PutBucketVersioning", BUCKET),
            ("s3:GetBucketPolicy", BUCKET),
        ],
        [
            ("s3:GetObject", f"{BUCKET}/backups/x"),
            ("s3:DeleteObject", f"{BUCKET}/backups/x"),
            ("s3:DeleteBucket", BUCKET),
            ("s3:PutBucketPolicy", BUCKET),
            ("s3:PutBucketPublicAccessBlock", BUCKET),
            ("s3:PutObject", f"{ISSUER}/oauth/discovery/keys"),
            ("s3:PutBucketPolicy", ISSUER),
            ("s3:PutBucketVersioning", ISSUER),
        ],
    ),
    "lab-cloudy-state-homelab@website": (
        [
            ("s3:GetObject", f"{BUCKET}/state/homelab/website/a"),
            ("s3:PutObject", f"{BUCKET}/state/homelab/website/a"),
            ("s3:DeleteObject", f"{BUCKET}/state/homelab/website/a.tflock"),
        ],
        [
            ("s3:DeleteObject", f"{BUCKET}/state/homelab/website/a"),
            ("s3:GetObject", f"{BUCKET}/state/homelab/website2/a"),
            ("s3:GetObject", f"{BUCKET}/state/homelab/other/a"),
            ("s3:GetObject", f"{BUCKET}/backups/a"),
            ("s3:DeleteObjectVersion", f"{BUCKET}/state/homelab/website/a"),
            ("s3:ListBucket", ISSUER),
        ],
    ),
    "lab-cloudy-backup": (
        [
            ("s3:PutObject", f"{BUCKET}/backups/1_gitlab_backup.tar"),
            ("s3:AbortMultipartUpload", f"{BUCKET}/backups/1_gitlab_backup.tar"),
        ],
        [
            ("s3:PutObject", f"{BUCKET}/state/x"),
            ("s3:GetObject", f"{BUCKET}/backups/1_gitlab_backup.tar"),
            ("s3:DeleteObject", f"{BUCKET}/backups/x"),
            ("s3:ListBucket", BUCKET),
            ("s3:PutObject", f"{ISSUER}/oauth/discovery/keys"),
        ],
    ),
}
# Nobody makes himself the account's administrator, reaches other buckets, or takes the traces away.
NEVER = [
    *(
        (f"iam:{one}", "*")
        for one in (
            "CreateAccessKey",
            "AttachRolePolicy",
            "PutRolePolicy",
            "PutUserPolicy",
            "UpdateAssumeRolePolicy",
            "PassRole",
            "CreateUser",
        )
    ),
    *(
        (f"iam:{one}", "arn:aws:iam::123456789012:role/lab-cloudy-iac")
        for one in ("PutRolePolicy", "UpdateAssumeRolePolicy", "DeleteRole")
    ),
    (
        "iam:UpdateOpenIDConnectProviderThumbprint",
        "arn:aws:iam::123456789012:oidc-provider/cloudy-issuer.s3.ap-southeast-2.amazonaws.com",
    ),
    ("rolesanywhere:UpdateTrustAnchor", "*"),
    ("s3:ListBucket", "arn:aws:s3:::cloudy-lab-of-somebody-else"),
    ("s3:DeleteObjectVersion", f"{BUCKET}/backups/x"),
    ("s3:PutObject", f"{ISSUER}/.well-known/openid-configuration"),
    ("sts:AssumeRole", "*"),
]


def policy(at: World, name: str) -> Any:
    """Return the one policy of a role or a user."""
    iam = at.aws.iam
    if name == "lab-cloudy-backup":
        [only] = iam.list_user_policies(UserName=name)["PolicyNames"]
        return iam.get_user_policy(UserName=name, PolicyName=only)["PolicyDocument"]
    [only] = iam.list_role_policies(RoleName=name)["PolicyNames"]
    return iam.get_role_policy(RoleName=name, PolicyName=only)["PolicyDocument"]


def permitted(document: Any, action: str, resource: str, **given: Any) -> bool:
    found = IAMPolicy({"policy_document": json.dumps(document)}).is_action_permitted(action, resource, **given)
    return found is PermissionResult.PERMITTED


@pytest.fixture(scope="module")
def shared_state(cloudy: World) -> World:
    """Return a lab one of whose projects keeps its state in the bucket."""
    (cloudy.folder / "state.auto.tfvars").write_text('aws_state_projects = ["homelab/website", "homelab/other"]\n')
    cloudy.apply()
    return cloudy


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize("name", RIGHTS)
def test_each_may_do_its_work_and_nothing_else(shared_state: World, name: str) -> None:
    document = policy(shared_state, name)
    may, may_not = RIGHTS[name]
    assert [one for one in may if not permitted(document, *one)] == []
    assert [one for one in [*may_not, *NEVER] if permitted(document, *one)] == []


def test_the_state_of_another_project_is_not_even_listed(shared_state: World) -> None:
    [listing] = [
        one
        for one in policy(shared_state, "lab-cloudy-state-homelab@website")["Statement"]
        if one["Action"] == "s3:ListBucket"
    ]
    assert listing["Condition"] == {"StringLike": {"s3:prefix": "state/homelab/website/*"}}


@pytest.mark.parametrize(
    ("role", "project", "branch", "audience", "taken"),
    [
        ("lab-cloudy-iac", "Infra/Lab/iac", "main", "sts.amazonaws.com", True),
        ("lab-cloudy-iac", "Infra/Lab/iac", "from-the-lab", "sts.amazonaws.com", False),
        ("lab-cloudy-iac", "Infra/Lab/iac", "main2", "sts.amazonaws.com", False),
        ("lab-cloudy-iac", "Infra/Lab/iac", "main", "https://gitlab.home.arpa", False),
        ("lab-cloudy-iac", "infra/lab/iac", "main", "sts.amazonaws.com", False),
        ("lab-cloudy-iac", "homelab/website", "main", "sts.amazonaws.com", False),
        ("lab-cloudy-iac-plan", "Infra/Lab/iac", "from-the-lab", "sts.amazonaws.com", True),
        ("lab-cloudy-iac-plan", "Infra/Lab/iac", "main", "sts.amazonaws.com", True),
        ("lab-cloudy-iac-plan", "Infra/Lab/iac", "feature", "sts.amazonaws.com", False),
        ("lab-cloudy-state-homelab@website", "homelab/website", "main", "sts.amazonaws.com", True),
        ("lab-cloudy-state-homelab@website", "homelab/other", "main", "sts.amazonaws.com", False),
        ("lab-cloudy-state-homelab@website", "homelab/website", "feature", "sts.amazonaws.com", False),
    ],
)
def test_a_role_takes_the_tokens_of_one_project_and_its_branches(
    shared_state: World, role: str, project: str, branch: str, audience: str, taken: bool
) -> None:
    trust = shared_state.aws.iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    host = shared_state.gitlab.issuer.removeprefix("https://")
    claims = {f"{host}:aud": audience, f"{host}:sub": f"project_path:{project}:ref_type:branch:ref:{branch}"}
    [statement] = trust["Statement"]
    assert set(statement["Condition"]) == {"StringEquals"} and set(statement["Condition"]["StringEquals"]) == set(
        claims
    )
    assert statement["Principal"] == {"Federated": f"arn:aws:iam::123456789012:oidc-provider/{host}"}
    assert permitted(trust, "sts:AssumeRoleWithWebIdentity", "*", incoming_condition_values=claims) is taken
    assert not permitted(trust, "sts:AssumeRole", "*", incoming_condition_values=claims)


def test_no_document_allows_everything_of_a_service_or_on_everything(shared_state: World) -> None:
    for name in RIGHTS:
        for statement in policy(shared_state, name)["Statement"]:
            for element in ("Action", "Resource"):
                values = statement[element] if isinstance(statement[element], list) else [statement[element]]
                assert [one for one in values if one == "*" or one.endswith(":*")] == [], statement
            assert "NotAction" not in statement and "NotResource" not in statement


def test_the_bucket_is_private_versioned_encrypted_and_answers_over_tls_only(shared_state: World) -> None:
    s3 = shared_state.aws.s3
    assert set(s3.get_public_access_block(Bucket="cloudy-lab")["PublicAccessBlockConfiguration"].values()) == {True}
    assert s3.get_bucket_ownership_controls(Bucket="cloudy-lab")["OwnershipControls"]["Rules"] == [
        {"ObjectOwnership": "BucketOwnerEnforced"}
    ]
    for bucket in ("cloudy-lab", "cloudy-issuer"):
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
        [rule] = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
        [denied] = [one for one in shared_state.aws.bucket_policies[bucket]["Statement"] if one["Effect"] == "Deny"]
        assert (denied["Principal"], denied["Action"]) == ("*", "s3:*")
        assert denied["Resource"] == [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_everybody_may_read_the_two_documents_and_nothing_else(shared_state: World) -> None:
    allowed = {
        name: [one for one in document["Statement"] if one["Effect"] == "Allow"]
        for name, document in shared_state.aws.bucket_policies.items()
    }
    assert allowed["cloudy-lab"] == []
    [public] = allowed["cloudy-issuer"]
    assert (public["Principal"], public["Action"]) == ("*", "s3:GetObject")
    assert sorted(public["Resource"]) == [
        f"{ISSUER}/.well-known/openid-configuration",
        f"{ISSUER}/oauth/discovery/keys",
    ]
    block = shared_state.aws.s3.get_public_access_block(Bucket="cloudy-issuer")["PublicAccessBlockConfiguration"]
    assert block == {
        "BlockPublicAcls": True,
        "IgnorePublicAcls": True,
        "BlockPublicPolicy": False,
        "RestrictPublicBuckets": False,
    }


def test_backups_go_after_the_days_of_the_answer_and_what_was_overwritten_stays_for_a_while(
    shared_state: World,
) -> None:
    rules = {
        rule["ID"]: rule
        for rule in shared_state.aws.s3.get_bucket_lifecycle_configuration(Bucket="cloudy-lab")["Rules"]
    }
    assert rules["backups"]["Filter"] == {"Prefix": "backups/"} and rules["backups"]["Expiration"] == {"Days": 365}
    assert rules["backups"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert rules["state"]["Filter"] == {"Prefix": "state/"} and "Days" not in rules["state"]["Expiration"]
    assert rules["state"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 90}
    assert rules["broken-uploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}


def test_the_roles_of_the_pipeline_are_those_that_opentofu_makes(shared_state: World, shared: Path) -> None:
    pipeline = jobs(lab_of(shared, "aws"))
    asked = {merged(pipeline, job)["variables"]["AWS_ROLE_ARN"] for job in ("plan", "apply", "drift")}
    assert asked == {role["Arn"] for role in shared_state.aws.iam.list_roles()["Roles"] if "-state-" not in role["Arn"]}
