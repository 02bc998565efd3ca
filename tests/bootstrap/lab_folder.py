"""A lab's folder for the tests of the bootstrap: the template's own program, and the little that it touches.

The rendered lab is judged elsewhere; here the program has to run whether or not anything can be rendered.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from cluster.build import CONTROLLERS

TEMPLATE = Path(__file__).parents[2] / "template"

# The settings of lab_program/settings.json, in its order.
SETTINGS: dict[str, Any] = {
    "lab_name": "homelab",
    "cluster_name": "homelab",
    "admin_email": "admin@lab.example.com",
    "base_domain": "localhost",
    "gitlab_host": "gitlab.localhost",
    "registry_host": "registry.localhost",
    "https_port": 443,
    "gitlab_url": "",
    "registry_address": "",
    "ssh_port": 2223,
    "ssh_exposure": "load-balancer",
    "traefik_kind": "k3s",
    "tls_source": "cert-manager",
    "cluster_issuer": "letsencrypt",
    "tls_secret_name": "",
    "private_ca": False,
    "rack_attack": True,
    "unbanned_networks": ["127.0.0.1", "10.42.0.0/16"],
    "storage_backend": "storage-class",
    "data_backend": "storage-class",
    "storage_root": "",
    "nfs_server": "",
    "storage_class": "local-path",
    "gitlab_version": "19.3.0",
    "gitlab_size": "small",
    "gitlab_namespace": "gitlab",
    "app_namespace": "default",
    "groups": ["HomeLAB"],
    "group_visibility": "internal",
    "pipeline_auth": "job-token",
    "registry_push_user": "lab-push",
    "lab_project": "HomeLAB/homelab",
    "sample_app": True,
    "sample_project": "HomeLAB/demo",
    "sample_host": "demo.localhost",
    "runner_kind": "docker",
    "runner_host": "gitlab-runner",
    "runner_user": "cloud-user",
    "runner_home": "",
    "runner_scope": "groups",
    "runner_namespace": "gitlab-runner",
    "gitops_source": "self",
    "gitops_url": "",
    "gitops_branch": "main",
    "scan_interval": "1m",
    "flux_version": "2.9.4",
}
# An authority that nobody has the key of.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBkzCCATmgAwIBAgIUfI3bk16LZyB17gcqzxhkhXgK7m8wCgYIKoZIzj0EAwIw
HjEcMBoGA1UEAwwTVGhlIGxhYidzIGF1dGhvcml0eTAgFw0yNjExMjgwNDAzMjda
GA8yMTI2MTEwNDA0MDMyN1owHjEcMBoGA1UEAwwTVGhlIGxhYidzIGF1dGhvcml0
eTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABDiwE9wsu5TBqmi7DhzOQ/eWCPXX
bqXfSlUvs20gMKO4H0b7OuaJdXs/Jpx6cOHmm1pkychd/BkuNIseWBVo25CjUzBR
MB0GA1UdDgQWBBQk3ZsIhakQ00LOwJACk5EQ1IinKDAfBgNVHSMEGDAWgBQk3ZsI
hakQ00LOwJACk5EQ1IinKDAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gA
MEUCIFLimsuIAUb8vQtmNJeq6EIN5CgihGqLBUc7neZdNC1kAiEA0RN1t1SRg521
k+SHeCxurP62qz8dw2zQxnHhfv9LQ0E=
-----END CERTIFICATE-----
"""


def make_lab(folder: Path, port: int, vm: Path, changes: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """Write a lab and commit it.

    Args:
        folder: where; its name may hold spaces.
        port: the stand-in GitLab's, for all three hosts.
        vm: the runner's machine, whose folders really exist there.
        changes: settings that differ.
    Returns:
        the folder, and all settings.
    """
    settings = (
        SETTINGS
        | {
            "https_port": port,
            "gitlab_url": f"http://gitlab.localhost:{port}",
            "registry_address": f"registry.localhost:{port}",
            "runner_home": str(vm / "it's home"),
        }
        | changes
    )
    if not changes.get("gitops_url"):
        service = f"gitlab-ssh.{settings['gitlab_namespace']}.svc.cluster.local"
        settings["gitops_url"] = f"ssh://git@{service}:{settings['ssh_port']}/{settings['lab_project']}.git"
    shutil.copytree(TEMPLATE / "lab_program", folder / "lab_program", ignore=shutil.ignore_patterns("*.jinja", "__pycache__"))
    for name in ("lab", "bootstrap.sh"):
        shutil.copy2(TEMPLATE / name, folder / name)
    write_settings(folder, settings)
    if settings["private_ca"]:
        (folder / "ca.crt").write_text(CERTIFICATE)
    for name, text in manifests(settings).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    commit(folder, "The lab as generated")
    return folder, settings


def write_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Write the file from which the program reads the answers."""
    (folder / "lab_program" / "settings.json").write_text(json.dumps(settings, indent=2) + "\n")


def commit(folder: Path, message: str) -> None:
    identity = {
        "GIT_AUTHOR_NAME": "Owner",
        "GIT_AUTHOR_EMAIL": "o@lab",
        "GIT_COMMITTER_NAME": "Owner",
        "GIT_COMMITTER_EMAIL": "o@lab",
        "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
        "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
    }
    environment = os.environ | identity
    if not (folder / ".git").exists():
        subprocess.run(["git", "-C", str(folder), "init", "--quiet", "--template="], check=True, env=environment)
        subprocess.run(
            ["git", "-C", str(folder), "symbolic-ref", "HEAD", "refs/heads/main"], check=True, env=environment
        )
    subprocess.run(["git", "-C", str(folder), "add", "--all"], check=True, env=environment)
    subprocess.run(
        ["git", "-C", str(folder), "-c", "commit.gpgsign=false", "commit", "--quiet", "-m", message],
        check=True,
        env=environment,
    )


def flux_components(version: str) -> str:
    """As much of what `flux install --export` writes as the program and the stand-in cluster read."""
    labels = f"{{app.kubernetes.io/part-of: flux, app.kubernetes.io/version: v{version}}}"
    text = f"""\
---
# This manifest was generated by flux. DO NOT EDIT.
# Flux Version: v{version}
apiVersion: v1
kind: Namespace
metadata: {{name: flux-system, labels: {labels}}}
"""
    for name in CONTROLLERS:
        text += f"""\
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: flux-system, labels: {labels}}}
"""
    return text


def manifests(settings: dict[str, Any]) -> dict[str, str]:
    """As much of the lab's manifests as the program reads, in the shape that the template gives them."""
    cluster = f"clusters/{settings['cluster_name']}"
    parts = ["infrastructure", "gitlab-check", "gitlab", "automation"]
    parts += ["demo"] if settings["sample_app"] else []
    parts += ["runner"] if settings["runner_kind"] == "kubernetes" else []
    image = f"{settings['registry_address']}/{settings['sample_project'].lower()}"
    files = {
        f"{cluster}/flux-system/kustomization.yaml": "resources: [gotk-components.yaml, sync.yaml]\n",
        f"{cluster}/flux-system/gotk-components.yaml": flux_components(settings["flux_version"]),
        f"{cluster}/flux-system/sync.yaml": f"""\
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: flux-system, namespace: flux-system}}
spec:
  url: "{settings["gitops_url"]}"
  ref: {{branch: {settings["gitops_branch"]}}}
  secretRef: {{name: flux-system}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: flux-system, namespace: flux-system}}
spec: {{path: ./{cluster}}}
""",
        "infrastructure/kustomization.yaml": "resources: [namespaces.yaml]\n",
        "infrastructure/namespaces.yaml": f"""\
apiVersion: v1
kind: Namespace
metadata: {{name: {settings["gitlab_namespace"]}}}
""",
        "charts/app/Chart.yaml": "name: app\nversion: 1.0.0\n",
        "apps/gitlab/values.yaml": f"image:\n  repository: 127.0.0.1:1/gitlab/gitlab-ce\n  tag: {settings['gitlab_version']}-ce.0\n",
        "apps/gitlab/gitlab.rb": f"external_url '{settings['gitlab_url']}'\n",
        "apps/gitlab-check/account.yaml": "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: gitlab-check}\n",
        "apps/gitlab-check/values.yaml": "check: {of: gitlab}\n",
        "apps/gitlab-check/check.rb": "exit 0\n",
        "apps/demo/helmrelease.yaml": f"""\
kind: HelmRelease
metadata: {{name: demo}}
spec:
  values:
    image:
      repository: {image}
      tag: v0.1.0 # {{"$imagepolicy": "flux-system:demo:tag"}}
""",
        "sample-app/Dockerfile": "FROM scratch\n",
        "sample-app/.gitlab-ci.yml": "build: {script: [true]}\n",
        "runner/compose.yaml": "services: {}\n",
        "runner/config.toml": "concurrent = 2\n",
    }
    for part in parts:
        files[f"{cluster}/{part}.yaml"] = f"kind: Kustomization\nmetadata: {{name: {part}}}\nspec: {{path: ./{part}}}\n"
    return files
