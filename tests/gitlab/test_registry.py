"""An image goes through Traefik and NGINX into a real registry, whose settings are those of gitlab.rb, and Flux is told of it."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from extensions.facts import JOB_CA_FOLDER, Lab
from tests.gitlab.support.address_book import AddressBook
from tests.gitlab.support.authority import Authority
from tests.gitlab.support.nginx_of_gitlab import NginxOfGitlab
from tests.gitlab.support.registry_of_gitlab import LogInStub, RegistryOfGitlab, realm
from tests.gitlab.support.rendered_labs import CHART, RenderedLab, recorded
from tests.gitlab.support.traefik_cluster import TraefikCluster, ask
from tests.support.cluster import documents, helm
from tests.support.loopback import free_port, wait_for
from tests.support.tools import tool

USER, PASSWORD = "gitlab-ci-token", "a-job's-token"


@dataclass
class Chain:
    """All of it: client, Traefik, NGINX, registry, and who lets in."""

    lab: RenderedLab
    cluster: TraefikCluster
    log_in: LogInStub
    recorded: dict[str, Any]
    proxy: str

    @property
    def address(self) -> str:
        port = self.lab.answers["https_port"]
        return self.lab.answers["registry_host"] + ("" if port == 443 else f":{port}")

    def skopeo(self, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run skopeo, which reads the folders that Docker reads (certs.d), with the lab's names known to it."""
        environment = {
            "PATH": os.environ["PATH"],
            "HTTPS_PROXY": self.proxy,
            "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
            **variables,
        }
        return subprocess.run(
            [tool("skopeo"), "--insecure-policy", *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module", params=[443, 8443])
def chain(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[Chain]:
    tool("skopeo")
    folder = tmp_path_factory.mktemp("chain")
    ports = {"https_port": request.param, "http_port": free_port(), "registry_port": free_port()}
    lab = RenderedLab({"base_domain": "lab", **ports}, trusted=["127.0.0.1/32"])
    log_in = LogInStub(folder / "log-in", USER, PASSWORD)
    settings = recorded(
        [lab], folder / "rb", {"REGISTRY_WEBHOOK_URL": "http://{}:{}/hook/flux".format(*log_in.address)}
    )[0]
    registry = RegistryOfGitlab(folder / "registry", settings, log_in.certificate)
    pod = {port: ("127.0.0.1", port) for port in (lab.answers["http_port"], lab.answers["registry_port"])}
    hosts = {lab.answers["gitlab_host"], lab.answers["registry_host"]}
    with (
        NginxOfGitlab(folder / "nginx", settings, log_in.address, registry.address),
        TraefikCluster(folder / "traefik", lab.objects, lab.traefik, pod, authority) as cluster,
        AddressBook(lambda host, port: cluster.exposed(port) if host in hosts else ("", 0)) as book,
    ):
        yield Chain(lab, cluster, log_in, settings, book.url)
    registry.close()
    log_in.close()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an image in a folder (OCI layout) with six layers, the first of 5 MB."""
    folder = tmp_path_factory.mktemp("image")

    def blob(content: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        (folder / "blobs/sha256").mkdir(parents=True, exist_ok=True)
        (folder / "blobs/sha256" / digest).write_bytes(content)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(content)}

    contents = [os.urandom(size) for size in (5_000_000, 1000, 1000, 1000, 1000, 1000)]
    layers = [blob(gzip.compress(content, 0), "layer.v1.tar+gzip") for content in contents]
    unpacked = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in contents]}
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": unpacked}
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(json.dumps(config).encode(), "config.v1+json"),
        "layers": layers,
    }
    index = {
        **blob(json.dumps(manifest).encode(), "manifest.v1+json"),
        "annotations": {"org.opencontainers.image.ref.name": "1.2.3"},
    }
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [index]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


def certs_d(folder: Path, address: str, authority: Path) -> Path:
    """Return Docker's folder of authorities, made as docs.docker.com/engine/security/certificates/ describes it."""
    found = folder / "certs.d" / address
    found.mkdir(parents=True)
    (found / "ca.crt").write_bytes(authority.read_bytes())
    return found


pytestmark = pytest.mark.xdist_group("registry")


@pytest.mark.slow(keep=1)
def test_the_registry_sends_clients_to_log_in_at_gitlab_over_https(chain: Chain) -> None:
    port = chain.lab.answers["https_port"]
    answer = ask(
        chain.cluster.exposed(port),
        chain.lab.answers["registry_host"],
        "/v2/",
        trusted=chain.cluster.authority.crt,
        port=None if port == 443 else port,
    )
    where = "https://gitlab.lab" + ("" if port == 443 else f":{port}") + "/jwt/auth"
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == f'Bearer realm="{where}",service="container_registry"'
    assert realm(chain.recorded) == where


@pytest.mark.deep(keep=1)
def test_an_image_is_pushed_announced_and_pulled(chain: Chain, image: Path, tmp_path: Path) -> None:
    folder = certs_d(tmp_path, chain.address, chain.cluster.authority.crt)
    there = f"docker://{chain.address}/homelab/demo:1.2.3"
    chain.log_in.calls.clear()
    pushed = chain.skopeo(
        "copy", "--dest-cert-dir", folder, "--dest-creds", f"{USER}:{PASSWORD}", f"oci:{image}:1.2.3", there
    )
    assert pushed.returncode == 0, pushed.stderr
    wait_for("the announcement to Flux", lambda: ("push", "homelab/demo", "1.2.3") in chain.log_in.events)
    pulled = chain.skopeo(
        "copy", "--src-cert-dir", folder, "--src-creds", f"{USER}:{PASSWORD}", there, f"dir:{tmp_path}/pulled"
    )
    assert pulled.returncode == 0, pulled.stderr
    manifest = json.loads((image / "index.json").read_text())["manifests"][0]["digest"].removeprefix("sha256:")
    assert (tmp_path / "pulled/manifest.json").read_bytes() == (image / "blobs/sha256" / manifest).read_bytes()
    assert {file.name for file in (image / "blobs/sha256").iterdir()} - {manifest} <= {
        file.name for file in (tmp_path / "pulled").iterdir()
    }


@pytest.mark.deep
def test_a_push_is_announced_once_and_starts_one_scan(chain: Chain, image: Path, tmp_path: Path) -> None:
    """Of an image with six layers. A pull, which Flux itself does for each application, is no news."""
    folder = certs_d(tmp_path, chain.address, chain.cluster.authority.crt)
    chain.log_in.calls.clear()
    login = ("--dest-cert-dir", folder, "--dest-creds", f"{USER}:{PASSWORD}")
    for name in ("shop:2.0.0", "shop:cache", "last:1.0.0"):
        there = f"docker://{chain.address}/homelab/{name}"
        assert chain.skopeo("copy", *login, f"oci:{image}:1.2.3", there).returncode == 0
        assert (
            chain.skopeo(
                "copy", "--src-cert-dir", folder, "--src-creds", f"{USER}:{PASSWORD}", there, f"dir:{tmp_path}/{name}"
            ).returncode
            == 0
        )
    calls = wait_for("the last announcement", lambda: chain.log_in.calls if len(chain.log_in.calls) >= 3 else None)
    assert len(calls) == 3
    resources = [scanned(chain, name) for name in ("demo", "shop", "workshop", "last")]
    started = [[one["metadata"]["name"] for one in resources if accepts(chain, call, one)] for call in calls]
    assert started == [["shop"], [], ["last"]]


def scanned(chain: Chain, name: str) -> dict[str, Any]:
    """Return the ImageRepository that the chart makes for an application's image."""
    values = {"image": {"repository": f"{chain.address}/homelab/{name}", "tag": "1.0.0", "imagePolicy": True}}
    return next(thing for thing in helm(CHART, values, name, "apps") if thing["kind"] == "ImageRepository")


def accepts(chain: Chain, body: dict[str, object], resource: dict[str, Any]) -> bool:
    """Say whether Flux's receiver starts a scan: `req` is the call's body, `res` the object's metadata (notification-controller, receivers.md)."""
    receiver = next(
        one for one in documents(chain.lab.text("automation/receivers.yaml")) if one["metadata"]["name"] == "registry"
    )
    # The package is made for Python 3.11 and newer.
    cel = pytest.importorskip("cel")
    answer = cel.evaluate(receiver["spec"]["resourceFilter"], {"req": body, "res": {"metadata": resource["metadata"]}})
    assert isinstance(answer, bool)
    return answer


def test_a_repository_that_an_older_chart_made_is_scanned_at_each_call(chain: Chain) -> None:
    old = {"metadata": {"name": "old", "labels": {"app.kubernetes.io/managed-by": "Helm"}}}
    event = {"action": "push", "target": {"repository": "homelab/x", "tag": "1.0.0"}}
    assert accepts(chain, {"events": [event]}, old)
    assert accepts(chain, {"events": [event]}, {"metadata": {"name": "old", "annotations": {"a": "b"}}})
    # A call by hand carries no event.
    assert accepts(chain, {}, scanned(chain, "demo"))
    # What is pushed by its digest only is a part of an image for several kinds of processors.
    assert not accepts(
        chain, {"events": [{"action": "push", "target": {"repository": "homelab/demo"}}]}, scanned(chain, "demo")
    )


@pytest.mark.slow(keep=1)
def test_a_wrong_password_is_refused(chain: Chain, image: Path, tmp_path: Path) -> None:
    folder = certs_d(tmp_path, chain.address, chain.cluster.authority.crt)
    there = f"docker://{chain.address}/homelab/demo:1.2.4"
    pushed = chain.skopeo(
        "copy", "--dest-cert-dir", folder, "--dest-creds", f"{USER}:wrong", f"oci:{image}:1.2.3", there
    )
    assert pushed.returncode != 0 and "invalid username/password" in pushed.stderr


def test_docker_trusts_the_labs_authority_from_its_certs_d_and_no_other(
    chain: Chain, image: Path, tmp_path: Path, stranger: Path
) -> None:
    for authority in (stranger, None):
        folder = certs_d(tmp_path / str(authority is None), chain.address, authority or chain.cluster.authority.crt)
        if authority is None:
            (folder / "ca.crt").unlink()
        there = f"docker://{chain.address}/homelab/demo:1.2.5"
        pushed = chain.skopeo(
            "copy", "--dest-cert-dir", folder, "--dest-creds", f"{USER}:{PASSWORD}", f"oci:{image}:1.2.3", there
        )
        assert pushed.returncode != 0 and "certificate signed by unknown authority" in pushed.stderr


@pytest.mark.slow
def test_a_jobs_environment_makes_docker_and_buildkit_trust_the_authority(
    chain: Chain, image: Path, tmp_path: Path, stranger: Path
) -> None:
    """Both are Go programs, as skopeo is: they read the folders of SSL_CERT_DIR beside the system's own certificates."""
    name, _, value = Lab(chain.lab.answers).job_environment[0].partition("=")
    there = f"docker://{chain.address}/homelab/demo:1.2.6"
    for number, authority in enumerate((stranger, chain.cluster.authority.crt)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "ca.crt").write_bytes(authority.read_bytes())
        environment = {name: value.replace(JOB_CA_FOLDER, str(folder))}
        pushed = chain.skopeo("copy", "--dest-creds", f"{USER}:{PASSWORD}", f"oci:{image}:1.2.3", there, **environment)
        assert (pushed.returncode == 0) is (authority != stranger), pushed.stderr
