"""`./lab backup` and `./lab restore --target` against a real folder and a real server of S3, by the real age and rclone."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.backups.conftest import AGE, RCLONE, Place
from tests.support.backups import sets
from tests.support.compiled import share_compiled
from tests.support.depth import with_the_clusters_programs
from tests.support.program import age as lab_age
from tests.support.rendering import rendered
from tests.support.tools import tool

pytestmark = [
    pytest.mark.slow(keep=1),
    pytest.mark.skipif(
        not with_the_clusters_programs(), reason="make cluster-test builds rclone and age, and runs this"
    ),
]
FOLDER = pytest.mark.parametrize("place", ["folder"], indirect=True)
S3 = pytest.mark.parametrize("place", ["s3"], indirect=True)
HERE = Path(__file__).resolve().parent
PRIVATE = lab_age.encode(lab_age.IDENTITY, bytes(range(32))).upper()
RECIPIENT = lab_age.identities(PRIVATE)[0].recipient
ANSWERS = {
    "folder": {"backup_target": "folder", "backup_folder": "/mnt/usb/gitlab"},
    "s3": {
        "backup_target": "s3",
        "backup_endpoint": "http://127.0.0.1:9000",
        "backup_bucket": "backups",
        "backup_prefix": "the/lab",
    },
}


@dataclass
class World:
    """A lab, a cluster that is a folder, and a target.

    Attributes:
        folder: the cluster's.
    """

    lab: Path
    folder: Path
    place: Place
    home: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin",
            "HOME": str(self.home),
            "WORLD": str(self.folder),
            "XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"],
            "LAB_POLL_SECONDS": "0",
            "LAB_RETRIES": "1",
        }
        command = [sys.executable, str(self.lab / "lab"), *words]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            cwd=self.lab,
            stdin=subprocess.DEVNULL,
        )

    def must(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def refused(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 1, done.stdout + done.stderr
        return done.stdout + done.stderr

    def back_up(self) -> str:
        """Make a backup by the command, and return its name."""
        self.must("backup", "--yes")
        (found,) = [one for one in self.place.sender("lab").sets() if one.state == sets.COMPLETE][:1]
        return found.name

    def objects(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "objects.json").read_text()))

    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()

    def tell(self, **told: Any) -> None:
        file = self.folder / "world.json"
        file.write_text(json.dumps({**(json.loads(file.read_text()) if file.exists() else {}), **told}))

    @property
    def key_file(self) -> Path:
        return self.home / ".config/sops/age/keys.txt"

    def put_key(self, private: str = PRIVATE) -> None:
        self.key_file.parent.mkdir(parents=True, exist_ok=True)
        self.key_file.write_text(f"# the owner's\n{private}\n")
        self.key_file.chmod(0o600)

    def new_cluster(self) -> None:
        """Lose the house: GitLab's volumes, and all that the cluster knew."""
        shutil.rmtree(self.folder / "gitlab")
        for name in ("var/opt/gitlab/backups", "etc/gitlab"):
            (self.folder / "gitlab" / name).mkdir(parents=True)
        found = self.objects()
        found.pop("configmap/backups-state", None)
        (self.folder / "objects.json").write_text(json.dumps(found))


@pytest.fixture
def world(shared: Path, tmp_path: Path, place: Place, request: pytest.FixtureRequest) -> World:
    kind = place.settings["kind"]
    answers = {
        "lab_name": "lab",
        "gitlab_version": "19.3.2",
        "age_recipients": [RECIPIENT],
        "setup_level": "full",
        **ANSWERS[kind],
    }
    lab = tmp_path / "lab"
    shutil.copytree(rendered(shared, f"backups-{kind}", answers), lab)
    share_compiled(lab)
    folder, home = tmp_path / "cluster", tmp_path / "home"
    (folder / "bin").mkdir(parents=True)
    home.mkdir()
    for name in ("kubectl", "helm", "flux"):
        script = (
            f'#!/bin/sh\nexec {sys.executable} -B {HERE / "support" / "kubectl_of_a_folder.py"} "$@"\n'
            if name == "kubectl"
            else "#!/bin/sh\nexit 0\n"
        )
        (folder / "bin" / name).write_text(script)
        (folder / "bin" / name).chmod(0o755)
    (folder / "bin/age").symlink_to(AGE)
    built = subprocess.run(
        [tool("kubectl"), "kustomize", lab / "apps/backups"], capture_output=True, text=True, check=True
    ).stdout
    (drill,) = [one for one in yaml.safe_load_all(built) if one["kind"] == "CronJob"]
    found = {
        "cronjob/gitlab-backup-drill": drill,
        "cronjob/gitlab-backup": {"kind": "CronJob", "metadata": {"name": "gitlab-backup"}},
    }
    container = {"name": "gitlab", "image": "gitlab/gitlab-ce:19.3.2-ce.0"}
    template = {"spec": {"containers": [container]}}
    found["deployment/gitlab"] = {"kind": "Deployment", "metadata": {"name": "gitlab"}, "spec": {"template": template}}
    (folder / "objects.json").write_text(json.dumps(found))
    (folder / "version").write_text("19.3.2")
    settings = json.loads((lab / "apps/backups/settings.json").read_text())
    settings["target"] = place.settings
    (folder / "settings.json").write_text(json.dumps(settings))
    shutil.copytree(place.secrets, folder / "secrets")
    made = World(lab, folder, place, home)
    made.tell(lab=str(lab), rclone=str(RCLONE))
    (folder / "gitlab").mkdir()
    made.new_cluster()
    made.put_key()
    return made


def test_a_backup_now_is_sent_and_status_knows_it(world: World) -> None:
    said = world.must("backup", "--yes")
    (found,) = world.place.sender("lab").sets()
    assert found.state == sets.COMPLETE
    assert f"the last backup that is known to be complete: {found.name} of " in said


@FOLDER
def test_the_list_names_whole_half_broken_foreign_and_old_ones(world: World) -> None:
    name = world.back_up()
    (world.folder / "version").write_text("19.2.4")
    world.place.write("1700000000_2026_01_01_19.3.2/data.tar.age", b"half")
    world.place.write("photos/cat.jpg", b"cat")
    done = world.run("backup", "list")
    lines = {line.split()[1]: line for line in (done.stdout + done.stderr).splitlines() if len(line.split()) > 2}
    assert done.returncode == 0
    assert "complete" in lines[name] and "GitLab 19.3.2" in lines[name]
    assert (
        "incomplete" in lines["1700000000_2026_01_01_19.3.2"] and "there is no" in lines["1700000000_2026_01_01_19.3.2"]
    )
    assert "foreign" in lines["photos"]
    values = world.lab / "apps/gitlab/values.yaml"
    values.write_text(values.read_text().replace("19.3.2-ce.0", "19.2.4-ce.0"))
    assert "(old: it fits GitLab 19.3.2 alone, and this lab has 19.2.4)" in world.must("backup", "list")


def test_a_check_and_a_drill_pass_for_a_whole_one_and_leave_no_pod(world: World) -> None:
    name = world.back_up()
    assert f"{name} is complete: sizes, checksums, and 1 keys that open it" in world.must("backup", "check", name)
    said = world.must("backup", "drill")
    assert f"{RECIPIENT} opens it: the key is here" in said
    assert f"{name} can be restored, without the registry's images: ./lab restore --target {name}" in said
    assert not [key for key in world.objects() if key.startswith("pod/")]
    known = world.objects()["configmap/backups-state"]["data"]
    assert json.loads(known["drill.json"])["name"] == name and json.loads(known["state.json"])["whole"]["name"] == name
    assert PRIVATE not in said and "AGE-SECRET" not in "".join(world.calls())


@FOLDER
def test_a_drill_without_the_private_key_says_which_is_needed(world: World) -> None:
    name = world.back_up()
    world.key_file.unlink()
    assert f"opens {name}, which is encrypted for {RECIPIENT}" in world.refused("backup", "drill")
    world.put_key(lab_age.new_identity().private)
    assert "No private key in" in world.refused("backup", "drill")


@pytest.mark.parametrize("part", [sets.DATA, sets.CONFIG])
@FOLDER
def test_a_drill_finds_what_was_changed_at_the_target(part: str, world: World) -> None:
    name = world.back_up()
    content = world.place.read(f"{name}/{part}")
    world.place.write(f"{name}/{part}", content[:-20] + bytes(20))
    said = world.refused("backup", "drill", name)
    assert f"{name}: {part} could not be read: age: " in said
    assert "drill.json" not in world.objects()["configmap/backups-state"]["data"]
    assert f"{name} is broken: {part} has another checksum" in world.refused("backup", "check", name)


@FOLDER
def test_a_drill_looks_into_the_archives(world: World) -> None:
    """Encrypted well, checksums right, and no GitLab in it."""
    name = world.back_up()
    plain = b"no archive of GitLab" * 500
    sealed = subprocess.run([AGE, "-r", RECIPIENT], input=plain, capture_output=True, check=True).stdout
    manifest = json.loads(world.place.read(f"{name}/{sets.MANIFEST}"))
    for one in manifest["parts"]:
        if one["name"] == sets.DATA:
            one.update(size=len(sealed), sha256=hashlib.sha256(sealed).hexdigest(), plain_size=len(plain))
    world.place.write(f"{name}/{sets.DATA}", sealed)
    world.place.write(f"{name}/{sets.MANIFEST}", json.dumps(manifest).encode())
    assert "the archive of the data is broken" in world.refused("backup", "drill", name)


def test_a_lost_house_comes_back_up_to_gitlabs_own_commands(world: World) -> None:
    name = world.back_up()
    plain = next((world.folder / "gitlab/var/opt/gitlab/backups").iterdir()).read_bytes()
    config = next((world.folder / "gitlab/etc/gitlab/config_backup").iterdir()).read_bytes()
    world.new_cluster()
    said = world.must("restore", "--target", name, "--yes")
    assert next((world.folder / "gitlab/var/opt/gitlab/backups").iterdir()).read_bytes() == plain
    assert next((world.folder / "gitlab/etc/gitlab/config_backup").iterdir()).read_bytes() == config
    assert f"GitLab restored {name} with 3 members" in world.calls()
    assert f"restored {name}" in said and "saved" not in said.split("given with it")[0].rsplit("\n", 1)[-1]
    order = [call for call in world.calls() if "reconfigure" in call or "stop" in call or "gitlab-backup" in call]
    assert order[0] == "gitlab-ctl reconfigure" and "gitlab-backup restore" in order[-1]
    assert not [key for key in world.objects() if key.startswith("pod/")]


@FOLDER
def test_without_a_name_the_newest_complete_one_is_restored(world: World) -> None:
    name = world.back_up()
    world.place.write("1999999999_2033_01_01_19.3.2/data.tar.age", b"half")
    world.new_cluster()
    assert f"restored {name}" in world.must("restore", "--target", "--yes")


@pytest.mark.parametrize("kind", ["incomplete", "broken", "foreign", "old", "ee", "missing"])
@FOLDER
def test_what_cannot_be_restored_is_refused_by_name_before_anything_changes(kind: str, world: World) -> None:
    name = world.back_up()
    manifest = json.loads(world.place.read(f"{name}/{sets.MANIFEST}"))
    words = {
        "incomplete": f"The backup {name} is incomplete: its upload was cut off",
        "broken": f"The backup {name} is broken: config.tar.age is missing",
        "foreign": f"The backup {name} is foreign: it is of the lab theirs, and this is lab",
        "old": "The backup was written by GitLab 19.3.2; 19.4.0 runs.",
        "ee": f"The backup {name}-ee is foreign: it is of GitLab EE, and this lab runs CE",
        "missing": "There is no backup 1_2026_01_01_19.3.2",
    }[kind]
    if kind == "incomplete":
        world.place.remove(f"{name}/{sets.MANIFEST}")
    elif kind == "broken":
        world.place.remove(f"{name}/{sets.CONFIG}")
    elif kind == "foreign":
        world.place.write(f"{name}/{sets.MANIFEST}", json.dumps({**manifest, "lab": "theirs"}).encode())
    elif kind == "old":
        (world.folder / "version").write_text("19.4.0")
    elif kind == "ee":
        for part in (sets.DATA, sets.CONFIG):
            world.place.write(f"{name}-ee/{part}", world.place.read(f"{name}/{part}"))
        text = json.dumps({**manifest, "set": f"{name}-ee", "edition": "ee"})
        world.place.write(f"{name}-ee/{sets.MANIFEST}", text.encode())
        name = f"{name}-ee"
    else:
        name = "1_2026_01_01_19.3.2"
    world.new_cluster()
    assert words in world.refused("restore", "--target", name, "--yes")
    assert not any("gitlab-ctl" in call or "gitlab-backup" in call for call in world.calls())
    assert not list((world.folder / "gitlab/var/opt/gitlab/backups").iterdir())


@pytest.mark.parametrize("cut", [10, 500, 70_000, 300_000])
@S3
def test_a_connection_that_is_lost_brings_no_archive_that_looks_whole(cut: int, world: World) -> None:
    name = world.back_up()
    world.new_cluster()
    world.tell(cut=cut)
    said = world.refused("restore", "--target", name, "--yes")
    assert "could not be read" in said or "did not arrive complete" in said
    left = list((world.folder / "gitlab/var/opt/gitlab/backups").iterdir())
    assert not [file for file in left if not file.name.endswith(".part")]
    assert not any("gitlab-backup restore" in call for call in world.calls())
    world.tell(cut=0)
    assert f"restored {name}" in world.must("restore", "--target", name, "--yes")


@FOLDER
def test_the_reader_is_a_pod_like_the_drills_that_ends_by_itself(world: World) -> None:
    from tests.support.program import backup_target

    drill = world.objects()["cronjob/gitlab-backup-drill"]["spec"]["jobTemplate"]["spec"]["template"]
    pod = backup_target.reader(drill, "backups-reader-1", "gitlab")
    assert pod["spec"]["activeDeadlineSeconds"] == 6 * 3600 and pod["spec"]["restartPolicy"] == "Never"
    assert pod["spec"]["containers"][0]["command"] == ["sleep", "21600"] and "args" not in pod["spec"]["containers"][0]
    assert pod["spec"]["volumes"] == drill["spec"]["volumes"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["backup", "lisst"], '"lisst" is no argument; there are list, check, drill'),
        (["backup", "check"], "check needs the name of a backup"),
        (["restore", "--target", "--from", "lab"], "--target brings both files"),
    ],
)
@FOLDER
def test_a_wrong_call_is_told(words: list[str], said: str, world: World) -> None:
    done = world.run(*words)
    assert done.returncode == 2 and said in done.stdout + done.stderr
