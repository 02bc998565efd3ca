"""OpenTofu, with the environment that it is given and no other. https://opentofu.org/docs/cli/

Its folders are private ones that live for a run. What it prints goes through the console, which hides every secret.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..console import Console
from ..errors import ClientError
from ..programs import Programs, Result

# What a machine's own settings may add to what the caller gives: where programs and homes are, and the way out.
KEPT = ("PATH", "HOME", "TMPDIR", "TF_CLI_CONFIG_FILE", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PROXY = re.compile(r"(https?|no|all)_proxy", re.IGNORECASE)
# No questions, no look for newer versions, no advice for people at a prompt.
ALWAYS = {"TF_INPUT": "0", "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", "LC_ALL": "C"}
CHANGES = 2
_LOCKED = re.compile(r"Error acquiring the state lock")
_LOCK_FIELD = re.compile(r"^[\s│|]*(ID|Operation|Who|Created):[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_WRONG_LOCK_FILE = re.compile(r"does not match configured version|Inconsistent dependency lock file|-upgrade\b")
_FRAME = re.compile(r"^[ \t]*[│╷╵|] ?", re.MULTILINE)


class TofuError(ClientError):
    """OpenTofu did not do it; its words are without their frame."""

    def __init__(self, done: Result) -> None:
        said = _FRAME.sub("", f"{done.out}\n{done.err}".strip()).strip()
        at = said.find("Error:")
        super().__init__("OpenTofu", said[at:] if at >= 0 else said or f"status {done.status}")
        self.whole = said

    @property
    def wants_upgrade(self) -> bool:
        """Whether the lock file names a provider that the code no longer takes."""
        return bool(_WRONG_LOCK_FILE.search(self.whole))

    @property
    def lock(self) -> Lock | None:
        """Who holds the state, if that was in the way."""
        if not _LOCKED.search(self.whole):
            return None
        found = dict(_LOCK_FIELD.findall(self.whole))
        return Lock(found.get("ID", ""), found.get("Operation", ""), found.get("Who", ""), found.get("Created", ""))


@dataclass(frozen=True)
class Lock:
    """Who holds a state: the lock's ID, what for, who, and since when."""

    id: str
    operation: str
    who: str
    since: str

    def __str__(self) -> str:
        return f"{self.who or 'somebody'}, {self.operation or 'an operation'}, since {self.since or 'an unknown time'}"


@dataclass(frozen=True)
class Plan:
    """What OpenTofu would do: for each resource that changes, what it does to it, such as ("delete", "create")."""

    actions: Mapping[str, tuple[str, ...]]
    imports: frozenset[str] = frozenset()

    @property
    def is_empty(self) -> bool:
        return not self.actions and not self.imports

    @property
    def removed(self) -> list[str]:
        """What would be destroyed, or made anew."""
        return sorted(address for address, what in self.actions.items() if "delete" in what)

    def makes(self, address: str) -> bool:
        """Say whether a resource would come into the state."""
        return self.actions.get(address) == ("create",) or address in self.imports


class Tofu:
    """OpenTofu on one folder of code.

    Args:
        folder: the code.
        scratch: a private folder for what OpenTofu writes beside it.
        cache: where providers stay for the next run, as they were downloaded.
        variables: what it sees, secrets included, beside KEPT of the owner's.
    """

    def __init__(
        self,
        programs: Programs,
        console: Console,
        folder: Path,
        scratch: Path,
        cache: Path | None,
        variables: Mapping[str, str],
    ) -> None:
        self._programs, self._console, self._folder = programs, console, folder
        self._plan_file = scratch / "plan"
        owners = {
            name: value
            for name, value in programs.environment.items()
            if name in KEPT or (_PROXY.fullmatch(name) and name != "HTTP_PROXY")
        }
        own = {"TF_DATA_DIR": str(scratch / "data"), **({"TF_PLUGIN_CACHE_DIR": str(cache)} if cache else {})}
        self._environment = owners | ALWAYS | own | dict(variables)

    @staticmethod
    def version(programs: Programs) -> str:
        """Return what it says of its version."""
        kept = {name: value for name, value in programs.environment.items() if name in KEPT}
        return programs.run(["tofu", "version"], environment=kept | ALWAYS).out.split("\n", 1)[0]

    def init(self, *, upgrade: bool = False) -> None:
        """Fetch the providers, and write the lock file where it is missing.

        Raises:
            TofuError: it could not.
        """
        self._must("init", "-no-color", *(["-upgrade"] if upgrade else []))

    def resources(self) -> list[str]:
        """Return the addresses of what the state knows; none where there is no state yet.

        Raises:
            TofuError: it could not be read.
        """
        done = self._run("state", "list")
        if done.status and "No state file was found" in f"{done.out}{done.err}":
            return []
        if done.status:
            raise TofuError(done)
        return done.out.split("\n") if done.out else []

    def plan(self, *targets: str) -> Plan:
        """Compare the code with the state and the world; keep the plan for `shown` and `apply`.

        Args:
            targets: the resources that count; all of them if there are none.
        Raises:
            TofuError: it could not, or somebody holds the state.
        """
        only = [f"-target={one}" for one in targets]
        done = self._run("plan", "-no-color", "-detailed-exitcode", f"-out={self._plan_file}", *only)
        if done.status not in (0, CHANGES):
            raise TofuError(done)
        return read_plan(json.loads(self._must("show", "-json", str(self._plan_file))))

    def shown(self) -> str:
        """Return the plan as OpenTofu shows it to people."""
        return self._must("show", "-no-color", str(self._plan_file)).strip()

    def apply(self) -> None:
        """Do what the plan says, one resource after the other: a small server that makes several at once locks up.

        Raises:
            TofuError: it was not done to its end.
        """
        done = self._run("apply", "-no-color", "-parallelism=1", str(self._plan_file), hear=self._progress)
        if done.status:
            raise TofuError(done)

    def _progress(self, line: str) -> None:
        if re.match(r"\S+: (Creating|Still creating|Creation complete|Importing|Modif|Still modif|Destroy)", line):
            self._console.doing(line)

    def _must(self, *arguments: str) -> str:
        done = self._run(*arguments)
        if done.status:
            raise TofuError(done)
        return done.out

    def _run(self, *arguments: str, hear: Callable[[str], None] | None = None) -> Result:
        return run_to_its_end(self._programs, ["tofu", *arguments], self._folder, self._environment, hear)


def run_to_its_end(
    programs: Programs,
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    hear: Callable[[str], None] | None = None,
) -> Result:
    """Run a program that must not be cut off: cut off, it would leave a lock, and a machine that its state knows not.

    It is in a session of its own, so a Ctrl-C does not reach it twice. If the run is to end, it is asked to (SIGINT),
    once, and waited for: OpenTofu then finishes what it has begun, writes its state and releases the lock.

    Args:
        hear: gets each line that it prints.
    """
    programs.console.command(" ".join(command))
    lines: list[str] = []
    with tempfile.TemporaryFile() as complaints:
        try:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
                cwd=folder,
                env=dict(environment),
                start_new_session=True,
            )
        except OSError as error:
            return Result(127, "", f"{command[0]} cannot be started: {error.strerror or error}")
        with process:
            try:
                _listen(process, lines, hear)
            except BaseException:
                programs.console.doing(f"waiting until {command[0]} has finished what it has begun")
                process.send_signal(signal.SIGINT)
                _listen(process, lines, None)
                programs.console.log("\n".join(f"  {line}" for line in lines))
                raise
        complaints.seek(0)
        err = complaints.read().decode("utf-8", "replace")
    if process.returncode not in (0, CHANGES):
        programs.console.log(f"  status {process.returncode}: {err.strip()[-4000:]}")
    return Result(process.returncode, "\n".join(lines), err)


def _listen(process: subprocess.Popen[bytes], lines: list[str], hear: Callable[[str], None] | None) -> None:
    for raw in process.stdout or ():
        line = raw.decode("utf-8", "replace").rstrip("\n")
        lines.append(line)
        if hear is not None:
            hear(line)


def read_plan(content: Mapping[str, Any]) -> Plan:
    """Return what a plan does, from OpenTofu's JSON: https://opentofu.org/docs/internals/json-format/."""
    actions: dict[str, tuple[str, ...]] = {}
    imports = set()
    for one in content.get("resource_changes") or []:
        change = one.get("change") or {}
        what = tuple(map(str, change.get("actions") or ()))
        if what not in {("no-op",), ("read",), ()}:
            actions[str(one["address"])] = what
        if change.get("importing"):
            imports.add(str(one["address"]))
    return Plan(actions, frozenset(imports))
