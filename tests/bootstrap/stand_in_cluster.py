"""A cluster that keeps state: what kubectl, helm and flux of the stand-in world do, and what Flux does by itself.

Time passes by one step with every look at the cluster; nothing sleeps.
"""

from __future__ import annotations

import base64
import copy
import datetime
import functools
import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

Reply = tuple[int, str, str]

KINDS = {
    "namespaces": "Namespace",
    "secret": "Secret",
    "secrets": "Secret",
    "configmap": "ConfigMap",
    "deployment": "Deployment",
    "deployments": "Deployment",
    "statefulsets": "StatefulSet",
    "daemonsets": "DaemonSet",
    "events": "Event",
    "job": "Job",
    "jobs": "Job",
    "replicasets": "ReplicaSet",
    "pod": "Pod",
    "pods": "Pod",
    "nodes": "Node",
    "services": "Service",
    "storageclass": "StorageClass",
    "customresourcedefinitions.apiextensions.k8s.io": "CustomResourceDefinition",
    "helmcharts.helm.cattle.io": "HelmChart",
    "helmchartconfigs.helm.cattle.io": "HelmChartConfig",
    "clusterissuers.cert-manager.io": "ClusterIssuer",
    "gitrepositories.source.toolkit.fluxcd.io": "GitRepository",
    "kustomizations.kustomize.toolkit.fluxcd.io": "Kustomization",
    "helmreleases.helm.toolkit.fluxcd.io": "HelmRelease",
    "receivers.notification.toolkit.fluxcd.io": "Receiver",
    "imagerepositories.image.toolkit.fluxcd.io": "ImageRepository",
    "imagepolicies.image.toolkit.fluxcd.io": "ImagePolicy",
    "imageupdateautomations.image.toolkit.fluxcd.io": "ImageUpdateAutomation",
}
CLUSTER_WIDE = {"Namespace", "Node", "StorageClass", "CustomResourceDefinition", "ClusterIssuer", "PersistentVolume"}
FLUX_KINDS = {
    "GitRepository",
    "Kustomization",
    "HelmRelease",
    "Receiver",
    "ImageRepository",
    "ImagePolicy",
    "ImageUpdateAutomation",
}
NODE_IP = "192.168.1.11"
# How many looks GitLab takes to become healthy, and what its log says meanwhile.
GITLAB_LOOKS = 8
GITLAB_START = ["Recipe: gitlab::default", "bash[migrate gitlab-rails database]", "gitlab Reconfigured!"]


class CallError(Exception):
    """kubectl was called in a way that the stand-in does not know: the test fails."""


def flags(arguments: list[str], valued: set[str], bare: set[str]) -> tuple[list[str], dict[str, str]]:
    """Split a command line into words and flags; an unknown flag is a mistake of the script's."""
    words, found = [], {}
    rest = iter(arguments)
    for item in rest:
        if item == "--":
            words += ["--", *rest]
        elif item.startswith("--") and "=" in item and item.split("=")[0] in valued | bare:
            found[item.split("=")[0]] = item.split("=", 1)[1]
        elif item in valued:
            found[item] = next(rest)
        elif item in bare:
            found[item] = "true"
        elif item.startswith("-"):
            raise CallError(f"unknown flag {item}")
        else:
            words.append(item)
    return words, found


class Cluster:
    """The objects, by kind, namespace and name, and the controllers that move them."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.helm: dict[str, Any] | None = None
        self.gitlab_looks = 0
        self.gitlab_start = GITLAB_LOOKS
        self.gitlab_uid = 0
        self.refused: dict[str, Any] = {}  # the status of a Deployment whose pods Kubernetes refuses
        self.node_ips = ""  # what GitLab's container was started with
        self.flux_works = True
        self.asked_again: list[str] = []
        self.flux_lag = 0  # how often Flux still looks at the repository without seeing what was pushed
        self.crash: str | None = None
        self.storage_works = True
        self.check_says = ""  # what the check before GitLab says against it
        self.external_ready = True
        self.admin = True
        self.image_scan_error: str | None = None
        self.push_error: str | None = None
        self.pod_commands: Callable[[list[str], str], Reply] | None = None
        self.probes: list[str] = []
        self.suspended = False
        self.seconds = 0
        self.runner_tokens: set[str] = set()

    # Objects

    def put(self, kind: str, namespace: str, name: str, **rest: Any) -> dict[str, Any]:
        metadata = {"name": name, "uid": f"{kind}-{namespace}-{name}", **rest.pop("metadata", {})}
        if kind not in CLUSTER_WIDE:
            metadata["namespace"] = namespace
        item = {"apiVersion": "v1", "kind": kind, "metadata": metadata, **rest}
        self.objects[kind, "" if kind in CLUSTER_WIDE else namespace, name] = item
        return item

    def find(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        return self.objects.get((kind, "" if kind in CLUSTER_WIDE else namespace, name))

    def secret(self, namespace: str, name: str) -> dict[str, str]:
        item = self.find("Secret", namespace, name)
        return {k: base64.b64decode(v).decode() for k, v in (item or {}).get("data", {}).items()}

    def put_secret(self, namespace: str, name: str, kind: str = "Opaque", **data: str) -> None:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self.put("Secret", namespace, name, type=kind, data=encoded)

    def has_flux(self) -> bool:
        return self.find("Deployment", "flux-system", "source-controller") is not None

    # kubectl

    def kubectl(self, arguments: list[str], text: str) -> Reply:
        arguments = [a for a in arguments if not a.startswith("--request-timeout=")]
        verb, rest = arguments[0], arguments[1:]
        method = getattr(self, f"kubectl_{verb.replace('-', '_')}", None)
        if method is None:
            raise CallError(f"kubectl {verb}")
        return method(rest, text)

    def kubectl_version(self, rest: list[str], _: str) -> Reply:
        flags(rest, set(), {"--client"})
        return 0, f"Client Version: {self.world.versions['kubectl']}\nKustomize Version: v5.7.1\n", ""

    def kubectl_config(self, rest: list[str], _: str) -> Reply:
        if rest != ["view", "--minify", "--output", "json"]:
            raise CallError(f"kubectl config {rest}")
        server = {"name": "default", "cluster": {"server": "https://10.0.0.1:6443"}}
        return 0, json.dumps({"current-context": "homelab", "clusters": [server]}), ""

    def kubectl_auth(self, rest: list[str], _: str) -> Reply:
        return (0, "yes\n", "") if self.admin else (1, "no\n", "")

    def kubectl_get(self, rest: list[str], _: str) -> Reply:
        words, found = flags(
            rest,
            {"--namespace", "--output", "--selector"},
            {"--ignore-not-found", "--all-namespaces", "--show-managed-fields"},
        )
        kinds = [KINDS.get(word) for word in words[0].split(",")]
        if None in kinds or found.get("--output") != "json":
            raise CallError(f"kubectl get {rest}")
        for kind, word in zip(kinds, words[0].split(","), strict=True):
            if kind in FLUX_KINDS and not self.has_flux() or (kind == "ClusterIssuer" and not self.world.cert_manager):
                return 1, "", f'error: the server doesn\'t have a resource type "{word}"\n'
        if len(words) == 2:
            item = self.find(str(kinds[0]), found.get("--namespace", "default"), words[1])
            return 0, json.dumps(self.shown(item)) if item else "", ""
        if len(words) > 2:
            named = [self.find(str(kinds[0]), found["--namespace"], name) for name in words[1:]]
            shown = [self.shown(item) for item in named if item]
            return 0, json.dumps({"kind": "List", "items": shown}) if shown else "", ""
        items = [
            self.shown(o)
            for (k, ns, _), o in sorted(self.objects.items())
            if k in kinds
            and self.matches(o, found.get("--selector", ""))
            and ("--all-namespaces" in found or k in CLUSTER_WIDE or ns == found.get("--namespace", "default"))
        ]
        return 0, json.dumps({"kind": "List", "items": items}), ""

    def shown(self, item: dict[str, Any]) -> dict[str, Any]:
        """An object as kubectl prints it; GitLab's container with the probes that it has just now."""
        if self.probes and item["kind"] == "Deployment" and item["metadata"]["name"] == "gitlab":
            item = copy.deepcopy(item)
            item["spec"]["template"]["spec"]["containers"][0] |= {probe: {} for probe in self.probes}
        return item

    @staticmethod
    def matches(item: dict[str, Any], selector: str) -> bool:
        labels = item["metadata"].get("labels", {})
        parts = [part.split("=") for part in selector.split(",") if part]
        return all(labels.get(name) == value[0] if value else name in labels for name, *value in parts)

    def kubectl_apply(self, rest: list[str], text: str) -> Reply:
        words, found = flags(
            rest,
            {"--filename", "--kustomize", "--field-manager", "--namespace"},
            {"--server-side", "--force-conflicts"},
        )
        if self.helm and text == f"# helm\n{self.helm['manifest']}\n":
            self.probes = ["livenessProbe", "readinessProbe", "startupProbe"]
            return 0, "applied\n", ""
        if words or "--server-side" not in found:
            raise CallError(f"kubectl apply {rest}")
        if "--kustomize" in found:
            documents = self.kustomize(Path(found["--kustomize"]))
        else:
            text = text if found["--filename"] == "-" else Path(found["--filename"]).read_text(encoding="utf-8")
            documents = [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]
        for document in documents:
            if "--namespace" in found:
                document["metadata"].setdefault("namespace", found["--namespace"])
            error = self.apply(document, found["--field-manager"])
            if error:
                return 1, "", error
        return 0, "applied\n", ""

    def kubectl_annotate(self, rest: list[str], _: str) -> Reply:
        """Ask Flux to look again; the stand-in looks at every step of time as it is."""
        (kind, name, annotation), found = flags(rest, {"--namespace"}, {"--overwrite"})
        key, _sign, value = annotation.partition("=")
        item = self.find(KINDS[kind], found["--namespace"], name)
        if key != "reconcile.fluxcd.io/requestedAt" or not value or item is None:
            raise CallError(f"kubectl annotate {rest}")
        self.asked_again.append(f"{item['kind']} {name}")
        return 0, "", ""

    def kubectl_kustomize(self, rest: list[str], _: str) -> Reply:
        (folder,) = rest
        return 0, yaml.dump_all(self.kustomize(Path(folder)), sort_keys=False), ""

    def kubectl_diff(self, rest: list[str], text: str) -> Reply:
        """Whether the controllers are there as they would be applied; the stand-in knows only their versions."""
        flags(rest, {"--filename", "--field-manager"}, {"--server-side", "--force-conflicts"})
        for document in yaml.load_all(text, yaml.CSafeLoader):
            there = self.find(document["kind"], document["metadata"].get("namespace", ""), document["metadata"]["name"])
            if there is None or there["metadata"].get("labels") != document["metadata"].get("labels"):
                return 1, "a difference\n", ""
        return 0, "", ""

    @staticmethod
    def kustomize(folder: Path) -> list[dict[str, Any]]:
        (kustomization,) = read_yaml(folder / "kustomization.yaml")
        return [d for name in kustomization["resources"] for d in read_yaml(folder / name) if d]

    def apply(self, document: dict[str, Any], manager: str) -> str:
        kind, metadata = document["kind"], document["metadata"]
        namespace = metadata.get("namespace", "default")
        if kind not in CLUSTER_WIDE and self.find("Namespace", "", namespace) is None:
            return f'Error from server (NotFound): namespaces "{namespace}" not found\n'
        if kind in FLUX_KINDS and not self.has_flux():
            return f'error: no matches for kind "{kind}"\n'
        if kind == "Secret":
            for value in document["data"].values():
                base64.b64decode(value, validate=True)
        old = self.find(kind, namespace, metadata["name"]) or {}
        managers = {m["manager"] for m in old.get("metadata", {}).get("managedFields", [])} | {manager}
        rest = {k: v for k, v in document.items() if k not in ("apiVersion", "kind", "metadata")}
        status = {"status": old["status"]} if "status" in old else {}
        if kind == "Deployment" and namespace == "flux-system":
            status = {"status": {"readyReplicas": 1}}
        self.put(
            kind,
            namespace,
            metadata["name"],
            **rest,
            **status,
            metadata={k: v for k, v in metadata.items() if k not in ("name", "namespace")}
            | {"managedFields": [{"manager": m, "time": self.now()} for m in sorted(managers)]},
        )
        return ""

    def now(self) -> str:
        return f"{datetime.datetime(2026, 1, 1) + datetime.timedelta(seconds=self.seconds):%Y-%m-%dT%H:%M:%SZ}"

    def kubectl_delete(self, rest: list[str], _: str) -> Reply:
        words, found = flags(rest, {"--namespace"}, {"--ignore-not-found", "--wait"})
        kind = KINDS[words[0]]
        self.objects.pop((kind, found["--namespace"], words[1]), None)
        if kind == "Job":
            self.objects = {
                k: o for k, o in self.objects.items() if o["metadata"].get("labels", {}).get("job-name") != words[1]
            }
        return 0, "", ""

    def kubectl_logs(self, rest: list[str], _: str) -> Reply:
        words, _found = flags(rest, {"--namespace", "--tail"}, set())
        if words[0].startswith("job/"):
            return 0, "chown: gitlab/config/.lab: Operation not permitted\n", ""
        step = min(self.gitlab_looks * len(GITLAB_START) // self.gitlab_start, len(GITLAB_START) - 1)
        return 0, GITLAB_START[step] + "\n", ""

    def kubectl_exec(self, rest: list[str], text: str) -> Reply:
        words, found = flags(rest, {"--namespace"}, {"--stdin"})
        if words[:2] != ["deploy/gitlab", "--"] or found["--namespace"] != self.world.settings["gitlab_namespace"]:
            raise CallError(f"kubectl exec {rest}")
        if not self.world.gitlab_is_ready():
            return 1, "", "error: unable to upgrade connection: container not found\n"
        command = words[2:]
        if self.pod_commands is not None:
            return self.pod_commands(command, text)
        if command == ["printenv", "NODE_IP", "NODE_IPS"]:
            return (0 if self.node_ips else 1), "".join(f"{one}\n" for one in (NODE_IP, self.node_ips) if one), ""
        if command[:2] == ["gitlab-rails", "runner"]:
            name = command[2].split("'")[1]
            return 0, f"token={self.world.gitlab.new_pat(name)}\n", 'Defaulted container "gitlab" out of: gitlab\n'
        if command == ["sh", "-c", "cat /etc/gitlab/ssh_host_*_key.pub"]:
            return 0, self.world.host_keys, ""
        raise CallError(f"kubectl exec {command}")

    def kubectl_patch(self, rest: list[str], _: str) -> Reply:
        words, found = flags(rest, {"--namespace", "--type", "--patch", "--field-manager"}, set())
        if found["--type"] != "json":
            raise CallError(f"kubectl patch {rest}")
        if KINDS.get(words[0]) in ("Kustomization", "HelmRelease"):
            return self.suspend(KINDS[words[0]], found["--namespace"], words[1], json.loads(found["--patch"]))
        if words != ["deployment", "gitlab"]:
            raise CallError(f"kubectl patch {rest}")
        for step in json.loads(found["--patch"]):
            if step["op"] != "remove":
                raise CallError(f"kubectl patch {step}")
            self.probes.remove(step["path"].rsplit("/", 1)[1])
        return 0, "patched\n", ""

    def suspend(self, kind: str, namespace: str, name: str, steps: list[dict[str, Any]]) -> Reply:
        """Flux's hand off an object, or on again."""
        item = self.find(kind, namespace, name)
        (step,) = steps
        if item is None or (step["op"], step["path"]) != ("add", "/spec/suspend"):
            raise CallError(f"kubectl patch {kind} {name} {steps}")
        item["spec"]["suspend"] = step["value"]
        return 0, "patched\n", ""

    def kubectl_rollout(self, rest: list[str], _: str) -> Reply:
        words, _found = flags(rest, {"--namespace", "--timeout"}, set())
        if words != ["status", "deployment", "gitlab"]:
            raise CallError(f"kubectl rollout {rest}")
        return 0, "", ""

    # helm and flux

    def run_helm(self, arguments: list[str], folder: Path) -> Reply:
        if arguments[:1] == ["version"]:
            return 0, self.world.versions["helm"] + "\n", ""
        valued = {"--namespace", "--values", "--set-file", "--set-string", "--output", "--dry-run", "--server-side"}
        words, found = flags(arguments, valued, {"--install"})
        if "--server-side" in found and self.world.versions["helm"].startswith("v3"):
            raise CallError("Helm 3 has no --server-side")
        if found["--namespace"] != self.world.settings["gitlab_namespace"]:
            raise CallError(f"helm {arguments}")
        if words == ["get", "manifest", "gitlab"]:
            if self.helm is None:
                return 1, "", "Error: release: not found\n"
            return 0, f"# helm\n{self.helm['manifest']}\n", ""
        if words == ["status", "gitlab"]:
            if self.helm is None:
                return 1, "", "Error: release: not found\n"
            return 0, json.dumps({"info": {"status": self.helm["status"]}, "manifest": self.helm["manifest"]}), ""
        if words == ["upgrade", "gitlab-check", "charts/app"] and "--install" in found:
            self.install_check(found["--namespace"], (folder / "apps/gitlab/gitlab.rb").read_text(encoding="utf-8"))
            return 0, 'Release "gitlab-check" has been upgraded.\n', ""
        if words != ["upgrade", "gitlab", "charts/app"]:
            raise CallError(f"helm {arguments}")
        key, _, name = found["--set-file"].partition("=")
        if key != r"configMaps.config.data.gitlab\.rb":
            raise CallError(f"helm --set-file {key}")
        manifest = "\n".join((folder / f).read_text() for f in ("charts/app/Chart.yaml", found["--values"], name))
        if found.get("--dry-run") == "server":
            return 0, json.dumps({"manifest": manifest}), ""
        if "--install" not in found:
            raise CallError("helm upgrade without --install")
        if self.pending_records():
            return 1, "", "Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress\n"
        missing = [
            n
            for n in ("gitlab-root", *(["lab-ca"] if self.world.settings["private_ca"] else []))
            if not self.find("Secret", found["--namespace"], n)
        ]
        if missing:
            self.world.errors.append(f"GitLab was installed before its Secrets {missing}")
        self.install_gitlab(manifest, by="helm")
        return 0, 'Release "gitlab" has been upgraded.\n', ""

    def install_check(self, namespace: str, settings: str) -> None:
        """The Job of the check before GitLab: another one for other settings."""
        name = f"gitlab-check-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"
        if self.find("Job", namespace, name):
            return
        labels = {"app.kubernetes.io/instance": "gitlab-check"}
        selector = "app.kubernetes.io/instance=gitlab-check"
        self.objects = {key: one for key, one in self.objects.items() if not self.matches(one, selector)}
        metadata = {"labels": labels, "creationTimestamp": self.now()}
        self.put("Job", namespace, name, spec={"template": {"spec": {"volumes": []}}}, metadata=metadata)

    def pending_records(self) -> list[Any]:
        return [
            o
            for (kind, _, _), o in self.objects.items()
            if kind == "Secret" and o["metadata"].get("labels", {}).get("status", "").startswith("pending")
        ]

    def install_gitlab(self, manifest: str, by: str) -> None:
        namespace = self.world.settings["gitlab_namespace"]
        changed = self.helm is None or self.helm["manifest"] != manifest
        self.helm = {"status": "deployed", "manifest": manifest, "by": by}
        if changed:
            self.gitlab_looks = 0
            self.gitlab_uid += 1
            nodes = self.find("ConfigMap", self.world.settings["gitlab_namespace"], "gitlab-nodes")
            self.node_ips = nodes["data"]["addresses"] if nodes else ""
            values = yaml.safe_load((self.world.lab / "apps/gitlab/values.yaml").read_text(encoding="utf-8"))
            image = f"gitlab/gitlab-ce:{values['image']['tag']}"
            self.put(
                "Deployment",
                namespace,
                "gitlab",
                spec={
                    "selector": {"matchLabels": {"app.kubernetes.io/instance": "gitlab"}},
                    "template": {"spec": {"containers": [{"name": "gitlab", "image": image}]}},
                },
                status={},
            )
            self.put(
                "Service",
                namespace,
                "gitlab-ssh",
                spec={"type": "LoadBalancer", "ports": [{"port": self.world.settings["ssh_port"]}]},
            )

    def run_flux(self, arguments: list[str]) -> Reply:
        words, found = flags(
            arguments, {"--timeout", "--namespace"}, {"--pre", "--client", "--force"}
        )
        if words in (
            ["suspend", "helmrelease", "gitlab"],
            ["resume", "helmrelease", "gitlab"],
            ["reconcile", "helmrelease", "gitlab"],
        ):
            self.suspended = words[0] == "suspend"
            if words[0] == "resume":
                self.probes = ["livenessProbe", "readinessProbe", "startupProbe"]
            return 0, "", ""
        if words == ["version"]:
            return 0, f"flux: {self.world.versions['flux']}\n", ""
        if words == ["check"]:
            return self.world.flux_check
        raise CallError(f"flux {arguments}")

    # What happens by itself

    def tick(self) -> None:
        """One step of time: pods start, Flux reconciles, the runner works."""
        self.seconds += 1
        self.start_gitlab()
        self.run_jobs()
        self.start_runner()
        self.world.vm_step()
        if self.has_flux() and self.flux_works:
            self.reconcile()
        self.world.gitlab.run_pipelines(self.world.runner_is_online())

    def start_gitlab(self) -> None:
        namespace = self.world.settings["gitlab_namespace"]
        deployment = self.find("Deployment", namespace, "gitlab")
        if deployment is None:
            return
        self.gitlab_looks += 1
        ready = self.gitlab_looks > self.gitlab_start and self.crash is None
        deployment["status"] = {"readyReplicas": 1, "updatedReplicas": 1} if ready else {"updatedReplicas": 1}
        container: dict[str, Any] = {"restartCount": 0, "state": {"running": {}}}
        if self.crash:
            container = {"restartCount": 5, "state": {"waiting": {"reason": self.crash, "message": "back-off"}}}
        self.put(
            "Pod",
            namespace,
            "gitlab-pod",
            status={"phase": "Running", "containerStatuses": [container]},
            metadata={
                "labels": {"app.kubernetes.io/instance": "gitlab"},
                "uid": f"gitlab-{self.gitlab_uid}",
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
        )

    def start_runner(self) -> None:
        """The runner's pod in the cluster waits for its Secret, and keeps the tokens that it was started with."""
        if self.find("Kustomization", "flux-system", "runner") is None:
            return
        pod = self.find("Pod", "gitlab-runner", "gitlab-runner-pod")
        tokens = set(self.secret("gitlab-runner", "gitlab-runner-token").values()) - {""}
        if pod is None:
            self.runner_tokens = set()
            labels = {"app.kubernetes.io/instance": "gitlab-runner"}
            metadata = {"labels": labels, "creationTimestamp": self.now()}
            pod = self.put("Pod", "gitlab-runner", "gitlab-runner-pod", metadata=metadata, status={})
        if tokens and not self.runner_tokens:
            self.runner_tokens = tokens
            pod["status"] = {"containerStatuses": [{"state": {"running": {"startedAt": self.now()}}}]}

    def run_jobs(self) -> None:
        for (kind, namespace, name), job in list(self.objects.items()):
            if kind == "Job" and "status" not in job:
                pod = {"status": {"phase": "Pending", "conditions": []}}
                self.put(
                    "Pod",
                    namespace,
                    f"{name}-pod",
                    **pod,
                    metadata={"labels": {"job-name": name}, "creationTimestamp": "2026-01-01T00:00:00Z"},
                )
                job["status"] = {"conditions": []}
            elif kind == "Job" and name.startswith("gitlab-check-"):
                job["status"] = {"conditions": [{"type": "Failed" if self.check_says else "Complete", "status": "True"}]}
                ended = {"exitCode": 1, "message": self.check_says} if self.check_says else {"exitCode": 0}
                pod = self.find("Pod", namespace, f"{name}-pod")
                assert pod is not None
                pod["status"] = {"containerStatuses": [{"state": {"terminated": ended}}]}
                pod["metadata"]["labels"]["app.kubernetes.io/instance"] = "gitlab-check"
            elif kind == "Job":
                outcome = "Complete" if self.storage_works else "Failed"
                job["status"] = {"conditions": [{"type": outcome, "status": "True"}]}
                if self.storage_works:
                    self.world.storage_folders.add(
                        json.dumps(job["spec"]["template"]["spec"]["volumes"][0], sort_keys=True)
                    )

    def ready(self, item: dict[str, Any] | None, ok: bool, message: str = "applied") -> None:
        if item is not None:
            item.setdefault("status", {})["conditions"] = [
                {"type": "Ready", "status": "True" if ok else "False", "message": message}
            ]

    def reconcile(self) -> None:
        source = self.find("GitRepository", "flux-system", "flux-system")
        if source is None or self.find("Kustomization", "flux-system", "flux-system") is None:
            return
        problem = self.world.repository_problem(source["spec"]["url"], source["spec"]["ref"]["branch"])
        self.ready(source, not problem, problem or "stored artifact")
        if problem:
            return
        # https://fluxcd.io/flux/components/source/gitrepositories/#artifact
        self.flux_lag = max(0, self.flux_lag - 1)
        if self.flux_lag == 0:
            source["status"]["artifact"] = {"revision": f"{source['spec']['ref']['branch']}@sha1:{self.world.tip()}"}
        self.reconcile_kustomizations(source["status"]["artifact"]["revision"])
        if self.find("Kustomization", "flux-system", "demo"):
            self.reconcile_demo()

    def reconcile_kustomizations(self, revision: str) -> None:
        entry = self.find("Kustomization", "flux-system", "flux-system")
        assert entry is not None
        folder = self.world.lab / entry["spec"]["path"]
        # What tells that Flux applied its own controllers from the repository.
        entry.setdefault("status", {})["inventory"] = {"entries": [{"id": "flux-system_helm-controller_apps_Deployment"}]}
        self.ready(entry, folder.is_dir(), "applied" if folder.is_dir() else f"kustomization path not found: stat {entry['spec']['path']}")
        for (document,) in map(read_yaml, sorted(folder.glob("*.yaml"))):
            name = document["metadata"]["name"]
            if self.find("Kustomization", "flux-system", name) is None:
                self.put("Kustomization", "flux-system", name, spec=document["spec"])
                self.arrive(name)
            item = self.find("Kustomization", "flux-system", name)
            if item is not None and item["spec"].get("suspend"):
                continue
            problem = self.problem_of(name)
            self.ready(item, not problem, problem or "applied")
            if item is not None and not problem:
                item["status"]["lastAppliedRevision"] = revision

    def arrive(self, name: str) -> None:
        """The objects of one Kustomization, when Flux applies it for the first time."""
        settings = self.world.settings
        if name == "infrastructure":
            for document in self.kustomize(self.world.lab / "infrastructure"):
                self.apply(document, "kustomize-controller")
        elif name in ("gitlab", "gitlab-check"):
            self.put("HelmRelease", settings["gitlab_namespace"], name, spec={})
        elif name == "automation":
            for receiver in ["registry", *(["gitlab"] if settings["gitops_source"] == "self" else [])]:
                self.put("Receiver", "flux-system", receiver, spec={})
            self.put("ImageUpdateAutomation", "flux-system", "apps", spec={})
        elif name == "demo":
            (release,) = read_yaml(self.world.lab / "apps/demo/helmrelease.yaml")
            self.put("HelmRelease", settings["app_namespace"], "demo", spec=release["spec"])
            self.put(
                "ImageRepository",
                "flux-system",
                "demo",
                spec={"image": release["spec"]["values"]["image"]["repository"]},
            )
            self.put("ImagePolicy", "flux-system", "demo", spec={}, status={})

    def problem_of(self, name: str) -> str:
        settings, namespace = self.world.settings, self.world.settings["gitlab_namespace"]
        if name == "gitlab" and self.check_says:
            return "dependency 'gitlab/gitlab-check' is not ready"
        if name == "gitlab":
            manifest = "\n".join(
                (self.world.lab / f).read_text()
                for f in ("charts/app/Chart.yaml", "apps/gitlab/values.yaml", "apps/gitlab/gitlab.rb")
            )
            self.install_gitlab(manifest, by="flux")
            ready = self.world.gitlab_is_ready()
            self.ready(
                self.find("HelmRelease", namespace, "gitlab"), ready, "installed" if ready else "waiting for GitLab"
            )
            return "" if ready else "health check of HelmRelease gitlab"
        if name == "gitlab-check":
            self.ready(self.find("HelmRelease", namespace, name), not self.check_says, self.check_says or "installed")
            return self.check_says and "health check of HelmRelease gitlab-check"
        if name == "automation":
            token = self.secret("flux-system", "receiver-token").get("token", "")
            for receiver in ("gitlab", "registry"):
                item = self.find("Receiver", "flux-system", receiver)
                if item is not None:
                    self.ready(item, bool(token))
                    digest = hashlib.sha256(f"{token}{receiver}flux-system".encode()).hexdigest()
                    item["status"]["webhookPath"] = f"/hook/{digest}"
            if settings["gitops_source"] == "self" and "token" not in self.secret("flux-system", "gitlab-status"):
                return "Provider gitlab: secret gitlab-status not found"
        return ""  # demo too: nobody waits for it

    def pull_allowed(self, namespace: str, image: str) -> bool:
        """Whether regcred there opens this image: kubelet and Flux take the longest key that its name begins with."""
        config = json.loads(self.secret(namespace, "regcred").get(".dockerconfigjson", "{}"))
        keys = [k for k in config.get("auths", {}) if image.startswith(k)]
        if not keys:
            return False
        login = config["auths"][max(keys, key=len)]
        assert base64.b64decode(login["auth"]).decode() == f"{login['username']}:{login['password']}"
        return self.world.gitlab.registry_accepts(login["username"], login["password"])

    def reconcile_demo(self) -> None:
        repository = self.find("ImageRepository", "flux-system", "demo")
        policy = self.find("ImagePolicy", "flux-system", "demo")
        release = self.find("HelmRelease", self.world.settings["app_namespace"], "demo")
        automation = self.find("ImageUpdateAutomation", "flux-system", "apps")
        if not (repository and policy and release and automation):
            return
        image = repository["spec"]["image"]
        if not self.pull_allowed("flux-system", image) or self.image_scan_error:
            return self.ready(repository, False, self.image_scan_error or "UNAUTHORIZED: authentication required")
        tags = self.world.gitlab.images.get(image.split("/", 1)[1], [])
        if not tags:
            return self.ready(repository, False, "NAME_UNKNOWN: repository name not known to registry")
        self.ready(repository, True, f"found {len(tags)} tags")
        newest = max(tags, key=lambda t: [int(n) for n in t.lstrip("v").split(".")])
        policy["status"]["latestRef"] = {"name": image, "tag": newest}
        self.ready(policy, True)
        if release["spec"]["values"]["image"]["tag"] != newest:
            problem = self.push_error or self.world.commit_tag(newest)
            self.ready(automation, not problem, problem or "pushed")
            if not problem:
                release["spec"]["values"]["image"]["tag"] = newest
            return None
        self.ready(automation, True, "no updates")
        reference = f"{image}:{newest}"
        running = self.pull_allowed(self.world.settings["app_namespace"], image)
        self.ready(release, running, "deployed" if running else "timeout waiting for Deployment demo")
        self.put(
            "Deployment",
            self.world.settings["app_namespace"],
            "demo",
            spec={"template": {"spec": {"containers": [{"name": "demo", "image": reference}]}}},
            status={"updatedReplicas": 1, "readyReplicas": int(running)} if not self.refused else self.refused,
            metadata={"labels": {"helm.toolkit.fluxcd.io/name": "demo"}},
        )
        return None

    def copy_state(self) -> dict[str, Any]:
        return copy.deepcopy({k: v for k, v in vars(self).items() if k != "world"})


def read_yaml(path: Path) -> list[Any]:
    """The documents of a file. Flux reads the same few at every step of time, so they are parsed once."""
    return copy.deepcopy(parsed_yaml(path.read_text()))


@functools.lru_cache(maxsize=None)
def parsed_yaml(text: str) -> list[Any]:
    return list(yaml.safe_load_all(text))


def git(folder: Path, *arguments: str, text: bytes = b"") -> str:
    """Git for the stand-ins; a failure is a failure of the test."""
    result = subprocess.run(["git", "-C", str(folder), *arguments], input=text, capture_output=True, check=True)
    return result.stdout.decode().strip()
