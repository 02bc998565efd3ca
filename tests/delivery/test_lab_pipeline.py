"""The lab's own pipeline: what it checks on a push, and how it proposes the template's improvements."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.delivery.support import evaluator
from tests.delivery.support.job_shell import read_pipeline
from tests.support.cluster import Lab
from tests.support.program import propose
from tests.support.rendering import ROOT
from tests.support.tools import run, tool

PIPELINE = ROOT / "template/.gitlab-ci.yml"
CHECKS, UPDATE = {"check", "gitlab-upgrade"}, {"propose-update"}
PUSHES = {
    "a push to the main branch": ({"CI_COMMIT_BRANCH": "main"}, CHECKS),
    "a push to a branch with a merge request, which has a pipeline of its own": (
        {"CI_COMMIT_BRANCH": "x", "CI_OPEN_MERGE_REQUESTS": "a!1"},
        set(),
    ),
    "a merge request": ({"CI_PIPELINE_SOURCE": "merge_request_event", "CI_MERGE_REQUEST_IID": "7"}, CHECKS),
    "a schedule": ({"CI_PIPELINE_SOURCE": "schedule", "CI_COMMIT_BRANCH": "main"}, UPDATE),
    "a tag": ({"CI_COMMIT_TAG": "v1.2.3"}, set()),
}


def test_checks_run_on_pushes_and_merge_requests_and_the_update_on_a_schedule(tmp_path: Path) -> None:
    """The evaluator does not read `workflow`, so its rules stand in a job of their own: without that there is no pipeline."""
    text = PIPELINE.read_text(encoding="utf-8")
    made = {"made": {"stage": "check", "script": ["true"], "rules": yaml.safe_load(text)["workflow"]["rules"]}}
    project = evaluator.make_project(tmp_path / "project", text + yaml.safe_dump(made))
    found = {push: evaluator.jobs(project, **variables) for push, (variables, _) in PUSHES.items()}
    run_at = {push: jobs - {"made"} if "made" in jobs else set() for push, jobs in found.items()}
    assert run_at == {push: jobs for push, (_, jobs) in PUSHES.items()}


def test_what_the_jobs_call_is_in_the_lab(lab: Lab) -> None:
    for job in read_pipeline(lab.path / ".gitlab-ci.yml").values():
        for line in job["script"]:
            assert [word for word in line.split() if "/" in word and (lab.path / word).is_file()], line


# ./lab propose

TOKEN, UPDATE_TOKEN = "glcbt-64_TokenOfTheJob", "glpat-TokenOfTheUpdate"
QUESTIONS = "_subdirectory: template\n_answers_file: .copier-answers.yml\ncolour:\n  type: str\n  default: red\n"
# Stands in for a private forge: takes pushes over the file system, and writes down the options of each.
HOOK = """\
#!/bin/sh
i=0
while [ $i -lt ${GIT_PUSH_OPTION_COUNT:-0} ]; do
  eval echo \\"\\$GIT_PUSH_OPTION_$i\\"
  i=$((i+1))
done >> "$GIT_DIR/options"
echo -- >> "$GIT_DIR/options"
"""


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True, text=True).stdout.strip()


class Forge:
    """A template, a lab made from it in a project, and the scheduled job's own clone of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.template = folder, folder / "template.git"
        self.origin, self.server = folder / "server/homelab/homelab.git", folder / "server"
        (self.template / "template").mkdir(parents=True)
        git(self.template, "init", "--quiet")
        (self.template / "copier.yml").write_text(QUESTIONS)
        self.write(
            "{{ _copier_conf.answers_file }}.jinja",
            "# Changes here are overwritten\n{{ _copier_answers|to_nice_yaml -}}\n",
        )
        for name in (".gitlab/propose-update.sh", "lab"):
            self.write(name, (ROOT / "template" / name).read_text(encoding="utf-8"))
        self.write(".gitignore", (ROOT / "example/.gitignore").read_text(encoding="utf-8"))
        (self.template / "template/lab").chmod(0o755)
        ours = self.template / "template/lab_program"
        shutil.copytree(ROOT / "template/lab_program", ours, ignore=shutil.ignore_patterns("*.jinja", "__pycache__"))
        settings = json.loads((ROOT / "example/lab_program/settings.json").read_text(encoding="utf-8"))
        (ours / "settings.json").write_text(json.dumps(settings | {"admin_email": "me@lab"}), encoding="utf-8")
        # The lab's script takes its driver from the template; nothing of that is in this one's rendering.
        for name in (
            "__init__.py",
            "run.py",
            "files.py",
            "git.py",
            "words.py",
            "update/__init__.py",
            "update/command.py",
            "update/journal.py",
        ):
            (self.template / "hooks" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / "hooks" / name, self.template / "hooks" / name)
        self.write("one.txt", "".join(f"line {number}\n" for number in range(12)))
        self.release("v1.0.0")
        # What `copier copy` would write: this template prints nothing but the answers.
        self.lab = folder / "lab"
        shutil.copytree(self.template / "template", self.lab)
        (self.lab / "{{ _copier_conf.answers_file }}.jinja").unlink()
        answers = f"# Changes here are overwritten\n_commit: v1.0.0\n_src_path: file://{self.template}\ncolour: red\n"
        (self.lab / ".copier-answers.yml").write_text(answers)
        git(self.lab, "init", "--quiet", "--initial-branch=main")
        self.origin.mkdir(parents=True)
        git(self.origin, "init", "--quiet", "--bare", "--initial-branch=main")
        git(self.origin, "config", "receive.advertisePushOptions", "true")
        (self.origin / "hooks").mkdir(exist_ok=True)
        (self.origin / "hooks/pre-receive").write_text(HOOK)
        (self.origin / "hooks/pre-receive").chmod(0o755)
        self.commit(self.lab, "The lab")
        self.runs = 0

    def write(self, name: str, text: str) -> None:
        file = self.template / "template" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def release(self, version: str) -> None:
        git(self.template, "add", "--all")
        git(self.template, "commit", "--quiet", "--message", version)
        git(self.template, "tag", version)

    def commit(self, clone: Path, message: str, branch: str = "main") -> None:
        git(clone, "add", "--all")
        git(clone, "commit", "--quiet", "--message", message)
        git(clone, "push", "--quiet", str(self.origin), f"HEAD:{branch}")

    def edit(self, name: str, old: str, new: str) -> None:
        file = self.lab / name
        file.write_text(file.read_text().replace(old, new))
        self.commit(self.lab, "The owner's edit")

    def options(self) -> list[list[str]]:
        """Return the options of each push that had some."""
        log = self.origin / "options"
        pushes = log.read_text().split("--\n")[:-1] if log.exists() else []
        return [push.splitlines() for push in pushes if push]

    def propose(self, update: str = "", program: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the scheduled job, as the runner would: a fresh clone, a detached commit, a home of its own.

        Args:
            update: what a shell does in place of `copier update`.
            program: what the job calls instead of `./lab propose`.
        """
        self.runs += 1
        work = self.folder / f"job {self.runs}"
        clone, home, programs = work / "clone", work / "home", work / "bin"
        home.mkdir(parents=True)
        programs.mkdir()
        git(work, "clone", "--quiet", str(self.origin), str(clone))
        git(clone, "checkout", "--quiet", "--detach")
        real = f'exec {tool("copier")} "$@"'
        for name, body in {
            "copier": f"[ $1 = --version ] && echo copier 9.19.1 && exit\n{update or real}\n",
            "uv": "exit ${CHECKS_FAIL:-0}\n",
            "git": f'printf "%s\037" "$@" >> {programs}/calls\nexec {tool("git")} "$@"\n',
        }.items():
            (programs / name).write_text(f"#!/bin/sh\n{body}")
            (programs / name).chmod(0o755)
        variables = {
            "PATH": f"{programs}:{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "GIT_CONFIG_NOSYSTEM": "1",
            "CI_SERVER_URL": f"file://{self.server}",
            "CI_PROJECT_URL": f"file://{self.server}/homelab/homelab",
            "CI_JOB_TOKEN": TOKEN,
            "CI_COMMIT_BRANCH": "main",
            "CI_JOB_URL": "https://gitlab.lab/homelab/homelab/-/jobs/7",
            **environment,
        }
        done = subprocess.run(
            [program or "./lab", *([] if program else ["propose"])],
            cwd=clone,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        calls = (programs / "calls").read_text() if (programs / "calls").exists() else ""
        assert not any(token in calls + done.stdout + done.stderr for token in (TOKEN, UPDATE_TOKEN)), (
            "no token is on a command line or in the log"
        )
        self.clone, self.home = clone, home
        return done

    def proposed(self, name: str) -> str:
        return git(self.origin, "show", f"template-update:{name}")


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    return Forge(tmp_path / "forge")


REPORT = """\
# The lab, from 1.0.0 to 1.1.0

Files: 1 changed.

## Conflicts to resolve

- `one.txt`, lines 6 to 10: you and the template changed <the same> place
- Keep what is right.

Nothing is committed. To take it: `git add --all`.
The lab before the update is the commit 0123.
"""


@pytest.mark.slow
def test_an_improvement_becomes_a_merge_request_once(forge: Forge) -> None:
    forge.write("two.txt", "new\n")
    forge.release("v1.1.0")
    forge.edit("one.txt", "line 1\n", "the owner's line\n")
    done = forge.propose()
    assert done.returncode == 0, done.stderr
    (options,) = forge.options()
    assert options[:4] == [
        "merge_request.create",
        "merge_request.target=main",
        "merge_request.remove_source_branch",
        "merge_request.title=Update from the template, v1.0.0 to v1.1.0",
    ]
    assert forge.proposed("two.txt") == "new" and "the owner's line" in forge.proposed("one.txt")
    assert git(forge.origin, "log", "-1", "--format=%an <%ae>", "template-update") == "Template update <me@lab>"

    again = forge.propose()
    assert again.returncode == 0 and "proposes this already" in again.stdout and len(forge.options()) == 1
    newer = forge.propose("echo newer > two.txt; sed -i s/v1.0.0/v1.2.0/ .copier-answers.yml")
    assert newer.returncode == 0, "an open merge request is brought up to date"
    assert forge.proposed("two.txt") == "newer" and forge.options()[1][3].endswith("v1.0.0 to v1.2.0")


@pytest.mark.slow
def test_nothing_new_proposes_nothing(forge: Forge) -> None:
    done = forge.propose("true")
    assert (done.returncode, done.stdout) == (0, "The lab is as the template has it.\n") and forge.options() == []


@pytest.mark.deep
def test_conflicts_are_said_in_the_merge_request_and_lose_nothing(forge: Forge) -> None:
    forge.edit("one.txt", "line 5\n", "the owner's line\n")
    forge.write("one.txt", "".join(f"line {number}\n" for number in range(12)).replace("line 5", "the template's line"))
    # As the template's own steps do: a report for the owner, and a failure where something is to be resolved.
    (forge.folder / "report.md").write_text(REPORT)
    step = f'cp {forge.folder}/report.md update-report.md; test -z \\"$(git ls-files -u)\\"'
    (forge.template / "copier.yml").write_text(
        QUESTIONS + f'_migrations:\n  - command: "{step}"\n    when: "{{{{ _stage == \'after\' }}}}"\n'
    )
    forge.release("v1.1.0")
    done = forge.propose(CHECKS_FAIL="1")
    assert done.returncode == 0, done.stderr
    (options,) = forge.options()
    assert options[3] == "merge_request.title=Draft: Update from the template, v1.0.0 to v1.1.0: conflicts"
    assert "changed the same lines of one.txt." in options[4]
    assert options[4].endswith(
        "<h4>The lab, from 1.0.0 to 1.1.0</h4><p>Files: 1 changed.</p><h4>Conflicts to resolve</h4><ul><li><code>one.txt</code>, lines 6 to 10:"
        " you and the template changed &lt;the same&gt; place</li><li>Keep what is right.</li></ul>"
    )
    text = forge.proposed("one.txt")
    assert "<<<<<<<" in text and "the owner's line" in text and "the template's line" in text
    assert "update-report.md" not in git(forge.origin, "ls-tree", "--name-only", "template-update")

    # The owner resolves it on the branch; the next run leaves that alone.
    git(forge.clone, "checkout", "--quiet", "template-update")
    (forge.clone / "one.txt").write_text("resolved\n")
    forge.commit(forge.clone, "Resolved", "template-update")
    done = forge.propose()
    assert done.returncode == 0 and "Somebody works on the branch template-update" in done.stdout
    assert forge.proposed("one.txt") == "resolved" and len(forge.options()) == 1


@pytest.mark.slow
def test_an_update_that_fails_the_checks_is_a_draft(forge: Forge) -> None:
    assert forge.propose("echo new > two.txt", CHECKS_FAIL="1").returncode == 0
    (options,) = forge.options()
    assert (
        options[3].startswith("merge_request.title=Draft: ")
        and "https://gitlab.lab/homelab/homelab/-/jobs/7" in options[4]
    )


@pytest.mark.deep
def test_the_checks_of_a_proposal_run_on_what_the_job_has_installed_by_its_hashes(forge: Forge) -> None:
    """uv would fetch what the checks need anew, and whatever a package's name leads to that day."""
    forge.write(".gitlab/check.py", "import sys\nsys.exit(3)\n")
    forge.release("v1.1.0")
    done = forge.propose(LAB_TOOLS="installed")
    (options,) = forge.options()
    assert (
        done.returncode == 0
        and options[3].startswith("merge_request.title=Draft: ")
        and options[3].endswith(": checks fail")
    )


@pytest.mark.deep
def test_an_update_that_cannot_be_made_proposes_nothing_and_fails(forge: Forge) -> None:
    done = forge.propose("echo 'This template requires Copier version >= 99' >&2; exit 3")
    assert (
        done.returncode == 2
        and "nothing is proposed" in done.stdout
        and ">= 99" in done.stderr
        and forge.options() == []
    )


@pytest.mark.slow
def test_a_template_out_of_reach_is_said(forge: Forge) -> None:
    answers = forge.lab / ".copier-answers.yml"
    answers.write_text(answers.read_text().replace(f"file://{forge.template}", "/home/me/template"))
    forge.commit(forge.lab, "From a folder of the owner's machine")
    done = forge.propose()
    assert (
        done.returncode == 2
        and "/home/me/template, is not there" in done.stderr
        and "nothing is proposed" in done.stdout
    )


@pytest.mark.parametrize(
    ("given", "user", "password"),
    [({"LAB_UPDATE_TOKEN": UPDATE_TOKEN}, "template-update", UPDATE_TOKEN), ({}, "gitlab-ci-token", TOKEN)],
)
@pytest.mark.deep(keep=1)
def test_git_asks_for_the_token_where_nobody_sees_it(
    forge: Forge, given: dict[str, str], user: str, password: str
) -> None:
    """And trusts a private authority for GitLab's own address only, so that the template may lie elsewhere."""
    forge.propose("true", CI_SERVER_TLS_CA_FILE="/builds/ca.crt", **given)
    settings = {"HOME": str(forge.home), "PATH": os.environ["PATH"], "CI_JOB_TOKEN": TOKEN, **given}
    asked = f"protocol=file\nhost=\npath={forge.server}/homelab/homelab.git\n\n"
    url = f"file://{forge.server}"
    helper = subprocess.run(
        ["git", "config", "--global", f"credential.{url}.helper"],
        env=settings,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert password not in helper and password not in (forge.home / ".gitconfig").read_text()
    answer = subprocess.run(
        ["sh", "-c", f"{helper.removeprefix('!')} get"],
        input=asked,
        env=settings,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == f"username={user}\npassword={password}\n"
    trusted = subprocess.run(
        ["git", "config", "--global", "--get-regexp", "sslcainfo"],
        env=settings,
        capture_output=True,
        text=True,
        check=True,
    )
    assert trusted.stdout == f"http.{url}.sslcainfo /builds/ca.crt\n"


def test_the_address_of_a_push_is_none_that_the_runner_has_rewritten_to_its_job_token(tmp_path: Path) -> None:
    """The runner has Git put the job's token into addresses that begin with GitLab's own (url.<base>.insteadOf)."""
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "config", f"url.https://gitlab-ci-token:{TOKEN}@gitlab.lab.insteadOf", "https://gitlab.lab")
    asked = {
        user: git(tmp_path, "ls-remote", "--get-url", propose.address("https://gitlab.lab/a/b", user))
        for user in ("", propose.UPDATE_TOKEN)
    }
    assert asked == {
        "": f"https://gitlab-ci-token:{TOKEN}@gitlab.lab/a/b.git",
        "template-update": "https://template-update@gitlab.lab/a/b.git",
    }


@pytest.mark.deep
def test_a_push_that_the_job_token_may_not_make_names_the_variable(forge: Forge) -> None:
    (forge.origin / "hooks/pre-receive").write_text(
        "#!/bin/sh\necho 'You are not allowed to upload code.' >&2\nexit 1\n"
    )
    done = forge.propose("echo new > two.txt")
    assert done.returncode and "not allowed to upload" in done.stderr
    assert (
        "LAB_UPDATE_TOKEN" in done.stderr
        and "./lab up --only sync" in done.stderr
        and "protected branch" in done.stderr
    )
    done = forge.propose("echo new > two.txt", LAB_UPDATE_TOKEN=UPDATE_TOKEN)
    assert done.returncode and "./lab up --only sync" not in done.stderr


@pytest.mark.deep
def test_the_earlier_name_of_the_job_goes_on(forge: Forge) -> None:
    """A pipeline that its owner has edited may still call it."""
    file = forge.lab / ".gitlab/propose-update.sh"
    file.chmod(0o755)
    forge.commit(forge.lab, "An earlier lab's")
    done = forge.propose("true", program=".gitlab/propose-update.sh")
    assert (done.returncode, done.stdout) == (
        0,
        "The lab is as the template has it.\n",
    ) and "./lab propose now" in done.stderr


def test_outside_of_a_job_it_says_what_it_is_for(article: Lab) -> None:
    done = run(article.path / "lab", "propose", env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"})
    assert done.returncode == 1 and "CI_PROJECT_URL" in done.stderr and "Build > Pipeline schedules" in done.stderr
