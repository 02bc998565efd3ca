"""`./lab secret init`: a key where there is none, and the answer by a real update; the report says what to do before a push."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml

from tests.support.program import age
from tests.support.rendering import VALID, read_answers, recorded_answers
from tests.support.tools import run
from tests.update.support.histories import COPIER, REPORT, commit, git, make_lab, real_template, release


def init(lab: Path, home: Path, *arguments: str) -> CompletedProcess[str]:
    """Run it as an owner does whose home this is."""
    path = os.pathsep.join([str(COPIER.parent), os.environ["PATH"]])
    hidden = ("SOPS_AGE_KEY_FILE", "XDG_CONFIG_HOME")
    env = {name: value for name, value in os.environ.items() if name not in hidden} | {"PATH": path, "HOME": str(home)}
    return run("./lab", "secret", "init", *arguments, cwd=lab, stdin=subprocess.DEVNULL, env=env)


@pytest.mark.slow
def test_init_makes_a_key_sets_the_answer_and_says_what_comes_before_the_push(tmp_path: Path) -> None:
    template = real_template(tmp_path / "template", whole=True)
    release(template, "1.0.0")
    lab = make_lab(template, tmp_path / "lab", read_answers(next(file for file in VALID if file.stem == "article")))
    before = {path: path.read_bytes() for path in (lab / "clusters").rglob("*.yaml")}
    keys = tmp_path / ".config/sops/age/keys.txt"
    done = init(lab, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (key,) = age.identities(keys.read_text())
    assert keys.stat().st_mode & 0o777 == 0o600 and keys.parent.stat().st_mode & 0o777 == 0o700
    assert key.private not in done.stdout + done.stderr and f"Copy {keys}" in done.stdout
    assert recorded_answers(lab)["age_recipients"] == [key.recipient]
    assert key.recipient in (lab / ".sops.yaml").read_text()
    changed = [path.name for path, text in before.items() if path.read_bytes() != text]
    assert changed == ["sync.yaml"], "one place has it for all Kustomizations"
    assert "Run `./lab up --only flux` before you push" in (lab / REPORT).read_text()
    assert not [
        name
        for name in git(lab, "ls-files", "--others").split()
        if "key" in name and not name.startswith("lab_program")
    ]
    commit(lab, "Recipients")
    again = init(lab, tmp_path)
    assert again.returncode == 0 and "a recipient of this lab" in again.stdout
    assert age.identities(keys.read_text()) == [key] and git(lab, "status", "--porcelain") == ""
    another = init(lab, tmp_path, "--another")
    assert another.returncode == 0, another.stderr
    both = [one.recipient for one in age.identities(keys.read_text())]
    assert len(both) == 2 and recorded_answers(lab)["age_recipients"] == both
    (rule,) = yaml.safe_load((lab / ".sops.yaml").read_text())["creation_rules"]
    assert rule["age"].replace(" ", "").split(",") == both
