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

from tests.bootstrap.support.stand_in_docker import SETUP
from tests.cluster.build import CONTROLLERS
from tests.gitlab.support.authority import Authority

ROOT = Path(__file__).resolve().parents[3]
TEMPLATE = ROOT / "template"

# The example's settings, but for what leads to the stand-ins, and what the tests say in words.
SETTINGS: dict[str, Any] = json.loads((ROOT / "example/lab_program/settings.json").read_text(encoding="utf-8")) | {
    "base_domain": "localhost",
    "gitlab_host": "gitlab.localhost",
    "registry_host": "registry.localhost",
    "sample_host": "demo.localhost",
    "lab_project": "HomeLAB/homelab",
    "tls_source": "cert-manager",
    "cluster_issuer": "letsencrypt",
    "private_ca": False,
    "storage_backend": "storage-class",
    "data_backend": "storage-class",
    "storage_root": "",
    "nfs_server": "",
    "storage_class": "local-path",
    "gitlab_version": "19.3.0",
    "flux_version": "2.9.4",
}


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
    leads_here = {
        "https_port": port,
        "gitlab_url": f"http://gitlab.localhost:{port}",
        "registry_address": f"registry.localhost:{port}",
        "runner_home": str(vm / "it's home"),
    }
    settings = SETTINGS | leads_here | changes
    if not changes.get("gitops_url"):
        service = f"gitlab-ssh.{settings['gitlab_namespace']}.svc.cluster.local"
        settings["gitops_url"] = f"ssh://git@{service}:{settings['ssh_port']}/{settings['lab_project']}.git"
    shutil.copytree(
        TEMPLATE / "lab_program", folder / "lab_program", ignore=shutil.ignore_patterns("*.jinja", "__pycache__")
    )
    for name in ("lab", "bootstrap.sh"):
        shutil.copy2(TEMPLATE / name, folder / name)
    write_settings(folder, settings)
    if settings["private_ca"]:
        shutil.copy(Authority(folder.parent / "authority").crt, folder / "ca.crt")
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
    """Commit all that is in a folder, at a time that is always the same; the repository is made where there is none."""
    who = {"NAME": "Owner", "EMAIL": "o@lab", "DATE": "2026-01-01T00:00:00Z"}
    environment = os.environ | {
        f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()
    }
    commands = [["add", "--all"], ["-c", "commit.gpgsign=false", "commit", "--quiet", "-m", message]]
    if not (folder / ".git").exists():
        commands.insert(0, ["init", "--quiet", "--template=", "--initial-branch=main"])
    for command in commands:
        subprocess.run(["git", "-C", str(folder), *command], check=True, env=environment)


def flux_object(kind: str, name: str, namespace: str = "flux-system", **spec: Any) -> dict[str, Any]:
    group = {"GitRepository": "source", "Kustomization": "kustomize", "HelmRelease": "helm", "Receiver": "notification"}
    version = f"{group.get(kind, 'image')}.toolkit.fluxcd.io/v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def text_of(*documents: dict[str, Any]) -> str:
    return "".join(f"---\n{json.dumps(one)}\n" for one in documents)


def flux_folder(settings: dict[str, Any], cluster: str) -> dict[str, str]:
    """As much of Flux's own folder as the program and the stand-in cluster read."""
    version, where = settings["flux_version"], {"namespace": "flux-system"}
    labels = {"app.kubernetes.io/part-of": "flux", "app.kubernetes.io/version": f"v{version}"}
    namespace = {"kind": "Namespace", "metadata": {"name": "flux-system", "labels": labels}}
    controllers = [{"kind": "Deployment", "metadata": {"name": one, "labels": labels, **where}} for one in CONTROLLERS]
    branch, secret = {"branch": settings["gitops_branch"]}, {"name": "flux-system"}
    source = flux_object("GitRepository", "flux-system", url=settings["gitops_url"], ref=branch, secretRef=secret)
    return {
        "kustomization.yaml": "resources: [gotk-components.yaml, sync.yaml]\n",
        "gotk-components.yaml": f"# Flux Version: v{version}\n{text_of(namespace, *controllers)}",
        "sync.yaml": text_of(source, flux_object("Kustomization", "flux-system", path=f"./{cluster}")),
    }


def manifests(settings: dict[str, Any]) -> dict[str, str]:
    """As much of the lab's manifests as the program and Flux read, where the template has them."""
    cluster, namespace = f"clusters/{settings['cluster_name']}", settings["gitlab_namespace"]
    image = f"{settings['registry_address']}/{settings['sample_project'].lower()}"
    receivers = ("gitlab", "registry") if settings["gitops_source"] == "self" else ("registry",)
    parts = ["infrastructure", "automation", "apps/gitlab-check", "apps/gitlab"]
    parts += ["apps/demo"] if settings["sample_app"] else []
    parts += ["runner"] if settings["runner_kind"] == "kubernetes" else []
    kustomizations = [flux_object("Kustomization", Path(path).name, path=f"./{path}") for path in parts]
    account = {"kind": "ServiceAccount", "metadata": {"name": "gitlab-check", "namespace": namespace}}
    policy = {"imageRepositoryRef": {"name": "demo"}, "policy": {"semver": {"range": ">=0.0.0"}}}
    images = flux_object("ImageRepository", "demo", image=image), flux_object("ImagePolicy", "demo", **policy)
    values = f"image:\n  repository: 127.0.0.1:1/gitlab/gitlab-ce\n  tag: {settings['gitlab_version']}-ce.0\n"
    return {
        **{f"{cluster}/flux-system/{name}": text for name, text in flux_folder(settings, cluster).items()},
        **{f"{cluster}/{one['metadata']['name']}.yaml": text_of(one) for one in kustomizations},
        "infrastructure/kustomization.yaml": "resources: [namespaces.yaml]\n",
        "infrastructure/namespaces.yaml": text_of({"kind": "Namespace", "metadata": {"name": namespace}}),
        "automation/receivers.yaml": text_of(*(flux_object("Receiver", name) for name in receivers)),
        "automation/images.yaml": text_of(flux_object("ImageUpdateAutomation", "apps")),
        "charts/app/Chart.yaml": "name: app\nversion: 1.0.0\n",
        "apps/gitlab/values.yaml": values,
        "apps/gitlab/gitlab.rb": f"external_url '{settings['gitlab_url']}'\n",
        "apps/gitlab/helmrelease.yaml": text_of(flux_object("HelmRelease", "gitlab", namespace)),
        "apps/gitlab-check/account.yaml": text_of(account),
        "apps/gitlab-check/values.yaml": "check: {of: gitlab}\n",
        "apps/gitlab-check/check.rb": "exit 0\n",
        "apps/gitlab-check/helmrelease.yaml": text_of(flux_object("HelmRelease", "gitlab-check", namespace)),
        "apps/demo/images.yaml": text_of(*images),
        "apps/demo/helmrelease.yaml": f"""\
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {{name: demo, namespace: {settings["app_namespace"]}}}
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
        "runner/setup.sh": SETUP,
    }
