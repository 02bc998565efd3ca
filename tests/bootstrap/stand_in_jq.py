"""The real jq's answers, with few jq started: a jq 1.6 takes 30 ms for that, and the scripts ask one a thousand times.

A jq that was started for a filter stays, and gets the next input for it. Whatever is not plain sailing (broken input,
an error, an option that is not known here) is asked of a jq of its own, whose words and status are the answer.
"""

from __future__ import annotations

import atexit
import functools
import json
import re
import subprocess
import threading
from dataclasses import dataclass

Answer = tuple[int, str, str]

PRINTING = ("--raw-output", "--compact-output")
READING = ("--slurp", "--raw-input")
VARIABLES = ("--arg", "--argjson")
END = "the answer to this question ends here"


def ask_jq(arguments: tuple[str, ...], text: str) -> Answer:
    """The answer of `jq ARGUMENTS`: its status, what it prints, and its complaints."""
    if any(re.search(r"\bnow\b", argument) for argument in arguments):
        return run_jq(arguments, text)
    return remembered(arguments, text)


@functools.lru_cache(maxsize=None)
def remembered(arguments: tuple[str, ...], text: str) -> Answer:
    out = None
    if (call := plain_call(arguments)) and (questions := call.questions(text)) is not None:
        out = staying_jq(call.printing, tuple(call.variables), call.program).ask(questions)
    return run_jq(arguments, text) if out is None else (0, out, "")


def run_jq(arguments: tuple[str, ...], text: str) -> Answer:
    done = subprocess.run(["jq", *arguments], input=text, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@dataclass
class Call:
    """A call of jq, taken apart: how it prints and reads, its variables (as JSON), and its filter."""

    printing: tuple[str, ...]
    reading: set[str]
    variables: dict[str, str]
    program: str

    def questions(self, text: str) -> list[str] | None:
        """Each input together with the variables, so that one jq answers whatever their values; None: broken input."""
        inputs = json_texts(text) if "--raw-input" not in self.reading else [json.dumps(text)]
        if inputs is None:
            return None
        if self.reading == {"--slurp"}:
            inputs = [f"[{','.join(inputs)}]"]
        variables = ",".join(f"{json.dumps(name)}:{value}" for name, value in self.variables.items())
        return [f'{{"input":{item},"with":{{{variables}}}}}' for item in inputs]


def plain_call(arguments: tuple[str, ...]) -> Call | None:
    """The call, where it has nothing but what stands above."""
    call, rest = Call((), set(), {}, ""), list(arguments)
    while rest and rest[0] in PRINTING + READING + VARIABLES:
        option = rest.pop(0)
        if option in PRINTING:
            call.printing += (option,)
        elif option in READING:
            call.reading.add(option)
        elif len(rest) > 1:
            name, value = rest.pop(0), rest.pop(0)
            call.variables[name] = json.dumps(value) if option == "--arg" else value
    if len(rest) != 1 or rest[0].startswith("-") or call.reading == {"--raw-input"}:
        return None
    if any(len(json_texts(value) or ()) != 1 for value in call.variables.values()):
        return None
    call.program = rest[0]
    return call


def json_texts(text: str) -> list[str] | None:
    """The JSON documents of a text, each as it stands there; None where there is anything else."""
    found, rest = [], text.strip()
    while rest:
        try:
            _, end = json.JSONDecoder().raw_decode(rest)
        except ValueError:
            return None
        found.append(rest[:end])
        rest = rest[end:].lstrip()
    return found


class StayingJq:
    """A jq with one filter, which answers one question after the other."""

    def __init__(self, printing: tuple[str, ...], variables: tuple[str, ...], program: str) -> None:
        self.lock = threading.Lock()
        given = "".join(f".with.{name} as ${name} | " for name in variables)
        self.process = subprocess.Popen(
            ["jq", "--unbuffered", *printing, f"if type == \"string\" then . else {given}.input | (\n{program}\n) end"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ask(self, questions: list[str]) -> str | None:
        """What it prints for these inputs; None where it has something to complain of."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin and stdout
        out: list[str] = []
        with self.lock:
            try:
                stdin.write("\n".join([*questions, json.dumps(END), ""]))
                stdin.flush()
            except BrokenPipeError:
                return None
            for line in stdout:
                if line.strip('"\n') == END:
                    return None if any(said.startswith("jq: error") for said in out) else "".join(out)
                out.append(line)
        return None

    def end(self) -> None:
        self.process.communicate()


@functools.lru_cache(maxsize=None)
def staying_jq(printing: tuple[str, ...], variables: tuple[str, ...], program: str) -> StayingJq:
    jq = StayingJq(printing, variables, program)
    atexit.register(jq.end)
    return jq
