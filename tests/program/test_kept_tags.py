"""Which image tags GitLab's clean-up may take: never one that Flux may deploy or that something uses.

`removed` is GitLab's documented order of steps, written for these tests alone:
https://docs.gitlab.com/user/packages/container_registry/reduce_container_registry_storage/#how-the-cleanup-policy-works
"""

from __future__ import annotations

import dataclasses
import re
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.program import cleanup, deployers, gitlab_cleanup, kept_tags, objects, registry_use

REGISTRY = "registry.lab:8443"
DAYS = {"7d": 7, "14d": 14, "30d": 30, "90d": 90}
NUMBERS = (1, 5, 10, 25, 50, 100)
CADENCES = ("1d", "7d", "14d", "1month", "3month")


def removed(policy: gitlab_cleanup.CleanupPolicy, ages: dict[str, int]) -> set[str]:
    """Return which of some tags GitLab removes; each has an age in days."""
    if not policy.enabled:
        return set()
    left = [tag for tag in ages if tag != "latest"]
    left = [tag for tag in left if re.search(rf"\A{policy.name_regex}\Z", tag)]
    if policy.name_regex_keep:
        left = [tag for tag in left if not re.search(rf"\A{policy.name_regex_keep}\Z", tag)]
    left.sort(key=lambda tag: ages[tag])
    left = left[policy.keep_n or 0 :]
    return {tag for tag in left if not policy.older_than or ages[tag] > DAYS[policy.older_than]}


# What people tag images with, and what nobody would.
number = st.integers(0, 999).map(str)
version = st.builds(
    "{}{}.{}.{}{}".format,
    st.sampled_from(["", "v"]),
    number,
    number,
    number,
    st.sampled_from(["", "-rc1", "-0.beta.2"]),
)
build = st.builds(
    "{}-{}-{}".format,
    st.sampled_from(["main", "feature", "a.b"]),
    st.text("0123456789abcdef", min_size=1, max_size=8),
    number,
)
anything = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)
tag = st.one_of(version, build, anything, st.sampled_from(["latest", "cache", "main", "stable", "1.2", "v1"]))
FILTERS = (
    r"^main-[a-f0-9]+-(?P<ts>[0-9]+)$",
    r"^feature-(?P<sha>[a-f0-9]+)-(?P<ts>[0-9]+)",
    r"(?i:^STABLE)|nightly$",
    r"^(?<ts>[0-9]+)$",
    r"^a\.b-[(?P<x>]?",
)
filtered = st.sampled_from(FILTERS).map(
    lambda text: {"filterTags": {"pattern": text}, "policy": {"numerical": {"order": "asc"}}}
)
policies = st.lists(st.one_of(st.just({"policy": {"semver": {"range": ">=0.0.0"}}}), filtered), max_size=2)


def choosable(policy: dict[str, Any], one: str) -> bool:
    """Say whether an image policy may choose a tag. Flux looks for a filter anywhere in it, and reads versions by semver."""
    if "filterTags" in policy:
        return re.search(policy["filterTags"]["pattern"].replace("(?<", "(?P<"), one) is not None
    return re.fullmatch(r"v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?", one) is not None


@given(st.dictionaries(tag, st.integers(0, 4000), max_size=60), policies, st.data())
def test_nothing_is_removed_that_flux_may_deploy_or_that_is_in_use(
    ages: dict[str, int], rules: list[dict[str, Any]], data: st.DataObject
) -> None:
    used = set(data.draw(st.lists(st.sampled_from(sorted(ages)), max_size=3))) if ages else set()
    patterns = {deployers.deployable(rule) for rule in rules}
    try:
        wanted = kept_tags.policy(patterns, used)
    except kept_tags.UnkeepableError:
        assume(False)
    gone = removed(wanted, ages)
    assert not gone & used
    assert not [one for one in gone if any(choosable(rule, one) for rule in rules)]
    assert not [one for one in gone if re.fullmatch(r"v?\d+\.\d+\.\d+", one)], "a version may be gone back to"
    assert not [one for one in gone if not kept_tags.may_take(wanted, one)], "what the program says of a policy is so"
    assert not [one for one in used if kept_tags.may_take(wanted, one)]


def test_old_tags_of_builds_are_removed_but_for_the_newest() -> None:
    ages = {f"main-{number}": 100 + number for number in range(30)} | {
        "cache": 400,
        "v1.0.0": 900,
        "0.9.1-rc1": 950,
        "stable": 800,
    }
    gone = removed(kept_tags.policy({kept_tags.VERSIONS}, {"stable"}), ages)
    assert gone == {"cache", *(f"main-{number}" for number in range(10, 30))}
    young = dict.fromkeys(ages, 80)
    assert removed(kept_tags.policy({kept_tags.VERSIONS}, set()), young) == set()


def test_without_what_is_kept_a_running_tag_would_go() -> None:
    """The rule, not the age or the number, is what keeps it."""
    wanted = kept_tags.policy(set(), {"stable"})
    ages = {"stable": 900, "v1.0.0": 900} | {f"main-{number}": number for number in range(10)}
    assert removed(wanted, ages) == set()
    assert removed(dataclasses.replace(wanted, name_regex_keep=""), ages) == {"stable", "v1.0.0"}


def test_a_policy_is_as_gitlab_takes_it() -> None:
    """GitLab knows few numbers and ages, 255 characters a pattern, and one group of a name."""
    wanted = kept_tags.policy(
        {deployers.deployable({"filterTags": {"pattern": text}}) for text in FILTERS[:2]}, {"a.b", "a+b"}
    )
    assert (wanted.keep_n in NUMBERS, wanted.older_than in DAYS, wanted.cadence in CADENCES) == (True, True, True)
    assert len(wanted.name_regex_keep) <= 255 and "(?P<" not in wanted.name_regex_keep
    re.compile(wanted.name_regex_keep)
    assert not re.search(rf"\A{wanted.name_regex_keep}\Z", "axb")


@pytest.mark.parametrize(
    ("patterns", "used", "words"), [({""}, set(), "any tag"), (set(), {f"build-{n}" for n in range(99)}, "255")]
)
def test_what_no_policy_can_keep_is_said_and_the_one_there_takes_nothing(
    patterns: set[str], used: set[str], words: str
) -> None:
    with pytest.raises(kept_tags.UnkeepableError, match=words):
        kept_tags.policy(patterns, used)
    assert removed(kept_tags.everything(), {"x": 4000, "main": 900} | dict.fromkeys(used, 900)) == set()
    assert kept_tags.is_labs(kept_tags.everything())


@given(st.sets(st.sampled_from(FILTERS)), st.sets(tag, max_size=3))
def test_the_labs_own_policy_is_known_again_and_no_other_is(filters: set[str], used: set[str]) -> None:
    try:
        wanted = kept_tags.policy({f".*(?:{one}).*" for one in filters}, used)
    except kept_tags.UnkeepableError:
        assume(False)
    assert kept_tags.is_labs(wanted) and not kept_tags.is_untouched(wanted)
    owners = dataclasses.replace(wanted, name_regex_keep=rf"release-.*|{re.escape('v1')}")
    assert not kept_tags.is_labs(owners) and not kept_tags.is_untouched(owners)


def test_what_a_project_is_made_with_is_nobodys_policy() -> None:
    made = gitlab_cleanup.CleanupPolicy(False, ".*", "", 10, "90d", "1d")
    assert kept_tags.is_untouched(None) and kept_tags.is_untouched(made)
    for change in (
        {"enabled": True},
        {"name_regex_keep": "v.*"},
        {"keep_n": 5},
        {"older_than": "7d"},
        {"name_regex": "dev-.*"},
    ):
        assert not kept_tags.is_untouched(dataclasses.replace(made, **change)), change


def test_tags_in_use_are_found_wherever_they_are_named() -> None:
    def pod(*images: str) -> dict[str, Any]:
        return {"containers": [{"name": "a", "image": image} for image in images]}

    cronjob = {
        "spec": {
            "jobTemplate": {
                "spec": {"template": {"spec": {"initContainers": [{"image": f"{REGISTRY}/g/job:nightly"}]}}}
            }
        }
    }
    release = {
        "spec": {
            "values": {
                "image": {"repository": f"{REGISTRY}/g/shop", "tag": "stable"},
                "sidecars": [{"image": f"{REGISTRY}/g/side/car:1"}],
            }
        }
    }
    running = {
        "spec": pod(
            f"{REGISTRY}/G/web:main-1",
            f"{REGISTRY}/g/web:v2@sha256:0",
            "docker.io/library/web:7",
            f"{REGISTRY}/g/untagged",
        )
    }
    found = kept_tags.running(REGISTRY, [objects.KubeObject(one) for one in (cronjob, release, running)])
    assert found == {"g/job": {"nightly"}, "g/shop": {"stable"}, "g/side/car": {"1"}, "g/web": {"main-1", "v2"}}
    text = f'    image:\n      repository: "{REGISTRY}/g/new"\n      tag: "edge" # {{}}\n'
    assert kept_tags.written(REGISTRY, [text, "image: {}"]) == {"g/new": {"edge"}}
    assert cleanup.used_of("G", found) == {"nightly", "stable", "1", "main-1", "v2"}
    assert cleanup.used_of("g/sid", found) == set() and cleanup.used_of("g/side", found) == {"1"}


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("3145728\t/var/lib/registry\n", "cache of Docker Hub: 3.0 GiB"),
        ("", "cache of Docker Hub: not measured"),
        ("Error from server (NotFound): 404 no such deployment\n", "cache of Docker Hub: not measured"),
    ],
)
def test_what_the_cache_of_docker_hub_takes_is_said_as_far_as_its_pod_answers(said: str, line: str) -> None:
    asked: list[list[str]] = []
    programs = SimpleNamespace(run=lambda command: asked.append(command) or SimpleNamespace(out=said))
    lab = SimpleNamespace(programs=programs, settings=SimpleNamespace(app_namespace="apps"))
    assert registry_use.cache_line(lab) == line
    assert asked[0][:5] == ["kubectl", "exec", "-n", "apps", "deploy/docker-hub-cache"]


def test_the_size_of_the_registry_is_said_with_what_becomes_of_garbage() -> None:
    size, header = (
        "2621440\t/var/opt/gitlab/gitlab-rails/shared/registry\n",
        "HTTP/1.1 401 Unauthorized\r\nGitlab-Container-Registry-Database-Enabled: {}\r\n",
    )
    assert (
        registry_use.in_words(size + header.format("true"))
        == "registry: 2.5 GiB of images; untagged images are removed after a day"
    )
    assert "docs/registry.md" in registry_use.in_words(size + header.format("false"))
    assert registry_use.in_words("") == "registry: not measured within 20 s"
    assert [registry_use.amount(kib) for kib in (0, 1023, 1024, 3 * 2**30, 2**41)] == [
        "0 KiB",
        "1023 KiB",
        "1.0 MiB",
        "3.0 TiB",
        "2048.0 TiB",
    ]
