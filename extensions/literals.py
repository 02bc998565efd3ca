"""One filter a language: a value in, a literal out that the language reads back as that value.

A filter never trusts its value: what an answer holds stays data, whatever quotes, `#{…}`, `$(…)` or line breaks it contains.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

# What YAML 1.1 (PyYAML, Ruby) or YAML 1.2 (Go) would read as something other than a string.
_YAML_RESOLVED = re.compile(
    r"""(?ix)
    ~ | null | true | false | yes | no | on | off | y | n
    | [-+]?\.(inf|nan)
    | [-+]?[0-9][0-9_,.:]*(e[-+]?[0-9]+)?     # integers, floats, sexagesimal numbers
    | [-+]?\.[0-9][0-9_]*(e[-+]?[0-9]+)?
    | 0o?[0-7_]+ | 0x[0-9a-f_]+ | 0b[01_]+
    | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*        # dates
    | \.\.\..*                               # the end of a document
    """
)
_YAML_PLAIN = re.compile(r"[A-Za-z0-9/.~^][A-Za-z0-9/._+=@~^<>()$'%-]*(?:[: ](?! )[A-Za-z0-9/._+=@~^<>()$'%-]+)*")
_YAML_SPACE_AFTER_COLON = re.compile(r":(\s|$)")


def yaml(value: Any) -> str:
    """Return *value* (string, number, boolean, None, list or mapping) as a YAML literal on one line.

    A string stays plain only where YAML 1.1 and 1.2 both read it back as that string, so `no`, `1e3` and `2223` are quoted.
    """
    if isinstance(value, str):
        plain = (
            _YAML_PLAIN.fullmatch(value)
            and not _YAML_RESOLVED.fullmatch(value)
            and not _YAML_SPACE_AFTER_COLON.search(value)
        )
        return value if plain else _double_quoted(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


def _flow(value: Any) -> str:
    """Return a literal that is also safe between `[` and `]`, where commas and brackets end a plain scalar."""
    if isinstance(value, str) and re.search(r"[^A-Za-z0-9/._-]", value):
        return _double_quoted(value)
    return yaml(value)


def _double_quoted(value: str) -> str:
    """Return a JSON string: also YAML's and TOML's double-quoted form once every control character is escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(character if character.isprintable() else _escape(ord(character)) for character in text)


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def rails_yaml(value: str) -> str:
    """Return *value* as a YAML literal for a file that Rails reads, such as GitLab's gitlab.yml: Ruby's ERB runs over it before YAML does.

    Source: ActiveSupport::ConfigurationFile, by which GitLab loads gitlab.yml. ERB runs what follows `<%`, in quotes too.
    """
    if "<%" not in value:
        return yaml(value)
    return _double_quoted(value).replace("<%", "\\u003c%")


def toml(value: Any) -> str:
    """Return *value* (string, number, boolean or a list of those) as a TOML literal."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    if isinstance(value, str):
        return _double_quoted(value)
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    raise TypeError(f"TOML has no literal for {value!r}")


def hcl(value: Any) -> str:
    """Return *value* (string, number, boolean or a list of those) as a literal of OpenTofu's language, which fills in `${…}` and `%{…}`."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(hcl(item) for item in value) + "]"
    if isinstance(value, str):
        return re.sub(r"[$%](?=\{)", r"\g<0>\g<0>", _double_quoted(value))
    return toml(value)


def ruby(value: Any) -> str:
    """Return *value* (string, number, boolean, None, or a list of those) as a Ruby literal.

    Strings are single-quoted, where Ruby interpolates nothing and knows two escapes only: backslash and quote. Where that is not
    enough, `#`, which begins an interpolation, is escaped as well.
    """
    if value is None:
        return "nil"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(ruby(item) for item in value) + "]"
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("a Ruby string in gitlab.rb cannot hold a NUL")
        if "\r" in value:
            # Ruby reads a line break of CR and LF in its source as LF, in quotes too; so this one form is double-quoted.
            return '"' + re.sub(r'["#\\]', r"\\\g<0>", value).replace("\r", "\\r") + '"'
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return json.dumps(value)


def shell(value: Any) -> str:
    """Return *value* as one shell word; a list becomes a bash array, a boolean the word `true` or `false`."""
    if isinstance(value, (list, tuple)):
        return "(" + " ".join(shell(item) for item in value) + ")"
    if isinstance(value, bool):
        return "true" if value else "false"
    return shlex.quote(str(value))


def dotenv(value: Any) -> str:
    """Return *value* as the right side of a line in a `.env` file as Docker Compose reads it: single quotes are literal."""
    text = str(value)
    if re.fullmatch(r"[A-Za-z0-9_./:@-]*", text):
        return text
    if "\n" in text or "'" in text:
        raise ValueError(f"{text!r} cannot be in a .env file: it holds a quote or a line break")
    return f"'{text}'"


def without_comments(script: str) -> str:
    """Return a shell script without the lines that are comments alone, and the gaps that they leave; its first line stays."""
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"\n[ \t]*#[^\n]*(?=\n)", "", script))


def markdown(value: Any) -> str:
    """Return *value* as a Markdown code span that its backticks cannot leave."""
    text = re.sub(r"\s+", " ", str(value))
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}"
