"""The wizard and iac/runner-variables.tf refuse the same: values that nobody wrote down are put to both.

`make test` puts one value of each kind to Terraform's engine, from PyPI; `make cluster-test` many, to OpenTofu as well. One plan judges
many sets of answers: each is an instance of the code that holds the variables.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import random
import shutil
import string
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from extensions import literals, machines, names
from tests.machines.support import engines
from tests.machines.support.engine_fixtures import DEEP
from tests.support.depth import every
from tests.support.refused_answers import REFUSED
from tests.support.rendering import recorded_answers

# The engines' graphs grow with the square of what is in them.
AT_ONCE = 25
# What the code knows of: the provider's address is none of its variables, and who is asked is not, either.
VARIABLES = [name for name in machines.RULES if name not in ("runner_machine", "proxmox_endpoint")]
FIXED = {"runner_address": "192.168.1.20/24", "runner_gateway": "192.168.1.1"}
Draw = Callable[[random.Random], Any]


def mutated(draw: random.Random, text: str) -> str:
    """Return a text with one character more, less, or another one."""
    where, other = draw.randrange(len(text) + 1), draw.choice(string.printable[:95] + "éß\n\t")
    return draw.choice(
        [
            text[:where] + other + text[where:],
            text[:where] + text[where + 1 :],
            text[:where] + other + text[where + 1 :],
        ]
    )


def near(*texts: str) -> Draw:
    """Draw what is right, or nearly."""
    return lambda draw: mutated(draw, draw.choice(texts)) if draw.random() < 0.7 else draw.choice(texts)


def number(*edges: int) -> Draw:
    """Draw numbers around edges, and others."""
    return lambda draw: draw.choice(edges) + draw.randint(-2, 2) if draw.random() < 0.8 else draw.randint(-10, 2**31)


def address(draw: random.Random) -> str:
    """Draw an address with its prefix, in any network, its own first and last address included."""
    start = draw.choice(
        [
            "10.42.0.0",
            "10.43.255.0",
            "10.41.255.0",
            "192.168.1.0",
            "172.16.0.0",
            "127.0.0.0",
            "224.0.0.0",
            "169.254.0.0",
            "0.0.0.0",
        ]
    )
    network = ipaddress.ip_network(f"{start}/{draw.randint(7, 32)}", strict=False)
    found = (
        network.network_address + draw.choice([0, 1, -1, draw.randrange(network.num_addresses)]) % network.num_addresses
    )
    return f"{found}/{network.prefixlen}"


def router(draw: random.Random) -> str:
    """Draw an address in the machine's network, or near it."""
    return str(
        ipaddress.ip_address("192.168.1.0") + draw.choice([0, 1, 19, 20, 21, 254, 255, 256, -1, draw.randint(0, 255)])
    )


def servers(draw: random.Random) -> list[str]:
    """Draw a list of addresses of both kinds, in usual and unusual forms."""
    one = [
        "192.168.1.1",
        "fd00::1",
        "FD00::1",
        "fd00:0::1",
        "::1",
        "::",
        "127.0.0.1",
        "ff02::1",
        "0.0.0.0",
        "255.255.255.255",
        "1.1.1.01",
        "2001:db8::a",
        "fe80::1",
    ]
    return [
        str(draw.choice(one)) if draw.random() < 0.8 else mutated(draw, "192.168.1.2")
        for _ in range(draw.randint(0, 4))
    ]


def public_key(draw: random.Random) -> str:
    """Draw a public key of any type, as sshd's own form has it, or a broken one."""

    def text(value: bytes) -> bytes:
        return len(value).to_bytes(4, "big") + value

    kind = draw.choice([*machines._KEYS, "ssh-dss"])
    parts = {"ssh-rsa": [b"\1\0\1", b"\0" + b"\xc3" * draw.choice([128, 256, 384, 512])], "ssh-dss": [b"\1" * 20]}
    for curve, size in (("nistp256", 65), ("nistp384", 97), ("nistp521", 133)):
        parts[f"ecdsa-sha2-{curve}"] = [curve.encode(), b"\4" + draw.randbytes(size - 1)]
    parts["ssh-ed25519"] = [draw.randbytes(32)]
    parts["sk-ssh-ed25519@openssh.com"] = [draw.randbytes(32), b"ssh:"]
    parts["sk-ecdsa-sha2-nistp256@openssh.com"] = [*parts["ecdsa-sha2-nistp256"], b"ssh:"]
    body = base64.b64encode(text(kind.encode()) + b"".join(text(part) for part in parts[kind])).decode()
    comment = draw.choice(["", " me@desk", " two words", "  blank", " jürgen", " " + "x" * draw.choice([200, 201])])
    return f"{kind} {body}{comment}"


def keys(draw: random.Random) -> list[str]:
    """Draw a list of public keys."""
    one = public_key(draw)
    return draw.choice(
        [
            [],
            [one],
            [one],
            [mutated(draw, one)],
            [mutated(draw, one)],
            [one, one],
            [one, public_key(draw)],
            [one, f"{one} again"],
        ]
    )


DEBIAN = "https://cloud.debian.org/images/cloud/trixie/20260914-2601/debian-13-genericcloud-amd64-20260914-2601.qcow2"
URLS = [
    DEBIAN, DEBIAN.replace("20260914-2601/", "latest/"), DEBIAN.replace("20260914-2601/", "latestage/"), "https://a/current.qcow2",
    "https://10.0.0.1:8443/a.qcow2", "https://images.example.com:65535/a-b_c~d.qcow2", "https://images.example.com:65536/a.qcow2",
    "https://10.0.0.300/a.qcow2", "https://a.b.7/a.qcow2", "https://0.0.0.0/a.qcow2", "https://current.example/concurrent.qcow2",
]  # fmt: skip
DRAWS: dict[str, Draw] = {
    "proxmox_node": near("pve", "PVE-1", "a" * 63, "a" * 64, "-a"),
    "proxmox_image_store": near("local", "fast.ssd", "a" * 100, "a" * 101, "ab"),
    "proxmox_disk_store": near("local-lvm", "Z_1", "a"),
    "proxmox_bridge": near("vmbr0", "vmbr0.100", "a" * 15, "_x"),
    "proxmox_vlan": number(0, 4094),
    "runner_vm_id": number(100, 999999999),
    "runner_address": lambda draw: (
        address(draw) if draw.random() < 0.8 else near("192.168.1.20/24", "dhcp", "192.168.1.20")(draw)
    ),
    "runner_gateway": lambda draw: router(draw) if draw.random() < 0.8 else near("192.168.1.1", "")(draw),
    "runner_dns": servers,
    "runner_cores": number(1, 128),
    "runner_memory": number(1024, 1048576),
    "runner_disk": number(20, 16384),
    "runner_ssh_keys": keys,
    "vm_image_url": near(*URLS),
    "vm_image_checksum": near("0123456789abcdef" * 8, "0123456789ABCDEF" * 8, "ab" * 32),
    "runner_user": lambda draw: (
        draw.choice(sorted(machines.TAKEN_USERS))
        if draw.random() < 0.3
        else near("cloud-user", "systemd-x", "_me", "a" * 32)(draw)
    ),
    "runner_host": near("gitlab-runner.lab.example.com", "192.168.1.20", "fd00::20", "a" * 63, "0.0.0.0", "a.7"),
}


# What OpenTofu's language fills in, escapes, or ends a text at.
ENOUGH = 20 if every() else 6
PIECES = [
    "${",
    "%{",
    "$",
    "%",
    "{",
    "}",
    "$${",
    "%%{",
    '"',
    "\\",
    "\n",
    "\t",
    "\x7f",
    "#",
    "//",
    "<<EOT",
    "é",
    "\u2028",
    "🐧",
    "a",
    " ",
]


def test_a_literal_reads_back_as_the_value_that_went_in(judge: Judge, tmp_path: Path) -> None:
    draw = random.Random(None if DEEP else 20261128)
    texts = ["".join(draw.choices(PIECES, k=draw.randint(0, 7))) for _ in range(300)]
    values = [*texts, texts[:3], [], 0, -7, True, False]
    lines = [f"    {literals.hcl(value)},\n" for value in values]
    (tmp_path / "main.tf").write_text('output "all" {\n  value = [\n' + "".join(lines) + "  ]\n}\n", encoding="utf-8")
    done = judge.engine.run(tmp_path, "apply", "-auto-approve", "-json")
    assert done.code == 0, done.said
    said = [json.loads(line) for line in done.said.splitlines() if line.startswith("{")]
    [*_, last] = [one["outputs"]["all"] for one in said if one["type"] == "outputs"]
    assert last["value"] == values


def test_every_answer_about_machines_is_drawn() -> None:
    assert set(DRAWS) == {*VARIABLES, "runner_user", "runner_host"}


def refused_by_the_wizard(question: str, answers: dict[str, Any]) -> bool:
    """Say whether the wizard refuses an answer, given the others."""
    value = answers[question]
    if question == "runner_user":
        return names.linux_user(value) is not None or machines.runner_machine("proxmox", answers) is not None
    if question == "runner_host":
        return names.host_or_address(value) is not None
    return machines.RULES[question](value, answers) is not None


class Judge:
    """One of the engines, which judges many sets of answers in one plan.

    Args:
        engine: which one.
        code: a lab's iac/, for the file with the variables.
        folder: an empty one.
    """

    def __init__(self, engine: engines.Engine, code: Path, folder: Path) -> None:
        self.engine, self.folder = engine, folder
        (folder / "variables").mkdir(parents=True)
        shutil.copy(code / "runner-variables.tf", folder / "variables")

    def refused(self, sets: list[dict[str, Any]]) -> dict[int, str]:
        """Return which sets are refused, each with what the engine says.

        An error of one variable keeps the engine from looking at what others have to do with one another: it is asked again about
        those that are left.
        """
        found: dict[int, str] = {}
        for start in range(0, len(sets), AT_ONCE):
            left = dict(list(enumerate(sets))[start : start + AT_ONCE])
            while new := self._plan(left):
                found |= new
                left = {position: answers for position, answers in left.items() if position not in new}
        return found

    def _plan(self, sets: dict[int, dict[str, Any]]) -> dict[int, str]:
        lines: list[str] = []
        for answers in sets.values():
            arguments = "".join(f"  {name} = {literals.hcl(value)}\n" for name, value in answers.items())
            lines.append(f'module "case_{len(lines)}" {{\n  source = "./variables"\n{arguments}}}')
        (self.folder / "main.tf").write_text("\n".join(lines) + "\n", encoding="utf-8")
        done = self.engine.run(self.folder, "get", "-no-color")
        assert done.code == 0, done.said
        done = self.engine.run(self.folder, "plan", "-json", "-refresh=false")
        found = {}
        for line in done.said.splitlines():
            said = json.loads(line) if line.startswith("{") else {}
            if said.get("@level") == "error":
                diagnostic = said["diagnostic"]
                assert diagnostic["summary"] == "Invalid value for variable", diagnostic
                place = next(i for i, n in reversed(self.starts(lines)) if n <= diagnostic["range"]["start"]["line"])
                found[list(sets)[place]] = diagnostic["detail"]
        assert done.code == (1 if found else 0), done.said
        return found

    @staticmethod
    def starts(lines: list[str]) -> list[tuple[int, int]]:
        """Return at which line of main.tf each set begins."""
        at, found = 1, []
        for position, text in enumerate(lines):
            found.append((position, at))
            at += text.count("\n") + 1
        return found


@pytest.fixture(scope="module", params=["terraform", "tofu"])
def judge(request: pytest.FixtureRequest, code: Path, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    folder = tmp_path_factory.mktemp("agree")
    if request.param == "tofu":
        request.getfixturevalue("built")
    made = getattr(engines, request.param)(folder / "engine")
    return Judge(made, code, folder / "plan")


@pytest.fixture(scope="module")
def right(code: Path) -> dict[str, Any]:
    """Return answers that are right, with a fixed address."""
    recorded = recorded_answers(code.parent)
    known = {name: recorded[name] for name in [*VARIABLES, "runner_user", "runner_host", "trusted_proxies"]}
    return {**known, **FIXED, "runner_dns": []}


def neighbours() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Return each wrong answer of tests/answers/invalid/ to a question of the code, with the right one beside it."""
    for row in REFUSED:
        # Which checksum belongs to which image only the wizard knows; Proxmox finds out when it downloads.
        if row.question in VARIABLES and "is the checksum of" not in row.message:
            yield row.question, row.answers, row.neighbour


def known(answers: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    """Return answers as the code takes them, with a gateway that goes with the address if none is named."""
    found = {**right, **{name: value for name, value in answers.items() if name in right}}
    if "runner_address" in answers and "runner_gateway" not in answers:
        found["runner_gateway"] = (
            ""
            if answers["runner_address"] == "dhcp"
            else machines.usual_gateway(answers["runner_address"]) or "192.168.1.1"
        )
    return found


@pytest.mark.skipif(not DEEP, reason="make cluster-test, and LONG=1, try them all")
def test_each_wrong_answer_is_refused_by_the_engine_and_its_neighbour_taken(
    judge: Judge, right: dict[str, Any]
) -> None:
    cases = [
        (question, known(wrong, right), known(wrong | instead, right))
        for question, wrong, instead in neighbours()
        # A single text where a list is asked for: the engine's own types refuse it.
        if isinstance(wrong[question], list) == isinstance(right[question], list) and wrong[question] != [7]
    ]
    assert {question for question, _, _ in cases} == set(VARIABLES)
    refused = judge.refused([wrong for _, wrong, _ in cases])
    assert [cases[position][:2] for position in range(len(cases)) if position not in refused] == []
    for position, said in refused.items():
        assert cases[position][0] in said, said
    assert judge.refused([instead for _, _, instead in cases]) == {}


@pytest.mark.slow(keep=1, each_commit=True)
def test_the_wizard_and_the_engine_refuse_the_same(judge: Judge, right: dict[str, Any]) -> None:
    # Where one value of each has to do, it is always the same.
    draw = random.Random(None if DEEP else 20261128)
    cases = []
    for question, drawn in DRAWS.items():
        kinds: set[bool] = set()
        for number in range(400):
            # So many draws may all be right, or all be wrong: then a few more.
            if number >= (ENOUGH if DEEP else 1) and (not DEEP or len(kinds) == 2):
                break
            answers = {question: drawn(draw), "groups": [], "lab_name": "lab"}
            if question == "runner_host":
                answers["runner_address"] = "dhcp"
            cases.append((question, {**answers, **known(answers, right)}))
            kinds.add(refused_by_the_wizard(*cases[-1]))
    expected = {
        position for position, (question, answers) in enumerate(cases) if refused_by_the_wizard(question, answers)
    }
    refused = judge.refused([{name: answers[name] for name in right} for _, answers in cases])
    differ = sorted(expected ^ refused.keys())
    told = [(cases[i][0], cases[i][1][cases[i][0]], "the engine" if i in refused else "the wizard") for i in differ]
    assert not told, "\n".join(map(repr, told))
    # Both kinds were drawn: of every question, if there were enough.
    for question in DRAWS if DEEP else [None]:
        kinds = {position in expected for position, (one, _) in enumerate(cases) if question in (one, None)}
        assert kinds == {True, False}, question
