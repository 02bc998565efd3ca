"""The certificate of an owner's own authority, from ca.crt to everyone who has to trust it; with a stranger's, each refuses."""

from __future__ import annotations

import base64
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.gitlab.support.address_book import AddressBook
from tests.gitlab.support.authority import Authority
from tests.gitlab.support.rendered_labs import RenderedLab
from tests.gitlab.support.traefik_cluster import TraefikCluster
from tests.support import program
from tests.support.cluster import Lab
from tests.support.http_server import Handler, HttpServer
from tests.support.program import credential, objects
from tests.support.references import references
from tests.support.tools import run, tool

TOGETHER = pytest.mark.xdist_group("private-ca")
# What an authority of one's own brings into a lab's files; the word alone stands in charts and scripts that all labs share.
TRACES = re.compile(r"lab-ca|ca\.crt|trusted-certs|SSL_CERT_DIR|tls-ca-file|certSecretRef|gitlab-ca|trust-ca")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[str]:
    """Serve a Git repository at https://gitlab.lab, through Traefik, and return the proxy that knows the way."""
    folder = tmp_path_factory.mktemp("site")
    work = folder / "work"
    for command in (
        ("init", "--quiet", "--initial-branch=main", work),
        ("-C", work, "commit", "--quiet", "--allow-empty", "-m", "first"),
        ("clone", "--quiet", "--bare", work, folder / "www/homelab/lab.git"),
        ("-C", folder / "www/homelab/lab.git", "update-server-info"),
    ):
        assert run(tool("git"), *command).returncode == 0
    lab = RenderedLab({"base_domain": "lab", "tls_source": "secret"})
    made = authority.sign("the owner's", "gitlab.lab", "registry.lab").secret("lab-tls", "gitlab")
    with (
        HttpServer(partial(Files, directory=str(folder / "www"))) as server,
        TraefikCluster(
            folder / "traefik", [*lab.objects, made], lab.traefik, {80: server.address}, authority
        ) as cluster,
        AddressBook(lambda host, port: cluster.exposed(port)) as book,
    ):
        yield book.url


class Files(Handler, SimpleHTTPRequestHandler):
    """Serves a folder."""


@pytest.fixture
def secret(tmp_path: Path, authority: Authority) -> Path:
    """Return ca.crt as it comes out of the Secret lab-ca, which the bootstrap's own code makes of the lab's ca.crt."""
    made = objects.secret_manifest(
        "flux-system", "lab-ca", {"ca.crt": credential.certificate(SimpleNamespace(ca_file=authority.crt))}
    )
    file = tmp_path / "from-the-secret.crt"
    file.write_bytes(base64.b64decode(made["data"]["ca.crt"]))
    return file


def curl(site: str, *trust: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HTTPS_PROXY": site}
    return run(
        tool("curl"), "--silent", "--show-error", *trust, "https://gitlab.lab/homelab/lab.git/HEAD", env=environment
    )


def test_the_secret_carries_the_certificate_unchanged(secret: Path, authority: Authority) -> None:
    assert secret.read_text() == authority.crt.read_text()


@TOGETHER
def test_curl_and_flux_trust_what_the_secret_carries_and_no_other(site: str, secret: Path, stranger: Path) -> None:
    """Flux reads `ca.crt` of the Secret that certSecretRef names, and trusts the PEM in it."""
    assert curl(site, "--cacert", secret).stdout == "ref: refs/heads/main\n"
    for wrong in (("--cacert", stranger), ()):
        done = curl(site, *wrong)
        assert (done.returncode, done.stdout) == (60, "")


@TOGETHER
def test_git_clones_with_the_certificate_and_not_with_another(
    site: str, secret: Path, stranger: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "HTTPS_PROXY": site, "GIT_TERMINAL_PROMPT": "0"}

    def clone(name: str, authority: Path) -> subprocess.CompletedProcess[str]:
        trust = f"http.sslCAInfo={authority}"
        return run(
            tool("git"),
            "-c",
            trust,
            "clone",
            "--quiet",
            "https://gitlab.lab/homelab/lab.git",
            tmp_path / name,
            env=environment,
        )

    assert clone("right", secret).returncode == 0
    assert run(tool("git"), "-C", tmp_path / "right", "log", "--format=%s").stdout == "first\n"
    done = clone("wrong", stranger)
    assert done.returncode != 0 and "certificate" in done.stderr


def given_by(crt: Path) -> dict[str, dict[str, str]]:
    """Return every way in which an owner's environment may bring a certificate for Git, curl, OpenSSL and Python, or none at all."""
    folder = crt.parent / "hashed"
    if not folder.exists():
        folder.mkdir()
        shutil.copy(crt, folder)
        assert run(tool("openssl"), "rehash", folder).returncode == 0
    by_count = {"GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": "http.sslCAInfo", "GIT_CONFIG_VALUE_0": str(crt)}
    unverified = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.sslVerify", "GIT_CONFIG_VALUE_0": "false"}
    files = {
        name: {name: str(crt)}
        for name in ("GIT_SSL_CAINFO", "GIT_PROXY_SSL_CAINFO", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
    }
    folders = {name: {name: str(folder)} for name in ("GIT_SSL_CAPATH", "SSL_CERT_DIR")}
    settings = {
        "by count": {**by_count, "GIT_CONFIG_KEY_1": "http.sslCAPath", "GIT_CONFIG_VALUE_1": str(folder)},
        "unverified": unverified,
    }
    return {**files, **folders, **settings, "GIT_SSL_NO_VERIFY": {"GIT_SSL_NO_VERIFY": "1"}, "nothing": {}}


@TOGETHER
@pytest.mark.parametrize(
    "way",
    [
        "GIT_SSL_CAINFO",
        "GIT_PROXY_SSL_CAINFO",
        "CURL_CA_BUNDLE",
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
        "GIT_SSL_CAPATH",
        "SSL_CERT_DIR",
        "by count",
        "unverified",
        "GIT_SSL_NO_VERIFY",
        "nothing",
    ],
)
def test_the_program_trusts_the_labs_authority_and_no_other_whatever_the_owners_environment_says(
    site: str,
    secret: Path,
    authority: Authority,
    stranger: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    """Its own pushes and requests, with a credential of the lab's: to a real server, by a real Git."""

    def reached(trusted: Path, owners: Path) -> tuple[bool, bool]:
        """Say whether Git and the program reach the server that trust one certificate, where the owner's environment brings another."""
        with monkeypatch.context() as patch:
            for name, value in given_by(owners)[way].items():
                patch.setenv(name, value)
            seen = program.environment.for_programs({**os.environ, "HTTPS_PROXY": site})
            waiting = program.patience.Patience(program.environment.Limits(retries=1), program.console())
            git = program.git.Git(program.programs.Programs(seen, program.console()), waiting, tmp_path)
            access = program.git.WithPassword("root", program.secret.Secret("x"), "https://gitlab.lab", trusted)
            try:
                git.remote(tmp_path, access, "ls-remote", "https://gitlab.lab/homelab/lab.git")
                by_git = True
            except program.git.GitError as error:
                assert "certificate" in error.words, error.words
                by_git = False
            try:
                by_program = (
                    program.http.Http(trusted, {"HTTPS_PROXY": site})
                    .send("GET", "https://gitlab.lab/homelab/lab.git/HEAD")
                    .status
                    == 200
                )
            except program.http.HttpError as error:
                assert error.fault is program.http.Fault.CERTIFICATE, error
                by_program = False
        return by_git, by_program

    assert reached(secret, stranger) == (True, True)
    assert reached(stranger, authority.crt) == (False, False)


def prepare(root: Path, lab: RenderedLab, *certificates: Path, mess: str = "") -> list[str]:
    """Start a pod's script on a ca.crt of these certificates, with its folders below *root*; return what GitLab then trusts.

    The image runs it by `eval` under `set -e`; at the package's turn each file becomes links by the hash of its first certificate,
    for more of one file has none (CertificateHelper in omnibus-gitlab: openssl rehash).
    """
    mounted = root / "etc/gitlab-ca"
    mounted.mkdir(parents=True, exist_ok=True)
    (mounted / "ca.crt").unlink(missing_ok=True)
    (mounted / "ca.crt").write_text(mess.join(certificate.read_text() for certificate in certificates))
    (mounted / "ca.crt").chmod(0o444)
    script = re.sub(r'(?<=[ "])/etc', f"{root}/etc", lab.values["env"]["GITLAB_PRE_RECONFIGURE_SCRIPT"])
    done = run("bash", "-euc", 'eval "$1"', "_", script)
    assert done.returncode == 0 and not done.stderr, done.stderr
    trusted = root / "etc/gitlab/trusted-certs"
    trusted.mkdir(parents=True, exist_ok=True)
    found = [
        (file.name, stat.S_IMODE(file.stat().st_mode)) for file in sorted(trusted.iterdir()) if not file.is_symlink()
    ]
    assert {mode for _, mode in found} <= {0o644} and run(tool("openssl"), "rehash", trusted).returncode == 0
    return [name for name, _ in found]


OWN = RenderedLab({"base_domain": "lab"})


@TOGETHER
def test_gitlab_takes_the_certificate_into_those_that_it_trusts(
    site: str, authority: Authority, stranger: Path, tmp_path: Path
) -> None:
    for name, certificate in (("right", authority.crt), ("wrong", stranger)):
        for _ in range(2):
            assert prepare(tmp_path / name, OWN, certificate) == ["lab-ca-1.crt"]
        trusted = tmp_path / name / "etc/gitlab/trusted-certs"
        assert curl(site, "--capath", trusted).returncode == (0 if name == "right" else 60)


@TOGETHER
@pytest.mark.parametrize("mess", ["", "\n# the old one, until June\n", "\r\n", "subject=CN = two\nissuer=CN = two\n"])
def test_gitlab_trusts_each_certificate_of_a_file_with_several(
    site: str, authority: Authority, stranger: Path, tmp_path: Path, mess: str
) -> None:
    trusted = tmp_path / "etc/gitlab/trusted-certs"
    assert prepare(tmp_path, OWN, stranger, authority.crt, mess=mess) == ["lab-ca-1.crt", "lab-ca-2.crt"]
    assert curl(site, "--capath", trusted).returncode == 0
    # The second is taken out again.
    assert prepare(tmp_path, OWN, stranger) == ["lab-ca-1.crt"]
    assert curl(site, "--capath", trusted).returncode == 60


@TOGETHER
def test_gitlab_trusts_the_own_authority_no_more_once_the_lab_has_none(
    site: str, authority: Authority, stranger: Path, tmp_path: Path
) -> None:
    trusted = tmp_path / "etc/gitlab/trusted-certs"
    prepare(tmp_path, OWN, authority.crt)
    # What a version of the template before this one left, and a certificate that the owner put there.
    shutil.copy(authority.crt, trusted / "lab-ca.crt")
    shutil.copy(stranger, trusted / "mine.crt")
    assert prepare(tmp_path, RenderedLab({"base_domain": "lab.example.com"}), authority.crt) == ["mine.crt"]
    assert curl(site, "--capath", trusted).returncode == 60


def test_gitlab_can_set_the_modes_of_all_that_it_trusts(lab: Lab) -> None:
    """Its package sets them at every start, and a mounted Secret or ConfigMap, which is read-only, would end that start.

    Source: CertificateHelper#update_permissions in omnibus-gitlab (certificate_helper.rb).
    """
    namespace = lab.answers["gitlab_namespace"]
    pod = next(thing for thing in lab.of_kind("Deployment") if thing["metadata"]["namespace"] == namespace)["spec"][
        "template"
    ]["spec"]
    fixed = {
        volume["name"]
        for volume in pod["volumes"]
        if {"secret", "configMap", "projected", "downwardAPI"} & volume.keys()
    }
    mounts = [
        mount["mountPath"]
        for mount in pod["containers"][0]["volumeMounts"]
        if mount.get("readOnly") or mount["name"] in fixed
    ]
    assert [path for path in mounts if f"{path}/".startswith("/etc/gitlab/")] == []


@pytest.fixture
def machine(tmp_path: Path, article: Lab, authority: Authority) -> Path:
    """Return a folder with what an owner copies to a machine, and the programs of that machine, which write down their calls."""
    folder = tmp_path / "machine"
    (folder / "bin").mkdir(parents=True)
    for name in ("update-ca-certificates", "docker", "systemctl"):
        (folder / "bin" / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{folder}/calls\n')
        (folder / "bin" / name).chmod(0o755)
    shutil.copy(article.path / "scripts/trust-ca.sh", folder)
    shutil.copy(authority.crt, folder / "ca.crt")
    return folder


def trust(machine: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": path or f"{machine}/bin:{os.environ['PATH']}", "TRUST_CA_ROOT": str(machine / "root")}
    return run("bash", machine / "trust-ca.sh", *arguments, env=environment)


def calls(machine: Path) -> list[str]:
    file = machine / "calls"
    return file.read_text().splitlines() if file.exists() else []


@TOGETHER
def test_a_node_trusts_the_authority_after_one_script_and_k3s_starts_anew(
    machine: Path, authority: Authority, site: str
) -> None:
    done = trust(machine, "registry.lab:8443")
    assert done.returncode == 0, done.stderr
    placed = {str(file.relative_to(machine / "root")): file for file in (machine / "root").rglob("*") if file.is_file()}
    assert set(placed) == {"usr/local/share/ca-certificates/lab-ca.crt", "etc/docker/certs.d/registry.lab:8443/ca.crt"}
    for file in placed.values():
        assert file.read_bytes() == authority.crt.read_bytes()
        assert curl(site, "--cacert", file).returncode == 0
    assert calls(machine)[0] == "update-ca-certificates" and "systemctl restart k3s" in calls(machine)
    assert "systemctl restart containerd" not in calls(machine)


def test_a_node_without_docker_or_k3s_has_its_containerd_started_anew(machine: Path) -> None:
    (machine / "bin/docker").unlink()
    (machine / "bin/systemctl").write_text(
        f'#!/bin/sh\necho systemctl "$@" >>{machine}/calls\n[ "$1" = restart ] || [ "$3" = containerd ]\n'
    )
    for name in ("bash", "cat", "cmp", "dirname", "grep", "id", "install", "rm", "sh"):
        (machine / "bin" / name).symlink_to(tool(name))
    done = trust(machine, "registry.lab", path=str(machine / "bin"))
    assert done.returncode == 0, done.stderr
    assert [call for call in calls(machine) if "restart" in call] == ["systemctl restart containerd"]
    assert not (machine / "root/etc/docker").exists()


def test_a_machine_that_could_not_take_the_certificate_says_so_and_tries_again_the_next_time(machine: Path) -> None:
    good = (machine / "bin/update-ca-certificates").read_text()
    (machine / "bin/update-ca-certificates").write_text("#!/bin/sh\nexit 3\n")
    done = trust(machine, "registry.lab")
    assert done.returncode == 1 and "does not trust the authority yet" in done.stderr and calls(machine) == []
    (machine / "bin/update-ca-certificates").write_text(good)
    assert trust(machine, "registry.lab").returncode == 0 and "systemctl restart k3s" in calls(machine)
    shutil.rmtree(machine / "root/etc")
    (machine / "root/etc").write_text("not a folder")
    done = trust(machine, "registry.lab")
    assert done.returncode == 1 and "cannot be written" in done.stderr and "trusted now" not in done.stdout


@pytest.mark.parametrize("https_port", [443, 8443])
def test_the_runbook_gives_the_command_for_a_node_where_there_is_an_own_authority(https_port: int) -> None:
    port = "" if https_port == 443 else ":8443"
    own = RenderedLab({"base_domain": "lab", "https_port": https_port}).text("README.md")
    assert f"scp ca.crt scripts/trust-ca.sh root@<node>: && ssh root@<node> bash trust-ca.sh registry.lab{port}`" in own
    assert "trust-ca" not in RenderedLab({"base_domain": "lab.example.com", "https_port": https_port}).text("README.md")


def test_the_script_does_nothing_where_nothing_is_to_be_done_and_notices_a_new_authority(
    machine: Path, stranger: Path
) -> None:
    assert trust(machine, "registry.lab").returncode == 0
    before = calls(machine)
    assert (trust(machine, "registry.lab").stdout, calls(machine)) == ("", before)
    shutil.copy(stranger, machine / "ca.crt")
    assert "trusted now" in trust(machine, "registry.lab").stdout
    assert len(calls(machine)) > len(before)


def test_the_script_takes_no_key_and_no_other_file(machine: Path, authority: Authority) -> None:
    for text, said in (
        ("", "is missing"),
        ("hello\n", "no certificate in PEM form"),
        (authority.crt.read_text() + "-----BEGIN PRIVATE KEY-----\n", "private key"),
    ):
        (machine / "ca.crt").write_text(text)
        done = trust(machine, "registry.lab")
        assert done.returncode == 1 and said in done.stderr
    assert "say which registry" in trust(machine).stderr
    assert not (machine / "root").exists()


def test_without_an_own_authority_no_trace_of_one_is_left_and_with_one_everybody_names_the_same_secret(
    lab: Lab,
) -> None:
    # The chart, the program, the alarm's code and the scripts in the lab's own folder are the same in every lab; the pipeline for machines looks for certificates.
    shared = re.compile(
        r"charts/|lab_program/|apps/alerts/lab_alerts/|\.gitlab/checks/|clusters/.*/gotk-components\.yaml$|(iac/)?README\.md|iac/\.gitlab-ci\.yml$|\.copier-answers\.yml|[^/]+\.sh$"
    )
    # Each start removes what a former authority of the lab left.
    clean = "GITLAB_PRE_RECONFIGURE_SCRIPT: rm -f /etc/gitlab/trusted-certs/lab-ca*.crt\n"
    # The certificate of the cluster's own API.
    cluster = "#{ACCOUNT}/ca.crt"
    names = {str(file.relative_to(lab.path)): file for file in lab.path.rglob("*") if file.is_file()}
    texts = {
        name: name + file.read_text(encoding="utf-8").replace(clean, "").replace(cluster, "")
        for name, file in names.items()
        if not shared.match(name)
    }
    found = sorted(name for name, text in texts.items() if TRACES.search(text))
    named = [
        reference for reference in references(lab) if reference.kind == "Secret" and "ca" in reference.name.split("-")
    ]
    if not lab.answers["private_ca"]:
        assert (found, named) == ([], [])
        return
    assert {"apps/gitlab/values.yaml", "scripts/trust-ca.sh"} <= set(found)
    assert {reference.name for reference in named} == {"lab-ca"}
    assert lab.answers["gitlab_namespace"] in {reference.namespace for reference in named}
