"""The cache of Docker Hub: a real registry with the lab's own settings keeps what it pulled, behind a real Traefik that lets in machines at home alone.

The registry is Debian's 2.8; a lab runs 3.1, which reads the same file. That one's own week of `ttl` is what 2.8 has built in.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.gitlab.support.authority import Authority
from tests.gitlab.support.docker_hub_chain import HOST, IMAGE, MANIFEST, PORT, Chain, running
from tests.support.loopback import wait_for

pytestmark = [pytest.mark.tool("docker-registry", "skopeo", "traefik"), pytest.mark.xdist_group("docker-hub")]
CACHED = f"{HOST}:{PORT}/{IMAGE}"
HOME = ["127.0.0.0/8"]


@pytest.fixture
def chain(tmp_path: Path, authority: Authority) -> Iterator[Chain]:
    with running(tmp_path, authority, HOME) as found:
        found.push(IMAGE, b"29.8.1")
        yield found


def blobs(chain: Chain) -> list[str]:
    """Return the layers and configurations that Docker Hub was asked for by GET: what a pull takes of it."""
    return [path for verb, path, _ in chain.hub.asked() if verb == "GET" and "/blobs/" in path and "upload" not in path]


def pull_and_keep(chain: Chain) -> None:
    """Pull the image, and wait until the cache keeps it: it hands a layer on while it fetches it a second time, for itself."""
    done = chain.pull(CACHED)
    assert done.returncode == 0, done.stderr
    kept = chain.cache.data / "docker/registry/v2/repositories" / IMAGE.partition(":")[0] / "_layers/sha256"
    wanted = {path.rpartition("sha256:")[2] for path in blobs(chain)}
    wait_for(f"the layers {wanted} in the cache", lambda: all((kept / one / "link").exists() for one in wanted))


def pulls(chain: Chain) -> list[str]:
    """Return the manifests that Docker Hub was asked for by GET: what it counts as pulls."""
    return [path for verb, path, _ in chain.hub.asked() if verb == "GET" and "/manifests/" in path]


def digest_of(chain: Chain) -> str:
    """Return the digest of the image as the cache's host tells it."""
    answer = chain.ask(f"/v2/{IMAGE.replace(':', '/manifests/')}", headers={"Accept": MANIFEST})
    assert answer.status == 200
    return answer.headers["docker-content-digest"]


def test_an_image_is_pulled_once_from_docker_hub_however_often_it_is_asked_for(chain: Chain) -> None:
    pull_and_keep(chain)
    assert len(set(blobs(chain))) == 2 and pulls(chain)
    before = blobs(chain), pulls(chain)
    for _ in range(3):
        again = chain.pull(CACHED)
        assert again.returncode == 0, again.stderr
    assert (blobs(chain), pulls(chain)) == before


@pytest.mark.slow
def test_without_docker_hub_the_cache_goes_on_with_what_it_has(chain: Chain) -> None:
    pull_and_keep(chain)
    chain.hub.stop()
    again = chain.pull(CACHED)
    assert again.returncode == 0, again.stderr
    other = chain.pull(f"{HOST}:{PORT}/library/alpine:3.22")
    assert other.returncode != 0, "it never had that one"


@pytest.mark.slow
def test_a_tag_that_moves_at_docker_hub_moves_at_home(chain: Chain) -> None:
    assert chain.pull(CACHED).returncode == 0
    old = digest_of(chain)
    chain.push(IMAGE, b"29.9.0")
    assert chain.pull(CACHED).returncode == 0
    assert digest_of(chain) != old


@pytest.mark.slow
def test_a_machine_asks_the_cache_first_and_docker_hub_itself_if_the_cache_is_down(chain: Chain) -> None:
    """By containers/image, the library of skopeo and Podman; Docker, BuildKit and containerd document the same of theirs."""
    assert chain.pull(f"docker.io/{IMAGE}", mirrored=True).returncode == 0
    there = len(chain.cache.asked())
    assert (
        there and chain.pull(f"docker.io/{IMAGE}", mirrored=True).returncode == 0 and len(chain.cache.asked()) > there
    )
    chain.cache.stop()
    before = len(blobs(chain))
    done = chain.pull(f"docker.io/{IMAGE}", mirrored=True)
    assert done.returncode == 0, done.stderr
    assert len(blobs(chain)) > before


@pytest.mark.slow
def test_nobody_pushes_to_the_cache_or_deletes_from_it(chain: Chain) -> None:
    assert chain.pull(CACHED).returncode == 0
    name = IMAGE.partition(":")[0]
    digest = digest_of(chain)
    assert chain.ask(f"/v2/{name}/blobs/uploads/", method="POST").status == 405
    assert chain.ask(f"/v2/{name}/manifests/{digest}", method="DELETE").status == 405
    assert chain.pull(CACHED).returncode == 0


def test_who_is_not_at_home_is_not_let_in_whatever_they_send(tmp_path: Path, authority: Authority) -> None:
    with running(tmp_path, authority, None) as chain:
        asked = len(chain.hub.asked())
        for headers in ({}, {"X-Forwarded-For": "10.0.0.1"}, {"X-Real-Ip": "192.168.1.2", "Forwarded": "for=10.0.0.1"}):
            assert chain.ask("/v2/", headers=headers).status == 403, headers
        assert chain.pull(CACHED).returncode != 0
        assert chain.cache.asked() == [] and len(chain.hub.asked()) == asked
        assert chain.cluster is not None and chain.cluster.complaints() == []


@pytest.mark.slow
def test_what_is_kept_goes_after_a_week_and_the_account_is_no_part_of_the_settings(chain: Chain) -> None:
    settings = yaml.safe_load(chain.one("ConfigMap", "docker-hub-cache-config")["data"]["config.yml"])
    assert settings["proxy"] == {"remoteurl": "https://registry-1.docker.io", "ttl": "168h"}
    assert settings["storage"]["delete"] == {"enabled": True}, "without it, what is too old would stay"
    assert chain.pull(CACHED).returncode == 0
    assert (
        chain.cache.data / "scheduler-state.json"
    ).exists() or "Adding new scheduler entry" in chain.cache.log.read_text()
