"""The wizard in a terminal of 80 by 24, as tmux shows it; and each question's lines, whatever the terminal's size."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator

import pytest

from hooks.front import layout
from hooks.front.asking import Prompt
from hooks.front.screen import Screen
from hooks.front.template import Template, choices
from tests.support.questions import QUESTIONS
from tests.support.rendering import ROOT, recorded_answers
from tests.support.tools import run, tool
from tests.wizard.support.terminals import CTRL_C, MEANT, SEQUENCES, Labs

ROWS, COLUMNS = 24, 80


class Tmux:
    """A terminal whose screen can be looked at."""

    def __init__(self, labs: Labs) -> None:
        self.socket = ["-L", f"wizard-{os.getpid()}", "-f", "/dev/null"]
        words = [f"{name}={value}" for name, value in labs.environment().items() if name in {"PATH", "XDG_STATE_HOME"}]
        command = shlex.join(["env", *words, *map(str, labs.command(str(labs.lab), ""))])
        self.run(
            "new-session",
            "-d",
            "-x",
            str(COLUMNS),
            "-y",
            str(ROWS),
            "-c",
            str(labs.home),
            f"{command}; echo ended; sleep 100",
        )

    def run(self, *arguments: str) -> str:
        done = subprocess.run([tool("tmux"), *self.socket, *arguments], capture_output=True, text=True, check=True)
        return done.stdout

    def keys(self, *keys: str) -> None:
        self.run("send-keys", *keys)

    def shows(self, pattern: str) -> str:
        """Wait until the screen shows *pattern*, and return the whole of it."""
        end = time.monotonic() + 60
        while not re.search(pattern, screen := self.run("capture-pane", "-p"), re.MULTILINE):
            assert time.monotonic() < end, f"no {pattern!r} on:\n{screen}"
            time.sleep(0.05)
        return screen


@pytest.fixture
def tmux(labs: Labs) -> Iterator[Tmux]:
    terminal = Tmux(labs)
    yield terminal
    subprocess.run([tool("tmux"), *terminal.socket, "kill-server"], check=False, capture_output=True)


@pytest.fixture(scope="module")
def template() -> Template:
    return Template("lab")


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (60, 24), (40, 19)])
@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.slow(keep=60, each_commit=True)
def test_a_question_fits_the_terminal(
    template: Template,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    columns: int,
    rows: int,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(rows))
    monkeypatch.setenv("NO_COLOR", "1")
    entries = template.walk({"setup_level": "full"})
    entry = next(one for one in entries if one.name == name)
    prompt = Prompt(
        name,
        entry.default,
        about=f"page {entry.page}, {layout.position(entry, entries)}",
        help=template.help(entry, entries),
        choices=choices(entry),
        name=name,
    )
    Screen()._present(prompt)
    lines = capsys.readouterr().out.strip("\n").split("\n")
    assert max(map(len, lines)) <= columns
    # The answer's line, its choices, and two lines that say why an answer is refused.
    assert len(lines) + 1 + max(len(prompt.choices), 2) <= rows
    assert lines[0].startswith(f"-- {name}") and prompt.help.split()[0] in "".join(lines)
    assert layout.address(name)[: columns - 3] in "".join(lines[:2])


def test_what_is_cut_of_a_help_is_told_where_to_read() -> None:
    said = layout.explained("one\ntwo\nthree\nfour", 40, 3, "timezone")
    assert said == ["one", "two", "... more in docs/questions.md#timezone"]
    assert layout.explained("one\ntwo", 40, 3, "timezone") == ["one", "two"]


@pytest.mark.slow(each_commit=True)
def test_the_quick_wizard_on_80_by_24(tmux: Tmux, labs: Labs) -> None:
    """Each question is seen whole: name, address, help, choices, the answer's line; then back two, and the summary."""
    steps = {
        "setup_level": (["quick", "full"], ["Enter"]),
        "base_domain": (["address. One label is enough at home."], ["C-a", "C-k", "home.lan", "Enter"]),
        "tls_source": (
            ["HTTP-01", "an authority that the lab makes", "Traefik itself"],
            ["Down", "Down", "Down", "Enter"],
        ),
        "storage_backend": (["over NFS", "one node only"], ["Down", "Enter"]),
        "nfs_server": (["storage.home.lan"], ["Enter"]),
        "groups": (["homelab"], ["C-a", "C-k", "[home, friends/web]", "Enter"]),
        "runner_kind": (["in the cluster", "nowhere"], ["Down", "Enter"]),
    }
    for name, (seen, keys) in steps.items():
        screen = tmux.shows(rf"^\? {name} ?")
        last = screen[screen.rindex(f"-- {name} ") :]
        assert f"docs/questions.md#{name}" in last and "Ctrl-C stops" in last
        assert all(text in last for text in seen), last
        if name == "groups":
            tmux.keys("<")
            tmux.shows(r"nfs_server[^\x00]*groups[^\x00]*-- nfs_server[^\x00]*\? nfs_server storage.home.lan$")
            tmux.keys("<")
            screen = tmux.shows(r"-- nfs_server[^\x00]*-- storage_backend[^\x00]*» a storage server, over NFS$")
            tmux.keys("Enter")
            tmux.shows(r"-- storage_backend[^\x00]*\? nfs_server storage.home.lan$")
            tmux.keys("Enter")
            tmux.shows(r"\? groups \[homelab\]\s*\Z")
        tmux.keys(*keys)
    for _ in range(9):
        screen = tmux.shows(r"a key shows more|\? What now")
        if "? What now" in screen:
            break
        tmux.keys("Space")
        time.sleep(0.3)
    screen = tmux.shows(r"write the lab")
    assert "timezone " in screen and "-- What now" in screen
    assert not labs.lab.exists() and labs.answers_kept() == MEANT
    tmux.keys("Enter")
    tmux.shows("^ended")
    assert recorded_answers(labs.lab).items() >= MEANT.items() and labs.kept == []


@pytest.mark.slow
def test_why_an_answer_is_refused_is_seen_whole_and_the_answer_is_edited(tmux: Tmux) -> None:
    tmux.shows(r"^\? setup_level")
    tmux.keys("Enter")
    tmux.shows(r"^\? base_domain lab")
    tmux.keys("C-a", "C-k", "https://Home.lan", "Enter")
    assert "`https://Home.lan` is a URL; give the host only: `home.lan`" in tmux.shows("is a URL")


@pytest.mark.slow
def test_ctrl_c_and_the_next_run_goes_on(labs: Labs) -> None:
    wizard = labs.wizard()
    wizard.until("keeps the answers")
    wizard.until("full")
    wizard.type("\x1b[B\r")
    wizard.until("keeps the answers")
    wizard.until(" lab_name ")
    wizard.type(CTRL_C)
    assert wizard.wait() == 130 and "goes on with them" in wizard.said and "Traceback" not in wizard.said
    assert labs.answers_kept() == {"setup_level": "full"}
    again = labs.wizard()
    again.hears("1 answer.")
    again.until("begin anew")
    again.type("\r")
    again.until("-- lab_name (page lab, 2 of")
    again.until(" lab_name ")
    again.type(CTRL_C)
    assert again.wait() == 130


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize("colours", [True, False])
def test_no_color_takes_the_colours_away_and_nothing_else(labs: Labs, colours: bool) -> None:
    wizard = labs.wizard(**({} if colours else {"NO_COLOR": "1"}))
    wizard.until("keeps the answers")
    wizard.until("full")
    wizard.type("\r")
    wizard.until("keeps the answers")
    wizard.until(" base_domain ")
    wizard.type(CTRL_C)
    wizard.wait()
    looks = [one for one in SEQUENCES.findall(wizard.said) if one.endswith("m")]
    shades = [part for one in looks for part in one[2:-1].split(";") if part and int(part) >= 30]
    assert bool(shades) is colours
    assert "» quick" in SEQUENCES.sub("", wizard.said)


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize("answers", ["", str(ROOT / "answers.example.yml")], ids=["defaults", "ANSWERS"])
def test_without_a_terminal_nothing_is_asked_and_the_summary_comes_at_the_end(labs: Labs, answers: str) -> None:
    done = run(*labs.command(str(labs.lab), answers), cwd=labs.home, env=labs.environment(), stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    made = done.stderr.partition("ALL ANSWERS")[2]
    assert "* timezone            Etc/UTC" in made and "  base_domain         lab.example.com" in made
    assert made.index("WORTH A SECOND LOOK") < made.index("is ready, staged in Git")
    assert "Question" not in done.stdout and labs.kept == []


@pytest.mark.slow
def test_the_terminal_says_its_size_not_what_a_shell_left_in_lines_and_columns(labs: Labs) -> None:
    wizard = labs.wizard(columns=60, PLAIN="1", LINES="100", COLUMNS="200")
    wizard.until("setup_level: ")
    wizard.type(CTRL_C)
    wizard.wait()
    question = wizard.said.replace("\r", "").partition("Question: ")[2].partition("setup_level: ")[0]
    assert 50 < max(map(len, question.split("\n"))) <= 60
