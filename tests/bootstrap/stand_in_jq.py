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

Answer = tuple[int, str, str]

# Options by the number of words that follow each.
OPTIONS = {"--raw-output": 0, "--compact-output": 0, "--arg": 2, "--argjson": 2}
FRAMING = {"--slurp", "--raw-input"}  # said to a jq that stays by the input that it gets
END = "the answer to this input ends here"


def ask_jq(arguments: tuple[str, ...], text: str) -> Answer:
    """The answer of `jq ARGUMENTS`: its status, what it prints, and its complaints."""
    if any(re.search(r"\bnow\b", argument) for argument in arguments):
        return run_jq(arguments, text)
    return remembered(arguments, text)


@functools.lru_cache(maxsize=None)
def remembered(arguments: tuple[str, ...], text: str) -> Answer:
    call = plain_call(arguments)
    if call is None:
        return run_jq(arguments, text)
    options, framing, program = call
    lines = inputs(text, framing)
    out = None if lines is None else staying_jq(options, program).ask(lines)
    return run_jq(arguments, text) if out is None else (0, out, "")


def run_jq(arguments: tuple[str, ...], text: str) -> Answer:
    done = subprocess.run(["jq", *arguments], input=text, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def plain_call(arguments: tuple[str, ...]) -> tuple[tuple[str, ...], frozenset[str], str] | None:
    """The options, how the input is to be read, and the filter; None where there is anything else."""
    options, framing, rest = [], set(), list(arguments)
    while rest and (rest[0] in OPTIONS or rest[0] in FRAMING):
        option = rest.pop(0)
        if option in FRAMING:
            framing.add(option)
        else:
            options += [option, *rest[: OPTIONS[option]]]
            del rest[: OPTIONS[option]]
    if len(rest) != 1 or rest[0].startswith("-") or framing == {"--raw-input"}:
        return None
    return tuple(options), frozenset(framing), rest[0]


def inputs(text: str, framing: frozenset[str]) -> str | None:
    """What to send to a jq that stays, so that it reads what --slurp or --raw-input would have read; None: broken."""
    if "--raw-input" in framing:
        return json.dumps(text)
    found, rest = [], text.strip()
    while rest:
        try:
            _, end = json.JSONDecoder().raw_decode(rest)
        except ValueError:
            return None
        found.append(rest[:end])
        rest = rest[end:].lstrip()
    return f"[{','.join(found)}]" if "--slurp" in framing else "\n".join(found)


class StayingJq:
    """A jq with one filter, which answers one input after the other."""

    def __init__(self, options: tuple[str, ...], program: str) -> None:
        self.lock = threading.Lock()
        self.process = subprocess.Popen(
            ["jq", "--unbuffered", *options, f"if . == {json.dumps(END)} then . else (\n{program}\n) end"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ask(self, lines: str) -> str | None:
        """What it prints for this input; None where it has something to complain of."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin and stdout
        out: list[str] = []
        with self.lock:
            try:
                stdin.write(f"{lines}\n{json.dumps(END)}\n")
                stdin.flush()
            except BrokenPipeError:
                return None
            for line in stdout:
                if line.strip().strip('"') == END:
                    break
                out.append(line)
            else:
                return None
        return None if any(line.startswith("jq: error") for line in out) else "".join(out)

    def end(self) -> None:
        self.process.communicate()


@functools.lru_cache(maxsize=None)
def staying_jq(options: tuple[str, ...], program: str) -> StayingJq:
    jq = StayingJq(options, program)
    atexit.register(jq.end)
    return jq
