"""What Copier loads: the rules, literals and facts of this folder as Jinja functions, filters and the object `lab`.

Copier's loader imports this file alone, and an update loads the old template's and the new one's in one process. So the
modules beside it are imported as a package whose name follows from the folder: two versions never meet.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, cast

import copier
import yaml
from copier.errors import UserMessageError
from copier_template_extensions import ContextHook
from jinja2 import Environment, pass_context
from jinja2.runtime import Context
from packaging.version import Version
from plumbum import local


def _package(folder: Path) -> str:
    """Register *folder* as a package of its own, and return the package's name."""
    name = "homelab_" + hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        package = importlib.util.module_from_spec(spec)
        sys.modules[name] = package
        spec.loader.exec_module(package)
    return name


def _sibling(name: str, folder: str = "extensions") -> ModuleType:
    return importlib.import_module(f"{_package(Path(__file__).resolve().parent.parent / folder)}.{name}")


if TYPE_CHECKING:  # what mypy and an editor follow
    from . import all_answers, facts, literals, machines, names, pages, rules, summary, walk
    from .answers import Answers
else:
    facts, literals, machines, names, pages, rules, all_answers, summary, walk = (
        _sibling(name)
        for name in ("facts", "literals", "machines", "names", "pages", "rules", "all_answers", "summary", "walk")
    )


def _leave_the_callers_repository() -> None:
    """Forget the repository of a Git hook or an alias that started Copier: every command of Git would work on it instead."""
    for name in _sibling("git", "hooks").HANDED_DOWN:
        os.environ.pop(name, None)
        local.env.pop(name, None)  # type: ignore[arg-type]


@pass_context
def refusal(context: Context, question: str) -> str:
    """Return why the answer to *question* is refused; nothing where it is right. For a question's `validator`."""
    message = rules.refusal(question, cast("Answers", context))
    begun = getattr(_notes(), "update", None)
    if message is None and question in _STEPS and begun is not None:
        message = _STEPS[question](begun.answers_then, cast("Mapping[str, Any]", context))
    return message or ""


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
    begun = getattr(_notes(), "update", None)
    if begun is not None and folder.absolute() != begun.lab:
        # The update's last rendering, with the answers that were found sound.
        return True
    if _replays(conf):
        vars(_notes())["old_copy"] = folder
    found = _copier_problems() or destination_problems(
        folder, conf["overwrite"] or conf["pretend"], str(conf["answers_file"])
    )
    recorded = {} if found else _recorded(folder / str(conf["answers_file"]))
    if not found and (conf["data"] or recorded):
        # The update has looked at what was recorded, and the wizard asks again for what is refused.
        asked: list[str] | None = [] if begun is not None else None
        # A copy over a lab that is there brings another version just as an update does.
        found = _problems(context, recorded, asked) or _jump_lines(recorded, conf["data"])
    if found:
        raise UserMessageError(
            "This cannot make a lab, and nothing was written:\n" + "\n".join(f"  {line}" for line in found)
        )
    return True


def _copier_problems() -> list[str]:
    """Return why this Copier is not used: `_min_copier_version` has no counterpart for one that is too new."""
    command = _sibling("update.command", "hooks")
    version: str = copier.__version__
    if Version(version).release < command.BELOW:
        return []
    oldest, below = (".".join(map(str, one)) for one in (command.OLDEST, command.BELOW))
    command_line = f"uvx --from 'copier>={oldest},<{below}' --with '{command.LOADER}<1' copier ..."
    return [f"this is Copier {version}, which the template was not tried with; take one before {below}: {command_line}"]


def _problems(context: Context, recorded: Mapping[str, Any], outdated: list[str] | None = None) -> list[str]:
    questions = pages.questions()

    def render(value: Any, answers: Any) -> Any:
        return context.environment.from_string(value).render(answers) if isinstance(value, str) else value

    around = {"_folder_name": context["_folder_name"]}
    conf = context["_copier_conf"]
    return all_answers.refusals(
        questions,
        conf["data"],
        recorded,
        render,
        pages.parse_yaml,
        around,
        not conf["defaults"],
        _replays(conf),
        outdated,
    )


def _replays(conf: Mapping[str, Any]) -> bool:
    """Say whether this is the template of the last update, which an update renders first, into a folder of its own.

    Copier gives it all that was recorded. So does an owner whose `--data-file` is another lab's answers, who makes a lab elsewhere.
    """
    folder = Path(tempfile.gettempdir()).resolve()
    silent = conf["quiet"] and conf["defaults"] and conf["vcs_ref"] is not None
    return "_src_path" in conf["data"] and silent and folder in Path(conf["dst_path"]).resolve().parents


def _jump(recorded: Mapping[str, Any], given: Mapping[str, Any]) -> str | None:
    """Return why GitLab cannot go from the recorded version to the one that is given: it has to stop in between."""
    if "gitlab_version" not in recorded or "gitlab_version" not in given:
        return None
    found: str | None = _sibling("upgrades").upgrade_problem(
        str(recorded["gitlab_version"]), str(given["gitlab_version"])
    )
    return found


def _shrink(recorded: Mapping[str, Any], given: Mapping[str, Any]) -> str | None:
    """Return why the runner's disk cannot become as small as is given."""
    return machines.shrinks(cast("Answers", recorded), cast("Answers", given))


def _stale(recorded: Mapping[str, Any], given: Mapping[str, Any]) -> str | None:
    """Return why the recorded checksum does not go with the image that is given."""
    return machines.stale_checksum(cast("Answers", recorded), cast("Answers", given))


# Answers that are right by themselves, and not after the one that was recorded.
_STEPS = {"gitlab_version": _jump, "runner_disk": _shrink, "vm_image_checksum": _stale}


def _notes() -> ModuleType:
    """Return what the templates of one update, old and new, tell one another; the name is fixed for all versions."""
    return sys.modules.setdefault("copier_gitlab_homelab_update", ModuleType("copier_gitlab_homelab_update"))


def _judged(context: Context, recorded: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return what is wrong with recorded answers, and which of them the wizard asks for again."""
    outdated: list[str] | None = None if context["_copier_conf"]["defaults"] else []
    found = _problems(context, recorded, outdated)
    return found, outdated or []


def _jump_lines(recorded: Mapping[str, Any], answers: Mapping[str, Any]) -> list[str]:
    found = {question: step(recorded, answers) for question, step in _STEPS.items()}
    return [f"{question}: {message}" for question, message in found.items() if message is not None]


@pass_context
def template_folder(context: Context) -> str:
    """Return the template's folder: the lab's files, or, for a lab that is updated, an empty one. For copier.yml's `_subdirectory`."""
    folder: str = "template"
    _sibling("update.copier_contract", "hooks").ask_git_less(Path(context["_copier_conf"]["dst_path"]))
    if getattr(_notes(), "update", None) is not None:
        folder = _sibling("steps", "hooks").template_folder(_notes(), context["_copier_conf"])
    return folder


@pass_context
def update_step(context: Context, step: str) -> bool:
    """Take one of hooks/steps.py's steps around an update. For a task's `when`: never true, as no program is to run."""
    conf, notes = context["_copier_conf"], _notes()
    if conf["pretend"]:
        return False
    if step == "before":
        steps, versions = _sibling("steps", "hooks"), (str(context[f"_version_pep440_{end}"]) for end in ("from", "to"))
        steps.before(notes, conf, *versions, steps.Judge(functools.partial(_judged, context), _jump_lines))
    elif step == "after":
        _sibling("steps", "hooks").after(notes, conf["quiet"])
    elif getattr(notes, "update", None) is not None:
        # Copier clones the template for each rendering; this is the first clone's code, with what it knows.
        notes.update.rendered(Path(conf["dst_path"]))
    return False


def _recorded(file: Path) -> dict[str, Any]:
    try:
        recorded = yaml.load(file.read_text(encoding="utf-8"), pages.Loader)  # noqa: S506 - it is a safe one
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserMessageError(
            f"{file} cannot be read: {str(error).splitlines()[0]}. Restore it with `git checkout`."
        ) from error
    return recorded if isinstance(recorded, dict) else {}


@pass_context
def answers_summary(context: Context) -> str:
    """Return the summary of all answers, for what Copier says after a copy."""
    render = walk.renderer(context.environment)
    by_page = pages.pages()
    given = {name: context[name] for questions in by_page.values() for name in questions if name in context}
    return "\n".join(summary.lines(walk.walk(by_page, given, render, {"_folder_name": context["_folder_name"]})))


def updating() -> bool:
    """Say whether Copier brings a lab up to date, for a default that is for new labs only; questions are not told by Copier itself."""
    operation = getattr(sys.modules.get("copier._main"), "_operation", None)
    return operation is not None and operation.get("copy") == "update"


def is_staged(folder: object) -> bool:
    """Say whether a folder is the top of a Git repository that has something staged. For what is said after a copy."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], cwd=str(folder), capture_output=True, text=True, check=False)
        except OSError:
            return None
        return done.stdout.rstrip("\n") if done.returncode == 0 else None

    top = git("rev-parse", "--show-toplevel")
    return top is not None and Path(top).resolve() == Path(str(folder)).resolve() and bool(git("ls-files", "--cached"))


def with_whole_source(answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return Copier's answers with the template's folder as an absolute path: an update looks for it from the lab's folder.

    Copier writes down what it was given, such as `.` for `copier copy . ../my-lab`.
    """
    found = dict(answers)
    source = str(found.get("_src_path", ""))
    if (
        source
        and not re.match(r"[\w+.-]+(://|@|:)|~", source)
        and not Path(source).is_absolute()
        and Path(source).is_dir()
    ):
        found["_src_path"] = str(Path(source).resolve())
    return found


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
        return [
            f"`{folder}` is not empty (`{others[0]}` is there); give another folder, or `--overwrite` to write into this one"
        ]
    return []


def _clash(error: BaseException, trace: TracebackType | None) -> str | None:
    """Return which file of the lab is a folder in the template, or the other way round; None where something else stopped Copier."""
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return f"`{error.filename}` is a file in your lab and a folder in the template"
    # Copier asserts that whatever it cannot read is a folder that it wants; the path is a variable of that function.
    paths = [frame.f_locals.get("dst_abspath") for frame, _ in traceback.walk_tb(trace)]
    if isinstance(error, AssertionError) and paths and isinstance(paths[-1], Path) and paths[-1].is_dir():
        return f"`{paths[-1]}` is a folder in your lab and a file in the template"
    return None


def one_clear_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say in one line what stopped Copier's command: a disk that is full, say. Everything unforeseen keeps its traceback."""
    clash = _clash(error, trace)
    if clash is not None:
        print(f"Copier stopped: {clash}. Rename yours, commit, and try again.", file=sys.stderr)
    elif isinstance(error, (OSError, ValueError)):
        print(f"Copier stopped: {str(error) or kind.__name__}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


class LabExtension(ContextHook):
    """Brings the filters, the function `refusal` and, in each rendered text, `lab` with the derived facts."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        _leave_the_callers_repository()
        if Path(sys.argv[0]).stem == "copier":
            sys.excepthook = one_clear_line
            # Copier's looks are not its interface: without this the wizard still works, in cut lines.
            with contextlib.suppress(ImportError):
                _sibling("wizard").show_whole_messages()
        # Copier compiles every path and setting anew each time that it comes to it: most of an update's time.
        environment.from_string = functools.lru_cache(maxsize=None)(environment.from_string)  # type: ignore[assignment, method-assign]
        environment.globals["is_staged"] = is_staged
        environment.globals["updating"] = updating
        environment.globals["update_step"] = update_step
        environment.globals["template_folder"] = template_folder
        environment.globals["refusal"] = refusal
        environment.globals["answers_are_sound"] = answers_are_sound
        environment.globals["answers_summary"] = answers_summary
        # The front end of `make lab` has told it before its questions.
        environment.globals["needs_are_told"] = os.environ.get(pages.TOLD) == "1"
        environment.globals["default_gitlab_version"] = facts.DEFAULT_GITLAB_VERSION
        environment.globals["default_docker_version"] = facts.DEFAULT_DOCKER_VERSION
        environment.globals["default_vm_image"] = facts.DEFAULT_VM_IMAGE
        environment.tests["private_name"] = names.is_private_name
        environment.tests["public_mail"] = names.is_public_mail
        environment.filters.update(
            checksum=_sibling("update.recorded", "hooks").checksum,
            lab_name=rules.lab_name_of,
            with_whole_source=with_whole_source,
            dotenv=literals.dotenv,
            hcl=literals.hcl,
            md=literals.markdown,
            rails_yaml=literals.rails_yaml,
            ruby=literals.ruby,
            sh=literals.shell,
            toml=literals.toml,
            usual_gateway=machines.usual_gateway,
            without_comments=literals.without_comments,
            yaml=literals.yaml,
        )

    def hook(self, context: dict[str, Any]) -> None:
        """Put the facts beside the answers; they cost nothing until a template reads one."""
        context["lab"] = facts.Lab(cast("Answers", context))
