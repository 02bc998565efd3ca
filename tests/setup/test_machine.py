"""runner/setup.sh on a real Debian with its real apt and dpkg: from bare to ready, again, cut off, and without a network."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import yaml

from tests.setup.support.apt_repository import Signer
from tests.setup.support.debian_fixtures import MakeMachine, rendered
from tests.setup.support.debian_machine import Machine
from tests.setup.support.debian_roots import CACHE, SUITES, USER

READY, NOTHING = "This machine is ready for the runner.\n", "Nothing to do: this machine is ready for the runner.\n"
PACKAGES = {
    "trixie": {"docker.io", "docker-cli", "docker-compose"},
    "bookworm": {"docker-ce", "docker-ce-cli", "containerd.io", "docker-compose-plugin"},
}
# What differs between two ways to the same end: logs, caches, what dpkg keeps of before, and the order in which groups came.
BESIDE = re.compile(
    r"var/(log|cache|lib/(apt|systemd)|lib/dpkg/(.*-old|lock.*|triggers/.*|diversions.*|alternatives))(/|$)|.*-$|.*\.pyc$|tests"
)


def lasting(machine: Machine) -> dict[str, tuple[object, ...]]:
    """Return what setup.sh has changed on a machine for good."""
    found = {path: seen for path, seen in machine.tree().items() if not BESIDE.match(path)}
    found["var/lib/dpkg/status"] = tuple(sorted(machine.read("/var/lib/dpkg/status").split("\n\n")))
    return found


def check_ready(machine: Machine) -> None:
    """Check that a machine has all that the runner wants, by what asks for it."""
    for name in ("compose.yaml", "config.toml", ".env.example"):
        machine.write(f"/tests-lab/{name}", rendered()[f"runner/{name}"])
    as_user = f"su {USER} -c 'cp -r /tests-lab ~/lab && cd ~/lab && cp .env.example .env && docker compose config && rm -rf ~/lab'"
    done = machine.run(f"{as_user} && rm -rf /tests-lab")
    assert done.status == 0, done.out
    project = yaml.safe_load(done.out)
    assert project["name"] == "gitlab-runner" and set(project["services"]) == {"gitlab-runner", "clean-up"}
    wanted = {*PACKAGES[machine.suite], "apparmor", "qemu-guest-agent", "unattended-upgrades"}
    there = machine.run(
        "dpkg-query --show --showformat '${Package} ${db:Status-Status}\\n'; dpkg --audit; id -nG cloud-user; cat /proc/swaps"
    ).out
    assert wanted <= set(re.findall(r"^(\S+) installed$", there, re.MULTILINE)) and "half" not in there, there
    assert re.search(r"^cloud-user\b.*\bdocker$", there, re.MULTILINE) and "/swap.lab file 2097148" in there
    assert machine.read("/etc/fstab").endswith("/ ext4 defaults 0 1\n/swap.lab none swap sw 0 0\n")
    logs = json.loads(machine.read("/etc/docker/daemon.json"))
    assert logs == {"log-driver": "json-file", "log-opts": {"max-file": "3", "max-size": "10m"}}
    certificate = machine.authority.crt.read_text()
    assert machine.read("/etc/docker/certs.d/registry.lab/ca.crt") == certificate
    # update-ca-certificates wraps no line anew.
    assert certificate.strip() in machine.read("/etc/ssl/certs/ca-certificates.crt")
    said = machine.run("apt-config dump APT::Periodic")
    assert 'APT::Periodic::Unattended-Upgrade "1"' in said.out and 'Update-Package-Lists "1"' in said.out
    # apt reads the key as another user than root, and Docker's client is not root either.
    for path in ("etc/docker", "etc/docker/certs.d/registry.lab", "etc/apt/keyrings"):
        place = machine.upper / path
        assert not place.exists() or place.stat().st_mode & 0o777 == 0o755, path


def check_nothing_changes(machine: Machine) -> None:
    """Check that another run finds nothing to do, says so, and leaves every file as it is."""
    before = machine.tree()
    again = machine.setup()
    assert again.status == 0 and again.out.endswith(NOTHING), again.out
    after = machine.tree()
    assert {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)} == set()


@pytest.mark.slow(each_commit=True)
def test_a_bare_machine_becomes_the_runners_and_a_second_run_changes_nothing(machine_with: MakeMachine) -> None:
    """Debian 12 does so over SSH, in test_ssh.py."""
    machine = machine_with("trixie")
    assert machine.run("command -v docker").status != 0
    done = machine.setup()
    assert done.status == 0 and done.out.endswith(READY) and "Docker's own packages" not in done.out, done.out
    check_ready(machine)
    check_nothing_changes(machine)


@pytest.mark.parametrize("suite", ["bookworm"])
@pytest.mark.deep
def test_a_run_that_is_killed_after_any_change_is_finished_by_the_next(machine_with: MakeMachine, suite: str) -> None:
    whole = machine_with(suite)
    assert whole.setup(path=whole.watch()).status == 0
    # A folder that was made is looked at by nothing, and what only reads leaves nothing.
    calls = [
        call for call in dict.fromkeys(whole.noted("calls")) if call.split()[0] not in ("mkdir", "dpkg", "python3")
    ]
    assert len(calls) > 20 and {call.split()[0] for call in calls} >= {
        "apt-get",
        "mv",
        "usermod",
        "update-ca-certificates",
        "swapon",
    }
    machine = machine_with(suite)
    killed = 0
    for call in calls:
        done = machine.setup(path=machine.watch(kill_after=call))
        killed += done.status != 0
        assert done.status == 0 or machine.noted("calls")[-1] == call, (call, done.out)
    # Each run but a few was cut off: what an earlier one had done was not done again.
    assert killed > 15, killed
    done = machine.setup(path=machine.watch())
    assert done.status == 0, done.out
    check_ready(machine)
    whole_tree, tree = lasting(whole), lasting(machine)
    assert {
        path: (whole_tree.get(path), tree.get(path))
        for path in whole_tree.keys() | tree.keys()
        if whole_tree.get(path) != tree.get(path)
    } == {}
    assert machine.setup().out.endswith(NOTHING)


@pytest.mark.deep
def test_a_machine_that_stopped_while_dpkg_worked_is_fixed(machine_with: MakeMachine) -> None:
    machine = machine_with("trixie")
    for point in (
        "status: docker-cli: half-installed",
        "status: docker.io: half-configured",
        "status: docker-compose: unpacked",
    ):
        done = machine.setup(path=machine.watch(kill_after=point))
        if point not in machine.noted("dpkg"):
            continue
        assert done.status != 0, done.out
        assert machine.run("dpkg --audit").out != "", point
    machine.watch()
    done = machine.setup()
    assert done.status == 0 and "finished an installation that was cut off" in done.out and done.out.endswith(READY), (
        done.out
    )
    check_ready(machine)
    assert machine.setup().out.endswith(NOTHING)
    # Stopped between the unpacking and the note of it, a package is in a state that neither configuring nor apt's --fix-broken ends.
    mark = "sed -i '/^Package: docker-compose$/,/^$/s/^Status: install ok installed/Status: install reinstreq unpacked/' /var/lib/dpkg/status"
    assert "must be reinstalled" in machine.run(f"{mark}; dpkg --audit").out
    done = machine.setup()
    assert done.status == 0 and "finished an installation that was cut off" in done.out, done.out
    assert machine.run("dpkg --audit").out == "" and machine.setup().out.endswith(NOTHING)


@pytest.mark.parametrize("suite", SUITES)
def test_without_a_network_it_says_so_and_leaves_nothing(machine_with: MakeMachine, suite: str) -> None:
    machine = machine_with(suite)
    machine.online = False
    before = lasting(machine)
    done = machine.setup()
    assert done.status == 1 and "Nothing was installed." in done.out and "un this again" in done.out, done.out
    what = "the key cannot be read" if suite == "bookworm" else "apt cannot get apparmor"
    assert what.replace("the key", "its key") in done.out
    assert lasting(machine) == before


def test_dockers_site_out_of_reach_leaves_no_source_behind(machine_with: MakeMachine) -> None:
    machine = machine_with("bookworm")
    machine.unreachable = {"docker"}
    before = lasting(machine)
    done = machine.setup()
    assert done.status == 1 and "its key cannot be read: E: Failed to fetch" in done.out, done.out
    assert lasting(machine) == before


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("page", "/linux/debian/gpg is no key; does a page to log in to stand in between?"),
        ("stranger", "apt finds no docker-ce there for Debian GNU/Linux 12 (bookworm), see the note above"),
        ("other", "apt finds no docker-ce there"),
    ],
)
@pytest.mark.deep(keep=1)
def test_a_site_that_is_not_dockers_is_not_believed(machine_with: MakeMachine, spoil: str, said: str) -> None:
    """A page of a hotel's network, packages that another key has signed, and a site without this Debian."""
    machine = machine_with("bookworm")
    site = machine.own_site()
    if spoil == "page":
        (site / "linux/debian/gpg").write_text("<html>Please log in</html>\n")
    elif spoil == "stranger":
        signer = Signer(machine.folder / "gpg")
        signer.publish_key("stranger", site / "linux/debian/gpg")
        signer.close()
    else:
        shutil.copy(CACHE / "docker/linux/debian/gpg", site / "linux/debian/gpg")
        (site / "linux/debian/dists").rename(site / "linux/debian/gone")
    before = lasting(machine)
    done = machine.setup()
    assert done.status == 1 and said in done.out and "Nothing was installed." in done.out, done.out
    if spoil == "stranger":
        assert "note: apt-get update says: E: " in done.out
    assert lasting(machine) == before


@pytest.mark.parametrize(
    ("system", "family", "codename"),
    [
        (
            "ID=ubuntu\nID_LIKE=debian\nVERSION_ID=24.04\nVERSION_CODENAME=noble\nUBUNTU_CODENAME=noble",
            "ubuntu",
            "noble",
        ),
        (
            "ID=linuxmint\nID_LIKE='ubuntu debian'\nVERSION_ID=22.1\nVERSION_CODENAME=xia\nUBUNTU_CODENAME=noble",
            "ubuntu",
            "noble",
        ),
        (
            "ID=linuxmint\nID_LIKE=debian\nVERSION_ID=6\nVERSION_CODENAME=faye\nDEBIAN_CODENAME=bookworm",
            "debian",
            "bookworm",
        ),
        ("ID=debian\nVERSION_ID=11\nVERSION_CODENAME=bullseye", "debian", "bullseye"),
    ],
)
@pytest.mark.deep(keep=1)
def test_each_relative_of_debian_gets_its_own_packages(
    machine_with: MakeMachine, system: str, family: str, codename: str
) -> None:
    machine = machine_with("bookworm")
    machine.publish_docker(family, codename)
    machine.write("/etc/os-release", f"{system}\nPRETTY_NAME='A relative'\n")
    done = machine.part("look_around; choose_engine; add_source; apt-cache policy docker-ce")
    assert done.status == 0 and re.search(rf"download\.docker\.com/linux/{family} {codename}/stable", done.out), (
        done.out
    )


def test_an_engine_that_apt_knows_already_gets_no_second_source(machine_with: MakeMachine) -> None:
    """An owner who has followed Docker's own page has docker.sources, with the key in docker.asc."""
    machine = machine_with("bookworm")
    key = (machine.sites["docker"] / "linux/debian/gpg").read_text()
    machine.write("/etc/apt/keyrings/docker.asc", key)
    mine = "Types: deb\nURIs: https://download.docker.com/linux/debian\nSuites: bookworm\nComponents: stable\nSigned-By: /etc/apt/keyrings/docker.asc\n"
    machine.write("/etc/apt/sources.list.d/docker.sources", mine)
    done = machine.part("look_around; choose_engine; add_source; known docker-ce && echo known")
    assert done.status == 0 and done.out == "known\n", done.out
    assert (
        machine.read("/etc/apt/sources.list.d/docker.sources") == mine
        and machine.read("/etc/apt/sources.list.d/lab-docker.sources") == ""
    )
