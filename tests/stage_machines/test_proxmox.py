"""What Proxmox lacks is named, each with its value and its fix, by the program's own client against a Proxmox server's API."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.program.support.faked import patience
from tests.stage_machines.support.proxmox_server import ProxmoxServer
from tests.support import program
from tests.support.program import findings, http, proxmox, proxmox_checks, secret

pytestmark = pytest.mark.xdist_group("machines")
KEYS = ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDxjjQON",)


def settings(**changes: Any) -> program.settings_module.Settings:
    """Return the settings of a lab whose runner's machine is made on Proxmox."""
    usual = {
        "runner_machine": "proxmox",
        "iac_project": "ops/iac",
        "proxmox_endpoint": "https://pve.lab:8006/",
        "proxmox_node": "pve",
        "proxmox_image_store": "local",
        "proxmox_disk_store": "local-lvm",
        "proxmox_bridge": "vmbr0",
        "proxmox_vlan": 0,
        "runner_vm_id": 4711,
        "runner_address": "192.0.2.20/24",
        "runner_host": "runner.lab",
        "runner_user": "cloud-user",
    }
    return program.settings(**usual | changes)


def client(
    server: ProxmoxServer, token: str = "", authority: Path | None = None, endpoint: str = ""
) -> proxmox.Proxmox:
    trusting = http.Http(authority or server.authority.crt, {}, forgives_form=True)
    return proxmox.Proxmox(trusting, patience(), endpoint or server.endpoint, secret.Secret(token or server.token))


def look(
    server: ProxmoxServer,
    wanted: program.settings_module.Settings,
    keys: Sequence[str] = KEYS,
    answers: Sequence[tuple[str, int]] = (),
    **connection: Any,
) -> list[Any]:
    found = proxmox_checks.look(
        client(server, **connection), wanted, keys, lambda address, port: (address, port) in answers
    )
    return list(found)


def problems(found: Sequence[Any]) -> list[Any]:
    return [one for one in found if isinstance(one, findings.Problem)]


def test_a_server_that_has_everything_is_good_and_only_looked_at(proxmox: ProxmoxServer) -> None:
    proxmox.arrange(settings())
    found = look(proxmox, settings())
    assert problems(found) == [] and [type(one).__name__ for one in found] == ["Good", "Good", "Good"]
    assert {method for method, _ in proxmox.seen()["requests"]} == {"GET"}


MANY = ("VM.Allocate", "VM.Config.Disk")
LACKING: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    # What the server is like, what the lab asks for, what is said, how it is fixed.
    ({"content": {"local": "iso,vztmpl,backup"}}, {}, "local may not hold the system's image: its content is backup,iso,vztmpl", "pvesm set local --content backup,import,iso,vztmpl"),
    ({"content": {"local": "import,iso", "local-lvm": "rootdir"}}, {}, "local-lvm may not hold the machine's disk: its content is rootdir", "pvesm set local-lvm --content images,rootdir"),
    ({"sees": "/storage"}, {"proxmox_image_store": "nas"}, "the node pve has no storage nas", "for the system's image there are: local"),
    ({"sees": "/storage"}, {"proxmox_disk_store": "fast"}, "the node pve has no storage fast", "for the machine's disk there are: local-lvm"),
    ({"disabled": ["local-lvm"]}, {}, "the storage local-lvm is disabled, or does not work", "pvesm status on pve"),
    ({"nodes": {"pve7": True, "pve8": True}}, {}, "Proxmox has no node pve", "of these: pve7, pve8"),
    ({"nodes": {"pve": False, "pve2": True}}, {}, "the node pve is offline", "another of pve, pve2"),
    ({"quorate": False}, {}, "lost its quorum", "pvecm status"),
    ({}, {"proxmox_bridge": "vmbr9"}, "the node pve has no bridge vmbr9", "of these: vmbr0"),
    ({"guests": [{"number": 4711, "name": "nextcloud"}]}, {}, "the number 4711 is taken by nextcloud, on pve", "--data runner_vm_id=NUMBER"),
    ({"nodes": {"pve": True, "pve2": True}, "guests": [{"number": 4711, "name": "runner.lab", "node": "pve2"}]}, {}, "taken by runner.lab, on pve2", "has to be called runner.lab"),
]  # fmt: skip


@pytest.mark.parametrize(("order", "answers", "what", "fix"), LACKING, ids=[str(n) for n in range(len(LACKING))])
def test_what_is_missing_is_named_with_its_fix(
    proxmox: ProxmoxServer, order: dict[str, Any], answers: dict[str, Any], what: str, fix: str
) -> None:
    wanted = settings(**answers)
    proxmox.arrange(wanted, **order)
    (only,) = problems(look(proxmox, wanted))
    assert what in only.what and fix in only.fix, only


def test_everything_that_is_missing_is_said_at_once(proxmox: ProxmoxServer) -> None:
    wanted = settings(proxmox_bridge="vmbr5")
    proxmox.arrange(wanted, quorate=False, content={"local": "iso"}, guests=[{"number": 4711, "name": "x"}])
    assert len(problems(look(proxmox, wanted))) == 4


@pytest.mark.parametrize(
    "path", ["/", "/nodes/pve", "/storage/local", "/storage/local-lvm", "/vms/4711", "/sdn/zones/localnetwork/vmbr0"]
)
def test_a_token_without_a_right_is_told_which_and_where(proxmox: ProxmoxServer, path: str) -> None:
    needed = {where: list(held) for where, held in proxmox_checks.rights(settings()).items()}
    gone = needed[path].pop(0)
    proxmox.arrange(settings(), rights=needed)
    (only,) = problems(look(proxmox, settings()))
    told = [line for line in only.what.splitlines() if line.endswith(f" on {path}")]
    assert told == [f"{gone} on {path}"] and "pveum acl modify" in only.fix and gone in only.fix, only


@pytest.mark.parametrize("answers", [{"proxmox_vlan": 30}, {"proxmox_image_store": "local-lvm"}])
def test_the_commands_that_are_told_give_all_that_is_needed(proxmox: ProxmoxServer, answers: dict[str, Any]) -> None:
    """Carried out as Proxmox does it: roles at a path take the place of those above."""
    wanted = settings(**answers)
    text = proxmox_checks.commands(wanted)
    made = dict(re.findall(r'^pveum role add (\S+) --privs "([^"]+)"$', text, re.MULTILINE))
    roles = {name: held.split() for name, held in made.items()}
    roles["PVEAuditor"] = ["Sys.Audit", "VM.Audit", "Datastore.Audit", "SDN.Audit"]
    given = re.findall(r"^pveum acl modify (\S+) --users lab@pve --roles (\S+)$", text, re.MULTILINE)
    grants = {path: [one for name in names.split(",") for one in roles[name]] for path, names in given}
    for path, privileges in proxmox_checks.rights(wanted).items():
        above = max((one for one in grants if path == one or path.startswith(f"{one.rstrip('/')}/")), key=len)
        assert set(privileges) <= set(grants[above]), (path, above)
    assert [path for path, held in grants.items() if "Datastore.Allocate" in held] == [
        f"/storage/{wanted.proxmox_image_store}"
    ], "what may delete is given where images lie, and nowhere else"
    proxmox.arrange(wanted, rights=grants, content={"local": "import", "local-lvm": "images,import"})
    assert problems(look(proxmox, wanted)) == []


def test_a_storage_that_is_not_there_is_not_taken_for_a_right_that_is_missing(proxmox: ProxmoxServer) -> None:
    """An owner who mistypes its name has given rights on the other one."""
    given = {path: list(held) for path, held in proxmox_checks.rights(settings()).items()} | {
        "/storage": ["Datastore.Audit"]
    }
    proxmox.arrange(settings(), rights=given)
    lacking, missing = problems(look(proxmox, settings(proxmox_disk_store="local-lvn")))
    assert missing.what == "the node pve has no storage local-lvn" and "there are: local-lvm" in missing.fix
    assert "on /storage/local-lvn" in lacking.what


def test_a_right_that_does_not_reach_down_is_none(monkeypatch: pytest.MonkeyPatch, proxmox: ProxmoxServer) -> None:
    found = client(proxmox)
    monkeypatch.setattr(
        found,
        "_get",
        lambda _: {"/": {"Sys.Audit": 0, "VM.Audit": 1}, "/vms/1": {"VM.Allocate": 0}, "/vms/10": {"Sys.Modify": 1}},
    )
    assert found.permissions("/vms/1") == {"VM.Audit", "VM.Allocate"}


def test_a_token_that_is_unknown_is_told_apart_from_all_else(proxmox: ProxmoxServer) -> None:
    proxmox.arrange(settings())
    (only,) = look(proxmox, settings(), token="lab@pve!lab=00000000-0000-0000-0000-000000000000")
    assert isinstance(only, proxmox_checks.TokenRefused) and "pveum user token add lab@pve lab" in only.fix


def test_a_certificate_of_an_unknown_authority_is_told_with_the_line_that_copies_it(
    proxmox: ProxmoxServer, tmp_path: Path
) -> None:
    stranger = type(proxmox.authority)(tmp_path / "other", name="Somebody else")
    proxmox.arrange(settings())
    (only,) = look(proxmox, settings(), authority=stranger.crt)
    assert "scp root@pve.lab:/etc/pve/pve-root-ca.pem iac/proxmox-ca.crt" in only.fix and "not trusted" in only.what
    assert proxmox.seen()["requests"] == [], "the token went nowhere"


def test_a_certificate_for_another_name_is_told_apart(proxmox: ProxmoxServer) -> None:
    proxmox.arrange(settings())
    (only,) = look(proxmox, settings(), endpoint=f"https://127.0.0.1:{proxmox.port}/")
    assert "is for another name" in only.what and "proxmox_endpoint" in only.fix


def test_nothing_that_listens_and_a_name_that_nobody_knows_are_told_apart(proxmox: ProxmoxServer) -> None:
    (closed,) = look(proxmox, settings(), endpoint="https://localhost:1/")
    assert "does not answer" in closed.what and "curl -vk https://pve.lab:8006/" in closed.fix
    (unknown,) = look(proxmox, settings(), endpoint="https://pve.invalid:8006/")
    assert "pve.lab is not known to DNS here" in unknown.what


def test_the_labs_own_machine_may_be_there_and_then_its_address_answers(proxmox: ProxmoxServer) -> None:
    proxmox.arrange(settings(), guests=[{"number": 4711, "name": "runner.lab"}])
    assert problems(look(proxmox, settings(), keys=(), answers=[("192.0.2.20", 22)])) == []


def test_an_address_that_answers_and_a_missing_key_are_problems_of_a_new_machine(proxmox: ProxmoxServer) -> None:
    proxmox.arrange(settings())
    key, address = problems(look(proxmox, settings(), keys=(), answers=[("192.0.2.20", 443)]))
    assert (key.check, address.check) == ("ssh-key", "address")
    assert "192.0.2.20, port 443" in address.what and "--data runner_address=" in address.fix
    dhcp = settings(runner_address="dhcp")
    assert problems(look(proxmox, dhcp, answers=[("dhcp", 22)])) == []


def test_a_machine_is_named_as_its_code_names_it() -> None:
    """iac/runner.tf: an address is no name of a machine."""
    names = {
        host: proxmox_checks.machine_name(settings(runner_host=host))
        for host in ("runner.lab", "192.0.2.4", "fd00::4", "4u")
    }
    assert names == {"runner.lab": "runner.lab", "192.0.2.4": "gitlab-runner", "fd00::4": "gitlab-runner", "4u": "4u"}
