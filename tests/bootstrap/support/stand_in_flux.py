"""Flux in the stand-in cluster: at each look it brings the cluster to what the commit says that was pushed."""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import json
import re
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bootstrap.support.stand_in_cluster import Object, objects_in

if TYPE_CHECKING:
    from tests.bootstrap.support.lab_world import World

FLUX = "flux-system"
CHECK = "app.kubernetes.io/instance=gitlab-check"


def git(folder: Path, *arguments: str, text: bytes = b"") -> str:
    """Git for the stand-ins; a failure is a failure of the test."""
    result = subprocess.run(["git", "-C", str(folder), *arguments], input=text, capture_output=True, check=True)
    return result.stdout.decode().strip()


@functools.lru_cache(maxsize=32)
def files_of(repository: Path, commit: str) -> dict[str, str]:
    """Return the text of each file of a commit."""
    command = ["git", "-C", str(repository), "archive", commit]
    archive = subprocess.run(command, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        found = {one.name: tar.extractfile(one) for one in tar if one.isfile()}
        return {name: stream.read().decode() for name, stream in found.items() if stream}


def tell(item: Object, problem: str, else_: str = "applied") -> None:
    """Write why an object is not ready into its status; nothing: it is."""
    condition = {"type": "Ready", "status": "False" if problem else "True", "message": problem or else_}
    item.setdefault("status", {})["conditions"] = [condition]


class Flux:
    """Flux's controllers. The one for images has only the sample application to look after."""

    def __init__(self, world: World) -> None:
        self.world, self.cluster = world, world.cluster

    def step(self) -> None:
        cluster = self.cluster
        for controller in cluster.of_kind("Deployment"):
            if controller["metadata"]["namespace"] == FLUX:
                controller["status"] = {"readyReplicas": 1}
        source, entry = (cluster.find(kind, FLUX, FLUX) for kind in ("GitRepository", "Kustomization"))
        if source is None or entry is None or not cluster.has_flux() or not cluster.flux_works:
            return
        branch = source["spec"]["ref"]["branch"]
        problem = self.repository_problem(source["spec"]["url"], branch)
        tell(source, problem, "stored artifact")
        if problem:
            return
        # https://fluxcd.io/flux/components/source/gitrepositories/#artifact
        cluster.flux_lag = max(0, cluster.flux_lag - 1)
        if cluster.flux_lag == 0:
            source["status"]["artifact"] = {"revision": f"{branch}@sha1:{self.tip()}"}
        revision = source["status"]["artifact"]["revision"]
        files = files_of(self.repository, revision.rpartition(":")[2])
        # What tells that Flux applied its own controllers from the repository.
        entry["status"] = entry.get("status", {}) | {
            "inventory": {"entries": [{"id": "flux-system_helm-controller_apps_Deployment"}]}
        }
        self.reconcile(entry, revision, files)
        for item in cluster.of_kind("Kustomization"):
            if item is not entry:
                self.reconcile(item, revision, files)
        self.carry_image()

    # The repository

    @property
    def repository(self) -> Path:
        settings = self.world.settings
        external = settings["gitops_source"] == "external"
        return self.world.gitlab.repository("external/lab" if external else settings["lab_project"])

    def tip(self) -> str:
        """Return the commit that Flux's branch is at."""
        return self.world.heads(self.repository).get(self.world.settings["gitops_branch"], "")

    def repository_problem(self, url: str, branch: str) -> str:
        """Return why Flux cannot read its repository; nothing where it can."""
        world, secret = self.world, self.cluster.secret(FLUX, FLUX)
        public = " ".join(secret.get("identity.pub", "").split()[:2])
        if url.startswith("https://") and (secret.get("username"), secret.get("password")) not in world.external_logins:
            return "authentication required"
        if "external.example" in url and public not in world.external_keys:
            return "ssh: unable to authenticate"
        return "" if branch in world.heads(self.repository) else f"couldn't find remote ref refs/heads/{branch}"

    # Kustomizations and releases

    def reconcile(self, item: Object, revision: str, files: dict[str, str]) -> None:
        """Apply a Kustomization at a commit, and say whether what it applies is ready."""
        spec, status = item["spec"], item.setdefault("status", {})
        if spec.get("suspend"):
            return
        folder = spec["path"].removeprefix("./")
        if not any(name.startswith(f"{folder}/") for name in files):
            tell(item, f"kustomization path not found: stat {folder}")
            return
        if status.get("lastAppliedRevision") != revision:
            for document in objects_in(folder, files):
                self.cluster.apply(document, "kustomize-controller")
        problem = self.problem_of(item["metadata"]["name"], files)
        tell(item, problem)
        if not problem:
            status["lastAppliedRevision"] = revision

    def problem_of(self, name: str, files: dict[str, str]) -> str:
        """Return why what a Kustomization applies is not ready."""
        cluster, settings = self.cluster, self.world.settings
        if name in ("gitlab", "gitlab-check"):
            release = cluster.objects["HelmRelease", settings["gitlab_namespace"], name]
            if not release["spec"].get("suspend"):
                tell(release, self.upgrade(name, files))
            ready = release.get("status", {}).get("conditions", [{}])[0].get("status") == "True"
            return "" if ready else f"health check of HelmRelease {name}"
        if name == "automation":
            token = cluster.secret(FLUX, "receiver-token").get("token", "")
            for receiver in cluster.of_kind("Receiver"):
                tell(receiver, "" if token else "secret receiver-token not found")
                path = f"{token}{receiver['metadata']['name']}{FLUX}"
                receiver["status"]["webhookPath"] = f"/hook/{hashlib.sha256(path.encode()).hexdigest()}"
            if settings["gitops_source"] == "self" and "token" not in cluster.secret(FLUX, "gitlab-status"):
                return "Provider gitlab: secret gitlab-status not found"
        return ""  # demo too: nobody waits for it

    def upgrade(self, name: str, files: dict[str, str]) -> str:
        """Install GitLab, or its check, as the commit has it; return why it is not ready."""
        cluster = self.cluster
        if name == "gitlab" and self.check_problem():
            return "dependency 'flux-system/gitlab-check' is not ready"
        manifest = cluster.manifest(name, files)
        if cluster.releases.get(name) != manifest:
            cluster.install(name, manifest)
        if name == "gitlab-check":
            return self.check_problem()
        return "" if self.world.gitlab_is_ready() else "waiting for GitLab"

    def check_problem(self) -> str:
        """Return why the check before GitLab has not passed."""
        jobs = [one for one in self.cluster.of_kind("Job") if self.cluster.matches(one, CHECK)]
        conditions = [one for job in jobs for one in job.get("status", {}).get("conditions", [])]
        return "" if any(one["type"] == "Complete" for one in conditions) else "the check before GitLab has not passed"

    # Images

    def carry_image(self) -> None:
        """Scan the registry, commit the newest tag, and roll out what the commit says."""
        cluster, namespace = self.cluster, self.world.settings["app_namespace"]
        places = [
            ("ImageRepository", FLUX, "demo"),
            ("ImagePolicy", FLUX, "demo"),
            ("ImageUpdateAutomation", FLUX, "apps"),
        ]
        found = [cluster.find(*place) for place in (*places, ("HelmRelease", namespace, "demo"))]
        repository, policy, automation, release = found
        if not (repository and policy and automation and release):
            return
        image = repository["spec"]["image"]
        tags = self.world.gitlab.images.get(image.split("/", 1)[1], [])
        problem = cluster.image_scan_error or (
            "UNAUTHORIZED: authentication required"
            if not self.pull_allowed(FLUX, image)
            else ""
            if tags
            else "NAME_UNKNOWN: repository name not known to registry"
        )
        tell(repository, problem, f"found {len(tags)} tags")
        if problem:
            return
        newest = max(tags, key=lambda tag: [int(number) for number in tag.lstrip("v").split(".")])
        tell(policy, "")
        policy["status"]["latestRef"] = {"name": image, "tag": newest}
        deployed = release["spec"]["values"]["image"]["tag"]
        problem = "" if deployed == newest else cluster.push_error or self.commit_tag(newest)
        tell(automation, problem, "pushed")
        running = deployed in tags and self.pull_allowed(namespace, image)
        tell(release, "" if running else "timeout waiting for Deployment demo")
        cluster.put(
            "Deployment",
            namespace,
            "demo",
            spec={"template": {"spec": {"containers": [{"name": "demo", "image": f"{image}:{deployed}"}]}}},
            status=cluster.refused or {"updatedReplicas": 1, "readyReplicas": int(running)},
            metadata={"labels": {"helm.toolkit.fluxcd.io/name": "demo"}},
        )

    def pull_allowed(self, namespace: str, image: str) -> bool:
        """Whether regcred there opens an image: kubelet and Flux take the longest key that its name begins with."""
        auths = json.loads(self.cluster.secret(namespace, "regcred").get(".dockerconfigjson", "{}")).get("auths", {})
        keys = [key for key in auths if image.startswith(key)]
        if not keys:
            return False
        user, _, password = base64.b64decode(auths[max(keys, key=len)]["auth"]).decode().partition(":")
        return self.world.gitlab.registry_accepts(user, password)

    def commit_tag(self, tag: str) -> str:
        """Do what image automation does: a commit with the new tag, pushed with Flux's own key. Return why not."""
        world, branch = self.world, self.world.settings["gitops_branch"]
        if world.settings["gitops_source"] == "self":
            public = self.cluster.secret(FLUX, FLUX)["identity.pub"]
            if not world.gitlab.key_may_push(world.settings["lab_project"], branch, public):
                return "failed to push: You are not allowed to push code to protected branches on this project."
        path, message = "apps/demo/helmrelease.yaml", f"demo -> {tag}"
        text = re.sub(r"tag: \S+ #", f"tag: {tag} #", files_of(self.repository, self.tip())[path])
        stream = (
            f"commit refs/heads/{branch}\ncommitter Flux <flux@lab> 1790000000 +0000\ndata {len(message)}\n{message}\n"
            f"from refs/heads/{branch}^0\nM 100644 inline {path}\ndata {len(text.encode())}\n{text}\n"
        )
        git(self.repository, "fast-import", "--quiet", text=stream.encode())
        return ""
