"""A literal reads back as the value that went in, whatever that value holds."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from io import StringIO
from typing import Any

import idna
import pytest
import ruamel.yaml
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from extensions import literals, names
from tests.support.rendering import ROOT
from tests.support.tools import run, tool

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# What YAML, Ruby, TOML and shells treat as special, beside all of Unicode that a file can hold.
TRICKY = [
    "no",
    "1e3",
    "~",
    "0o7",
    "1_000",
    "12:30",
    "2026-01-01",
    "=",
    "<<",
    "#{x}",
    "$(x)",
    "`x`",
    "{{ x }}",
    "a: b",
    "- a",
    "'",
    '"',
    "\\",
    "a\\'b",
    "%a",
    "@a",
    "!a",
    "&a",
    "*a",
    "|",
    ">",
    "a #b",
    "",
    " a ",
    "\u2028",
    "\x85",
    "\x7f",
    "\ufeff",
    "...",
    "---",
    "null",
    ".inf",
    "+1",
    "y",
    "a:",
    ":a",
    "a,b",
    "[a]",
]
TEXT = st.one_of(
    st.sampled_from(TRICKY),
    st.lists(st.sampled_from([*TRICKY, "a", "\n", "\t", " "]), max_size=6).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
)
# ERB's marks, and how Rails reads a YAML file that holds them.
ERB = ["<%", "<%=", "<%%", "<%#", "%>", "%%>", "-%>", "<", "%", "1 + 1", " ", "\\", '"', "a", "\\u003c%"]
RAILS = "require 'erb'; require 'json'; require 'yaml'; puts YAML.load(ERB.new($stdin.read.force_encoding('UTF-8')).result).to_json"
ONE_LINE = TEXT.map(lambda text: "".join(text.split("\n")))


@given(st.one_of(TEXT, st.integers(), st.booleans(), st.lists(TEXT), st.dictionaries(TEXT, TEXT)))
@example("a: b")
def test_yaml_reads_back_the_same_under_both_versions(value: Any) -> None:
    text = f"key: {literals.yaml(value)}\n"
    assert yaml.safe_load(text) == {"key": value}
    modern = ruamel.yaml.YAML(typ="safe", pure=True)
    modern.version = (1, 2)
    assert modern.load(StringIO(text)) == {"key": value}


@pytest.mark.parametrize(
    "value",
    ["gitlab.lab", "/storage/gitlab", "./apps/demo", "v0.1.0", "ssh://git@a.b:2223/c/d.git", "a@b.c", "Europe/Warsaw"],
)
def test_an_ordinary_word_stays_plain_in_yaml(value: str) -> None:
    assert literals.yaml(value) == value


@given(st.one_of(TEXT, st.integers(-(2**63), 2**63 - 1), st.booleans(), st.lists(TEXT)))
def test_toml_reads_back_the_same(value: Any) -> None:
    assert tomllib.loads(f"key = {literals.toml(value)}\n") == {"key": value}


@given(
    st.lists(
        st.one_of(TEXT.filter(lambda text: "\0" not in text), st.integers(), st.booleans(), st.none()),
        min_size=20,
        max_size=60,
    )
)
@example(["\r\n", "\r", "\r#{x}#$x#@x\"\\r'\n", "a\\\r"])
@settings(max_examples=8, deadline=None)
def test_ruby_reads_back_the_same(values: list[Any]) -> None:
    script = f"require 'json'\nputs JSON.generate({literals.ruby(values)})\n"
    done = subprocess.run([tool("ruby"), "-Ku", "-"], input=script, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == values


@pytest.mark.slow
@given(
    st.lists(
        st.one_of(ONE_LINE, st.lists(st.sampled_from(ERB), min_size=1, max_size=6).map("".join)),
        min_size=20,
        max_size=40,
    )
)
@settings(max_examples=25)
def test_rails_reads_back_the_same_and_runs_nothing(values: list[str]) -> None:
    """Rails runs ERB over its YAML files (ActiveSupport::ConfigurationFile#render)."""
    text = "".join(f"- {literals.rails_yaml(value)}\n" for value in values)
    done = subprocess.run(
        [tool("ruby"), "--disable=gems", "-e", RAILS], input=text, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == values


@given(st.lists(TEXT.filter(lambda text: "\0" not in text), min_size=1, max_size=60))
@settings(max_examples=15, deadline=None)
def test_bash_reads_back_the_same(values: list[str]) -> None:
    script = f"words={literals.shell(values)}\nprintf '%s\\0' \"${{words[@]}}\"\n"
    done = subprocess.run(["bash", "-eu"], input=script.encode(), capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == values


@given(ONE_LINE)
def test_dotenv_refuses_what_it_cannot_hold_and_keeps_the_rest(value: str) -> None:
    try:
        text = literals.dotenv(value)
    except ValueError:
        assert "'" in value or "\n" in value
        return
    assert text in (value, f"'{value}'")


@given(TEXT)
def test_markdown_keeps_a_value_inside_its_code_span(value: str) -> None:
    span = literals.markdown(value)
    fence = len(span) - len(span.lstrip("`"))
    assert (
        "\n" not in span and "`" * fence not in span[fence:-fence].strip(" ").replace(" ", "x")
    ) or not value.strip()


def test_a_value_that_a_language_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a Ruby string in gitlab\.rb cannot hold a NUL$"):
        literals.ruby("a\0b")
    with pytest.raises(TypeError, match="TOML"):
        literals.toml(None)


def test_the_extensions_import_without_copier() -> None:
    done = run(
        sys.executable,
        "-c",
        "import sys; sys.modules['copier'] = None; from extensions import facts, literals, names, rules, values",
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("literal", "value", "text"),
    [
        (literals.yaml, {"a": ["x", "y z"], "b": {"c": True}}, '{a: [x, "y z"], b: {c: true}}'),
        (literals.yaml, [], "[]"),
        (literals.yaml, None, "null"),
        (literals.yaml, "\U000e0001", '"\\U000e0001"'),
        (literals.yaml, "\x85", '"\\u0085"'),
        (literals.toml, ["a", 1, True], '["a", 1, true]'),
        (literals.ruby, ["a'b", 1, None, False], "['a\\'b', 1, nil, false]"),
        (literals.ruby, "a\\b", "'a\\\\b'"),
        (literals.ruby, "a\r\n#{b}\"\\'", '"a\\r\n\\#{b}\\"\\\\\'"'),
        (literals.shell, True, "true"),
        (literals.shell, False, "false"),
        (literals.shell, 5, "5"),
        (literals.shell, ["a b", "c"], "('a b' c)"),
        (literals.dotenv, "glrt-a_B.1:/@x", "glrt-a_B.1:/@x"),
        (literals.dotenv, "", ""),
        (literals.dotenv, "a b$c", "'a b$c'"),
        (literals.markdown, "a", "`a`"),
        (literals.markdown, "a  \n b", "`a b`"),
        (literals.markdown, "a`b", "``a`b``"),
        (literals.markdown, "`a", "`` `a ``"),
        (literals.markdown, "a``", "``` a`` ```"),
    ],
)
def test_a_literal_looks_like_this(literal: Any, value: Any, text: str) -> None:
    assert literal(value) == text


@pytest.mark.parametrize("value", ["a'b", "a\nb"])
def test_dotenv_says_what_it_cannot_hold(value: str) -> None:
    with pytest.raises(
        ValueError, match=f"^{re.escape(repr(value))} cannot be in a .env file: it holds a quote or a line break$"
    ):
        literals.dotenv(value)


@pytest.mark.parametrize(
    ("name", "label"),
    [("My Läb", "my-l-b"), ("--", "homelab"), ("A" * 70, "a" * 63), ("a_b.c", "a-b-c"), ("a" * 62 + "-b", "a" * 62)],
)
def test_the_nearest_dns_label_is_this(name: str, label: str) -> None:
    assert names.slug(name) == label


@pytest.mark.parametrize(
    ("name", "dns"),
    [
        ("gitlab.faß.example", "gitlab.xn--fa-hia.example"),
        ("gitlab.fass.example", "gitlab.fass.example"),
        ("σοφός.example", "xn--0xagbn4a.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("実験室。lab", "xn--rbtk2609b.lab"),
    ],
)
def test_a_name_beyond_ascii_is_told_as_dns_knows_it(name: str, dns: str) -> None:
    said = names.dns_name(name.lower()) or ""
    assert (dns == name.lower() and not said) or f"DNS knows it as `{dns}`" in said


@given(
    st.lists(
        st.text(st.characters(categories=["Ll", "Lu", "Lo", "Nd", "Mn"]), min_size=1, max_size=8),
        min_size=1,
        max_size=3,
    ).map(".".join)
)
def test_every_name_that_idna_2008_has_is_told_as_it_says(name: str) -> None:
    """By the package idna, which registries and browsers agree with (UTS 46, nontransitional)."""
    try:
        wanted = idna.encode(name, uts46=True, transitional=False).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return
    assert names._punycode(name) == wanted
