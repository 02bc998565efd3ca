"""Records `./lab up` in a terminal, from a bare cluster to a lab that is up, and draws how it ended: docs/pictures/up.svg.

    python docs/tools/up_picture.py

The cluster, GitLab and the runner's machine are the stand-ins of tests/bootstrap; the program is the lab's own. What differs from run to run
(commits, the stand-ins' port) is written as it would be at home.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
import sys
import tempfile
import termios
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.bootstrap.support.lab_world import World, world_in  # noqa: E402

PICTURE = ROOT / "docs" / "pictures" / "up.svg"
ROWS, COLUMNS = 44, 112
LAB = {
    "smtp_enabled": False,
    "owner_username": "jane",
    "owner_email": "jane@home.lan",
    "runner_host": "runner.home.lan",
    "groups": ["homelab"],
    "lab_project": "homelab-ops/homelab",
    "sample_project": "homelab/demo",
}
KEY = f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'J' * 43} jane"
COLOURS = {"31": "#d96c75", "32": "#9bc07c", "33": "#e6c07b"}
TEXT, BACKGROUND, BOLD = "#d8dee9", "#1e2430", "1"
WIDE, HIGH, EDGE = 8.4, 18, 14  # pixels: a column, a row, the edge around them
SEQUENCE = re.compile(r"\x1b\[([0-9;]*)m")


def recorded() -> list[str]:
    """Run `./lab up` in a terminal, and return the lines that stay, with their colours.

    Raises:
        RuntimeError: it did not end well.
    """
    with tempfile.TemporaryDirectory() as name:
        os.environ.setdefault("XDG_CACHE_HOME", name)
        return in_a_world(Path(name) / "world")


def in_a_world(folder: Path) -> list[str]:
    """Return what a run in a new world of the stand-ins leaves on the screen. See recorded."""
    with world_in(folder, owner_ssh_keys=[KEY], **LAB) as world:
        run = world.terminal("--yes", TERM="xterm", HTTPS_PROXY="")
        fcntl.ioctl(run.end, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        if run.wait() != 0:
            raise RuntimeError(run.said)
        # The stand-ins take no time from a tag to its page.
        return [at_home(line, world) for line in shown(run.said) if "from tag to page" not in line]


def shown(text: str) -> list[str]:
    """Return the lines that stay on the screen: one that is erased was the progress of something."""
    return [line.rpartition("\x1b[2K")[2].rstrip("\r") for line in text.replace("\r\n", "\n").split("\n")]


def at_home(line: str, world: World) -> str:
    """Write a line as it would read at home."""
    line = line.replace(str(world.settings["runner_home"]), "/home/cloud-user/containers/gitlab-runner")
    line = line.replace(f":{world.server.port}", "").replace("http://", "https://")
    line = re.sub(r"\b(gitlab|registry|demo)\.localhost\b", r"\1.home.lan", line)
    line = re.sub(r"\b[0-9a-f]{7,40}\b", "4f2a9c1e", line)
    return line.replace(str(world.lab), "~/my-lab").replace(str(world.home), "~")


def drawn(lines: list[str], title: str, columns: int = COLUMNS, rows: int = ROWS) -> str:
    """Return the last lines as an SVG; a screen reader reads its text."""
    last = lines[-rows:]
    plain = "\n".join(SEQUENCE.sub("", line) for line in last)
    wide, high = columns * WIDE + 2 * EDGE, len(last) * HIGH + 2 * EDGE
    return (
        "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:g} {high:g}" width="{wide:g}" height="{high:g}" role="img">',
                f"<title>{escape(title)}</title>",
                f"<desc>{escape(plain)}</desc>",
                f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>',
                f'<g font-family="ui-monospace, Menlo, Consolas, \'DejaVu Sans Mono\', monospace" font-size="14" xml:space="preserve" fill="{TEXT}">',
                *(piece for row, line in enumerate(last) for piece in pieces(row, line, columns)),
                "</g>",
                "</svg>",
            ]
        )
        + "\n"
    )


def pieces(row: int, line: str, columns: int = COLUMNS) -> Iterator[str]:
    """Return the parts of a line that look alike, each at its place."""
    column, look = 0, ""
    for number, part in enumerate(SEQUENCE.split(line)):
        if number % 2:
            look = f' fill="{COLOURS[part]}"' if part in COLOURS else ' font-weight="bold"' if part == BOLD else ""
            continue
        text = part[: max(0, columns - column)]
        if text.strip():
            x, y = EDGE + column * WIDE, EDGE + row * HIGH + 14
            yield f'<text x="{x:g}" y="{y:g}" textLength="{len(text) * WIDE:g}"{look}>{escape(text)}</text>'
        column += len(part)


def main() -> None:
    """Record and draw it."""
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(drawn(recorded(), "The end of ./lab up"), encoding="utf-8")


if __name__ == "__main__":
    main()
