"""YAML and scripts, by their linters."""

from __future__ import annotations

from pathlib import Path

import yaml

from .findings import Findings
from .reading import files, is_encrypted, run


def check(lab: Path, findings: Findings) -> None:
    """Lint every file of YAML, but those that SOPS wrote, and every script."""
    found = files(lab)
    yamls = [path for path in found if path.suffix in {".yaml", ".yml"} and not _encrypted(lab / path)]
    # The bootstrap's own parts are read by what sources them.
    scripts = [path for path in found if path.suffix == ".sh" and path.parts[:-1] in ((), (".gitlab",), ("scripts",))]
    for done in (
        run(lab, "yamllint", "--strict", "--config-file", ".yamllint.yaml", *yamls) if yamls else None,
        run(lab, "shellcheck", "--external-sources", "--source-path=SCRIPTDIR", *scripts) if scripts else None,
    ):
        if done is not None and done.returncode:
            findings.faults.append(done.stdout.strip() or done.stderr.strip())


def _encrypted(file: Path) -> bool:
    if "ENC[AES256_GCM" not in (text := file.read_text(encoding="utf-8", errors="replace")):
        return False
    try:
        return any(is_encrypted(document) for document in yaml.safe_load_all(text))
    except yaml.YAMLError:
        return False
