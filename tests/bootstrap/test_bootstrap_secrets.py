"""No secret anywhere but in its Secret or its 0600 file: command lines, environments, files and output are watched.

The tools that the script calls are wrapped, so that each call leaves its arguments and its environment behind; where
strace can be had it watches the rest, such as what Git starts by itself.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from journeys import LONG
from lab_world import Call, Run, World

WATCHED = (
    "git",
    "curl",
    "jq",
    "ssh-keygen",
    "base64",
    "sed",
    "awk",
    "cut",
    "sort",
    "tail",
    "grep",
    "sha256sum",
    "mktemp",
    "cp",
)
# What an owner may have in their environment already, exported: names that the script uses itself.
CLASHING = (
    "ROOT_TOKEN",
    "AUTHS",
    "API_BODY",
    "KUBE_OUT",
    "VM_OUT",
    "KEY_PRIVATE",
    "EXTERNAL_PASSWORD",
    "token",
    "password",
    "body",
    "answer",
    "runner_token",
    "secret",
    "url",
    "user",
    "wanted",
    "certificate",
)


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


def all_secrets(world: World) -> set[str]:
    """Every secret of the run, also as base64, also each line of a key."""
    plain = {s for s in world.secrets if len(s) > 5}
    plain |= {line for s in plain for line in s.splitlines() if len(line) > 20 and not line.startswith("-----")}
    return plain | {base64.b64encode(s.encode()).decode().rstrip("=") for s in plain if "\n" not in s}


def test_the_watch_sees_what_it_has_to_see(world: World) -> None:
    """The watch itself is tried with a leak of each sort."""
    log = watched(world)
    leak = world.lab / "leak.sh"
    leak.write_text(
        "#!/usr/bin/env bash\nsed -n p /dev/null --expression='glrt-onthecommandline'\n"
        "export x=glrt-intheenvironment\nsed -n p /dev/null\n"
    )
    leak.chmod(0o755)
    world.run(script="leak.sh")
    text = log.read_text()
    assert "glrt-onthecommandline" in text and "x=glrt-intheenvironment" in text


def test_no_secret_reaches_a_command_line_an_environment_the_output_or_a_readable_file(
    make_world: Callable[..., World],
) -> None:
    world = make_world(PIPELINE_AUTH="group-variable", GITLAB_GROUPS=["HomeLAB", "Tools"])
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
    world.watch = lambda name, arguments, environment: seen.append(
        "\0".join([name, *arguments, *map("=".join, environment.items())])
    )
    (world.home / ".curlrc").write_text(f'trace-ascii = "{world.folder}/curl.trace"\n')
    clashing = dict.fromkeys(CLASHING, "the owner's own value")
    runs = [world.must_run(GIT_TRACE_CURL="1", GIT_CURL_VERBOSE="1", SHELLOPTS="xtrace", **clashing)]
    if LONG:
        runs.append(world.must_run(**clashing))
    check(world, runs, [log.read_text(errors="replace"), *seen])
    assert loose == []
    modes = (world.folder / "modes").read_text().splitlines()
    assert modes and all(line.startswith("600 ") for line in modes if "/.env" in line), (
        "never open, not even for a moment"
    )
    assert not (world.folder / "curl.trace").exists()


def check(world: World, runs: list[Run], calls: list[str]) -> None:
    secrets = all_secrets(world)
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
    script = world.lab / "bootstrap.sh"
    traced = world.lab / "traced.sh"
    traced.write_text(f'#!/bin/sh\nexec strace -f -qq -v -s 100000 -e trace=execve -o "{log}" "{script}" "$@"\n')
    traced.chmod(0o755)
    run = world.must_run("--from", "storage", script="traced.sh")
    (world.lab / "traced.sh").unlink()
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


def test_an_error_that_quotes_a_secret_is_shown_without_it(world: World) -> None:
    """kubectl quotes what it could not read, in base64; the message goes through redact."""
    text = (world.lab / "bootstrap.sh").read_text().removesuffix('main "$@"\n')
    (world.lab / "one.sh").write_text(
        text + 'start_process\nhide_secret "hunter2 hunter2"\ndie "cannot read $1" "hunter2 hunter2"\n'
    )
    (world.lab / "one.sh").chmod(0o755)
    encoded = base64.b64encode(b"hunter2 hunter2").decode()
    run = world.run(f'{{"token":"{encoded}"}}', script="one.sh")
    assert run.status == 1
    assert "hunter2" not in run.text and encoded.rstrip("=") not in run.text and run.err.count("[hidden]") == 2
