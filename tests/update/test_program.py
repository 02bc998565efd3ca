"""A lab whose program was in Bash learns from its update's report where each part of it is now."""

from __future__ import annotations

import re

import yaml

from tests.support.rendering import ROOT

REMOVED = yaml.safe_load((ROOT / "hooks/renames.yml").read_text(encoding="utf-8"))["1.0.0"]["removed"]


def test_every_script_that_went_is_told_with_the_place_of_what_it_did() -> None:
    scripts = {path: why for path, why in REMOVED.items() if path.startswith("bootstrap/")}
    assert len(scripts) == 20 and not [path for path in scripts if (ROOT / "template" / path).exists()]
    for path, why in scripts.items():
        places = re.findall(r"lab_program/[\w/]+\.\w+", why)
        assert places, path
        for place in places:
            source = ROOT / "template" / place
            assert source.exists() or source.with_name(f"{source.name}.jinja").exists(), f"{path}: {place}"


def test_what_kept_its_name_says_the_new_one_and_where_its_code_is() -> None:
    """An owner's edits there end in a conflict, of which these lines are the template's side."""
    for name in (
        "bootstrap.sh",
        "new-app.sh",
        "restore.sh",
        "update.sh",
        "scripts/gitlab-upgrade.sh",
        ".gitlab/propose-update.sh",
    ):
        text = (ROOT / "template" / name).read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 8 and "./lab " in text, name
        for place in re.findall(r"lab_program/[\w/]+(?:\.py|/)", text):
            assert (ROOT / "template" / place).exists(), f"{name}: {place}"
