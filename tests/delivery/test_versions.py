"""What the pipeline pushes and what Flux selects are the same tags, in the same order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.delivery.support import evaluator
from tests.delivery.support.flux_semver import allows, latest, parse
from tests.delivery.support.job_shell import read_pipeline, run_job
from tests.support import program
from tests.support.cluster import Lab
from tests.support.depth import every
from tests.support.rendering import ROOT

LONG = every()
EXAMPLES = settings(max_examples=5000 if LONG else 200, deadline=None, database=None)
# What a registry takes as a tag (docs: distribution, reference grammar).
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
RULE = re.compile(r"^\$CI_COMMIT_TAG =~ /(.*)\$/$")
RANGE = re.search(
    r'^  semver: "(.*)"$', (ROOT / "template/charts/app/values.yaml").read_text(encoding="utf-8"), re.MULTILINE
)


def pattern_of(pipeline: Path) -> re.Pattern[str]:
    """Return the rule of the job that builds, as GitLab's RE2 reads it: ASCII digits, and `$` is the end of the text."""
    rules = read_pipeline(pipeline)["build"]["rules"]
    assert len(rules) == 1 and set(rules[0]) == {"if"}
    match = RULE.match(rules[0]["if"])
    assert match
    return re.compile(match[1] + r"\Z", re.ASCII)


PARTIAL = (ROOT / "partials/image.gitlab-ci.yml.jinja").read_text(encoding="utf-8")
_rule = re.search(r"- if: \$CI_COMMIT_TAG =~ /(.*)\$/\n", PARTIAL)
assert _rule and RANGE
PATTERN, SEMVER = re.compile(_rule[1] + r"\Z", re.ASCII), RANGE[1]


def pushed(tag: str) -> bool:
    return PATTERN.match(tag) is not None


def selected(tag: str) -> bool:
    return latest([tag], SEMVER) == tag


def test_each_lab_pushes_by_this_rule_and_selects_by_this_range(lab: Lab) -> None:
    pipeline = lab.path / ("sample-app/.gitlab-ci.yml" if lab.answers["sample_app"] else ".gitlab/image.gitlab-ci.yml")
    assert pattern_of(pipeline) == PATTERN
    for policy in lab.of_kind("ImagePolicy"):
        assert policy["spec"]["policy"] == {"semver": {"range": SEMVER}}
        assert "filterTags" not in policy["spec"], "nothing else chooses among the tags"


@pytest.mark.slow
def test_a_tag_that_is_not_built_is_told_and_so_is_one_that_outruns_all_others(tmp_path: Path) -> None:
    for file in sorted((ROOT / "example").rglob("sample-app/.gitlab-ci.yml")):
        project = evaluator.make_project(tmp_path / "project", file.read_text(encoding="utf-8"))
        jobs = {tag: evaluator.jobs(project, CI_COMMIT_TAG=tag) for tag in TOLD}
        assert jobs == TOLD
        rules = read_pipeline(file)["tag-form"]["rules"]
        assert rules[0]["if"].endswith(f" !~ /{_rule[1]}$/")
        assert evaluator.jobs(project, CI_COMMIT_BRANCH="main") == set()
        for tag, rule, said in (
            ("v1.2", 0, "The tag v1.2 is no version for Flux"),
            ("2026.11.27", 1, "The tag 2026.11.27 is a greater version than"),
        ):
            variables = {"CI_COMMIT_TAG": tag, **rules[rule]["variables"]}
            ran = run_job(read_pipeline(file)["tag-form"], project, tmp_path / tag, variables)
            assert ran.status == 1 and said in ran.output, ran.output


TOLD = {
    "v1.2.3": {"build"},
    "1.2.3": {"build"},
    "999.0.0": {"build"},
    "v0.0.1": {"build"},
    "v1.2": {"tag-form"},
    "20261127": {"tag-form"},
    "nightly": {"tag-form"},
    "v1.2.3-rc1": {"tag-form"},
    "2026.01.05": {"tag-form"},
    "V1.2.3": {"tag-form"},
    "2026.11.27": {"build", "tag-form"},
    "v1000.0.0": {"build", "tag-form"},
}
number = st.one_of(
    st.integers(0, 30).map(str),
    st.integers(0, 10**18 - 1).map(str),
    st.integers(10**17, 2**64 + 9).map(str),
    st.sampled_from(
        [
            "",
            "00",
            "01",
            "1_0",
            "-1",
            "+1",
            " 1",
            "1 ",
            "x",
            "1e3",
            "٣",
            "¹",
            "0x1",
            "18446744073709551615",
            "18446744073709551616",
        ]
    ),
)
versions = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "", "v", "v", "V", "vv", "release-", " ", "v."]),
    st.lists(number, min_size=1, max_size=5).map(".".join),
    st.one_of(
        st.just(""),
        st.sampled_from(
            ["-rc1", "-0", "-", "+build", "-rc.1+b", "\n", " ", ".", "-01", "_1", "^", "$", "\r\n", "\x00"]
        ),
    ),
)
released = st.builds(
    "{}{}.{}.{}".format, st.sampled_from(["", "v"]), *[st.integers(0, 12) | st.integers(0, 10**18 - 1)] * 3
)
tags = st.one_of(versions, st.from_regex(TAG, fullmatch=True), st.text(max_size=12))


@EXAMPLES
@given(tags)
@example("v1.2.3")
@example("1.2.3")
@example("v1.2.3-rc1")
@example("nightly")
@example("cache")
@example("latest")
@example("v01.2.3")
@example("v1.2.3\n")
@example("1.2.3.4")
@example("v1.2.3+build")
@example("999999999999999999.0.0")
@example("1000000000000000000.0.0")
def test_a_tag_is_pushed_exactly_if_flux_would_select_it(tag: str) -> None:
    """Up to eighteen digits a number. Flux could count to 2^64; the pipeline stops where every tool still counts exactly."""
    if pushed(tag):
        assert selected(tag) and TAG.fullmatch(tag), "pushed, and never deployed"
    elif selected(tag) and TAG.fullmatch(tag):
        assert max(map(len, re.findall(r"\d+", tag))) > 18, "deployed, but never pushed by the pipeline"


@pytest.mark.parametrize("release", ["1.2.3", "v1.2.3", "0.0.0", "v10.20.30"])
def test_no_slip_of_the_pen_is_pushed_and_never_deployed(release: str) -> None:
    """Each character too many, too few or another, at each place: what chance finds late, all of it."""
    slips = {
        release[:at] + other + release[at + gone :]
        for at in range(len(release) + 1)
        for gone in (0, 1)
        for other in [*"-+.v01x_V ", ""]
    }
    assert len(slips) > 50
    assert [tag for tag in sorted(slips) if TAG.fullmatch(tag) and pushed(tag) is not selected(tag)] == []


@EXAMPLES
@given(st.lists(st.one_of(released, tags), min_size=1, max_size=12))
def test_flux_selects_the_greatest_of_what_was_pushed(found: list[str]) -> None:
    """Whatever else lies in the registry, which only a pipeline with this rule fills: its cache, and tags by hand."""
    in_registry = [tag for tag in found if pushed(tag)]
    numbers = [tuple(int(part) for part in tag.removeprefix("v").split(".")) for tag in in_registry]
    best = latest([*in_registry, "cache", "latest", "sha256-0123.sig"], SEMVER)
    assert best == (in_registry[numbers.index(max(numbers))] if in_registry else None)


@EXAMPLES
@given(released, released)
def test_the_order_of_two_releases_is_that_of_their_numbers(one: str, other: str) -> None:
    a, b = parse(one), parse(other)
    assert a and b
    assert (a < b) == (
        list(map(int, one.removeprefix("v").split("."))) < list(map(int, other.removeprefix("v").split(".")))
    )
    later = latest([one, other], SEMVER)
    assert later == (other if a < b else one)


RECIPES = {
    "everything": (">=0.0.0", "1.5.0"),
    "a line": ("1.4.x", "1.4.3"),
    "one version": ("1.4.2", "1.4.2"),
    "skip a bad version": (">=0.0.0 !=1.5.0", "1.4.3"),
    "nothing newer": ("<1.4.3", "1.4.2"),
}


@pytest.mark.parametrize("name", RECIPES)
def test_what_the_owner_writes_down_selects_what_the_lab_says(name: str) -> None:
    text, wanted = RECIPES[name]
    assert latest(["1.4.1", "1.4.2", "1.4.3", "1.5.0", "1.6.0-rc1", "cache"], text) == wanted


def test_the_recipes_are_those_of_the_labs_own_words(article: Lab) -> None:
    told = set(
        re.findall(
            r'imagePolicy\.semver: "?([^";\n]*?)"?(?:;|,|$)',
            (article.path / "automation/image-updates.yaml").read_text(),
            re.MULTILINE,
        )
    )
    assert told == {"1.4.x", "1.4.2", ">=0.0.0 !=1.4.3"}


# What Masterminds/semver and Flux answer, from their own tests.
KNOWN = {
    ("1.2.3", ">=0.0.0"): True,
    ("v1.2.3", ">=0.0.0"): True,
    ("1.2.3-beta.0", ">=0.0.0"): False,
    ("1.2.3-beta.0", ">=0.0.0-0"): True,
    ("1.2", ">=0.0.0"): False,
    ("01.2.3", ">=0.0.0"): False,
    ("1.2.3", "1.2.x"): True,
    ("1.3.0", "1.2.x"): False,
    ("1.2.3", "~1.2"): True,
    ("1.3.0", "~1.2"): False,
    ("1.9.9", "^1.2"): True,
    ("2.0.0", "^1.2"): False,
    ("0.2.5", "^0.2.3"): True,
    ("0.3.0", "^0.2.3"): False,
    ("1.2.3", "!=1.2.3"): False,
    ("1.2.4", "!=1.2.3"): True,
    ("1.2.4", ">=1.0.0, <1.2.4"): False,
    ("4.1.0", "!=4.x"): False,
    ("5.1.0", "!=4.x"): True,
}


def test_the_rule_in_these_tests_agrees_with_the_librarys_own_examples() -> None:
    assert {key: (version := parse(key[0])) is not None and allows(key[1])(version) for key in KNOWN} == KNOWN


# Which tags GitLab keeps from developers (lab_program/stages/deployers.py)


@EXAMPLES
@given(
    st.one_of(
        st.from_regex(r"[0-9v.\-A-Za-z_]{1,20}", fullmatch=True),
        st.from_regex(r"v?[0-9]{1,3}(\.[0-9]{1,3}){2}(-[0-9a-z.-]{1,9})?", fullmatch=True),
    )
)
def test_every_tag_that_flux_reads_as_a_version_is_protected(tag: str) -> None:
    if parse(tag) is not None:
        assert re.search(program.deployers.VERSIONS, tag, re.ASCII) and re.fullmatch(
            program.deployers.VERSIONS, tag, re.ASCII
        )


@EXAMPLES
@given(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True))
def test_no_branch_and_no_commit_in_a_pipeline_is_named_like_a_version(slug: str) -> None:
    """CI_COMMIT_REF_SLUG has letters, digits and hyphens: https://docs.gitlab.com/ci/variables/predefined_variables/"""
    assert re.search(program.deployers.VERSIONS, slug, re.ASCII) is None
