"""The lab's own check, .gitlab/check.py: it finds what Flux would stumble over, and lets pass what Flux takes."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import check
import pytest
import yaml
from checks import gitlab_rb
from checks.findings import Findings
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from docs.tools import lab_schemas
from tests.support.cluster import Lab
from tests.support.depth import every
from tests.support.rendering import ROOT
from tests.support.tools import run, tool

LONG = every()
SOPS = (Path(__file__).resolve().parent / "sops_secret.yaml").read_text(encoding="utf-8")
# A file's new text, a replacement in it, or None: it goes.
Change = str | tuple[str, str] | None


def changed(lab: Lab, folder: Path, changes: dict[str, Change]) -> Path:
    """Return a copy of the lab with the changes."""
    copy = shutil.copytree(lab.path, folder / "lab")
    for name, change in changes.items():
        file = copy / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if change is None:
            file.unlink()
        elif isinstance(change, str):
            file.write_text(change, encoding="utf-8")
        else:
            before = file.read_text(encoding="utf-8")
            assert change[0] in before, f"{name}: {change[0]}"
            file.write_text(before.replace(*change), encoding="utf-8")
    return copy


def judged(lab: Path) -> Findings:
    findings = Findings()
    check.inspect(lab, findings)
    return findings


def kustomization(name: str, **spec: object) -> str:
    """Return a Kustomization of Flux in the lab's own form."""
    lines = {
        "interval": "10m",
        "path": f"./apps/{name}",
        "prune": "true",
        "sourceRef": "{kind: GitRepository, name: flux-system}",
        **spec,
    }
    body = "".join(f"  {key}: {value}\n" for key, value in lines.items() if value is not None)
    return f"apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata:\n  name: {name}\n  namespace: flux-system\nspec:\n{body}"


def config(name: str, namespace: str = "default") -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: {namespace}\ndata:\n  a: b\n"


def service(name: str, port: int) -> str:
    return (
        f"apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: default\nspec:\n  type: NodePort\n  ports:\n"
        f"    - port: 80\n      nodePort: {port}\n"
    )


def ingress(name: str, host: str) -> str:
    return (
        f"apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\n  namespace: default\n  annotations:\n"
        "    traefik.ingress.kubernetes.io/router.entrypoints: websecure\nspec:\n  rules:\n"
        f"    - host: {host}\n      http:\n        paths:\n          - path: /\n            pathType: Prefix\n            backend:\n"
        "              service:\n                name: demo-http\n                port:\n                  number: 80\n"
    )


def ingress_route(name: str, host: str) -> str:
    return (
        f"apiVersion: traefik.io/v1alpha1\nkind: IngressRoute\nmetadata:\n  name: {name}\n  namespace: default\nspec:\n  entryPoints: [websecure]\n  routes:\n"
        f"    - kind: Rule\n      match: Host(`{host}`)\n      services:\n        - name: demo-http\n          port: 80\n"
    )


def http_route(name: str, host: str) -> str:
    return (
        f"apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata:\n  name: {name}\n  namespace: default\nspec:\n  parentRefs:\n    - name: traefik\n"
        f"  hostnames: [{host}]\n  rules:\n    - backendRefs:\n        - name: demo-http\n          port: 80\n"
    )


def daemon(name: str, port: int) -> str:
    return (
        f"apiVersion: apps/v1\nkind: DaemonSet\nmetadata:\n  name: {name}\n  namespace: default\nspec:\n  selector:\n    matchLabels: {{app: {name}}}\n  template:\n"
        f"    metadata:\n      labels: {{app: {name}}}\n    spec:\n      containers:\n        - name: a\n          image: a:1\n          ports:\n            - containerPort: 53\n"
        f"              hostPort: {port}\n"
    )


DEMO, RELEASE = "clusters/homelab/demo.yaml", "apps/demo/helmrelease.yaml"
SECRET = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: mail\n  namespace: default\nstringData:\n  password: hello\n"
COPY = "apps/other/kustomization.yaml"


def copied(lab: Lab, **renamed: str) -> dict[str, Change]:
    """Return what `cp -r apps/demo apps/other` and an entry in clusters/ make, with words replaced in the copy."""
    text = (lab.path / RELEASE).read_text(encoding="utf-8")
    for old, new in renamed.items():
        text = re.sub(rf"\b{old}\b", new, text)
    return {
        COPY: (lab.path / "apps/demo/kustomization.yaml").read_text(encoding="utf-8"),
        "apps/other/helmrelease.yaml": text,
        "clusters/homelab/other.yaml": kustomization("other"),
    }


# What an owner's hand may break; what the check has to say.
BROKEN: dict[str, tuple[dict[str, Change], str]] = {
    "a quote is missing in gitlab.rb": (
        {"apps/gitlab/gitlab.rb": ("'X-Forwarded-For'", "'X-Forwarded-For")},
        r"apps/gitlab/gitlab\.rb:\d+: this is no Ruby",
    ),
    "an end too many in gitlab.rb": (
        {"apps/gitlab/gitlab.rb": ("if ENV['REGISTRY_WEBHOOK_URL']", "")},
        "this is no Ruby",
    ),
    "a section that GitLab does not know": (
        {"apps/gitlab/gitlab.rb": ("prometheus_monitoring[", "promtheus_monitoring[")},
        "did you mean prometheus_monitoring",
    ),
    "a setting that GitLab does not know": (
        {"apps/gitlab/gitlab.rb": ("gitlab_rails['time_zone']", "gitlab_rails['timezone']")},
        r"gitlab\.rb:\d+: GitLab 19\.3 has no setting gitlab_rails\['timezone'\].*did you mean gitlab_rails\['time_zone'\]",
    ),
    "a name twice below clusters": (
        {"clusters/homelab/copy.yaml": kustomization("demo")},
        "Kustomization flux-system: Flux cannot build clusters/homelab",
    ),
    "no object below clusters": ({"clusters/homelab/notes.yaml": "a: 1\n"}, "Flux cannot build clusters/homelab"),
    "a key twice": ({DEMO: ("  prune: true\n", "  prune: true\n  prune: true\n")}, "prune"),
    "a key twice in the values of a release": (
        {"apps/gitlab/values.yaml": ("strategy: Recreate", "strategy: Recreate\nstrategy: RollingUpdate")},
        "the values in values.yaml of ConfigMap .* the key strategy is there twice",
    ),
    "a number for a duration": ({DEMO: ("interval: 10m", "interval: 10")}, "spec.interval: 10 is not of type 'string'"),
    "a misspelt field": ({DEMO: ("  prune:", "  prun:")}, r"'prun' was unexpected\); did you mean prune\?"),
    "a misspelt field of a release": (
        {RELEASE: ("  timeout: 5m", "  timeOut: 5m")},
        r"'timeOut' was unexpected\); did you mean timeout\?",
    ),
    "a misspelt field deep in a release": (
        {RELEASE: ("retryInterval: 1m", "retryIntervall: 1m")},
        "'retryIntervall' was unexpected",
    ),
    "a misspelt field of metadata": (
        {"apps/gitlab-check/helmrelease.yaml": ("  annotations:", "  anotations:")},
        "HelmRelease gitlab/gitlab-check: metadata: .*'anotations' was unexpected.*did you mean annotations",
    ),
    "a wrong type in metadata": (
        {DEMO: ("metadata:\n", "metadata:\n  labels:\n    team: 7\n")},
        "metadata.labels.team: 7 is not of type 'string'",
    ),
    "a misspelt value": ({RELEASE: ("targetPort: 8080", "targetPrt: 8080")}, "HelmRelease default/demo: "),
    "a value that is no choice": (
        {"apps/gitlab/values.yaml": ("strategy: Recreate", "strategy: Recreated")},
        "HelmRelease gitlab/gitlab: ",
    ),
    "a kustomization.yaml that lists one file": (
        {
            "clusters/homelab/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [demo.yaml, flux-system]\n"
        },
        r"clusters/homelab/gitlab\.yaml: clusters/homelab/kustomization\.yaml does not list it, so Flux removes Kustomization flux-system/gitlab",
    ),
    "a wrong dependsOn": (
        {DEMO: ("    - name: infrastructure", "    - name: infrastucture")},
        "spec.dependsOn names .*; did you mean Kustomization flux-system/infrastructure",
    ),
    "a circle of dependsOn": (
        {"clusters/homelab/infrastructure.yaml": ("spec:\n", "spec:\n  dependsOn:\n    - name: automation\n")},
        "goes in a circle, automation -> infrastructure -> automation",
    ),
    "a wrong sourceRef of a release": (
        {RELEASE: ("        name: flux-system\n        namespace", "        name: flux\n        namespace")},
        "spec.chart.spec.sourceRef names GitRepository flux-system/flux",
    ),
    "a wrong kind of source": (
        {RELEASE: ("kind: GitRepository", "kind: Bucket")},
        "names Bucket flux-system/flux-system",
    ),
    "a wrong sourceRef": (
        {DEMO: ("    name: flux-system", "    name: lab")},
        "spec.sourceRef names GitRepository flux-system/lab",
    ),
    "a wrong namespace": (
        {"apps/demo/kustomization.yaml": ("namespace: default", "namespace: defaul")},
        "nothing here makes the namespace defaul; did you mean default",
    ),
    "another namespace": (
        {"apps/demo/kustomization.yaml": ("namespace: default", "namespace: shop")},
        "nothing here makes the namespace shop; add a Namespace",
    ),
    "no namespace": ({"apps/demo/kustomization.yaml": ("namespace: default\n", "")}, "it has no namespace"),
    "a wrong path": (
        {"clusters/homelab/infrastructure.yaml": ("./infrastructure", "./infrastucture")},
        r"there is no folder \./infrastucture",
    ),
    "the path of another": (
        {DEMO: ("./apps/demo", "./apps/gitlab")},
        r"the Kustomizations .*gitlab.* both apply this folder",
    ),
    "a file that is listed and not there": (
        {"automation/kustomization.yaml": ("receivers.yaml", "receiver.yaml")},
        "Kustomization automation: Flux cannot build automation",
    ),
    "a chart that is not there": (
        {RELEASE: ("chart: ./charts/app", "chart: ./charts/ap")},
        "there is no chart in ./charts/ap",
    ),
    "values that are not there": (
        {"apps/gitlab/helmrelease.yaml": ("      name: gitlab-values", "      name: gitlab-value")},
        "values come from ConfigMap gitlab/gitlab-value, which nothing here makes",
    ),
    "a marker of another policy": (
        {RELEASE: ("flux-system:demo:tag", "flux-system:dmeo:tag")},
        r"apps/demo/helmrelease\.yaml:\d+: the marker names flux-system:dmeo.* did you mean flux-system:demo",
    ),
    "a marker that is no comment's whole": (
        {RELEASE: ('# {"$imagepolicy"', '# tag {"$imagepolicy"')},
        "Flux passes this marker over",
    ),
    "a marker for a part that is none": ({RELEASE: ("demo:tag", "demo:version")}, "asks for `version`"),
    "a release under another name": (
        {RELEASE: ("releaseName: demo", "releaseName: web")},
        "names flux-system:demo, and there is no such image policy.*did you mean flux-system:web",
    ),
    "a release named after its target": (
        {RELEASE: ("  releaseName: demo\n", "  targetNamespace: gitlab\n")},
        "did you mean flux-system:gitlab-demo",
    ),
    "a Secret in plain text": (
        {
            "apps/demo/mail.yaml": SECRET,
            "apps/demo/kustomization.yaml": ("resources:\n", "resources:\n  - mail.yaml\n"),
        },
        "Kustomization demo: Secret default/mail: a Secret in plain text",
    ),
    "a Secret of a generator": (
        {
            "apps/demo/kustomization.yaml": (
                "resources:\n",
                "secretGenerator:\n  - name: mail\n    literals:\n      - password=hello\nresources:\n",
            )
        },
        "a Secret in plain text",
    ),
    "a Secret in a release": (
        {
            RELEASE: (
                "    services:\n",
                "    extraObjects:\n      - apiVersion: v1\n        kind: Secret\n        metadata:\n          name: mail\n        stringData:\n          password: hello\n    services:\n",
            )
        },
        "its values make a Secret in plain text",
    ),
    "an encrypted Secret that nobody decrypts": (
        {
            "apps/demo/mail.yaml": SOPS.replace("namespace: apps", "namespace: default"),
            "apps/demo/kustomization.yaml": ("resources:\n", "resources:\n  - mail.yaml\n"),
        },
        "Flux is not told to decrypt it",
    ),
    "broken YAML": (
        {RELEASE: ("kind: HelmRelease\n", "kind: [HelmRelease\n")},
        r"Flux cannot build apps/demo|this is no YAML",
    ),
    "broken YAML below clusters": (
        {DEMO: ("kind: Kustomization\n", "kind: [Kustomization\n")},
        r"clusters/homelab/demo\.yaml: this is no YAML",
    ),
    "broken values": (
        {"apps/gitlab/values.yaml": ("strategy: Recreate", "strategy: [")},
        "the values in values.yaml of ConfigMap .* are no YAML",
    ),
    "an API that Flux has no more": (
        {RELEASE: ("helm.toolkit.fluxcd.io/v2", "helm.toolkit.fluxcd.io/v2beta2")},
        "Flux has no HelmRelease in helm.toolkit.fluxcd.io/v2beta2; write helm.toolkit.fluxcd.io/v2",
    ),
    "an API that Kubernetes has not": (
        {
            "apps/demo/x.yaml": config("x").replace("v1", "v2"),
            "apps/demo/kustomization.yaml": ("resources:\n", "resources:\n  - x.yaml\n"),
        },
        "Kubernetes has no ConfigMap in v2",
    ),
    "a node port twice": (
        {
            "infrastructure/ports.yaml": service("a", 30080) + "---\n" + service("b", 30080),
            "infrastructure/kustomization.yaml": ("resources:\n", "resources:\n  - ports.yaml\n"),
        },
        "node port 30080/TCP: Service default/a .* and Service default/b .* both claim it",
    ),
    "a host twice": (
        {
            "infrastructure/web.yaml": ingress("web", "demo.lab"),
            "infrastructure/kustomization.yaml": ("resources:\n", "resources:\n  - web.yaml\n"),
        },
        r"host demo\.lab, path /, at websecure: .*Ingress default/web .*both claim it|host demo\.lab, path /, at websecure: Ingress default/web",
    ),
    "a host port twice": (
        {
            "infrastructure/ports.yaml": daemon("a", 53) + "---\n" + daemon("b", 53),
            "infrastructure/kustomization.yaml": ("resources:\n", "resources:\n  - ports.yaml\n"),
        },
        "host port 53/TCP: DaemonSet default/a .* and DaemonSet default/b .* both claim it",
    ),
    "a host twice, in routes of Traefik's own": (
        {
            "infrastructure/web.yaml": ingress_route("a", "web.lab") + "---\n" + ingress_route("b", "web.lab"),
            "infrastructure/kustomization.yaml": ("resources:\n", "resources:\n  - web.yaml\n"),
        },
        "host web.lab, path /, at websecure: IngressRoute default/a .* and IngressRoute default/b .* both claim it",
    ),
    "a host in an Ingress and in a route of Traefik's own": (
        {
            "infrastructure/web.yaml": ingress_route("web", "demo.lab"),
            "infrastructure/kustomization.yaml": ("resources:\n", "resources:\n  - web.yaml\n"),
        },
        "host demo.lab, path /, at websecure: (Ingress.* and IngressRoute|IngressRoute.* and Ingress) .* both claim it",
    ),
    "a host twice, in routes of a gateway": (
        {
            "infrastructure/web.yaml": http_route("a", "web.lab") + "---\n" + http_route("b", "web.lab"),
            "infrastructure/kustomization.yaml": ("resources:\n", "resources:\n  - web.yaml\n"),
        },
        "host web.lab, path /, at traefik/: HTTPRoute default/a .* and HTTPRoute default/b .* both claim it",
    ),
    "a Service that is not there": (
        {
            "infrastructure/web.yaml": ingress("web", "web.lab").replace("name: demo-http", "name: demo-htp"),
            "infrastructure/kustomization.yaml": ("resources:\n", "resources:\n  - web.yaml\n"),
        },
        "spec.rules names Service default/demo-htp, which nothing here makes; did you mean Service default/demo-http",
    ),
    "no entry": (
        {"clusters/homelab/flux-system/sync.yaml": ("path: ./clusters/homelab", "path: ./clusters/home")},
        "no Kustomization in it has the path ./clusters/homelab",
    ),
    "a private key": ({"ca.crt": "-----BEGIN PRIVATE KEY-----\n"}, "ca.crt: it holds a private key"),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.deep(keep=5)
def test_the_check_finds_what_breaks_a_lab(article: Lab, tmp_path: Path, case: str) -> None:
    changes, said = BROKEN[case]
    findings = judged(changed(article, tmp_path, changes))
    assert any(re.search(said, fault, re.DOTALL) for fault in findings.faults), findings.faults


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize(
    ("file", "pattern", "said"),
    [
        (".sourceignore", "/apps/demo/", "apps/demo"),
        ("apps/demo/.sourceignore", "helmrelease.yaml", "helmrelease.yaml"),
        (".sourceignore", "/notes/", ""),
    ],
)
def test_the_check_finds_what_is_kept_from_flux(
    article: Lab, tmp_path: Path, file: str, pattern: str, said: str
) -> None:
    """By Git's own reading of the patterns, which is Flux's."""
    lab = changed(
        article, tmp_path, {file: f"# mine\n{pattern}\n", "notes/kustomization.yaml": "kind: Kustomization\n"}
    )
    run("git", "init", "--quiet", cwd=lab)
    run("git", "add", "--all", cwd=lab)
    faults = judged(lab).faults
    assert any(said in fault for fault in faults) if said else not faults, faults


@pytest.mark.slow
def test_the_check_finds_a_copied_folder_whose_release_is_not_renamed(article: Lab, tmp_path: Path) -> None:
    """The older of two HelmReleases of one name vanishes, and everything is Ready."""
    faults = judged(changed(article, tmp_path, copied(article))).faults
    assert any(
        fault.startswith("HelmRelease default/demo: Kustomization demo and Kustomization other both bring it")
        for fault in faults
    ), faults


@pytest.mark.deep
def test_the_check_finds_a_copied_folder_whose_marker_or_host_is_still_the_firsts(article: Lab, tmp_path: Path) -> None:
    changes = copied(article, demo="other")
    assert judged(changed(article, tmp_path / "right", changes)).faults == []
    text = str(changes["apps/other/helmrelease.yaml"])
    for number, (old, new, said) in enumerate(
        [
            (
                "flux-system:other:tag",
                "flux-system:demo:tag",
                "the marker names flux-system:demo, whose images are .*/demo, and stands at .*/other",
            ),
            ("other.lab", "demo.lab", "host demo.lab, path /.*Ingress default/.* both claim it"),
            (
                "releaseName: other",
                "releaseName: demo",
                "the Helm release demo in default: HelmRelease default/demo and HelmRelease default/other are both it",
            ),
        ]
    ):
        assert old in text
        lab = changed(
            article, tmp_path / str(number), {**changes, "apps/other/helmrelease.yaml": text.replace(old, new)}
        )
        assert any(re.search(said, fault) for fault in judged(lab).faults), (said, judged(lab).faults)


# Keys that are the owner's own words, and what stands below them.
WORDS = {
    "annotations",
    "configMaps",
    "data",
    "env",
    "items",
    "labels",
    "limits",
    "matchLabels",
    "requests",
    "stringData",
}


def names(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    """Yield the names of fields in a document of YAML, without those that the owner makes up."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            if key.value not in WORDS:
                yield from names(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from names(value)


def slips(text: str) -> list[tuple[int, int]]:
    """Return where each name of a field begins and ends."""
    nodes = [
        node for document in yaml.compose_all(text, yaml.SafeLoader) if document is not None for node in names(document)
    ]
    return [
        (node.start_mark.index, node.end_mark.index) for node in nodes if len(node.value) > 2 and node.style is None
    ]


@pytest.mark.deep
def test_the_check_finds_any_slip_of_the_pen_in_a_field(article: Lab, tmp_path: Path) -> None:
    """Whichever field of Flux's objects, of the release's values and of metadata, and whichever letter."""
    lab = shutil.copytree(article.path, tmp_path / "lab")
    files = [*sorted((lab / "clusters/homelab").glob("*.yaml")), *sorted((lab / "apps").glob("*/helmrelease.yaml"))]
    places = [(file, *place) for file in files for place in slips(file.read_text(encoding="utf-8"))]
    assert len(places) > 150

    @given(st.sampled_from(places), st.integers(0, 30), st.sampled_from(["left out", "twice", "another"]))
    @settings(
        max_examples=300 if LONG else 12,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    def is_found(place: tuple[Path, int, int], at: int, slip: str) -> None:
        file, start, end = place
        text = file.read_text(encoding="utf-8")
        letter = start + at % (end - start)
        wrong = {"left out": "", "twice": text[letter] * 2, "another": "q" if text[letter] != "q" else "x"}[slip]
        file.write_text(text[:letter] + wrong + text[letter + 1 :], encoding="utf-8")
        try:
            assert judged(lab).faults, f"{file.relative_to(lab)}: {text[start:letter]}{wrong}{text[letter + 1 : end]}"
        finally:
            file.write_text(text, encoding="utf-8")

    is_found()


MARKED = '      tag: v0.1.0 # {"$imagepolicy": "flux-system:demo:tag"}\n'
GIT = "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata:\n  name: more\n  namespace: flux-system\nspec:\n  interval: 1h\n  url: https://git.example.com/more.git\n"
LISTS = ("resources:\n", "resources:\n  - more.yaml\n")
POD = (
    "apiVersion: v1\nkind: Pod\nmetadata:\n  name: more\n  namespace: default\nspec:\n  containers:\n    - name: a\n"
    '      image: registry.lab/homelab/demo:v0.1.0 # {"$imagepolicy": "flux-system:demo"}\n'
)
# What Flux takes, and its documentation shows.
RIGHT: dict[str, dict[str, Change]] = {
    "nothing changed": {},
    "a Service of a chart from elsewhere": {
        "clusters/homelab/more.yaml": kustomization("more"),
        "apps/more/a.yaml": "apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmRepository\nmetadata:\n  name: charts\n  namespace: default\nspec:\n  interval: 1h\n  url: https://charts.example.com\n"
        "---\napiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata:\n  name: more\n  namespace: default\nspec:\n  interval: 1h\n  chart:\n    spec:\n      chart: more\n"
        "      version: 1.x\n      sourceRef:\n        kind: HelmRepository\n        name: charts\n---\n"
        + ingress("more", "more.lab").replace("demo-http", "more"),
    },
    "two blanks before the marker": {RELEASE: ("v0.1.0 #", "v0.1.0  #")},
    "a marker without blanks": {RELEASE: ('# {"$imagepolicy": "flux', '#{"$imagepolicy":"flux')},
    "a tag in quotes": {RELEASE: ("tag: v0.1.0", 'tag: "v0.1.0"')},
    "a marker for name and tag in one line": {"apps/demo/more.yaml": POD, "apps/demo/kustomization.yaml": LISTS},
    "a marker for the name": {
        RELEASE: (
            "repository: registry.lab/homelab/demo",
            'repository: registry.lab/homelab/demo # {"$imagepolicy": "flux-system:demo:name"}',
        )
    },
    "a marker in a list": {
        "apps/demo/more.yaml": config("more"),
        "apps/demo/kustomization.yaml": (
            "resources:\n",
            'images:\n  - name: registry.lab/homelab/demo\n    newTag: v0.1.0 # {"$imagepolicy": "flux-system:demo:tag"}\nresources:\n  - more.yaml\n',
        ),
    },
    "tag and digest, which Flux writes in one commit": {
        RELEASE: (MARKED, MARKED + '      digest: "" # {"$imagepolicy": "flux-system:demo:digest"}\n')
    },
    "a marker taken off, to hold a version": {RELEASE: (MARKED, "      tag: v0.1.0\n")},
    "a comment about markers": {
        RELEASE: ("  values:\n", '  values:\n    # tag: 1 # {"$imagepolicy": "flux-system:nobody:tag"}\n')
    },
    "an encrypted Secret": {
        "apps/demo/more.yaml": SOPS.replace("namespace: apps", "namespace: default"),
        "apps/demo/kustomization.yaml": LISTS,
        DEMO: ("spec:\n", "spec:\n  decryption:\n    provider: sops\n    secretRef:\n      name: sops-age\n"),
    },
    "values from an encrypted Secret": {
        "apps/demo/more.yaml": SOPS.replace("namespace: apps", "namespace: default"),
        "apps/demo/kustomization.yaml": LISTS,
        DEMO: ("spec:\n", "spec:\n  decryption:\n    provider: sops\n"),
        RELEASE: ("  values:\n", "  valuesFrom:\n    - kind: Secret\n      name: mail\n  values:\n"),
    },
    "values from a Secret in the cluster": {
        RELEASE: ("  values:\n", "  valuesFrom:\n    - kind: Secret\n      name: mail\n  values:\n")
    },
    "another GitRepository": {
        "clusters/homelab/more.yaml": GIT
        + "---\n"
        + kustomization("more", path="./deploy", sourceRef="{kind: GitRepository, name: more}"),
    },
    "a folder without kustomization.yaml": {
        "apps/more/a.yaml": config("a"),
        "apps/more/below/b.yml": config("b"),
        "clusters/homelab/more.yaml": kustomization("more"),
    },
    "a Kustomization in a folder of clusters": {
        "apps/more/a.yaml": config("a"),
        "clusters/homelab/mine/more.yaml": kustomization("more"),
    },
    "a whole kustomization.yaml below clusters": {
        "clusters/homelab/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [flux-system, automation.yaml, demo.yaml,"
        " gitlab-check.yaml, gitlab.yaml, infrastructure.yaml]\n",
    },
    "a target namespace and patches": {
        "apps/more/a.yaml": config("a").replace("  namespace: default\n", ""),
        "clusters/homelab/more.yaml": kustomization(
            "more",
            targetNamespace="gitlab",
            patches='[{target: {kind: ConfigMap}, patch: "[{\\"op\\": \\"add\\", \\"path\\": \\"/data/c\\", \\"value\\": \\"d\\"}]"}]',
            commonMetadata="{labels: {team: home}}",
            dependsOn="[{name: infrastructure, readyExpr: 'has(dep.status.lastAppliedRevision)'}]",
        ),
    },
    "one folder for two namespaces": {
        "apps/more/a.yaml": config("a").replace("  namespace: default\n", ""),
        "clusters/homelab/more.yaml": "---\n".join(
            kustomization(name, path="./apps/more", targetNamespace=name) for name in ("gitlab", "default")
        ).replace("name: gitlab\n", "name: one\n", 1),
    },
    "a release without waiting": {RELEASE: ("  timeout: 5m\n", "  timeout: 5m\n  waitStrategy:\n    name: legacy\n")},
    "variables": {
        "apps/more/a.yaml": config("a").replace("a: b", 'a: ${word:=b} $${kept}\n  number: "${port}"'),
        "clusters/homelab/more.yaml": kustomization(
            "more",
            postBuild='{substitute: {port: "80"}, substituteFrom: [{kind: Secret, name: hidden, optional: true}]}',
        ),
    },
    "a chart from elsewhere": {
        "clusters/homelab/more.yaml": kustomization("more"),
        "apps/more/a.yaml": "apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmRepository\nmetadata:\n  name: charts\n  namespace: default\nspec:\n  interval: 1h\n  url: https://charts.example.com\n"
        "---\napiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata:\n  name: more\n  namespace: default\nspec:\n  interval: 1h\n  chart:\n    spec:\n      chart: more\n"
        "      version: 1.x\n      sourceRef:\n        kind: HelmRepository\n        name: charts\n",
    },
    "a kind that nobody here knows": {
        "clusters/homelab/more.yaml": kustomization("more"),
        "apps/more/a.yaml": "apiVersion: longhorn.io/v1beta2\nkind: RecurringJob\nmetadata:\n  name: nightly\n  namespace: default\nspec:\n  cron: 0 3 * * *\n",
    },
    "a kind that Git defines": {
        "clusters/homelab/more.yaml": kustomization("more"),
        "apps/more/a.yaml": "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: things.lab.example.com\nspec:\n  group: lab.example.com\n"
        "  names: {kind: Thing, plural: things}\n  scope: Cluster\n  versions:\n    - name: v1\n      served: true\n      storage: true\n      schema:\n        openAPIV3Schema:\n"
        "          type: object\n          properties:\n            spec: {type: object, properties: {size: {type: integer}, port: {x-kubernetes-int-or-string: true}}}\n"
        "---\napiVersion: lab.example.com/v1\nkind: Thing\nmetadata:\n  name: one\nspec:\n  size: 1\n  port: http\n",
    },
    "the same host at other entry points and paths": {
        "infrastructure/more.yaml": ingress("a", "more.lab")
        + "---\n"
        + ingress("b", "more.lab").replace("path: /\n", "path: /b\n")
        + "---\n"
        + ingress("c", "more.lab").replace("entrypoints: websecure", "entrypoints: web")
        + "---\n"
        + ingress_route("d", "more.lab").replace("`)", "`) && PathPrefix(`/d`)")
        + "---\n"
        + http_route("e", "more.lab"),
        "infrastructure/kustomization.yaml": LISTS,
    },
    "a setting of the owner's own in gitlab.rb": {
        "apps/gitlab/gitlab.rb": (
            "external_url",
            "me = 'x'\ngitlab_rails['gitlab_default_theme'] = me.size\nexternal_url",
        )
    },
}


@pytest.mark.parametrize("case", RIGHT)
@pytest.mark.deep(keep=2)
def test_the_check_lets_pass_what_flux_takes(article: Lab, tmp_path: Path, case: str) -> None:
    assert judged(changed(article, tmp_path, RIGHT[case])).faults == []


@pytest.mark.slow
def test_the_check_says_what_it_did_not_judge(article: Lab, tmp_path: Path) -> None:
    for case, said in (
        ("nothing changed", None),
        ("values from an encrypted Secret", "Secret default/mail, which is encrypted"),
        ("another GitRepository", "which is not this repository"),
        ("a chart from elsewhere", "its chart is not in this repository"),
        ("a kind that nobody here knows", "longhorn.io/v1beta2 RecurringJob"),
        ("variables", "which is not in Git"),
    ):
        unjudged = [
            what
            for what in judged(changed(article, tmp_path / case, RIGHT[case])).unjudged
            if "what was pushed before" not in what
        ]
        assert (unjudged == []) if said is None else any(said in what for what in unjudged), (case, unjudged)


def test_the_check_names_an_application_that_flux_does_not_apply(article: Lab, tmp_path: Path) -> None:
    changes = copied(article, demo="other")
    del changes["clusters/homelab/other.yaml"]
    assert any(
        "no Kustomization below clusters/ has the path ./apps/other" in what
        for what in judged(changed(article, tmp_path, changes)).unjudged
    )


def test_a_kind_that_git_defines_is_judged_by_its_definition(article: Lab, tmp_path: Path) -> None:
    changes = dict(RIGHT["a kind that Git defines"])
    changes["apps/more/a.yaml"] = str(changes["apps/more/a.yaml"]).replace("size: 1\n", "sise: 1\n")
    assert any("'sise' was unexpected" in fault for fault in judged(changed(article, tmp_path, changes)).faults)


@pytest.mark.parametrize(
    "edit",
    [
        ("templates/deployment.yaml", lambda text: text + "# more\n"),
        ("values.yaml", lambda text: text + "# more\n"),
        ("templates/new.yaml", lambda _: ""),
    ],
)
@pytest.mark.deep(keep=1)
def test_a_chart_that_changed_needs_a_new_version(
    article: Lab, tmp_path: Path, edit: tuple[str, Callable[[str], str]]
) -> None:
    lab = changed(article, tmp_path, {})
    for command in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "-m", "The lab")):
        assert run(tool("git"), *command, cwd=lab).returncode == 0
    findings = judged(lab)
    assert findings == Findings()
    file = lab / "charts/app" / edit[0]
    file.write_text(edit[1](file.read_text(encoding="utf-8") if file.exists() else ""), encoding="utf-8")
    (fault,) = judged(lab).faults
    assert fault.startswith(f"charts/app: {edit[0]} changed, and Chart.yaml still says version ")
    chart = lab / "charts/app/Chart.yaml"
    chart.write_text(re.sub("(?m)^version: .*", "version: 99.0.0", chart.read_text(encoding="utf-8")), encoding="utf-8")
    assert judged(lab) == Findings()


@pytest.mark.slow
def test_what_counts_as_before_is_what_the_pipeline_says(
    article: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = changed(article, tmp_path, {})

    def commit(name: str) -> str:
        assert run(tool("git"), "add", "--all", cwd=lab).returncode == 0
        assert run(tool("git"), "commit", "--quiet", "--allow-empty", "-m", name, cwd=lab).returncode == 0
        return run(tool("git"), "rev-parse", "HEAD", cwd=lab).stdout.strip()

    assert run(tool("git"), "init", "--quiet", cwd=lab).returncode == 0
    first = commit("first")
    (lab / "charts/app/values.yaml").write_text(
        (lab / "charts/app/values.yaml").read_text(encoding="utf-8") + "# more\n", encoding="utf-8"
    )
    commit("second")
    assert judged(lab) == Findings()
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("CI_COMMIT_BEFORE_SHA", first)
    assert len(judged(lab).faults) == 1
    monkeypatch.setenv("CI_COMMIT_BEFORE_SHA", "0" * 40)
    assert judged(lab).unjudged == [
        "whether a changed chart has a new version: Git does not say what was pushed before"
    ]
    monkeypatch.setenv("CI_MERGE_REQUEST_DIFF_BASE_SHA", first)
    assert len(judged(lab).faults) == 1


def test_what_git_ignores_is_not_judged(article: Lab, tmp_path: Path) -> None:
    lab = changed(
        article,
        tmp_path,
        {
            "clusters/homelab/notes.orig": "a: 1\n",
            "clusters/homelab/mine.yaml": "a: 1\n",
            ".git/info/exclude": "mine.yaml\n",
        },
    )
    assert run(tool("git"), "init", "--quiet", cwd=lab).returncode == 0
    assert judged(lab).faults == []


@pytest.mark.deep
def test_ruby_and_the_check_agree_on_what_is_no_gitlab_rb(article: Lab) -> None:
    """Every line of gitlab.rb is left out once, and every quote, bracket and word of its grammar."""
    text = (article.path / "apps/gitlab/gitlab.rb").read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    variants = ["".join(lines[:number] + lines[number + 1 :]) for number in range(len(lines))]
    variants += [
        text[: match.start()] + text[match.end() :] for match in re.finditer(r"['\[\]{}]|\b(if|end|=>)\b", text)
    ]
    variants += [
        text[: match.start()] + extra + text[match.start() :]
        for match in re.finditer(r"\n", text)
        for extra in ("'", "]", " end")
    ]
    script = "require 'json'; JSON.parse($stdin.read).each { |s| begin; RubyVM::InstructionSequence.compile(s); puts 1; rescue SyntaxError; puts 0; end }"
    done = subprocess.run(
        [tool("ruby"), "--disable=gems", "-W0", "-e", script],
        input=json.dumps(variants),
        capture_output=True,
        text=True,
        check=True,
    )
    ruby = [line == "1" for line in done.stdout.split()]
    found = [not list(gitlab_rb.syntax_errors(variant.encode())) for variant in variants]
    assert ruby.count(False) > 200
    assert [variant for variant, right, ours in zip(variants, ruby, found, strict=True) if right != ours] == []


@pytest.mark.deep(keep=4)
def test_the_check_knows_the_sections_that_gitlab_knows(lab: Lab) -> None:
    known = (ROOT / "tests/keys/gitlab_rb_sections.txt").read_text(encoding="utf-8").split()
    assert set(known) == gitlab_rb.SECTIONS
    assert list(gitlab_rb.unknown_sections((lab.path / "apps/gitlab/gitlab.rb").read_bytes())) == []


def test_a_misspelt_setting_of_gitlab_is_told_and_every_right_one_passes() -> None:
    """GitLab itself says nothing of a setting that it does not know."""
    known = [
        one
        for one in gitlab_rb._KEYS.read_text(encoding="utf-8").split("\n")
        if one.partition("[")[0] in gitlab_rb.SECTIONS
    ]
    right = "".join(f"{one} = 1\n" for one in known)
    chance = random.Random()
    wrong = []
    for one in chance.sample(known, 40):
        section, key = one.removesuffix("']").split("['")
        place = chance.randrange(len(key))
        misspelt = f"{section}['{key[:place]}{key[place + 1 :]}']"
        if misspelt not in known and len(key) > 3:
            wrong.append(misspelt)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "apps").mkdir()
        (Path(folder) / "apps" / "gitlab.rb").write_text(right, encoding="utf-8")
        findings = Findings()
        gitlab_rb.check(Path(folder), findings)
        assert (findings.faults, findings.unjudged) == ([], [])
        # A variable of the file's own is no section, whatever it is called.
        (Path(folder) / "apps" / "gitlab.rb").write_text(
            "[{}].each { |nginx| nginx['listen_prt'] = 1 }\n", encoding="utf-8"
        )
        gitlab_rb.check(Path(folder), findings)
        assert (findings.faults, findings.unjudged) == ([], [])
        (Path(folder) / "apps" / "gitlab.rb").write_text(
            "".join(f"{one.replace(chr(39), chr(34))} = 1\n" for one in wrong), encoding="utf-8"
        )
        gitlab_rb.check(Path(folder), findings)
    said = "\n".join(str(one) for one in [*findings.faults, *findings.unjudged])
    assert [one for one in wrong if f"apps/gitlab.rb:{wrong.index(one) + 1}: " not in said or one not in said] == []
    assert len(findings.faults) >= 0.8 * len(wrong), "a setting that is nearly right is named"


def test_the_check_takes_the_schemas_of_the_tests_along() -> None:
    assert lab_schemas.TARGET.read_text(encoding="utf-8") == lab_schemas.shipped(), (
        "run: .venv/bin/python docs/tools/lab_schemas.py"
    )


@pytest.mark.deep(keep=4)
def test_the_check_finds_no_fault_in_any_lab(lab: Lab) -> None:
    findings = judged(lab.path)
    assert findings.faults == []
    assert {what for what in findings.unjudged if "pushed before" not in what} <= {
        "HelmRelease gitlab-runner/gitlab-runner: its chart is not in this repository",
        # The schema of an issuer has the pods of HTTP-01 in it: half a megabyte. The cluster tests judge it.
        "HelmRelease cert-manager/cert-manager: its chart is not in this repository",
        "the fields of each cert-manager.io/v1 ClusterIssuer: no schema of it is here",
    }


@pytest.mark.slow
def test_the_check_runs_by_itself_and_says_what_it_read(article: Lab) -> None:
    done = run(sys.executable, article.path / ".gitlab/check.py", cwd="/")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        r"(Not judged: .*\n)*6 Kustomizations, 3 releases, \d+ objects, as Flux will read them: no fault\.\n",
        done.stdout,
    )
    assert not list((article.path / ".gitlab").rglob("__pycache__"))


def test_the_check_ends_with_1_and_its_faults_without_a_traceback(article: Lab, tmp_path: Path) -> None:
    lab = changed(
        article,
        tmp_path,
        {DEMO: ("kind: Kustomization\n", "kind: [Kustomization\n"), RELEASE: ("targetPort", "targetPrt")},
    )
    done = run(sys.executable, lab / ".gitlab/check.py", cwd="/")
    assert (
        done.returncode == 1
        and "Traceback" not in done.stderr
        and "clusters/homelab/demo.yaml: this is no YAML" in done.stderr
    )


@pytest.mark.deep
def test_a_name_that_others_have_pushed_moves_no_cursor_when_the_check_quotes_it(article: Lab, tmp_path: Path) -> None:
    """Git takes any byte in a file's name but NUL and the slash."""
    lab = changed(article, tmp_path, {"apps/WORDS\x1b]0;title\x07\x1b[2J\u202e\x9b1m.yaml": "a:  1\n"})
    done = run(sys.executable, lab / ".gitlab/check.py", cwd="/")
    assert done.returncode == 1 and "WORDS" in done.stderr
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", done.stdout + done.stderr)


def test_the_check_brings_its_tools_along_in_the_versions_that_these_tests_use(article: Lab) -> None:
    header = dict(
        re.findall(
            r'^#   "(.*)==(.*)",$', (article.path / ".gitlab/check.py").read_text(encoding="utf-8"), re.MULTILINE
        )
    )
    pinned = dict(
        re.findall(r"^([\w.-]+)==([\w.-]+)", (ROOT / "requirements/test.txt").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert header == {name: pinned[name] for name in header} and header
    imported = {
        "helm_python",
        "jsonschema",
        "kubernetes_validate",
        "referencing",
        "tree_sitter",
        "tree_sitter_ruby",
        "yaml",
    }
    used = set()
    for file in [article.path / ".gitlab/check.py", *(article.path / ".gitlab/checks").glob("*.py")]:
        used |= (
            set(re.findall(r"^(?:from|import) (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE))
            - sys.stdlib_module_names
            - {"checks", "lab_program"}
        )
    assert used == imported


@pytest.mark.slow
def test_the_check_notices_bad_yaml_and_bad_scripts_and_leaves_sops_files_alone(article: Lab, tmp_path: Path) -> None:
    lab = changed(article, tmp_path, {"a.yaml": "a:  1\n", "a.sh": "#!/usr/bin/env bash\necho $1\n", "b.yaml": SOPS})
    done = run(sys.executable, lab / ".gitlab/check.py", cwd="/")
    assert "too many spaces after colon" in done.stderr and "SC2086" in done.stderr and "b.yaml" not in done.stderr
