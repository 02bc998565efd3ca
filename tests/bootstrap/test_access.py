"""Who may do what in the lab's GitLab: each way to more than the owner meant is walked, as an attacker would, and closed."""

from __future__ import annotations

import datetime
import re
import shutil
import subprocess
from collections.abc import Callable

import pytest

from tests.bootstrap.support.lab_folder import write_settings
from tests.bootstrap.support.lab_world import World
from tests.bootstrap.support.stand_in_access import DEVELOPER, MAINTAINER

LAB, DEMO = "HomeLAB/homelab", "HomeLAB/demo"
VARIABLE = "DOCKER_REGISTRY_TOKEN"


def push(world: World, project: str, user: str, token: str, ref: str) -> subprocess.CompletedProcess[str]:
    """Commit something onto a project's main branch, and push it to a ref, as somebody with this token."""
    folder = world.folder / f"attack {len(list(world.folder.glob('attack *')))}"
    me = [
        "-c",
        "user.name=Somebody",
        "-c",
        "user.email=s@lab",
        "-c",
        "credential.helper=",
        "-c",
        "commit.gpgsign=false",
    ]
    source = world.gitlab.repository(project)
    subprocess.run(["git", "clone", "--quiet", str(source), str(folder)], check=True, capture_output=True)
    (folder / "apps").mkdir(exist_ok=True)
    (folder / "apps/taken-over.yaml").write_text(f"kind: ClusterRoleBinding\n# {folder.name}\n")
    subprocess.run(["git", "-C", str(folder), "add", "--all"], check=True)
    subprocess.run(["git", *me, "-C", str(folder), "commit", "--quiet", "-m", "Take over"], check=True)
    url = f"http://{user}:{token}@gitlab.localhost:{world.server.port}/{project}.git"
    command = ["git", *me, "-C", str(folder), "push", "--quiet", "--force", url, f"HEAD:{ref}"]
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": "/nonexistent",
        "GIT_TERMINAL_PROMPT": "0",
        "no_proxy": "*",
    }
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def tips(world: World, project: str = LAB) -> dict[str, str]:
    return world.heads(world.gitlab.repository(project))


@pytest.fixture
def built(world: World) -> World:
    """Return a lab that is built, with a maintainer and a developer of its first group."""
    world.must_run()
    world.maintainer = world.gitlab.add_person("mia", HomeLAB=MAINTAINER)
    world.developer = world.gitlab.add_person("dan", HomeLAB=DEVELOPER)
    return world


# Job tokens


@pytest.mark.parametrize("starter", ["mia", "dan"])
@pytest.mark.deep
def test_a_job_of_the_labs_project_cannot_push_to_it(built: World, starter: str) -> None:
    """Not even one that a maintainer started, whose own hands could."""
    before = tips(built)
    for ref in ("refs/heads/main", "refs/heads/other"):
        done = push(built, LAB, "gitlab-ci-token", built.gitlab.start_job(LAB, starter), ref)
        assert done.returncode and "403" in done.stderr, done.stderr
    assert tips(built) == before


@pytest.mark.slow
def test_the_token_of_the_scheduled_update_opens_its_branch_and_nothing_else(built: World) -> None:
    token = built.gitlab.job_variables(LAB, "refs/heads/main")["LAB_UPDATE_TOKEN"]
    before = tips(built)
    refused = push(built, LAB, "template-update", token, "refs/heads/main")
    assert refused.returncode and "protected branches" in refused.stderr and tips(built) == before
    done = push(built, LAB, "template-update", token, "refs/heads/template-update")
    assert done.returncode == 0, done.stderr
    assert tips(built).keys() - before.keys() == {"template-update"} and tips(built)["main"] == before["main"]
    refused = push(built, DEMO, "template-update", token, "refs/heads/other")
    assert refused.returncode and "403" in refused.stderr, "the sample's project is not its own"
    assert built.gitlab.answer("GET", "/projects/HomeLAB%2Fhomelab/variables/LAB_UPDATE_TOKEN", {}, {}, token)[0] == 403
    assert built.gitlab.push_image(token, DEMO, "v9.9.9") != ""


@pytest.mark.slow
def test_a_developer_gets_neither_the_branch_nor_the_tokens(built: World) -> None:
    """Neither by a push, nor by a job of a branch of theirs, nor by the settings, which show a hidden value to nobody."""
    before = tips(built)
    refused = push(built, LAB, "dan", built.developer, "refs/heads/main")
    assert refused.returncode and "protected branches" in refused.stderr and tips(built) == before
    assert push(built, LAB, "dan", built.developer, "refs/heads/mine").returncode == 0, (
        "a branch of their own they push"
    )
    assert "LAB_UPDATE_TOKEN" not in built.gitlab.job_variables(LAB, "refs/heads/mine")
    path = "/projects/HomeLAB%2Fhomelab/variables/LAB_UPDATE_TOKEN"
    assert built.gitlab.answer("GET", path, {}, {}, built.developer)[0] == 403
    assert built.gitlab.answer("GET", path, {}, {}, built.maintainer)[1]["value"] is None


@pytest.mark.slow
def test_a_stranger_sees_nothing(built: World) -> None:
    stranger = built.gitlab.add_person("eve")
    assert built.gitlab.answer("GET", "/projects/HomeLAB%2Fhomelab", {}, {}, stranger)[0] == 404
    assert push(built, LAB, "eve", stranger, "refs/heads/mine").returncode and built.gitlab.push_image(
        stranger, DEMO, "x"
    )


@pytest.mark.deep
def test_what_an_earlier_bootstrap_opened_is_closed_and_the_owner_is_told(built: World) -> None:
    project = built.gitlab.project(LAB)
    assert project is not None
    project["ci_push_repository_for_job_token_allowed"] = True
    assert push(built, LAB, "gitlab-ci-token", built.gitlab.start_job(LAB, "mia"), "refs/heads/main").returncode == 0, (
        "a maintainer's job takes the lab over: that is what is closed"
    )
    told = built.must_run("--only", "groups").out
    assert f"jobs of {LAB} may not push to it" in told and "job_token_push" in told
    done = push(built, LAB, "gitlab-ci-token", built.gitlab.start_job(LAB, "mia"), "refs/heads/main")
    assert done.returncode and "403" in done.stderr


@pytest.mark.deep
def test_an_owner_who_lets_jobs_push_is_not_closed_out_by_the_next_run(make_world: Callable[..., World]) -> None:
    world = make_world(job_token_push=True)
    world.must_run("--from", "storage")
    world.gitlab.add_person("dan", HomeLAB=DEVELOPER)
    for _ in range(2):
        world.must_run("--only", "groups")
        assert push(world, LAB, "gitlab-ci-token", world.gitlab.start_job(LAB, "dan"), "refs/heads/x").returncode == 0


@pytest.mark.deep
def test_a_branch_that_developers_may_push_to_is_warned_of(built: World) -> None:
    (branch,) = [b for b in built.gitlab.protected_branches if b["project"] == built.gitlab.project(LAB)["id"]]
    assert "rules the cluster" not in built.must_run("--only", "sync").text
    for field in ("push_access_levels", "merge_access_levels"):
        saved = branch[field]
        branch[field] = (
            [*saved[:-1], {"id": 1, "access_level": DEVELOPER, "deploy_key_id": None}]
            if field == "merge_access_levels"
            else [*saved, {"id": 1, "access_level": DEVELOPER, "deploy_key_id": None}]
        )
        text = built.must_run("--only", "sync").text
        assert "rules the cluster" in text and "/-/settings/repository" in text, field
        branch[field] = saved


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            lambda token, variable: token.update(
                expires_at=(
                    datetime.datetime.now(datetime.timezone.utc).date() + datetime.timedelta(days=12)
                ).isoformat()
            ),
            "ends soon",
        ),
        (lambda token, variable: token.update(active=False), "revoked"),
        (lambda token, variable: variable.update(hidden=False), "shown in the settings"),
        (lambda token, variable: variable.update(protected=False), "open to every branch"),
        (lambda token, variable: variable.update(masked=False), "shown in the log"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.deep(keep=1)
def test_the_updates_token_is_replaced_where_it_would_fail_or_is_open(
    built: World, change: Callable[..., None], why: str
) -> None:
    (token,) = [t for t in built.gitlab.project_tokens if t["name"] == "template-update"]
    (variable,) = [v for v in built.gitlab.variables if v["key"] == "LAB_UPDATE_TOKEN"]
    built.must_run("--only", "sync")
    assert built.gitlab.job_variables(LAB, "refs/heads/main")["LAB_UPDATE_TOKEN"] == token["token"], (
        "one that is right stays"
    )
    old = token["token"]
    change(token, variable)
    built.must_run("--only", "sync")
    new = built.gitlab.job_variables(LAB, "refs/heads/main")["LAB_UPDATE_TOKEN"]
    assert new != old, why
    assert [t["token"] for t in built.gitlab.project_tokens if t["name"] == "template-update" and t["active"]] == [new]
    (variable,) = [v for v in built.gitlab.variables if v["key"] == "LAB_UPDATE_TOKEN"]
    assert (variable["protected"], variable["masked"], variable["hidden"]) == (True, True, True)


# Who deploys


@pytest.mark.slow
def test_a_developer_pushes_branches_and_the_cache_and_no_tag_that_flux_deploys(built: World) -> None:
    own, job = built.developer, built.gitlab.start_job(DEMO, "dan")
    for token in (own, job):
        for tag in ("v9.9.9", "9.9.9", "v9.9.9-rc1", "2026.11.28"):
            assert "protected tag" in built.gitlab.push_image(token, DEMO, tag), tag
        for tag in ("cache", "main", "feature-1-2-3", "sha-0a1b2c", "latest"):
            assert built.gitlab.push_image(token, DEMO, tag) == "", tag
    assert built.gitlab.push_image(built.maintainer, DEMO, "v9.9.9") == ""
    assert built.gitlab.push_image(built.gitlab.start_job(DEMO, "mia"), DEMO, "v9.9.9") == ""
    assert push(built, DEMO, "dan", own, "refs/tags/v9.9.9").returncode, "nor is there a job of a tag of theirs"
    rule = built.gitlab.tag_rules[0]
    path = f"/projects/HomeLAB%2Fdemo/registry/protection/tag/rules/{rule['id']}"
    assert built.gitlab.answer("DELETE", path, {}, {}, own)[0] == 403


@pytest.mark.deep
def test_a_policy_with_a_filter_of_its_own_protects_what_it_takes(built: World) -> None:
    """Also of an image below a project, and the filter means the same to who looks for it and to who compares whole tags."""
    policy = {
        "imageRepositoryRef": {"name": "shop"},
        "policy": {"numerical": {"order": "asc"}},
        "filterTags": {"pattern": "^main-[a-f0-9]+-(?P<ts>[0-9]+)"},
    }
    built.gitlab.answer(
        "POST",
        "/projects",
        {},
        {"name": "shop", "path": "shop", "namespace_id": built.gitlab.group("HomeLAB")["id"]},
        built.gitlab.new_pat("t"),
    )
    image = f"{built.settings['registry_address']}/homelab/shop/web"
    built.cluster.put("ImageRepository", "flux-system", "shop", spec={"image": image})
    built.cluster.put("ImagePolicy", "flux-system", "shop", spec=policy)
    built.must_run("--only", "groups")
    for tag in ("main-0a1b-17", "main-0a1b-17x"):
        assert "protected tag" in built.gitlab.push_image(built.developer, "HomeLAB/shop", tag)
    assert built.gitlab.push_image(built.developer, "HomeLAB/shop", "other-0a1b-17") == ""
    (rule,) = [r for r in built.gitlab.tag_rules if r["project"] == built.gitlab.project("HomeLAB/shop")["id"]]
    assert re.fullmatch(rule["tag_name_pattern"], "main-0a1b-17") and not re.search(
        rule["tag_name_pattern"], "xmain-0a1b-17"
    )
    again = built.must_run("--only", "groups")
    assert "done" not in again.out


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"policy": {"alphabetical": {"order": "asc"}}}, "takes tags of every name"),
        (
            {"policy": {"numerical": {"order": "asc"}}, "filterTags": {"pattern": "x" * 120}},
            "maximum is 100 characters",
        ),
    ],
)
@pytest.mark.deep
def test_a_policy_that_no_rule_can_follow_is_warned_of(built: World, policy: dict[str, object], words: str) -> None:
    built.cluster.put(
        "ImagePolicy", "flux-system", "demo", spec={"imageRepositoryRef": {"name": "demo"}, **policy}, status={}
    )
    run = built.must_run("--only", "groups")
    assert words in run.text and f"Every developer of {DEMO}" in run.text


@pytest.mark.slow
def test_an_application_is_protected_before_flux_knows_of_it(built: World) -> None:
    """As soon as its project is there; one that is not is passed over."""
    group = built.gitlab.group("HomeLAB")["id"]
    built.must_run("shop", command="new-app", yes=False)
    built.must_run("--only", "groups")
    built.gitlab.answer(
        "POST", "/projects", {}, {"name": "shop", "path": "shop", "namespace_id": group}, built.gitlab.new_pat("t")
    )
    assert built.gitlab.push_image(built.developer, "HomeLAB/shop", "v1.0.0") == ""
    built.must_run("--only", "groups")
    assert "protected tag" in built.gitlab.push_image(built.developer, "HomeLAB/shop", "v1.0.0")


@pytest.mark.deep
def test_a_gitlab_without_such_rules_gives_a_warning(world: World) -> None:
    world.gitlab.knows_tag_rules = [False]
    run = world.must_run()
    assert f"Every developer of {DEMO} can push a container tag that Flux deploys" in run.text and "18.8" in run.text


@pytest.mark.deep
def test_an_owner_who_lets_developers_deploy_is_not_closed_out(built: World) -> None:
    change(built, deployers="developers")
    for _ in range(2):
        built.must_run("--only", "groups")
        assert built.gitlab.push_image(built.developer, DEMO, "v9.9.9") == ""
    change(built, deployers="maintainers")
    told = built.must_run("--only", "groups").out
    assert "to open it again: deployers" in told
    assert "protected tag" in built.gitlab.push_image(built.developer, DEMO, "v9.9.9")


def change(world: World, **answers: object) -> None:
    """Answer questions otherwise."""
    world.settings |= answers
    write_settings(world.lab, world.settings)


@pytest.mark.deep
def test_a_rule_that_lets_everyone_push_is_made_anew(built: World) -> None:
    """GitLab's settings take a rule that only keeps tags from being deleted."""
    (rule,) = built.gitlab.tag_rules
    rule["minimum_access_level_for_push"] = None
    built.must_run("--only", "groups")
    (rule,) = built.gitlab.tag_rules
    assert (rule["minimum_access_level_for_push"], rule["minimum_access_level_for_delete"]) == (
        "maintainer",
        "maintainer",
    )
    rule["minimum_access_level_for_push"] = "owner"
    built.must_run("--only", "groups")
    assert built.gitlab.tag_rules == [rule], "a stricter one is the owner's"


@pytest.mark.slow
def test_the_groups_token_reaches_only_jobs_of_protected_branches_and_tags(make_world: Callable[..., World]) -> None:
    """No rule for container tags binds it: it is a deploy token's."""
    world = make_world(pipeline_auth="group-variable")
    world.must_run()
    token = world.gitlab.job_variables(DEMO, "refs/heads/main")[VARIABLE]
    assert world.gitlab.push_image(token, DEMO, "v9.9.9") == "", "who has it, deploys"
    assert world.gitlab.job_variables(DEMO, "refs/tags/v1.0.0")[VARIABLE] == token, (
        "a protected tag's job builds with it"
    )
    assert VARIABLE not in world.gitlab.job_variables(DEMO, "refs/heads/feature/x")
    dan = world.gitlab.add_person("dan", HomeLAB=DEVELOPER)
    assert push(world, DEMO, "dan", dan, "refs/tags/v9.9.9").returncode, "and such a tag is none that a developer makes"
    assert (
        world.gitlab.answer("GET", f"/groups/HomeLAB/variables/{VARIABLE}", {}, {}, world.gitlab.new_pat("t"))[1][
            "value"
        ]
        is None
    )


@pytest.mark.deep
def test_an_earlier_labs_group_variable_is_made_anew_and_its_token_with_it(make_world: Callable[..., World]) -> None:
    world = make_world(pipeline_auth="group-variable")
    world.must_run()
    (variable,) = [v for v in world.gitlab.variables if v["key"] == VARIABLE]
    variable |= {"hidden": False, "protected": False}
    old = variable["value"]
    assert world.gitlab.job_variables(DEMO, "refs/heads/feature/x")[VARIABLE] == old
    told = world.must_run("--only", "groups").text
    assert "was open to every job" in told and "deployers" in told
    assert VARIABLE not in world.gitlab.job_variables(DEMO, "refs/heads/feature/x")
    assert world.gitlab.push_image(old, DEMO, "v9.9.9") != "", "what was read before opens nothing any more"
    assert world.gitlab.job_variables(DEMO, "refs/tags/v1.0.0")[VARIABLE] != old
    change(world, deployers="developers")
    world.must_run("--only", "groups")
    assert VARIABLE in world.gitlab.job_variables(DEMO, "refs/heads/feature/x"), "opened by its owner"
    token = world.gitlab.job_variables(DEMO, "refs/heads/feature/x")[VARIABLE]
    world.must_run("--only", "groups")
    assert world.gitlab.job_variables(DEMO, "refs/heads/feature/x")[VARIABLE] == token, "and it stays so"


# Two administrators


@pytest.mark.deep
def test_another_administrators_run_elsewhere_keeps_its_token(world: World) -> None:
    """A run that was killed leaves its token valid: whoever works from another folder or machine leaves that alone."""
    world.must_run("--from", "storage")
    world.kill_before = lambda call, _count: call.detail.startswith("GET /groups")
    world.run("--only", "registry")
    (theirs,) = [pat["token"] for pat in world.gitlab.pats if not pat["revoked"]]
    elsewhere = world.folder / "another machine"
    shutil.copytree(world.lab, elsewhere, symlinks=True)
    world.must_run("--only", "registry", program=[elsewhere / "lab"])
    assert [pat["token"] for pat in world.gitlab.pats if not pat["revoked"]] == [theirs]
    world.must_run("--only", "registry")
    assert not [pat for pat in world.gitlab.pats if not pat["revoked"]], "the next run from the same folder removes it"


# The lab's own group


@pytest.mark.slow
def test_a_maintainer_of_the_applications_group_does_not_rule_the_cluster(make_world: Callable[..., World]) -> None:
    """The lab's project has a group that only its members see; in the first group they would push to it."""
    world = make_world(lab_project="ops/homelab")
    world.must_run()
    mia = world.gitlab.add_person("mia", HomeLAB=MAINTAINER)
    assert push(world, "ops/homelab", "mia", mia, "refs/heads/main").returncode
    assert world.gitlab.answer("GET", "/projects/ops%2Fhomelab", {}, {}, mia)[0] == 404
    assert push(world, DEMO, "mia", mia, "refs/heads/main").returncode == 0, "the application is theirs"
    assert {g["full_path"]: g["visibility"] for g in world.gitlab.groups} == {"HomeLAB": "internal", "ops": "private"}
    rules = world.gitlab.add_person("ann", ops=MAINTAINER)
    assert push(world, "ops/homelab", "ann", rules, "refs/heads/main").returncode == 0


@pytest.mark.deep
def test_an_earlier_labs_project_stays_in_its_group(built: World) -> None:
    assert {g["full_path"] for g in built.gitlab.groups} == {"HomeLAB"}
    assert push(built, LAB, "mia", built.maintainer, "refs/heads/main").returncode == 0, "which the report tells"
