"""age's public keys, checked by the very module that the lab's program has: a key that the wizard takes, the program takes."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

_FILE = Path(__file__).resolve().parent.parent / "template" / "lab_program" / "age.py"


def recipients_problem(value: object) -> str | None:
    """Return why an answer is no list of age's public keys; None where it is one."""
    refusal: str | None = _module().recipients_problem(value)
    return refusal


@cache
def _module() -> ModuleType:
    # By its path, under a name that no other version of the template has: an update loads two.
    spec = importlib.util.spec_from_file_location(f"{__name__}_of_the_lab", _FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
