"""What is asked about machines: what only a rule by itself can be asked, and what two files have to say alike."""

from __future__ import annotations

import ipaddress
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from copier.errors import UserMessageError
from hypothesis import given, settings
from hypothesis import strategies as st

from extensions import machines
from extensions.facts import Lab
from tests.support.questions import QUESTIONS
from tests.support.rendering import ROOT, VALID, copy_lab, read_answers, recorded_answers, rendered
from tests.support.texts import problems

CODE = next((ROOT / "template").glob("*makes_runner*")) / "runner-variables.tf"
PROXMOX = {"runner_machine": "proxmox"}


def test_a_gateway_with_dhcp_is_refused_where_it_is_given() -> None:
    found = problems({**PROXMOX, "runner_gateway": "192.168.1.1"})
    assert found == [
        "runner_gateway: `192.168.1.1`: with dhcp the router tells the gateway; leave it out, or give runner_address a fixed one"
    ]


def test_a_fixed_address_needs_no_word_on_its_router() -> None:
    assert problems({**PROXMOX, "runner_address": "192.168.7.20/24"}) == []


@settings(deadline=None)
@given(st.ip_addresses(v=4), st.integers(8, 30))
def test_the_usual_gateway_is_right_for_every_address_that_is_right(
    address: ipaddress.IPv4Address, prefix: int
) -> None:
    answers: dict[str, Any] = {
        "runner_address": f"{address}/{prefix}",
        "trusted_proxies": ["10.42.0.0/16"],
        "runner_host": "runner.lan",
    }
    if machines.runner_address(answers["runner_address"], answers) is None:
        assert machines.runner_gateway(machines.usual_gateway(answers["runner_address"]), answers) is None


@pytest.mark.parametrize(
    "address", ["dhcp", "", "192.168.1.1", "192.168.1.1/31", "192.168.1.1/32", "fd00::1/64", "x/24", None]
)
def test_there_is_no_usual_gateway_without_a_network_that_has_room_for_one(address: Any) -> None:
    assert machines.usual_gateway(address) == ""


SHRINKING = [
    ({"runner_disk": 60}, {"runner_disk": 59}, True),
    ({"runner_disk": 60}, {"runner_disk": 60}, False),
    ({"runner_disk": 60}, {"runner_disk": 61}, False),
    ({"runner_disk": 60, "runner_vm_id": 120}, {"runner_disk": 30, "runner_vm_id": 121}, False),
    ({"runner_disk": 60, "runner_vm_id": 120}, {"runner_disk": 30, "runner_vm_id": 120}, True),
    ({"runner_disk": 60, "runner_machine": "existing"}, {"runner_disk": 30}, False),
    ({}, {"runner_disk": 30}, False),
    ({"runner_disk": 60}, {}, False),
]


@pytest.mark.parametrize(("recorded", "given", "refused"), SHRINKING)
def test_a_disk_does_not_shrink(recorded: dict[str, Any], given: dict[str, Any], refused: bool) -> None:
    said = machines.shrinks({"runner_machine": "proxmox", **recorded}, given)
    assert (said is not None) is refused
    if said is not None:
        assert f"`{given['runner_disk']}`" in said and f"`{recorded['runner_disk']}`" in said


IMAGE = {"vm_image_url": "https://a.example/x/old.qcow2", "vm_image_checksum": "a" * 128}
STALE = [
    ({"vm_image_url": "https://a.example/x/new.qcow2"}, True),
    ({"vm_image_url": "https://mirror.example/old.qcow2"}, False),
    ({"vm_image_url": "https://a.example/x/new.qcow2", "vm_image_checksum": "b" * 128}, False),
    ({"vm_image_checksum": "b" * 128}, False),
    ({}, False),
]


@pytest.mark.parametrize(("given", "refused"), STALE)
def test_a_checksum_does_not_stay_behind_when_the_image_changes(given: dict[str, Any], refused: bool) -> None:
    said = machines.stale_checksum(IMAGE, given)
    assert (said is not None) is refused
    assert said is None or ("`old.qcow2`" in said and "`new.qcow2`" in said)
    assert machines.stale_checksum({}, given) is None


def test_an_answer_that_shrinks_the_disk_of_a_lab_is_refused_and_nothing_is_written(
    shared: Path, tmp_path: Path
) -> None:
    answers = next(file for file in VALID if file.stem == "machines")
    lab = Path(shutil.copytree(rendered(shared, "machines", read_answers(answers)), tmp_path / "lab"))
    before = recorded_answers(lab)
    with pytest.raises(UserMessageError) as refused:
        copy_lab(shared / "template", lab, {"runner_disk": before["runner_disk"] - 1})
    assert (
        f"runner_disk: `{before['runner_disk'] - 1}` is smaller than the disk is, `{before['runner_disk']}`"
        in refused.value.message
    )
    assert recorded_answers(lab) == before


@pytest.mark.parametrize(
    ("answers", "project"),
    [
        ({}, ""),
        ({**PROXMOX, "runner_kind": "none"}, ""),
        (PROXMOX, "ops/iac"),
        ({**PROXMOX, "gitops_source": "external"}, "home-ops/iac"),
    ],
)
def test_the_project_is_in_the_group_of_those_who_administer_the_lab(answers: dict[str, Any], project: str) -> None:
    lab = Lab(
        {
            "runner_kind": "docker",
            "runner_machine": "existing",
            "aws": "none",
            "gitops_source": "self",
            "lab_group": "ops",
            "lab_name": "home",
        }
        | answers
    )
    assert lab.iac_project == project
    assert lab.has_iac is bool(project)


def test_no_question_about_the_machine_is_asked_of_a_lab_that_makes_none() -> None:
    for name in machines.RULES.keys() - {"runner_machine"}:
        assert "runner_machine == 'proxmox'" in QUESTIONS[name]["when"], name
    assert QUESTIONS["runner_machine"]["default"] == "existing"


def test_opentofu_knows_the_wizards_tables() -> None:
    code = CODE.read_text(encoding="utf-8")
    forms = re.findall(r'"(\S+)" += \{ begin = "(\S+)", least = (\d+), most = (\d+) \}', code)
    assert {kind: (begin, int(least), int(most)) for kind, begin, least, most in forms} == machines._KEYS
    users = re.search(r'taken_users = split\(" ", join\(" ", \[(.*?)\]\)\)', code, re.DOTALL)
    assert users is not None and set(" ".join(re.findall('"(.*)"', users[1])).split()) == machines.TAKEN_USERS


def test_each_answer_has_a_validation_in_opentofu_and_each_variable_is_read() -> None:
    folder: Path = CODE.parent
    variables = dict(re.findall(r'variable "(\w+)" \{\n(.*?)\n\}', CODE.read_text(encoding="utf-8"), re.DOTALL))
    assert machines.RULES.keys() - {"runner_machine", "proxmox_endpoint"} <= variables.keys() <= QUESTIONS.keys()
    assert {name for name, text in variables.items() if "validation {" not in text} == {"trusted_proxies"}
    for name, text in variables.items():
        for said in re.findall('error_message = "(.*)"', text):
            assert name in said or "var." + name in said, said
    code = (folder / "runner.tf").read_text(encoding="utf-8")
    assert {name for name in variables if f"var.{name}" not in code} == {"trusted_proxies"}
