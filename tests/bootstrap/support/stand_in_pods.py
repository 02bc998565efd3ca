"""What goes on in the stand-in cluster by itself, but for Flux: Jobs and pods. One step a look; nothing sleeps."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tests.bootstrap.support.stand_in_cluster import GITLAB_LOOKS, Object

if TYPE_CHECKING:
    from tests.bootstrap.support.lab_world import World


class Pods:
    """The pods of GitLab, of its runner, and of Jobs."""

    def __init__(self, world: World) -> None:
        self.world, self.cluster = world, world.cluster

    def step(self) -> None:
        self.start_gitlab()
        self.run_jobs()
        self.start_runner()
        self.report_runners()

    def start_gitlab(self) -> None:
        """Start GitLab's pod, once its Secrets are there. One that runs does without them."""
        cluster, settings = self.cluster, self.world.settings
        namespace = settings["gitlab_namespace"]
        deployment = cluster.find("Deployment", namespace, "gitlab")
        if deployment is None:
            return
        template = deployment["spec"]["template"].get("metadata", {})
        if template != cluster.gitlab_pod:
            cluster.gitlab_pod, cluster.gitlab_looks, cluster.gitlab_uid = template, 0, cluster.gitlab_uid + 1
            nodes = cluster.find("ConfigMap", namespace, "gitlab-nodes")
            cluster.node_ips = nodes["data"]["addresses"] if nodes else ""
        container: Object = {"restartCount": 0, "state": {"running": {}}}
        secrets = ("gitlab-root", "lab-ca") if settings["private_ca"] else ("gitlab-root",)
        missing = [name for name in secrets if not cluster.find("Secret", namespace, name)]
        if cluster.crash:
            container = {"restartCount": 5, "state": {"waiting": {"reason": cluster.crash, "message": "back-off"}}}
        elif missing and not cluster.gitlab_looks:
            why = {"reason": "CreateContainerConfigError", "message": f"secrets {missing} not found"}
            container = {"restartCount": 0, "state": {"waiting": why}}
        else:
            cluster.gitlab_looks += 1
        ready = cluster.gitlab_looks > GITLAB_LOOKS and not cluster.crash
        deployment["status"] = {"updatedReplicas": 1, "readyReplicas": int(ready)}
        labels = {"app.kubernetes.io/instance": "gitlab"}
        metadata = {
            "labels": labels,
            "uid": f"gitlab-{cluster.gitlab_uid}",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        }
        status = {"phase": "Running", "containerStatuses": [container]}
        cluster.put("Pod", namespace, "gitlab-pod", status=status, metadata=metadata)

    def run_jobs(self) -> None:
        """Start each Job's pod at the first look, and end both at the second."""
        for job in self.cluster.of_kind("Job"):
            name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
            if "status" not in job:
                labels = job["metadata"].get("labels", {}) | {"job-name": name}
                metadata = {"labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z"}
                self.cluster.put("Pod", namespace, f"{name}-pod", status={"phase": "Pending"}, metadata=metadata)
                job["status"] = {"conditions": []}
                continue
            says = next((words for start, words in self.cluster.failing_jobs.items() if name.startswith(start)), "")
            job["status"] = {"conditions": [{"type": "Failed" if says else "Complete", "status": "True"}]}
            ended = {"terminated": {"exitCode": int(bool(says)), "message": says}}
            self.cluster.objects["Pod", namespace, f"{name}-pod"]["status"] = {"containerStatuses": [{"state": ended}]}
            if not says:
                volumes = job["spec"]["template"]["spec"].get("volumes", [])
                self.world.storage_folders |= {json.dumps(volume, sort_keys=True) for volume in volumes}

    # The runner, on its machine or in the cluster

    def start_runner(self) -> None:
        """Start the runner's pod once its Secret is there; it keeps the tokens that it was started with."""
        cluster, place = self.cluster, ("Pod", "gitlab-runner", "gitlab-runner-pod")
        if cluster.find("Kustomization", "flux-system", "runner") is None:
            return
        if place not in cluster.objects:
            cluster.runner_tokens = set()
            labels = {"app.kubernetes.io/instance": "gitlab-runner"}
            cluster.put(*place, metadata={"labels": labels, "creationTimestamp": cluster.now()}, status={})
        tokens = set(cluster.secret("gitlab-runner", "gitlab-runner-token").values()) - {""}
        if tokens and not cluster.runner_tokens:
            cluster.runner_tokens = tokens
            running = {"running": {"startedAt": cluster.now()}}
            cluster.objects[place]["status"] = {"containerStatuses": [{"state": running}]}

    def running_runners(self) -> list[Object]:
        """Return the runners, as GitLab knows them, whose tokens a started one has: each is a variable of its environment."""
        started = self.world.container.read_text() if self.world.container.exists() else ""
        tokens = {*re.findall(r"^RUNNER_TOKEN\w*=(.+)$", started, re.MULTILINE), *self.cluster.runner_tokens}
        return [one for one in self.world.gitlab.runners if one["token"] in tokens]

    def report_runners(self) -> None:
        """Let each runner, once started with a valid token, report to GitLab."""
        for runner in self.running_runners():
            runner.update(status="online", online=True)
