"""The wizard in plain lines, as a screen reader has it: answers, back, stop, resume, summary, and the lab that comes of it."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest
import yaml

from tests.support.copier_cli import copier_cli
from tests.support.questions import QUESTIONS
from tests.support.rendering import recorded_answers
from tests.wizard.support.terminals import CONTROL, CTRL_C, MEANT, QUICK, Labs, Wizard, answer, files

REVIEW = "What now: "


def finished(wizard: Wizard) -> str:
    """Let the lab be written, and return all that was said."""
    wizard.until(REVIEW)
    wizard.type("1\r")
    assert wizard.wait() == 0, wizard.said
    return wizard.said


def stop_after_the_first_answer(labs: Labs) -> None:
    """Begin a lab, and leave one answer behind."""
    wizard = labs.plain()
    answer(wizard, setup_level="full")
    wizard.until("lab_name: ")
    wizard.type(CTRL_C)
    wizard.wait()


@pytest.mark.slow(each_commit=True)
def test_the_lab_is_the_one_that_copier_makes_of_the_same_answers(labs: Labs) -> None:
    wizard = labs.plain()
    answer(wizard, **QUICK)
    said = finished(wizard)
    assert 'Your lab "my-lab" is ready' in said
    file = labs.home / "answers.yml"
    file.write_text(yaml.safe_dump(MEANT), encoding="utf-8")
    other = labs.home / "other" / labs.lab.name
    assert (
        copier_cli(
            "copy", "--trust", "--defaults", "--vcs-ref", "HEAD", "--data-file", file, labs.clone, other
        ).returncode
        == 0
    )
    assert files(labs.lab) == files(other)
    assert recorded_answers(labs.lab).items() >= MEANT.items()
    assert labs.kept == [], "the lab records the answers now"


@pytest.mark.parametrize("how", [{"PLAIN": "1"}, {"TERM": "dumb"}, {"PLAIN": "1", "TERM": "xterm-256color"}], ids=str)
@pytest.mark.slow(keep=1)
def test_no_cursor_moves_and_nothing_is_coloured(labs: Labs, how: dict[str, str]) -> None:
    wizard = labs.wizard(**how)
    wizard.until("1. quick")
    answer(wizard, setup_level="", base_domain="https://Home.lan")
    wizard.hears("Not accepted: `https://Home.lan` is a URL; give the host only: `home.lan`")
    answer(wizard, base_domain="home.lan", tls_source="9")
    wizard.until("Not accepted: `9` is not a choice; give a number from 1 to 6")
    answer(wizard, **{name: QUICK[name] for name in list(QUICK)[2:]})
    said = finished(wizard)
    assert not CONTROL.findall(said.replace("\r\n", "\n"))
    assert "\r" not in said.replace("\r\n", "\n"), "a line that is written again is read twice"


def test_every_question_has_its_name_its_page_and_where_it_is_explained(labs: Labs) -> None:
    wizard = labs.plain()
    answer(wizard, setup_level="", base_domain="")
    wizard.until("Question: tls_source, page domains, 3 of 7.")
    wizard.until("Page: docs/questions.md#tls_source")
    wizard.until("Who makes the certificates for https?")
    wizard.until("4. an authority that the lab makes, for names at home (lab-authority)")
    wizard.type(CTRL_C)
    assert wizard.wait() == 130


@pytest.mark.slow
def test_no_line_is_wider_than_the_terminal(labs: Labs) -> None:
    """Copier's own lines, and addresses, are as long as they are."""
    wizard = labs.plain()
    answer(wizard, **QUICK)
    wizard.until(REVIEW)
    lines = [line for line in wizard.said.replace("\r", "").split("\n") if not line.startswith("This checkout")]
    assert len(lines) > 150 and max(map(len, lines)) <= 80
    wizard.type(CTRL_C)
    wizard.wait()


def test_ctrl_c_keeps_the_answers_for_their_owner_alone_and_the_next_run_goes_on(labs: Labs) -> None:
    wizard = labs.plain()
    answer(wizard, setup_level="", base_domain="home.lan", tls_source="4")
    wizard.until("storage_backend: ")
    wizard.type(CTRL_C)
    assert wizard.wait() == 130
    (file,) = labs.kept
    assert f"Stopped; nothing was written. Your answers are in {file}." in wizard.said
    assert f"make lab DEST={labs.lab} PLAIN=1 goes on with them." in wizard.said and "Traceback" not in wizard.said
    assert not labs.lab.exists()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert labs.answers_kept() == {"setup_level": "quick", "base_domain": "home.lan", "tls_source": "lab-authority"}

    again = labs.plain()
    again.hears("3 answers.")
    again.until("1. go on with these answers")
    answer(again, Resume="")
    again.until("Question: storage_backend")
    assert "setup_level: " not in again.said and "base_domain: " not in again.said
    answer(again, storage_backend="", groups="", runner_kind="3")
    finished(again)
    assert recorded_answers(labs.lab)["base_domain"] == "home.lan" and labs.kept == []


@pytest.mark.slow
def test_a_lab_that_was_begun_may_begin_anew(labs: Labs) -> None:
    wizard = labs.plain()
    answer(wizard, setup_level="full", lab_name="garage")
    wizard.until("cluster_name: ")
    wizard.type(CTRL_C)
    wizard.wait()
    again = labs.plain()
    answer(again, Resume="2", setup_level="quick")
    again.until("base_domain: ")
    assert labs.answers_kept() == {"setup_level": "quick"}
    again.type("\x04")  # Ctrl-D ends the input
    assert again.wait() == 130


@pytest.mark.slow
def test_another_folder_is_another_lab(labs: Labs) -> None:
    stop_after_the_first_answer(labs)
    wizard = labs.wizard(folder="elsewhere", PLAIN="1")
    wizard.until("setup_level: ")
    assert "Resume" not in wizard.said
    wizard.type(CTRL_C)
    wizard.wait()


@pytest.mark.slow
def test_two_questions_back_and_their_answers_are_suggested(labs: Labs) -> None:
    wizard = labs.plain()
    answer(wizard, setup_level="", base_domain="home.lan", tls_source="4", storage_backend="<")
    wizard.until("Enter for 4, an authority that the lab makes, for names at home.")
    answer(wizard, tls_source="<")
    wizard.until("Enter for home.lan.")
    answer(wizard, base_domain="garage.lan", tls_source="", storage_backend="2")
    wizard.until("Enter for storage.garage.lan.")
    answer(wizard, nfs_server="", groups="", runner_kind="2")
    finished(wizard)
    made = recorded_answers(labs.lab)
    assert (made["gitlab_host"], made["tls_source"], made["nfs_server"]) == (
        "gitlab.garage.lan",
        "lab-authority",
        "storage.garage.lan",
    )


def test_the_first_question_has_nothing_before_it(labs: Labs) -> None:
    wizard = labs.plain()
    answer(wizard, setup_level="<")
    wizard.until("This is the first question.")
    wizard.type(CTRL_C)
    assert wizard.wait() == 130 and labs.kept == []


@pytest.mark.slow
def test_the_summary_shows_everything_before_anything_is_written(labs: Labs) -> None:
    wizard = labs.plain()
    answer(wizard, **QUICK)
    wizard.until(REVIEW)
    said = wizard.said.replace("\r", "")
    assert not labs.lab.exists()
    summary = said[said.index("ALL ANSWERS") :]
    names = re.findall(r"^[* ] ([a-z_]+) {2,}\S", summary[: summary.index("WHAT COMES OF THEM")], re.MULTILINE)
    assert {"timezone", "data_backend", "backup_schedule", *QUICK} <= set(names) <= set(QUESTIONS)
    assert "* timezone            Etc/UTC\n" in summary and "  base_domain         home.lan\n" in summary
    assert "  GitLab              https://gitlab.home.lan\n" in summary
    assert "  certificates        by an authority that the lab makes; devices have to be\n" in summary
    assert "  logs                storage.home.lan:/storage/gitlab/logs (NFS)\n" in summary
    assert "- An NFS export storage.home.lan:/storage, with no_root_squash.\n" in summary
    regretted = summary[summary.index("WORTH A SECOND LOOK") :]
    assert "NFS has the configuration and the logs only." in regretted and re.search(
        r"^  timezone +Etc/UTC", regretted, re.MULTILINE
    )
    wizard.type("4\r")
    assert wizard.wait() == 130
    assert labs.answers_kept() == MEANT and not labs.lab.exists()
    # Copier's last words are the same.
    again = labs.plain()
    answer(again, Resume="")
    told = finished(again).replace("\r", "")
    assert told.count(summary[: summary.index("Question: What now")].strip()) == 2


@pytest.mark.slow
def test_one_answer_is_changed_by_its_name_and_what_follows_from_it_follows(labs: Labs) -> None:
    wizard = labs.plain()
    answer(wizard, **QUICK)
    answer(wizard, **{"What now": "2", "Name of the answer": "timezon"})
    wizard.until("`timezon` is no answer's name; did you mean `timezone`?")
    answer(wizard, **{"Name of the answer": "acme_email"})
    wizard.until("`acme_email` does not apply with these answers")
    answer(wizard, **{"Name of the answer": "timezone"})
    wizard.until("Your time zone, for GitLab's pages")
    answer(wizard, timezone="Mars/Olympus")
    wizard.until("Not accepted: ")
    answer(wizard, timezone="Europe/Warsaw", **{"What now": "2", "Name of the answer": "base_domain"})
    answer(wizard, base_domain="garage.lan")
    wizard.hears("nfs_server is now storage.garage.lan")
    # A new question comes with it.
    answer(wizard, **{"What now": "2", "Name of the answer": "runner_kind"})
    answer(wizard, runner_kind="1", runner_host="builder.garage.lan")
    finished(wizard)
    made = recorded_answers(labs.lab)
    expected = {
        "timezone": "Europe/Warsaw",
        "gitlab_host": "gitlab.garage.lan",
        "runner_host": "builder.garage.lan",
        "setup_level": "quick",
    }
    assert made.items() >= expected.items()


@pytest.mark.slow
def test_from_the_summary_one_goes_back_to_the_last_question(labs: Labs) -> None:
    wizard = labs.plain()
    answer(wizard, **QUICK)
    answer(wizard, **{"What now": "3"})
    answer(wizard, runner_kind="<", groups="[garage]")
    answer(wizard, runner_kind="")
    finished(wizard)
    made = recorded_answers(labs.lab)
    assert (made["groups"], made["runner_kind"]) == (["garage"], "kubernetes")


@pytest.mark.slow
def test_full_asks_all_and_a_new_domain_takes_its_hosts_along(labs: Labs) -> None:
    wizard = labs.plain()
    answer(wizard, setup_level="full")
    while True:
        while not re.search(r"\n([a-z_]+|What now): $", wizard.said[wizard.at :].replace("\r", "")):
            assert wizard._read()
        if wizard.said.endswith(REVIEW):
            break
        wizard.at = len(wizard.said)
        wizard.type("\r")
    answer(wizard, **{"What now": "2", "Name of the answer": "base_domain", "base_domain": "garage.lan"})
    finished(wizard)
    made = recorded_answers(labs.lab)
    assert (made["setup_level"], made["gitlab_host"], made["admin_email"]) == (
        "full",
        "gitlab.garage.lan",
        "admin@garage.lan",
    )
    assert made["private_ca"] is True, "what no public authority signs"


@pytest.mark.slow
def test_a_copy_that_fails_keeps_the_answers(labs: Labs) -> None:
    wizard = labs.plain()
    answer(wizard, **QUICK)
    wizard.until(REVIEW)
    labs.lab.mkdir()
    (labs.lab / "mine").write_text("mine")
    wizard.type("1\r")
    assert wizard.wait() == 1
    assert "is not empty" in wizard.said and "The lab was not made. Your answers are in" in wizard.said
    assert labs.answers_kept() == MEANT
    assert [path.name for path in labs.lab.iterdir()] == ["mine"]


@pytest.mark.slow
def test_ctrl_c_while_the_lab_is_written_leaves_no_half_of_it_and_keeps_the_answers(labs: Labs) -> None:
    wizard = labs.plain()
    answer(wizard, **QUICK)
    wizard.until(REVIEW)
    wizard.type("1\r")
    wizard.until("Copying from template version")
    wizard.type(CTRL_C)
    assert wizard.wait() == 1 and "The lab was not made." in wizard.said and "Traceback" not in wizard.said
    assert not labs.lab.exists() and labs.answers_kept() == MEANT


@pytest.mark.parametrize("content", ["{", "[]", '{"answers": 1}'])
@pytest.mark.slow(keep=1)
def test_answers_that_cannot_be_read_are_set_aside(labs: Labs, content: str) -> None:
    stop_after_the_first_answer(labs)
    (file,) = labs.kept
    file.write_text(content)
    again = labs.plain()
    again.hears(f"It is now {file.with_suffix('.unreadable')}; the questions begin anew.")
    again.until("setup_level: ")
    assert file.with_suffix(".unreadable").read_text() == content
    again.type(CTRL_C)
    assert again.wait() == 130


@pytest.mark.slow
def test_answers_of_another_version_are_asked_again_if_they_are_refused_now(labs: Labs) -> None:
    stop_after_the_first_answer(labs)
    (file,) = labs.kept
    held = '{"answers": {"setup_level": "quick", "base_domain": "UPPER.lan", "gone": 1, "tls_source": "traefik"}}'
    file.write_text(held)
    again = labs.plain()
    answer(again, Resume="")
    again.hears("Not asked any more, and left out: gone.")
    again.hears("this one is not accepted any more: `UPPER.lan`")
    answer(again, base_domain="lower.lan")
    again.until("storage_backend: ")
    assert labs.answers_kept() == {"setup_level": "quick", "base_domain": "lower.lan", "tls_source": "traefik"}
    again.type(CTRL_C)
    again.wait()


@pytest.mark.slow
def test_a_state_folder_that_cannot_be_written_stops_nobody(labs: Labs) -> None:
    (labs.home / "file").write_text("mine")
    wizard = labs.plain(XDG_STATE_HOME=str(labs.home / "file"))
    answer(wizard, **QUICK)
    said = finished(wizard)
    assert said.count("Your answers cannot be kept: ") == 1 and "Traceback" not in said
    assert recorded_answers(labs.lab).items() >= MEANT.items() and (labs.home / "file").read_text() == "mine"


@pytest.mark.slow
def test_nobody_else_sees_the_answers_on_their_way_to_copier(labs: Labs, tmp_path: Path) -> None:
    """The file for Copier is in the same folder, under the same rights, and gone afterwards."""
    wizard = labs.plain()
    answer(wizard, **QUICK)
    finished(wizard)
    assert [path for path in (tmp_path / "state").rglob("*") if path.is_file()] == []
