"""The check before GitLab: its Ruby decides on upgrades as the lab's program does, and hides what is secret."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.program import versions
from tests.support.rendering import ROOT

CHECK = ROOT / "template/apps/gitlab-check/check.rb"
# Everything above the line that begins the check.
LOAD = "eval(File.read(ARGV[0])[/.*?(?=^problem = syntax_problem)/m])"
ASK = f"{LOAD}; puts JSON.generate(JSON.parse($stdin.read).map {{ |old, new| upgrade_problem(old, new) }})"
VERSIONS = st.tuples(st.integers(17, 20), st.integers(0, 11), st.integers(0, 9)).map(
    lambda parts: ".".join(map(str, parts))
)


def ruby(script: str, *arguments: str | Path, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["ruby", "-e", script, *map(str, arguments)]
    return subprocess.run(
        command, input=text, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", **environment}
    )


@settings(max_examples=5, deadline=None)
@given(st.lists(st.tuples(VERSIONS, VERSIONS), min_size=100, max_size=100))
def test_the_check_refuses_the_upgrades_that_the_program_refuses(pairs: list[tuple[str, str]]) -> None:
    done = ruby(ASK, CHECK, text=json.dumps(pairs))
    assert done.returncode == 0, done.stderr
    for (old, new), said in zip(pairs, json.loads(done.stdout), strict=True):
        assert bool(said) == bool(versions.upgrade_problem(old, new)), (old, new, said)
        for stop in versions.required_stops(old, new):
            assert stop in said


def test_what_gitlab_says_is_told_without_secrets(tmp_path: Path) -> None:
    control = tmp_path / "says"
    control.write_text(
        "#!/bin/sh\necho 'all of it'\necho \"FATAL: the password is $SMTP_PASSWORD\"\nexit 3\n", encoding="utf-8"
    )
    control.chmod(0o755)
    done = ruby(f"{LOAD}; puts problem_of(ARGV[1])", CHECK, control, SMTP_PASSWORD="not-for-you")
    assert done.stdout == "FATAL: the password is ...\n"
