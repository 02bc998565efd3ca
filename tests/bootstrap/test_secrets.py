"""No secret anywhere but in its Secret or its 0600 file: command lines, environments, files and output are watched.

The tools that the script calls are wrapped, so that each call leaves its arguments and its environment behind; where
strace can be had it watches the rest, such as what Git starts by itself.
"""

from __future__ import annotations

import base64
import json
import pickle
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.bootstrap.support.journeys import LONG
from tests.bootstrap.support.lab_world import Call, Run, World
from tests.support import program

# What the program starts, beside the stand-ins.
WATCHED = ("git", "ssh-keygen")
# What an owner may have in their environment already.
OWNERS = {"token": "the owner's value", "ROOT_TOKEN": "the owner's value", "password": "the owner's value"}


def watched(world: World) -> Path:
    """Wrap every tool; return the log of their arguments and environments."""
    log = world.folder / "calls.log"
    behind = world.folder / "behind the watch"
    behind.mkdir()
    for name in WATCHED:
        program = world.bin / name
        if program.exists():  # the world's own stand-in
            real = program.rename(behind / name)
        elif (real := shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")) is None:
            continue
        program.write_text(
            f"#!/bin/sh\n{{ printf '%s\\0' {name} \"$@\"; /bin/cat /proc/$$/environ; printf '\\n'; }} >>'{log}'\n"
            f"exec '{real}' \"$@\"\n"
        )
        program.chmod(0o755)
    return log


# What a Secret holds that everybody may read.
PUBLIC = {"identity.pub", "known_hosts", "ca.crt", "username", "tls.crt"}


def all_secrets(world: World) -> set[str]:
    """Every secret that GitLab and the cluster hold after a run, also as base64, also each line of a key."""
    gitlab, cluster = world.gitlab, world.cluster
    found = {one["token"] for one in [*gitlab.pats, *gitlab.deploy_tokens, *gitlab.project_tokens, *gitlab.runners]}
    found |= {one["value"] for one in gitlab.variables if one["masked"]}  # the others stand in each job's log
    for item in cluster.of_kind("Secret"):
        values = cluster.secret(item["metadata"]["namespace"], item["metadata"]["name"])
        for name in values.keys() - PUBLIC:
            found |= {values[name].strip(), item["data"][name]}
        for login in json.loads(values.get(".dockerconfigjson", "{}")).get("auths", {}).values():
            found |= {login["password"], login["auth"]}
    plain = {s for s in found if len(s) > 5}
    plain |= {line for s in plain for line in s.splitlines() if len(line) > 20 and not line.startswith("-----")}
    return plain | {base64.b64encode(s.encode()).decode().rstrip("=") for s in plain if "\n" not in s}


def test_the_watch_sees_what_it_has_to_see(world: World) -> None:
    """The watch itself is tried with a leak of each sort."""
    log = watched(world)
    leak = world.lab / "leak.sh"
    leak.write_text("#!/bin/sh\ngit --glrt-onthecommandline\nexport x=glrt-intheenvironment\ngit --version\n")
    world.run(program=["sh", leak])
    text = log.read_text()
    assert "glrt-onthecommandline" in text and "x=glrt-intheenvironment" in text


def test_no_secret_reaches_a_command_line_an_environment_the_output_or_a_readable_file(
    make_world: Callable[..., World],
) -> None:
    world = make_world(pipeline_auth="group-variable", groups=["HomeLAB", "Tools"])
    log = watched(world)
    seen: list[str] = []
    loose: list[str] = []

    def look(call: Call, _count: int) -> bool:
        for path in world.private.rglob("*"):
            mode = path.stat().st_mode & 0o777
            if mode & 0o077:
                loose.append(f"{path} {mode:o} at {call}")
        return False

    world.kill_before = look
    world.look = lambda caller: seen.append(
        "\0".join([caller.name, *caller.arguments, *map("=".join, caller.environment.items())])
    )
    runs = [world.must_run("--verbose", GIT_TRACE_CURL="1", GIT_CURL_VERBOSE="1", GIT_TRACE2_EVENT="1", **OWNERS)]
    secrets = all_secrets(world)
    if LONG:
        runs.append(world.must_run(**OWNERS))
        secrets |= all_secrets(world)
    logs = list((world.home / ".local/state/homelab/homelab").iterdir())
    assert logs and all(log.stat().st_mode & 0o777 == 0o600 for log in logs)
    assert "kubectl" in logs[0].read_text() and "git -C" in runs[0].err, (
        "each command is logged, and shown if asked for"
    )
    check(world, secrets, runs, [log.read_text(errors="replace"), *seen])
    assert loose == []
    modes = (world.folder / "modes").read_text().splitlines()
    assert modes and all(line.startswith("600 ") for line in modes if "/.env" in line), (
        "never open, not even for a moment"
    )


def check(world: World, secrets: set[str], runs: list[Run], calls: list[str]) -> None:
    kinds = ("glpat-", "gldt-", "glrt-")
    assert all(any(s.startswith(k) for s in secrets) for k in kinds) and len(secrets) > 20, (
        "the test knows the secrets of the run"
    )
    for secret in secrets:
        for run in runs:
            assert secret not in run.text
        for call in calls:
            assert secret not in call, call[:300]
    readable = [p for p in [*world.lab.rglob("*"), *world.home.rglob("*"), *world.private.rglob("*")] if p.is_file()]
    for path in readable:
        text = path.read_bytes().decode(errors="replace")
        assert not any(secret in text for secret in secrets), path
    for path in world.vm.rglob("*"):
        if path.is_file() and any(secret in path.read_text() for secret in secrets):
            assert path.name == ".env" and path.stat().st_mode & 0o777 == 0o600
    assert not list(world.private.iterdir())


@pytest.mark.tool("strace")
@pytest.mark.skipif(not LONG, reason="a traced run takes its time: LONG=1")
def test_strace_sees_no_secret_in_any_program_that_is_started(make_world: Callable[..., World]) -> None:
    """Also in what Git and SSH start by themselves."""
    if not can_trace():
        pytest.skip("strace is not installed, or may not trace here")
    world = make_world()
    log = world.folder / "strace.log"
    strace = ["strace", "-f", "-qq", "-v", "-s", "100000", "-e", "trace=execve", "-o", log, world.lab / "lab"]
    run = world.must_run("--from", "storage", program=strace)
    text = log.read_text(errors="replace")
    assert "git-remote-http" in text, "what Git starts is seen"
    check_traced(world, run, text)


def check_traced(world: World, run: Run, text: str) -> None:
    for secret in all_secrets(world):
        assert secret not in text and secret not in run.text


def can_trace() -> bool:
    if shutil.which("strace") is None:
        return False
    return (
        subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode == 0
    )


def test_an_error_that_quotes_a_secret_is_shown_without_it() -> None:
    """kubectl quotes what it could not read, in base64, perhaps in the middle of something longer."""
    hidden = program.secret.Secret("hunter2 hunter2 /+é")
    console = program.console()
    words = [hidden.reveal(), json.dumps(hidden.reveal()), quote(hidden.reveal(), safe="")]
    words += [base64.b64encode(b"x" * lead + hidden.reveal().encode() + b"y" * lead).decode() for lead in range(4)]
    for one in words:
        console.warn(f"cannot read {one}")
    said = console.err.getvalue()
    assert said.count("[hidden]") == len(words), said
    assert "hunter2" not in said


def test_a_secret_shows_itself_to_nobody() -> None:
    hidden = program.secret.Secret("glpat-abcdefgh")
    assert {repr(hidden), str(hidden), f"{hidden}", f"{hidden:>5}", "%s" % hidden, repr([hidden])} == {"…", "[…]"}  # noqa: UP031 - one way to show it
    for leak in (lambda: pickle.dumps(hidden), lambda: json.dumps({"token": hidden}), lambda: "a" + hidden):
        with pytest.raises(TypeError):
            leak()
    assert (
        hidden == program.secret.Secret("glpat-abcdefgh")
        and hidden != "glpat-abcdefgh"
        and not program.secret.Secret("")
    )


# Where a secret's own value is taken: each hands it to a pipe or a header.
REVEALED_IN = {
    "secret.py",
    "clients/git.py",
    "clients/gitlab_transport.py",
    "clients/image_registry.py",
    "clients/objects.py",
    "clients/sops.py",
    "stages/age_key.py",
    "stages/credential.py",
    "stages/early_secrets.py",
    "stages/gitlab.py",
    "stages/registry.py",
    "stages/runner.py",
    # The owner's editor and key file: 0600, the first in memory. And the text that becomes a Secret before it is encrypted.
    "commands/editing.py",
    "commands/sealing.py",
    "key_file.py",
    # Whether the token for DNS-01, that of the alarm, the backups' access key or the client secret of a log-in is blank.
    "stages/certificates.py",
    "stages/alerts.py",
    "stages/backups.py",
    "stages/login_secret.py",
    # Proxmox's header, and what OpenTofu alone sees. The state's passphrase becomes a file of the owner's, or encrypted.
    "clients/proxmox.py",
    "stages/tofu_run.py",
    "stages/machine_secrets.py",
}


def test_a_secret_is_revealed_only_where_a_pipe_or_a_header_takes_it() -> None:
    files = {file: file.read_text() for file in program.PACKAGE.rglob("*.py")}
    assert {
        str(file.relative_to(program.PACKAGE)) for file, text in files.items() if ".reveal()" in text
    } == REVEALED_IN


def test_what_another_machine_says_cannot_move_the_cursor() -> None:
    console = program.console()
    hostile = "\x1b]0;title\x07\x1b[2J\x1b[31mred\x9b1m\rover\x08\x00 \u202egnp.exe\x1b(B\x1bPq\x1b\\ end"
    console.have(hostile)
    console.failed(program.errors.Failure(hostile, hostile, hostile), "")
    said = console.out.getvalue() + console.err.getvalue()
    assert said.count("red") == 4 and " end" in said
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", said)
