"""Fixtures: each lab of tests/answers/valid/, rendered and read once."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from copier._main import Worker
from filelock import FileLock
from jinja2 import Environment

# Go's collector took a tenth of the time of Helm in this process, and a fifth of that of each kubectl, helm and traefik: they live
# too short to need it. It is read when Helm's library is loaded, which the next line does.
os.environ.setdefault("GOGC", "400")
# Started by nohup, or in the background, the tests would ignore some signals, and every program that they start with them.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

from tests.cluster import turns  # noqa: E402
from tests.support.cluster import Lab, read_lab  # noqa: E402
from tests.support.compiled import compile_program  # noqa: E402
from tests.support.depth import CLUSTER, SHARES, draws, every, left_out, settle_the_draw  # noqa: E402
from tests.support.leftovers import temporary_folder  # noqa: E402
from tests.support.questions import labs_with  # noqa: E402
from tests.support.rendering import VALID, read_answers, recorded_answers, rendered  # noqa: E402

# Labs that differ little from another one. CI looks at them at each commit.
LATER = re.compile(r"pair-(?!01$)|tls-(cloudflare|rfc2136|route53)$|machines-dhcp$|docker-hub-cache-cluster$")
MEMORY = Path("/dev/shm")
ROOM = 4 * 2**30  # bytes; a whole run takes a tenth of it


def _keep_temporary_files_in_memory() -> None:
    """A run makes and removes some hundred thousand folders, each of which a disk takes a millisecond for. TMPDIR says otherwise.

    The cluster tests stay on the disk: their database and their mounts are part of what they look at.
    """
    if "TMPDIR" in os.environ or CLUSTER in os.environ or not os.access(MEMORY, os.W_OK | os.X_OK):
        return
    there = os.statvfs(MEMORY)
    if there.f_bavail * there.f_frsize >= ROOM and not there.f_flag & os.ST_NOEXEC:
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


_keep_temporary_files_in_memory()

# What the lab's program, its checks and the tools that they call read from the environment.
SURROUNDINGS = re.compile(r"(CI|NO_COLOR|FORCE_COLOR|KUBECONFIG)$|(CI|GIT|GITLAB|HELM|FLUX|SOPS|DOCKER|KUBECTL)_")


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the settings of the developer, and of the CI that runs the tests, out of what the tests see."""
    home = tmp_path_factory.mktemp("home")
    (home / "gitconfig").write_text(
        "[user]\nname = Owner\nemail = owner@example.com\n[init]\ndefaultBranch = main\n[commit]\ngpgsign = false\n"
        "[gc]\nauto = 0\n[core]\nfsync = none\n"
    )
    # Git's sample hooks, copied into each repository that is made, and a question to Git about each file that is rendered (whether
    # core.fileMode is off, which it is not here) took a good part of the time.
    (home / "git-template").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        (home / "copier.yml").write_text("{}\n")
        patch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        patch.setenv("COPIER_SETTINGS_PATH", str(home / "copier.yml"))
        for name in [name for name in os.environ if SURROUNDINGS.match(name) and not name.startswith("GIT_CONFIG_")]:
            patch.delenv(name)
        patch.setenv("GIT_TEMPLATE_DIR", str(home / "git-template"))
        patch.setattr(Worker, "_sync_git_index_executable_bit", lambda *_: None, raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def what_killed_programs_leave_goes_with_the_run(shared: Path, worker_id: str) -> Iterator[None]:
    """Give programs a temporary folder of this run's: those that a test kills remove nothing."""
    folder = temporary_folder(shared, worker_id)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", str(folder))
        yield


@pytest.fixture(scope="session", autouse=True)
def the_labs_program_is_compiled_once(shared: Path) -> Iterator[None]:
    """Keep what labs compile out of the developer's cache, and let them share it."""
    cache = shared / "cache"
    with FileLock(shared / "cache.lock"):
        if not cache.exists():
            compile_program(cache)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        yield


@pytest.fixture(scope="session", autouse=True)
def each_text_is_compiled_once() -> Iterator[None]:
    """Let Jinja compile a text once a worker: rendering in this process meets the same few hundred again and again.

    What a text compiles to depends on it, on the environment's settings and on the names of its filters and tests; the file's own
    name stands in tracebacks only.
    """
    compiled: dict[tuple[Any, ...], CodeType] = {}
    compile_text = Environment.compile

    def remembered(
        self: Environment,
        source: Any,
        name: Any = None,
        filename: Any = None,
        raw: bool = False,
        defer_init: bool = False,
    ) -> Any:
        if raw or not isinstance(source, str):
            return compile_text(self, source, name, filename, raw, defer_init)
        settings = [getattr(self, setting) for setting in SETTINGS]
        key = (
            type(self),
            source,
            name,
            *settings,
            *self.extensions,
            None,
            *sorted(self.filters),
            None,
            *sorted(self.tests),
        )
        if key not in compiled:
            compiled[key] = compile_text(self, source, name, filename, raw, defer_init)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Environment, "compile", remembered)
        yield


SETTINGS = (
    "block_start_string",
    "block_end_string",
    "variable_start_string",
    "variable_end_string",
    "comment_start_string",
    "comment_end_string",
    "line_statement_prefix",
    "line_comment_prefix",
    "trim_blocks",
    "lstrip_blocks",
    "newline_sequence",
    "keep_trailing_newline",
    "optimized",
    "autoescape",
    "is_async",
)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return the folder that both workers share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@cache
def _read(shared: Path, name: str) -> Lab:
    file = next(file for file in VALID if file.stem == name)
    path = rendered(shared, name, read_answers(file))
    return read_lab(path, recorded_answers(path))


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run a test that is asked for by its name in this process: two workers would take twice its time to start."""
    asked = config.invocation_params.args
    if sum("::" in one for one in asked) == 1 and not any(one.startswith(("-n", "--num")) for one in asked):
        config.option.numprocesses = 0


def pytest_configure() -> None:
    """Settle the draw before the workers start."""
    settle_the_draw()


def pytest_report_header() -> str:
    """Say which of the deep tests run."""
    if every():
        return "every test runs"
    return (
        f"one in {SHARES['slow']} of the slow tests and in {SHARES['deep']} of the deep ones runs, by TEST_DRAW={settle_the_draw()!r}"
        if draws()
        else "the slow tests wait for CI, and for LONG=1"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let a test of a cluster that measures be alone."""
    if CLUSTER not in os.environ:
        return (yield)
    turns.enter(alone=item.get_closest_marker(turns.MARK) is not None)
    try:
        return (yield)
    finally:
        turns.leave()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the slow tests that this run does not take, and keep the tests of one group on one worker: what they share is read, or started, once.

    pytest-xdist 3.8 writes the group to `_nodeid`, which pytest has not read since 9.2; elsewhere this changes nothing.
    https://github.com/pytest-dev/pytest-xdist/issues/1386
    """
    without = left_out(config, items)
    if without:
        config.hook.pytest_deselected(items=without)
        gone = set(map(id, without))
        items[:] = [item for item in items if id(item) not in gone]
    for item in items:
        named = vars(item).get("_nodeid", item.nodeid) if hasattr(item, "__dict__") else item.nodeid
        if named != item.nodeid:
            item._id = type(item.id).parse(named)  # type: ignore[attr-defined]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `lab` for every valid file of answers; one lab's tests stay on one worker.

    With `@pytest.mark.labs(question=[answers])` it runs for those labs alone of which it says something.
    """
    if "lab" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("labs")
        names = labs_with(**(mark.kwargs if mark else {}))
        assert names, f"{metafunc.definition.nodeid} says something of no lab at all: {mark}"
        metafunc.parametrize("lab", [pytest.param(name, marks=_marks(name)) for name in names], indirect=True)


def _marks(name: str) -> list[pytest.MarkDecorator]:
    """Return the marks of a lab's tests: `make test` leaves some labs out."""
    later = [pytest.mark.slow(each_commit=True)] if LATER.match(name) else []
    return [pytest.mark.xdist_group(name), *later]


@pytest.fixture
def lab(request: pytest.FixtureRequest, shared: Path) -> Lab:
    """Return one lab of tests/answers/valid/; it is one of those that the test asks for."""
    found, mark = _read(shared, request.param), request.node.get_closest_marker("labs")
    for question, wanted in mark.kwargs.items() if mark else ():
        assert found.answers[question] in wanted, f"{request.param} answers {question} with {found.answers[question]!r}"
    return found


@pytest.fixture
def article(shared: Path) -> Lab:
    """Return the article's own lab."""
    return _read(shared, "article")
