"""After a copy: make the lab a Git repository, unless it stands in one, and stage everything for the owner's first commit.

Runs in the lab's folder. Exits 0 where Git is missing too: the lab is whole without it, and a line says what to do.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git in the lab's folder and return what it said."""
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)


def main() -> int:
    try:
        top = git("rev-parse", "--show-toplevel")
    except FileNotFoundError:
        print("Git is not installed, so the lab is no repository yet: install it, then run `git init && git add -A`.", file=sys.stderr)
        return 0
    if top.returncode != 0:
        made = git("init", "--quiet", "--initial-branch", sys.argv[1])
        if made.returncode != 0:
            print(made.stderr, end="", file=sys.stderr)
            return made.returncode
    elif Path(top.stdout.strip()).resolve() != Path.cwd().resolve():
        print(
            f"This folder lies inside the repository {top.stdout.strip()}, where Flux would not find the lab's paths:"
            " give the lab a repository of its own. Nothing was staged.",
            file=sys.stderr,
        )
        return 0
    staged = git("add", "--all", ".")
    print(staged.stderr, end="", file=sys.stderr)
    return staged.returncode


if __name__ == "__main__":
    sys.exit(main())
