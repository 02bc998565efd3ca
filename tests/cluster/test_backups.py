"""Backups of a lab on a real cluster: Flux brings what sends and looks, with no right too much, and a lost GitLab comes back.

What sends runs here as its pod does: the real program with the pod's own account at the real API server. What looks is
called through the API server, in a pod of KWOK's. What stands in are GitLab's own commands.
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
import time

import pytest

from tests.cluster.conftest import Worlds
from tests.cluster.control_plane import PORT
from tests.cluster.paths import BIN
from tests.cluster.world import World
from tests.support.backups import FOLDER, Volumes, program, sending, sets, state, target

pytestmark = [pytest.mark.xdist_group("backups"), pytest.mark.world]
VERSION_FILE = "/opt/gitlab/embedded/service/gitlab-rails/VERSION"
MAPPED = "cat chown ls mkdir mv rm sh tar test"
# A command in GitLab's pod: its volumes are folders of the world.
IN_GITLAB = """\
#!{python}
import os, sys
name, here = os.path.basename(sys.argv[0]), os.environ["WORLD"] + "/volumes"
if name in ("chown", "gitlab-ctl", "gitlab-rake", "env"):
    with open(here + "/calls", "a") as stream:
        stream.write(" ".join([name, *sys.argv[1:]]) + "\\n")
    print("Total: 0 row(s) affected" if name == "gitlab-rake" else "")
    sys.exit(0)
moved = [word.replace("{version}", here + "/VERSION").replace("/var/opt/gitlab/", here + "/var/").replace("/etc/gitlab/", here + "/etc/") for word in sys.argv[1:]]
if name == "tar" and "--extract" in moved:
    moved[moved.index("--directory") + 1] = here + "/unpacked"
os.execv("/bin/" + name if os.path.exists("/bin/" + name) else "/usr/bin/" + name, [name, *moved])
"""
# The program in the pod that looks at the target.
IN_READER = """\
#!{python}
import sys
from pathlib import Path
sys.path.insert(0, {folder!r})
from lab_backups import __main__ as program
assert sys.argv[1:4] == ["-B", "-m", "lab_backups"], sys.argv
program.SETTINGS, program.SECRETS, program.RCLONE = Path({settings!r}), Path({secrets!r}), {rclone!r}
sys.exit(program.main(sys.argv[4:]))
"""


class House:
    """A lab that sends its backups to a folder.

    Attributes:
        volumes: GitLab's.
        place: the folder.
    """

    def __init__(self, world: World) -> None:
        self.world, self.here = world, world.plane.folder / "volumes"
        self.place = world.folder / "nas"
        self.place.mkdir()
        for name in ("var/backups", "etc/config_backup", "unpacked", "secrets", "account"):
            (self.here / name).mkdir(parents=True)
        (self.here / "VERSION").write_text(world.answers["gitlab_version"], encoding="utf-8")
        self.volumes = Volumes(self.here)
        held = world.api.get("secrets", "backup-target", "gitlab")
        assert held is not None
        (self.here / "secrets/recipients").write_bytes(base64.b64decode(held["data"]["recipients"]))
        settings = json.loads((world.lab / "apps/backups/settings.json").read_text(encoding="utf-8"))
        self.settings = {**settings, "target": {**settings["target"], "folder": str(self.place)}}
        (self.here / "settings.json").write_text(json.dumps(self.settings), encoding="utf-8")
        self._commands()

    def _commands(self) -> None:
        commands = self.world.plane.commands
        text = IN_GITLAB.format(python=sys.executable, version=VERSION_FILE)
        for name in [*MAPPED.split(), "gitlab-ctl", "gitlab-rake", "env"]:
            (commands / name).write_text(text, encoding="utf-8")
            (commands / name).chmod(0o755)
        words = {
            "settings": f"{self.here}/settings.json",
            "secrets": f"{self.here}/secrets",
            "rclone": str(BIN / "rclone"),
        }
        (commands / "python3").write_text(
            IN_READER.format(python=sys.executable, folder=str(FOLDER), **words), encoding="utf-8"
        )
        (commands / "python3").chmod(0o755)

    def keeper(self, account: str, monkeypatch: pytest.MonkeyPatch) -> state.Keeper:
        """Return what writes the state, with the rights of an account."""
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(PORT))
        folder = self.here / "account"
        (folder / "token").write_text(
            self.world.plane.kubectl("create", "token", account, "-n", "gitlab"), encoding="utf-8"
        )
        shutil.copy(self.world.plane.pki / "apiserver.crt", folder / "ca.crt")
        return state.Keeper("gitlab", folder)

    def sender(self) -> sending.Sender:
        place = target.Target(self.settings["target"], self.here / "secrets", str(BIN / "rclone"))
        return sending.Sender(place, self.settings["lab"], lambda _: None)

    def send(self, monkeypatch: pytest.MonkeyPatch) -> str:
        """Make a backup of GitLab, send it, and return its name."""
        name = self.volumes.back_up(int(time.time()), self.world.answers["gitlab_version"], size=3_000_000)
        for mine, there in (("backups", "var/backups"), ("config_backup", "etc/config_backup")):
            shutil.copytree(self.here / mine, self.here / there, dirs_exist_ok=True)
        monkeypatch.setattr(program, "DATA", self.here / "var/backups")
        monkeypatch.setattr(program, "CONFIG", self.here / "etc/config_backup")
        keeper = self.keeper("gitlab-backup", monkeypatch)
        assert program.send(self.settings, self.sender(), keeper, self.here / "secrets", time.time()) == 0
        return name

    def calls(self) -> list[str]:
        return (self.here / "calls").read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def house(worlds: Worlds) -> House:
    changes = {"backup_target": "folder", "backup_folder": "/mnt/backups", "age_recipients": [], "setup_level": "full"}
    return House(worlds.get("defaults", **changes).build())


def test_flux_brings_what_sends_and_what_looks(house: House) -> None:
    api = house.world.api
    house.world.wait("the drill", lambda: api.get("cronjobs", "gitlab-backup-drill", "gitlab") is not None)
    house.world.wait("what sends", lambda: api.get("cronjobs", "gitlab-backup", "gitlab") is not None)
    sent = api.get("cronjobs", "gitlab-backup", "gitlab")
    assert (
        sent is not None and sent["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"][0]["action"] == "FailJob"
    )
    for name in ("backups-program", "backups-settings", "backups-state"):
        assert api.get("configmaps", name, "gitlab") is not None


def test_the_private_key_is_with_the_owner_and_its_public_half_in_the_cluster(house: House) -> None:
    key = (house.world.home / ".config/sops/age/keys.txt").read_text(encoding="utf-8")
    private = next(line for line in key.splitlines() if line.startswith("AGE-SECRET-KEY-"))
    assert (house.here / "secrets/recipients").read_text(encoding="utf-8") in key
    everything = house.world.plane.kubectl("get", "secrets,configmaps", "-A", "-o", "json")
    assert private not in everything and base64.b64encode(private.encode()).decode()[:40] not in everything


@pytest.mark.parametrize(
    ("account", "words", "allowed"),
    [
        ("gitlab-backup-drill", ("get", "configmaps/backups-state"), True),
        ("gitlab-backup-drill", ("patch", "configmaps/backups-state"), True),
        ("gitlab-backup-drill", ("get", "configmaps/backups-settings"), False),
        ("gitlab-backup-drill", ("get", "secrets"), False),
        ("gitlab-backup-drill", ("create", "pods", "--subresource=exec"), False),
        ("gitlab-backup", ("patch", "configmaps/backups-state"), True),
        ("gitlab-backup", ("get", "secrets"), False),
        ("gitlab-backup", ("delete", "pods"), False),
    ],
)
def test_the_accounts_may_what_they_need_and_nothing_else(
    account: str, words: tuple[str, ...], allowed: bool, house: House
) -> None:
    said = house.world.plane.kubectl(
        "auth", "can-i", *words, "-n", "gitlab", f"--as=system:serviceaccount:gitlab:{account}", check=False
    )
    assert said.strip() == ("yes" if allowed else "no")


def test_a_lost_gitlab_comes_back_from_the_folder_up_to_its_own_commands(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = house.world
    name = house.send(monkeypatch)
    listed = world.run("./lab", "backup", "list")
    assert listed.status == 0 and f"{name}  complete" in listed.text, listed.text
    checked = world.run("./lab", "backup", "check", name)
    assert checked.status == 0 and f"{name} is complete" in checked.text, checked.text
    drilled = world.run("./lab", "backup", "drill")
    assert drilled.status == 0 and f"{name} can be restored" in drilled.text, drilled.text
    assert f"the last backup that is known to be complete: {name}" in world.run("./lab", "status").text
    data = (house.here / f"var/backups/{name}_gitlab_backup.tar").read_bytes()
    for folder in ("var/backups", "etc/config_backup"):
        shutil.rmtree(house.here / folder)
        (house.here / folder).mkdir()
    restored = world.run("./lab", "restore", "--target", name, "--yes")
    assert restored.status == 0, restored.text
    assert (house.here / f"var/backups/{name}_gitlab_backup.tar").read_bytes() == data
    (config,) = (house.here / "etc/config_backup").iterdir()
    assert config.name.endswith("_restored.tar")
    assert any(call.endswith(f"gitlab-backup restore BACKUP={name}") for call in house.calls())
    assert list((house.here / "unpacked").rglob("gitlab-secrets.json"))
    readers = lambda: [one for one in world.api.list("pods", "gitlab") if "reader" in one["metadata"]["name"]]  # noqa: E731
    world.wait("the reader to go", lambda: not readers())


def test_an_incomplete_and_a_foreign_one_are_refused_by_name_on_the_cluster(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = house.send(monkeypatch)
    before = len(house.calls())
    manifest = house.place / name / sets.MANIFEST
    content = json.loads(manifest.read_text(encoding="utf-8"))
    manifest.unlink()
    refused = house.world.run("./lab", "restore", "--target", name, "--yes")
    assert refused.status == 1 and f"The backup {name} is incomplete" in refused.text
    manifest.write_text(json.dumps({**content, "lab": "theirs"}), encoding="utf-8")
    refused = house.world.run("./lab", "restore", "--target", name, "--yes")
    assert refused.status == 1 and f"The backup {name} is foreign: it is of the lab theirs" in refused.text
    assert len(house.calls()) == before, "GitLab was not touched"


def test_another_account_cannot_write_what_is_known(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(state.StateError, match="HTTP 403"):
        house.keeper("default", monkeypatch).save({})
