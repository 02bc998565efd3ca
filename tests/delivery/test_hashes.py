"""What the lab's own jobs install: files whose hashes are in Git, or nothing. Judged by pip itself."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.support.cluster import Lab
from tests.support.rendering import ROOT

REQUIREMENTS = ROOT / "template/.gitlab/requirements.txt"
LINES = re.split(r"\n(?=[a-z])", REQUIREMENTS.read_text(encoding="utf-8").strip())


def versions(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE))


def wheel(folder: Path, name: str, version: str, code: str) -> Path:
    """Build a wheel, as somebody does who has taken over a package or the way to the registry."""
    file = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    parts = {
        f"{name.replace('-', '_')}_module.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text.encode())}\n"
        for path, text in parts.items()
    )
    with zipfile.ZipFile(file, "w") as archive:
        for path, text in (parts | {f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}).items():
            archive.writestr(path, text)
    return file


def install(requirements: Path, wheels: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Run pip as the pipeline does, with what the attacker serves."""
    options = [
        "--no-index",
        "--find-links",
        str(wheels),
        "--target",
        str(target),
        "--disable-pip-version-check",
        "--no-deps",
    ]
    command = [sys.executable, "-m", "pip", "install", "--require-hashes", "--requirement", str(requirements), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_package_has_its_hash_and_nothing_comes_from_elsewhere() -> None:
    assert len(LINES) > 20
    for line in LINES:
        assert re.fullmatch(
            r"[a-z0-9.-]+==[\w.]+(?: ; [^\\]+?)? \\(?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)+", line
        ), line[:80]
    assert not re.search(r"https?:|index-url|find-links|^-e|@", REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_versions_are_those_that_the_tests_use_and_that_uv_brings_at_home() -> None:
    pinned = versions((ROOT / "requirements/test.txt").read_text(encoding="utf-8"))
    here = versions(REQUIREMENTS.read_text(encoding="utf-8"))
    header = dict(
        re.findall(
            r'^#   "(.*)==(.*)",$', (ROOT / "template/.gitlab/check.py").read_text(encoding="utf-8"), re.MULTILINE
        )
    )
    assert {name: here[name] for name in header} == header
    assert {
        name: version for name, version in here.items() if name in pinned and name != "copier-template-extensions"
    } == {name: pinned[name] for name in here if name in pinned and name != "copier-template-extensions"}
    assert {"uv", "copier", "copier-template-extensions"} <= here.keys(), "the proposal of an update runs Copier"


@pytest.mark.parametrize("name", ["pyyaml", "copier", "uv"])
@pytest.mark.deep(keep=1)
def test_a_package_that_somebody_else_has_published_under_its_name_is_refused(tmp_path: Path, name: str) -> None:
    version = versions(REQUIREMENTS.read_text(encoding="utf-8"))[name]
    evil = wheel(tmp_path, name, version, "raise SystemExit('owned')\n")
    (only,) = [line for line in LINES if line.startswith(f"{name}==")]
    (tmp_path / "requirements.txt").write_text(only + "\n", encoding="utf-8")
    done = install(tmp_path / "requirements.txt", tmp_path, tmp_path / "site")
    assert done.returncode != 0 and "DO NOT MATCH THE HASHES" in done.stderr and not (tmp_path / "site").exists()
    # The very file goes in where its hash stands in Git: it is the hash that refuses.
    digest = hashlib.sha256(evil.read_bytes()).hexdigest()
    (tmp_path / "requirements.txt").write_text(f"{name}=={version} --hash=sha256:{digest}\n", encoding="utf-8")
    assert install(tmp_path / "requirements.txt", tmp_path, tmp_path / "site").returncode == 0


def test_every_job_of_the_lab_installs_by_hashes_and_nothing_else(lab: Lab) -> None:
    text = (lab.path / ".gitlab-ci.yml").read_text(encoding="utf-8")
    pipeline = yaml.safe_load(text)
    assert (
        "pip install --quiet --require-hashes --requirement .gitlab/requirements.txt"
        in pipeline["default"]["before_script"]
    )
    assert text.count("pip install") == 1 and not re.search(
        r"\b(uv|uvx|pipx|npm|curl|wget)\b ", re.sub(r"#.*", "", text)
    )
    assert not [
        name for name, job in pipeline.items() if isinstance(job, dict) and "before_script" in job and name != "default"
    ]
    assert pipeline["variables"]["LAB_TOOLS"] == "installed", "the proposal's checks run on what was installed"
