"""Rules for what the lab has at AWS. iac/aws-variables.tf refuses the same in OpenTofu's words; a test draws values for both.

Names of buckets: docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html. Names of roles and users: at most 64 characters
(docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html). Issuers: docs.gitlab.com/ci/cloud_services/aws/.
"""

from __future__ import annotations

import re
from typing import Any

from . import machines, names, values
from .answers import Answers

# lab-<name>-backup and the like are names of roles and users; projects that keep their state here get longer ones.
LONGEST_LAB_NAME = 40
_AREAS = "af ap ca eu il me mx sa us"
_SIDES = "central north south east west northeast northwest southeast southwest"
_REGION = re.compile(f"({'|'.join(_AREAS.split())})-({'|'.join(_SIDES.split())})-[1-9]")
_OTHER_PARTITIONS = ("cn-", "us-gov-", "us-iso", "eusc-", "eu-iso")
# What S3 keeps for itself.
_RESERVED_BEGINNINGS = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_ENDS = ("-s3alias", "--ol-s3", "--x-s3", "--table-s3", "-an")


def aws(value: Any, answers: Answers) -> str | None:
    """Refuse AWS for a lab whose name leaves no room in the names of roles, or whose project for it has no place."""
    lab_name = answers["lab_name"]
    if value == "none":
        return None
    if len(lab_name) > LONGEST_LAB_NAME:
        return (
            f"`{value}`: roles at AWS are named after the lab, and `{lab_name}` has {len(lab_name)} characters;"
            f" give a lab_name of {LONGEST_LAB_NAME} at most"
        )
    return machines.project_problem(value, answers)


def region(value: Any, answers: Answers) -> str | None:
    """Check a region of AWS's usual partition, by its form: new ones come."""
    text = str(value)
    if isinstance(value, str) and _REGION.fullmatch(value):
        return None
    if text.startswith(_OTHER_PARTITIONS):
        return f"`{value}` is in a part of AWS with separate accounts and addresses, which the lab's policies do not name; give one such as `eu-central-1`"
    if _REGION.fullmatch(text[:-1]) and text[-1:].isalpha():
        return f"`{value}` is a zone; give its region: `{text[:-1]}`"
    if text != text.lower() and _REGION.fullmatch(text.lower()):
        return f"`{value}` has capital letters; did you mean `{text.lower()}`?"
    return f"`{value}` is not a region of AWS; give one such as `eu-central-1`"


def account(value: Any, answers: Answers) -> str | None:
    """Check an account's number, 12 digits."""
    digits = re.sub("[- ]", "", str(value))
    if isinstance(value, str) and re.fullmatch("[0-9]{12}", value):
        return None
    if re.fullmatch("[0-9]{12}", digits):
        return f"`{value}` has dashes or blanks in it; did you mean `{digits}`?"
    if not value and answers.get("aws", "none") == "none":
        # Whose account it would be is not asked then, and nothing is a default that is right.
        return None
    if not value:
        return "the account's number is missing; give its 12 digits, which AWS's console shows in the menu at the top right"
    return f"`{value}` is not an account's number; give its 12 digits, such as `123456789012`"


def login(value: Any, answers: Answers) -> str | None:
    """Refuse certificates of an authority that the lab has not."""
    if value == "roles-anywhere" and not answers["private_ca"]:
        return "`roles-anywhere` logs in with a certificate of the lab's own authority, and private_ca is false; give `oidc`, or answer `private_ca: true`"
    return None


def bucket(value: Any, answers: Answers) -> str | None:
    """Check a bucket's name by S3's rules, without dots: they break the certificate of `https://<name>.s3.<region>.amazonaws.com`."""
    example = f"{names.slug(str(value).lower())[:50].strip('-')}-{answers['aws_account']}"
    if value == "" and answers["aws"] == "none":
        return None
    if not isinstance(value, str) or not value:
        return f"a bucket's name is missing; give one that nobody else has, such as `{answers['lab_name']}-{answers['aws_account']}`"
    if "." in value:
        return f"`{value}` has a dot, and S3's certificate does not cover such a name; did you mean `{value.replace('.', '-')}`?"
    if not 3 <= len(value) <= 63:
        return f"`{value[:70]}` has {len(value)} characters; a bucket's name has 3 to 63"
    if not re.fullmatch("[a-z0-9][a-z0-9-]*[a-z0-9]", value):
        return f"`{value}` is not a bucket's name: a-z, 0-9 and dashes inside; give one such as `{example}`"
    reserved = next((f"begins with `{one}`" for one in _RESERVED_BEGINNINGS if value.startswith(one)), None)
    reserved = reserved or next((f"ends in `{one}`" for one in _RESERVED_ENDS if value.endswith(one)), None)
    return f"`{value}` {reserved}, which S3 keeps for itself; give one such as `{example}`" if reserved else None


def issuer_bucket(value: Any, answers: Answers) -> str | None:
    """Check the bucket for GitLab's public keys; none only if AWS can ask GitLab itself."""
    if value == "":
        return None if answers["aws"] == "none" else _unreachable(answers)
    if (refusal := bucket(value, answers)) is not None:
        return refusal
    if value == answers["aws_bucket"]:
        return f"`{value}` is the bucket for backups, and everybody can read this one; give another, such as `{answers['lab_name']}-{answers['aws_account']}-issuer`"
    return None


def _unreachable(answers: Answers) -> str | None:
    """Return why AWS cannot ask GitLab for its keys: it wants a public name and certificate, on port 443.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html
    """
    host = answers["gitlab_host"]
    why = None
    if names.is_private_name(host):
        why = f"`{host}` is no name on the internet"
    elif answers["private_ca"]:
        why = "AWS does not trust your own authority"
    elif answers["https_port"] != 443:
        why = f"AWS takes no issuer with a port, and https_port is `{answers['https_port']}`"
    if why is None:
        return None
    return f"without a bucket AWS asks GitLab itself for its keys, and cannot: {why}; give a bucket, such as `{answers['lab_name']}-{answers['aws_account']}-issuer`"


RULES = {
    "aws": aws,
    "aws_region": region,
    "aws_account": account,
    "aws_login": login,
    "aws_bucket": bucket,
    "aws_backup_days": lambda value, _: values.whole_number(value, 7, 3650, "days"),
    "aws_issuer_bucket": issuer_bucket,
}
