"""`./lab restore`, as far as it can be tried without GitLab: the commands that reach the pod, and the way back."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bootstrap.support.faults import Fault
from tests.bootstrap.support.lab_world import World
from tests.bootstrap.support.stand_in_cluster import GITLAB_LOOKS, PROBES, VALUES, Reply
from tests.support.program import backups, restore
from tests.support.rendering import ROOT

BACKUP = "1790000000_2026_09_21_19.3.0"
DATA, CONFIG = (
    f"/var/opt/gitlab/backups/{BACKUP}_gitlab_backup.tar",
    "/etc/gitlab/config_backup/gitlab_config_1790000000_2026_09_21.tar",
)
RESTORED = "/etc/gitlab/config_backup/gitlab_config_1790000000_2026_09_21_restored.tar"


def packed(file: Path, name: str = "etc/gitlab/gitlab-secrets.json") -> Path:
    """Write an archive that holds one file."""
    with tarfile.open(file, "w") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return file


def container(world: World) -> dict[str, Any]:
    """Return GitLab's container, as its Deployment has it."""
    [found] = world.cluster.objects["Deployment", "gitlab", "gitlab"]["spec"]["template"]["spec"]["containers"]
    return found  # type: ignore[no-any-return]


def untouched(world: World) -> bool:
    """Say whether GitLab has its probes, and its release is Flux's to change."""
    release = world.cluster.find("HelmRelease", "gitlab", "gitlab") or {"spec": {}}
    return set(PROBES) <= set(container(world)) and not release["spec"].get("suspend")


class Pod:
    """GitLab's pod as a restore sees it: its files, and every command that came."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.files = {DATA: "data", CONFIG: "config"}
        self.words: list[list[str]] = []
        self.fails = ""
        self.undecipherable = 0
        self.folder = world.folder
        self.cut: int | None = None  # after so many characters the connection breaks

    def __call__(self, command: list[str], text: str) -> Reply:
        line = " ".join(command)
        self.words.append(list(command))
        if self.fails and self.fails in line:
            return 1, "", "by order\n"
        if line == "cat /opt/gitlab/embedded/service/gitlab-rails/VERSION":
            return 0, "19.3.0\n", ""
        if command[:2] == ["sh", "-c"] and command[2].startswith("umask 077; cat >"):
            target = command[2].split("'")[1].removesuffix(".part")
            done = subprocess.run(
                ["sh", "-c", command[2].replace(target, f"{self.folder}/put")],
                input=text[: self.cut],
                text=True,
                check=False,
            )
            if done.returncode:
                return done.returncode, "", ""
            self.files[target] = (self.folder / "put").read_text()
        elif command[:2] == ["sh", "-c"] and command[2].startswith("ls -1t"):
            folder = command[2].split()[2]
            names = sorted((Path(f).name for f in self.files if f.startswith(folder + "/")), reverse=True)
            if "head -n 1" in command[2]:
                names = names[:1]
            return 0, "\n".join(n.removesuffix("_gitlab_backup.tar") for n in names), ""
        elif command[:2] == ["ls", "-1"]:
            names = sorted(Path(f).name for f in self.files if f.startswith(command[2] + "/"))
            return 0, "\n".join(names), ""
        elif command[:3] == ["tar", "--list", "--file"]:
            whole = "config" in self.files[command[3]]
            return (
                (0, "/etc/gitlab/gitlab.rb\n/etc/gitlab/gitlab-secrets.json\n", "")
                if whole
                else (2, "", "tar: Unexpected EOF\n")
            )
        elif command[:2] == ["test", "-f"]:
            return (0, "", "") if command[2] in self.files else (1, "", "")
        elif command == ["gitlab-rake", "gitlab:doctor:secrets"]:
            return 0, f"I, [2026-09-21]  INFO -- : Total: {self.undecipherable} row(s) affected\nDone!\n", ""
        elif "gitlab-backup restore" in line:
            assert not set(PROBES) & set(container(self.world)), (
                "the probes would kill a GitLab whose web server is stopped"
            )
        return 0, "", ""

    @property
    def commands(self) -> list[str]:
        return [" ".join(words) for words in self.words]

    def order(self) -> list[str]:
        """The commands that change something, in short."""
        words = (
            "tar --extract",
            "gitlab-ctl reconfigure",
            "gitlab-ctl stop puma",
            "gitlab-ctl stop sidekiq",
            "gitlab-ctl stop registry",
            "gitlab-backup restore",
            "doctor:secrets",
        )
        return [word for line in self.commands for word in words if word in line]


@pytest.fixture
def pod(world: World) -> Pod:
    """Return the pod of a GitLab that runs, kept by Flux."""
    pod = Pod(world)
    cluster = world.cluster
    cluster.put("Namespace", "", "gitlab")
    cluster.put("Secret", "gitlab", "gitlab-root", data={})
    cluster.install("gitlab", cluster.manifest("gitlab", {name: (world.lab / name).read_text() for name in VALUES}))
    for _ in range(GITLAB_LOOKS):
        world.pods.step()
    cluster.put("Deployment", "flux-system", "source-controller")
    cluster.put("HelmRelease", "gitlab", "gitlab", spec={})
    cluster.pod_commands = pod
    return pod


def test_it_lists_the_backups_of_the_pod(world: World, pod: Pod) -> None:
    run = world.must_run("--list", command="restore", yes=False)
    assert run.out.split() == [BACKUP]


def test_it_restores_data_and_configuration_and_gives_the_release_back(world: World, pod: Pod) -> None:
    run = world.must_run("--yes", BACKUP, command="restore", yes=False)
    assert pod.order() == [
        "tar --extract",
        "gitlab-ctl reconfigure",
        "gitlab-ctl stop puma",
        "gitlab-ctl stop sidekiq",
        "gitlab-ctl stop registry",
        "gitlab-backup restore",
        "doctor:secrets",
    ]
    assert f"BACKUP={BACKUP}" in next(c for c in pod.commands if "gitlab-backup" in c)
    assert "gitlab-secrets.json" in next(c for c in pod.commands if c.startswith("tar --extract"))
    assert untouched(world)
    assert f"restored {BACKUP}" in run.out


def test_secrets_that_cannot_be_decrypted_are_warned_of_though_gitlabs_check_ends_well(world: World, pod: Pod) -> None:
    """lib/gitlab/doctor/secrets.rb counts what it finds, and never fails for it."""
    warning = "the configuration (gitlab-secrets.json) does not belong to this backup"
    assert warning not in world.must_run("--yes", BACKUP, command="restore", yes=False).err
    pod.undecipherable = 20
    assert warning in world.must_run("--yes", BACKUP, command="restore", yes=False).err


def test_it_restores_files_that_were_kept_elsewhere(world: World, pod: Pod) -> None:
    pod.files = {}
    data, config = world.folder / f"{BACKUP}_gitlab_backup.tar", world.folder / "config.tar"
    data.write_text("data from elsewhere")
    packed(config)
    world.must_run("--yes", f"--from={data}", f"--config={config}", command="restore", yes=False)
    assert set(pod.files) == {DATA, RESTORED} and pod.files[DATA] == "data from elsewhere"
    # A second run, by name, takes the same pair.
    pod.files[RESTORED] = "config"
    assert (
        f"{BACKUP} with the configuration {Path(RESTORED).name}"
        in world.must_run("--yes", BACKUP, command="restore", yes=False).out
    )


def config(second: int, more: str = "", text: str = "config") -> dict[str, str]:
    return {f"/etc/gitlab/config_backup/gitlab_config_{second}_2026_09_21.tar{more}": text}


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize(
    ("there", "taken", "said"),
    [
        # The lab saves it first; what came the night after is another's.
        (config(1789999988) | config(1790086388), "gitlab_config_1789999988_2026_09_21.tar", "saved 12 s before it"),
        # By hand, after hours of data.
        (config(1790020000) | config(1789920000), "gitlab_config_1790020000_2026_09_21.tar", "saved 5 h after it"),
        # What is broken on disk, or was never finished, is passed over for the next.
        (
            config(1789999999, text="cut") | config(1789999000),
            "gitlab_config_1789999000_2026_09_21.tar",
            "saved 16 min before it",
        ),
        (
            config(1790000000, ".part") | config(1789999940),
            "gitlab_config_1789999940_2026_09_21.tar",
            "saved 60 s before it",
        ),
        (
            {"/etc/gitlab/config_backup/zzz.tar": "config"} | config(1789999940),
            "gitlab_config_1789999940_2026_09_21.tar",
            "",
        ),
    ],
)
def test_the_configuration_of_the_same_night_is_taken(
    world: World, pod: Pod, there: dict[str, str], taken: str, said: str
) -> None:
    pod.files = {DATA: "data", **there}
    run = world.must_run("--yes", BACKUP, command="restore", yes=False)
    assert f"the backup {BACKUP} with the configuration {taken}, {said}" in run.out
    [unpacked] = [line for line in pod.commands if line.startswith("tar --extract")]
    assert f"--file /etc/gitlab/config_backup/{taken} " in unpacked


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize(
    "there", [{}, config(1790086400), config(1789900000), config(1790000000, ".part"), config(1790000000, text="cut")]
)
def test_a_configuration_of_another_time_or_a_broken_one_is_not_taken(
    world: World, pod: Pod, there: dict[str, str]
) -> None:
    pod.files = {DATA: "data", **there}
    run = world.must_run("--yes", BACKUP, command="restore", yes=False)
    assert "tar --extract" not in pod.order() and "gitlab-backup restore" in pod.order()
    assert f"no backup of GitLab's configuration that was saved with {BACKUP}" in run.err and "--config FILE" in run.err
    assert all(name in run.err for name in there)


def test_data_from_elsewhere_comes_with_the_configuration_beside_it_and_not_with_the_pods(
    world: World, pod: Pod
) -> None:
    """The pod may be another GitLab, that saved its own configuration in the same night."""
    folder = world.folder / "copies"
    folder.mkdir()
    data = folder / f"{BACKUP}_gitlab_backup.tar"
    data.write_text("data from elsewhere")
    pod.files = config(1790000000)
    run = world.must_run("--yes", "--from", str(data), command="restore", yes=False)
    assert "tar --extract" not in pod.order() and "no backup of GitLab's configuration" in run.err
    (folder / "gitlab_config_1789999999_2026_09_21.tar").write_text("cut")
    beside = packed(folder / "gitlab_config_1789999990_2026_09_21.tar")
    run = world.must_run("--yes", "--from", str(data), command="restore", yes=False)
    assert f"the backup {BACKUP} with the configuration {beside}, given with it" in run.out
    assert RESTORED in pod.files and config(1790000000).items() <= pod.files.items()


@pytest.mark.parametrize("name", ["etc/gitlab/gitlab.rb", ""])
def test_a_configuration_without_the_secrets_is_refused_before_anything_stops(
    world: World, pod: Pod, name: str
) -> None:
    file = world.folder / "config.tar"
    packed(file, name) if name else file.write_text("no archive")
    run = world.run("--yes", BACKUP, "--config", str(file), command="restore", yes=False)
    assert run.status == 1 and "is no complete archive with a gitlab-secrets.json" in run.err
    assert pod.order() == [] and untouched(world)


def test_who_may_sign_up_is_asked_again_since_the_backup_brings_its_own(world: World, pod: Pod) -> None:
    """The mark is on the volume, not in the backup: it would say that GitLab knows an answer that it does not know."""
    world.must_run("--yes", BACKUP, command="restore", yes=False)
    removed = pod.commands.index(f"rm -f {restore.SIGN_UP_MARK}")
    assert removed < pod.commands.index(next(line for line in pod.commands if "gitlab-backup restore" in line))
    written = (ROOT / "partials/sign-up.yaml.jinja").read_text(encoding="utf-8")
    assert set(re.findall(r"/var/opt/gitlab/[\w-]+", written)) == {restore.SIGN_UP_MARK}


@given(st.integers(0, 2**33), st.lists(st.integers(0, 2**33)))
def test_of_any_times_the_nearest_is_taken_and_none_that_is_far(made: int, seconds: list[int]) -> None:
    names = [f"gitlab_config_{second}_2026_09_21.tar" for second in seconds]
    found = backups.saved_with(f"{made}_2026_09_21_19.3.0", names)
    apart = [abs(int(name.split("_")[2]) - made) for name in found]
    assert apart == sorted(
        second for second in (abs(second - made) for second in seconds) if second <= backups.SAME_NIGHT
    )


def test_a_file_that_does_not_arrive_whole_is_not_restored(world: World, pod: Pod) -> None:
    pod.files, pod.cut = {}, 4
    data = world.folder / f"{BACKUP}_gitlab_backup.tar"
    data.write_text("data from elsewhere")
    run = world.run("--yes", "--from", str(data), command="restore", yes=False)
    assert run.status == 1 and "The backup could not be copied into the pod." in run.err
    assert pod.files == {} and not any("gitlab-backup restore" in line for line in pod.commands)


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize(
    ("how", "names"),
    [
        # gitlab-ctl backup-etc: files/gitlab-ctl-commands/lib/gitlab_ctl/backup.rb of omnibus-gitlab
        (["--absolute-names", "--dereference"], "{root}/etc/gitlab"),
        (["-C", "{root}"], "etc/gitlab"),
    ],
)
def test_tar_finds_the_configuration_whether_its_names_begin_with_a_slash_or_not(
    world: World, pod: Pod, tmp_path: Path, how: list[str], names: str
) -> None:
    wanted = {"gitlab-secrets.json", "ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"}
    folder = tmp_path / "etc/gitlab"
    folder.mkdir(parents=True)
    for name in {*wanted, "gitlab.rb"}:
        (folder / name).write_text(name)
    archive, target = tmp_path / "config.tar", tmp_path / "target"
    target.mkdir()
    packed = [word.format(root=tmp_path) for word in (*how, "--create", "--file", str(archive), "--", names)]
    subprocess.run(["tar", *packed], check=True, capture_output=True)
    world.must_run("--yes", BACKUP, command="restore", yes=False)
    [words] = [words for words in pod.words if words[:2] == ["tar", "--extract"]]
    words[words.index("--file") + 1], words[words.index("--directory") + 1] = str(archive), str(target)
    subprocess.run(words, check=True, capture_output=True)
    assert {file.name for file in target.rglob("*") if file.is_file()} == wanted


def test_without_flux_the_probes_come_back_too(world: World, pod: Pod) -> None:
    del world.cluster.objects["HelmRelease", "gitlab", "gitlab"]
    world.must_run("--yes", BACKUP, command="restore", yes=False)
    assert untouched(world)


def test_after_a_restore_that_was_killed_the_next_one_brings_the_probes_back(world: World, pod: Pod) -> None:
    """Nothing is rolled back: what stood before might be an older GitLab."""
    del world.cluster.objects["HelmRelease", "gitlab", "gitlab"]
    for probe in PROBES:
        del container(world)[probe]
    world.must_run("--yes", BACKUP, command="restore", yes=False)
    assert untouched(world)
    assert not [c for c in world.calls if "undo" in c.arguments]


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize(
    ("source", "pattern", "words"),
    [
        ("kubectl", "exec .*VERSION", "GitLab does not run."),
        ("flux", "suspend", "Flux does not let go of the GitLab release."),
        ("kubectl", "patch", "GitLab's Deployment could not be changed"),
    ],
)
def test_what_the_cluster_refuses_is_said_and_leaves_gitlab_as_it_was(
    world: World, pod: Pod, source: str, pattern: str, words: str
) -> None:
    world.faults = [Fault(source, pattern, "error: by order")]
    run = world.run("--yes", BACKUP, command="restore", yes=False)
    assert run.status == 1 and words in run.err and "   then   " in run.err, run.text
    assert pod.order() == [] and untouched(world)


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize(
    "fails", ["gitlab-backup restore", "gitlab-ctl stop puma", "tar --extract", "gitlab-ctl reconfigure"]
)
def test_a_failure_on_the_way_gives_the_release_back(world: World, pod: Pod, fails: str) -> None:
    pod.fails = fails
    run = world.run("--yes", BACKUP, command="restore", yes=False)
    assert run.status == 1 and not world.errors
    assert untouched(world)
    assert "failed" in run.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((BACKUP,), "./lab restore --yes"),
        (("--yes",), "Which backup?"),
        (("--yes", "$(touch gone)"), "is not the name of a GitLab backup"),
        (("--yes", "1790000000_2026_09_21_18.11.2"), "The backup was written by GitLab 18.11.2; 19.3.0 runs"),
        (("--yes", "1700000000_2026_01_01_19.3.0"), "The pod has no backup 1700000000_2026_01_01_19.3.0"),
        (("--yes", "--from", "/nonexistent"), 'The file "/nonexistent" cannot be read'),
        (("--sideways",), 'there is no option "--sideways"'),
    ],
)
def test_what_cannot_be_restored_is_refused_before_anything_stops(
    world: World, pod: Pod, arguments: tuple[str, ...], words: str
) -> None:
    run = world.run(*arguments, command="restore", yes=False)
    assert run.status == (2 if arguments == ("--sideways",) else 1) and words in run.err, run.text
    assert pod.order() == [] and untouched(world)
    assert not list(world.folder.rglob("gone"))


def test_help_needs_nothing_and_shows_an_example(world: World) -> None:
    run = world.run("--help", command="restore", yes=False)
    assert run.status == 0 and "./lab restore --list" in run.out and world.calls == []
