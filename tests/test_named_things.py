"""What a message or a document tells an owner to use is there: each script with its options, each file, each version."""

from __future__ import annotations

import argparse
import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Lab
from tests.support.program import COMMANDS, NAMES, cli
from tests.support.questions import QUESTIONS
from tests.support.rendering import DOCUMENTS, ROOT
from tests.support.tools import run, tool

# A script as it is called in a text, with what stands behind it.
SCRIPT = re.compile(r"(?<![\w/.])\./([a-z][\w-]*\.(?:sh|py)|lab(?![\w/-]))((?:[ =](?:-{1,2}[\w-]+|[\w<>…./=-]+))*)")
# A file of the lab or the template, in backticks or bare, by a folder that both know.
FILE = re.compile(
    r"(?<![\w/.<-])((?:\.gitlab|apps|automation|bootstrap|charts|clusters|docs|example|extensions|hooks|infrastructure|lab_program|partials|questions|runner|sample-app"
    r"|scripts|template|tests)/[\w.{}/-]*\w)"
)
# A version that Git has a tag of, as an option or a sentence names it.
VERSION = re.compile(r"(?:--vcs-ref[ =]|[Uu]pdate to (?:the template's )?version )(v?\d+\.\d+\.\d+)")


def messages(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the texts in the Python files of a folder that are not docstrings: file, and text."""
    for file in sorted(folder.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                yield f"{file.relative_to(ROOT)}:{node.lineno}", node.value


# Everything of ours that says something while it runs.
SPEAKING = ("hooks", "extensions", "template/lab_program", "template/.gitlab")


def shell_messages(lab: Path) -> Iterator[tuple[str, str]]:
    for file in sorted(lab.rglob("*.sh")):
        yield str(file.relative_to(lab)), file.read_text(encoding="utf-8")


def documents(lab: Path) -> Iterator[tuple[str, str]]:
    for file in [
        lab / "README.md",
        *lab.glob("sample-app/README.md"),
        *sorted((lab / "docs").glob("*.md")),
        *DOCUMENTS,
    ]:
        yield str(file), file.read_text(encoding="utf-8")


def everything(lab: Lab) -> list[tuple[str, str]]:
    found = [text for folder in SPEAKING for text in messages(ROOT / folder)]
    found += [*shell_messages(lab.path), *documents(lab.path)]
    files = [ROOT / "copier.yml", ROOT / "hooks/effects.yml", *sorted((ROOT / "questions").glob("*.yml"))]
    found += [(str(file.relative_to(ROOT)), file.read_text(encoding="utf-8")) for file in files]
    assert len(found) > 1000
    return found


# The lab's program as it is called in a text: a command, and the words that stand behind it.
CALL = re.compile(r"(?<![\w/.])\./lab(?![\w/])((?: +[\w<>…./=*:@-]+)*)")
# "./lab needs Python": a sentence about the program.
ABOUT_IT = {"needs", "of"}
# The page that shows how a stage is added calls its example so.
EXAMPLE_STAGE = ("docs/adding-a-stage.md", "clock")


def texts_with_calls(lab: Lab) -> Iterator[tuple[str, str]]:
    """Yield what the lab's program says, and every file of a lab and of the template that somebody reads."""
    for folder in SPEAKING:
        yield from messages(ROOT / folder)
    read = {".md", ".rb", ".sh", ".toml", ".tpl", ".yaml", ".yml"}
    for file in sorted(lab.path.rglob("*")):
        if file.is_file() and file.suffix in read and "flux-system" not in file.parts:
            yield f"the lab's {file.relative_to(lab.path)}", file.read_text(encoding="utf-8")
    for file in [
        ROOT / "copier.yml",
        ROOT / "CHANGELOG.md",
        *DOCUMENTS,
        *(ROOT / "questions").glob("*"),
        *(ROOT / "hooks").glob("*.yml"),
    ]:
        yield str(file.relative_to(ROOT)), file.read_text(encoding="utf-8")


@functools.cache
def options_of_commands() -> dict[str, set[str] | None]:
    """Return the options of each command, as the program's own parser has them; None where they are Copier's."""
    [commands] = [action for action in cli.parser()._actions if isinstance(action, argparse._SubParsersAction)]
    passing = {command.name for command in COMMANDS if command.passes_everything_on}
    return {
        name: None if name in passing else set(parser._option_string_actions)
        for name, parser in commands.choices.items()
    }


def wrong_calls(where: str, text: str) -> list[str]:
    """Return the calls of ./lab in a text that name a command, an option, a stage or an answer that is not there."""
    found = []
    for match in CALL.finditer(text):
        name, *words = [word.rstrip(".:") for word in match[1].split()] or [""]
        if name not in options_of_commands():
            known = name in {"", "COMMAND", "--help", *ABOUT_IT}
        else:
            options, pairs = options_of_commands()[name], list(zip(words, [*words[1:], ""], strict=False))
            stages = {
                value for word, value in pairs if word in {"--from", "--only"} and name == "up" and value.islower()
            }
            answers = {
                value.partition("=")[0]
                for word, value in pairs
                if word == "--data" and value.partition("=")[0] != "name"
            }
            known = options is None or {word for word in words if word.startswith("-")} <= options
            known = (
                known
                and stages <= {*NAMES, *(EXAMPLE_STAGE[1:] if where == EXAMPLE_STAGE[0] else [])}
                and answers <= QUESTIONS.keys()
            )
        if not known:
            found.append(match[0])
    return found


def source_of(script: Path) -> str:
    """Return a script's text with that of what it is made of: its options may be read there."""
    parts = [
        script,
        *sorted(
            file
            for name in ("bootstrap", "lab_program")
            for file in (script.parent / name).rglob("*")
            if file.suffix in {".sh", ".py"}
        ),
    ]
    return "\n".join(part.read_text(encoding="utf-8") for part in parts)


def missing_scripts(lab: Path, text: str) -> list[str]:
    """Return the calls in a text whose script, or option, is not there."""
    found = []
    for match in SCRIPT.finditer(text):
        script = lab / match[1]
        # Copier's own options pass through update.sh.
        options = [] if match[1] == "update.sh" else re.findall(r"(?<![\w-])--[a-z][\w-]+", match[2])
        if not script.is_file() or [option for option in options if option not in source_of(script)]:
            found.append(match[0])
    return found


def test_every_script_that_is_named_is_there_and_knows_the_options(article: Lab) -> None:
    assert [(where, call) for where, text in everything(article) for call in missing_scripts(article.path, text)] == []


def test_every_call_of_the_labs_program_is_one_that_it_takes(article: Lab) -> None:
    texts = list(texts_with_calls(article))
    assert sum(len(CALL.findall(text)) for _, text in texts) > 100
    assert [(where, call) for where, text in texts for call in wrong_calls(where, text)] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("run `./lab update --data sign_up=closed` again", []),
        ("./lab up --only runner; ./lab trust --here.", []),
        ("./lab needs Python 3.10", []),
        ("`./lab upp`", ["./lab upp"]),
        ("./lab status --all", ["./lab status --all"]),
        ("./lab up --form gitlab", ["./lab up --form gitlab"]),
        ("./lab up --from gitlub", ["./lab up --from gitlub"]),
        ("./lab update --data signup=closed", ["./lab update --data signup=closed"]),
        ("in example/lab, not ./labs or x./lab y", []),
        ("./lab restore --from FILE restores a file", []),
    ],
)
def test_a_call_that_the_program_does_not_take_would_be_noticed(text: str, found: list[str]) -> None:
    assert wrong_calls("a text", text) == found


# What only looks like a file that is there: an API of Kubernetes; the empty folder that an update makes for Copier; and what the reader of
# the page about stages makes. What the page about charts of others has its reader write is called podinfo.
NO_FILES = {"apps/v1", "hooks/nothing", "template/lab_program/stages/clock.py"}


@functools.cache
def files_of_some_lab() -> set[str]:
    """Return the template's files by the paths that they have in a lab whose answers bring them."""
    named = (
        re.sub(r"{%.*?%}|\.jinja$", "", str(file.relative_to(ROOT / "template")))
        for file in (ROOT / "template").rglob("*")
    )
    return {name for name in named if "{{" not in name}


def missing_files(lab: Path, text: str) -> list[str]:
    """Return the files that a text names and that are neither in any lab nor in the template."""
    found = []
    for match in FILE.finditer(text):
        name = match[1].rstrip(".")
        # A word in capitals stands for the owner's name of something.
        pattern = (
            re.search(r"[{A-Z]", name)
            or "<" in text[match.end() : match.end() + 2]
            or text[match.end() : match.end() + 1] in {"$", "*"}
        )
        there = (
            name in files_of_some_lab()
            or any((root / name).exists() for root in (lab, ROOT))
            or list(lab.glob(f"{name}*"))
        )
        if not pattern and not there and name not in NO_FILES and "podinfo" not in name:
            found.append(name)
    return found


def test_every_file_that_is_named_is_there(article: Lab) -> None:
    assert [(where, name) for where, text in everything(article) for name in missing_files(article.path, text)] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("it is in apps/gitlab/gitlab.rb.", []),
        ("see docs/nowhere.md, or scripts/nothing.sh", ["docs/nowhere.md", "scripts/nothing.sh"]),
        ("apps/<name>/helmrelease.yaml, apps/NAME and clusters/* are patterns", []),
        ("lab_program/nobody.py", ["lab_program/nobody.py"]),
        ("kind of apps/v1", []),
    ],
)
def test_a_file_that_is_not_there_would_be_noticed(article: Lab, text: str, found: list[str]) -> None:
    assert missing_files(article.path, text) == found


def test_no_message_names_a_version_that_nobody_made(article: Lab) -> None:
    """The versions of the template are its tags."""
    tags = set(run(tool("git"), "tag", "--list", cwd=ROOT).stdout.split())
    assert [
        (where, match[0])
        for where, text in everything(article)
        for match in VERSION.finditer(text)
        if match[1] not in tags
    ] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("run `./nothing.sh` again", ["./nothing.sh"]),
        ("./update.sh --data a=b", []),
        ("`./bootstrap.sh --onyl gitlab`", ["./bootstrap.sh --onyl gitlab"]),
        ("./bootstrap.sh --dry-run", []),
        ("./bootstrap.sh verify", []),
    ],
)
def test_a_script_that_is_not_there_would_be_noticed(article: Lab, text: str, found: list[str]) -> None:
    assert missing_scripts(article.path, text) == found


def test_a_version_that_nobody_made_would_be_noticed() -> None:
    assert [match[1] for match in VERSION.finditer("Update to version 1.0.0 first, with `--vcs-ref v1.0.0`.")] == [
        "1.0.0",
        "v1.0.0",
    ]
