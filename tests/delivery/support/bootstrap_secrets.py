"""The Secrets that the lab's program makes, asked of its own code: their types and keys, and what is in the pull secret."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.support import program


def made(lab: Path) -> dict[str, set[tuple[str, frozenset[str]]]]:
    """Return type and keys of each Secret that the program writes for a lab, by name. One name may come in several shapes.

    Read from its syntax trees: the calls of put_secret, whose values are a dictionary there, or one that is built just before.
    The runner's has a key for each of the lab's runners, that of the DNS provider what its settings name, that of the alarm what its
    channel needs, that of the backups what their target needs; that of the machines no object reads.
    """
    settings = program.settings_of(lab)
    tokens = frozenset(one.variable for one in program.runners.wanted(settings))
    found: dict[str, set[tuple[str, frozenset[str]]]] = {program.runner.SECRET: {("Opaque", tokens)}}
    if settings.dns_secret:
        found["acme-dns"] = {("Opaque", frozenset(one.partition("=")[0] for one in settings.dns_secret))}
    if settings.alerts_entry:
        found["alerts"] = {("Opaque", frozenset({settings.alerts_entry}))}
    if settings.alerts != "none":
        found["alerts-gitlab"] = {("Opaque", frozenset({"token"}))}
    if settings.backup_entries:
        found[program.backups_stage.NAME] = {("Opaque", frozenset(settings.backup_entries))}
    apart = ("alerts.py", "backups.py", "certificates.py", "machine_secrets.py")
    known = {Path(program.runner.__file__), *(program.PACKAGE / "stages" / name for name in apart)}
    for file in sorted(set((program.PACKAGE / "stages").glob("*.py")) - known):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        words = {name.id: value.value for name, value in _assigned(tree) if isinstance(value, ast.Constant)} | {
            "FLUX": "flux-system"
        }
        for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
            local = {name.id: value for name, value in _assigned(function) if isinstance(value, ast.Dict)}
            for call in [node for node in ast.walk(function) if isinstance(node, ast.Call)]:
                if not (isinstance(call.func, ast.Attribute) and call.func.attr == "put_secret") or len(call.args) < 3:
                    continue
                name, values, kind = (
                    call.args[1],
                    call.args[2],
                    call.args[3] if len(call.args) > 3 else ast.Constant("Opaque"),
                )
                content = local[values.id] if isinstance(values, ast.Name) else values
                assert isinstance(content, ast.Dict), f"{file.name}: a Secret whose keys cannot be told"
                keys = frozenset(str(_word(key, words)) for key in content.keys)
                found.setdefault(str(_word(name, words)), set()).add((str(_word(kind, words)), keys))
    return found


def _assigned(tree: ast.AST) -> Iterator[tuple[ast.Name, ast.expr]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            several = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
            pairs = zip(target.elts, value.elts, strict=True) if several else [(target, value)]
            yield from ((name, one) for name, one in pairs if isinstance(name, ast.Name))
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            yield node.target, node.value


def _word(node: ast.AST | None, words: dict[str, Any]) -> Any:
    return node.value if isinstance(node, ast.Constant) else words[node.id] if isinstance(node, ast.Name) else None


class _Cluster:
    """What a stage asks of the cluster: what is asked for is missing, and what is made is written down."""

    def __init__(self) -> None:
        self.secrets: dict[str, tuple[str, dict[str, Any]]] = {}

    def find(self, _kind: str, name: str, namespace: str = "") -> program.objects.KubeObject | None:
        found = self.secrets.get(f"{namespace}/{name}")
        if found is None:
            return None
        return program.objects.KubeObject(program.objects.secret_manifest(namespace, name, found[1], found[0]))

    def put_secret(self, namespace: str, name: str, values: dict[str, Any], kind: str = "Opaque") -> None:
        self.secrets[f"{namespace}/{name}"] = (kind, values)


class _GitLab:
    """A GitLab without tokens."""

    def deploy_tokens(self, *_: str) -> list[Any]:
        return []

    def delete_deploy_tokens(self, *_: Any) -> None:
        pass

    def make_deploy_token(self, group: str, name: str, _scopes: list[str]) -> program.gitlab.DeployToken:
        return program.gitlab.DeployToken(1, name, f"flux of {group}", program.secret.Secret(f"token of {group}"))


def pull_secrets(lab: Path, registry: str | None = None) -> dict[str, dict[str, dict[str, str]]]:
    """Run the stage `registry` of a lab against a GitLab without tokens.

    Args:
        registry: the registry's address, where it differs from the lab's.
    Returns:
        the auths of each pull secret, by `namespace/name`.
    """
    settings = program.settings_of(lab)
    if registry:
        settings = dataclasses.replace(settings, registry_address=registry)
    console, cluster = program.console(), _Cluster()
    patience = program.patience.Patience(program.environment.Limits(), console)
    made = SimpleNamespace(
        settings=settings, console=console, cluster=cluster, patience=patience, gitlab=_GitLab(), dry_run=False
    )
    program.registry.Registry(made).run()  # type: ignore[arg-type]
    found = {}
    for place, (kind, values) in cluster.secrets.items():
        assert (kind, list(values)) == ("kubernetes.io/dockerconfigjson", [".dockerconfigjson"])
        found[place] = json.loads(values[".dockerconfigjson"].reveal())["auths"]
    return dict(sorted(found.items(), reverse=True))


def registry_keys(groups: list[str], registry: str) -> list[str]:
    """Return the keys under which the stage `registry` keeps the credentials of groups, in their order."""
    return [program.registry.registry_key(registry, groups, group) for group in groups]


def credentials(auths: dict[str, dict[str, str]], image: str) -> list[dict[str, str]]:
    """Return the entries that fit an image, in the order in which the kubelet tries them; Flux knows only the first.

    Sources: kubelet, pkg/credentialprovider/keyring.go; Flux's scan, go-containerregistry pkg/authn/kubernetes/keychain.go. Both
    drop a leading `/v1/` or `/v2/` of a key's path, sort the keys backwards, compare the registry, and then whether the image's
    path begins with the key's: character by character, with no regard to where a name ends.
    """
    name = image.rpartition(":")[0] if ":" in image.rpartition("/")[2] else image
    host, _, path = name.partition("/")
    fitting = []
    for key, entry in sorted(((_effective(key), auths[key]) for key in auths), key=lambda one: one[0], reverse=True):
        key_host, _, key_path = key.partition("/")
        if key_host == host and path.startswith(key_path):
            fitting.append(entry)
    return fitting


def _effective(key: str) -> str:
    host, slash, path = key.partition("/")
    path = re.sub(r"^/v[12](?=/)", "", slash + path)
    return host if path == "/" else host + path
