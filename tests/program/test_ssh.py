"""How the program calls ssh, judged by ssh itself: `ssh -G` says what a call comes to, the owner's configuration included."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program.support.faked import Faked, patience
from tests.support import program
from tests.support.ssh_settings import EVERYTHING


def calls_of_ssh(tmp_path: Path) -> Iterator[list[str]]:
    """Yield each way in which the program starts ssh, up to the command on the other side."""
    for terminal in (False, True):
        asked = Faked([(0, "", "")])
        asked.console.terminal = terminal
        program.machine.Machine(asked, patience(), asked.console, "user", "machine").run("true")
        yield asked.calls[0].command
    anew = Faked([(255, "", "")])
    program.machine.Machine(anew, patience(), anew.console, "user", "machine").log_in_anew()
    yield anew.calls[0].command
    made = program.settings(private_ca=True)
    trusting = Faked([(0, "", "")])
    command = program.trust.Trust(tmp_path, trusting.console, trusting, program.Invocation(None, [], []))  # type: ignore[arg-type]
    command.settings = made
    (tmp_path / "scripts").mkdir()
    for name in (program.trust.SCRIPT, "ca.crt"):
        (tmp_path / name).touch()
    command.options = type("Options", (), {"remove": False})()  # type: ignore[assignment]
    command._there("root@node1")
    yield trusting.calls[0].command
    access = program.git.WithKey(tmp_path / "a key", tmp_path / "known hosts")
    yield [*shlex.split(program.git._ssh_command(access)), "git@git.example", "git-upload-pack 'x'"]


@pytest.mark.tool("ssh")
def test_every_call_of_ssh_hands_on_nothing_whatever_the_owner_has_set_up(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(EVERYTHING)
    calls = list(calls_of_ssh(tmp_path))
    assert len(calls) == 5
    for call in calls:
        name, *arguments = call
        done = subprocess.run([name, "-G", "-F", str(config), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
        for option in ("forwardagent", "forwardx11", "forwardx11trusted", "permitlocalcommand", "tunnel", "requesttty"):
            assert said[option] in ("no", "false"), (option, said[option], call)
        assert said.get("gssapidelegatecredentials", "no") == "no"
        assert not {"localforward", "remoteforward", "dynamicforward", "remotecommand"} & said.keys(), call
