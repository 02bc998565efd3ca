"""The authority that a lab makes: by cert-manager's own controllers, through a real Traefik, to clients that know ca.crt alone."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.build import module_folder
from tests.cluster.conftest import Worlds
from tests.cluster.control_plane import PORT
from tests.cluster.paths import BIN, ROOT
from tests.cluster.world import World
from tests.gitlab.support.authority import Authority
from tests.support.cluster import read_lab
from tests.support.loopback import wait_for
from tests.support.program import certificates, inside_check, lab_authority, objects
from tests.support.tools import tool

pytestmark = [pytest.mark.xdist_group("certificates"), pytest.mark.deep]
TRAEFIK = ("127.0.0.9", 8443)
NAMESPACE, NAME = "cert-manager", "lab-authority"
CLASS = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "IngressClass",
    "metadata": {"name": "traefik"},
    "spec": {"controller": "traefik.io/ingress-controller"},
}


def apply(world: World, *things: dict[str, Any]) -> None:
    world.plane.apply("\n---\n".join(json.dumps(thing) for thing in things))


def get(world: World, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
    text = world.plane.kubectl("get", kind, name, "-n", namespace, "--ignore-not-found", "-o", "json")
    return json.loads(text) if text.strip() else None


def content(world: World, name: str, namespace: str) -> dict[str, str]:
    """Return what a Secret holds, as it is encoded; nothing if it is missing."""
    found = get(world, "secret", name, namespace)
    return dict(found["data"]) if found else {}


@pytest.fixture(scope="module")
def world(worlds: Worlds) -> Iterator[World]:
    """Return a cluster in which cert-manager runs, and whose lab has made its authority."""
    found = worlds.get("tls-authority", cert_manager="existing", runner_kind="none", setup_level="full")
    apply(found, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    found.processes.start("cert-manager", [str(BIN / "cert-manager"), "--kubeconfig", str(found.plane.kubeconfig)])
    made = found.run("./lab", "up", "--yes", "--only", "certificates")
    assert made.status == 0, made.text
    yield found


@pytest.fixture(scope="module")
def served(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Return that cluster with what the releases bring for https, and a Traefik that serves it."""
    lab = read_lab(world.lab, world.answers)
    things = [one for one in lab.objects if one["kind"] in ("Certificate", "Ingress", "Service")]
    spaces = sorted({one["metadata"]["namespace"] for one in things} - {NAMESPACE})
    apply(world, *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in spaces))
    apply(world, CLASS, *things)
    for one in things:
        if one["kind"] == "Certificate":
            place = one["spec"]["secretName"], one["metadata"]["namespace"]
            world.wait(f"the certificate {place}", lambda place=place: content(world, *place).get("tls.crt"), 60)
    log = tmp_path_factory.mktemp("traefik") / "log"
    with log.open("wb") as stream:
        command = [
            tool("traefik"),
            f"--entryPoints.websecure.address={TRAEFIK[0]}:{TRAEFIK[1]}",
            "--entryPoints.websecure.http.tls=true",
            f"--providers.kubernetesingress.endpoint=https://kubernetes.default.svc:{PORT}",
            f"--providers.kubernetesingress.token={world.plane.token}",
            f"--providers.kubernetesingress.certauthfilepath={world.plane.pki / 'apiserver.crt'}",
            "--providers.kubernetesingress.allowEmptyServices=true",
            "--global.checkNewVersion=false",
            "--global.sendAnonymousUsage=false",
        ]
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
    try:
        host = world.answers["gitlab_host"]

        def serves_it() -> bool:
            assert process.poll() is None, log.read_text()
            return verified(world.lab / "ca.crt", host) == ""

        try:
            wait_for("Traefik with the lab's certificates", serves_it, seconds=60, pause=0.2)
        except AssertionError as late:
            raise AssertionError(f"{late}: {verified(world.lab / 'ca.crt', host)}\n{log.read_text()}") from None
        yield world
    finally:
        process.kill()
        process.wait()


def verified(authority: Path, host: str) -> str:
    """Return why a client that trusts this authority alone refuses the host; nothing if it does not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        with socket.create_connection(TRAEFIK, 10) as plain, context.wrap_socket(plain, server_hostname=host):
            return ""
    except OSError as error:
        return str(error)


def test_ca_crt_holds_the_authority_without_its_key_and_git_leaves_it_out(world: World) -> None:
    text = (world.lab / "ca.crt").read_text(encoding="utf-8")
    held = certificates.read(text)
    assert [one.is_authority for one in held.certificates] == [True] and not held.has_key and not held.problems
    assert held.certificates[0].subject == f"Lab authority of {world.answers['lab_name']}"
    assert world.git("status", "--porcelain") in ("", None)
    again = world.run("./lab", "up", "--yes", "--only", "certificates")
    assert again.status == 0 and "ca.crt has the certificate" in again.text
    assert (world.lab / "ca.crt").read_text(encoding="utf-8") == text


def test_clients_that_know_ca_crt_alone_take_every_host_of_the_lab(served: World, tmp_path: Path) -> None:
    mine, another = served.lab / "ca.crt", Authority(tmp_path / "another").crt
    for host in (served.answers["gitlab_host"], served.answers["registry_host"], served.facts.sample_host):
        assert verified(mine, host) == ""
        assert "certificate verify failed" in verified(another, host)
        place = f"{TRAEFIK[0]}:{TRAEFIK[1]}"
        asked = ["openssl", "s_client", "-connect", place, "-servername", host, "-verify_hostname", host]
        asked += ["-verify_return_error", "-x509_strict", "-CAfile", str(mine)]
        said = subprocess.run(asked, input="", capture_output=True, text=True, check=False)
        assert said.returncode == 0 and "Verify return code: 0 (ok)" in said.stdout, said.stdout + said.stderr
    assert "verify failed" in verified(mine, "another.home.lan")


def test_a_lost_ca_crt_comes_back_and_certificates_of_the_owner_stay_in_it(world: World, tmp_path: Path) -> None:
    file = world.lab / "ca.crt"
    before, mine = file.read_text(encoding="utf-8"), Authority(tmp_path / "mine").crt.read_text(encoding="utf-8")
    file.write_text(mine, encoding="utf-8")
    assert world.run("./lab", "up", "--yes", "--only", "certificates").status == 0
    assert file.read_text(encoding="utf-8") == mine.rstrip() + "\n" + before
    file.unlink()
    # Traefik's machine is not reached; the certificate is fetched before.
    world.run("./lab", "trust", "root@127.0.0.99")
    assert file.read_text(encoding="utf-8") == before


def test_a_backup_brings_the_same_authority_into_a_cluster_that_lost_it(world: World) -> None:
    found = get(world, "secret", NAME, NAMESPACE)
    certificate = get(world, "certificate", NAME, NAMESPACE)
    assert found is not None and certificate is not None
    backup = lab_authority.manifest(objects.KubeObject(found))
    world.plane.kubectl("delete", "certificate,secret", NAME, "-n", NAMESPACE)
    apply(world, dict(backup))
    again = world.run("./lab", "up", "--yes", "--only", "certificates")
    assert again.status == 0, again.text
    world.wait("the Certificate", lambda: (get(world, "certificate", NAME, NAMESPACE) or {}).get("status"), 30)
    assert content(world, NAME, NAMESPACE) == found["data"]
    assert world.lab.joinpath("ca.crt").read_text(encoding="utf-8").count("BEGIN CERTIFICATE") == 1


def test_a_renewed_authority_is_trusted_by_what_trusts_the_one_of_before(served: World) -> None:
    old = content(served, NAME, NAMESPACE)
    issuing = {
        "type": "Issuing",
        "status": "True",
        "reason": "Test",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    patch = json.dumps([{"op": "add", "path": "/status/conditions/-", "value": issuing}])
    where = ("certificate", NAME, "-n", NAMESPACE)
    served.plane.kubectl("patch", *where, "--subresource=status", "--type=json", "--patch", patch)
    served.wait("a new certificate", lambda: content(served, NAME, NAMESPACE)["tls.crt"] != old["tls.crt"], 60)
    assert content(served, NAME, NAMESPACE)["tls.key"] == old["tls.key"]
    namespace, secret = served.answers["gitlab_namespace"], "gitlab-tls"
    before = content(served, secret, namespace)["tls.crt"]
    served.plane.kubectl("delete", "secret", secret, "-n", namespace)
    served.wait(
        "GitLab's new certificate", lambda: content(served, secret, namespace).get("tls.crt", before) != before, 60
    )
    host = served.answers["gitlab_host"]
    served.wait("a client that trusts the old one", lambda: verified(served.lab / "ca.crt", host) == "", 30)


@contextmanager
def dns_server(address: str, records: dict[str, str], folder: Path) -> Iterator[None]:
    """Run a real dnsmasq at an address of the loopback that knows these hosts, and nobody else."""
    (folder / address).mkdir()
    lines = [f"host-record={host},{leads_to}" for host, leads_to in records.items()]
    (folder / address / "conf").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    command = [tool("dnsmasq"), "--no-daemon", "--no-resolv", "--no-hosts", "--user=root", "--bind-interfaces"]
    command += [f"--listen-address={address}", f"--conf-file={folder / address / 'conf'}", "--pid-file="]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for("dnsmasq", lambda: listens(address, 53) or process.poll())
            assert process.poll() is None
            yield
        finally:
            process.terminate()


def listens(address: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
        return True
    return False


# The last leads nowhere: this network has a loopback alone.
NODES_DNS, CLUSTERS_DNS, NOBODY = "127.0.0.53", "127.0.0.54", "192.0.2.9"


def seen_from_inside(world: World, folder: Path, nodes: dict[str, str], cluster: dict[str, str]) -> str:
    """Return what preflight says if the two DNS servers know these hosts."""
    folder.mkdir()
    world.agent.jobs.resolvers = {"Default": NODES_DNS, "ClusterFirst": CLUSTERS_DNS}
    try:
        with dns_server(NODES_DNS, nodes, folder), dns_server(CLUSTERS_DNS, cluster, folder):
            said = world.run("./lab", "up", "--yes", "--only", "preflight").text
    finally:
        world.agent.jobs.resolvers = {}
    world.wait("no pod of it is left", lambda: not world.api.list("jobs", labelSelector=inside_check.SELECTOR))
    return said


def test_preflight_says_whether_names_or_ways_fail_inside_the_cluster(world: World, tmp_path: Path) -> None:
    """The Job's own script runs, as the Job's user, against two real DNS servers."""
    gitlab, registry = world.answers["gitlab_host"], world.answers["registry_host"]
    here = dict.fromkeys([gitlab, registry, world.facts.sample_host], "127.0.0.1")
    lost = {host: address for host, address in here.items() if host != registry}
    said = seen_from_inside(world, tmp_path / "both", here, here)
    assert f"the cluster knows {gitlab} {registry}" in said and "[inside]" not in said
    said = seen_from_inside(world, tmp_path / "cluster", here, lost)
    assert f"the cluster's DNS does not know {registry}, the nodes' own does" in said and "deployment/coredns" in said
    assert f"[inside] the cluster's DNS does not know {gitlab}" not in said
    said = seen_from_inside(world, tmp_path / "neither", lost, lost)
    assert f"[inside] DNS does not know {registry} inside the cluster" in said and "resolv.conf" in said
    said = seen_from_inside(world, tmp_path / "nodes", lost, here)
    assert f"the cluster reaches {registry}, but the nodes' DNS does not know it" in said and "[inside]" not in said
    said = seen_from_inside(world, tmp_path / "way", here, {**here, gitlab: NOBODY})
    assert (
        f"inside the cluster {gitlab} leads to {NOBODY}, and nothing answers at port 443" in said and "hairpin" in said
    )


def test_a_dry_run_of_preflight_starts_nothing_in_the_cluster(world: World) -> None:
    before = world.plane.kubectl("get", "events,pods,jobs", "-A", "-o", "name")
    said = world.run("./lab", "up", "--dry-run", "--only", "preflight").text
    assert "a dry run starts no pod" in said
    assert world.plane.kubectl("get", "events,pods,jobs", "-A", "-o", "name") == before


def test_the_pod_inside_trusts_what_traefik_shows_by_the_labs_authority_alone(served: World, tmp_path: Path) -> None:
    host = served.answers["gitlab_host"]
    served.agent.jobs.resolvers = {"ClusterFirst": CLUSTERS_DNS}
    mine = Authority(tmp_path / "mine").crt.read_text(encoding="utf-8")
    try:
        with dns_server(CLUSTERS_DNS, {host: TRAEFIK[0], "another.home.lan": TRAEFIK[0]}, tmp_path):
            views = {}
            for name, hosts, authority in (
                ("good", [host], (served.lab / "ca.crt").read_text(encoding="utf-8")),
                ("mine", [host], mine),
                ("name", ["another.home.lan"], (served.lab / "ca.crt").read_text(encoding="utf-8")),
            ):
                asked = {"hosts": hosts, "port": TRAEFIK[1], "seconds": 5, "authority": authority}
                apply(served, inside_check.job("default", name, "ClusterFirst", asked))
                views[name] = served.wait("the pod's end", lambda name=name: ended(served, name), 30)
    finally:
        served.agent.jobs.resolvers = {}
    assert views["good"] == inside_check.View()
    assert [one.kind for one in views["mine"].faults] == ["certificate"]
    assert [one.kind for one in views["name"].faults] == ["certificate"]


def ended(world: World, name: str) -> inside_check.View | None:
    pods = world.api.list("pods", "default", labelSelector=f"app.kubernetes.io/component={name}")
    seen = inside_check.view([objects.KubeObject(pod) for pod in pods])
    return None if seen.silence else seen


def test_cert_managers_own_chart_takes_the_labs_values_and_the_api_server_what_it_makes(world: World) -> None:
    """The chart of the version that the lab pins: its definitions bear Helm's order to keep them."""
    values = yaml.safe_load(_release(world))["spec"]["values"]
    chart = module_folder("github.com/cert-manager/cert-manager", "crds") / "deploy" / "charts" / "cert-manager"
    assert chart.parents[2].name.endswith(f"@{world.facts.cert_manager_version}")
    rendered = ["template", "cert-manager", str(chart), "--namespace", NAMESPACE, "--values", "-"]
    text = subprocess.run(
        [BIN / "helm", *rendered], input=yaml.safe_dump(values), capture_output=True, text=True, check=True
    ).stdout
    made = [one for one in yaml.safe_load_all(text) if one]
    kept = [one for one in made if one["kind"] == "CustomResourceDefinition"]
    assert len(kept) == 6 and all(one["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for one in kept)
    command = [str(BIN / "kubectl"), "--kubeconfig", str(world.plane.kubeconfig), "apply", "--server-side"]
    command += ["--force-conflicts", "--dry-run=server", "--validate=strict", "--filename", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _release(world: World) -> str:
    folder = "template/apps/{% if lab.installs_cert_manager %}cert-manager{% endif %}"
    template = ROOT / folder
    text = (template / "helmrelease.yaml.jinja").read_text(encoding="utf-8")
    return text.replace("{{ lab.cert_manager_namespace }}", NAMESPACE)
