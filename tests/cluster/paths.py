"""Where the cluster tests keep what they build and start."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = Path(__file__).resolve().parent
PROGRAMS = CLUSTER / "programs"
BIN = ROOT / ".cluster" / "bin"
