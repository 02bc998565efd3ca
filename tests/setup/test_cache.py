"""What runner/setup.sh does in a lab with a cache of Docker Hub, on a real Debian, judged by Docker's own daemon."""

from __future__ import annotations

import json

import pytest

from tests.setup.support.debian_fixtures import MakeMachine, rendered
from tests.setup.support.debian_machine import Machine
from tests.setup.test_machine import check_nothing_changes

HUB = {"docker_hub_cache": True, "docker_hub_cache_host": "mirror.lab", "https_port": 8443}
CACHE = "https://mirror.lab:8443"
LOGS = {"log-driver": "json-file", "log-opts": {"max-file": "3", "max-size": "10m"}}
FILE = "/etc/docker/daemon.json"
RUNNING = """\
systemctl is-active docker || systemctl enable --now docker
docker info 2>/dev/null | sed -n '/Registry Mirrors/,/^ [A-Z]/p'
cd /root && sed '/^become_root$/,$d' setup.sh >part.sh && echo settle_docker >>part.sh && sh part.sh >/dev/null || exit 1
kill -HUP "$(cat /var/run/docker.pid)" && sleep 2
echo --
docker info 2>/dev/null | sed -n '/Registry Mirrors/,/Live/p'
"""


def machine_of(machine_with: MakeMachine) -> Machine:
    """Return a bare machine with the script of a lab that has a cache."""
    machine = machine_with("trixie")
    machine.write("/root/setup.sh", rendered(**HUB)["runner/setup.sh"])
    return machine


@pytest.mark.parametrize(
    ("mine", "mirrors"),
    [
        ({"data-root": "/srv/docker"}, [CACHE]),
        ({"registry-mirrors": ["https://mirror.other"]}, [CACHE, "https://mirror.other"]),
        ({"registry-mirrors": [f"{CACHE}/"], "log-driver": "local"}, [f"{CACHE}/"]),
        ({"log-driver": "local"}, [CACHE]),
        ({}, [CACHE]),
    ],
)
@pytest.mark.deep(keep=2)
def test_the_cache_comes_before_an_owners_mirrors_and_his_settings_stay(
    machine_with: MakeMachine, mine: dict[str, object], mirrors: list[str]
) -> None:
    machine = machine_of(machine_with)
    machine.write(FILE, json.dumps(mine), 0o640)
    done = machine.part("settle_docker; echo $reload; reload=; settle_docker; echo again=$reload.")
    wanted = mine | {"registry-mirrors": mirrors} | ({} if "log-driver" in mine else LOGS)
    assert json.loads(machine.read(FILE)) == wanted, done.out
    assert ("true\n" in done.out) is (wanted != mine) and done.out.endswith("again=.\n"), done.out
    assert (machine.upper / FILE[1:]).stat().st_mode & 0o777 == 0o640


def test_a_docker_whose_call_names_a_mirror_is_left_alone(machine_with: MakeMachine) -> None:
    """Docker does not start where both its call and daemon.json say it."""
    machine = machine_of(machine_with)
    call = "#!/bin/sh\necho 'ExecStart=/usr/sbin/dockerd --registry-mirror=https://mirror.other'\n"
    machine.write("/usr/local/bin/systemctl", call, 0o755)
    assert machine.part("settle_docker").status == 0 and not (machine.upper / FILE[1:]).exists()


@pytest.mark.slow
def test_a_bare_machine_asks_the_cache_and_trusts_it_and_docker_takes_its_settings(machine_with: MakeMachine) -> None:
    machine = machine_of(machine_with)
    done = machine.setup()
    assert done.status == 0, done.out
    assert json.loads(machine.read(FILE)) == LOGS | {"registry-mirrors": [CACHE]}
    certificate = machine.authority.crt.read_text()
    for registry in ("registry.lab:8443", "mirror.lab:8443"):
        assert machine.read(f"/etc/docker/certs.d/{registry}/ca.crt") == certificate
    machine.write("/root/daemon.json", rendered(**HUB)["runner/daemon.json"])
    for file in (FILE, "/root/daemon.json"):
        judged = machine.run(f"dockerd --validate --config-file {file}")
        assert judged.status == 0 and "configuration OK" in judged.out, judged.out
    check_nothing_changes(machine)
    # Docker runs already: it reads the mirrors anew when systemd reloads it, which is this signal.
    machine.write(FILE, json.dumps(LOGS))
    machine.write("/root/running.sh", RUNNING, 0o755)
    seen = machine.run("sh /root/running.sh").out.split("--")
    assert [f"{CACHE}/" in one for one in seen] == [False, True], seen
