"""What the program makes of OpenTofu's words and plans, and how it ends it: without OpenTofu itself.

tests/stage_machines/test_tofu.py holds the words against the real one.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.program.support.faked import Faked
from tests.support import program
from tests.support.program import errors, machines, programs, proxmox, tofu, tofu_run

LOCKED = """\
╷
│ Error: Error acquiring the state lock
│{}
│ Error message: HTTP remote state already locked: ID=5f0c1f3e
│ Lock Info:
│   ID:        5f0c1f3e-7b1d
│   Path:{}
│   Operation: OperationTypeApply
│   Who:       root
│   Version:   1.12.6
│   Created:   2026-11-28 15:20:34.141622 +0000 UTC
│   Info:{}
│{}
│ OpenTofu acquires a state lock to protect the state from being written
╵
""".replace("{}", "      ")
OLDER = """\
Initializing provider plugins...
╷
│ Error: Failed to query available provider packages
│{}
│ Could not retrieve the list of available versions for provider bpg/proxmox: locked provider registry.opentofu.org/bpg/proxmox 0.100.0 does not match
│ configured version constraint ~> 0.111.1; must use tofu init -upgrade to allow selection of new versions
╵
""".replace("{}", " ")
MACHINE, IMAGE = machines.RUNNER, "proxmox_download_file.runner_image"


def error(words: str) -> tofu.TofuError:
    return tofu.TofuError(programs.Result(1, "", words))


def test_who_holds_the_state_is_read_from_what_opentofu_says() -> None:
    lock = error(LOCKED).lock
    assert lock == tofu.Lock("5f0c1f3e-7b1d", "OperationTypeApply", "root", "2026-11-28 15:20:34.141622 +0000 UTC")
    assert str(lock) == "root, OperationTypeApply, since 2026-11-28 15:20:34.141622 +0000 UTC"
    assert error(OLDER).lock is None and error("").lock is None
    empty = error("Error: Error acquiring the state lock\n\nError message: HTTP 503").lock
    assert empty is not None and not empty.id, "one that does not say who is told all the same, and never released"


def test_an_error_is_told_without_its_frame_and_what_came_before() -> None:
    assert error(OLDER).words.startswith("Error: Failed to query") and "│" not in error(OLDER).words
    assert error(OLDER).wants_upgrade and not error(LOCKED).wants_upgrade
    assert (
        str(tofu.TofuError(programs.Result(127, "", "tofu cannot be started: No such file")))
        == "tofu cannot be started: No such file"
    )


def plan(*changes: tuple[str, str], imports: tuple[str, ...] = ()) -> tofu.Plan:
    """Return the plan of OpenTofu's JSON in which resources have actions, separated by commas."""
    resources: list[dict[str, Any]] = [
        {
            "address": address,
            "change": {"actions": what.split(",")} | ({"importing": {"id": "x"}} if address in imports else {}),
        }
        for address, what in changes
    ]
    return tofu.read_plan({"resource_changes": resources})


@pytest.mark.parametrize(
    ("found", "following"),
    [
        (plan(), machines.Next.NOTHING),
        (plan((MACHINE, "no-op"), ("data.x.y", "read")), machines.Next.NOTHING),
        (plan((MACHINE, "create"), (IMAGE, "create")), machines.Next.MAKE),
        (plan((MACHINE, "no-op"), imports=(MACHINE,)), machines.Next.MAKE),
        (plan((MACHINE, "update"), (IMAGE, "create"), imports=(MACHINE,)), machines.Next.MAKE),
        # What is there is the pipeline's to change, and nothing is destroyed from here, whatever comes with it.
        (plan((MACHINE, "update")), machines.Next.LEAVE),
        (plan((MACHINE, "delete,create")), machines.Next.LEAVE),
        (plan((MACHINE, "create,delete")), machines.Next.LEAVE),
        (plan((MACHINE, "create"), (IMAGE, "delete")), machines.Next.LEAVE),
        (plan((MACHINE, "create"), (IMAGE, "delete,create")), machines.Next.LEAVE),
        (plan((MACHINE, "delete,create"), imports=(MACHINE,)), machines.Next.LEAVE),
        (plan((IMAGE, "create")), machines.Next.LEAVE),
    ],
)
def test_a_plan_is_applied_only_where_the_machine_comes_into_the_state(
    found: tofu.Plan, following: machines.Next
) -> None:
    assert machines.next_for(found) is following


WORKER = """\
import os, signal, sys, time
def end(*_):
    print("caught", flush=True)
    time.sleep(0.3)
    open(sys.argv[1], "a").write("finished\\n")
    sys.exit(1)
signal.signal(signal.SIGINT, end)
print("begun", os.getpid(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def worker(tmp_path: Path) -> list[str]:
    """Return a program that, asked to end, finishes what it does."""
    (tmp_path / "worker.py").write_text(WORKER)
    return ["python3", str(tmp_path / "worker.py"), str(tmp_path / "done")]


def test_a_program_that_must_not_be_cut_off_is_asked_once_and_waited_for(worker: list[str], tmp_path: Path) -> None:
    def hear(line: str) -> None:
        if line.startswith("begun"):
            raise errors.Interrupted(signal.SIGTERM)

    started = time.monotonic()
    with pytest.raises(errors.Interrupted):
        tofu.run_to_its_end(Faked([]), worker, tmp_path, dict(os.environ), hear)
    assert (tmp_path / "done").read_text() == "finished\n" and time.monotonic() - started < 20


def test_a_signal_to_the_terminals_programs_does_not_reach_it_by_itself(worker: list[str], tmp_path: Path) -> None:
    """Twice SIGINT is to OpenTofu: stop at once, with the lock held."""
    groups: list[int] = []

    def hear(line: str) -> None:
        if line.startswith("begun"):
            number = int(line.split()[1])
            groups.append(os.getpgid(number))
            os.kill(number, signal.SIGINT)

    done = tofu.run_to_its_end(Faked([]), worker, tmp_path, dict(os.environ), hear)
    assert done.status == 1 and groups and os.getpgrp() not in groups and "caught" in done.out


def test_what_it_prints_and_what_it_complains_of_are_apart(tmp_path: Path) -> None:
    done = tofu.run_to_its_end(
        Faked([]), ["sh", "-c", "echo '{}'; echo warned >&2; exit 2"], tmp_path, dict(os.environ)
    )
    assert (done.status, done.out, done.err) == (2, "{}", "warned\n")
    missing = tofu.run_to_its_end(Faked([]), ["/nowhere/tofu"], tmp_path, {})
    assert missing.status == 127 and "cannot be started" in missing.err


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("OpenTofu v1.12.6", ""), ("OpenTofu v1.13.2\non linux_amd64", ""), ("OpenTofu v1.12.0-rc1", ""),
        ("OpenTofu v1.11.5", "tofu is 1.11.5; 1.12 or newer is needed"), ("OpenTofu v2.0.0", "tofu is 2.0.0; one before 2.0 is needed"),
        ("Terraform", "tofu does not say its version"),
    ],
)  # fmt: skip
def test_a_version_outside_of_what_the_code_takes_is_a_problem(said: str, problem: str) -> None:
    found = program.preflight_here.version_problem("tofu", said)
    assert (found.what if found else "") == problem


def test_the_codes_own_range_of_versions_is_preflights() -> None:
    here = program.preflight_here
    text = (program.PACKAGE.parent / "{% if lab.has_iac %}iac{% endif %}/versions.tf.jinja").read_text()
    assert f'required_version = ">= {here.OLDEST["tofu"]}, < {here.TOO_NEW["tofu"]}"' in text


@pytest.mark.parametrize(
    ("text", "is_token"),
    [
        ("lab@pve!lab=12345678-9abc-def0-1234-56789abcdef0", True), ("r.o-ot@pam!a_b=00000000-0000-0000-0000-000000000000", True),
        ("lab@pve!lab", False), ("12345678-9abc-def0-1234-56789abcdef0", False), ("lab!lab=12345678-9abc-def0-1234-56789abcdef0", False),
        ("PVEAPIToken=lab@pve!lab=12345678-9abc-def0-1234-56789abcdeg0", False), ("lab@pve!lab=12345678-9ABC-def0-1234-56789abcdef0", False),
        ("lab@pve!lab=12345678-9abc-def0-1234-56789abcdef0\nx", False), ("", False),
    ],
)  # fmt: skip
def test_a_token_has_the_form_that_proxmox_shows(text: str, is_token: bool) -> None:
    assert bool(proxmox.TOKEN.fullmatch(text)) is is_token


def test_the_owners_public_keys_are_found_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / ".ssh"
    folder.mkdir()
    key = f"AAAAC3NzaC1lZDI1NTE5AAAAI{'B' * 43}"
    files = {
        "a.pub": f"ssh-ed25519 {key} me@désk\n", "c.pub": f"ssh-ed25519 {key} again\n", "d.pub": "ssh-dss AAAA\n",
        "e-cert.pub": f"ssh-ed25519-cert-v01@openssh.com {'A' * 90}\n", "f.pub": "", "id": "-----BEGIN OPENSSH PRIVATE KEY-----\n",
    }  # fmt: skip
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")

    class Lab:
        def __init__(self, *keys: str) -> None:
            self.settings = program.settings(runner_ssh_keys=keys)
            self.environment = {"HOME": str(tmp_path)}

    assert tofu_run.public_keys(Lab()) == (f"ssh-ed25519 {key}",)
    assert tofu_run.public_keys(Lab("ssh-rsa AAAA")) == ("ssh-rsa AAAA",)


def test_a_private_key_or_nothing_in_place_of_proxmoxs_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "iac").mkdir()
    file = tmp_path / "iac/proxmox-ca.crt"

    class Lab:
        def __init__(self) -> None:
            self.folder = self.private = tmp_path
            self.ca_file, self.settings = tmp_path / "ca.crt", program.settings(private_ca=False)
            self.environment: dict[str, str] = {}

    assert tofu_run.trusted(Lab()) is None, "the system's own then"
    for text, words in (
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "holds a private key"),
        ("pve\n", "no PEM certificate is in it"),
    ):
        file.write_text(text)
        with pytest.raises(errors.Failure, match=words):
            tofu_run.trusted(Lab())
