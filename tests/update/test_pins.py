"""An image's tag and digest are merged as one: the owner's stays, and nothing conflicts that needs no choice."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extensions import facts, images
from hooks.files import Entry
from hooks.git import Git
from hooks.update import merging, pins
from tests.support.rendering import ROOT, read_answers
from tests.update.support.histories import (
    REPORT,
    commit,
    edit,
    files,
    make_lab,
    packed,
    put,
    real_template,
    release,
    update_here,
)

A, B, C = (f"@sha256:{letter * 64}" for letter in "abc")
# The owner's, the template's last and newest, and what becomes of them; None where somebody has to choose.
CASES = {
    "a lab of before digests": ("v1.0", "v1.0", f"v1.1{A}", f"v1.1{A}"),
    "Renovate had moved the tag, and the digest is new": ("v1.1", "v1.0", f"v1.0{A}", "v1.1"),
    "Renovate moved both, and the template's digest is new": (f"v1.1{B}", "v1.0", f"v1.0{A}", f"v1.1{B}"),
    "Renovate moved both, and the template published the tag anew": (f"v1.1{B}", f"v1.0{A}", f"v1.0{C}", f"v1.1{B}"),
    "both pin the same tag": (f"v1.0{B}", "v1.0", f"v1.0{A}", f"v1.0{B}"),
    "both pin it alike": (f"v1.0{A}", "v1.0", f"v1.0{A}", f"v1.0{A}"),
    "only the template has another digest": (f"v1.0{A}", f"v1.0{A}", f"v1.0{B}", f"v1.0{B}"),
    "the owner's digest is another": (f"v1.0{C}", f"v1.0{A}", f"v1.0{B}", f"v1.0{C}"),
    "the owner took the digest off": ("v1.0", f"v1.0{A}", f"v1.0{B}", "v1.0"),
    "the template takes it off": (f"v1.0{A}", f"v1.0{A}", "v1.0", "v1.0"),
    "the owner pinned, and the template moves the tag": (f"v1.0{B}", "v1.0", "v1.1", "v1.1"),
    "the owner pinned, and the template moves both": (f"v1.0{B}", f"v1.0{A}", f"v1.1{C}", f"v1.1{C}"),
    "both came to one tag, and the template knows its digest": ("v1.1", f"v1.0{A}", f"v1.1{B}", f"v1.1{B}"),
    "both came to one tag, by two digests": (f"v1.1{C}", f"v1.0{A}", f"v1.1{B}", f"v1.1{C}"),
    "both moved the tag": (f"v1.1{B}", f"v1.0{A}", f"v1.2{C}", None),
    "an older tag of the owner's": ("v0.9", f"v1.0{A}", f"v1.0{B}", "v0.9"),
}
FORMS = [
    "image: docker.io/a/b:{}",
    "    - name: docker:{} # mine",
    'image = "alpine:{}"',
    "FROM registry.lab:5000/x:{} AS app",
    "  tag: {}",
    'IMAGE = "a:{}"',
]


def text(form: str, pin: str) -> bytes:
    return f"first\n{form.format(pin)}\nlast\n".encode()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES)
def test_the_tag_decides_and_brings_its_digest(tmp_path: Path, form: str, case: str) -> None:
    ours, base, theirs, wanted = CASES[case]
    merged = merging.merge(Git(tmp_path), *(Entry(text(form, pin)) for pin in (ours, base, theirs)))
    assert merged.entry is not None
    if wanted is None:
        assert merged.conflict and all(pin.encode() in merged.entry.data for pin in (ours, theirs))
    else:
        assert (merged.entry.data, merged.conflict) == (text(form, wanted), False)


def test_lines_beside_it_are_merged_as_ever(tmp_path: Path) -> None:
    ours = f"x: mine\nimage: a:1.1{B}\ny: 1\n".encode()
    base, theirs = b"x: 0\nimage: a:1.0\ny: 1\n", f"x: 0\nimage: a:1.0{A}\ny: 2\n".encode()
    merged = merging.merge(Git(tmp_path), Entry(ours), Entry(base), Entry(theirs))
    assert merged == merging.Merged(Entry(f"x: mine\nimage: a:1.1{B}\ny: 2\n".encode()))


def test_of_several_lines_alike_each_is_its_own() -> None:
    def lines(*found: str) -> bytes:
        return "\n".join(f'image = "docker:{pin}"' for pin in found).encode()

    settled = pins.settled(lines(f"1{A}", f"2{B}"), lines("1", "1"), lines(f"1{C}", f"1{C}"))
    assert settled == (lines(f"1{A}", f"2{B}"),) * 3
    # One more on one side: which is which nobody can say.
    three = (lines(f"1{A}"), lines("1", "1"), lines(f"1{C}", f"1{C}"))
    assert pins.settled(*three) == three


@pytest.mark.parametrize(
    "line", ["image: a:1.0", f"a:1{A} b:2{B}", "x@sha256:abc", f"token: {'a' * 64}", f"--hash=sha256:{'0' * 64} \\"]
)
def test_a_line_without_one_digest_is_left_to_git(line: str) -> None:
    three = (f"{line}\nmine".encode(), f"{line}0".encode(), f"{line}1".encode())
    assert pins.settled(*three) == three


pin = st.builds("{}{}".format, st.sampled_from(["v1.0", "v1.1", "v1.2"]), st.sampled_from(["", A, B, C]))


@settings(max_examples=300, deadline=None, database=None)
@given(pin, pin, pin)
def test_a_digest_never_comes_to_stand_with_a_tag_that_neither_side_gave_it(ours: str, base: str, theirs: str) -> None:
    def read(one: str) -> pins.Pin:
        tag, at, digest = one.partition("@")
        return pins.Pin(tag.encode(), f"{at}{digest}".encode())

    found = pins.chosen(read(ours), read(base), read(theirs))
    assert found in (None, read(ours), read(theirs))
    if ours in (theirs, base):
        assert found == read(theirs)
    if found is None:
        assert len({read(one).tag for one in (ours, base, theirs)}) == 3


@pytest.mark.deep
def test_a_lab_of_before_digests_takes_them_and_keeps_what_renovate_did(tmp_path: Path) -> None:
    """The template itself, with and without its table; the owner merged Renovate's proposals in between."""
    template = real_template(tmp_path / "template")
    table = template / "extensions/images.py"
    with_digests = table.read_text(encoding="utf-8")
    edit(table, lambda text: re.sub(r'^    "(?:alpine|docker|moby|registry).*\n', "", text, flags=re.MULTILINE))
    rules = template / "template/renovate.json.jinja"
    with_rules = rules.read_text(encoding="utf-8")
    edit(rules, lambda text: text.replace('"pinDigests": true', '"labels": ["images"]'))
    release(template, "1.0.0")
    table.write_text(with_digests, encoding="utf-8")
    rules.write_text(with_rules, encoding="utf-8")
    release(template, "1.1.0")
    packed(template)
    lab = make_lab(template, tmp_path / "lab", read_answers(ROOT / "tests/answers/valid/article.yml"))
    cli = f"docker:{facts.DEFAULT_DOCKER_VERSION}-cli"
    assert f"image: {cli}\n" in (lab / "runner/compose.yaml").read_text(encoding="utf-8")
    # Renovate: another kubectl with its digest, a digest for the runner's clean-up, and Docker untouched elsewhere.
    edit(
        lab / "apps/gitlab/backup.yaml",
        lambda old: old.replace(facts.KUBECTL_IMAGE, f"registry.k8s.io/kubectl:v1.99.0{A}"),
    )
    edit(lab / "runner/compose.yaml", lambda old: old.replace(cli, f"{cli}{B}"))
    commit(lab)
    update_here(lab)
    assert f"image: registry.k8s.io/kubectl:v1.99.0{A}\n" in (lab / "apps/gitlab/backup.yaml").read_text(
        encoding="utf-8"
    )
    assert f"image: {cli}{B}\n" in (lab / "runner/compose.yaml").read_text(encoding="utf-8")
    assert f'image = "{images.pinned(cli)}"\n' in (lab / "runner/config.toml").read_text(encoding="utf-8")
    assert [name for name, (data, _) in files(lab).items() if b"<<<<<<<" in data] == []
    report = (lab / REPORT).read_text(encoding="utf-8")
    part = report.split("## Images by digest\n\n")[1].split("\n\n## ")[0].splitlines()
    assert (
        len(part) == 3
        and "Nothing restarts in the cluster" in part[0]
        and "`clusters/homelab/flux-system/gotk-components.yaml` is yours" in part[1]
    )
    # It is told once.
    commit(lab)
    put(template / "template", {"new.txt": "new\n"})
    release(template, "1.2.0")
    update_here(lab)
    assert "Images by digest" not in (lab / REPORT).read_text(encoding="utf-8")
