"""Whatever is lost or changed behind its back, the program fixes; a token shown once is replaced, never doubled."""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bootstrap.support.journeys import LONG, STAGES, Journey
from tests.bootstrap.support.lab_folder import commit, write_settings
from tests.bootstrap.support.lab_world import World

Break = Callable[[World], None]


def secret_lost(*names: str) -> Break:
    def change(world: World) -> None:
        for name in names:
            namespace, secret = name.split("/")
            del world.cluster.objects["Secret", namespace, secret]

    return change


def gone_from_gitlab(kind: str, name: str | None = None) -> Break:
    def change(world: World) -> None:
        items = getattr(world.gitlab, kind)
        items[:] = [i for i in items if name and i.get("name") != name]
        world.gitlab.forget_keys()

    return change


def doubled(kind: str) -> Break:
    """Left over from a run that was killed before it could keep what GitLab showed once."""

    def change(world: World) -> None:
        items = getattr(world.gitlab, kind)
        items.append(items[-1] | {"id": 999, "token": "lost-token-value", "username": "gitlab+deploy-token-999"})

    return change


def restored_on_a_new_cluster(world: World) -> None:
    """GitLab numbers its tokens: that of the backup has the user's name of the one that the new cluster's regcred holds."""
    for token in world.gitlab.deploy_tokens:
        if token["name"] == "flux-homelab":
            token["token"] = "gldt-of-the-backup"


def regcred_of_somebody_else(world: World) -> None:
    item = world.cluster.find("Secret", "default", "regcred")
    assert item is not None
    config = json.loads(base64.b64decode(item["data"][".dockerconfigjson"]))
    config["auths"] = {"ghcr.io": {"username": "owner", "password": "theirs", "auth": "b3duZXI6dGhlaXJz"}}
    item["data"][".dockerconfigjson"] = base64.b64encode(json.dumps(config).encode()).decode()


def env_lost(world: World) -> None:
    (Path(world.settings["runner_home"]) / ".env").unlink()


def env_with_a_dead_token(world: World) -> None:
    (Path(world.settings["runner_home"]) / ".env").write_text(
        "HTTP_PROXY=http://proxy:3128\nRUNNER_TOKEN=glrt-of-another-gitlab\n"
    )


def file_edited(world: World) -> None:
    (Path(world.settings["runner_home"]) / "config.toml").write_text("concurrent = 99\n")


def container_stopped(world: World) -> None:
    world.container.unlink()


def key_may_not_write(world: World) -> None:
    world.gitlab.deploy_keys[0]["can_push"] = False


def key_is_another(world: World) -> None:
    world.gitlab.deploy_keys[0]["key"] = "ssh-ed25519 AAAAsomethingelse flux-homelab"


def branch_unprotected(world: World) -> None:
    world.gitlab.protected_branches = [
        b for b in world.gitlab.protected_branches if b["push_access_levels"][-1]["deploy_key_id"] is None
    ]


def branch_without_the_key(world: World) -> None:
    for branch in world.gitlab.protected_branches:
        branch["push_access_levels"] = [p for p in branch["push_access_levels"] if p["deploy_key_id"] is None]


def token_about_to_end(world: World) -> None:
    world.gitlab.project_tokens[0]["expires_at"] = (
        datetime.datetime.now(datetime.timezone.utc).date() + datetime.timedelta(days=20)
    ).isoformat()


def host_keys_changed(world: World) -> None:
    world.host_keys = world.host_keys.splitlines()[0] + "\n"


def hook_doubled(world: World) -> None:
    hook = world.gitlab.hooks[0]
    world.gitlab.hooks += [hook | {"id": 998}, hook | {"id": 999, "url": hook["url"][:-4] + "0000"}]


def hook_to_an_old_address(world: World) -> None:
    world.gitlab.hooks[0]["url"] = world.gitlab.hooks[0]["url"][:-4] + "0000"


DAMAGE: list[tuple[str, Break, tuple[str, ...]]] = [
    ("regcred lost", secret_lost("flux-system/regcred", "default/regcred"), ("registry",)),
    ("regcred lost in one place", secret_lost("flux-system/regcred"), ("registry",)),
    ("push token revoked", gone_from_gitlab("deploy_tokens", "push-homelab"), ("groups",)),
    ("deploy token doubled", doubled("deploy_tokens"), ("registry",)),
    ("deploy token revoked", gone_from_gitlab("deploy_tokens", "flux-homelab"), ("registry",)),
    ("deploy token of a backup", restored_on_a_new_cluster, ("registry",)),
    ("variable lost", gone_from_gitlab("variables"), ("groups",)),
    ("flux key lost", secret_lost("flux-system/flux-system"), ("sync",)),
    ("flux key removed", gone_from_gitlab("deploy_keys"), ("sync",)),
    ("flux key read-only", key_may_not_write, ("sync",)),
    ("flux key another", key_is_another, ("sync",)),
    ("branch unprotected", branch_unprotected, ("sync",)),
    ("branch without the key", branch_without_the_key, ("sync",)),
    ("host keys changed", host_keys_changed, ("sync",)),
    ("status token lost", secret_lost("flux-system/gitlab-status"), ("sync",)),
    ("status token revoked", gone_from_gitlab("project_tokens"), ("sync",)),
    ("status token doubled", doubled("project_tokens"), ("sync",)),
    ("status token about to end", token_about_to_end, ("sync",)),
    ("webhook removed", gone_from_gitlab("hooks"), ("sync",)),
    ("webhook of an old token", hook_to_an_old_address, ("sync",)),
    ("webhook doubled", hook_doubled, ("sync",)),
    ("receiver token lost", secret_lost("flux-system/receiver-token"), ("gitlab", "sync")),
    ("runner's .env lost", env_lost, ("runner",)),
    ("runner removed", gone_from_gitlab("runners"), ("runner",)),
    ("runner doubled", doubled("runners"), ("runner",)),
    ("runner's settings edited", file_edited, ("runner",)),
    ("runner stopped", container_stopped, ("runner",)),
    ("protected tags gone", gone_from_gitlab("protected_tags"), ("groups",)),
]


# Without LONG each world takes several blows at once, none of them twice on the same thing.
TOGETHER = [
    [
        "regcred lost",
        "variable lost",
        "flux key lost",
        "status token lost",
        "webhook removed",
        "runner's .env lost",
        "protected tags gone",
    ],
    [
        "deploy token revoked",
        "push token revoked",
        "flux key removed",
        "status token revoked",
        "webhook of an old token",
        "runner removed",
    ],
    [
        "deploy token doubled",
        "flux key read-only",
        "status token doubled",
        "receiver token lost",
        "runner doubled",
        "runner's settings edited",
    ],
    [
        "webhook doubled",
        "regcred lost in one place",
        "branch unprotected",
        "status token about to end",
        "runner stopped",
    ],
    ["branch without the key", "host keys changed", "deploy token of a backup"],
    ["flux key another"],
]


@pytest.mark.parametrize("names", [[d[0]] for d in DAMAGE] if LONG else TOGETHER[:3:2], ids=", ".join)
@pytest.mark.deep(keep=1)
def test_what_was_lost_is_made_anew_and_nothing_twice(journey: Journey, names: list[str]) -> None:
    assert {n for together in TOGETHER for n in together} == {d[0] for d in DAMAGE}
    world = journey.to("end")
    stages: set[str] = set()
    for name, damage, fixed_by in DAMAGE:
        if name in names:
            damage(world)
            stages |= set(fixed_by)
    for stage in [s for s in STAGES if s in stages]:
        world.must_run("--only", stage)
    repaired, wanted = world.summary(), json.loads(json.dumps(journey.after["verify"]))
    if "host keys changed" in names:
        known = repaired["secrets"]["flux-system/flux-system"]["data"].pop("known_hosts")
        wanted["secrets"]["flux-system/flux-system"]["data"].pop("known_hosts")
        assert known.count("\n") == 0 and known.split()[2] in world.host_keys
    assert repaired == wanted
    if LONG or names == TOGETHER[0]:
        for stage in [s for s in STAGES if s in stages]:
            again = world.must_run("--only", stage)
            assert "   done " not in again.out, "and the next run finds everything in place"


def test_a_log_in_that_gitlab_refuses_is_replaced_though_the_users_name_is_right(journey: Journey) -> None:
    world = journey.to("end")
    restored_on_a_new_cluster(world)
    world.must_run("--only", "registry")
    assert world.summary() == journey.after["verify"]
    assert "gldt-of-the-backup" not in {token["token"] for token in world.gitlab.deploy_tokens}


@pytest.mark.slow
def test_flux_gets_another_address_with_another_login_and_keeps_the_one_it_has_otherwise(journey: Journey) -> None:
    """Only a replaced log-in can have failed often enough for a ban of its pod."""
    world = journey.to("end")
    place = ("Pod", "flux-system", "image-reflector-controller-1")
    world.cluster.put(*place, metadata={"labels": {"app": "image-reflector-controller"}})
    world.cluster.put("Pod", "flux-system", "source-controller-1", metadata={"labels": {"app": "source-controller"}})
    world.must_run("--only", "registry")
    secret_lost("default/regcred")(world)
    world.must_run("--only", "registry")
    assert world.cluster.find(*place) is not None
    restored_on_a_new_cluster(world)
    run = world.must_run("--only", "registry")
    assert "Flux's scan of images starts again" in run.out
    assert world.cluster.find(*place) is None
    assert world.cluster.find("Pod", "flux-system", "source-controller-1") is not None


@pytest.mark.slow
def test_what_belongs_to_the_owner_stays(journey: Journey) -> None:
    """Another registry's log-in in regcred, another line in the runner's .env, another host that GitLab may call."""
    world = journey.to("end")
    regcred_of_somebody_else(world)
    env_with_a_dead_token(world)
    world.gitlab.whitelist = ["printer.lan"]
    for stage in ("registry", "sync", "runner"):
        world.must_run("--only", stage)
    auths = world.summary()["secrets"]["default/regcred"]["data"]
    assert auths["ghcr.io"] == {"username": "owner", "password": "theirs"} and len(auths) == 2
    env = Path(world.settings["runner_home"]) / ".env"
    group, protected = (runner["token"] for runner in world.gitlab.runners)
    tokens = f"RUNNER_TOKEN_OF_HOMELAB={group}\nRUNNER_TOKEN_PROTECTED={protected}\n"
    assert env.read_text() == f"HTTP_PROXY=http://proxy:3128\n{tokens}"
    assert env.stat().st_mode & 0o777 == 0o600
    assert world.gitlab.whitelist == ["printer.lan", "webhook-receiver.flux-system.svc.cluster.local"]


def test_a_second_group_gets_its_own_credentials_and_the_first_keeps_its_own(journey: Journey) -> None:
    """With several groups each log-in is for one group's path; the wide one of before would answer for all of them."""
    world = journey.to("end")
    write_settings(world.lab, world.settings | {"groups": ["Tools", "HomeLAB"]})
    before = world.gitlab.deploy_tokens[:]
    world.must_run("--only", "groups")
    world.must_run("--only", "registry")
    address = world.settings["registry_address"]
    auths = world.summary()["secrets"]["flux-system/regcred"]["data"]
    assert auths == {
        f"{address}/{group.lower()}/": {
            "username": f"<user of deploy token flux-homelab of {group}>",
            "password": f"<deploy token flux-homelab of {group}>",
        }
        for group in ("HomeLAB", "Tools")
    }
    assert [t for t in world.gitlab.deploy_tokens if t in before] == before


def test_a_password_secret_made_too_late_says_so(journey: Journey) -> None:
    world = journey.to("end")
    secret_lost("gitlab/gitlab-root")(world)
    run = world.must_run("--only", "gitlab")
    assert "gitlab:password:reset[root]" in run.err


@pytest.mark.slow
def test_a_clone_that_is_behind_is_told_to_pull_and_one_gone_astray_is_not_pushed(journey: Journey) -> None:
    world = journey.to("end")
    assert "has newer commits (image updates, for example): git pull" in world.must_run("--only", "sync").out
    (world.lab / "README.md").write_text("mine\n")
    commit(world.lab, "My own commit, beside Flux's")
    run = world.run("--only", "sync")
    assert run.status == 1 and "have diverged" in run.err and "git pull --rebase" in run.err
    assert world.commits(world.gitlab.repository("HomeLAB/homelab"))["main"][0] == "demo -> v1.0.0"


@pytest.mark.deep
def test_what_flux_says_of_an_older_commit_does_not_count(journey: Journey) -> None:
    """Until it has looked again, its objects are ready: at the commit of before."""
    world = journey.to("verify")
    (world.lab / "README.md").write_text("mine\n")
    commit(world.lab, "My own commit")
    older, world.cluster.flux_lag = world.flux.tip(), 80
    world.must_run("--only", "sync")
    source = world.cluster.find("GitRepository", "flux-system", "flux-system")
    parts = [
        world.cluster.find("Kustomization", "flux-system", name) for name in ("infrastructure", "gitlab", "automation")
    ]
    seen = [
        source and source["status"]["artifact"]["revision"],
        *(part and part["status"]["lastAppliedRevision"] for part in parts),
    ]
    assert older != world.flux.tip() and seen == [f"main@sha1:{world.flux.tip()}"] * 4


@pytest.mark.slow
def test_flux_is_pointed_at_the_folder_of_a_cluster_that_has_another_name(journey: Journey) -> None:
    """By itself it would look for the old folder in the new commit, and stay where it was."""
    world = journey.to("verify")
    old, new = world.settings["cluster_name"], "cellar"
    (world.lab / "clusters" / old).rename(world.lab / "clusters" / new)
    for name, was, now in (
        ("lab_program/settings.json", f'"cluster_name": "{old}"', f'"cluster_name": "{new}"'),
        (f"clusters/{new}/flux-system/sync.yaml", f"./clusters/{old}", f"./clusters/{new}"),
    ):
        text = (world.lab / name).read_text()
        assert was in text
        (world.lab / name).write_text(text.replace(was, now))
    commit(world.lab, "Another name of the cluster")
    world.must_run("--only", "sync")
    entry = world.cluster.find("Kustomization", "flux-system", "flux-system")
    assert entry is not None and entry["spec"]["path"] == f"./clusters/{new}"
    assert "Flux follows the repository, from" not in world.must_run("--only", "sync").out


def test_changed_files_are_not_handed_to_flux(journey: Journey) -> None:
    world = journey.to("sync")
    (world.lab / "apps/gitlab/gitlab.rb").write_text("external_url 'https://other'\n")
    run = world.run("--only", "sync")
    assert run.status == 1 and "apps/gitlab/gitlab.rb" in run.err and "git stash" in run.err


def label_flux(world: World, version: str) -> None:
    """Let Flux's controllers run in another version than the repository has."""
    for (kind, namespace, _), item in world.cluster.objects.items():
        if kind == "Deployment" and namespace == "flux-system":
            item["metadata"]["labels"]["app.kubernetes.io/version"] = version


def flux_labels(world: World) -> set[str]:
    return {
        item["metadata"]["labels"]["app.kubernetes.io/version"]
        for (kind, namespace, _), item in world.cluster.objects.items()
        if kind == "Deployment" and namespace == "flux-system"
    }


def test_an_older_flux_is_renewed_from_the_repository(journey: Journey) -> None:
    world = journey.to("flux")
    world.must_run("--only", "flux")
    label_flux(world, "v2.8.3")
    run = world.must_run("--only", "flux")
    assert "still v2.8.3" in run.out and flux_labels(world) == {"v2.9.4"}


def test_a_flux_of_somebody_else_is_not_brought_back_to_an_older_version(journey: Journey) -> None:
    """The repository would do so at the first push: the owner writes the newer Flux into it first."""
    world = journey.to("flux")
    world.must_run("--only", "flux")
    label_flux(world, "v2.10.0")
    run = world.run("--only", "flux")
    assert run.status == 1 and flux_labels(world) == {"v2.10.0"}
    assert "v2.10.0 runs in the cluster" in run.err and "flux install --export" in run.err


def test_a_newer_flux_that_keeps_itself_is_left_alone(journey: Journey) -> None:
    """Another commit brought it, which this working tree does not have yet."""
    world = journey.to("runner")
    label_flux(world, "v2.10.0")
    run = world.must_run("--only", "flux")
    assert "keeps itself" in run.out and flux_labels(world) == {"v2.10.0"}


def test_the_runners_machine_loses_the_authority_that_the_lab_no_longer_has(journey: Journey) -> None:
    world = journey.to("end")
    left = Path(world.settings["runner_home"]) / "ca.crt"
    left.write_text("the authority of before\n")
    run = world.must_run("--only", "runner")
    assert (
        not left.exists()
        and "./lab trust --remove --runner" in run.err
        and "./lab trust --remove root@<node>" in run.err
    )
    assert "trust" not in world.must_run("--only", "runner").err
