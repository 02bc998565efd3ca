"""The digests of the images that a lab runs privileged, or shows secrets: each of its exact tag, of all platforms.

Each was found in public repositories of at least two owners who have nothing to do with one another, and pin tag and digest
together. `docker buildx imagetools inspect IMAGE` tells the digest of a tag.

An image that is not here is rendered with its tag alone: a version that an owner answers never gets another one's digest.
"""

from __future__ import annotations

DIGESTS = {
    "alpine:3.22": "sha256:5291449c3df73caf6ed85e649dec1b9e818b39a5d8c871e97afc13e9cd5e8fa8",
    "docker:29.8.1-cli": "sha256:018edbc908e08fcc9dbf029c812c34251e9b4719e6f71ca0e5eae2a987d014ca",
    "docker:29.8.1-dind": "sha256:3f3c01aaaebf7cce837356b688b7c059a4749f10bd7660dec7c58fc454a283f0",
    "docker.io/library/registry:3.1.1": "sha256:325b4b29b041e82803abeb703e201655e4e23ab83264ec1a7c9ddb0a5b14a6e0",
    "ghcr.io/opentofu/opentofu:1.12.6": "sha256:22cb52f6c5bf5c72a48a8f56d993d8df3e9462b1cdfb5db7e77143c87e8d159f",
    "moby/buildkit:v0.33.0-rootless": "sha256:80b15f0735e87bab7bf59ec4d695dfb4a7cfb25521cf56dc75d6f256285b63ef",
    "quay.io/oauth2-proxy/oauth2-proxy:v7.15.5": "sha256:8498b0d0ef0a7b29686414000a08aee467f02d0299c9ed1e006a8f33fc017916",
    "rclone/rclone:1.75.1": "sha256:45401ad7410db1d67ffdb58e19059ad20b0d8e0285a60e38bbec55cc1019c7a5",
    "registry.k8s.io/kubectl:v1.36.4": "sha256:b8d523e7b8cdc5e3caa0f8891ee9f504abf137dec786e6e0ddd33e4f272c2f13",
    # In files of the lab that are not rendered; a test compares them.
    "docker.io/library/busybox:1.37.0": "sha256:9db7b59979c38555a39def84a31fb98b5296952f9e3afd4f6f11f05b07adfab0",
    "docker.io/library/python:3.13-slim": "sha256:8d9d0b8bcf6506481eae4907c18f5e3e7902e629f5f6d684f9e7c32e85e3ddf0",
    "ghcr.io/fluxcd/helm-controller:v1.6.3": "sha256:16ada99456385100698a5d7adf90aba8a2089d987ab541c9566b6d7b0e897038",
    "ghcr.io/fluxcd/image-automation-controller:v1.2.4": "sha256:0286cbba95a2606a006e370052cb642f4370cb42ceea8353b5cba922cf47770c",
    "ghcr.io/fluxcd/image-reflector-controller:v1.2.4": "sha256:d63550296dc9a6c2b7c9246cb7ef6e52d7469d5b104cd329622301b46971e255",
    "ghcr.io/fluxcd/kustomize-controller:v1.9.4": "sha256:2b8bec54ffb6caf421bd2a6c005d27f567d5dd4db7feb55794fb51fcabd69b8f",
    "ghcr.io/fluxcd/notification-controller:v1.9.3": "sha256:071c351a0fb163eeb6a2bb82f1e894f51b6b0734216d2e97d3d99c9ab9d710b9",
    "ghcr.io/fluxcd/source-controller:v1.9.4": "sha256:8a8ed0a57b8b86f561d5a4309a69f65e62f0cebe4de8801593c5ff35a3bc3c23",
    "python:3.13-slim": "sha256:8d9d0b8bcf6506481eae4907c18f5e3e7902e629f5f6d684f9e7c32e85e3ddf0",
}

# What goes by its tag alone, and why. The lab's README says it too (partials/supply.md.jinja).
BY_TAG = {
    "docker.io/curlimages/curl": "no secret and no privilege: it runs only if somebody asks for `helm test`",
    "gitlab/gitlab-ce": "its version is an answer, and a digest left behind would run the old one under the new tag",
    "gitlab/gitlab-runner": "its version follows GitLab's, and no two owners publish a digest of it",
    "nginxinc/nginx-unprivileged": "no secret and no privilege: what the sample application builds on",
}


def pinned(image: str) -> str:
    """Return an image's name, a tag included, with the digest of that tag where it is known."""
    digest = DIGESTS.get(image)
    return f"{image}@{digest}" if digest else image


def repository(image: str) -> str:
    """Return an image's name without tag and digest."""
    name = image.partition("@")[0]
    return name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name


def unsettled(image: str) -> str | None:
    """Return why an image that every new lab runs is neither pinned nor excused; None where it is.

    Args:
        image: as the lab names it, with its tag, and a digest or not.
    """
    name, _, digest = image.partition("@")
    known = DIGESTS.get(name)
    if known is None and repository(image) in BY_TAG and not digest:
        return None
    if known is None:
        return (
            f"`{name}` has no digest in extensions/images.py; find one that two owners publish and write it there, with the tag,"
            " or stay at the version that has one"
        )
    return None if digest == known else f"`{image}` is not `{name}@{known}`, as extensions/images.py has it"
