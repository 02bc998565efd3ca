"""`./lab secret` and `./lab new-app --secret` with the real sops: what they write is encrypted for the lab's recipients, what is wrong
ends in one clear line of the program and of the check, and plain text is nowhere but in memory.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import check
import pytest
import yaml
from checks.findings import Findings

from tests.support.compiled import share_compiled
from tests.support.program import age, sealed
from tests.support.rendering import VALID, read_answers, rendered, required
from tests.support.terminal import Terminal
from tests.support.tools import run, tool

KEY, SPARE, STRANGER = (age.new_identity() for _ in range(3))
MAIL, SHOP = "apps/gitlab/secrets/gitlab-env.sops.yaml", "apps/shop/secrets/shop-db.sops.yaml"
# Values that YAML, a shell or SOPS could misread.
VALUES = {
    "A": "marker-one \"two\" \\ 'three' #four é 実",
    "B": "12",
    "C": "true",
    "D": "null",
    "E": "- x: [y]",
    "F": "ENC[no]",
    "G": " lead",
    "H": "{{ x }} ${y}",
}


class Lab:
    """A lab of its own whose recipients are this run's keys, and its owner."""

    def __init__(self, shared: Path, folder: Path) -> None:
        file = next(file for file in VALID if file.stem == "secrets")
        answers = read_answers(file)
        self.path = share_compiled(shutil.copytree(rendered(shared, "secrets", answers), folder / "lab"))
        for name in (".sops.yaml", "lab_program/settings.json", ".copier-answers.yml"):
            text = (self.path / name).read_text()
            for old, new in zip(answers["age_recipients"], (KEY, SPARE), strict=True):
                text = text.replace(old, new.recipient)
            (self.path / name).write_text(text)
        self.folder, self.keys, programs = folder, folder / "keys.txt", folder / "bin"
        programs.mkdir()
        (programs / "sops").symlink_to(tool("sops"))
        self.runtime = folder / "run"
        self.runtime.mkdir()
        self.environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "SOPS_AGE_KEY_FILE": str(self.keys),
            "HOME": str(folder),
            "TERM": "xterm",
            "XDG_RUNTIME_DIR": str(self.runtime),
        }
        self.hold(KEY)

    def hold(self, *keys: age.Identity) -> None:
        """Have these private keys in the owner's key file."""
        self.keys.write_text("".join(f"{key.private}\n" for key in keys))
        self.keys.chmod(0o600)

    def run(
        self, *arguments: str, before: tuple[str, ...] = (), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        command = [*before, str(self.path / "lab"), *arguments]
        return subprocess.run(
            command,
            cwd="/",
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def must(self, *arguments: str, before: tuple[str, ...] = ()) -> str:
        done = self.run(*arguments, before=before)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def values_file(self, values: dict[str, str]) -> str:
        file = self.folder / "values"
        file.write_text("# a comment\n\n" + "".join(f"{name}={value}\n" for name, value in values.items()))
        return str(file)

    def set(self, secret: str = "gitlab/gitlab-env", values: dict[str, str] | None = None) -> None:
        self.must("secret", "edit", secret, "--from", self.values_file(values or VALUES))

    def opened(self, path: str, *keys: age.Identity) -> dict[str, str]:
        """Return what sops itself reads with the keys."""
        self.hold(*keys or [KEY])
        done = run(tool("sops"), "decrypt", "--output-type", "json", self.path / path, env=self.environment)
        self.hold(KEY)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["stringData"]

    def judged(self) -> list[str]:
        # In a repository, as its owner's: what Flux leaves out of it is judged, too.
        assert run("git", "init", "--quiet", cwd=self.path).returncode == 0
        assert run("git", "add", "--all", cwd=self.path).returncode == 0
        findings = Findings()
        check.inspect(self.path, findings)
        return findings.faults


@pytest.fixture
def own(shared: Path, tmp_path: Path) -> Lab:
    return Lab(shared, tmp_path)


# Keys


def test_keys_are_those_of_age_itself() -> None:
    pyrage = pytest.importorskip("pyrage", reason="pyrage is not installed") if not required() else __import__("pyrage")
    for _ in range(50):
        theirs, ours = pyrage.x25519.Identity.generate(), age.new_identity()
        assert age.identities(f"# a comment\n{theirs}\n") == [age.Identity(str(theirs), str(theirs.to_public()))]
        assert str(pyrage.x25519.Identity.from_str(ours.private).to_public()) == ours.recipient


def test_the_curve_is_that_of_its_standard() -> None:
    """RFC 7748, section 5.2: one iteration."""
    nine = bytes([9]) + bytes(31)
    assert age.public_key(nine).hex() == "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"


def test_a_key_with_any_one_letter_changed_is_refused() -> None:
    chance = random.Random(7)
    for _ in range(300):
        good = age.new_identity().recipient
        assert age.recipient_problem(good) is None
        place, letter = chance.randrange(4, len(good)), chance.choice(age.CHARSET)
        wrong = good[:place] + letter + good[place + 1 :]
        assert wrong == good or "has a wrong letter" in str(age.recipient_problem(wrong)), wrong


def test_a_private_key_shows_itself_to_nobody() -> None:
    assert KEY.private not in f"{KEY!r} {KEY} {[KEY]}"


# What is written


@pytest.mark.slow(each_commit=True)
def test_values_come_back_as_they_were_with_either_key_and_none_of_them_is_in_the_lab(own: Lab) -> None:
    own.set()
    for key in (KEY, SPARE):
        assert own.opened(MAIL, key) == VALUES
    done = run("grep", "-rl", "marker-one", own.path)
    assert done.stdout == "" and "marker-one" not in (own.path / MAIL).read_text()
    assert own.judged() == []
    assert "ok" in own.must("secret", "check")
    own.set(values={"B": "13", "NEW": "x"})
    assert own.opened(MAIL) == {**VALUES, "B": "13", "NEW": "x"}
    built = run(tool("kubectl"), "kustomize", own.path / "apps/gitlab")
    release = next(one for one in yaml.safe_load_all(built.stdout) if one["kind"] == "HelmRelease")
    changed = sealed.read((own.path / MAIL).read_text())
    assert changed is not None and release["spec"]["values"]["podAnnotations"] == {
        "lab/secret-gitlab-env": changed.changed
    }
    assert sealed.pod_annotations(own.path / "apps/gitlab") == release["spec"]["values"]["podAnnotations"]


def test_a_new_application_has_its_secret_and_takes_it_from_a_prompt(own: Lab) -> None:
    terminal = Terminal(own.path / "lab", "new-app", "shop", "--secret", "shop-db", cwd=own.path, env=own.environment)
    terminal.answer("names of its values", "DB_PASSWORD API_TOKEN")
    terminal.answer("DB_PASSWORD (not shown)", "marker one")
    terminal.answer("API_TOKEN (not shown)", "marker: two")
    assert terminal.wait() == 0, terminal.said
    assert "marker" not in terminal.said
    assert own.opened(SHOP) == {"DB_PASSWORD": "marker one", "API_TOKEN": "marker: two"}
    release = yaml.safe_load((own.path / "apps/shop/helmrelease.yaml").read_text())
    assert release["spec"]["values"]["envFrom"] == [{"secretRef": {"name": "shop-db"}}]
    assert own.judged() == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["secret", "edit", "gitlab"], "APPLICATION/NAME"),
        (["secret", "edit", "nothere/x"], "no apps/nothere/kustomization.yaml"),
        (["secret", "edit", "gitlab/Not_A_Name"], "cannot name a Secret"),
        (["secret", "edit", "gitlab/x", "--from", "/nowhere"], "/nowhere cannot be read"),
        (["secret", "edit", "gitlab/x"], "There is no terminal"),
        (["secret", "edit", "../x/y"], "names no Secret"),
        (["new-app", "shop", "--secret", "shop-db"], "--secret-from FILE"),
        (["new-app", "shop", "--secret", "Shop"], "cannot name a Secret"),
    ],
)
@pytest.mark.deep(keep=3)
def test_a_call_that_cannot_work_says_why_and_writes_nothing(own: Lab, arguments: list[str], said: str) -> None:
    before = sorted(own.path.rglob("*"))
    done = own.run(*arguments)
    assert done.returncode == 1 and said in done.stderr, done.stderr
    assert sorted(own.path.rglob("*")) == before


def test_a_value_on_a_line_that_is_none_is_not_shown(own: Lab) -> None:
    (own.folder / "bad").write_text("OK=1\nmarker-one two\n")
    done = own.run("secret", "edit", "gitlab/gitlab-env", "--from", str(own.folder / "bad"))
    assert done.returncode == 1 and "line 2" in done.stderr and "marker" not in done.stderr


@pytest.mark.slow
def test_a_lab_without_recipients_says_how_to_begin(article: object, tmp_path: Path) -> None:
    path = shutil.copytree(article.path, tmp_path / "lab")  # type: ignore[attr-defined]
    for arguments in (["secret", "edit", "gitlab/x"], ["secret", "rotate"], ["new-app", "shop", "--secret", "shop-db"]):
        done = subprocess.run(
            [path / "lab", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1 and "./lab secret init" in done.stderr, done.stderr
    assert not (path / ".sops.yaml").exists()


# Rotation


@pytest.mark.deep
def test_rotation_encrypts_everything_for_the_answers_recipients_with_new_data_keys(own: Lab) -> None:
    own.set()
    own.must("new-app", "shop", "--secret", "shop-db", "--secret-from", own.values_file({"X": "marker"}))
    before = {name: (own.path / name).read_text() for name in (MAIL, SHOP)}
    for name in (".sops.yaml", "lab_program/settings.json"):
        file = own.path / name
        file.write_text(file.read_text().replace(SPARE.recipient, STRANGER.recipient))
    faults = own.judged()
    assert len(faults) == 2 and all(
        f"for {SPARE.recipient}" in fault and f"not for {STRANGER.recipient}" in fault and "rotate" in fault
        for fault in faults
    )
    own.must("secret", "rotate")
    assert own.judged() == []
    assert own.opened(MAIL, STRANGER) == VALUES and own.opened(SHOP) == {"X": "marker"}
    for name, text in before.items():
        assert (own.path / name).read_text() != text
        assert not set(re.findall(r"data:[^,\s]{20,}", text)) & set(
            re.findall(r"data:[^,\s]{20,}", (own.path / name).read_text())
        )
    own.hold(SPARE)
    done = own.run("secret", "rotate")
    assert done.returncode == 1 and SPARE.recipient in done.stderr


@pytest.mark.slow
def test_a_rotation_that_cannot_open_one_file_changes_none(own: Lab) -> None:
    own.set()
    own.set("demo/other", {"X": "y"})
    file = own.path / MAIL
    file.write_text(
        re.sub("data:(.)", lambda found: f"data:{'B' if found[1] == 'A' else 'A'}", file.read_text(), count=1)
    )
    before = {name: name.read_bytes() for name in own.path.rglob("*.sops.yaml")}
    done = own.run("secret", "rotate")
    assert done.returncode == 1 and "was changed after it was encrypted" in done.stderr
    assert {name: name.read_bytes() for name in own.path.rglob("*.sops.yaml")} == before


# What is wrong ends in one clear line


def one_line(text: str, path: str) -> str:
    found = [line for line in text.splitlines() if path in line]
    assert len(found) == 1, text
    return found[0]


def plain(own: Lab) -> None:
    (own.path / MAIL).write_text(
        'apiVersion: v1\nkind: Secret\nmetadata:\n  name: gitlab-env\nstringData:\n  A: "marker-one"\n'
    )


def edited(own: Lab) -> None:
    file = own.path / MAIL
    file.write_text(
        re.sub("tag:(.)", lambda found: f"tag:{'B' if found[1] == 'A' else 'A'}", file.read_text(), count=1)
    )


def cut(own: Lab) -> None:
    file = own.path / MAIL
    file.write_text(file.read_text().replace("tag:", "tag:A", 1))


def half(own: Lab) -> None:
    file = own.path / MAIL
    file.write_text(re.sub(r"  A: ENC.*", "  A: marker-one", file.read_text(), count=1))


def others(own: Lab) -> None:
    text = f"creation_rules:\n  - encrypted_regex: ^stringData$\n    age: {STRANGER.recipient}\n"
    (own.folder / "other.yaml").write_text(text)
    plain(own)
    assert (
        run(
            tool("sops"),
            "--config",
            own.folder / "other.yaml",
            "encrypt",
            "--in-place",
            own.path / MAIL,
            env=own.environment,
        ).returncode
        == 0
    )


# What is done, and what check and program say of it; nothing where one of them cannot see it.
WRONG: dict[str, tuple[Callable[[Lab], None], str, str]] = {
    "plain text": (plain, "it is not encrypted", "it is not encrypted"),
    "an edited ciphertext": (edited, "", "was changed after it was encrypted"),
    "a ciphertext that is no ciphertext": (cut, "stringData.A was edited", "was changed after it was encrypted"),
    "a value in plain text": (half, "stringData.A is not encrypted", "was changed after it was encrypted"),
    "a file for somebody else": (
        others,
        f"for {STRANGER.recipient}, which is no recipient",
        f"for {STRANGER.recipient}, which is no recipient",
    ),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.deep
def test_a_wrong_file_is_named_by_check_and_program_in_one_line(own: Lab, what: str) -> None:
    own.set()
    change, of_check, of_program = WRONG[what]
    change(own)
    faults = [fault for fault in own.judged() if fault.startswith(MAIL)]
    assert [of_check in fault and "\n" not in fault for fault in faults] == ([True] if of_check else [])
    done = own.run("secret", "check")
    line = one_line(done.stderr, f"[{MAIL}]")
    assert done.returncode == 1 and of_program in line and "marker" not in done.stderr, done.stderr


@pytest.mark.slow
def test_without_a_key_the_program_says_which_is_missing_and_what_was_not_looked_at(own: Lab) -> None:
    own.set()
    own.hold(STRANGER)
    done = own.run("secret", "edit", "gitlab/gitlab-env", "--from", own.values_file({"X": "y"}))
    assert done.returncode == 1 and STRANGER.recipient in done.stderr and KEY.recipient in done.stderr
    own.keys.unlink()
    done = own.run(
        "secret", "edit", "gitlab/gitlab-env", "--from", own.values_file({"X": "y"}), SOPS_AGE_KEY=KEY.private
    )
    assert (
        done.returncode == 1
        and f"no private age key in {own.keys}" in done.stderr
        and "SOPS_AGE_KEY is not read" in done.stderr
    )
    assert KEY.private not in done.stderr
    done = own.run("secret", "check")
    assert done.returncode == 0 and "no key of a recipient is here" in done.stdout


def test_without_sops_the_program_says_how_to_get_it(own: Lab) -> None:
    (own.folder / "bin/sops").unlink()
    empty = f"{own.folder / 'bin'}:/usr/bin:/bin"
    done = own.run("secret", "edit", "gitlab/gitlab-env", "--from", own.values_file({"X": "y"}), PATH=empty)
    assert done.returncode == 1 and "sops is not installed" in done.stderr and "getsops" in done.stderr


@pytest.mark.slow
def test_a_recipient_with_a_wrong_letter_in_the_settings_is_named_by_the_check(own: Lab) -> None:
    file = own.path / "lab_program/settings.json"
    wrong = KEY.recipient[:-1] + ("q" if KEY.recipient[-1] != "q" else "p")
    file.write_text(file.read_text().replace(KEY.recipient, wrong))
    assert [fault for fault in own.judged() if f"`{wrong}` has a wrong letter" in fault]


@pytest.mark.slow
def test_a_file_where_the_bootstrap_would_apply_it_as_it_is_is_refused(own: Lab) -> None:
    own.set()
    target = own.path / "infrastructure/mail.sops.yaml"
    shutil.copy(own.path / MAIL, target)
    assert any(
        "infrastructure/mail.sops.yaml: `./lab up` applies this folder before" in fault for fault in own.judged()
    )


def test_what_flux_leaves_out_is_judged_and_what_git_ignores_is_not(own: Lab) -> None:
    for name in ("sample-app/mine.sops.yaml", "lab_program/mine.sops.yaml", "ignored/mine.sops.yaml"):
        (own.path / name).parent.mkdir(exist_ok=True)
        (own.path / name).write_text("a: b\n")
    with (own.path / ".gitignore").open("a") as file:
        file.write("/ignored/\n")
    named = [fault.partition(":")[0] for fault in own.judged() if "is not encrypted" in fault]
    assert named == ["lab_program/mine.sops.yaml", "sample-app/mine.sops.yaml"]


@pytest.mark.slow
def test_a_lab_without_the_answer_may_have_files_of_its_owners_own_keys(
    article: object, own: Lab, tmp_path: Path
) -> None:
    own.set()
    path = shutil.copytree(article.path, tmp_path / "without")  # type: ignore[attr-defined]
    for name, source in (("mine.sops.yaml", own.path / MAIL), ("plain.sops.yaml", None)):
        (path / "docs").mkdir(exist_ok=True)
        (path / "docs" / name).write_text(source.read_text() if source else "a: b\n")
    findings = Findings()
    check.inspect(path, findings)
    assert [fault.partition(":")[0] for fault in findings.faults] == ["docs/plain.sops.yaml"]


# The editor

EDITOR = """\
#!{python}
import os, sys, time
path = sys.argv[-1]
open({seen!r}, "a").write(f"{{path}} {{os.stat(path).st_mode & 0o777:o}} {{os.stat(os.path.dirname(path)).st_mode & 0o777:o}}\\n")
{body}
"""


def editor(own: Lab, body: str) -> dict[str, str]:
    file = own.folder / "editor"
    file.write_text(EDITOR.format(python=sys.executable, seen=str(own.folder / "seen"), body=body))
    file.chmod(0o755)
    return {**own.environment, "EDITOR": str(file)}


def replaces(old: str, new: str) -> str:
    return (
        f"text = open(path).read(); assert {old!r} in text, text; open(path, 'w').write(text.replace({old!r}, {new!r}))"
    )


@pytest.mark.parametrize(
    ("added", "shown"),
    [
        ("stringdata:\n  P: hunter2\n", "the field stringdata"),
        ("metadata:\n  name: gitlab-env\n  annotations: {a: hunter2}\n", "the field annotations"),
        ("metadata:\n  name: gitlab-env\n  namespace: other\n", "the field namespace"),
        ("# hunter2\n", "a comment"),
        ("---\nkind: hunter2\n", "another document"),
    ],
)
@pytest.mark.deep(keep=2)
def test_what_sops_would_leave_readable_is_refused_before_it_is_written(own: Lab, added: str, shown: str) -> None:
    own.set()
    before = (own.path / MAIL).read_bytes()
    text = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: gitlab-env\nstringData:\n  A: b\n"
    if added.startswith("metadata:"):
        text = text.replace("metadata:\n  name: gitlab-env\n", "")
    text = text + added if added.startswith("---") else added + text
    terminal = Terminal(
        own.path / "lab",
        "secret",
        "edit",
        "gitlab/gitlab-env",
        cwd=own.path,
        env=editor(own, f"open(path, 'w').write({text!r})"),
    )
    terminal.answer("Otherwise it is lost", "n")
    assert terminal.wait() == 1
    assert f"would show {shown}" in terminal.said and "hunter2" not in terminal.said, terminal.said
    assert (own.path / MAIL).read_bytes() == before


def test_with_no_recipient_left_an_encrypted_file_is_a_fault(own: Lab) -> None:
    own.set()
    settings = own.path / "lab_program/settings.json"
    content = json.loads(settings.read_text())
    settings.write_text(json.dumps(content | {"age_recipients": []}))
    done = own.run("secret", "check")
    assert done.returncode == 1 and "age_recipients names nobody" in done.stderr + done.stdout


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize(("answer", "keys"), [("y", 1), ("n", 2)])
def test_init_takes_a_key_that_is_there_only_if_it_is_told_to(own: Lab, answer: str, keys: int) -> None:
    own.hold(STRANGER)
    terminal = Terminal(own.path / "lab", "secret", "init", cwd=own.path, env=own.environment)
    terminal.until("Otherwise a new one is made")
    assert STRANGER.recipient in terminal.said
    terminal.type(f"{answer}\r")
    terminal.wait()
    assert len(age.identities(own.keys.read_text())) == keys


@pytest.mark.slow
def test_the_editors_file_is_the_owners_alone_in_memory_and_gone_afterwards(own: Lab) -> None:
    own.set()
    terminal = Terminal(
        own.path / "lab",
        "secret",
        "edit",
        "gitlab/gitlab-env",
        cwd=own.path,
        env=editor(own, replaces("marker-one", "another")),
    )
    assert terminal.wait() == 0, terminal.said
    assert own.opened(MAIL)["A"] == VALUES["A"].replace("marker-one", "another")
    path, mode, folder = (own.folder / "seen").read_text().split()
    assert (
        (mode, folder) == ("600", "700") and Path(path).is_relative_to(own.runtime) and not Path(path).parent.exists()
    )


def test_what_cannot_be_kept_goes_back_into_the_editor_and_nothing_is_lost(own: Lab) -> None:
    body = f"if os.path.exists({str(own.folder / 'second')!r}):\n    {replaces('12', 'marker-two')}\nelse:\n    open({str(own.folder / 'second')!r}, 'w'); {replaces('value', 'x')}; {replaces(chr(34) + 'x' + chr(34), '12')}"
    terminal = Terminal(own.path / "lab", "secret", "edit", "gitlab/mine", cwd=own.path, env=editor(own, body))
    terminal.answer("Edit it again?", "y")
    assert terminal.wait() == 0, terminal.said
    assert "NAME is no text" in terminal.said
    assert own.opened("apps/gitlab/secrets/mine.sops.yaml") == {"NAME": "marker-two"}


@pytest.mark.slow
def test_an_editor_that_changes_nothing_or_fails_changes_nothing(own: Lab) -> None:
    own.set()
    before = (own.path / MAIL).read_bytes()
    for body, status in (("pass", 0), ("sys.exit(3)", 1)):
        terminal = Terminal(
            own.path / "lab", "secret", "edit", "gitlab/gitlab-env", cwd=own.path, env=editor(own, body)
        )
        assert terminal.wait() == status, terminal.said
        assert (own.path / MAIL).read_bytes() == before and not list(own.runtime.iterdir())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.deep(keep=1)
def test_the_editors_file_goes_however_the_program_ends(own: Lab, number: signal.Signals) -> None:
    own.set()
    terminal = Terminal(
        own.path / "lab",
        "secret",
        "edit",
        "gitlab/gitlab-env",
        cwd=own.path,
        env=editor(own, "print('editing', flush=True); time.sleep(60)"),
    )
    terminal.until("editing")
    (folder,) = own.runtime.iterdir()
    assert any("marker-one" in file.read_text() for file in folder.iterdir())
    target = terminal.process.pid
    os.killpg(target, number) if number == signal.SIGKILL else os.kill(target, number)
    terminal.process.wait(20)
    deadline = time.monotonic() + 10
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not folder.exists()


# Every system call


def can_trace() -> bool:
    return shutil.which("strace") is not None and run("strace", "-qq", "-o", "/dev/null", "true").returncode == 0


COMMANDS: dict[str, list[str]] = {
    "edit": ["secret", "edit", "gitlab/gitlab-env"],
    "edit --from": ["secret", "edit", "gitlab/gitlab-env", "--from", "VALUES"],
    "new-app": ["new-app", "shop", "--secret", "shop-db", "--secret-from", "VALUES"],
    "rotate": ["secret", "rotate"],
    "check": ["secret", "check"],
}


def traced(log: Path) -> tuple[str, ...]:
    """Return what a command is started by so that all that leaves a process of it is noted."""
    calls = "execve,write,writev,pwrite64,pwritev,sendto,sendmsg,sendmmsg,symlink,symlinkat,setxattr,memfd_create"
    return ("strace", "-f", "-qq", "-v", "-y", "-s", "200000", "-o", str(log), "-e", f"trace={calls}")


@pytest.mark.tool("strace")
@pytest.mark.deep
def test_no_system_call_of_init_carries_the_new_key_elsewhere_than_into_the_key_file(own: Lab) -> None:
    if not can_trace():
        assert not required(), "strace is not installed, or may not trace here"
        pytest.skip("strace is not installed, or may not trace here")
    own.keys.unlink()
    log = own.folder / "strace.log"
    # The update that follows ends at once: this lab is in no repository.
    done = own.run("secret", "init", "--another", before=traced(log))
    (made,) = age.identities(own.keys.read_text())
    carrying = [line for line in log.read_text(errors="replace").splitlines() if made.private in line]
    assert len(carrying) == 1 and f"<{own.keys}>" in carrying[0], [line[:200] for line in carrying]
    assert "age_recipients=" in log.read_text(errors="replace"), "the update is started, with public keys"
    assert made.private not in done.stdout + done.stderr


@pytest.mark.tool("strace")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.deep(keep=1)
def test_no_system_call_of_a_command_carries_plain_text_elsewhere_than_into_a_pipe(own: Lab, command: str) -> None:
    """Every program that is started with its environment, and everything that is written or sent, by all of them."""
    if not can_trace():
        assert not required(), "strace is not installed, or may not trace here"
        pytest.skip("strace is not installed, or may not trace here")
    own.set()
    values = own.values_file({"A": "marker-one-again", "Z": "plain"})
    call = [values if word == "VALUES" else word for word in COMMANDS[command]]
    log = own.folder / "strace.log"
    strace = traced(log)
    if command == "edit":
        # The editor is the owner's: what it writes is its file, and is left out.
        body = replaces("marker-one", "marker-one-again")
        terminal = Terminal(*strace, own.path / "lab", *call, cwd=own.path, env=editor(own, body))
        assert terminal.wait() == 0, terminal.said
        said = terminal.said
    else:
        done = own.run(*call, before=strace)
        assert done.returncode == 0, done.stderr
        said = done.stdout + done.stderr
    text = log.read_text(errors="replace")
    carrying = [line for line in text.splitlines() if "marker-one" in line or KEY.private in line]
    assert carrying and "execve" in text, "plain text is seen on its way"
    allowed = re.compile(r"\d+ +writev?\(\d+<pipe:\[\d+\]>,")
    editors = re.compile(rf"\d+ +write\(\d+<{re.escape(str(own.runtime))}/lab-run\.[^>]+/gitlab-env\.yaml>,")
    stray = [
        line[:200] for line in carrying if not allowed.match(line) and not (command == "edit" and editors.match(line))
    ]
    assert stray == []
    assert "marker-one" not in said and not [
        path for path in own.path.rglob("*") if path.is_file() and b"marker-one" in path.read_bytes()
    ]
    assert KEY.private not in text and not list(own.runtime.iterdir())
