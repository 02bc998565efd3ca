"""GitLab is never taken over one of its required stops: not by an answer, and not by a commit."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import copier
import pytest
import yaml
from copier.errors import UserMessageError

from extensions import upgrades
from extensions.facts import DEFAULT_GITLAB_VERSION
from tests.support.cluster import Lab
from tests.support.image_tags import image_tags
from tests.support.program import versions as program_versions
from tests.support.rendering import snapshot
from tests.support.tools import run, tool

# From, to, and the stops between them (docs.gitlab.com/update/upgrade_paths/).
STEPS = [
    ("19.2.4", "19.2.9", []),
    ("19.2.4", "19.3.0", []),
    ("19.2.4", "19.5.0", []),
    ("19.3.0", "19.5.2", []),
    ("19.3.0", "19.6.0", ["19.5"]),
    ("19.5.2", "19.8.0", []),
    ("19.5.2", "19.9.0", ["19.8"]),
    ("19.3.0", "19.11.1", ["19.5", "19.8"]),
    ("19.11.1", "20.0.0", []),
    ("19.11.1", "20.2.0", []),
    ("19.11.1", "20.3.0", ["20.2"]),
    ("19.10.0", "20.0.0", ["19.11"]),
    ("19.3.0", "20.3.0", ["19.5", "19.8", "19.11", "20.2"]),
    ("19.11.0", "21.0.0", ["20.2", "20.5", "20.8", "20.11"]),
]


@pytest.mark.parametrize(("installed", "wanted", "stops"), STEPS)
def test_the_stops_on_the_way_are_named_in_order(installed: str, wanted: str, stops: list[str]) -> None:
    assert upgrades.stops(installed, wanted) == stops
    message = upgrades.upgrade_problem(installed, wanted)
    assert (message is None) is (stops == [])
    if message:
        assert f"`{wanted}`" in message and f"`{installed}`" in message
        places = [message.index(f"the newest {stop}") for stop in stops]
        assert places == sorted(places)


def test_going_back_is_refused() -> None:
    for installed, wanted in (("19.3.0", "19.2.4"), ("20.0.0", "19.11.5"), ("19.3.1", "19.3.0")):
        assert "cannot go back" in (upgrades.upgrade_problem(installed, wanted) or "")
    assert upgrades.upgrade_problem("19.3.0", "19.3.0") is None


def test_the_labs_program_names_the_same_stops() -> None:
    versions = [f"{major}.{minor}.1" for major in (19, 20) for minor in range(12)][2:]
    pairs = [(one, other) for one, other in itertools.combinations(versions, 2)]
    assert [program_versions.required_stops(*pair) for pair in pairs] == [upgrades.stops(*pair) for pair in pairs]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a lab whose answers say that GitLab 19.3.0 runs. It holds nothing else: a refusal comes before anything is rendered."""
    folder = tmp_path_factory.mktemp("running")
    template, lab = snapshot(folder / "template"), folder / "lab"
    # What the template's own extension reads stays.
    read = (template / "template/lab_program/age.py").read_bytes()
    shutil.rmtree(template / "template")
    (template / "template/lab_program").mkdir(parents=True)
    (template / "template/lab_program/age.py").write_bytes(read)
    (template / "template/one-file").touch()
    lab.mkdir()
    (lab / ".copier-answers.yml").write_text(f"_commit: v1.0.0\n_src_path: {template}\ngitlab_version: 19.3.0\n")
    for where, more in ((template, (("tag", "v1.0.0"),)), (lab, ())):
        for command in (
            ("init", "--quiet"),
            ("add", "--all", "--force"),
            ("commit", "--quiet", "--message", "All"),
            *more,
        ):
            assert run(tool("git"), "-C", where, *command).returncode == 0
    return lab


COMMANDS: dict[str, Callable[..., object]] = {
    "update": copier.run_update,
    "recopy": copier.run_recopy,
    "copy over it": lambda lab, **options: copier.run_copy(str(lab.with_name("template")), lab, **options),
}


JUMP, BACK = ("19.9.0", "take the newest 19.5, then the newest 19.8"), ("19.2.4", "cannot go back")


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize(("command", "wanted", "said"), [("update", *JUMP), ("recopy", *BACK), ("copy over it", *JUMP)])
def test_copier_takes_no_answer_that_gitlab_could_not_follow(
    running: Path, command: str, wanted: str, said: str
) -> None:
    with pytest.raises(UserMessageError) as refused:
        COMMANDS[command](
            running, data={"gitlab_version": wanted}, defaults=True, overwrite=True, quiet=True, unsafe=True
        )
    assert f"gitlab_version: `{wanted}`" in str(refused.value) and said in str(refused.value)
    assert {file.name for file in running.iterdir()} == {".git", ".copier-answers.yml"}
    assert run(tool("git"), "-C", running, "status", "--porcelain").stdout == ""


@pytest.fixture
def repository(article: Lab, tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Return a function that commits a version of GitLab to the lab, and runs the pipeline's check against the commit before."""
    folder = tmp_path / "lab"
    shutil.copytree(article.path, folder)
    values = folder / "apps/gitlab/values.yaml"
    original = values.read_text(encoding="utf-8")
    pinned = f"  tag: {article.answers['gitlab_version']}-ce.0\n"
    assert original.count(pinned) == 1
    run(tool("git"), "init", "--quiet", folder)

    def commit(tag: str, *commits: str) -> subprocess.CompletedProcess[str]:
        values.write_text(original.replace(pinned, f"  tag: {tag}\n"), encoding="utf-8")
        for command in (("add", "--all"), ("commit", "--quiet", "--allow-empty", "--message", tag)):
            assert run(tool("git"), "-C", folder, *command).returncode == 0
        return run(folder / "lab", "upgrade", "--check", *(commits or ("HEAD~1",)))

    assert commit("19.3.0-ce.0").returncode == 0
    return commit


@pytest.mark.slow
def test_a_commit_that_jumps_over_a_stop_fails_the_labs_pipeline(
    repository: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = repository("19.9.2-ce.0")
    assert done.returncode == 1
    assert "Take the newest 19.5, then the newest 19.8, then 19.9.2." in done.stderr


@pytest.mark.slow
def test_a_commit_that_goes_back_fails_the_labs_pipeline(
    repository: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = repository("19.2.4-ce.0")
    assert done.returncode == 1 and "cannot go back from 19.3.0 to 19.2.4" in done.stderr


def test_a_step_that_is_allowed_passes(repository: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    assert "from 19.3.0 to 19.5.1, in one step" in repository("19.5.1-ce.0").stdout
    assert "stays at 19.5.1" in repository("19.5.1-ce.0").stdout
    assert "from 19.5.1 to 19.8.0, in one step" in repository('"19.8.0-ce.0"').stdout


@pytest.mark.slow
def test_a_tag_that_leaves_its_digest_behind_fails_the_labs_pipeline(
    repository: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """The digest decides what runs: the old GitLab, under the new one's name."""
    old, new = (f'"sha256:{letter * 64}"' for letter in "ab")
    assert repository(f"19.3.0-ce.0\n  digest: {old}").returncode == 0
    done = repository(f"19.5.1-ce.0\n  digest: {old}")
    assert (
        done.returncode == 1 and "asks for GitLab 19.5.1, and its image.digest is still that of 19.3.0" in done.stderr
    ), done.stderr
    assert "take the line with sha256:aaaaaaaaaaaa... out" in done.stderr
    assert repository(f"19.5.1-ce.0\n  digest: {new}", "HEAD~2").returncode == 0
    assert "stays at 19.5.1" in repository(f"19.5.1-ce.0\n  digest: {new}").stdout
    assert "from 19.5.1 to 19.8.0" in repository("19.8.0-ce.0").stdout


@pytest.mark.slow
def test_without_a_commit_to_compare_with_the_check_passes_and_says_so(
    repository: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    # The first push of a branch: the commit before it is all zeros; a merge request has none of the two variables.
    done = repository("19.9.2-ce.0", "", "0" * 40)
    assert done.returncode == 0 and "nothing to compare with" in done.stdout


@pytest.mark.slow
def test_the_pipeline_compares_a_new_branch_with_where_it_left_the_default_one(
    repository: Callable[..., subprocess.CompletedProcess[str]], article: Lab, tmp_path: Path
) -> None:
    """Runs the job's own lines, as in the first push of a branch: all zeros before it, and no merge request."""
    assert repository("19.5.1-ce.0").returncode == 0
    assert run(tool("git"), "-C", tmp_path / "lab", "update-ref", "refs/remotes/origin/main", "HEAD").returncode == 0
    script = yaml.safe_load((article.path / ".gitlab-ci.yml").read_text(encoding="utf-8"))["gitlab-upgrade"]["script"]
    variables = {"CI_COMMIT_BEFORE_SHA": "0" * 40, "CI_MERGE_REQUEST_DIFF_BASE_SHA": "", "CI_DEFAULT_BRANCH": "main"}
    for tag, code, said in (
        ("19.8.0", 0, "goes from 19.5.1 to 19.8.0"),
        ("19.9.2", 1, "Take the newest 19.8, then 19.9.2."),
    ):
        repository(f"{tag}-ce.0")
        done = run("bash", "-ec", "\n".join(script), cwd=tmp_path / "lab", env={**os.environ, **variables})
        assert done.returncode == code and said in done.stdout + done.stderr


@pytest.mark.slow
def test_a_floating_tag_cannot_be_checked_and_fails(
    repository: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = repository("latest")
    assert done.returncode == 1 and "names no exact version" in done.stderr


@pytest.mark.slow
def test_the_earlier_name_of_the_check_goes_on(
    repository: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """A pipeline that its owner has edited may still call it."""
    repository("19.9.2-ce.0")
    done = run("bash", tmp_path / "lab/scripts/gitlab-upgrade.sh", "HEAD~1")
    assert done.returncode == 1 and "Take the newest 19.5" in done.stderr and "./lab upgrade --check now" in done.stderr


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["latest"], 2, '"latest" is no exact version'),
        (["19.05.1"], 2, '"19.05.1" is no exact version'),
        (["19.5.1", "19.8.0"], 2, "one word too many"),
        (["19.2.4"], 1, f"cannot go back from {DEFAULT_GITLAB_VERSION} to 19.2.4"),
        ([f"{program_versions.NEWEST_MAJOR + 1}.0.0"], 1, f"up to GitLab {program_versions.NEWEST_MAJOR}"),
    ],
)
def test_an_upgrade_that_cannot_be_is_refused_before_the_cluster_is_asked(
    article: Lab, arguments: list[str], status: int, said: str
) -> None:
    done = run(article.path / "lab", "upgrade", *arguments, env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"})
    assert done.returncode == status and said in done.stderr, done.stderr


def asked_of_nobody(lab: Path, where: str = "127.0.0.1:1") -> None:
    """Have a lab take its GitLab from a registry on this machine; at the usual one nobody listens."""
    values = lab / "apps/gitlab/values.yaml"
    text = values.read_text(encoding="utf-8")
    assert "repository: gitlab/gitlab-ce\n" in text
    values.write_text(
        text.replace("repository: gitlab/gitlab-ce\n", f"repository: {where}/gitlab/gitlab-ce\n"), encoding="utf-8"
    )


@pytest.mark.parametrize(("version", "there"), [("19.5.9", "19.5.2"), ("19.4.0", None)])
def test_a_version_that_does_not_exist_is_refused_before_the_cluster_is_asked(
    article: Lab, tmp_path: Path, version: str, there: str | None
) -> None:
    lab = shutil.copytree(article.path, tmp_path / "lab")
    with image_tags(["19.5.0-ce.0", "19.5.2-ce.0", "19.5.10-rc1.ce.0", "19.50.0-ce.0", "19.5.2-ee.0"]) as where:
        asked_of_nobody(lab, where)
        done = run(lab / "lab", "upgrade", version, env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"})
    assert (
        done.returncode == 1
        and f"GitLab {version} does not exist: {where}/gitlab/gitlab-ce has no {version}-ce.0" in done.stderr
    )
    assert (f"the newest {version.rpartition('.')[0]} there is {there}" in done.stderr) is (there is not None)
    assert "nothing was changed" in done.stderr and "GitLab goes from" not in done.stdout
