"""Fixtures of the delivery tests: what the lab's check makes of the same text is worked out once."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checks import building, charts, reading, releases


def contents(folder: Path) -> bytes | None:
    """Return a digest of all that a folder is built of; None where it may take from elsewhere."""
    digest = hashlib.sha256(folder.name.encode())
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = file.read_bytes()
        if file.name in building.NAMES and (b".." in data or b"//" in data):
            return None
        digest.update(b"%s\0%d\0" % (str(file.relative_to(folder)).encode(), len(data)) + data)
    return digest.digest()


@pytest.fixture(scope="session", autouse=True)
def the_same_text_is_read_and_built_once() -> Iterator[None]:
    """Let the check, which a hundred tests run in this process on nearly the same lab, look at what differs.

    What Kubernetes' kustomize makes of a folder follows from the files in it, as YAML's documents follow from their text. A fault is
    never remembered: its words name the place.
    """
    read: dict[str, bytes] = {}
    built: dict[bytes, subprocess.CompletedProcess[str]] = {}
    documents, run = reading.documents, building.run

    def documents_once(text: str) -> list[Any]:
        if text not in read:
            read[text] = pickle.dumps(documents(text))
        # Each reader gets its own, to change as it likes.
        found: list[Any] = pickle.loads(read[text])
        return found

    def built_once(folder: Path, name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        key = contents(Path(arguments[-1])) if (name, arguments[0]) == ("kubectl", "kustomize") else None
        if key in built:
            return built[key]
        done = run(folder, name, *arguments)
        if key is not None and done.returncode == 0 and not done.stderr:
            built[key] = done
        return done

    with pytest.MonkeyPatch.context() as patch:
        for module in (reading, building, charts, releases):
            patch.setattr(module, "documents", documents_once)
        patch.setattr(building, "run", built_once)
        yield
