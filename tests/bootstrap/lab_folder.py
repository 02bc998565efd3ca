"""A lab's folder for the tests of the bootstrap: the template's own scripts, and the little that they touch.

The rendered lab is judged elsewhere; here the scripts have to run whether or not anything can be rendered.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).parents[2] / "template"

# The settings of bootstrap/lab.sh, in its order; a list becomes a Bash array.
SETTINGS: dict[str, Any] = {
    "LAB_NAME": "homelab",
    "CLUSTER_NAME": "homelab",
    "ADMIN_EMAIL": "admin@lab.example.com",
    "GITLAB_HOST": "gitlab.localhost",
    "REGISTRY_HOST": "registry.localhost",
    "HTTPS_PORT": "443",
    "GITLAB_URL": "",
    "REGISTRY_ADDRESS": "",
    "SSH_PORT": "2223",
    "SSH_EXPOSURE": "load-balancer",
    "TRAEFIK_KIND": "k3s",
    "TLS_SOURCE": "cert-manager",
    "CLUSTER_ISSUER": "letsencrypt",
    "TLS_SECRET_NAME": "",
    "PRIVATE_CA": "false",
    "STORAGE_BACKEND": "storage-class",
    "DATA_BACKEND": "storage-class",
    "STORAGE_ROOT": "",
    "NFS_SERVER": "",
    "STORAGE_CLASS": "local-path",
    "GITLAB_VERSION": "19.3.0",
    "GITLAB_SIZE": "small",
    "GITLAB_NAMESPACE": "gitlab",
    "APP_NAMESPACE": "default",
    "GITLAB_GROUPS": ["HomeLAB"],
    "GROUP_VISIBILITY": "internal",
    "PIPELINE_AUTH": "job-token",
    "REGISTRY_PUSH_USER": "lab-push",
    "LAB_PROJECT": "HomeLAB/homelab",
    "SAMPLE_APP": "true",
    "SAMPLE_PROJECT": "HomeLAB/demo",
    "SAMPLE_HOST": "demo.localhost",
    "RUNNER_KIND": "docker",
    "RUNNER_HOST": "gitlab-runner",
    "RUNNER_USER": "cloud-user",
    "RUNNER_HOME": "",
    "RUNNER_NAMESPACE": "gitlab-runner",
    "GITOPS_SOURCE": "self",
    "GITOPS_URL": "",
    "GITOPS_BRANCH": "main",
    "FLUX_VERSION": "2.9.4",
}
CONTROLLERS = (
    "source-controller",
    "kustomize-controller",
    "helm-controller",
    "notification-controller",
    "image-reflector-controller",
    "image-automation-controller",
)
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUTest\n-----END CERTIFICATE-----\n"


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
            "HTTPS_PORT": str(port),
            "GITLAB_URL": f"http://gitlab.localhost:{port}",
            "REGISTRY_ADDRESS": f"registry.localhost:{port}",
            "RUNNER_HOME": str(vm / "it's home"),
        }
        | changes
    )
    if not changes.get("GITOPS_URL"):
        service = f"gitlab-ssh.{settings['GITLAB_NAMESPACE']}.svc.cluster.local"
        settings["GITOPS_URL"] = f"ssh://git@{service}:{settings['SSH_PORT']}/{settings['LAB_PROJECT']}.git"
    shutil.copytree(TEMPLATE / "bootstrap", folder / "bootstrap", ignore=shutil.ignore_patterns("*.jinja"))
    for script in ("bootstrap.sh", "restore.sh"):
        shutil.copy2(TEMPLATE / script, folder / script)
    (folder / "bootstrap" / "lab.sh").write_text(lab_sh(settings))
    if settings["PRIVATE_CA"] == "true":
        (folder / "ca.crt").write_text(CERTIFICATE)
    for name, text in manifests(settings).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    commit(folder, "The lab as generated")
    return folder, settings


def lab_sh(settings: dict[str, Any]) -> str:
    lines = ["#!/usr/bin/env bash", "# The settings of a lab for the tests."]
    for name, value in settings.items():
        quoted = f"({' '.join(map(shlex.quote, value))})" if isinstance(value, list) else shlex.quote(value)
        lines.append(f"declare -rx {name}={quoted}")
    return "\n".join(lines) + "\n"


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
    """As much of what `flux install --export` writes as the scripts and the stand-in cluster read."""
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
    """As much of the lab's manifests as the scripts read, in the shape that the template gives them."""
    cluster = f"clusters/{settings['CLUSTER_NAME']}"
    parts = ["infrastructure", "gitlab", "automation"]
    parts += ["demo"] if settings["SAMPLE_APP"] == "true" else []
    parts += ["runner"] if settings["RUNNER_KIND"] == "kubernetes" else []
    image = f"{settings['REGISTRY_ADDRESS']}/{settings['SAMPLE_PROJECT'].lower()}"
    files = {
        f"{cluster}/flux-system/kustomization.yaml": "resources: [gotk-components.yaml, sync.yaml]\n",
        f"{cluster}/flux-system/gotk-components.yaml": flux_components(settings["FLUX_VERSION"]),
        f"{cluster}/flux-system/sync.yaml": f"""\
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: flux-system, namespace: flux-system}}
spec:
  url: "{settings["GITOPS_URL"]}"
  ref: {{branch: {settings["GITOPS_BRANCH"]}}}
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
metadata: {{name: {settings["GITLAB_NAMESPACE"]}}}
""",
        "charts/app/Chart.yaml": "name: app\nversion: 1.0.0\n",
        "apps/gitlab/values.yaml": f"image: {{tag: {settings['GITLAB_VERSION']}-ce.0}}\n",
        "apps/gitlab/gitlab.rb": f"external_url '{settings['GITLAB_URL']}'\n",
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
