"""The Secrets that the bootstrap makes, asked of its own scripts: their types and keys, and what is in the pull secret."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

from support.rendering import ROOT

SCRIPTS = sorted((ROOT / "template/bootstrap").rglob("*.sh"))
# put_secret NAMESPACE NAME TYPE KEY VALUE...; a name and a type that are words, not variables.
_CALL = re.compile(r"^[^#\n]*(?:put_secret|secret_manifest) (?P<rest>\"?[$\w{}-]+\"? [\w-]+ [\w./-]+ .*)", re.M)
# Stands for the cluster and GitLab while one stage runs: what it asks for is missing, and what it makes is written down.
HARNESS = r"""
set -euo pipefail
LAB_DIR=$1 OUT=$2
source "$LAB_DIR/bootstrap/lab.sh"
for script in secrets kube gitlab_api; do source "$LAB_DIR/bootstrap/lib/$script.sh"; done
source "$LAB_DIR/bootstrap/stages/registry.sh"
dry_run() { return 1; }
hide_secret() { :; }
have() { :; }
did() { :; }
gitlab_login() { :; }
ensure_namespace() { :; }
settle() { shift; "$@"; }
api_expect() { :; }
api_list() { API_BODY='[]'; }
api() {
  local group=${2#/groups/}
  group=${group%/deploy_tokens} && group=${group//%2F/\/}
  API_BODY=$(json_object username "flux of $group" token "token of $group")
}
kube_get() { KUBE_OUT=$(cat "$OUT/$3.$2" 2>/dev/null || true); }
kube_apply() { local name=${1#Secret }; printf '%s' "$2" >"$OUT/${name/\//.}"; }
stage_registry
"""


def made() -> dict[str, set[tuple[str, frozenset[str]]]]:
    """Return type and keys of each Secret that a script writes, by name. One name may come in several shapes."""
    found: dict[str, set[tuple[str, frozenset[str]]]] = {}
    for script in SCRIPTS:
        for match in _CALL.finditer(script.read_text(encoding="utf-8").replace("\\\n", " ")):
            words = re.findall(r'"(?:\$\((?:[^()]|\([^()]*\))*\)|[^"])*"|\S+', match["rest"])
            _, name, kind, *pairs = words
            keys = [key for key in pairs[::2] if re.fullmatch(r"[\w.-]+", key)]
            found.setdefault(name, set()).add((kind, frozenset(keys)))
    return found


def pull_secrets(lab: Path, work: Path, registry: str | None = None) -> dict[str, dict[str, dict[str, str]]]:
    """Run the bootstrap's stage `registry` of a lab against a GitLab without tokens.

    Args:
        registry: the registry's address, where it differs from the lab's.
    Returns:
        the auths of each pull secret, by `namespace/name`.
    """
    copy = work / "lab"
    shutil.copytree(lab / "bootstrap", copy / "bootstrap")
    if registry:
        settings = copy / "bootstrap/lab.sh"
        settings.write_text(re.sub(r"(REGISTRY_ADDRESS)=.*", rf"\1={registry}", settings.read_text(encoding="utf-8")), encoding="utf-8")
    out = work / "secrets"
    out.mkdir()
    done = subprocess.run(["bash", "-c", HARNESS, "bash", copy, out], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {}
    for file in sorted(out.iterdir()):
        secret = json.loads(file.read_text(encoding="utf-8"))
        assert (secret["type"], list(secret["data"])) == ("kubernetes.io/dockerconfigjson", [".dockerconfigjson"])
        config = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))
        found[f"{secret['metadata']['namespace']}/{secret['metadata']['name']}"] = config["auths"]
    return found


def registry_keys(groups: list[str], registry: str) -> list[str]:
    """Return the keys under which the stage `registry` keeps the credentials of groups, in their order."""
    script = 'source "$1"; REGISTRY_ADDRESS=$2; shift 2; GITLAB_GROUPS=("$@"); for g in "$@"; do registry_key "$g"; echo; done'
    stage = ROOT / "template/bootstrap/stages/registry.sh"
    done = subprocess.run(["bash", "-euc", script, "bash", stage, registry, *groups], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


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
