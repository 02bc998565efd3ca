"""What Copier loads: the rules, literals and facts of this folder as Jinja functions, filters and the object `lab`.

Copier's loader imports this file alone, and an update loads the old template's and the new one's in one process. So the
modules beside it are imported as a package whose name follows from the folder: two versions never meet.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from copier_template_extensions import ContextHook
from jinja2 import Environment, pass_context
from jinja2.runtime import Context


def _package(folder: Path) -> str:
    """Register *folder* as a package of its own, and return the package's name."""
    name = "homelab_" + hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None and spec.loader is not None
        package = importlib.util.module_from_spec(spec)
        sys.modules[name] = package
        spec.loader.exec_module(package)
    return name


def _sibling(name: str) -> ModuleType:
    return importlib.import_module(f"{_package(Path(__file__).resolve().parent)}.{name}")


facts, literals, names, rules = (_sibling(name) for name in ("facts", "literals", "names", "rules"))


@pass_context
def problem(context: Context, question: str) -> str:
    """Return why the answer to *question* is refused; nothing where it is right. For a question's `validator`."""
    return rules.problem(question, context) or ""


class LabExtension(ContextHook):
    """Brings the filters, the function `problem` and, in each rendered text, `lab` with the derived facts."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals["problem"] = problem
        environment.globals["default_gitlab_version"] = facts.DEFAULT_GITLAB_VERSION
        environment.globals["default_docker_version"] = facts.DEFAULT_DOCKER_VERSION
        environment.tests["private_name"] = names.is_private_name
        environment.filters.update(
            dns_label=names.slug,
            dotenv=literals.dotenv,
            md=literals.markdown,
            ruby=literals.ruby,
            sh=literals.shell,
            toml=literals.toml,
            yaml=literals.yaml,
        )

    def hook(self, context: dict[str, Any]) -> None:
        """Put the facts beside the answers; they cost nothing until a template reads one."""
        context["lab"] = facts.Lab(context)
