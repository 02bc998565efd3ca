"""Render example/ from tests/answers/valid/article.yml. `make example` runs it; a test compares the result with what is committed."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.rendering import ROOT, copy_lab, read_answers, snapshot

ANSWERS = ROOT / "tests" / "answers" / "valid" / "article.yml"
EXAMPLE = ROOT / "example"


def render(folder: Path) -> Path:
    """Render the article's lab below *folder* and return it, without what says where and when it was rendered."""
    lab = folder / "homelab"
    copy_lab(snapshot(folder / "template"), lab, read_answers(ANSWERS), skip_tasks=True)
    answers = lab / ".copier-answers.yml"
    lines = answers.read_text(encoding="utf-8").splitlines(keepends=True)
    answers.write_text("".join(line for line in lines if not line.startswith("_")), encoding="utf-8")
    return lab


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        lab = render(Path(folder))
        shutil.rmtree(EXAMPLE, ignore_errors=True)
        shutil.copytree(lab, EXAMPLE)


if __name__ == "__main__":
    main()
