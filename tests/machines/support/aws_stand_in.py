"""AWS's provider as a stand-in: its schema is the published one, and what it makes, it makes at moto, by AWS's own SDK.

So each document and each setting goes through the API's own model of it (botocore), and through moto's IAM and S3. What moto has
not, IAM Roles Anywhere, is held to the API's model alone. Nobody decides here who gets in: moto takes every token.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import boto3
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from tests.machines.support.provider_stand_in import Backend, Refused, State

SCHEMA = json.loads((Path(__file__).resolve().parents[1] / "aws_schema.json").read_text(encoding="utf-8"))["resources"]
NAMES = {"aws": "registry.{registry}/hashicorp/aws", "http": "registry.{registry}/hashicorp/http"}


class Aws(Backend):
    """hashicorp/aws in front of moto.

    Args:
        endpoint: moto's address.
        account: the account that the credentials belong to.
    """

    resources = SCHEMA
    settings: ClassVar[Mapping[str, Any]] = {
        "attributes": {"region": {"type": "string"}, "allowed_account_ids": {"type": ["list", "string"]}}
    }
    replaced_by: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **{name: ("bucket",) for name in SCHEMA if name.startswith("aws_s3_")},
        "aws_s3_object": ("bucket", "key"),
        "aws_iam_openid_connect_provider": ("url",),
        "aws_iam_role": ("name",),
    }

    def __init__(self, endpoint: str, account: str) -> None:
        self.endpoint, self.account, self.region = endpoint, account, ""
        self.anywhere: dict[str, State] = {}
        self.bucket_policies: dict[str, State] = {}
        self.done: list[tuple[str, str]] = []

    def configure(self, settings: State) -> None:
        self.region = settings["region"]
        allowed = settings["allowed_account_ids"]
        if allowed and self.account not in allowed:
            raise Refused(f"AWS account ID not allowed: {self.account}")

    def _client(self, service: str) -> Any:
        return boto3.client(
            service, self.region, endpoint_url=self.endpoint, aws_access_key_id="x", aws_secret_access_key="x"
        )

    @cached_property
    def s3(self) -> Any:
        return self._client("s3")

    @cached_property
    def iam(self) -> Any:
        return self._client("iam")

    def write(self, kind: str, planned: State, before: State | None) -> State:
        self.done.append(("update" if before else "create", kind))
        try:
            made: State = getattr(self, f"_{kind.removeprefix('aws_')}")(planned, before)
        except ClientError as error:
            raise Refused(f"{kind}: {error}") from error
        state = planned | made
        return (
            state
            | {name: self.region for name in ("region",) if name in planned}
            | {"id": made.get("id", planned.get("bucket"))}
        )

    def read(self, kind: str, state: State) -> State | None:
        if kind != "aws_s3_object":
            return state
        try:
            found = self.s3.head_object(Bucket=state["bucket"], Key=state["key"])
        except ClientError:
            return None
        return state | {"etag": found["ETag"].strip('"')}

    def delete(self, kind: str, state: State) -> None:
        self.done.append(("delete", kind))

    # S3

    def _s3_bucket(self, planned: State, _: State | None) -> State:
        # The oldest region is the one that has no name there.
        place = {} if self.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": self.region}}
        self.s3.create_bucket(Bucket=planned["bucket"], **place)
        return {"arn": f"arn:aws:s3:::{planned['bucket']}"}

    def _s3_bucket_ownership_controls(self, planned: State, _: State | None) -> State:
        rules = [{"ObjectOwnership": rule["object_ownership"]} for rule in planned["rule"]]
        self.s3.put_bucket_ownership_controls(Bucket=planned["bucket"], OwnershipControls={"Rules": rules})
        return {}

    def _s3_bucket_public_access_block(self, planned: State, _: State | None) -> State:
        names = {"block_public_acls": "BlockPublicAcls", "block_public_policy": "BlockPublicPolicy"}
        names |= {"ignore_public_acls": "IgnorePublicAcls", "restrict_public_buckets": "RestrictPublicBuckets"}
        block = {there: planned[here] for here, there in names.items()}
        self.s3.put_public_access_block(Bucket=planned["bucket"], PublicAccessBlockConfiguration=block)
        return {}

    def _s3_bucket_server_side_encryption_configuration(self, planned: State, _: State | None) -> State:
        rules = [
            {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": one["sse_algorithm"]}}
            for rule in planned["rule"]
            for one in rule["apply_server_side_encryption_by_default"]
        ]
        self.s3.put_bucket_encryption(Bucket=planned["bucket"], ServerSideEncryptionConfiguration={"Rules": rules})
        return {}

    def _s3_bucket_versioning(self, planned: State, _: State | None) -> State:
        status = planned["versioning_configuration"][0]["status"]
        self.s3.put_bucket_versioning(Bucket=planned["bucket"], VersioningConfiguration={"Status": status})
        return {}

    def _s3_bucket_lifecycle_configuration(self, planned: State, _: State | None) -> State:
        rules = [_lifecycle_rule(rule) for rule in planned["rule"]]
        self.s3.put_bucket_lifecycle_configuration(Bucket=planned["bucket"], LifecycleConfiguration={"Rules": rules})
        return {}

    def _s3_bucket_policy(self, planned: State, _: State | None) -> State:
        self.s3.put_bucket_policy(Bucket=planned["bucket"], Policy=planned["policy"])
        self.bucket_policies[planned["bucket"]] = json.loads(
            self.s3.get_bucket_policy(Bucket=planned["bucket"])["Policy"]
        )
        # moto keeps to policies, and reads no conditions: by what is said of HTTP it would refuse all. So it is told of the rest only.
        rest = [one for one in self.bucket_policies[planned["bucket"]]["Statement"] if "Condition" not in one]
        self.s3.delete_bucket_policy(Bucket=planned["bucket"])
        if rest:
            self.s3.put_bucket_policy(
                Bucket=planned["bucket"], Policy=json.dumps({"Version": "2012-10-17", "Statement": rest})
            )
        return {}

    def _s3_object(self, planned: State, _: State | None) -> State:
        body = planned["content"].encode()
        self.s3.put_object(Bucket=planned["bucket"], Key=planned["key"], Body=body, ContentType=planned["content_type"])
        return {"id": planned["key"], "etag": hashlib.md5(body, usedforsecurity=False).hexdigest()}

    # IAM

    def _iam_openid_connect_provider(self, planned: State, before: State | None) -> State:
        if before is not None:
            raise Refused("a change of the provider's audiences is not played here")
        made = self.iam.create_open_id_connect_provider(Url=planned["url"], ClientIDList=planned["client_id_list"])
        return {"arn": made["OpenIDConnectProviderArn"], "id": made["OpenIDConnectProviderArn"]}

    def _iam_role(self, planned: State, before: State | None) -> State:
        name, trust = planned["name"], planned["assume_role_policy"]
        if before is None:
            self.iam.create_role(
                RoleName=name, AssumeRolePolicyDocument=trust, Description=planned["description"] or ""
            )
        else:
            self.iam.update_assume_role_policy(RoleName=name, PolicyDocument=trust)
        return {"id": name, "arn": self.iam.get_role(RoleName=name)["Role"]["Arn"]}

    def _iam_role_policy(self, planned: State, _: State | None) -> State:
        self.iam.put_role_policy(RoleName=planned["role"], PolicyName=planned["name"], PolicyDocument=planned["policy"])
        return {"id": f"{planned['role']}:{planned['name']}"}

    def _iam_user(self, planned: State, _: State | None) -> State:
        return {"id": planned["name"], "arn": self.iam.create_user(UserName=planned["name"])["User"]["Arn"]}

    def _iam_user_policy(self, planned: State, _: State | None) -> State:
        self.iam.put_user_policy(UserName=planned["user"], PolicyName=planned["name"], PolicyDocument=planned["policy"])
        return {"id": f"{planned['user']}:{planned['name']}"}

    # IAM Roles Anywhere, which moto has not

    def _rolesanywhere_trust_anchor(self, planned: State, before: State | None) -> State:
        source = planned["source"][0]
        data = {"x509CertificateData": source["source_data"][0]["x509_certificate_data"]}
        asked = {
            "name": planned["name"],
            "enabled": planned["enabled"],
            "source": {"sourceType": source["source_type"], "sourceData": data},
        }
        return self._roles_anywhere("CreateTrustAnchor", "trust-anchor", asked, before)

    def _rolesanywhere_profile(self, planned: State, before: State | None) -> State:
        asked = {"name": planned["name"], "enabled": planned["enabled"], "roleArns": planned["role_arns"]}
        return self._roles_anywhere(
            "CreateProfile", "profile", asked | {"durationSeconds": planned["duration_seconds"]}, before
        )

    def _roles_anywhere(self, operation: str, what: str, asked: State, before: State | None) -> State:
        model = self._client("rolesanywhere").meta.service_model.operation_model(operation)
        report = ParamValidator().validate(asked, model.input_shape)
        if report.has_errors():
            raise Refused(f"{operation}: {report.generate_report()}")
        number = before["id"] if before else str(uuid.uuid4())
        self.anywhere[what] = asked
        return {"id": number, "arn": f"arn:aws:rolesanywhere:{self.region}:{self.account}:{what}/{number}"}


def _lifecycle_rule(rule: State) -> State:
    """Return a rule as S3's API writes it."""
    made: State = {"ID": rule["id"], "Status": rule["status"], "Filter": {"Prefix": rule["filter"][0]["prefix"] or ""}}
    for one in rule["expiration"]:
        if one["expired_object_delete_marker"]:
            made["Expiration"] = {"ExpiredObjectDeleteMarker": True}
        else:
            made["Expiration"] = {"Days": int(one["days"])}
    for one in rule["noncurrent_version_expiration"]:
        made["NoncurrentVersionExpiration"] = {"NoncurrentDays": int(one["noncurrent_days"])}
    for one in rule["abort_incomplete_multipart_upload"]:
        made["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": int(one["days_after_initiation"])}
    return made


class HttpSource(Backend):
    """hashicorp/http, whose answers a function gives.

    Args:
        answer: returns status and body of what is at a URL.
    """

    _WORDS: ClassVar[Mapping[str, Any]] = {
        name: {"type": "string"} for name in ("ca_cert_pem", "method", "request_body")
    }
    data: ClassVar[Mapping[str, Any]] = {
        "http": {
            "attributes": {
                "url": {"type": "string", "required": True},
                "request_headers": {"type": ["map", "string"]},
                "insecure": {"type": "bool"},
                "request_timeout_ms": {"type": "number"},
                **_WORDS,
                **{
                    name: {"type": "string", "computed": True, "read_only": True}
                    for name in ("id", "body", "response_body")
                },
                "status_code": {"type": "number", "computed": True, "read_only": True},
            }
        }
    }

    def __init__(self, answer: Callable[[str], tuple[int, str]]) -> None:
        self.answer = answer

    def look_up(self, kind: str, config: State) -> State:
        status, body = self.answer(config["url"])
        return config | {"id": config["url"], "body": body, "response_body": body, "status_code": status}
