"""What `make lab` runs: Copier from this checkout, with the answers of the wizard, the defaults, or a file of answers.

Arguments: the lab's folder, and a file of answers or an empty string; `--plain` before them keeps the wizard to plain
lines. Exits with Copier's code; 2 if an argument is wrong; 130 if the owner stopped the wizard.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent


def fail(message: str) -> int:
    """Say what is wrong, and return the exit code."""
    print(message, file=sys.stderr)
    return 2


def has_changes() -> bool:
    """Say whether the checkout differs from its last commit; Copier makes the lab of a commit that nobody keeps."""
    done = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, check=False)
    return bool(done.stdout.strip())


class _Twice(Exception):
    """A question that a file answers twice."""


class _OneAnswerEach(yaml.SafeLoader):  # type: ignore[misc]
    """Reads a file of answers; YAML's own reader would let the last of two answers win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:str" and key.value in seen:
                raise _Twice(key.value)
            seen.add(str(key.value))
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        return made


def answers_problem(file: Path) -> str | None:
    """Return what makes a file no file of answers. Copier would end in a traceback, before the template is loaded."""
    if not file.is_file():
        return "is no file"
    try:
        data = yaml.load(file.read_text(encoding="utf-8"), _OneAnswerEach)  # noqa: S506 - it is a safe loader
    except (OSError, UnicodeDecodeError) as error:
        return f"cannot be read: {error}"
    except _Twice as error:
        return f"answers `{error}` twice"
    except yaml.YAMLError as error:
        return "is not YAML: " + " ".join(str(error).split())
    if not isinstance(data, dict):
        return "holds no answers: one `question: answer` a line is expected, or `{}` for none"
    strange = next((name for name in data if not isinstance(name, str)), None)
    return None if strange is None and None not in data else f"holds `{strange}`, which is no question's name"


def folder_problem(destination: str) -> str | None:
    """Return why no lab can be made in this folder."""
    if not destination:
        return "Where shall the lab go? For example: make lab DEST=../my-lab"
    folder = Path(destination).expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        return f"`{destination}` is a file; give a folder that does not exist yet: make lab DEST=../my-lab"
    if folder.is_dir() and any(entry.name != ".git" for entry in folder.iterdir()):
        return (
            f"`{destination}` is not empty. For a new lab give another folder; to bring a lab up to date, run"
            " `./lab update` inside it."
        )
    if ROOT.resolve() in (folder.resolve(), *folder.resolve().parents):
        return (
            f"`{destination}` lies inside of the template's own checkout; give a folder beside it:"
            f" make lab DEST=../{folder.name}"
        )
    return None


def main(destination: str, answers: str, plain: bool = False) -> int:
    """Make the lab, or return the exit code."""
    if (problem := folder_problem(destination)) is not None:
        return fail(problem)
    if answers and (problem := answers_problem(Path(answers))) is not None:
        return fail(f"`{answers}` {problem}; give a file such as answers.example.yml")
    folder = Path(destination).expanduser().absolute()
    command = [str(Path(sys.executable).with_name("copier")), "copy", "--trust"]
    if (ROOT / ".git").exists():
        command += ["--vcs-ref", "HEAD"]
        if has_changes():
            print(
                "This checkout has changes that no commit holds. The lab will have them, but can never be updated:"
                " commit them first, unless it is for a try.",
                file=sys.stderr,
            )
    # An absolute path: `copier update` reads it from the lab's folder later on.
    places = [str(ROOT), str(folder)]
    if not answers and sys.stdin.isatty() and sys.stdout.isatty():
        from hooks.front import handover  # noqa: PLC0415 - only the wizard needs what it loads

        return handover.run(folder, destination, [*command, *places], plain or handover.wants_plain(os.environ))
    command += ["--defaults", *(["--data-file", answers] if answers else []), *places]
    sys.stdout.flush()
    return os.execv(command[0], command)


if __name__ == "__main__":
    # Python has put the folder of this file there.
    sys.path[0] = str(ROOT)
    words = [word for word in sys.argv[1:] if word != "--plain"]
    sys.exit(main(words[0], words[1], plain=len(words) < len(sys.argv) - 1))
