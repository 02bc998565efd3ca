"""`./lab ssh-config`: what a real ssh makes of the owner's configuration before, with the lab's block, and after it."""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.program import Invocation, console_module, errors, programs, ssh_config
from tests.support.rendering import ROOT
from tests.support.tools import tool

LAB = ROOT / "example"
SETTINGS = json.loads((LAB / "lab_program/settings.json").read_text(encoding="utf-8"))
HOST, PORT = SETTINGS["gitlab_host"], SETTINGS["ssh_port"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the home of an owner who has no configuration of ssh yet."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def call(*arguments: str, lab: Path = LAB) -> str:
    """Run the command, and return what it says."""
    parser = argparse.ArgumentParser()
    ssh_config.SshConfig.add_arguments(parser)
    said = io.StringIO()
    console = console_module.Console({}, out=said, err=said, source=io.StringIO())
    found = programs.Programs(dict(os.environ), console, 0o022)
    ssh_config.SshConfig(lab, console, found, Invocation(parser.parse_args(arguments), [], arguments)).run()
    return said.getvalue()


def evaluated(config: Path, host: str = HOST) -> dict[str, str]:
    """Return what ssh makes of a configuration for a host, by option."""
    done = subprocess.run([tool("ssh"), "-G", "-F", str(config), host], capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


def write(home: Path, content: bytes, mode: int = 0o600) -> Path:
    (home / ".ssh").mkdir(exist_ok=True, mode=0o700)
    config = home / ".ssh/config"
    config.write_bytes(content)
    config.chmod(mode)
    return config


def test_without_an_option_it_shows_the_labs_entry_and_writes_nothing(home: Path) -> None:
    assert f"Host {HOST}\n" in call() and f"Port {PORT}\n" in call() and not (home / ".ssh").exists()


def test_it_makes_a_configuration_for_the_owner_alone_and_a_second_run_leaves_it(home: Path) -> None:
    assert "done" in call("--install")
    config = home / ".ssh/config"
    assert (config.stat().st_mode & 0o777, config.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    found = evaluated(config)
    assert (found["port"], found["user"], found["hostname"]) == (str(PORT), "git", HOST)
    before = config.stat()
    assert "ok" in call("--install") and config.stat() == before
    assert [file.name for file in config.parent.iterdir()] == ["config"]


OPTION = st.sampled_from(
    [
        "User me",
        "Port 2222",
        "IdentityFile ~/.ssh/other",
        "ServerAliveInterval 30",
        "# Port 1",
        "",
        "\tCompression yes",
        "Host *.lan",
        "Host *",
        "Host other.example web",
        "Match host other.example",
    ]
)


@pytest.mark.slow
@given(st.lists(OPTION, max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_other_host_is_reached_as_before_and_removal_gives_back_every_byte(
    home: Path, lines: list[str], line_end: str, ends: bool
) -> None:
    text = line_end.join(lines) + (line_end if ends and lines else "")
    config = write(home, b"# caf\xe9\n" + text.encode())
    before = {host: evaluated(config, host) for host in ("other.example", "a.lan")}
    content = config.read_bytes()
    call("--install")
    found = evaluated(config)
    assert (found["port"], found["user"], found["hostname"]) == (str(PORT), "git", HOST)
    assert {host: evaluated(config, host) for host in before} == before
    call("--remove")
    assert config.read_bytes() == content


def test_a_new_port_takes_the_place_of_the_old_one_where_the_block_lies(home: Path, tmp_path: Path) -> None:
    config = write(home, b"User me\n")
    call("--install")
    config.write_bytes(b"# mine, above\n" + config.read_bytes() + b"Host a\n")
    lab = tmp_path / "lab"
    (lab / "lab_program").mkdir(parents=True)
    (lab / "lab_program/settings.json").write_text(json.dumps(SETTINGS | {"ssh_port": 2299}), encoding="utf-8")
    (lab / "ssh_config").write_text(
        (LAB / "ssh_config").read_text(encoding="utf-8").replace(str(PORT), "2299"), encoding="utf-8"
    )
    call("--install", lab=lab)
    text = config.read_text(encoding="utf-8")
    assert evaluated(config)["port"] == "2299" and text.count(f"Host {HOST}\n") == 1
    assert text.startswith("# mine, above\n") and text.endswith("User me\nHost a\n")


def test_what_the_owner_has_set_in_the_labs_file_goes_along(home: Path, tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    (lab / "lab_program").mkdir(parents=True)
    (lab / "lab_program/settings.json").write_text(json.dumps(SETTINGS), encoding="utf-8")
    entry = (LAB / "ssh_config").read_text(encoding="utf-8").replace("# IdentityFile", "IdentityFile")
    (lab / "ssh_config").write_text(entry, encoding="utf-8")
    call("--install", lab=lab)
    assert evaluated(home / ".ssh/config")["identityfile"].endswith(f"id_ed25519_{SETTINGS['lab_name']}")


def test_a_link_stays_a_link_and_what_it_leads_to_is_changed(home: Path) -> None:
    dotfiles = home / "dotfiles"
    dotfiles.mkdir()
    (dotfiles / "ssh").write_text("User me\n", encoding="utf-8")
    (dotfiles / "ssh").chmod(0o644)
    (home / ".ssh").mkdir()
    (home / ".ssh/config").symlink_to("../dotfiles/ssh")
    call("--install")
    assert (home / ".ssh/config").is_symlink() and (dotfiles / "ssh").stat().st_mode & 0o777 == 0o644
    assert evaluated(dotfiles / "ssh")["port"] == str(PORT)
    call("--remove")
    assert (home / ".ssh/config").is_symlink() and (dotfiles / "ssh").read_text(encoding="utf-8") == "User me\n"


@pytest.mark.parametrize("line", [f"Host {HOST}", f'host = "{HOST}"', f"HOST web {HOST}"])
def test_a_block_of_the_owners_for_that_host_is_theirs(home: Path, line: str) -> None:
    config = write(home, f"{line}\n    Port 22\n".encode())
    with pytest.raises(errors.Failure, match="in line 1, which leads elsewhere") as caught:
        call("--install")
    assert f"Port {PORT}" in caught.value.then
    assert config.read_text(encoding="utf-8") == f"{line}\n    Port 22\n"
    right = f"{line}\n    Port {PORT}\n    User git\n    HostName {HOST}\n"
    config.write_text(right, encoding="utf-8")
    assert "leads to" in call("--install") and config.read_text(encoding="utf-8") == right


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_to_which_others_may_write_is_refused_as_ssh_refuses_it(home: Path, mode: int) -> None:
    config = write(home, b"User me\n", mode)
    for way in ("--install", "--remove"):
        with pytest.raises(errors.Failure, match=rf"mode {mode:o}") as caught:
            call(way)
        assert "chmod go-w" in caught.value.then
    assert config.read_bytes() == b"User me\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"Prot 22\n", r"ssh cannot read .*(line 1|terminating)"), (b"Host a\n  Port none\n", "ssh cannot read")],
)
def test_a_configuration_that_ssh_cannot_read_is_left_as_it_is(home: Path, content: bytes, words: str) -> None:
    config = write(home, content)
    with pytest.raises(errors.Failure, match=words):
        call("--install")
    assert config.read_bytes() == content and [file.name for file in config.parent.iterdir()] == ["config"]


def test_a_block_that_lost_a_mark_is_named_and_left(home: Path) -> None:
    call("--install")
    config = home / ".ssh/config"
    damaged = "".join(
        line for line in config.read_text(encoding="utf-8").splitlines(keepends=True) if not line.startswith("# <<<")
    )
    config.write_text(damaged, encoding="utf-8")
    for way in ("--install", "--remove"):
        with pytest.raises(errors.Failure, match="damaged"):
            call(way)
    assert config.read_text(encoding="utf-8") == damaged


def test_labs_with_names_that_begin_alike_have_blocks_beside_each_other(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "lab"
    (other / "lab_program").mkdir(parents=True)
    changed = SETTINGS | {"lab_name": f"{SETTINGS['lab_name']}2", "gitlab_host": "git.second.lan", "ssh_port": 2224}
    (other / "lab_program/settings.json").write_text(json.dumps(changed), encoding="utf-8")
    (other / "ssh_config").write_text(
        "Host git.second.lan\n    HostName git.second.lan\n    Port 2224\n    User git\n", encoding="utf-8"
    )
    call("--install")
    call("--install", lab=other)
    config = home / ".ssh/config"
    assert (evaluated(config)["port"], evaluated(config, "git.second.lan")["port"]) == (str(PORT), "2224")
    call("--remove")
    assert evaluated(config)["port"] == "22" and evaluated(config, "git.second.lan")["port"] == "2224"


def test_nothing_to_remove_is_no_mistake(home: Path) -> None:
    assert "no block" in call("--remove") and not (home / ".ssh").exists()
