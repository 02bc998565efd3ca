"""What an owner leaves in the lab's folder by accident and must not commit, as Git itself judges it: `git check-ignore`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment

from tests.support.cluster import Lab
from tests.support.rendering import ROOT

# The names that the tools themselves give, each with who gives it.
SECRETS = {
    "age's own guide": ["key.txt", "keys.txt"], "Flux's guide to SOPS": ["age.agekey", "{}.agekey", "sops.agekey"], "SSH": ["id_ed25519", "id_rsa", "id_ed25519_{}", "id_ecdsa_sk", "ssh_host_rsa_key"],
    "openssl, mkcert, lego": ["{}.key", "{}-key.pem", "privkey.pem", "{}.key.pem", "{}.p12", "{}.pfx"], "Java": ["{}.jks", "{}.keystore"], "PuTTY": ["{}.ppk"],
    "kubectl, k3s, k3d": ["kubeconfig", "kubeconfig.yaml", "kubeconfig-{}", "{}.kubeconfig", "k3s.yaml", ".kube/config"], "Docker": [".dockerconfigjson", ".docker/config.json"],
    "curl, Git, PostgreSQL": [".netrc", ".git-credentials", ".pgpass"], "Compose": [".env", ".env.local", ".env.{}"], "OpenTofu": ["{}.tfstate", "{}.tfstate.backup", "{}.tfvars", ".terraform/x"],
    "GitLab": ["1790000000_2026_09_21_19.3.2_gitlab_backup.tar", "{}_gitlab_backup.tar", "gitlab_config_{}_2026_09_21.tar", "gitlab-secrets.json"],
    "sops -d, helm-secrets": ["{}.dec.yaml", "secrets.yaml.dec", "{}.decrypted.yaml", "{}.yaml.decrypted~{}", "{}.sops.dec.yaml", "{}.sops.yaml.dec", "{}.enc.decrypted.yaml"], "editors": [".{}.sops.yaml.swp", "{}.yaml~", "{}.yaml.bak"],
    "etcd, databases": ["etcd-snapshot-{}", "{}.sql.gz", "{}.dump", "{}.tar.gz"],
}  # fmt: skip
# What looks like one of them, and belongs in Git.
KEPT = [
    ".env.example", "{}.pub", "id_ed25519.pub", "ca.crt", "{}.crt", "{}.sops.yaml", "secret-{}.yaml", "{}.enc.yaml", "apps/{}/helmrelease.yaml", "keys.yaml", "apps/{}/backup.yaml", ".sops.yaml",
    "charts/{}/charts/{}-1.2.3.tgz", "apps/{}/init.sql", "{}.asc", "apps/backup/kustomization.yaml", "apps/id_{}/helmrelease.yaml", "kubeconfig.sops.yaml", "tls.key.enc", "{}.sops.key", "{}.tfvars.sops",
]  # fmt: skip
folders = st.sampled_from(["", "runner/", "apps/gitlab/", "a/b c/", "clusters/homelab/", ".gitlab/"])
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,12}", fullmatch=True)
patterns = st.sampled_from([one for each in SECRETS.values() for one in each])


def rules(tls_source: str) -> str:
    """Return what a lab's .gitignore says."""
    text = (ROOT / "template/.gitignore.jinja").read_text(encoding="utf-8")
    environment = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    return environment.from_string(text).render(tls_source=tls_source)


@pytest.fixture(scope="module")
def lab_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ignored")
    (folder / ".gitignore").write_text(rules("secret"), encoding="utf-8")
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    return folder


def ignored(folder: Path, paths: list[str]) -> set[str]:
    """Return those of some paths that Git would leave out."""
    done = subprocess.run(
        ["git", "-C", str(folder), "check-ignore", "--no-index", "-z", "--stdin"],
        input="\0".join(paths),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return set(done.stdout.split("\0")) - {""}


def drawn(pattern: str, name: str) -> str:
    return pattern.replace("{}", name)


@pytest.mark.slow(each_commit=True)
@settings(deadline=None)
@given(st.lists(st.tuples(folders, patterns, names), min_size=20, max_size=60))
def test_git_leaves_out_keys_backups_and_what_was_decrypted(
    lab_folder: Path, found: list[tuple[str, str, str]]
) -> None:
    paths = [folder + drawn(pattern, name) for folder, pattern, name in found]
    assert set(paths) - ignored(lab_folder, paths) == set()


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(names, min_size=3, max_size=8))
def test_git_takes_what_is_public_or_encrypted(lab_folder: Path, found: list[str]) -> None:
    assert ignored(lab_folder, [drawn(pattern, name) for pattern in KEPT for name in found]) == set()


def test_git_takes_every_file_that_the_template_renders(lab: Lab, lab_folder: Path) -> None:
    """Also those that only one set of answers brings."""
    assert (lab.path / ".gitignore").read_text(encoding="utf-8") == rules(lab.answers["tls_source"])
    paths = sorted(str(path.relative_to(lab.path)) for path in lab.path.rglob("*") if path.is_file())
    paths = [path for path in paths if not path.startswith(".git/")]
    assert len(paths) > 100 and ignored(lab_folder, paths) == set()


def test_git_leaves_out_ca_crt_only_if_the_program_writes_it(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    for source, left_out in (("lab-authority", {"ca.crt"}), ("secret", set())):
        (tmp_path / ".gitignore").write_text(rules(source), encoding="utf-8")
        assert ignored(tmp_path, ["ca.crt", "apps/ca.crt"]) == left_out
