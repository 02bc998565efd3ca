"""After a copy: make the lab a Git repository of its own, unless it is one, and stage everything for the owner's first
commit.

Runs in the lab's folder. Exits 0 where Git is missing too: the lab is whole without it, and a line says what to do.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git in the lab's folder and return what it said."""
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)


def main() -> int:
    """Stage the lab, and return the exit code."""
    try:
        top = git("rev-parse", "--show-toplevel")
    except FileNotFoundError:
        print(
            "Git is not installed, so the lab is no repository yet: install it, then run `git init && git add -A`.",
            file=sys.stderr,
        )
        return 0
    outer = Path(top.stdout.strip()).resolve() if top.returncode == 0 else None
    # Flux looks for the lab's paths from the top of a repository, and the bootstrap pushes the whole of it.
    if outer != Path.cwd().resolve():
        made = git("init", "--quiet", "--initial-branch", sys.argv[1])
        if made.returncode != 0:
            print(made.stderr, end="", file=sys.stderr)
            return made.returncode
        if outer is not None:
            ignored, file = (
                shlex.quote(f"/{Path.cwd().resolve().relative_to(outer)}/"),
                shlex.quote(str(outer / ".gitignore")),
            )
            print(
                f"This folder lies inside the repository {outer}. The lab is a separate repository there."
                " Keep it out of the outer one:"
                f" echo {ignored} >> {file}",
                file=sys.stderr,
            )
    staged = git("add", "--all", ".")
    print(staged.stderr, end="", file=sys.stderr)
    return staged.returncode


if __name__ == "__main__":
    sys.exit(main())
