"""The lab's iac/ reaches its project and, changed, a merge request there; the owner's changes in the project are never lost."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bootstrap.support.faults import Fault
from tests.bootstrap.support.journeys import LONG
from tests.bootstrap.support.lab_folder import commit, write_settings
from tests.bootstrap.support.lab_world import World, world_in
from tests.stage_machines.support.machines_world import PROJECT, machine_settings, project_only, rendered_lab, with_code
from tests.support import program
from tests.support.program import iac_project, machine_secrets
from tests.support.tools import tool

pytestmark = pytest.mark.xdist_group("machines")
Branches, Step = iac_project.Branches, iac_project.Step
HIDDEN = {"protected": True, "masked": True, "hidden": True, "raw": True}


class Carried:
    """A world whose project was made once; `again` brings it back to that, or to before it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.before = world.save("before")
        world.forget_orders()
        self.first = world.must_run("--only", "machines")
        self.changes, self.summary = world.changes, world.summary()
        self.after = world.save("after")
        self.kept = {path.name: path.read_bytes() for path in passphrase_file(world).parent.glob("machines-*")}

    def again(self, *, made: bool = True) -> World:
        """Return the world as the first run left it; the owner's home is that of then, too."""
        self.world.restore(self.after if made else self.before)
        for name, content in self.kept.items() if made else ():
            file = passphrase_file(self.world).parent / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            file.chmod(0o600)
        return self.world


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Iterator[Carried]:
    with world_in(tmp_path_factory.mktemp("carried") / "world") as world:
        yield Carried(project_only(lambda: world, shared))


def passphrase_file(world: World) -> Path:
    return world.home / ".local/state/homelab" / world.settings["lab_name"] / "machines-passphrase"


def at(world: World, branch: str) -> str:
    return world.gitlab.branch(PROJECT, branch)


def files(world: World, branch: str) -> dict[str, str]:
    """Return what a branch of the project holds."""
    return {name: git(world.gitlab.repository(PROJECT), "show", f"{branch}:{name}") for name in names(world, branch)}


def names(world: World, branch: str) -> list[str]:
    return git(world.gitlab.repository(PROJECT), "ls-tree", "-r", "--name-only", branch).splitlines()


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True).stdout


def owner_writes(world: World, message: str = "Mine", branch: str = "main", **changes: str | None) -> None:
    """Commit to the project as its owner does; `a__b` names a.b, and nothing as content removes a file."""
    clone = world.folder / "owner's clone"
    shutil.rmtree(clone, ignore_errors=True)
    subprocess.run(
        ["git", "clone", "--quiet", "--branch", branch, str(world.gitlab.repository(PROJECT)), str(clone)], check=True
    )
    for name, text in changes.items():
        file = clone / name.replace("__", ".")
        file.unlink() if text is None else file.write_text(text)
    commit(clone, message)
    git(clone, "push", "--quiet", "origin", branch)


def lab_changes(world: World, name: str, old: str, new: str) -> None:
    """Change a file of the lab's iac/ as an update does."""
    file = world.lab / "iac" / name
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    commit(world.lab, "An update")


def requests(world: World) -> list[dict[str, Any]]:
    return world.gitlab.merge_requests


def machines(world: World, **more: Any) -> str:
    """Run the stage, and return what it says to its owner."""
    return world.must_run("--only", "machines", **more).text


def test_a_project_begins_with_the_labs_files_and_a_second_run_changes_nothing(carried: Carried) -> None:
    world = carried.again()
    ours = {str(p.relative_to(world.lab / "iac")): p.read_text() for p in (world.lab / "iac").rglob("*") if p.is_file()}
    assert files(world, "main") == ours and at(world, "main") == at(world, "from-the-lab") and ".gitlab-ci.yml" in ours
    assert world.commits(world.gitlab.repository(PROJECT))["main"] == ["Machines, as the lab has them"]
    (project,) = [one for one in world.gitlab.projects if one["path_with_namespace"] == PROJECT]
    assert (project["visibility"], world.gitlab.group("ops")["visibility"], project["default_branch"]) == (
        "private",
        "private",
        "main",
    )
    assert {b["name"] for b in world.gitlab.protected_branches if b["project"] == project["id"]} == {
        "main",
        "from-the-lab",
    }
    assert requests(world) == [], "there is nothing to merge"
    world.changes.clear()
    said = machines(world)
    assert "   done " not in said and "   warn " not in said, said
    assert world.changes == ["root token made", "root token revoked"]


@pytest.mark.slow
def test_the_passphrase_is_kept_where_it_is_read_and_shown_nowhere(carried: Carried) -> None:
    world = carried.again()
    file = passphrase_file(world)
    value = file.read_text().strip()
    (variable,) = [one for one in world.gitlab.variables if one["key"] == "TF_VAR_state_passphrase"]
    assert HIDDEN.items() <= variable.items() and variable["value"] == value and len(value) >= 32
    assert world.cluster.secret("flux-system", "lab-machines") == {"state-passphrase": value}
    assert file.stat().st_mode & 0o777 == 0o600
    assert f"Copy {file} to where it outlives this machine" in carried.first.err
    logs = "".join(log.read_text() for log in file.parent.glob("*.log"))
    assert value not in carried.first.text + logs + machines(world)
    assert git(world.lab, "status", "--porcelain") == ""


@pytest.mark.slow
def test_what_the_owner_changed_in_the_project_outlives_what_an_update_brings(carried: Carried) -> None:
    world = carried.again()
    mine = 'resource "terraform_data" "mine" {}\n'
    owner_writes(
        world,
        mine__tf=mine,
        runner__tf=files(world, "main")["runner.tf"].replace('["lab", "runner"]', '["lab", "mine", "runner"]'),
    )
    lab_changes(world, "runner.tf", '"x86-64-v2-AES"', '"host"')
    said = machines(world)
    (request,) = requests(world)
    assert request["web_url"] in said and "Read its plan, merge it" in said
    assert (request["source_branch"], request["target_branch"], request["remove_source_branch"]) == (
        "from-the-lab",
        "main",
        False,
    )
    assert '"host"' in files(world, "from-the-lab")["runner.tf"] and "mine.tf" not in names(world, "from-the-lab")
    assert '"host"' not in files(world, "main")["runner.tf"], "main is the owner's to merge to"
    world.changes.clear()
    assert "wait for you to merge them" in machines(world) and world.changes == [
        "root token made",
        "root token revoked",
    ]
    assert world.gitlab.merge(PROJECT)
    both = files(world, "main")
    assert '"host"' in both["runner.tf"] and '"mine"' in both["runner.tf"] and both["mine.tf"] == mine
    assert "   warn " not in machines(world) and len(requests(world)) == 1


@pytest.mark.deep
def test_a_second_change_joins_the_merge_request_that_waits(carried: Carried) -> None:
    world = carried.again()
    lab_changes(world, "runner.tf", '"x86-64-v2-AES"', '"host"')
    machines(world)
    lab_changes(world, "backend.tf", "terraform {", "# Changed.\nterraform {")
    said = machines(world)
    assert len(requests(world)) == 1 and "wait for you to merge them" in said
    assert len(world.commits(world.gitlab.repository(PROJECT))["from-the-lab"]) == 3


@pytest.mark.deep
@pytest.mark.parametrize("squash", [True, False])
def test_a_branch_that_was_removed_after_its_merge_comes_back_and_takes_nothing_of_the_owners_away(
    carried: Carried, squash: bool
) -> None:
    world = carried.again()
    owner_writes(world, mine__tf="# Mine.\n")
    lab_changes(world, "runner.tf", '"x86-64-v2-AES"', '"host"')
    machines(world)
    assert world.gitlab.merge(PROJECT, squash=squash)
    assert "   warn " not in machines(world), "merged as one commit, it is merged all the same"
    git(world.gitlab.repository(PROJECT), "branch", "-D", "from-the-lab")
    lab_changes(world, "backend.tf", "terraform {", "# Changed.\nterraform {")
    machines(world)
    assert requests(world)[-1]["state"] == "opened" and world.gitlab.merge(PROJECT)
    both = files(world, "main")
    assert both["mine.tf"] == "# Mine.\n" and '"host"' in both["runner.tf"] and "# Changed." in both["backend.tf"]


@pytest.mark.deep
def test_a_conflict_is_the_owners_to_solve_and_nothing_moves_until_then(carried: Carried) -> None:
    world = carried.again()
    owner_writes(world, runner__tf=files(world, "main")["runner.tf"].replace('"x86-64-v2-AES"', '"max"'))
    lab_changes(world, "runner.tf", '"x86-64-v2-AES"', '"host"')
    machines(world)
    before = at(world, "main"), at(world, "from-the-lab")
    assert not world.gitlab.merge(PROJECT)
    machines(world)
    assert (at(world, "main"), at(world, "from-the-lab")) == before and '"max"' in files(world, "main")["runner.tf"]


@pytest.mark.deep
def test_a_merge_request_that_the_owner_closed_stays_closed_until_something_else_changes(carried: Carried) -> None:
    world = carried.again()
    lab_changes(world, "runner.tf", '"x86-64-v2-AES"', '"host"')
    machines(world)
    requests(world)[0] |= {"state": "closed", "sha": at(world, "from-the-lab")}
    machines(world)
    assert len(requests(world)) == 1
    lab_changes(world, "backend.tf", "terraform {", "# Changed.\nterraform {")
    machines(world)
    assert [one["state"] for one in requests(world)] == ["closed", "opened"]


@pytest.mark.slow
def test_a_project_with_a_history_of_somebody_else_is_left_alone(carried: Carried) -> None:
    world = carried.again()
    repository = world.gitlab.repository(PROJECT)
    clone = world.folder / "stranger"
    clone.mkdir()
    (clone / "main.tf").write_text("# Theirs.\n")
    commit(clone, "Machines, as the lab has them\n\nCarried-from: iac/ of somebody else's lab")
    git(repository, "branch", "-D", "from-the-lab")
    git(clone, "push", "--quiet", "--force", str(repository), "HEAD:refs/heads/main")
    there = world.heads(repository)
    run = world.run("--only", "machines")
    assert (
        run.status == 1
        and f"{PROJECT} has a history that did not begin with the lab's iac/" in run.err
        and "rename that project" in run.err
    )
    assert world.heads(repository) == there and requests(world) == []


@pytest.mark.slow
def test_only_what_is_committed_is_carried(carried: Carried) -> None:
    world = carried.again()
    (world.lab / "iac/runner.tf").write_text("# Half of a change\n")
    (world.lab / "iac/new.tf").write_text("# Not in Git\n")
    assert "Files in iac/ differ from the last commit; what is committed counts." in machines(world)
    assert at(world, "main") == at(world, "from-the-lab") and "new.tf" not in names(world, "main")
    git(world.lab, "rm", "-r", "--quiet", "--force", "--cached", "iac")
    git(world.lab, "commit", "--quiet", "--message", "Without iac/")
    run = world.run("--only", "machines")
    assert run.status == 1 and "iac/ of this lab is not committed" in run.err


@pytest.mark.slow
def test_a_run_killed_after_any_change_is_fixed_by_the_next(carried: Carried) -> None:
    for number, what in enumerate(carried.changes, 1):
        if not LONG and not ("push" in what or "POST /projects/ops%2Fiac/variables" in what):
            continue
        world = carried.again(made=False)
        world.kill_after = lambda _what, count, number=number: count == number
        run = world.run("--only", "machines")
        assert run.status == -signal.SIGKILL and not world.errors, (what, run.text)
        world.must_run("--only", "machines")
        assert comparable(world.summary()) == comparable(carried.summary), what
        assert at(world, "main") == at(world, "from-the-lab") and requests(world) == []
        assert (
            world.cluster.secret("flux-system", "lab-machines")["state-passphrase"]
            == passphrase_file(world).read_text().strip()
        )


def comparable(summary: dict[str, Any]) -> str:
    """Return a summary without the passphrase, which is another one in each world."""
    text = json.dumps(summary, sort_keys=True)
    for value in set(re.findall(r'"state-passphrase": "([^"]+)"', text)):
        text = text.replace(value, "<passphrase>")
    return text


@pytest.mark.deep
def test_a_merge_request_whose_answer_was_lost_is_not_opened_twice(carried: Carried) -> None:
    world = carried.again()
    lab_changes(world, "runner.tf", '"x86-64-v2-AES"', '"host"')
    world.faults = [Fault("api", "POST .*/merge_requests", "lost", times=1)]
    machines(world)
    assert len(requests(world)) == 1


@pytest.mark.slow
def test_the_passphrase_survives_the_cluster_and_then_the_owners_copy(carried: Carried) -> None:
    world = carried.again()
    value = passphrase_file(world).read_text().strip()
    del world.cluster.objects["Secret", "flux-system", "lab-machines"]
    machines(world)
    assert world.cluster.secret("flux-system", "lab-machines")["state-passphrase"] == value
    passphrase_file(world).unlink()
    machines(world)
    assert passphrase_file(world).read_text().strip() == value
    passphrase_file(world).write_text("of another lab\n")
    assert "has a passphrase other than the cluster's, and stays" in machines(world)
    assert passphrase_file(world).read_text() == "of another lab\n"
    assert [v["value"] for v in world.gitlab.variables if v["key"] == "TF_VAR_state_passphrase"] == [value]


@pytest.mark.slow
def test_no_new_passphrase_is_made_over_a_state_that_has_another(carried: Carried) -> None:
    world = carried.again()
    project = world.gitlab.project(PROJECT)
    assert project is not None
    world.gitlab.states.append(
        {"project": project["id"], "name": "lab", "versions": ['{"encrypted_data": "x"}'], "lock": None}
    )
    del world.cluster.objects["Secret", "flux-system", "lab-machines"]
    passphrase_file(world).unlink()
    before = [dict(one) for one in world.gitlab.variables]
    run = world.run("--only", "machines")
    assert (
        run.status == 1
        and "its passphrase" not in run.out
        and "the passphrase that it is encrypted with is not here" in run.err
    )
    assert str(passphrase_file(world)) in run.err and [dict(one) for one in world.gitlab.variables] == before


@pytest.mark.slow
def test_with_recipients_the_passphrase_is_encrypted_in_git_and_not_carried(
    make_world: Callable[..., World], shared: Path
) -> None:
    key = program.age.new_identity()
    world = project_only(make_world, shared)
    world.settings["age_recipients"] = [key.recipient]
    write_settings(world.lab, world.settings)
    (world.lab / ".sops.yaml").write_text(
        f"creation_rules:\n  - path_regex: \\.sops\\.yaml$\n    encrypted_regex: ^(data|stringData)$\n    age: {key.recipient}\n"
    )
    commit(world.lab, "A recipient")
    (world.folder / "keys.txt").write_text(f"{key.private}\n")
    (world.bin / "sops").symlink_to(tool("sops"))
    owned = {"SOPS_AGE_KEY_FILE": str(world.folder / "keys.txt")}
    said = machines(world, **owned)
    file = world.lab / "iac/machines.sops.yaml"
    value = world.cluster.secret("flux-system", "lab-machines")["state-passphrase"]
    assert "git add iac/machines.sops.yaml" in said and value not in file.read_text() + said
    assert not passphrase_file(world).exists()
    commit(world.lab, "The passphrase of the machines")
    assert program.sealed.problem("iac/machines.sops.yaml", file.read_text(), [key.recipient]) is None
    del world.cluster.objects["Secret", "flux-system", "lab-machines"]
    machines(world, **owned)
    assert world.cluster.secret("flux-system", "lab-machines")["state-passphrase"] == value
    assert "machines.sops.yaml" not in names(world, "from-the-lab") and requests(world) == []


@pytest.mark.slow
def test_a_dry_run_makes_nothing_and_a_lab_without_machines_skips_the_stage(carried: Carried) -> None:
    world = carried.again(made=False)
    run = world.must_run("--dry-run", "--only", "machines")
    assert f"would  make sure that GitLab has the project {PROJECT}" in run.out and world.changes == []
    world.settings["iac_project"] = ""
    write_settings(world.lab, world.settings)
    assert "this lab makes no machines" in machines(world) and world.changes == []


@pytest.mark.slow
def test_jobs_that_hold_the_machines_share_their_runner_with_no_others(
    make_world: Callable[..., World], shared: Path
) -> None:
    world = with_code(make_world(), shared, iac_project=PROJECT)
    world.must_run()
    gitlab = world.gitlab
    (project,) = [one for one in gitlab.projects if one["path_with_namespace"] == PROJECT]
    tags = {v["value"] for v in gitlab.variables if (v.get("project"), v["key"]) == (project["id"], "LAB_RUNNER")}
    assert tags == {"protected"} and all(v["protected"] for v in gitlab.variables if v["key"] == "LAB_RUNNER")
    assert gitlab.runners_for(PROJECT, True, tags) == ["lab-homelab machines"]
    assert gitlab.runners_for(PROJECT, False, tags) == [], "a branch that is not protected"
    assert gitlab.runners_for(world.settings["lab_project"], True, tags) == ["lab-homelab protected"]
    for other in (world.settings["sample_project"], "ops/another"):
        assert "lab-homelab machines" not in gitlab.runners_for(other, True, tags)
    env = (Path(world.settings["runner_home"]) / ".env").read_text()
    assert "RUNNER_TOKEN_MACHINES=glrt-" in env
    world.settings["iac_project"] = ""
    write_settings(world.lab, world.settings)
    commit(world.lab, "No machines any more")
    world.must_run("--only", "runner")
    assert "lab-homelab machines" not in [one["description"] for one in gitlab.runners]
    assert "RUNNER_TOKEN_MACHINES" not in (Path(world.settings["runner_home"]) / ".env").read_text()


@pytest.mark.parametrize(
    ("seen", "step"),
    [
        (Branches("", "", "", ""), Step.START),
        (Branches("m", "", "", "b"), Step.RECORD),
        (Branches("m", "", "", ""), Step.STRANGE),
        (Branches("m", "c", "tree", ""), Step.NOTHING),
        (Branches("m", "c", "older", ""), Step.ADD),
        (Branches("", "c", "tree", ""), Step.NOTHING),
    ],
)
@pytest.mark.slow
def test_the_step_follows_from_what_the_project_has(seen: Any, step: Any) -> None:
    assert iac_project.next_step(seen, "tree") is step


@pytest.mark.slow
def test_the_secrets_names_are_those_of_the_pipeline(shared: Path) -> None:
    pipeline = (rendered_lab(shared) / "iac/.gitlab-ci.yml").read_text()
    for name in (machine_secrets.PASSPHRASE_VARIABLE, program.runners.PROTECTED_VARIABLE):
        assert name in pipeline
    assert f"terraform/state/{machine_secrets.STATE}\n" in pipeline


@pytest.mark.slow
def test_without_opentofu_the_run_ends_before_anything_and_says_where_to_get_it(
    make_world: Callable[..., World], shared: Path
) -> None:
    world = make_world(**machine_settings(shared))
    run = world.run("--only", "machines")
    assert run.status == 1 and "These tools are missing on this machine: tofu" in run.err, run.text
    assert "https://opentofu.org/docs/intro/install/" in run.err and world.calls == []
    assert "tofu" not in make_world().must_run("--only", "preflight").text, "a lab without machines needs none"
