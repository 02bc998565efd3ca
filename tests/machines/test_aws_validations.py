"""What the wizard refuses of AWS's answers, the variables of iac/ refuse as well, and nothing else: values that nobody wrote down."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from extensions import rules
from tests.machines.support.aws_world import ENGINES, lab_of
from tests.support.rendering import recorded_answers

pytestmark = pytest.mark.xdist_group("aws")
# What the values are made of; the first of each list is right.
PIECES = {
    "aws_region": (
        ["eu", "ap", "us", "il", "EU", "us-gov", "cn", "", "mars"],
        ["central", "southeast", "north", "up", "southsouth", ""],
        ["1", "2", "9", "0", "1a", "10", ""],
    ),
    "aws_account": (
        [
            "123456789012",
            "000000000000",
            "12345678901",
            "1234567890123",
            "1234-5678-9012",
            "12345678901x",
            "",
            " 123456789012",
        ],
    ),
    "aws_bucket": (
        ["", "a", "xn--", "sthree-", "amzn-s3-demo-", "-", "A", "0"],
        ["bucket", "b", "a-b--c", "b.c", "b_c", "x" * 59, "x" * 61],
        ["", "-", "-an", "-s3alias", "--ol-s3", "--x-s3", "--table-s3", ".", "\n", "é"],
    ),
    "aws_backup_days": ([90, 7, 3650, 6, 3651, 0, -1, 1.5],),
}
PIECES["aws_issuer_bucket"] = PIECES["aws_bucket"]
DRAWN = 60


def drawn(question: str, chance: random.Random) -> Any:
    """Return a value that may be right or wrong."""
    parts = [chance.choice(one) for one in PIECES[question]]
    if question == "aws_region":
        return "-".join(parts)
    return parts[0] if len(parts) == 1 else "".join(parts)


def refused_by_the_wizard(question: str, value: Any, answers: dict[str, Any]) -> bool:
    return rules.refusal(question, answers | {question: value}) is not None


def written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def refused_by_the_engine(folder: Path, sets: list[dict[str, Any]]) -> set[tuple[int, str]]:
    """Return which variable of which set of values the engine refuses: each set is given to a module of its own."""
    names = list(sets[0])
    lines = []
    for number, values in enumerate(sets):
        lines += [
            f'module "m{number}" {{',
            '  source = "./code"',
            *(f"  {name} = {written(values[name])}" for name in names),
            "}",
        ]
    (folder / "main.tf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")} | {
        "CHECKPOINT_DISABLE": "1"
    }
    for command in (["init", "-input=false"], ["plan", "-input=false", "-json"]):
        done = subprocess.run(
            [*ENGINES["terraform"][1], *command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    found = set()
    for said in (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")):
        about = said.get("diagnostic")
        if about and about["severity"] == "error":
            assert about["summary"] == "Invalid value for variable", about
            number, place = divmod(about["range"]["start"]["line"] - 1, len(names) + 3)
            found.add((number, names[place - 2]))
    return found


@pytest.fixture
def modules(shared: Path, tmp_path: Path) -> Path:
    """Return a folder with the variables of iac/ as a module, and nothing that uses them."""
    (tmp_path / "code").mkdir()
    for name in ("aws-variables.tf", "aws-oidc-variables.tf"):
        shutil.copy(lab_of(shared, "aws") / "iac" / name, tmp_path / "code")
    return tmp_path


@pytest.mark.slow(each_commit=True)
def test_wizard_and_engine_refuse_the_same_values(shared: Path, modules: Path) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    answers = recorded_answers(lab_of(shared, "aws"))
    right = {"lab_name": "home", "gitlab_url": "https://gitlab.home.arpa", "iac_project": "home-ops/iac"}
    right |= {name: answers[name] for name in PIECES}
    sets, wanted = [], set()
    for number in range(DRAWN):
        question = chance.choice(list(PIECES))
        value = drawn(question, chance)
        sets.append(right | {question: value})
        if refused_by_the_wizard(question, value, answers):
            wanted.add((number, question))
    found = refused_by_the_engine(modules, sets)
    assert 0 < len(wanted) < DRAWN, seed
    shown = {place: sets[place[0]][place[1]] for place in found ^ wanted}
    assert found == wanted, f"seed {seed}: {shown}"


RIGHT: dict[str, Any] = {
    "lab_name": "home",
    "gitlab_url": "https://gitlab.lab.example.com",
    "iac_project": "home-ops/iac",
    "aws_region": "eu-central-1",
    "aws_account": "123456789012",
    "aws_bucket": "one-bucket",
    "aws_backup_days": 90,
    "aws_issuer_bucket": "another-bucket",
    "aws_state_projects": [],
    "aws_plan_branches": ["main"],
}
FINE = [
    {"aws_issuer_bucket": ""},
    {"gitlab_url": "https://gitlab.lab.example.com:8443"},
    {"aws_state_projects": ["a/b", "C/d/e.f-g_h"]},
    {"lab_name": "a" * 40},
]
ALONE = [
    {"lab_name": "Home"},
    {"lab_name": "a" * 41},
    {"gitlab_url": "http://gitlab.lab.example.com"},
    {"gitlab_url": "https://gitlab.lab.example.com/"},
    {"iac_project": "iac"},
    {"iac_project": "home-ops/*"},
    {"aws_state_projects": ["homelab/*"]},
    {"aws_state_projects": ["web"]},
    {"aws_plan_branches": ["main", "*"]},
    {"aws_plan_branches": ["feature*"]},
]
TOGETHER = [
    {"aws_issuer_bucket": "one-bucket"},
    {"aws_state_projects": ["group/" + "x" * 60]},
    {"aws_issuer_bucket": "", "gitlab_url": "https://gitlab.lab.example.com:8443"},
]


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize("wrong", [ALONE, TOGETHER], ids=["alone", "with another"])
def test_each_of_the_other_variables_refuses_its_neighbour(modules: Path, wrong: list[dict[str, Any]]) -> None:
    found = refused_by_the_engine(modules, [RIGHT | one for one in [*wrong, *FINE]])
    assert found == {(number, next(iter(one))) for number, one in enumerate(wrong)}


def test_a_regions_form_fits_all_regions_that_aws_has() -> None:
    import boto3

    session = boto3.Session()
    usual = session.get_available_regions("s3")
    assert len(usual) > 25
    assert [one for one in usual if rules.refusal("aws_region", {"aws_region": one})] == []
    others = [
        name for part in ("aws-cn", "aws-us-gov") for name in session.get_available_regions("s3", partition_name=part)
    ]
    assert [one for one in others if not rules.refusal("aws_region", {"aws_region": one})] == []
    assert re.search("us-gov", " ".join(others))
