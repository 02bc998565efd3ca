"""No answer becomes code: hostile text in every text answer at once is refused, or comes out of each file as it went in."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import gitlab_rb
from tests.support.cluster import documents
from tests.support.depth import every
from tests.support.program import settings_module
from tests.support.questions import QUESTIONS
from tests.support.rendering import VALID, read_answers
from tests.support.texts import answered, problems, texts
from tests.support.tools import run, tool

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LONG = every()
CANARY = "canary-was-here"
BATCH = 100
# What would leave the canary behind, in each language that a file of the lab is read by; and what confuses their readers.
EMAIL = ("email_from", "email_display_name", "email_reply_to")
CODE = [
    f"$(touch {CANARY})",
    f"`touch {CANARY}`",
    f"#{{File.write('{CANARY}','')}}",
    f"'; touch {CANARY}; '",
    f'"; touch {CANARY}; "',
    f"' + File.write('{CANARY}','').to_s + '",
    f'"\n\ntouch {CANARY}\n',
    f"%x(touch {CANARY})",
    f"|touch {CANARY}",
    f"<%= File.write('{CANARY}','') %>",
    f"a<%%b <% File.write('{CANARY}','') %>",
    "<%",
    "%>",
    "[lab]",
    "#lab",
    "123",
    "0x1f",
    "1,000",
    ":a",
    f"!!python/object/apply:os.system ['touch {CANARY}']",
    f"{{{{ ''.__class__ }}}}touch {CANARY}",
    "{% raise %}",
    "\\",
    "\\'",
    "'",
    '"',
    "no",
    "1e3",
    "~",
    "0o7",
    "null",
    "12:30:00",
    "=",
    "<<",
    "- a",
    "a: b",
    "a #b",
    "\0",
    "\n",
    "\r",
    "\t",
    "\x7f",
    "\x85",
    "\u2028",
    "\u202e",
    "\ufeff",
    "é",
    "実",
    "🦊",
    "$HOME",
    "${HOME}",
    "%s",
    "*",
    "&a",
    "@",
    "x" * 300,
]
HOSTILE = st.one_of(
    st.sampled_from(CODE),
    st.lists(st.sampled_from([*CODE, "a", " "]), min_size=1, max_size=5).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
)
# What may stand before the @ of an address, with the characters that YAML reads in its own way at the beginning or as a whole.
LOCAL = st.text("'+-_.07aeno", min_size=1, max_size=6)
TEXT_QUESTIONS = [
    name for name, question in QUESTIONS.items() if question["type"] == "str" and "choices" not in question
]
BASES = [read_answers(file) for file in VALID]


@st.composite
def hostile_answers(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a valid lab's answers with every text answer made hostile, alone or behind what was there; and hostile groups."""
    answers = dict(draw(st.sampled_from(BASES)))
    for name in TEXT_QUESTIONS:
        text = draw(HOSTILE)
        answers[name] = f"{answers[name]}{text}" if draw(st.booleans()) and isinstance(answers.get(name), str) else text
    for name in ("admin_email", "email_from", "email_reply_to"):
        if draw(st.booleans()):
            local = draw(st.one_of(LOCAL, HOSTILE.map(lambda text: f"o'{text}")))
            answers[name] = f"{local}@lab.example.com"
    answers["smtp_enabled"] = True
    answers["groups"] = draw(st.lists(st.one_of(st.just("homelab"), HOSTILE), max_size=3))
    return answers


# What has no default that is right, because nobody but its owner knows it.
NEEDED = {"aws_account": "123456789012"}


def accepted(answers: dict[str, Any]) -> dict[str, Any]:
    """Take away what the rules refuse, until nothing is left to refuse. Each refusal is one line with the question's name."""
    for _ in range(len(QUESTIONS)):
        found = problems(answers)
        if not found:
            return answers
        for line in found:
            name, _, message = line.partition(": ")
            assert (name in answers or name in NEEDED) and len(message) > 20 and "\n" not in line
        refused = {line.partition(": ")[0] for line in found}
        needed = {name: value for name, value in NEEDED.items() if name in refused and name not in answers}
        answers = {name: value for name, value in answers.items() if name not in refused} | needed
    raise AssertionError("refused for ever")


@pytest.mark.parametrize("part", range(2))
@pytest.mark.slow(each_commit=True)
def test_hostile_text_is_refused_or_stays_text(tmp_path: Path, part: int) -> None:
    """Hypothesis draws one set of answers at a time: a larger draw outgrows its buffer, and is mostly thrown away."""
    kept: list[dict[str, Any]] = []

    @given(hostile_answers())
    @settings(
        max_examples=5000 if LONG else 150, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
    )
    def each_is_refused_or_rendered(drawn: dict[str, Any]) -> None:
        answers = answered(accepted(drawn))
        rendered = texts(answers)
        reads_back(rendered, answers)
        (tmp_path / f"{len(kept)}.rb").write_text(rendered["apps/gitlab/gitlab.rb"], encoding="utf-8")
        kept.append(answers)

    each_is_refused_or_rendered()
    for start in range(0, len(kept), BATCH):
        run_for_real(tmp_path, start, kept[start : start + BATCH])
    assert not (tmp_path / CANARY).exists() and not Path(CANARY).exists()


def run_for_real(folder: Path, start: int, batch: list[dict[str, Any]]) -> None:
    """Run the batch's files, numbered from *start*, through one Ruby, and compare what they hold with the answers."""
    numbers = range(start, start + len(batch))
    settings_of = gitlab_rb.settings_of_many([folder / f"{n}.rb" for n in numbers], folder)
    for answers, recorded, read in zip(
        batch, settings_of, gitlab_rb.as_gitlab_reads_them(settings_of, folder), strict=True
    ):
        assert {name: read["gitlab"][name] for name in EMAIL} == {name: answers[name] for name in EMAIL}
        assert (read["gitlab"]["time_zone"], recorded["gitlab_rails"]["time_zone"]) == (answers["timezone"],) * 2
        assert [read["gitlab"]["host"], read["gitlab"]["ssh_host"]] == [answers["gitlab_host"]] * 2
        assert (
            read["registry"]["host"] == answers["registry_host"]
            and read["gitlab"]["trusted_proxies"] == answers["trusted_proxies"]
        )
        assert gitlab_rb.unknown_keys(recorded) == []


def reads_back(rendered: dict[str, str], answers: dict[str, Any]) -> None:
    """Check that every file parses, and that the answers stand in it as they were given."""
    parsed: dict[str, Any] = {}
    for name, text in rendered.items():
        if name.endswith((".yaml", ".yml")):
            parsed[name] = documents(text)
        elif name.endswith(".toml"):
            parsed[name] = tomllib.loads(text)
        elif name.endswith(".json"):
            parsed[name] = json.loads(text)
    read = settings_module.Settings.made_from(parsed["lab_program/settings.json"])
    for name in ("lab_name", "admin_email", "gitlab_host", "gitops_branch"):
        assert getattr(read, name) == answers[name]
    assert list(read.groups) == answers["groups"]
    recorded = parsed[".copier-answers.yml"][0]
    assert {name: recorded[name] for name in QUESTIONS} == {name: answers[name] for name in QUESTIONS}
    values = parsed["apps/gitlab/values.yaml"][0]
    assert [host["name"] for host in values["ingress"]["hosts"]] == [answers["gitlab_host"], answers["registry_host"]]
    assert values["env"]["TZ"] == answers["timezone"] and values["image"]["tag"] == f"{answers['gitlab_version']}-ce.0"
    automation = parsed["automation/image-updates.yaml"][0]["spec"]
    assert automation["git"]["commit"]["author"]["email"] == answers["admin_email"]
    assert (
        automation["git"]["push"]["branch"] == answers["gitops_branch"]
        and automation["interval"] == answers["scan_interval"]
    )
    sync = parsed[f"clusters/{answers['cluster_name']}/flux-system/sync.yaml"]
    assert sync[0]["spec"]["ref"]["branch"] == answers["gitops_branch"]
    assert sync[1]["spec"]["path"] == f"./clusters/{answers['cluster_name']}"
    if answers["gitops_source"] == "external":
        assert sync[0]["spec"]["url"] == answers["gitops_url"]
    if "infrastructure/storage.yaml" in parsed:
        volume = parsed["infrastructure/storage.yaml"][0]["spec"]["nfs"]
        assert volume == {"server": answers["nfs_server"], "path": f"{answers['storage_root']}/gitlab"}
    if "runner/config.toml" in parsed:
        names = {runner["name"].partition(" of ")[0] for runner in parsed["runner/config.toml"]["runners"]}
        assert names <= {f"lab-{answers['lab_name']}{which}" for which in ("", " protected", " machines")}
    if "apps/gitlab/backup.yaml" in parsed:
        assert parsed["apps/gitlab/backup.yaml"][-1]["spec"]["schedule"] == answers["backup_schedule"]


def test_a_canary_that_is_run_would_be_noticed(tmp_path: Path) -> None:
    (tmp_path / "gitlab.rb").write_text(f"external_url \"#{{File.write('{CANARY}','')}}\"\n")
    run(tool("ruby"), gitlab_rb.RECORDER, gitlab_rb.SECTIONS, tmp_path / "gitlab.rb", cwd=tmp_path)
    assert (tmp_path / CANARY).exists()


def test_every_file_that_is_rendered_by_itself_is_what_copier_renders(lab: Any) -> None:
    answers = answered(lab.answers)
    for name, text in texts(answers).items():
        if name != ".copier-answers.yml":
            assert (lab.path / name).read_text(encoding="utf-8") == text, name
