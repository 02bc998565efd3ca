"""What checkov's Kubernetes checks find in the labs is what tests/checkov.yml lists, with a reason each; no more, and no less."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.cluster import Lab, Object, read_lab
from tests.support.rendering import ROOT, VALID, read_answers, recorded_answers, rendered

CHECKOV = Path(sys.prefix) / "checkov" / "bin" / "checkov"
LISTED: dict[str, dict[str, str]] = yaml.safe_load((ROOT / "tests" / "checkov.yml").read_text(encoding="utf-8"))
# Stands for every object.
ALL = "*"


def title(thing: Object, lab: Lab) -> str:
    """Return what the list calls an object: its kind and name, without the hash that a check's name ends in."""
    name = re.sub(r"-[0-9a-f]{8}$", "", thing["metadata"]["name"])
    of_demo = name == "demo" and lab.answers["app_security"] == "warned"
    return f"{thing['kind']} {name}" + (" of a lab that is only warned" if of_demo else "")


def findings(folder: Path) -> dict[str, set[str]]:
    """Return what checkov finds in a folder of objects, by check: the objects' titles, which are the folders they lie in."""
    command = [str(CHECKOV), "--directory", str(folder), "--framework", "kubernetes", "--compact", "--quiet"]
    done = subprocess.run(
        [*command, "--output", "json", "--skip-download"], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    result = json.loads(done.stdout)
    assert not result["summary"]["parsing_errors"] and result["summary"]["passed"]
    found: dict[str, set[str]] = {}
    for one in result["results"]["failed_checks"]:
        found.setdefault(one["check_id"], set()).add(Path(one["file_path"]).parent.name)
    return found


@pytest.mark.skipif("CHECKOV" not in os.environ, reason="`make checkov` installs checkov and runs this")
def test_what_checkov_finds_is_listed_with_a_reason(shared: Path, tmp_path: Path) -> None:
    known: set[str] = set()
    for file in VALID:
        path = rendered(shared, file.stem, read_answers(file))
        lab = read_lab(path, recorded_answers(path))
        for number, thing in enumerate(lab.objects):
            text = json.dumps(thing, sort_keys=True)
            if text + title(thing, lab) not in known:
                known.add(text + title(thing, lab))
                place = tmp_path / "objects" / title(thing, lab).replace("/", "_")
                place.mkdir(parents=True, exist_ok=True)
                (place / f"{file.stem}-{number}.json").write_text(text, encoding="utf-8")
    found = findings(tmp_path / "objects")
    wanted = {check: set(objects) for check, objects in LISTED.items()}
    shown = {check: {ALL} if wanted.get(check) == {ALL} else objects for check, objects in found.items()}
    assert shown == wanted


def test_every_line_of_the_list_has_a_reason() -> None:
    assert all(
        isinstance(reason, str) and len(reason) > 20 for objects in LISTED.values() for reason in objects.values()
    )
