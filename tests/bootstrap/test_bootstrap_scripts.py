"""The scripts as text: clean for ShellCheck, short functions, one file a stage, nothing of a newer Bash."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from journeys import LONG, STAGES
from lab_folder import SETTINGS, TEMPLATE, lab_sh

SCRIPTS = [TEMPLATE / "bootstrap.sh", TEMPLATE / "restore.sh", *sorted(TEMPLATE.glob("bootstrap/*/*.sh"))]
# What came after Bash 4.4, each with an example: https://tiswww.case.edu/php/chet/bash/CHANGES
NEWER_THAN_BASH_4 = {
    # 5.0
    r"\b(EPOCHSECONDS|EPOCHREALTIME|BASH_ARGV0)\b": "now=$EPOCHSECONDS",
    r"\bwait\s+-\w*f": 'wait -f "$child"',
    r"\bshopt\b.*\b(localvar_inherit|localvar_unset|assoc_expand_once|progcomp_alias)": "shopt -s localvar_inherit",
    # 5.1
    r"\bSRANDOM\b": "echo $SRANDOM",
    r"\bwait\b.*\s-\w*p": "wait -n -p ended",
    r"\b(local|declare|typeset)\s+-\w*I": "local -I name",
    r"\$\{[^}]+@[UuLKk]\}": "echo ${names[@]@U}",
    r"-A\s+\w+=\((?!\s*(\[|\)))": "declare -A pairs=(key value)",
    # 5.2 and 5.3
    r"\bshopt\b.*\b(globskipdots|noexpand_translation|patsub_replacement|varredir_close)": "shopt -u varredir_close",
    r"\b(BASH_MONOSECONDS|BASH_TRAPSIG|GLOBSORT)\b": "GLOBSORT=name",
    r"\$\{[ |]": "x=${ date; }",
    r"\b(source|\.)\s+-p\b": "source -p lib x.sh",
    r"\bread\s+-\w*E|\bcompgen\s+-V": "read -E line",
    # A replacement with an unquoted & means the match, since 5.2.
    r"\$\{\w+//?[^}/]*/[^}\"']*(?<!\\)&": "echo ${text//a/<&>}",
}
SHELLCHECK = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") or "shellcheck"
FUNCTION = re.compile(r"^([a-z_0-9]+)\(\) \{\n(.*?)^\}$", re.M | re.S)


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the scripts of a lab, with its settings beside them."""
    folder = tmp_path_factory.mktemp("lab")
    for script in SCRIPTS:
        target = folder / script.relative_to(TEMPLATE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(script.read_text())
    (folder / "bootstrap" / "lab.sh").write_text(lab_sh(SETTINGS))
    return folder


@pytest.mark.skipif(not LONG, reason="tests/test_labs.py does so with a rendered lab: LONG=1")
@pytest.mark.parametrize("script", ["bootstrap.sh", "restore.sh"])
def test_shellcheck_finds_nothing_in_a_script_and_all_that_it_sources(scripts: Path, script: str) -> None:
    result = subprocess.run(
        [SHELLCHECK, "--external-sources", "--check-sourced", script],
        cwd=scripts,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


def test_shellcheck_finds_nothing_in_any_file_by_itself(scripts: Path) -> None:
    # bootstrap.sh is nothing by itself: it is checked with all that it sources.
    files = [str(s.relative_to(TEMPLATE)) for s in SCRIPTS if s.name != "bootstrap.sh"]
    result = subprocess.run(
        [SHELLCHECK, *files, "bootstrap/lab.sh"], cwd=scripts, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.name)
def test_no_rule_of_shellcheck_is_switched_off(script: Path) -> None:
    assert "shellcheck disable" not in script.read_text()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.name)
def test_every_function_fits_a_screen(script: Path) -> None:
    lengths = {name: body.count("\n") + 2 for name, body in FUNCTION.findall(script.read_text())}
    assert {name: n for name, n in lengths.items() if n > 50} == {}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.name)
def test_no_line_is_wider_than_120_characters(script: Path) -> None:
    assert [(n, len(line)) for n, line in enumerate(script.read_text().splitlines(), 1) if len(line) > 120] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.name)
def test_nothing_needs_a_newer_bash_than_4(script: Path) -> None:
    """As far as the text tells; a real Bash 4, where there is one, runs it in test_bootstrap_surroundings.py."""
    text = re.sub(r"(?m)^\s*#.*$", "", script.read_text())
    assert [found[0] for pattern in NEWER_THAN_BASH_4 if (found := re.search(pattern, text))] == []


@pytest.mark.parametrize(("pattern", "example"), NEWER_THAN_BASH_4.items(), ids=list(NEWER_THAN_BASH_4.values()))
def test_the_watch_for_a_newer_bash_sees_an_example_of_each(pattern: str, example: str) -> None:
    assert re.search(pattern, example)


def test_each_stage_has_its_file_and_its_function() -> None:
    files = {p.stem for p in TEMPLATE.glob("bootstrap/stages/*.sh")}
    assert files == set(STAGES)
    for stage in STAGES:
        text = (TEMPLATE / "bootstrap" / "stages" / f"{stage}.sh").read_text()
        assert text.splitlines()[1].startswith(f"# {stage}: "), "its second line says what it does"
        assert FUNCTION.findall(text)[0][0] == f"stage_{stage}", "its first function is where to start reading"


def test_every_function_is_used() -> None:
    text = "\n".join(s.read_text() for s in SCRIPTS)
    names = {name for name, _ in FUNCTION.findall(text)} | set(re.findall(r"^([a-z_0-9]+)\(\) \{.*\}$", text, re.M))
    called_by_a_made_up_name = {f"stage_{s}" for s in STAGES} | {
        "git_as_gitlab",
        "git_as_password",
        "git_as_owner",
        "git_as_key",
    }
    called_by_a_made_up_name |= {f"sample_{step}" for step in ("build", "image", "scan", "commit", "pod", "page")}
    unused = {n for n in names - called_by_a_made_up_name if len(re.findall(rf"(?<![\w-]){n}(?![\w(-])", text)) == 0}
    assert unused == set()


def test_the_settings_of_the_template_are_those_that_the_scripts_read() -> None:
    """bootstrap/lab.sh is written by the template; each side knows the other's names."""
    printed = set(
        re.findall(
            r"^(?:readonly|declare -\w+) ([A-Z_]+)=", (TEMPLATE / "bootstrap" / "lab.sh.jinja").read_text(), re.M
        )
    )
    text = "\n".join(s.read_text() for s in SCRIPTS)
    read = set(re.findall(r"\$\{?#?(?:[!])?([A-Z][A-Z_]+)\b", text))
    made_here = set(re.findall(r"^\s*(?:readonly |local |export )?([A-Z][A-Z_]+)=", text, re.M)) | set(
        re.findall(r"\"\$\{(LAB_[A-Z_]+):=", text)
    )
    from_outside = {
        "BASH_SOURCE",
        "BASH_VERSION",
        "BASH_SUBSHELL",
        "LINENO",
        "SECONDS",
        "BASH_REMATCH",
        "BASH_VERSINFO",
        "NO_COLOR",
        "TMPDIR",
        "XDG_RUNTIME_DIR",
        "LAB_GIT_HOST_KEY",
        "LAB_GIT_USERNAME",
        "LAB_GIT_PASSWORD_FILE",
        "LAB_RESTORE_TRIES",
        "HOME",
        "RUNNER_TOKEN",
        "PURPOSE",
        "NF",
    }
    assert printed == set(SETTINGS)
    assert read - made_here - from_outside <= printed
