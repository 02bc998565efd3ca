"""Counts words that make our sentences hard to read, in what owners and contributors read, per 1,000 words.

    python docs/tools/prose.py            a line for each kind of text
    python docs/tools/prose.py --where    each place, to go through them

What is counted, and what to write instead:

    stand, stands     is, has, lies: "the port is in values.yaml"
    of its own        a separate one, or nothing: "a separate runner"
    where             if: "if the lab has no runner". A place keeps its `where`: "the folder where", "says where"
    whoever, whatever the reader, anyone who; what
"""

from __future__ import annotations

import argparse
import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
WORDS = {
    "stand": re.compile(r"\b(?:stand|stands|stood|standing)\b(?!-ins?\b)", re.IGNORECASE),
    "of its own": re.compile(r"\bof (?:its|their|his|her|your|our|one's) own\b", re.IGNORECASE),
    # A place keeps its word: a question or a title that begins with it, and after a noun or a verb that asks for one.
    "where for if": re.compile(
        r"(?<!\bplace )(?<!\bplaces )(?<!\bfolder )(?<!\bfile )(?<!\bfiles )(?<!\bsay )(?<!\bsays )(?<!\bsee )(?<!\bknow )(?<!\bknows )(?<!\bis )"
        r"(?<!\bshows )(?<!\btell )(?<!\btells )(?<!\bask )(?<!\basks )(?<!\bexactly )(?<!\bto )(?<!\bof )(?<!\bfrom )(?<!\bmachine )(?<!\band )"
        r"\bwhere\b(?! (?:is|are|it is|they are|to|it (?:lies|goes|came|comes|stopped)|they (?:lie|go|came|come))\b)|\bWhere\b[^.?:|]{3,60}, "
    ),
    "whoever": re.compile(r"\b(?:whoever|whatever|whichever)\b", re.IGNORECASE),
}
WORD = re.compile(r"[A-Za-z][A-Za-z'\u2019-]*")


@dataclass(frozen=True)
class Text:
    """A piece of prose, and where it is."""

    kind: str
    place: str
    text: str


def _strings(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts of a Python file that somebody reads while it runs: no docstring, and more than one word."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    with_docstring = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, with_docstring) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
            and len(WORD.findall(node.value)) > 2
        ):
            yield node.lineno, node.value


def _of_python(kind: str, folder: str) -> Iterator[Text]:
    for file in sorted((ROOT / folder).rglob("*.py")):
        for line, text in _strings(file):
            yield Text(kind, f"{file.relative_to(ROOT)}:{line}", text)


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, str):
        yield value


def _of_questions() -> Iterator[Text]:
    for file in sorted((ROOT / "questions").glob("*.yml")):
        for name, question in yaml.safe_load(file.read_text(encoding="utf-8")).items():
            for part in ("help", "choices"):
                for text in _leaves(question.get(part, "")):
                    yield Text("questions", f"{file.relative_to(ROOT)}: {name}", text)


def _lines(kind: str, *files: Path, only: str = "") -> Iterator[Text]:
    """Yield files line by line; with *only*, a pattern, the part of a line that it finds."""
    for file in files:
        fenced = False
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            fenced ^= line.lstrip().startswith("```")
            found = re.search(only, line) if only else None
            if not fenced and (found or not only):
                yield Text(kind, f"{file.relative_to(ROOT)}:{number}", found[1] if found else line)


def texts() -> Iterator[Text]:
    """Yield everything that is counted."""
    chart = ROOT / "template/charts/app"
    yield from _of_questions()
    yield from _of_python("refusals", "extensions")
    yield from _of_python("program", "template/lab_program")
    yield from _of_python("updates", "hooks")
    for number, text in enumerate(_leaves(yaml.safe_load((ROOT / "hooks/effects.yml").read_text(encoding="utf-8")))):
        yield Text("updates", f"hooks/effects.yml: text {number}", text)
    runbook = [
        ROOT / "template/README.md.jinja",
        *sorted((ROOT / "partials").glob("*.md*")),
        *sorted((ROOT / "template/docs").glob("*")),
    ]
    yield from _lines("runbook", *runbook)
    yield from _lines(
        "chart", chart / "README.md", chart / "templates/NOTES.txt", *sorted((chart / "templates/checks").glob("_*"))
    )
    yield from _lines("chart", chart / "values.yaml", only=r"#(.*)")
    yield from _lines("documents", ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))


def counts(found: list[Text]) -> dict[str, dict[str, float]]:
    """Return for each kind of text the number of its words, and of each counted one in 1,000."""
    words: Counter[str] = Counter()
    hits: Counter[tuple[str, str]] = Counter()
    for one in found:
        words[one.kind] += len(WORD.findall(one.text))
        for name, pattern in WORDS.items():
            hits[one.kind, name] += len(pattern.findall(one.text))
    return {
        kind: {"words": number, **{name: 1000 * hits[kind, name] / number for name in WORDS}}
        for kind, number in words.items()
    }


def main() -> None:
    """Print the table, or each place."""
    parser = argparse.ArgumentParser(description="Count words that make sentences hard to read, per 1,000 words.")
    parser.add_argument("--where", action="store_true", help="print each place that is counted")
    found = list(texts())
    if parser.parse_args().where:
        for one in found:
            for name, pattern in WORDS.items():
                for match in pattern.finditer(one.text):
                    near = one.text[max(0, match.start() - 60) : match.end() + 60].replace("\n", " ")
                    print(f"{one.place}: [{name}] …{near}…")
    for kind, row in counts(found).items():
        print(f"{kind:10} {row['words']:7.0f} words" + "".join(f"  {name}: {row[name]:.2f}" for name in WORDS))


if __name__ == "__main__":
    main()
