"""A world's state with every random part replaced by what it stands for, so that two worlds can be compared."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.bootstrap.support.lab_world import World

# What GitLab keeps, and what of it counts. What belongs to a project or a group carries its name as "of".
SHOWN = {
    "groups": "full_path visibility",
    "projects": "path_with_namespace visibility default_branch ci_push_repository_for_job_token_allowed",
    "deploy_tokens": "name scopes token username",
    "project_tokens": "name scopes access_level token",
    "deploy_keys": "title key can_push",
    "protected_tags": "name",
    "variables": "key value masked hidden protected",
    "tag_rules": "tag_name_pattern minimum_access_level_for_push",
    "hooks": "url token",
    "runners": "description runner_type status token",
    "tags": "name",
    "accounts": "username email is_admin",
    "account_keys": "title key",
    "members": "username access_level",
}


def summary(world: World) -> dict[str, Any]:
    text = json.dumps(outcome(world), sort_keys=True, default=str)
    for secret, meaning in sorted(meanings(world).items(), key=lambda pair: -len(pair[0])):
        text = text.replace(json.dumps(secret)[1:-1], f"<{meaning}>")
    return json.loads(text)  # type: ignore[no-any-return]


def owners(world: World) -> dict[int, str]:
    """Return the names of GitLab's projects and groups."""
    items = [*world.gitlab.projects, *world.gitlab.groups]
    return {one["id"]: one.get("path_with_namespace") or one["full_path"] for one in items}


def meanings(world: World) -> dict[str, str]:
    gitlab, cluster, names = world.gitlab, world.cluster, owners(world)
    found: dict[str, str] = {}
    for token in gitlab.deploy_tokens:
        meaning = f"deploy token {token['name']} of {names[token['group']]}"
        found |= {token["token"]: meaning, token["username"]: f"user of {meaning}"}
    found |= {one["token"]: f"project token {one['name']}" for one in gitlab.project_tokens}
    found |= {one["token"]: f"runner {one['description']}" for one in gitlab.runners}
    receiver = cluster.secret("flux-system", "receiver-token").get("token", "none")
    found[receiver] = "receiver token"
    for name in ("gitlab", "registry"):
        found[hashlib.sha256(f"{receiver}{name}flux-system".encode()).hexdigest()] = f"path of {name}"
    credential = cluster.secret("flux-system", "flux-system")
    found |= {credential[key]: f"flux {key}" for key in ("identity", "identity.pub") if key in credential}
    return {secret: meaning for secret, meaning in found.items() if secret}


def outcome(world: World) -> dict[str, Any]:
    gitlab, cluster, names = world.gitlab, world.cluster, owners(world)
    rows = {
        kind.replace("_", " "): sorted(
            (
                {name: one[name] for name in shown.split()} | {"of": names.get(one.get("project", one.get("group")))}
                for one in getattr(gitlab, kind)
            ),
            key=lambda row: json.dumps(row, sort_keys=True),
        )
        for kind, shown in SHOWN.items()
    }
    keys = {one["id"]: one["title"] for one in gitlab.deploy_keys}
    pushers = [
        sorted(str(keys.get(level["deploy_key_id"], level["access_level"])) for level in one["push_access_levels"])
        for one in gitlab.protected_branches
    ]
    branches = [
        {"of": names[one["project"]], "name": one["name"], "push": push}
        for one, push in zip(gitlab.protected_branches, pushers, strict=True)
    ]
    files = [path for path in sorted(world.vm.rglob("*")) if path.is_file()]
    started = world.container.read_text() if world.container.exists() else None
    return rows | {
        "branches": sorted(branches, key=str),
        "images": gitlab.images,
        "whitelist": gitlab.whitelist,
        "root tokens that are valid": [one["name"] for one in gitlab.pats if not one["revoked"]],
        "objects": sorted("/".join(key) for key in cluster.objects if key[0] not in ("Pod", "Secret")),
        "secrets": {
            f"{namespace}/{name}": {"type": item["type"], "data": readable(cluster.secret(namespace, name), name)}
            for (kind, namespace, name), item in sorted(cluster.objects.items())
            if kind == "Secret"
        },
        "releases": sorted(cluster.releases),
        "gitlab pods": cluster.gitlab_uid,
        "runner up": started is not None,
        "runner up to date": started in (None, world.runner_files()),
        "vm": {str(path.relative_to(world.vm)): (path.read_text(), oct(path.stat().st_mode & 0o777)) for path in files},
        "repositories": {
            str(one.relative_to(gitlab.repositories)): world.commits(one) for one in gitlab.all_repositories()
        },
        "storage": sorted(world.storage_folders),
    }


def readable(data: dict[str, str], name: str) -> dict[str, Any]:
    if name in ("gitlab-root", "gitlab-owner"):
        return {"password": f"{len(data['password'])} characters"}
    if ".dockerconfigjson" in data:
        auths = json.loads(data[".dockerconfigjson"])["auths"]
        return {key: {part: login[part] for part in ("username", "password")} for key, login in auths.items()}
    return dict(data)
