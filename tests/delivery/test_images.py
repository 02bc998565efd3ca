"""What a lab runs privileged, or shows secrets, is named by tag and digest; a digest never stands with another tag."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from extensions import facts, images
from hooks import release
from tests.delivery.test_renovate import LABS
from tests.delivery.test_renovate import images as of_containers
from tests.support.cluster import Lab
from tests.support.program import gitlab_image, installed_gitlab, objects, storage
from tests.support.questions import labs_with
from tests.support.rendering import ROOT, VALID, read_answers

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# Wherever a file of a lab names an image: YAML, TOML, a Dockerfile, the lab's program.
NAMED = re.compile(
    r"(?:^[ -]*(?:image|- name|name):|^FROM|\b(?:image|IMAGE) =) *\"?([a-z][\w./-]*:[\w.-]+(?:@[\w:]+)?)\"?(?: AS \w+)?$",
    re.MULTILINE,
)
FILES = (
    "runner/*",
    "**/.gitlab-ci.yml",
    ".gitlab/*.yml",
    "sample-app/Dockerfile",
    "lab_program/**/*.py",
    "clusters/**/*.yaml",
    "apps/gitlab/*.yaml",
)


def named(lab: Lab) -> set[str]:
    """Return every image that the lab names, as it names it."""
    found = {name for thing in lab.objects for name in of_containers(thing)}
    for pattern in FILES:
        for file in lab.path.glob(pattern):
            found |= set(NAMED.findall(file.read_text(encoding="utf-8")))
    # The lab's own application: Flux and its owner decide about that one.
    own = lab.answers["registry_host"]
    return {name for name in found if not name.startswith(own)}


def test_every_image_of_a_lab_has_the_digest_of_its_very_tag_or_a_reason(lab: Lab) -> None:
    found, dind = named(lab), lab.answers["build_method"] == "dind"
    answered = {f"docker:{lab.answers['docker_version']}-{part}" for part in ("cli", "dind")} if dind else set()
    for image in found:
        name, _, digest = image.partition("@")
        assert digest == images.DIGESTS.get(name, ""), image
        if name not in answered:
            assert images.unsettled(image) is None
    assert len(found) > 10 and answered <= {name.partition("@")[0] for name in found}


@pytest.mark.labs(**LABS)
def test_what_is_privileged_or_holds_secrets_is_pinned_in_a_lab_of_the_defaults(lab: Lab) -> None:
    """By what each is given, not by its name: Docker's socket, a privileged service, the API server's or GitLab's tokens."""
    pinned = {image.partition("@")[0] for image in named(lab) if "@" in image}
    found = {images.repository(name) for name in pinned}
    parts = ("source", "kustomize", "helm", "notification", "image-reflector", "image-automation")
    assert {
        "python",
        "alpine",
        "docker.io/library/busybox",
        *(f"ghcr.io/fluxcd/{part}-controller" for part in parts),
    } <= found
    if lab.answers["build_method"] == "buildkit":
        assert "moby/buildkit" in found
    elif lab.answers["docker_version"] == facts.DEFAULT_DOCKER_VERSION:
        assert {f"docker:{facts.DEFAULT_DOCKER_VERSION}-cli", f"docker:{facts.DEFAULT_DOCKER_VERSION}-dind"} <= pinned
    if lab.answers["backups"]:
        assert "registry.k8s.io/kubectl" in found
    if lab.answers["runner_kind"] == "docker":
        services = yaml.safe_load((lab.path / "runner/compose.yaml").read_text(encoding="utf-8"))["services"]
        mounting = {
            service["image"] for service in services.values() if any("docker.sock" in one for one in service["volumes"])
        }
        assert {images.repository(image) for image in mounting if "@" not in image} == {"gitlab/gitlab-runner"}


def test_the_table_has_nothing_that_no_lab_runs(article: Lab) -> None:
    found = {name.partition("@")[0] for name in [*named(article), *(image for _, image in release.named_images(ROOT))]}
    # Not every lab has a sign-in, or sends its backups.
    assert set(images.DIGESTS) <= found | {facts.SIGN_IN_IMAGE, facts.RCLONE_IMAGE}
    assert set(images.BY_TAG) <= {images.repository(name) for name in found}
    assert all(DIGEST.fullmatch(digest) for digest in images.DIGESTS.values())
    # Renovate knows an image of the program by its whole name, and one of a pipeline as GitLab writes it.
    assert len(set(images.DIGESTS.values())) == len(
        {name.removeprefix("docker.io/library/") for name in images.DIGESTS}
    )


@pytest.mark.labs(**LABS)
def test_the_readme_names_what_goes_by_its_tag(lab: Lab) -> None:
    readme = (lab.path / "README.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^  \| (`.*?) \|", readme.partition("why by its tag alone")[2].partition("\n\n")[0], re.MULTILINE
    )
    told = {name for row in rows for name in re.findall(r"`(.*?)`", row)}
    run = {images.repository(name) for name in named(lab) if "@" not in name}
    assert told == {name for name in images.BY_TAG if name in run or name == "docker.io/curlimages/curl"}


def answers(**changed: Any) -> facts.Lab:
    return facts.Lab(
        {
            "build_method": "dind",
            "docker_version": facts.DEFAULT_DOCKER_VERSION,
            "gitlab_version": facts.DEFAULT_GITLAB_VERSION,
            **changed,
        }
    )


@settings(max_examples=100, deadline=None, database=None)
@given(st.builds("{}.{}.{}".format, st.integers(28, 40), st.integers(0, 30), st.integers(0, 30)))
def test_another_version_of_docker_has_no_digest_and_never_a_wrong_one(version: str) -> None:
    lab = answers(docker_version=version)
    for image, tag in (
        (lab.docker_client_image, f"docker:{version}-cli"),
        (lab.docker_daemon_image, f"docker:{version}-dind"),
        (lab.job_image, f"docker:{version}-cli"),
    ):
        assert image == (f"{tag}@{images.DIGESTS[tag]}" if tag in images.DIGESTS else tag)
    if version != facts.DEFAULT_DOCKER_VERSION:
        assert "@" not in lab.docker_client_image + lab.docker_daemon_image


def test_a_lab_that_builds_without_docker_cleans_up_with_the_pinned_client() -> None:
    assert answers(build_method="buildkit", docker_version="29.0.0").docker_client_image == images.pinned(
        f"docker:{facts.DEFAULT_DOCKER_VERSION}-cli"
    )


# How a default moves (hooks/release.py)


def test_this_checkout_has_a_digest_or_a_reason_for_each_image() -> None:
    assert release.image_problems(ROOT) == []


@pytest.mark.parametrize(
    ("name", "moved", "image"),
    [
        ("DEFAULT_DOCKER_VERSION", "29.9.9", "docker:29.9.9-cli"),
        ("KUBECTL_IMAGE", "registry.k8s.io/kubectl:v1.99.0", "registry.k8s.io/kubectl:v1.99.0"),
        ("BUILDKIT_IMAGE", "moby/buildkit:v0.99.0-rootless", "moby/buildkit:v0.99.0-rootless"),
        ("JOB_IMAGE", "alpine:3.99", "alpine:3.99"),
    ],
)
def test_a_default_that_moves_without_its_digest_is_not_released(
    monkeypatch: pytest.MonkeyPatch, name: str, moved: str, image: str
) -> None:
    monkeypatch.setattr(facts, name, moved)
    assert any(
        line.startswith(f"extensions/facts.py: `{image}` has no digest in extensions/images.py; find one")
        for line in release.image_problems(ROOT)
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("  image: python:3.99-slim\n", "x.yaml: `python:3.99-slim` has no digest"),
        ("image: python:3.13-slim\n", "x.yaml: `python:3.13-slim` is not `python:3.13-slim@sha256:"),
        (f"    - name: alpine:3.22@sha256:{'0' * 64}\n", "` is not `alpine:3.22@sha256:"),
        ("FROM somebody/else:1.0 AS app\n", "x.yaml: `somebody/else:1.0` has no digest"),
        (f'IMAGE = "gitlab/gitlab-runner:v1@sha256:{"0" * 64}"\n', "x.yaml: `gitlab/gitlab-runner:v1` has no digest"),
        ("image: gitlab/gitlab-runner:alpine-v19.9.0\n", None),
        ("name: a name\n", None),
        (f"image: {images.pinned('alpine:3.22')}\n", None),
    ],
)
def test_a_file_of_the_template_that_names_another_image_is_found(tmp_path: Path, text: str, said: str | None) -> None:
    (tmp_path / "template").mkdir()
    (tmp_path / "template/x.yaml").write_text(text, encoding="utf-8")
    found = release.image_problems(tmp_path)
    assert len(found) == (0 if said is None else 1) and all((said or "") in line for line in found), found


# The lab's program reads images


@pytest.mark.parametrize("digest", ["", f"@sha256:{'a' * 64}"])
def test_gitlabs_version_is_read_with_a_digest_behind_it(digest: str) -> None:
    image = f"registry.example/mirror/gitlab/gitlab-ce:19.3.2-ce.0{digest}"
    deployment = objects.KubeObject({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}})
    assert installed_gitlab.installed_version(deployment) == "19.3.2-ce.0"
    assert gitlab_image.version_in(f"image:\n  repository: gitlab/gitlab-ce\n  tag: 19.3.2-ce.0{digest}\n") == "19.3.2"


def test_the_job_that_makes_the_folders_runs_the_pinned_image() -> None:
    assert images.pinned(storage.IMAGE.partition("@")[0]) == storage.IMAGE and "@sha256:" in storage.IMAGE


def test_the_labs_here_are_of_each_kind() -> None:
    assert {read_answers(file)["runner_kind"] for file in VALID if file.stem in labs_with(**LABS)} >= {
        "docker",
        "kubernetes",
    }
