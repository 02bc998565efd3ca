"""Every reference of a lab, and whether it holds.

`references` lists them as places in objects, so that a test can break each one and see `problems` notice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from extensions import facts

from .cluster import Lab, Object, namespace_of, title
from .program import node_addresses

# What every cluster with Traefik and Flux has.
BUILT_IN_NAMESPACES = {"default", "flux-system", "kube-system"}
BUILT_IN_ENTRY_POINTS = {"web", "websecure"}
MARKER = re.compile(
    r'^(?P<indent>\s*)(?P<key>\w+): (?P<value>\S+) # (?P<json>\{"\$imagepolicy": "(?P<policy>[^"]+)"\})$', re.MULTILINE
)


@dataclass(frozen=True)
class Reference:
    """One place in an object that names something else.

    Attributes:
        thing: the object's index in the lab.
        path: where in it the name stands.
        kind, namespace, name: what must exist. Kinds that are no objects: `Path`, `EntryPoint`, `SecretKey`, `Port`.
    """

    thing: int
    path: tuple[str | int, ...]
    kind: str
    namespace: str
    name: str


def bootstrap_secrets(answers: dict[str, Any]) -> dict[tuple[str, str], set[str]]:
    """Return the Secrets that the bootstrap makes, or the owner, with their keys: what manifests may refer to."""
    gitlab, apps, flux, runner = answers["gitlab_namespace"], answers["app_namespace"], "flux-system", "gitlab-runner"
    secrets: dict[tuple[str, str], set[str]] = {
        (flux, "flux-system"): {"identity", "known_hosts", "username", "password"},
        (flux, "regcred"): {".dockerconfigjson"},
        (apps, "regcred"): {".dockerconfigjson"},
        (flux, "receiver-token"): {"token"},
        (gitlab, "gitlab-root"): {"password"},
        (gitlab, "registry-webhook"): {"url"},
        (gitlab, "gitlab-env"): {"SMTP_USER_NAME", "SMTP_PASSWORD"},
    }
    if answers["age_recipients"]:
        secrets[flux, "sops-age"] = {"lab.agekey"}
    if answers["gitops_source"] == "self":
        secrets[flux, "gitlab-status"] = {"token"}
    if answers["private_ca"]:
        secrets[flux, "lab-ca"] = secrets[gitlab, "lab-ca"] = {"ca.crt"}
    if answers["runner_kind"] == "kubernetes":
        secrets[runner, "gitlab-runner-token"] = {
            one["variable"] for one in facts.Lab({"runner_home": "", "docker_version": "", **answers}).runners
        }
        if answers["private_ca"]:
            secrets[runner, "lab-ca"] = {"ca.crt"}
    if answers["alerts"] != "none":
        secrets[gitlab, "alerts-gitlab"] = {"token"}
    if facts.Lab(answers).alerts_entry:
        secrets[gitlab, "alerts"] = {facts.Lab(answers).alerts_entry}
    if facts.Lab(answers).backup_entries:
        secrets[gitlab, "backup-target"] = set(facts.Lab(answers).backup_entries)
    if answers["sign_in"] == "gitlab":
        secrets[apps, "sign-in"] = {"client-id", "client-secret", "cookie-secret"}
        if answers["private_ca"]:
            secrets[apps, "lab-ca"] = {"ca.crt"}
    if answers["docker_hub_cache"]:
        secrets[apps, "docker-hub-account"] = {"username", "password"}
    if answers["gitlab_login"] == "oidc":
        secrets[gitlab, "gitlab-login"] = {"client-secret"}
    dns = facts.Lab(answers).dns_secret
    if dns:
        secrets["cert-manager", "acme-dns"] = {one.partition("=")[0] for one in dns}
    if answers["tls_source"] == "secret":
        secrets[gitlab, answers["tls_secret_name"]] = secrets[apps, answers["tls_secret_name"]] = {"tls.crt", "tls.key"}
    return secrets


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield every scalar of an object with its path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    else:
        yield path, value


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def pod_of(thing: Object) -> tuple[tuple[str | int, ...], dict[str, Any]] | None:
    """Return the path and the spec of the pods that an object makes, if it makes any."""
    for path in (("spec", "template", "spec"), ("spec", "jobTemplate", "spec", "template", "spec")):
        try:
            return path, at(thing, path)
        except (KeyError, TypeError):
            continue
    return (("spec",), thing["spec"]) if thing["kind"] == "Pod" else None


def references(lab: Lab) -> list[Reference]:
    """Return every reference of every object in the lab."""
    found: list[Reference] = []
    for index, thing in enumerate(lab.objects):
        for path, kind, namespace, name in _of_object(thing):
            found.append(Reference(index, path, kind, namespace, name))
    return found


def _of_object(thing: Object) -> Iterator[tuple[tuple[str | int, ...], str, str, str]]:
    kind, namespace, spec = thing["kind"], namespace_of(thing), thing.get("spec", {})
    if "namespace" in thing["metadata"]:
        yield ("metadata", "namespace"), "Namespace", "", namespace
    yield from {
        "Kustomization": _kustomization,
        "HelmRelease": _helm_release,
        "GitRepository": _secret_ref,
        "ImageUpdateAutomation": _automation,
        "Receiver": _receiver,
        "Provider": _secret_ref,
        "Alert": _alert,
        "ImageRepository": _secret_ref,
        "ImagePolicy": _image_policy,
        "Ingress": _ingress,
        "IngressRoute": _routes,
        "IngressRouteTCP": _routes,
        "RoleBinding": _role_binding,
        "ClusterRoleBinding": _role_binding,
        "PersistentVolumeClaim": _claim,
        "PersistentVolume": _volume,
        "Certificate": _certificate,
        "ClusterIssuer": _cluster_issuer,
    }.get(kind, lambda *_: ())(namespace, spec if not kind.endswith("RoleBinding") else thing, thing)
    pod = pod_of(thing)
    if pod is not None:
        yield from _pod(namespace, *pod)


def _source(namespace: str, ref: dict[str, Any], path: tuple[str | int, ...]) -> Iterator[Any]:
    target = ref.get("namespace", namespace)
    yield (*path, "name"), ref["kind"], target, ref["name"]
    if "namespace" in ref:
        yield (*path, "namespace"), ref["kind"], target, ref["name"]


def _secret_ref(namespace: str, spec: dict[str, Any], thing: Object) -> Iterator[Any]:
    for key in ("secretRef", "certSecretRef"):
        if key in spec:
            yield ("spec", key, "name"), "Secret", namespace, spec[key]["name"]


def _kustomization(namespace: str, spec: dict[str, Any], thing: Object) -> Iterator[Any]:
    yield from _source(namespace, spec["sourceRef"], ("spec", "sourceRef"))
    yield ("spec", "path"), "Path", "", spec["path"]
    for index, other in enumerate(spec.get("dependsOn", [])):
        yield ("spec", "dependsOn", index, "name"), "Kustomization", namespace, other["name"]
    if "decryption" in spec:
        yield ("spec", "decryption", "secretRef", "name"), "Secret", namespace, spec["decryption"]["secretRef"]["name"]


def _helm_release(namespace: str, spec: dict[str, Any], thing: Object) -> Iterator[Any]:
    chart = ("spec", "chart", "spec")
    if "chartRef" in spec:
        yield from _source(namespace, spec["chartRef"], ("spec", "chartRef"))
        return
    yield from _source(namespace, spec["chart"]["spec"]["sourceRef"], (*chart, "sourceRef"))
    yield (*chart, "chart"), "Path", "", f"{spec['chart']['spec']['chart']}/Chart.yaml"
    for index, source in enumerate(spec.get("valuesFrom", [])):
        yield ("spec", "valuesFrom", index, "name"), source["kind"], namespace, source["name"]


def _cluster_issuer(namespace: str, spec: dict[str, Any], thing: Object) -> Iterator[Any]:
    """cert-manager looks for a ClusterIssuer's Secrets in its own namespace, whatever the object says."""
    if "ca" in spec:
        yield ("spec", "ca", "secretName"), "Secret", "cert-manager", spec["ca"]["secretName"]
    for path, value in leaves(spec.get("acme", {}).get("solvers", [])):
        if path[-1] == "name":
            yield ("spec", "acme", "solvers", *path), "Secret", "cert-manager", value


def _automation(namespace: str, spec: dict[str, Any], thing: Object) -> Iterator[Any]:
    yield from _source(namespace, spec["sourceRef"], ("spec", "sourceRef"))
    yield ("spec", "update", "path"), "Path", "", spec["update"]["path"]


def _receiver(namespace: str, spec: dict[str, Any], thing: Object) -> Iterator[Any]:
    yield from _secret_ref(namespace, spec, thing)
    for index, target in enumerate(spec["resources"]):
        if target["name"] != "*":
            yield (
                ("spec", "resources", index, "name"),
                target["kind"],
                target.get("namespace", namespace),
                target["name"],
            )


def _alert(namespace: str, spec: dict[str, Any], thing: Object) -> Iterator[Any]:
    yield ("spec", "providerRef", "name"), "Provider", namespace, spec["providerRef"]["name"]


def _image_policy(namespace: str, spec: dict[str, Any], thing: Object) -> Iterator[Any]:
    ref = spec["imageRepositoryRef"]
    yield ("spec", "imageRepositoryRef", "name"), "ImageRepository", ref.get("namespace", namespace), ref["name"]


def _ingress(namespace: str, spec: dict[str, Any], thing: Object) -> Iterator[Any]:
    for i, entry in enumerate(spec.get("tls", [])):
        if "secretName" in entry:
            yield ("spec", "tls", i, "secretName"), "Secret", namespace, entry["secretName"]
    for i, rule in enumerate(spec["rules"]):
        for j, route in enumerate(rule["http"]["paths"]):
            service, path = route["backend"]["service"], ("spec", "rules", i, "http", "paths", j, "backend", "service")
            port = next(iter(service["port"].items()))
            yield (*path, "name"), "Service", namespace, service["name"]
            yield (*path, "port", port[0]), "Port", namespace, f"{service['name']}:{port[1]}"
    annotations = thing["metadata"].get("annotations", {})
    for key, kind in (("router.entrypoints", "EntryPoint"), ("router.middlewares", "Middleware")):
        for name in filter(None, annotations.get(f"traefik.ingress.kubernetes.io/{key}", "").split(",")):
            yield from _annotation(key, kind, name.strip())


def _annotation(key: str, kind: str, name: str) -> Iterator[Any]:
    path = ("metadata", "annotations", f"traefik.ingress.kubernetes.io/{key}")
    yield path, kind, "@" if kind == "Middleware" else "", name


def _certificate(namespace: str, spec: dict[str, Any], thing: Object) -> Iterator[Any]:
    # It makes the Secret itself; under another name, the Ingress would look for it in vain.
    yield ("spec", "secretName"), "Secret", namespace, spec["secretName"]


def _routes(namespace: str, spec: dict[str, Any], thing: Object) -> Iterator[Any]:
    for index, name in enumerate(spec["entryPoints"]):
        yield ("spec", "entryPoints", index), "EntryPoint", "", name
    if spec.get("tls", {}).get("secretName"):
        yield ("spec", "tls", "secretName"), "Secret", namespace, spec["tls"]["secretName"]
    for i, route in enumerate(spec["routes"]):
        for j, service in enumerate(route["services"]):
            if service.get("kind", "Service") == "Service":
                path = ("spec", "routes", i, "services", j)
                yield (*path, "name"), "Service", namespace, service["name"]
                yield (*path, "port"), "Port", namespace, f"{service['name']}:{service['port']}"
        for j, middleware in enumerate(route.get("middlewares", [])):
            target = middleware.get("namespace", namespace)
            yield ("spec", "routes", i, "middlewares", j, "name"), "Middleware", target, middleware["name"]


def _role_binding(namespace: str, binding: Object, thing: Object) -> Iterator[Any]:
    role = binding["roleRef"]
    yield ("roleRef", "name"), role["kind"], "" if role["kind"] == "ClusterRole" else namespace, role["name"]
    for index, subject in enumerate(binding["subjects"]):
        yield ("subjects", index, "name"), subject["kind"], subject.get("namespace", namespace), subject["name"]


def _claim(namespace: str, spec: dict[str, Any], thing: Object) -> Iterator[Any]:
    if "volumeName" in spec:
        yield ("spec", "volumeName"), "PersistentVolume", "", spec["volumeName"]


def _volume(namespace: str, spec: dict[str, Any], thing: Object) -> Iterator[Any]:
    if claim := spec.get("claimRef"):
        for key in ("name", "namespace"):
            yield ("spec", "claimRef", key), "PersistentVolumeClaim", claim["namespace"], claim["name"]


def _pod(namespace: str, path: tuple[str | int, ...], pod: dict[str, Any]) -> Iterator[Any]:
    if pod.get("serviceAccountName", "default") != "default":
        yield (*path, "serviceAccountName"), "ServiceAccount", namespace, pod["serviceAccountName"]
    for index, secret in enumerate(pod.get("imagePullSecrets", [])):
        yield (*path, "imagePullSecrets", index, "name"), "Secret", namespace, secret["name"]
    for index, volume in enumerate(pod.get("volumes", [])):
        for source, key, kind in (
            ("configMap", "name", "ConfigMap"),
            ("secret", "secretName", "Secret"),
            ("persistentVolumeClaim", "claimName", "PersistentVolumeClaim"),
        ):
            if source in volume:
                yield (*path, "volumes", index, source, key), kind, namespace, volume[source][key]
        for i, one in enumerate(volume.get("projected", {}).get("sources", [])):
            here = (*path, "volumes", index, "projected", "sources", i, "secret")
            yield (*here, "name"), "Secret", namespace, one["secret"]["name"]
            for j, item in enumerate(one["secret"]["items"]):
                yield (*here, "items", j, "key"), "SecretKey", namespace, f"{one['secret']['name']}:{item['key']}"
    for group in ("initContainers", "containers"):
        for i, container in enumerate(pod.get(group, [])):
            yield from _container(namespace, (*path, group, i), container, pod)


def _container(
    namespace: str, path: tuple[str | int, ...], container: dict[str, Any], pod: dict[str, Any]
) -> Iterator[Any]:
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    for index, mount in enumerate(container.get("volumeMounts", [])):
        yield (*path, "volumeMounts", index, "name"), "Volume", "", f"{mount['name']}|{mount['name'] in volumes}"
    for index, variable in enumerate(container.get("env", [])):
        source = variable.get("valueFrom", {}).get("secretKeyRef")
        if source:
            here = (*path, "env", index, "valueFrom", "secretKeyRef")
            yield (*here, "name"), "Secret", namespace, source["name"]
            yield (*here, "key"), "SecretKey", namespace, f"{source['name']}:{source['key']}"
        source = variable.get("valueFrom", {}).get("configMapKeyRef")
        if source:
            here = (*path, "env", index, "valueFrom", "configMapKeyRef")
            yield (*here, "name"), "ConfigMap", namespace, source["name"]
            yield (*here, "key"), "ConfigMapKey", namespace, f"{source['name']}:{source['key']}"
    for index, source in enumerate(container.get("envFrom", [])):
        if "secretRef" in source:
            yield (*path, "envFrom", index, "secretRef", "name"), "Secret", namespace, source["secretRef"]["name"]


def problems(lab: Lab) -> list[str]:
    """Return what does not hold in the lab, one line each."""
    secrets = bootstrap_secrets(lab.answers)
    for certificate in lab.of_kind("Certificate"):
        secrets[namespace_of(certificate), certificate["spec"]["secretName"]] = {"tls.crt", "tls.key"}
    exists = {(thing["kind"], namespace_of(thing), thing["metadata"]["name"]) for thing in lab.objects}
    exists |= {("Secret", *name) for name in secrets}
    # The bootstrap makes it.
    nodes, gitlab = node_addresses, lab.answers["gitlab_namespace"]
    exists |= {("ConfigMap", gitlab, nodes.CONFIG_MAP), ("ConfigMapKey", gitlab, f"{nodes.CONFIG_MAP}:{nodes.KEY}")}
    exists |= {("Namespace", "", name) for name in BUILT_IN_NAMESPACES}
    exists |= {("EntryPoint", "", name) for name in entry_points(lab)}
    exists |= {("SecretKey", space, f"{name}:{key}") for (space, name), keys in secrets.items() for key in keys}
    for service in lab.of_kind("Service"):
        for port in service["spec"]["ports"]:
            for spelling in {port["port"], port["name"]}:
                exists.add(("Port", namespace_of(service), f"{service['metadata']['name']}:{spelling}"))
    for middleware in lab.of_kind("Middleware"):
        exists.add(("Middleware", "@", f"{namespace_of(middleware)}-{middleware['metadata']['name']}@kubernetescrd"))
    found = []
    for reference in references(lab):
        if reference.kind == "Path":
            holds = (lab.path / reference.name).exists()
        elif reference.kind == "Volume":
            holds = reference.name.endswith("|True")
        else:
            holds = (reference.kind, reference.namespace, reference.name) in exists
        if not holds:
            where = ".".join(map(str, reference.path))
            found.append(
                f"{title(lab.objects[reference.thing])}: {where}: no {reference.kind} {reference.namespace}/{reference.name}"
            )
    return found + chart_or_reference(lab) + selectors(lab) + markers(lab) + cycles(lab) + duplicates(lab)


def entry_points(lab: Lab) -> set[str]:
    """Return Traefik's entry points: its own, and those that the lab's settings add."""
    texts = [thing["spec"]["valuesContent"] for thing in lab.of_kind("HelmChartConfig")]
    texts += [file.read_text(encoding="utf-8") for file in (lab.path / "infrastructure").glob("traefik-values.yaml")]
    return BUILT_IN_ENTRY_POINTS.union(*map(_ports_of, texts))


@cache
def _ports_of(values: str) -> frozenset[str]:
    """Return the entry points of Traefik's values; a lab's are asked for again after each reference that a test breaks."""
    return frozenset(yaml.safe_load(values).get("ports", {}))


def chart_or_reference(lab: Lab) -> list[str]:
    """Return the releases with both or neither of chart and chartRef: the API server's CEL rule."""
    return [
        f"{title(release)}: exactly one of chart and chartRef"
        for release in lab.of_kind("HelmRelease")
        if ("chart" in release["spec"]) == ("chartRef" in release["spec"])
    ]


def _labels(lab: Lab) -> list[tuple[str, dict[str, str], set[int]]]:
    """Return namespace, labels and listening ports of every kind of pod. A port is known where a Service or probe names it."""
    found = []
    for thing in lab.objects:
        if thing["kind"] in {"Deployment", "StatefulSet"}:
            template = thing["spec"]["template"]
            ports = {port["containerPort"] for one in template["spec"]["containers"] for port in one.get("ports", [])}
            names = {port.get("name") for one in template["spec"]["containers"] for port in one.get("ports", [])}
            found.append((namespace_of(thing), template["metadata"]["labels"], ports | names))
    return found


ACME_SOLVER = {"acme.cert-manager.io/http01-solver": "true"}


def selectors(lab: Lab) -> list[str]:
    """Return Services and network rules that select no pod, or a port on which it does not listen."""
    found, pods = [], _labels(lab)
    for thing in lab.of_kind("Service") + lab.of_kind("NetworkPolicy"):
        spec = thing["spec"]
        wanted = spec["selector"] if thing["kind"] == "Service" else spec["podSelector"].get("matchLabels", {})
        if ACME_SOLVER.items() <= wanted.items():
            continue  # cert-manager makes that pod, for a minute
        if thing["kind"] == "NetworkPolicy" and not wanted:
            continue  # every pod of the namespace, those to come included
        chosen = [
            ports for space, labels, ports in pods if space == namespace_of(thing) and wanted.items() <= labels.items()
        ]
        if not chosen:
            found.append(f"{title(thing)}: selects no pod")
            continue
        ports = (
            [port.get("targetPort", port["port"]) for port in spec["ports"]]
            if thing["kind"] == "Service"
            else [port["port"] for rule in spec.get("ingress", []) for port in rule.get("ports", [])]
        )
        found += [f"{title(thing)}: nothing listens on {port}" for port in ports if port not in chosen[0]]
    return found


def markers(lab: Lab) -> list[str]:
    """Return what does not fit between image policies, the markers in the files, and the images of the releases."""
    found = []
    policies = {f"{namespace_of(one)}:{one['metadata']['name']}": one for one in lab.of_kind("ImagePolicy")}
    images = {
        (namespace_of(one), one["metadata"]["name"]): one["spec"]["image"] for one in lab.of_kind("ImageRepository")
    }
    paths = [one["spec"]["update"]["path"] for one in lab.of_kind("ImageUpdateAutomation")]
    seen = set()
    for path in paths:
        for file in sorted((lab.path / path).rglob("*.yaml")):
            text = file.read_text(encoding="utf-8")
            if text.count("$imagepolicy") != len(MARKER.findall(text)):
                found.append(f"{file.relative_to(lab.path)}: a marker that Flux does not read")
            for match in MARKER.finditer(text):
                policy, _, part = match["policy"].rpartition(":")
                seen.add(policy)
                if policy not in policies:
                    found.append(f"{file.relative_to(lab.path)}: marker of {policy}, which no ImagePolicy is")
                    continue
                ref = policies[policy]["spec"]["imageRepositoryRef"]
                image = images.get((policy.split(":")[0], ref["name"]))
                if part != match["key"] or f"repository: {image}\n" not in text:
                    found.append(f"{file.relative_to(lab.path)}: marker of {policy} beside another image than {image}")
    return found + [f"ImagePolicy {policy}: no marker" for policy in policies.keys() - seen]


def cycles(lab: Lab) -> list[str]:
    """Return Kustomizations that wait for one another."""
    waits = {
        thing["metadata"]["name"]: [other["name"] for other in thing["spec"].get("dependsOn", [])]
        for thing in lab.of_kind("Kustomization")
    }

    def reaches(start: str, goal: str, seen: frozenset[str] = frozenset()) -> bool:
        return any(
            other == goal or (other not in seen and reaches(other, goal, seen | {other}))
            for other in waits.get(start, [])
        )

    return [f"Kustomization {name}: waits for itself" for name in waits if reaches(name, name)]


def duplicates(lab: Lab) -> list[str]:
    """Return objects that two owners would apply."""
    titles = [title(thing) for thing in lab.objects]
    return [f"{name}: applied twice" for name in sorted(set(titles)) if titles.count(name) > 1]
