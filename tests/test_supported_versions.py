"""docs/supported-versions.md says what the code that refuses other versions says, and what the tests try."""

from __future__ import annotations

import re
from importlib.metadata import version

import pytest
import yaml

from extensions import facts, images
from hooks import release
from hooks.update import command, copier_contract
from tests.support import schemas
from tests.support.cluster import Lab
from tests.support.program import preflight_cluster, preflight_here
from tests.support.program import update as program_update
from tests.support.rendering import ROOT

PAGE = (ROOT / "docs" / "supported-versions.md").read_text(encoding="utf-8")


def rows(heading: str) -> dict[str, list[str]]:
    """Return the other cells of each row of a section's table, by its first."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    found = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")
    ]
    return {cells[0]: cells[1:] for cells in found[2:]}


NEEDED = rows("What it needs")


@pytest.mark.parametrize(
    ("row", "program"), [("Flux", "flux"), ("Helm", "helm"), ("kubectl", "kubectl"), ("Git", "git")]
)
def test_the_oldest_tools_are_those_that_preflight_takes(row: str, program: str) -> None:
    assert NEEDED[row][0] == f"{preflight_here.OLDEST[program]} and newer"


def test_what_is_capped_is_capped_there_too() -> None:
    oldest, below = preflight_here.OLDEST["tofu"], preflight_here.TOO_NEW["tofu"]
    assert NEEDED["OpenTofu, in a lab with `iac/`"][0] == f"{oldest} up to, and without, {below}"
    oldest, below = (".".join(map(str, one)) for one in (command.OLDEST, command.BELOW))
    assert NEEDED["Copier"][0] == f"{oldest} up to, and without, {below}"
    assert f"Copier {below} does not exist yet" in PAGE


def test_copier_is_capped_in_every_place_that_installs_it() -> None:
    oldest, below = (".".join(map(str, one)) for one in (command.OLDEST, command.BELOW))
    wanted = f"copier>={oldest},<{below}"
    assert wanted in (ROOT / "requirements" / "run.in").read_text(encoding="utf-8").splitlines()
    assert (
        yaml.safe_load(
            (ROOT / "copier.yml")
            .read_text(encoding="utf-8")
            .split("\n---")[0]
            .split("_min_copier_version:")[1]
            .split("\n")[0]
        )
        == oldest
    )
    assert (oldest, below) == (program_update.OLDEST_COPIER, program_update.NEWER_COPIER)
    assert f"\ncopier=={version('copier')} " in (ROOT / "template/.gitlab/requirements.txt").read_text(encoding="utf-8")
    said = [
        ROOT / "README.md",
        *(ROOT / "partials").rglob("*.*"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "template").rglob("*.md*"),
    ]
    said += [*(ROOT / "hooks").rglob("*.py"), *(ROOT / "template/lab_program").rglob("*.py")]
    for file in said:
        for line in file.read_text(encoding="utf-8").splitlines():
            if re.search(r"(pipx install|--from|uv tool install|pip install) '?copier\b", line):
                assert (
                    f"<{below}" in line or "copier==" in line or "{_text(BELOW)}" in line or "{NEWER_COPIER}" in line
                ), f"{file}: {line}"


def test_the_copier_that_the_tests_use_is_both_of_its_ends() -> None:
    """As soon as a newer one is out, the oldest needs a run of its own."""
    assert version("copier") == ".".join(map(str, command.OLDEST)) == copier_contract.TRIED
    assert "the oldest and the newest there is" in NEEDED["Copier"][2]


def test_the_other_figures_are_the_tests_own() -> None:
    assert NEEDED["Kubernetes"][0] == f"{schemas.OLDEST_KUBERNETES} and newer"
    assert (
        f"schemas of {schemas.OLDEST_KUBERNETES} (of two labs; with `LONG=1` of all) and of {schemas.KUBERNETES}"
        in NEEDED["Kubernetes"][2]
    )
    built = re.search(
        r'^KUBERNETES = "(\d+\.\d+)', (ROOT / "tests/cluster/build.py").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert built and f"API server of {built[1]} " in NEEDED["Kubernetes"][2] and NEEDED["kubectl"][2] == built[1]
    assert (
        f"those of {facts.FLUX_VERSION}" in NEEDED["Flux"][1]
        and f"controllers of {facts.FLUX_VERSION}" in NEEDED["Flux"][2]
    )
    assert f"Flux {facts.FLUX_VERSION.rpartition('.')[0]} asks" in NEEDED["Kubernetes"][1]
    assert NEEDED["Python, the owner's"][0] == "3.10 and newer" and 'target-version = "py310"' in (
        ROOT / "pyproject.toml"
    ).read_text(encoding="utf-8")


@pytest.mark.deep(keep=2)
def test_a_labs_objects_fit_the_oldest_kubernetes_too(lab: Lab) -> None:
    assert [error for thing in lab.objects for error in schemas.schema_errors(thing, schemas.OLDEST_KUBERNETES)] == []


# amd64 and arm64


def test_the_page_names_every_image_of_a_lab_and_no_other() -> None:
    named = {images.repository(image) for _, image in release.named_images(ROOT)} | set(images.BY_TAG)
    assert set(rows("amd64 and arm64")) == {f"`{name}`" for name in named}
    assert all(cells[0] for cells in rows("amd64 and arm64").values())
    assert preflight_cluster.IMAGES_ARE_FOR == ("amd64", "arm64")
