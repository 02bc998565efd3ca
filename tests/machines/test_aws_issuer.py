"""What iac/aws-issuer.tf publishes lets AWS tell GitLab's tokens from others, by a JOSE library that knows nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwk, jwt
from joserfc.errors import JoseError

from tests.machines.support.aws_world import CONFIGURATION, KEYS, World, cloudy_lab  # noqa: F401 - a fixture

pytestmark = pytest.mark.xdist_group("aws")
DISCOVERY = [
    "issuer",
    "jwks_uri",
    "response_types_supported",
    "subject_types_supported",
    "id_token_signing_alg_values_supported",
]


def verified(at: World, token: str, issuer: str, audience: str = "sts.amazonaws.com") -> dict[str, Any]:
    """Return a token's claims, as one who knows the issuer's address verifies it: by the published documents alone."""
    configuration = at.published(f"{issuer}/{CONFIGURATION}")
    assert [name for name in DISCOVERY if name not in configuration] == []
    keys = jwk.KeySet.import_key_set(at.published(configuration["jwks_uri"]))
    claims = jwt.decode(token, keys, algorithms=configuration["id_token_signing_alg_values_supported"]).claims
    wanted = {
        "iss": {"essential": True, "value": configuration["issuer"]},
        "aud": {"essential": True, "value": audience},
    }
    jwt.JWTClaimsRegistry(exp={"essential": True}, **wanted).validate(claims)
    assert configuration["issuer"] == issuer
    return claims


@pytest.mark.slow
def test_a_token_of_a_job_is_verified_by_the_published_documents_alone(cloudy: World) -> None:
    claims = verified(cloudy, cloudy.gitlab.token(), cloudy.gitlab.issuer)
    assert claims["sub"] == "project_path:Infra/Lab/iac:ref_type:branch:ref:main"
    trust = cloudy.aws.iam.get_role(RoleName="lab-cloudy-iac")["Role"]["AssumeRolePolicyDocument"]
    host = cloudy.gitlab.issuer.removeprefix("https://")
    assert trust["Statement"][0]["Condition"] == {
        "StringEquals": {f"{host}:sub": [claims["sub"]], f"{host}:aud": claims["aud"]}
    }


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize(
    "other", [{"iss": "https://gitlab.home.arpa"}, {"aud": "https://vault.example"}, {"exp": 1}, {"iss": None}]
)
def test_a_token_with_another_issuer_or_audience_or_of_another_time_is_refused(
    cloudy: World, other: dict[str, Any]
) -> None:
    with pytest.raises(JoseError):
        verified(cloudy, cloudy.gitlab.token(**other), cloudy.gitlab.issuer)


def test_a_token_that_another_key_has_signed_is_refused_also_under_the_name_of_a_published_one(cloudy: World) -> None:
    foreign = jwk.RSAKey.generate_key(2048)
    with pytest.raises((JoseError, ValueError)):
        verified(cloudy, cloudy.gitlab.token(foreign), cloudy.gitlab.issuer)
    token = jwt.encode(
        {"alg": "RS256", "kid": cloudy.gitlab.for_jobs.thumbprint()}, {"iss": cloudy.gitlab.issuer}, foreign
    )
    with pytest.raises(JoseError):
        verified(cloudy, token, cloudy.gitlab.issuer)


@pytest.mark.slow
def test_a_new_key_of_gitlab_shows_in_the_plan_is_published_and_takes_the_place_of_the_old_one(cloudy: World) -> None:
    before = cloudy.gitlab.token()
    verified(cloudy, before, cloudy.gitlab.issuer)
    assert cloudy.difference() == ""
    cloudy.gitlab.rotate()
    with pytest.raises((JoseError, ValueError)):
        verified(cloudy, cloudy.gitlab.token(), cloudy.gitlab.issuer)
    assert f'aws_s3_object.issuer["{KEYS}"] will be updated' in cloudy.difference()
    assert cloudy.apply() == [("update", "aws_s3_object")]
    verified(cloudy, cloudy.gitlab.token(), cloudy.gitlab.issuer)
    with pytest.raises((JoseError, ValueError)):
        verified(cloudy, before, cloudy.gitlab.issuer)
    assert cloudy.difference() == ""


@pytest.mark.deep
def test_what_somebody_else_has_put_there_shows_in_the_plan_and_is_put_right(cloudy: World) -> None:
    forged = json.dumps({"keys": [jwk.RSAKey.generate_key(2048).as_dict(private=False)]})
    cloudy.aws.s3.put_object(Bucket="cloudy-issuer", Key=KEYS, Body=forged, ContentType="application/json")
    assert f'aws_s3_object.issuer["{KEYS}"] will be updated' in cloudy.difference()
    cloudy.apply()
    verified(cloudy, cloudy.gitlab.token(), cloudy.gitlab.issuer)


def test_no_private_part_of_a_key_is_published_whatever_gitlab_shows(cloudy: World) -> None:
    shown = json.loads(cloudy.gitlab.answer(f"{cloudy.gitlab.url}/{KEYS}")[1])
    private = cloudy.gitlab.for_jobs.as_dict(private=True)
    shown["keys"][1] |= {name: private[name] for name in ("d", "p", "q")}
    cloudy.gitlab.answers[KEYS] = 200, json.dumps(shown)
    try:
        cloudy.apply()
        assert [sorted(key) for key in cloudy.published(f"{cloudy.gitlab.issuer}/{KEYS}")["keys"]] == [
            ["alg", "e", "kid", "kty", "n", "use"]
        ] * 2
    finally:
        cloudy.gitlab.answers.clear()


NO_ANSWERS = {
    "a proxy's page": (KEYS, (502, "<html>Bad Gateway</html>"), "its answer has the status 502"),
    "a log-in": (KEYS, (200, "<html>Sign in</html>"), "is no JSON"),
    "not found": (CONFIGURATION, (404, "{}"), "GitLab did not show .well-known/openid-configuration"),
    "no keys": (KEYS, (200, '{"keys": []}'), "GitLab shows no keys"),
    "other keys": (
        KEYS,
        (200, '{"keys": [{"kty": "EC", "kid": "1", "use": "sig", "alg": "ES256", "e": "", "n": ""}]}'),
        "keys that are not RSA",
    ),
}


@pytest.mark.deep(keep=1)
@pytest.mark.parametrize("which", NO_ANSWERS)
def test_what_is_no_answer_of_gitlabs_is_not_published(cloudy: World, which: str) -> None:
    path, answer, said = NO_ANSWERS[which]
    cloudy.gitlab.answers[path] = answer
    try:
        done = cloudy.run("plan", "-input=false")
        assert done.status == 1
        assert said in done.words
    finally:
        cloudy.gitlab.answers.clear()


def test_gitlab_its_pipeline_and_aws_name_one_issuer_and_one_audience(cloudy: World, shared: Path) -> None:
    lab = shared / "labs" / "aws"
    issuer = cloudy.gitlab.issuer
    assert f"gitlab_rails['ci_id_tokens_issuer_url'] = '{issuer}'\n" in (lab / "apps/gitlab/gitlab.rb").read_text()
    providers = cloudy.aws.iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
    found = [cloudy.aws.iam.get_open_id_connect_provider(OpenIDConnectProviderArn=one["Arn"]) for one in providers]
    assert [(f"https://{one['Url'].removeprefix('https://')}", one["ClientIDList"]) for one in found] == [
        (issuer, ["sts.amazonaws.com"])
    ]


@pytest.mark.slow
def test_the_bucket_for_backups_is_not_destroyed_with_the_rest(cloudy: World) -> None:
    cloudy.aws.done.clear()
    done = cloudy.run("destroy", "-auto-approve", "-input=false")
    assert done.status == 1 and "aws_s3_bucket.lab has lifecycle.prevent_destroy set" in done.words
    assert cloudy.aws.done == []
