"""Secrets that SOPS encrypted in the lab's repository, on a real cluster: the owner's key brings them, an edit restarts what
uses them, what is wrong is named, and a cluster that is made anew gets them back from repository and key."""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.api import condition
from tests.cluster.conftest import Figure, Worlds
from tests.cluster.machines import FLUX_PASSWORD
from tests.cluster.test_bootstrap import LABS
from tests.cluster.world import Run, World, world_of
from tests.support.program import age
from tests.support.tools import tool

pytestmark = [pytest.mark.xdist_group("secrets"), pytest.mark.world]
KEY, SPARE, STRANGER = age.new_identity(), age.new_identity(), age.new_identity()
GITLAB, SHOP = "apps/gitlab/secrets/gitlab-env.sops.yaml", "apps/shop/secrets/shop-db.sops.yaml"


class Owner:
    """The owner of one world: their key file, and sops on their PATH."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.namespace = world.answers["app_namespace"]
        self.keys = world.home / ".config/sops/age/keys.txt"
        programs = world.home / "bin"
        programs.mkdir(exist_ok=True)
        if not (programs / "sops").exists():
            (programs / "sops").symlink_to(tool("sops"))
        self.environment = {"PATH": f"{programs}:{world.environment()['PATH']}"}
        self.write_keys(KEY)

    def write_keys(self, *keys: age.Identity) -> None:
        self.keys.parent.mkdir(parents=True, exist_ok=True)
        self.keys.write_text("".join(f"{key.private}\n" for key in keys), encoding="utf-8")
        self.keys.chmod(0o600)

    def run(self, *arguments: str, status: int = 0) -> Run:
        run = self.world.run("./lab", *arguments, **self.environment)
        assert run.status == status, run.text
        return run

    def values(self, **values: str) -> str:
        file = self.world.home / "values"
        file.write_text("".join(f"{name}={value}\n" for name, value in values.items()), encoding="utf-8")
        return str(file)

    def set(self, secret: str, **values: str) -> None:
        self.run("secret", "edit", secret, "--from", self.values(**values))

    def add_shop(self, password: str) -> None:
        file = self.values(DB_PASSWORD=password)
        options = ["--project", "HomeLAB/shop", "--secret", "shop-db", "--secret-from", file]
        self.run("new-app", "shop", *options)

    # What is in the cluster

    def secret(self, namespace: str, name: str) -> dict[str, str]:
        item = self.world.api.get("secrets", name, namespace) or {}
        return {key: base64.b64decode(value).decode() for key, value in (item.get("data") or {}).items()}

    def wait_for(self, namespace: str, name: str, values: dict[str, str]) -> None:
        self.world.wait(f"the Secret {namespace}/{name}", lambda: self.secret(namespace, name) == values, 60)

    def wait_for_word(self, kustomization: str, words: str) -> str:
        def look() -> str | None:
            message = condition(self.world.api.get("kustomizations", kustomization, "flux-system"))[1]
            return message if re.search(words, message) else None

        return self.world.wait(f"Flux's word of {kustomization}", look, 60)

    def wait_for_status(self, commit: str, kustomization: str, state: str) -> None:
        def look() -> bool:
            found = self.world.statuses(commit).items()
            return any(kustomization in name and status.state == state for name, status in found)

        self.world.wait(f"the commit's status of {kustomization}", look, 60)


@pytest.fixture
def owner(worlds: Worlds) -> Iterator[Owner]:
    """Return the owner of a lab with an encrypted Secret for GitLab, and one of an application, built with them."""
    world = worlds.get("article", age_recipients=[KEY.recipient, SPARE.recipient])
    owner = Owner(world)
    if not world.is_built:
        owner.set("gitlab/gitlab-env", SMTP_PASSWORD="from the first start")
        owner.add_shop("hunter two")
        world.git("add", "--all")
        world.git("commit", "--quiet", "--message", "Secrets, encrypted")
        world.built_with = world.bootstrap(**owner.environment).text  # type: ignore[attr-defined]
        world.is_built = True
        world.gitlab.push_image("homelab/shop", "v1.0.0")
        world.wait("the shop", lambda: world.deployed_tag("shop", owner.namespace) == "v1.0.0", 60)
    yield owner
    owner.write_keys(KEY)


def test_the_bootstrap_gives_flux_the_key_and_the_secrets_are_there_before_gitlab_starts(owner: Owner) -> None:
    world, said = owner.world, owner.world.built_with  # type: ignore[attr-defined]
    (keys,) = owner.secret("flux-system", "sops-age").values()
    assert age.identities(keys) == [KEY], "the owner's key, and no other"
    assert "GitLab was not restarted" in said
    assert owner.secret("gitlab", "gitlab-env") == {"SMTP_PASSWORD": "from the first start"}
    assert owner.secret(owner.namespace, "shop-db") == {"DB_PASSWORD": "hunter two"}
    assert KEY.private not in said and "hunter two" not in said and "from the first start" not in said
    for item in world.api.list("kustomizations"):
        assert item["spec"]["decryption"] == {"provider": "sops", "secretRef": {"name": "sops-age"}}, item["metadata"]
    (pod,) = world.pods(owner.namespace, "shop")
    assert {"secretRef": {"name": "shop-db"}} in pod["spec"]["containers"][0]["envFrom"]


def test_a_second_run_has_nothing_to_do(owner: Owner) -> None:
    assert "   done" not in owner.world.bootstrap(**owner.environment).text


def test_an_edit_in_git_reaches_the_secret_and_restarts_what_uses_it(owner: Owner, figure: Figure) -> None:
    world = owner.world
    for secret, namespace, name, release in (
        ("gitlab/gitlab-env", "gitlab", "gitlab-env", "gitlab"),
        ("shop/shop-db", owner.namespace, "shop-db", "shop"),
    ):
        before, values = world.uids(namespace, release), owner.secret(namespace, name)
        owner.set(secret, ANOTHER="one: \"two\" \\ 'three' é")
        world.push(f"Another value in {secret}")
        wanted = {**values, "ANOTHER": "one: \"two\" \\ 'three' é"}
        owner.wait_for(namespace, name, wanted)

        def replaced(namespace: str = namespace, release: str = release, before: set[str] = before) -> bool:
            now = world.uids(namespace, release)
            return bool(now) and now.isdisjoint(before)

        world.wait(f"new pods of {release}", replaced, 120)
    world.wait("GitLab", lambda: world.gitlab.gitlab_is_ready() and world.ready("kustomizations", "gitlab"), 90)


def test_a_value_that_leaves_the_file_leaves_the_cluster(owner: Owner) -> None:
    """Also one that the bootstrap brought."""
    world, path = owner.world, owner.world.lab / GITLAB
    path.unlink()
    owner.set("gitlab/gitlab-env", ONLY="a value of one-time words")
    world.push("One value alone")
    owner.wait_for("gitlab", "gitlab-env", {"ONLY": "a value of one-time words"})
    world.wait("GitLab", lambda: world.gitlab.gitlab_is_ready() and world.ready("kustomizations", "gitlab"), 90)


def broken(owner: Owner, change: str) -> str:
    """Put a fault into the shop's Secret, and return the file as it was."""
    path = owner.world.lab / SHOP
    good = path.read_text(encoding="utf-8")
    if change == "an edited ciphertext":
        text = re.sub(r"data:(.)", lambda found: f"data:{'B' if found[1] == 'A' else 'A'}", good, count=1)
    else:
        config = owner.world.lab / ".sops.yaml"
        before = config.read_text(encoding="utf-8")
        config.write_text(
            before.replace(KEY.recipient, STRANGER.recipient).replace(SPARE.recipient, STRANGER.recipient)
        )
        plain = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: shop-db\nstringData:\n  DB_PASSWORD: x\n"
        command = ["sops", "--config", str(config), "encrypt", "--filename-override", SHOP, "/dev/stdin"]
        done = subprocess.run(
            [tool("sops"), *command[1:]], input=plain, capture_output=True, text=True, check=True, cwd=owner.world.lab
        )
        text = done.stdout
        config.write_text(before)
    path.write_text(text, encoding="utf-8")
    return good


FAULTS = {
    "an edited ciphertext": ("message authentication failed", "was changed after it was encrypted"),
    "a file for somebody else": ("decrypt|data key", STRANGER.recipient),
}


@pytest.mark.deep(keep=2)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_flux_cannot_decrypt_is_named_by_program_and_commit(owner: Owner, fault: str) -> None:
    world, (of_flux, of_program) = owner.world, FAULTS[fault]
    pods = world.uids(owner.namespace, "shop")
    before = owner.secret(owner.namespace, "shop-db")
    good = broken(owner, fault)
    run = owner.run("secret", "check", status=1)
    (line,) = [line for line in run.text.splitlines() if SHOP in line]
    assert of_program in line and "bad" in line, run.text
    commit = world.push(fault)
    word = owner.wait_for_word("shop", of_flux)
    assert "\n" not in word.strip().split(": ")[0]
    owner.wait_for_status(commit, "shop", "failed")
    assert of_flux.split("|")[0] in owner.world.run("./lab", "status", **owner.environment).text
    assert owner.secret(owner.namespace, "shop-db") == before and world.uids(owner.namespace, "shop") == pods
    (world.lab / SHOP).write_text(good, encoding="utf-8")
    world.push("As it was")
    world.wait("Flux", lambda: world.ready("kustomizations", "shop"), 60)


@pytest.mark.parametrize("there", ["no key", "another's key"])
def test_a_cluster_without_the_key_is_named_and_the_next_up_fixes_it(owner: Owner, there: str) -> None:
    world = owner.world
    before = owner.secret(owner.namespace, "shop-db")
    if there == "no key":
        world.api.delete("secrets", "sops-age", "flux-system")
    else:
        text = base64.b64encode(STRANGER.private.encode()).decode()
        world.api.patch("secrets", "sops-age", "flux-system", {"data": {"lab.agekey": text}})
    owner.set("shop/shop-db", THIRD="value")
    commit = world.push("A value that cannot be decrypted yet")
    owner.wait_for_word("shop", "sops-age" if there == "no key" else "decrypt|data key")
    owner.wait_for_status(commit, "shop", "failed")
    # The wrong key on the owner's machine, and none.
    owner.write_keys(STRANGER)
    refused = owner.world.bootstrap("--only", "preflight", status=1, **owner.environment).text
    assert STRANGER.recipient in refused and KEY.recipient in refused and "[age]" in refused
    owner.write_keys()
    refused = owner.world.bootstrap("--only", "flux", status=1, **owner.environment).text
    assert "there is no private age key" in refused and "SOPS_AGE_KEY_FILE" in refused
    owner.write_keys(STRANGER, KEY)
    done = owner.world.bootstrap("--only", "flux", **owner.environment).text
    assert "Secret flux-system/sops-age" in done
    (keys,) = owner.secret("flux-system", "sops-age").values()
    assert age.identities(keys) == [KEY], "a key that is no recipient's stays where it is"
    owner.wait_for(owner.namespace, "shop-db", {**before, "THIRD": "value"})
    values = {name: value for name, value in before.items() if name != "THIRD"}
    (world.lab / SHOP).unlink()
    owner.set("shop/shop-db", **values)
    world.push("Without it")
    owner.wait_for(owner.namespace, "shop-db", values)


@pytest.mark.deep
def test_a_cluster_made_anew_gets_every_secret_from_repository_and_key(owner: Owner, worlds: Worlds) -> None:
    """The day after: no terminal is there to ask anything."""
    old = owner.world
    wanted = {place: owner.secret(*place) for place in (("gitlab", "gitlab-env"), (owner.namespace, "shop-db"))}
    assert all(wanted.values())
    old.git("pull", "--quiet", "--rebase", str(old.repository), "main")
    lab = Path(old.lab)
    worlds.close()
    subprocess.run(["git", "remote", "remove", "origin"], cwd=lab, check=False, capture_output=True)
    with world_of(worlds.surroundings, lab, "anew") as world:
        again = Owner(world)
        said = world.bootstrap(**again.environment).text
        assert "GitLab was not restarted" in said
        for place, values in wanted.items():
            again.wait_for(*place, values)
        assert not any(value in said for values in wanted.values() for value in values.values())


@pytest.mark.deep
def test_the_password_of_an_external_repository_comes_from_its_encrypted_secret(worlds: Worlds) -> None:
    """Nobody is asked, and no variable names it."""
    name, changes = LABS["external-https"]
    world = worlds.get(name, **changes, age_recipients=[KEY.recipient])
    owner = Owner(world)
    owner.environment |= {"LAB_GIT_USERNAME": "", "LAB_GIT_PASSWORD_FILE": ""}
    owner.set("automation/flux-system", username="flux", password=FLUX_PASSWORD)
    world.git("add", "--all")
    world.git("commit", "--quiet", "--message", "Flux's password, encrypted")
    said = world.bootstrap(**owner.environment).text
    world.wait("Flux", lambda: world.ready("kustomizations", "automation"), 60)
    login = owner.secret("flux-system", "flux-system")
    assert (login["username"], login["password"]) == ("flux", FLUX_PASSWORD) and FLUX_PASSWORD not in said
