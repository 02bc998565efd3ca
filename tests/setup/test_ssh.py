"""The lab's program sets up a bare machine over SSH: Debian's own sshd and sudo there, and Docker's own daemon at the end."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.setup.support.debian_fixtures import MakeMachine, rendered
from tests.setup.support.debian_machine import Machine
from tests.setup.support.debian_roots import USER
from tests.setup.test_machine import check_nothing_changes, check_ready
from tests.support import program

SHARED = "  ControlMaster auto\n  ControlPath {folder}/c\n  ControlPersist 60\n"
MakeLab = Callable[..., program.lab_module.Lab]


@pytest.fixture
def lab_at(tmp_path: Path) -> MakeLab:
    """Return what makes a lab whose runner's machine is the one that `ssh` in a folder reaches."""

    def make(machine: Machine, ssh: Path, user: str = USER, **console: Any) -> program.lab_module.Lab:
        folder = tmp_path / "lab"
        (folder / "runner").mkdir(parents=True)
        (folder / "runner/setup.sh").write_text(rendered()["runner/setup.sh"])
        (folder / "ca.crt").write_bytes(machine.authority.crt.read_bytes())
        seen = program.console(**console)
        programs = program.programs.Programs({"PATH": f"{ssh}:/usr/bin:/bin", "HOME": str(tmp_path)}, seen)
        settings = program.settings(
            private_ca=True, registry_address="registry.lab", runner_kind="docker", runner_host="runner", runner_user=user,
            runner_home=f"/home/{USER}/runner",
        )  # fmt: skip
        limits = program.environment.Limits()
        return program.lab_module.Lab(folder, settings, limits, seen, programs, tmp_path, {})

    return make


def said(lab: program.lab_module.Lab) -> str:
    """Return what the lab's program has printed."""
    assert isinstance(lab.console.out, io.StringIO) and isinstance(lab.console.err, io.StringIO)
    return lab.console.out.getvalue() + lab.console.err.getvalue()


@pytest.mark.deep
def test_the_program_makes_a_bare_machine_the_runners_over_ssh(machine_with: MakeMachine, lab_at: MakeLab) -> None:
    machine = machine_with("trixie")
    machine.systemd = True
    # The connection that an owner shares between commands began when the user was in no group.
    ssh = machine.ssh_folder(USER, SHARED.format(folder=f"/tmp/lab-{machine.folder.parent.name}"))
    Path(f"/tmp/lab-{machine.folder.parent.name}").mkdir(mode=0o700)
    lab = lab_at(machine, ssh, assume_yes=True)
    with machine.started():
        (before,) = program.preflight_here.runner_machine(lab)
        assert isinstance(before, program.findings.Good)
        assert before.what == (
            "the runner's machine runner lacks Docker and its compose plugin and the certificate of your authority: "
            "the stage runner brings that, after a yes (runner/setup.sh)"
        )
        program.runner_machine.prepare(lab)
        text = said(lab)
        assert "done   runner: This machine is ready for the runner.\n" in text and "no systemd" not in text
        assert "runner: Docker runs, and starts at each boot" in text
        (after,) = program.preflight_here.runner_machine(lab)
        assert isinstance(after, program.findings.Good) and after.what.startswith(
            "the runner's machine: Docker 26.1.5"
        ), after
        # The second time there is nothing to ask, to say or to do.
        tree = {
            path: seen
            for path, seen in machine.tree().items()
            if not path.startswith(("var/lib/docker", "var/lib/containerd", "var/log"))
        }
        lab.console.assume_yes = False
        program.runner_machine.prepare(lab)
        assert said(lab) == text
        again = {path: seen for path, seen in machine.tree().items() if path in tree}
        assert again == tree
        compose = rendered()["runner/compose.yaml"]
        for name, content in {"compose.yaml": compose, ".env": "", "config.toml": ""}.items():
            lab.machine.must("write", f"mkdir -p runner && cat >runner/{name}", content.encode() or b"\n")
        assert "gitlab-runner" in lab.machine.must("ask compose", "cd runner && docker compose config --services")
        assert lab.machine.run("ls -A /tmp").out == "", "what was sent is gone"


@pytest.mark.slow
def test_a_machine_that_cannot_be_set_up_is_said_in_its_own_words(machine_with: MakeMachine, lab_at: MakeLab) -> None:
    machine = machine_with("trixie")
    machine.online = False
    ssh = machine.ssh_folder(USER)
    lab = lab_at(machine, ssh, assume_yes=True)
    with machine.started():
        with pytest.raises(program.errors.Failure) as failed:
            program.runner_machine.prepare(lab)
        assert "runner could not be set up." in failed.value.what and "apt cannot get apparmor" in failed.value.what
        assert "it goes on where it stopped" in failed.value.then
        assert lab.machine.run("ls -A /tmp").out == ""


@pytest.mark.deep
def test_debian_12_gets_dockers_own_packages_over_ssh_and_a_docker_that_does_not_answer_is_named(
    machine_with: MakeMachine, lab_at: MakeLab
) -> None:
    """As root, whose files are nobody else's at first. Without systemd nothing starts Docker."""
    machine = machine_with("bookworm")
    lab = lab_at(machine, machine.ssh_folder("root"), user="root", assume_yes=True)
    with machine.started(), pytest.raises(program.errors.Failure) as failed:
        program.runner_machine.prepare(lab)
    assert (
        "runner was set up, and lacks a Docker that root may use (Cannot connect to the Docker daemon"
        in failed.value.what
    )
    assert "warn   runner: no systemd runs here: start Docker yourself" in said(lab)
    assert "done   runner: apt knows Docker's own packages now: /etc/apt/sources.list.d/lab-docker.sources" in said(lab)
    check_ready(machine)
    check_nothing_changes(machine)


@pytest.mark.parametrize("told", [{"assume_yes": False}, {"assume_yes": False, "source": io.StringIO("n\n")}])
@pytest.mark.deep(keep=1)
def test_without_a_yes_nothing_is_changed(machine_with: MakeMachine, lab_at: MakeLab, told: dict[str, Any]) -> None:
    machine = machine_with("trixie")
    lab = lab_at(machine, machine.ssh_folder(USER), **{name: value for name, value in told.items() if name != "source"})
    if "source" in told:
        lab.console.source, lab.console.terminal = told["source"], True
    with machine.started():
        before = machine.tree()
        with pytest.raises(program.errors.Failure) as failed:
            program.runner_machine.prepare(lab)
        changed = {path for path, seen in machine.tree().items() if before.get(path) != seen}
    assert not {path for path in changed if not path.startswith(("var/log/", "home/cloud-user/.ssh"))}, changed
    if "source" in told:
        assert failed.value.what == "runner was not set up; nothing was changed there."
        assert (
            "scp runner/setup.sh ca.crt cloud-user@runner: && ssh -t cloud-user@runner sh setup.sh" in failed.value.then
        )
    else:
        assert "There is no terminal to ask" in failed.value.what and "--yes" in failed.value.then
