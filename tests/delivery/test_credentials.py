"""Who needs which secret, and who makes it: names, namespaces, types and keys agree over all of the lab."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.delivery.support import bootstrap_secrets
from tests.support.cluster import Lab, Object, namespace_of, read_lab, title
from tests.support.references import bootstrap_secrets as table
from tests.support.references import pod_of
from tests.support.rendering import VALID, read_answers, recorded_answers, rendered

PULL = "kubernetes.io/dockerconfigjson"
# What is said of one place: who, the secret's namespace and name, its type where it matters, the keys that it must have.
Need = tuple[str, str, str, str, frozenset[str]]


def needs(lab: Lab) -> Iterator[Need]:
    """Yield every place in the lab that reads a secret, and what it expects to find there."""
    for thing in lab.objects:
        space, spec, who = namespace_of(thing), thing.get("spec", {}), title(thing)
        if thing["kind"] == "GitRepository":
            keys = {"identity", "known_hosts"} if spec["url"].startswith("ssh://") else {"username", "password"}
            yield who, space, spec["secretRef"]["name"], "", frozenset(keys)
        if thing["kind"] == "ImageRepository":
            yield who, space, spec["secretRef"]["name"], PULL, frozenset({".dockerconfigjson"})
        if thing["kind"] in {"Receiver", "Provider"}:
            yield who, space, spec["secretRef"]["name"], "", frozenset({"token"})
        if "certSecretRef" in spec:
            yield who, space, spec["certSecretRef"]["name"], "", frozenset({"ca.crt"})
        if thing["kind"] == "Ingress":
            for entry in spec.get("tls", []):
                if "secretName" in entry:
                    yield who, space, entry["secretName"], "kubernetes.io/tls", frozenset({"tls.crt", "tls.key"})
        yield from needs_of_pods(thing, who, space)


def needs_of_pods(thing: Object, who: str, space: str) -> Iterator[Need]:
    pod = pod_of(thing)
    if pod is None:
        return
    for secret in pod[1].get("imagePullSecrets", []):
        yield who, space, secret["name"], PULL, frozenset({".dockerconfigjson"})
    for volume in pod[1].get("volumes", []):
        if "secret" in volume:
            yield who, space, volume["secret"]["secretName"], "", frozenset({"ca.crt"})
    for container in [*pod[1]["containers"], *pod[1].get("initContainers", [])]:
        for variable in container.get("env", []):
            source = variable.get("valueFrom", {}).get("secretKeyRef")
            if source and not source.get("optional"):
                yield who, space, source["name"], "", frozenset({source["key"]})


def issued(lab: Lab) -> set[tuple[str, str]]:
    """Return the certificates that cert-manager writes."""
    return {(namespace_of(one), one["spec"]["secretName"]) for one in lab.of_kind("Certificate")}


@pytest.mark.deep(keep=5)
@pytest.mark.slow(keep=2, each_commit=True)
def test_every_secret_that_is_read_is_made_in_that_namespace_with_those_keys(lab: Lab) -> None:
    made, scripts, wrong = table(lab.answers), bootstrap_secrets.made(lab.path), []
    for who, space, name, kind, keys in needs(lab):
        if (space, name) in issued(lab):
            continue
        if not keys <= made.get((space, name), set()):
            wrong.append(f"{who} reads {sorted(keys)} of {space}/{name}, which nobody makes")
        owners = lab.answers["tls_source"] == "secret" and name == lab.answers["tls_secret_name"]
        shapes = {("kubernetes.io/tls", frozenset({"tls.crt", "tls.key"}))} if owners else scripts.get(name, set())
        if not any(keys <= held and kind in ("", shape) for shape, held in shapes):
            wrong.append(
                f"{who} reads {name} as {kind or 'any type'} with {sorted(keys)}; the bootstrap writes {shapes}"
            )
    assert wrong == []


@pytest.mark.slow(keep=4, each_commit=True)
def test_the_bootstrap_writes_what_the_table_of_references_says(lab: Lab) -> None:
    """The table in tests/support/references.py names keys; the scripts write exactly those, in one of their shapes."""
    scripts = bootstrap_secrets.made(lab.path)
    for (space, name), keys in table(lab.answers).items():
        shapes = scripts.get(name, set())
        assert not shapes or any(held <= keys for _, held in shapes), f"{space}/{name}"
    delivery = {
        "flux-system",
        "regcred",
        "receiver-token",
        "registry-webhook",
        "gitlab-status",
        "gitlab-runner-token",
        "lab-ca",
    }
    assert delivery <= set(scripts), "every secret of the way from a tag to a pod is made by a script, and none by hand"


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize("name", ["article", "pair-01", "pair-02"])
def test_every_group_pulls_with_its_own_token_wherever_flux_scans_and_pods_pull(
    shared: Path, tmp_path: Path, name: str
) -> None:
    """One group, upper case; two, one of them below another; five."""
    path = rendered(shared, name, read_answers(next(file for file in VALID if file.stem == name)))
    lab = read_lab(path, recorded_answers(path))
    a, pulls = lab.answers, bootstrap_secrets.pull_secrets(path)
    assert set(pulls) == {"flux-system/regcred", f"{a['app_namespace']}/regcred"}
    assert {f"{space}/{secret}" for _, space, secret, kind, _ in needs(lab) if kind == PULL} <= set(pulls)
    auths, other = pulls.values()
    assert auths == other
    address = a["registry_host"] + ("" if a["https_port"] == 443 else f":{a['https_port']}")
    for group in a["groups"]:
        for project in ("demo", "deeper/still"):
            found = bootstrap_secrets.credentials(auths, f"{address}/{group.lower()}/{project}:v1.2.3")
            assert found, f"nothing for {group}"
            first = found[0]
            assert (first["username"], first["password"]) == (f"flux of {group}", f"token of {group}")
            assert base64.b64decode(first["auth"]).decode() == f"{first['username']}:{first['password']}"
    for image in [one["spec"]["image"] for one in lab.of_kind("ImageRepository")]:
        assert bootstrap_secrets.credentials(auths, f"{image}:v1")[0]["username"] == f"flux of {a['groups'][0]}"
    assert bootstrap_secrets.credentials(auths, "docker.io/library/nginx:1") == [], "and no other registry sees it"


# Few letters, so that one name often begins like another.
word = st.text("ab0", min_size=1, max_size=3) | st.just("v1")
group = st.builds(
    "{}{}{}".format,
    word,
    st.builds("{}{}".format, st.sampled_from("-._"), word) | st.just(""),
    word.map("/{}".format) | st.just(""),
)


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(group, min_size=2, max_size=6, unique=True), st.sampled_from(["app", "a", "a0", "ab/a"]))
@example(["friends", "friends/web"], "website")
@example(["v1", "v2/a", "b"], "v1")
def test_with_several_groups_each_project_is_pulled_with_the_token_of_the_nearest(
    groups: list[str], project: str
) -> None:
    """`one` and `one-more`, `friends` and `friends/web` stand side by side; a group below another has its own token."""
    keys = bootstrap_secrets.registry_keys(groups, "registry.lab:8443")
    auths: dict[str, Any] = {key: {"username": one} for key, one in zip(keys, groups, strict=True)}
    for mine in groups:
        image = f"{mine}/{project}"
        tried = [
            entry["username"] for entry in bootstrap_secrets.credentials(auths, f"registry.lab:8443/{image}:1.0.0")
        ]
        assert tried == sorted((one for one in groups if image.startswith(f"{one}/")), key=len, reverse=True), image


def test_receivers_reach_what_they_are_to_wake(lab: Lab) -> None:
    receivers = {one["metadata"]["name"]: one["spec"] for one in lab.of_kind("Receiver")}
    assert set(receivers) == ({"gitlab", "registry"} if lab.answers["gitops_source"] == "self" else {"registry"})
    (resource,) = receivers["registry"]["resources"]
    assert (resource["kind"], resource["name"]) == ("ImageRepository", "*")
    for repository in lab.of_kind("ImageRepository"):
        assert resource["matchLabels"].items() <= repository["metadata"]["labels"].items()
        assert namespace_of(repository) == "flux-system", "a receiver looks in its own namespace"
    if "gitlab" in receivers:
        assert receivers["gitlab"]["events"] == ["Push Hook"]
        (source,) = receivers["gitlab"]["resources"]
        assert (source["kind"], source["name"]) == (
            "GitRepository",
            lab.of_kind("ImageUpdateAutomation")[0]["spec"]["sourceRef"]["name"],
        )


def test_flux_reports_to_the_project_that_it_follows(lab: Lab) -> None:
    if lab.answers["gitops_source"] != "self":
        assert lab.of_kind("Provider") == []
        return
    (provider,) = lab.of_kind("Provider")
    (alert,) = lab.of_kind("Alert")
    source = lab.of_kind("GitRepository")[0]["spec"]["url"]
    assert provider["spec"]["type"] == "gitlab"
    assert source.endswith("/" + provider["spec"]["address"].split("/", 3)[3] + ".git"), (
        "the same project as Flux's source"
    )
    assert provider["spec"]["address"].startswith(f"https://{lab.answers['gitlab_host']}")
    assert alert["spec"]["eventSources"] == [{"kind": "Kustomization", "name": "*"}], (
        "only these know the commit that they applied"
    )
    assert alert["spec"]["eventSeverity"] == "info", "success is a status too"
    waits = [
        one
        for one in lab.of_kind("Kustomization")
        if one["apiVersion"].startswith("kustomize.toolkit") and one["spec"].get("wait")
    ]
    assert {one["metadata"]["name"] for one in waits} >= {"automation", "gitlab"}, (
        "and a status speaks of what runs, not of what was sent"
    )


@pytest.mark.parametrize("image", ["registry.lab/homelab/demo", "registry.lab:8443/homelab/demo:v1"])
def test_a_port_is_not_taken_for_a_tag(image: str) -> None:
    host = image.split("/", maxsplit=1)[0]
    assert bootstrap_secrets.credentials({host: {"username": "x"}}, image) == [{"username": "x"}]
