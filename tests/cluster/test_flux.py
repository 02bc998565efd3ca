"""Flux's own components as the template ships them."""

from __future__ import annotations

import re
import subprocess

from extensions.facts import FLUX_VERSION
from tests.cluster.build import CONTROLLERS
from tests.cluster.paths import BIN, ROOT

FILE = ROOT / "template/clusters/{{ cluster_name }}/flux-system/gotk-components.yaml"
EXTRA = "--components-extra=image-reflector-controller,image-automation-controller"


def test_the_templates_flux_is_what_flux_itself_writes() -> None:
    """`flux` was built with the manifests of its controllers' own modules, as its release is."""
    written = subprocess.run(
        [BIN / "flux", "install", "--export", EXTRA], capture_output=True, text=True, check=True
    ).stdout
    assert f"# Flux Version: v{FLUX_VERSION}\n" in written
    # What the template adds: the digest of a tag, as extensions/images.py has it.
    assert re.sub(r"@sha256:[0-9a-f]{64}$", "", FILE.read_text(encoding="utf-8"), flags=re.MULTILINE) == written
    assert all(f"name: {name}" in written for name in CONTROLLERS)
