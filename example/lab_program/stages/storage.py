"""storage: the folders that GitLab's volumes point at. A storage class makes its own; NFS and a node's disk do not."""

from __future__ import annotations

from typing import Any

from ..clients.objects import pod_reason
from ..errors import Failure
from ..patience import TimedOutError
from ..settings import Settings
from .base import Stage

JOB = "lab-storage"
IMAGE = "docker.io/library/busybox:1.37.0@sha256:9db7b59979c38555a39def84a31fb98b5296952f9e3afd4f6f11f05b07adfab0"


class Storage(Stage):
    name = "storage"
    purpose = "directories and permissions, if the storage backend needs them"
    looks_at = ("GitLab's Deployment", "the namespaces")
    changes = ("GitLab's namespace", "folders on the NFS server or the node, by a short-lived Job")

    def run(self) -> None:
        settings = self.settings
        self.cluster.ensure_namespace(settings.gitlab_namespace)
        by_backend = {backend: folders_on(settings, backend) for backend in ("nfs", "host-path")}
        if not any(by_backend.values()):
            self.console.skip(
                f'nothing to prepare: the storage class "{settings.storage_class}" makes its volumes itself'
            )
        elif self.lab.gitlab_at_start:
            self.console.have(f"GitLab runs on {settings.storage_root}/gitlab already")
        else:
            for backend, folders in by_backend.items():
                if folders:
                    self._prepare(backend, folders)

    def _prepare(self, backend: str, folders: list[str]) -> None:
        """Make the folders with a short-lived Job, which also tries what GitLab will do in them."""
        settings = self.settings
        place = f"{settings.nfs_server}:{settings.storage_root}" if backend == "nfs" else settings.storage_root
        named = " ".join(folders)
        if self.lab.dry_run:
            self.console.would(f"make {named} in {place}, with a Job in {settings.gitlab_namespace}")
            return
        self._remove_job()
        what = f"Job {settings.gitlab_namespace}/{JOB}, which makes the folders in {place}"
        self.cluster.apply(what, job(settings, backend, folders))
        try:
            self.patience.wait(self.lab.limits.wait_flux_minutes, f"folders in {place}", self._job_ended)
        except TimedOutError as late:
            raise self._failure(place, str(late)) from late
        if self._job_condition("Failed"):
            log = self.cluster.logs(f"job/{JOB}", settings.gitlab_namespace, 20)
            raise self._failure(place, (log or "no log").strip())
        self._remove_job()
        self.console.have(f"{named} in {place}, writable for root")

    def _job_condition(self, kind: str) -> bool:
        found = self.cluster.find("job", JOB, self.settings.gitlab_namespace)
        return found is not None and found.condition(kind).is_true

    def _job_ended(self) -> str | None:
        found = self.cluster.find("job", JOB, self.settings.gitlab_namespace)
        if found and (found.condition("Complete").is_true or found.condition("Failed").is_true):
            return None
        return pod_reason(self.cluster.list_of("pods", self.settings.gitlab_namespace, f"job-name={JOB}"))

    def _remove_job(self) -> None:
        self.cluster.delete("job", JOB, self.settings.gitlab_namespace, "remove the Job of an earlier run")

    def _failure(self, place: str, why: str) -> Failure:
        return Failure(
            f"GitLab cannot use {place}: {why}",
            "the export (rw, no_root_squash; NFS 4.1), or the folder on the node\n"
            f"kubectl describe pod -n {self.settings.gitlab_namespace} -l job-name={JOB}",
        )


def folders_on(settings: Settings, backend: str) -> list[str]:
    """Return GitLab's folders that live on a backend, below the storage root: config and logs together, the data
    apart."""
    found = ["gitlab/config", "gitlab/logs"] if settings.storage_backend == backend else []
    return found + (["gitlab/data"] if settings.data_backend == backend else [])


def job(settings: Settings, backend: str, folders: list[str]) -> dict[str, Any]:
    """Return the Job that makes folders.

    chown is what fails on an export with root_squash, and GitLab's start with it. Where only the folder gitlab is
    exported, all above it is read-only, and even mkdir -p is told so of what is there.
    """
    named = " ".join(folders)
    script = (
        f"cd /lab; for f in gitlab {named}; do test -d $f || mkdir $f; done\n"
        f"for f in {named}; do touch $f/.lab; chown 998:998 $f/.lab; rm $f/.lab; done"
    )
    if backend == "nfs":
        volume: dict[str, Any] = {"nfs": {"server": settings.nfs_server, "path": settings.storage_root}}
    else:
        volume = {"hostPath": {"path": settings.storage_root, "type": "DirectoryOrCreate"}}
    container = {
        "name": "folders",
        "image": IMAGE,
        "command": ["/bin/sh", "-euc", script],
        "volumeMounts": [{"name": "lab", "mountPath": "/lab"}],
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [{"name": "lab", **volume}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": JOB, "namespace": settings.gitlab_namespace},
        "spec": {"backoffLimit": 2, "ttlSecondsAfterFinished": 3600, "template": {"spec": pod}},
    }
