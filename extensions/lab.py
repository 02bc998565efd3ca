"""What Copier loads: the rules, literals and facts of this folder as Jinja functions, filters and the object `lab`.

Copier's loader imports this file alone, and an update loads the old template's and the new one's in one process. So the
modules beside it are imported as a package whose name follows from the folder: two versions never meet.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import yaml
from copier.errors import UserMessageError
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


facts, literals, names, rules, soundness = (
    _sibling(name) for name in ("facts", "literals", "names", "rules", "soundness")
)
ROOT = Path(__file__).resolve().parent.parent


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads copier.yml with its pages."""


_Loader.add_constructor("!include", lambda loader, node: _read(ROOT / loader.construct_scalar(node))[0])


def _read(file: Path) -> list[Any]:
    return list(yaml.load_all(file.read_text(encoding="utf-8"), _Loader))


def _parse_yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


@pass_context
def problem(context: Context, question: str) -> str:
    """Return why the answer to *question* is refused; nothing where it is right. For a question's `validator`."""
    return rules.problem(question, context) or ""


@pass_context
def answers_are_sound(context: Context) -> bool:
    """Refuse, together and before anything is asked or written, what cannot make a lab. For the first question's `when`.

    Raises:
        UserMessageError: what is wrong, a line each. Copier prints it and exits with 1.
    """
    if "_copier_conf" not in context:
        # This very walk, as it comes to the first question's `when`.
        return True
    conf = context["_copier_conf"]
    folder = Path(conf["dst_path"])
    found = destination_problems(folder, conf["overwrite"] or conf["pretend"], str(conf["answers_file"]))
    recorded = {} if found else _recorded(folder / str(conf["answers_file"]))
    if not found and (conf["data"] or recorded):
        questions = {name: question for page in _read(ROOT / "copier.yml")[1:] for name, question in page.items()}
        around = {"_folder_name": context["_folder_name"]}

        def render(value: Any, answers: Any) -> Any:
            return context.environment.from_string(value).render(answers) if isinstance(value, str) else value

        found = soundness.problems(questions, conf["data"], recorded, render, _parse_yaml, around)
    if found:
        raise UserMessageError("This cannot make a lab, and nothing was written:\n" + "\n".join(f"  {line}" for line in found))
    return True


def _recorded(file: Path) -> dict[str, Any]:
    try:
        recorded = yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserMessageError(f"{file} cannot be read: {str(error).splitlines()[0]}. Restore it with `git checkout`.") from error
    return recorded if isinstance(recorded, dict) else {}


def destination_problems(folder: Path, overwrite: bool, answers_file: str) -> list[str]:
    """Return why no lab can be written to *folder*; a folder with an answers file is a lab already, and is Copier's to judge."""
    for parent in (folder, *folder.parents):
        if parent.exists():
            if not parent.is_dir():
                return [f"`{parent}` is a file; give a folder that does not exist yet"]
            if not os.access(parent, os.W_OK | os.X_OK):
                return [f"`{parent}` is not yours to write; give another folder"]
            break
    if overwrite or not folder.exists() or (folder / answers_file).exists():
        return []
    others = sorted(entry.name for entry in folder.iterdir() if entry.name != ".git")
    if others:
        return [f"`{folder}` is not empty (`{others[0]}` is there); give another folder, or `--overwrite` to write into this one"]
    return []


def one_clear_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say in one line what stopped Copier's command: a disk that is full, say. Everything unforeseen keeps its traceback."""
    if isinstance(error, (OSError, ValueError)):
        print(f"Copier stopped: {str(error) or kind.__name__}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


class LabExtension(ContextHook):
    """Brings the filters, the function `problem` and, in each rendered text, `lab` with the derived facts."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        if Path(sys.argv[0]).stem == "copier":
            sys.excepthook = one_clear_line
        environment.globals["problem"] = problem
        environment.globals["answers_are_sound"] = answers_are_sound
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
