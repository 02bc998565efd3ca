"""A cluster that keeps its objects, and what kubectl, helm and flux of the stand-in world do to them.

What goes on in it by itself is in stand_in_pods.py and stand_in_flux.py.
"""

from __future__ import annotations

import base64
import datetime
import getopt
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from tests.bootstrap.support.lab_world import World

Object = dict[str, Any]
Reply = tuple[int, str, str]

NODE_IP = "192.168.1.11"
VALUES = ("charts/app/Chart.yaml", "apps/gitlab/values.yaml", "apps/gitlab/gitlab.rb")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
# What a registry with a database and 2.5 GiB of images says.
REGISTRY_SAYS = "2621440\t/var/opt/gitlab/gitlab-rails/shared/registry\nHTTP/1.1 401 Unauthorized\nGitlab-Container-Registry-Database-Enabled: true\n"
GITLAB_START = ("Recipe: gitlab::default", "bash[migrate gitlab-rails database]", "gitlab Reconfigured!")
# How many looks GitLab takes to become healthy.
GITLAB_LOOKS = 8
# The options of kubectl, helm and flux; `=` takes a value. Another one is a mistake: not every command that takes them runs on the
# real cluster.
OPTIONS = """
client minify ignore-not-found all-namespaces show-managed-fields server-side force-conflicts overwrite stdin short install pre force
request-timeout= cascade= namespace= output= selector= filename= kustomize= field-manager= type= patch= timeout= tail= wait= values= set-file=
set-string= dry-run=
"""


def split(arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """Split a command line into words and options. Only Helm gives `--server-side` a value."""
    rest = [one for one in arguments if one != "--server-side=false"]
    options, words = getopt.gnu_getopt(rest, "", OPTIONS.split())
    return words, dict(options)


def kind_of(word: str) -> str:
    """Return what the name of a kind, and what kubectl calls its objects, have in common: Secret, secrets; ImagePolicy, imagepolicies.image…"""
    name = word.partition(".")[0].lower()
    return f"{name[:-3]}y" if name.endswith("ies") else name.removesuffix("s")


def documents_in(text: str) -> list[Object]:
    """Return the objects of a YAML file."""
    return [one for one in yaml.load_all(text, yaml.CSafeLoader) if one and "kind" in one]


def objects_in(folder: str, files: Mapping[str, str]) -> list[Object]:
    """Return the objects that lie in a folder, but not below it; all that such a folder's kustomization.yaml names."""
    names = [name for name in files if name.rpartition("/")[0] == folder and name.endswith(".yaml")]
    return [one for name in sorted(names) for one in documents_in(files[name])]


class Cluster:
    """The objects, by kind, namespace (none: "") and name, and what can be ordered to go wrong with them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.seconds = 0
        self.admin = True
        self.missing_kinds: set[str] = set()
        self.releases: dict[str, str] = {}  # what Helm has installed, as a manifest, by its name
        self.gitlab_looks = self.gitlab_uid = 0
        self.gitlab_pod: Object = {}  # the metadata of the template that GitLab's pod was made from
        self.registry_says = REGISTRY_SAYS
        self.node_ips = ""  # what GitLab's container was started with
        self.pod_commands: Callable[[list[str], str], Reply] | None = None
        self.crash = ""
        self.refused: Object = {}  # the status of a Deployment whose pods Kubernetes refuses
        self.failing_jobs: dict[str, str] = {}  # what a Job says that fails, by the beginning of its name
        self.runner_tokens: set[str] = set()
        self.flux_works = True
        self.flux_lag = 0  # how often Flux still looks at the repository without seeing what was pushed
        self.image_scan_error = ""
        self.push_error = ""
        self.mails: list[list[str]] = []  # what GitLab was asked to send: address, subject, text
        self.mail_refusal = ""

    # Objects

    def put(self, kind: str, namespace: str, name: str, **rest: Any) -> Object:
        metadata = {"name": name, "namespace": namespace, "uid": f"{kind}-{namespace}-{name}"}
        item = {"apiVersion": "v1", "kind": kind, **rest, "metadata": metadata | rest.get("metadata", {})}
        self.objects[kind, namespace, name] = item
        return item

    def find(self, kind: str, namespace: str, name: str) -> Object | None:
        return self.objects.get((kind, namespace, name))

    def of_kind(self, kind: str) -> list[Object]:
        return [item for key, item in sorted(self.objects.items()) if key[0] == kind]

    def secret(self, namespace: str, name: str) -> dict[str, str]:
        item = self.find("Secret", namespace, name) or {}
        return {key: base64.b64decode(value).decode() for key, value in item.get("data", {}).items()}

    def has_flux(self) -> bool:
        return self.find("Deployment", "flux-system", "source-controller") is not None

    def now(self) -> str:
        return f"{datetime.datetime(2026, 1, 1) + datetime.timedelta(seconds=self.seconds):%Y-%m-%dT%H:%M:%SZ}"  # noqa: DTZ001

    def apply(self, document: Object, manager: str, namespace: str = "") -> str:
        """Apply an object server-side: what others have written to it stays. Return why that cannot be."""
        kind, metadata = document["kind"], document["metadata"]
        namespace = metadata.get("namespace", namespace)
        if namespace and self.find("Namespace", "", namespace) is None:
            return f'Error from server (NotFound): namespaces "{namespace}" not found\n'
        old = self.find(kind, namespace, metadata["name"]) or {"metadata": {}}
        managers = {one["manager"] for one in old["metadata"].get("managedFields", [])} | {manager}
        fields = [{"manager": one, "time": self.now()} for one in sorted(managers)]
        kept = {part: old[part] for part in ("status", "spec") if part in old}
        rest = {key: value for key, value in document.items() if key != "kind"}
        rest |= {"spec": kept.get("spec", {}) | rest["spec"]} if "spec" in rest else {}
        new = kept | rest | {"metadata": {**metadata, "namespace": namespace, "managedFields": fields}}
        self.put(kind, namespace, metadata["name"], **new)
        return ""

    # kubectl

    def kubectl(self, arguments: list[str], text: str) -> Reply:
        (verb, *words), options = split(arguments)
        if '"Secret"' in text and verb != "apply":
            raise ValueError("a Secret where none is expected")
        server = {"name": "default", "cluster": {"server": "https://10.0.0.1:6443"}}
        said = {
            "version": f"Client Version: {self.world.versions['kubectl']}\nKustomize Version: v5.7.1\n",
            "config": json.dumps({"current-context": "homelab", "clusters": [server]}),
            "logs": GITLAB_START[min(self.gitlab_looks * len(GITLAB_START) // GITLAB_LOOKS, len(GITLAB_START) - 1)]
            + "\n",
            "annotate": "",  # Flux looks at every step of time as it is
            "rollout": "",
        }
        if verb in said:
            return 0, said[verb], ""
        return getattr(self, f"kubectl_{verb}")(words, options, text)  # type: ignore[no-any-return]

    def kubectl_auth(self, *_: Any) -> Reply:
        return (0, "yes\n", "") if self.admin else (1, "no\n", "")

    def kubectl_get(self, words: list[str], options: dict[str, str], _: str) -> Reply:
        kinds, names = words[0].split(","), words[1:]
        for word in kinds:
            if (".fluxcd.io" in word and not self.has_flux()) or word in self.missing_kinds:
                return 1, "", f'error: the server doesn\'t have a resource type "{word}"\n'
        wanted, selector = {kind_of(word) for word in kinds}, options.get("--selector", "")
        found = [
            item
            for (kind, namespace, name), item in sorted(self.objects.items())
            if kind_of(kind) in wanted
            and (not names or name in names)
            and ("--all-namespaces" in options or namespace in ("", options.get("--namespace", "default")))
            and self.matches(item, selector)
        ]
        if names and not found:
            return 0, "", ""
        return 0, json.dumps(found[0] if len(names) == 1 else {"kind": "List", "items": found}), ""

    @staticmethod
    def matches(item: Object, selector: str) -> bool:
        labels = item["metadata"].get("labels", {})
        parts = [part.split("=") for part in selector.split(",") if part]
        return all(labels.get(name) == value[0] if value else name in labels for name, *value in parts)

    def kubectl_apply(self, _: list[str], options: dict[str, str], text: str) -> Reply:
        if "--kustomize" in options:
            documents = self.kustomized(options["--kustomize"])
        else:
            file = options["--filename"]
            documents = documents_in(text if file == "-" else Path(file).read_text(encoding="utf-8"))
        for document in documents:
            error = self.apply(document, options["--field-manager"], options.get("--namespace", ""))
            if error:
                return 1, "", error
        return 0, "applied\n", ""

    @staticmethod
    def kustomized(folder: str) -> list[Object]:
        return objects_in(folder, {str(file): file.read_text(encoding="utf-8") for file in Path(folder).glob("*.yaml")})

    def kubectl_kustomize(self, words: list[str], *_: Any) -> Reply:
        return 0, yaml.dump_all(self.kustomized(words[0]), sort_keys=False), ""

    def kubectl_diff(self, _: list[str], __: Any, text: str) -> Reply:
        """Whether the controllers are there as they would be applied; the stand-in knows only their versions."""
        for document in documents_in(text):
            metadata = document["metadata"]
            there = self.find(document["kind"], metadata.get("namespace", ""), metadata["name"])
            if there is None or there["metadata"].get("labels") != metadata.get("labels"):
                return 1, "a difference\n", ""
        return 0, "", ""

    def kubectl_delete(self, words: list[str], options: dict[str, str], _: str) -> Reply:
        """Delete an object, or those that a selector chooses, and the pods of a Job with it."""
        selector, place = options.get("--selector", ""), options["--namespace"]
        for key, item in list(self.objects.items()):
            if selector:
                chosen = key[1] == place and key[0] in {"Job", "Pod"} and self.matches(item, selector)
            else:
                chosen = kind_of(key[0]) == kind_of(words[0]) and key[1:] == (place, words[1])
                chosen = chosen or (kind_of(words[0]) == "job" and self.matches(item, f"job-name={words[1]}"))
            if chosen:
                del self.objects[key]
        return 0, "", ""

    def kubectl_exec(self, words: list[str], _: Any, text: str) -> Reply:
        command = words[1:]  # after "deploy/gitlab"
        if not self.world.gitlab_is_ready():
            return 1, "", "error: unable to upgrade connection: container not found\n"
        if self.pod_commands is not None:
            return self.pod_commands(command, text)
        if command[0] == "printenv":
            return (0 if self.node_ips else 1), "".join(f"{one}\n" for one in (NODE_IP, self.node_ips) if one), ""
        if command[:2] == ["gitlab-rails", "runner"] and "Notify.test_email" in command[2]:
            self.mails.append(json.loads(f"[{command[2].partition('test_email(')[2].partition(')')[0]}]"))
            return 0, f"mail=refused {self.mail_refusal}\n" if self.mail_refusal else "mail=sent\n", ""
        if command[:2] == ["gitlab-rails", "runner"]:
            name = command[2].split("'")[1]
            return 0, f"token={self.world.gitlab.new_pat(name)}\n", 'Defaulted container "gitlab" out of: gitlab\n'
        if command[:2] == ["sh", "-c"] and " du -sk " in command[2]:
            return 0, self.registry_says, ""
        if command == ["sh", "-c", "cat /etc/gitlab/ssh_host_*_key.pub"]:
            return 0, self.world.host_keys, ""
        raise ValueError(f"kubectl exec {command}")

    def kubectl_patch(self, words: list[str], options: dict[str, str], _: str) -> Reply:
        """Change an object by a JSON patch (RFC 6902)."""
        kind = next(key[0] for key in self.objects if kind_of(key[0]) == kind_of(words[0]))
        for step in json.loads(options["--patch"]):
            *path, last = step["path"].strip("/").split("/")
            part: Any = self.objects[kind, options["--namespace"], words[1]]
            for name in path:
                part = part[int(name) if name.isdigit() else name]
            if step["op"] == "remove":
                del part[last]
            else:
                part[last] = step["value"]
        return 0, "patched\n", ""

    # helm and flux

    def helm(self, arguments: list[str], folder: Path) -> Reply:
        (verb, *words), options = split(arguments)
        if verb == "version":
            return 0, self.world.versions["helm"] + "\n", ""
        if verb != "upgrade" and "gitlab" not in self.releases:
            return 1, "", "Error: release: not found\n"
        if verb == "get":
            return 0, self.releases["gitlab"], ""
        if verb == "status":
            return 0, json.dumps({"info": {"status": "deployed"}, "manifest": self.releases["gitlab"]}), ""
        manifest = self.manifest(words[0], {name: (folder / name).read_text(encoding="utf-8") for name in VALUES})
        records = [one["metadata"].get("labels", {}).get("status", "") for one in self.of_kind("Secret")]
        if "--dry-run" not in options and any(status.startswith("pending") for status in records):
            return 1, "", "Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress\n"
        if "--dry-run" not in options:
            self.install(words[0], manifest)
        return 0, json.dumps({"manifest": manifest}), ""

    def manifest(self, release: str, files: Mapping[str, str]) -> str:
        """Return what the chart makes of a lab's values: GitLab, or the Job that checks them. Other values make another one."""
        chart, values, rb = (files[name] for name in VALUES)
        checksum = hashlib.sha256(f"{chart}{values}{rb}".encode()).hexdigest()
        container = {
            "name": "gitlab",
            "image": f"gitlab/gitlab-ce:{yaml.load(values, yaml.CSafeLoader)['image']['tag']}",
        }
        pod: Object = {"containers": [container | {probe: {} for probe in PROBES}], "volumes": []}
        labels = {"app.kubernetes.io/instance": release}
        template = {"metadata": {"labels": labels, "annotations": {"checksum": checksum}}, "spec": pod}
        specs: dict[tuple[str, str], Object] = {
            ("Deployment", "gitlab"): {"selector": {"matchLabels": labels}, "template": template},
            ("Service", "gitlab-ssh"): {"type": "LoadBalancer", "ports": [{"port": self.world.settings["ssh_port"]}]},
        }
        if release == "gitlab-check":
            specs = {("Job", f"gitlab-check-{checksum[:8]}"): {"template": template}}
        place = {"namespace": self.world.settings["gitlab_namespace"], "labels": labels}
        documents = [
            {"kind": kind, "metadata": {"name": name, **place}, "spec": spec} for (kind, name), spec in specs.items()
        ]
        return "".join(f"---\n{json.dumps(one)}\n" for one in documents)

    def install(self, release: str, manifest: str) -> None:
        """Install a release as Helm does: what the one before had, and this one has not, goes."""
        new = {(one["kind"], one["metadata"]["name"]): one for one in documents_in(manifest)}
        place = {"--namespace": self.world.settings["gitlab_namespace"]}
        for one in documents_in(self.releases.get(release, "")):
            if (one["kind"], one["metadata"]["name"]) not in new:
                self.kubectl_delete([one["kind"], one["metadata"]["name"]], place, "")
        self.releases[release] = manifest
        for document in new.values():
            self.apply(document, "helm")

    def flux(self, arguments: list[str]) -> Reply:
        words, options = split(arguments)
        if words[0] == "version":
            return 0, f"flux: {self.world.versions['flux']}\n", ""
        if words[0] == "check":
            return self.world.flux_check
        release = self.objects["HelmRelease", options["--namespace"], words[2]]
        if words[0] != "reconcile":
            release["spec"]["suspend"] = words[0] == "suspend"
        if words[0] == "resume":
            self.install("gitlab", self.releases["gitlab"])
        return 0, "", ""
