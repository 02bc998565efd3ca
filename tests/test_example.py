"""example/ is what the template makes of the article's answers, today."""

from __future__ import annotations

from pathlib import Path

from tests.render_example import EXAMPLE, render


def contents(folder: Path) -> dict[str, tuple[bytes, bool]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_example_is_fresh(tmp_path: Path) -> None:
    committed, fresh = contents(EXAMPLE), contents(render(tmp_path))
    assert sorted(committed) == sorted(fresh), "run `make example`"
    assert [name for name in fresh if committed[name] != fresh[name]] == [], "run `make example`"
