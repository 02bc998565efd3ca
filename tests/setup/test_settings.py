"""What runner/setup.sh does with what an owner has set on the machine already, and what it refuses, on a real Debian."""

from __future__ import annotations

import json

import pytest

from tests.setup.support.debian_fixtures import MakeMachine, rendered
from tests.setup.support.debian_roots import USER
from tests.setup.test_machine import lasting

OURS = {"log-driver": "json-file", "log-opts": {"max-file": "3", "max-size": "10m"}}
MERGED = [
    # What stands in the file, and what stands there afterwards.
    ({"data-root": "/srv/docker", "registry-mirrors": ["https://mirror.lab"]}, True),
    ({"dns": ["10.0.0.1"], "features": {"buildkit": True}, "größe": "ja"}, True),
    ({"log-driver": "local"}, False),
    ({"log-opts": {"max-size": "1g"}}, False),
    ({"log-driver": "journald", "data-root": "/srv"}, False),
    ({}, True),
]


@pytest.mark.parametrize(("mine", "merged"), MERGED)
@pytest.mark.deep(keep=2)
def test_an_owners_settings_of_docker_stay(machine_with: MakeMachine, mine: dict[str, object], merged: bool) -> None:
    machine = machine_with("trixie")
    text = json.dumps(mine)
    machine.write("/etc/docker/daemon.json", text, 0o640)
    done = machine.part("settle_docker; echo $changed; settle_docker")
    found = machine.read("/etc/docker/daemon.json")
    assert json.loads(found) == (mine | OURS if merged else mine), done.out
    assert ("true\n" in done.out) is merged and done.out.count("after its next start") == merged, done.out
    if not merged:
        assert found == text
    assert (machine.upper / "etc/docker/daemon.json").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("text", ['{"log-driver": ', "[1]\n", "# none\n", '"local"'])
@pytest.mark.deep(keep=1)
def test_settings_of_docker_that_are_broken_are_named_before_anything_is_installed(
    machine_with: MakeMachine, text: str
) -> None:
    machine = machine_with("trixie")
    machine.write("/etc/docker/daemon.json", text)
    before = lasting(machine)
    done = machine.setup()
    assert (
        done.status == 1
        and "/etc/docker/daemon.json is not what Docker reads" in done.out
        and "nothing was installed" in done.out
    )
    assert lasting(machine) == before


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ("rm /usr/bin/apt-get; echo 'PRETTY_NAME=\"Fedora Linux 44\"' >/etc/os-release", "not Fedora Linux 44. Nothing was changed."),
        ("rm /usr/bin/apt-get /etc/os-release", "not an unknown system. Nothing was changed."),
        (f"userdel --remove {USER}", f"there is no user {USER} here. Make one (adduser {USER}), or: ./lab update --data runner_user=NAME"),
        ("mkdir /etc/pve", "this is a Proxmox host: Docker would cut its guests off the network."),
        ("ln -s /bin/true /usr/local/bin/docker", "/usr/local/bin/docker is of neither docker.io nor docker-ce. Nothing was changed."),
    ],
)  # fmt: skip
@pytest.mark.deep(keep=2)
def test_a_machine_that_is_not_for_it_is_refused_and_left_alone(
    machine_with: MakeMachine, order: str, said: str
) -> None:
    machine = machine_with("trixie")
    machine.run(order)
    before = lasting(machine)
    done = machine.setup()
    assert done.status == 1 and said in done.out, done.out
    assert "usermod -aG docker cloud-user" in done.out or "no user" in done.out or "Make a VM on it" in done.out
    assert lasting(machine) == before


@pytest.mark.deep
def test_debian_12s_own_docker_is_not_replaced_behind_its_owners_back(machine_with: MakeMachine) -> None:
    machine = machine_with("bookworm")
    assert machine.run("apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install docker.io").status == 0
    before = lasting(machine)
    done = machine.setup()
    assert done.status == 1 and "docker.io of Debian GNU/Linux 12 (bookworm) has no compose plugin" in done.out, (
        done.out
    )
    assert "apt-get remove docker.io (images and volumes stay)" in done.out and lasting(machine) == before


AS_USER = f"cp /root/setup.sh /root/ca.crt /home/{USER}/ && cd /home/{USER} && su {USER} -c 'sh setup.sh </dev/null'"


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (f"echo '{USER} ALL=(ALL) ALL' >/etc/sudoers.d/90-cloud-init-users", f"sudo asks {USER} for a password, and there is no terminal here"),
        ("rm /etc/sudoers.d/90-cloud-init-users", f"sudo asks {USER} for a password"),
        ("rm /usr/bin/sudo", f"{USER} is not root, and there is no sudo here. As root: sh setup.sh"),
    ],
)  # fmt: skip
@pytest.mark.deep(keep=1)
def test_who_cannot_become_root_is_told_how(machine_with: MakeMachine, order: str, said: str) -> None:
    machine = machine_with("trixie")
    assert machine.run(order).status == 0
    before = lasting(machine)
    done = machine.run(AS_USER)
    assert done.status == 1 and said in done.out, done.out
    assert {path for path, seen in lasting(machine).items() if before.get(path) != seen} == {
        f"home/{USER}/setup.sh",
        f"home/{USER}/ca.crt",
    }


KERNEL = "kernel.apparmor_restrict_unprivileged_userns", "kernel.unprivileged_userns_clone", "user.max_user_namespaces"


@pytest.mark.parametrize(
    ("values", "afterwards"),
    [
        (("1", "1", "63000"), ("0", "1", "63000")),
        (("0", "0", "0"), ("0", "1", "28633")),
        (("0", "1", "12000"), ("0", "1", "12000")),
    ],
)
@pytest.mark.deep(keep=1)
def test_rootless_buildkit_may_make_its_namespaces_and_nothing_more_is_opened(
    machine_with: MakeMachine, values: tuple[str, ...], afterwards: tuple[str, ...]
) -> None:
    machine = machine_with("trixie")
    script = rendered(build_method="buildkit")["runner/setup.sh"]
    machine.write("/root/setup.sh", script)
    machine.kernel = dict(zip(KERNEL, values, strict=True))
    calls = "; ".join(line for line in script.splitlines() if line.startswith("allow "))
    done = machine.part(f"{calls}; cat {' '.join('/proc/sys/' + name.replace('.', '/') for name in KERNEL)}; {calls}")
    changed = {name: after for name, before, after in zip(KERNEL, values, afterwards, strict=True) if before != after}
    said = [
        f"{name} = {value}, for rootless BuildKit (/etc/sysctl.d/60-lab-runner.conf)" for name, value in changed.items()
    ]
    assert done.out.splitlines() == [*said, *afterwards], done.out
    assert machine.read("/etc/sysctl.d/60-lab-runner.conf").splitlines() == [
        f"{name} = {value}" for name, value in changed.items()
    ]


def test_docker_in_docker_opens_nothing_of_the_kernel() -> None:
    assert "sysctl" not in rendered(build_method="dind")["runner/setup.sh"]


def test_what_the_owner_says_of_upgrades_and_swap_stands(machine_with: MakeMachine) -> None:
    machine = machine_with("trixie")
    machine.write("/etc/apt/apt.conf.d/99mine", 'APT::Periodic::Unattended-Upgrade "0";\n')
    machine.swaps.write_text(machine.swaps.read_text() + "/dev/sda2 partition 999 0 -2\n")
    before = lasting(machine)
    done = machine.part("upgrade_by_night; add_swap; echo $changed")
    assert done.out == "false\n" and {path for path in lasting(machine) if path not in before} == {"root/part.sh"}


def test_a_call_of_docker_that_says_where_its_logs_go_is_not_said_otherwise(machine_with: MakeMachine) -> None:
    """Docker does not start where both its call and daemon.json say it."""
    machine = machine_with("trixie")
    machine.write(
        "/usr/local/bin/systemctl", "#!/bin/sh\necho 'ExecStart=/usr/sbin/dockerd --log-driver=journald'\n", 0o755
    )
    before = lasting(machine)
    done = machine.part("settle_docker; echo $changed")
    assert done.out == "false\n" and {path for path in lasting(machine) if path not in before} == {"root/part.sh"}


def test_a_node_of_kubernetes_gets_no_swap_and_settings_of_apt_stay(machine_with: MakeMachine) -> None:
    machine = machine_with("trixie")
    machine.write("/usr/local/bin/k3s", "#!/bin/sh\n", 0o755)
    text = 'APT::Periodic::Update-Package-Lists "0";\n'
    machine.write("/etc/apt/apt.conf.d/20auto-upgrades", text)
    done = machine.part("add_swap; upgrade_by_night; echo $changed")
    assert done.out.count("note: no s") == 2 and done.out.endswith("false\n"), done.out
    assert machine.read("/etc/apt/apt.conf.d/20auto-upgrades") == text


@pytest.mark.parametrize("virtual", ["none", "vmware", "kvm", "qemu"])
@pytest.mark.deep(keep=1)
def test_the_guest_agent_is_for_virtual_machines_that_have_its_other_side(
    machine_with: MakeMachine, virtual: str
) -> None:
    machine = machine_with("trixie")
    machine.virtual = virtual
    machine.write("/usr/local/bin/apt-get", "#!/bin/sh\nexit 1\n", 0o755)
    done = machine.setup()
    assert "apt cannot get apparmor" in done.out and ("qemu-guest-agent" in done.out) is (virtual in ("kvm", "qemu")), (
        done.out
    )


@pytest.mark.deep
def test_it_waits_for_another_that_is_at_work_with_dpkg(machine_with: MakeMachine) -> None:
    """A first boot's cloud-init, or the nightly upgrade, holds the lock while its packages are half there."""
    machine = machine_with("trixie")
    machine.write(
        "/usr/local/bin/sleep",
        '#!/bin/sh\necho "waited $*" >>/tests/waited\nkill "$(cat /tests/holder)"; exec /bin/sleep 0.2\n',
        0o755,
    )
    hold = "import fcntl, os, time; f = open('/var/lib/dpkg/lock-frontend', 'w'); fcntl.lockf(f, fcntl.LOCK_EX); open('/tests/held', 'w').close(); time.sleep(60)"
    mark = "sed -i '/^Package: sudo$/,/^$/s/^Status: install ok installed/Status: install ok unpacked/' /var/lib/dpkg/status"
    machine.write("/root/hold.py", hold + "\n")
    machine.write(
        "/root/before",
        f"{mark}\npython3 /root/hold.py & echo $! >/tests/holder\nwhile ! test -e /tests/held; do :; done\n",
    )
    done = machine.run(
        "cd /root && . ./before && sed '/^choose_engine$/,$d' setup.sh >part.sh && sh part.sh && dpkg --audit"
    )
    assert done.status == 0 and done.out == "finished an installation that was cut off\n", done.out
    assert machine.noted("waited") == ["waited 10"]
