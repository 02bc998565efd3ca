"""The GitLab that this cluster has: the version of its Deployment, and the one that has its data."""

from __future__ import annotations

from collections.abc import Sequence

from .clients.kubectl import Cluster
from .clients.objects import KubeObject


def version_of_data(cluster: Cluster, deployment: KubeObject | None) -> str:
    """Return the version of GitLab that has its data; nothing where none has run.

    A Deployment may name a version that has never started, because its image does not exist. Then it is the version
    before it.

    Args:
        deployment: GitLab's; None if there is none.
    """
    if deployment is None or deployment.is_rolled_out:
        return installed_version(deployment)
    selector = "app.kubernetes.io/instance=gitlab"
    pods = cluster.list_of("pods", deployment.namespace, selector)
    return version_that_ran(deployment, cluster.list_of("replicasets", deployment.namespace, selector), pods)


def version_that_ran(deployment: KubeObject, sets: Sequence[KubeObject], pods: Sequence[KubeObject]) -> str:
    """Return the newest version of a Deployment that has started; nothing where none has.

    Args:
        deployment: GitLab's.
        sets: its ReplicaSets, those of earlier versions included.
        pods: its pods.
    """
    order = sorted(
        sets, key=lambda one: int(one.annotations.get("deployment.kubernetes.io/revision", "0")), reverse=True
    )
    for one in order:
        mine = [
            pod
            for pod in pods
            if one.name in {owner.get("name") for owner in pod.metadata.get("ownerReferences") or []}
        ]
        if not mine or any(pod.has_started for pod in mine):
            return installed_version(one)
    return installed_version(deployment) if not sets else ""


def installed_version(deployment: KubeObject | None) -> str:
    """Return the version of GitLab that runs now, from its image's tag; nothing where there is none."""
    # The tag, without the digest that an owner may have put behind it.
    images = [str(one.get("image", "")).partition("@")[0] for one in deployment.containers] if deployment else []
    return next((image.rpartition("gitlab-ce:")[2] for image in images if "gitlab-ce:" in image), "")
