"""How a stage comes to a secret that only the owner has: from a file that a variable names, or from the terminal."""

from __future__ import annotations

from ..errors import Failure
from ..lab import Lab
from ..secret import Secret
from ..value_lines import read_values


def how_to_give(lab: Lab, variable: str, lines: str, entry: str) -> str:
    """Return what an owner may do who was not asked, or whose answer is none.

    Args:
        lines: the lines that the variable's file needs.
        entry: the Secret as `./lab secret edit` calls it, for a lab that keeps secrets encrypted in Git.
    """
    then = f"set {variable} to a file (chmod 600) that holds it, and run ./lab up again:\n{lines}"
    if lab.settings.age_recipients:
        then += f"\nor keep it encrypted in Git: ./lab secret edit {entry}, and commit"
    return then


def given(lab: Lab, variable: str, key: str, words: str, page: str, then: str) -> Secret:
    """Return a value from the owner's file, or from the owner, as it was written.

    Args:
        key: its name in the file.
        words: what it is, in a sentence.
        page: the lab's page on it.
        then: what to do if there is neither; how_to_give.
    Raises:
        Failure: there is neither, or the file has no such line.
    """
    file = lab.environment.get(variable, "")
    if file:
        values = read_values(file)
        if key not in values:
            raise Failure(f"{variable}={file} has no line {key}=…", "", f"write {words}:\n{key}=…")
        return values[key]
    if lab.console.terminal:
        return lab.console.ask_secret(f"{words[0].upper()}{words[1:]} (not shown):")
    raise Failure(f"There is no terminal to ask for {words}.", page, then)
