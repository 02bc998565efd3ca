"""What other machines say, on a real terminal: not one of their control characters gets there, whoever says it.

Each attack is one that terminals have carried out: a title, the clipboard (OSC 52), a question that the terminal answers into
the owner's shell, a line above that is written anew, a file's name that reads backwards.
"""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hooks import words
from tests.bootstrap.support.faults import Fault
from tests.bootstrap.support.journeys import Journey
from tests.bootstrap.support.lab_world import World
from tests.support import program

ATTACKS = (
    "\x1b]0;title\x07", "\x1b]52;c;cm0gLXJmIH4=\x07", "\x1b]8;;http://evil\x1b\\here\x1b]8;;\x1b\\", "\x1b[1A\x1b[2K", "\x1b[c", "\x1b[?1049h", "\x1bP$qm\x1b\\",
    "\x1b_hidden\x1b\\", "\x1bc", "\x9b2J", "\x9d0;title\x9c", "\x90q\x9c", "\rover", "\x08\x08", "\x07", "\x0e", "\u202egnp.exe\u202c", "\u2028", "\x1b[31", "\x1b]0;open",
)  # fmt: skip
MARK = "WORDS-OF-ANOTHER"
HOSTILE = f"{MARK} {' '.join(ATTACKS)}"
ROOT = Path(__file__).parents[2]


def controls(text: str) -> list[str]:
    """Return the characters that do something instead of being shown: control characters, and those that format."""
    return [
        one
        for one in text
        if unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp") and one not in "\n\t\u200b\u200c\u200d\xad\ufeff"
    ]


def shown(world: World, *arguments: str, command: str = "up") -> str:
    """Run the program on a terminal, without colours: then it sends no control character of its own. Return all that came."""
    run = world.terminal(*arguments, command=command, NO_COLOR="1", LAB_RETRIES="1")
    run.wait()
    return run.heard.decode().replace("\r\n", "\n")


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize(
    ("stage", "source", "pattern"),
    [
        ("storage", "kubectl", " get "), ("flux", "kubectl", "apply"), ("gitlab", "helm", "upgrade"), ("runner", "ssh", "cloud-user"), ("sync", "kubectl", "apply"),
    ],
)  # fmt: skip
def test_a_program_that_quotes_another_machine_moves_no_cursor(
    journey: Journey, stage: str, source: str, pattern: str
) -> None:
    world = journey.to(stage)
    world.faults = [Fault(source, pattern, HOSTILE)]
    said = shown(world, "--yes", "--only", stage)
    assert MARK in said and controls(said) == []


def test_gitlabs_answers_move_no_cursor(journey: Journey) -> None:
    world = journey.to("groups")
    world.faults = [Fault("api", "POST /groups", 400, message=HOSTILE)]
    said = shown(world, "--yes", "--only", "groups")
    assert MARK in said and controls(said) == []


def test_what_a_git_server_says_to_a_push_moves_no_cursor(journey: Journey) -> None:
    """Git hands on what the other side's hook prints."""
    world = journey.to("sync")
    hooks = world.gitlab.repository(world.settings["lab_project"]) / "hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / "words").write_text(HOSTILE)
    (hooks / "pre-receive").write_text(f"#!/bin/sh\ncat '{hooks}/words'; exit 1\n")
    (hooks / "pre-receive").chmod(0o755)
    said = shown(world, "--yes", "--only", "sync")
    assert MARK in said and controls(said) == []


def hostile_conditions(world: World) -> None:
    for kind, name in (("GitRepository", "flux-system"), ("Kustomization", "automation")):
        item = world.cluster.find(kind, "flux-system", name)
        assert item is not None
        item["status"]["conditions"] = [{"type": "Ready", "status": "False", "message": f"{kind} {HOSTILE}"}]
    world.cluster.flux_works = False


def hostile_node(world: World) -> None:
    world.cluster.put(
        "Node",
        "",
        "node-9",
        status={"nodeInfo": {"kubeletVersion": HOSTILE}, "conditions": [{"type": "Ready", "status": "True"}]},
    )


def hostile_pods(world: World) -> None:
    world.cluster.refused = {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": HOSTILE}]}


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize("breaks", [hostile_conditions, hostile_node, hostile_pods])
def test_the_status_of_hostile_objects_moves_no_cursor(journey: Journey, breaks: Callable[[World], None]) -> None:
    world = journey.to("end")
    breaks(world)
    said = shown(world, command="status")
    assert MARK in said and controls(said) == []


def test_the_log_of_a_run_may_be_read_with_cat(journey: Journey) -> None:
    world = journey.to("groups")
    world.faults = [Fault("api", "POST /groups", 400, message=HOSTILE)]
    shown(world, "--yes", "--only", "groups")
    (log,) = (world.home / ".local/state/homelab").rglob("*.log")
    assert MARK in log.read_text() and controls(log.read_text()) == []


# Any words at all

pieces = st.sampled_from(
    [*ATTACKS, "\x1b", "\x1b[", "\x9b", "\x1b]", "\x07", "\x1b\\", "\n", "\t", "0", ";", "m", "[", "é"]
)
texts = st.lists(st.one_of(pieces, st.text(max_size=3)), max_size=12).map("".join)


@settings(deadline=None)
@given(texts)
@example("\x1b\x1b[31m")
@example("\x1b\x00[31m")
@example("\x9b\x1b[31m[31m")
def test_no_words_leave_a_control_character_or_lose_what_is_plain(text: str) -> None:
    cleaned = program.console_module.clean(text)
    assert controls(cleaned) == [] and words.clean(text) == words.ESCAPES.sub("", text)
    assert controls(words.clean(text)) == []
    plain = re.sub(r"[^\w\n\t ]", "", text) if not controls(text) else ""
    assert plain in re.sub(r"[^\w\n\t ]", "", cleaned)


def test_an_update_and_the_program_hide_the_same() -> None:
    assert words.ESCAPES.pattern == program.console_module._ESCAPES.pattern


def test_nothing_is_printed_past_what_cleans_it() -> None:
    """The program prints in console.py alone; an update says what it says through words.py, and the lab's check through clean()."""
    found = []
    parts = [*program.PACKAGE.rglob("*.py"), *(ROOT / "hooks/update").glob("*.py"), ROOT / "hooks/steps.py"]
    for file in parts:
        for node in ast.walk(ast.parse(file.read_text())):
            call = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if call in ("print", "sys.stdout.write", "sys.stderr.write", "os.write"):
                found.append((file.name, call))
    # The pipe of a password; and what runs in a pod, whose last words the program reads and shows cleaned.
    assert sorted(found) == [
        ("console.py", "sys.stderr.write"),
        ("git.py", "os.write"),
        ("inside.py", "sys.stdout.write"),
    ]
    check = (ROOT / "template/.gitlab/check.py").read_text()
    printed = [
        ast.unparse(node)
        for node in ast.walk(ast.parse(check))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    ]
    assert all("clean(" in call or "{read}" in call for call in printed) and len(printed) == 4
