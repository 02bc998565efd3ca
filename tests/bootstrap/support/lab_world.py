"""The stand-in world of one test: a cluster, a GitLab, a runner's machine, an external repository, and a lab's folder.

A run of the program finds it through PATH and through GITLAB_URL. The world sees every call, can break any of them,
and can kill the run right after any change.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bootstrap.support.lab_folder import make_lab
from tests.bootstrap.support.stand_in_cluster import NODE_IP, Cluster
from tests.bootstrap.support.stand_in_flux import Flux, git
from tests.bootstrap.support.stand_in_gitlab import GitLab
from tests.bootstrap.support.stand_in_pods import Pods
from tests.bootstrap.support.stand_in_programs import Answer, Caller, Programs, write_programs
from tests.bootstrap.support.world_server import WorldServer
from tests.bootstrap.support.world_summary import summary
from tests.support.compiled import share_compiled
from tests.support.terminal import Terminal

if TYPE_CHECKING:
    from tests.bootstrap.support.faults import Fault

LAB = "the owner's läb"
# What save keeps of a world, beside the state of its GitLab and its cluster.
FOLDERS = ("repositories", "runner's machine", "docker", LAB)
ATTRIBUTES = ("registry_realm", "versions", "vm_has", "flux_check", "host_keys", "storage_folders")
# The two changes that every run makes: the token with which it looks into GitLab, and the end of that token.
ROOT_TOKEN = {"gitlab-rails runner": "root token made", "DELETE /personal_access_tokens/self": "root token revoked"}
READING = {"get", "logs", "version", "auth"}
HOST_KEYS = """\
ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDxjjQON+TtEFycAJ8i/2LS0BqNV+HsfRh0wjSnv6YG+ root@gitlab
ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBMH6CHpprr0Nr5LjD+ibZcedjuXH\
VDJlDJflKxiUnkAI/x5T/8UxIJKlgroaAYJQ24ce8PsSVUDRjaTLvd2jRjg= root@gitlab
"""


def ready_machine(**changes: Any) -> dict[str, Any]:
    """Return what a runner's machine has: all that it needs, with changes."""
    return {"ssh": True, "docker": True, "compose": True, "trust": True, "apt": True, "sudo": "yes", **changes}


@dataclass
class Run:
    """How one run of the program ended."""

    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


@dataclass(frozen=True)
class Call:
    """One call of a stand-in: the program, its arguments or its request."""

    source: str
    detail: str
    arguments: tuple[str, ...] = ()


class World:
    """Everything around one lab.

    Args:
        folder: where all of it lives; made new.
        settings: what differs from lab_folder's settings, by name.
    """

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder, self.vm = folder, folder / "runner's machine"
        self.home, self.private = folder / "home", folder / "private"
        for part in (folder, folder / "repositories", self.vm, folder / "docker", self.home):
            part.mkdir(parents=True, exist_ok=True)
        self.private.mkdir(mode=0o700)
        # What the runner's container on its machine was started with: its files, one after another.
        self.container = folder / "docker" / "up"
        self.lock = threading.RLock()
        self.errors: list[str] = []
        self.requests: set[str] = set()
        self.running: subprocess.Popen[str] | None = None
        self.versions = {"kubectl": "v1.36.1", "helm": "v4.1.3", "flux": "v2.9.4"}
        self.flux_check = (0, "✔ prerequisites checks passed\n", "")
        self.external_logins: set[tuple[str, str]] = set()
        self.external_keys: set[str] = set()
        self.registry_realm = ""
        self.host_keys = HOST_KEYS
        self.storage_folders: set[str] = set()
        self.vm_has: dict[str, Any] = ready_machine()
        self.forget_orders()
        self.gitlab = GitLab(folder / "repositories")
        self.cluster = Cluster(self)
        self.pods, self.flux, self.programs = Pods(self), Flux(self), Programs(self)
        self.server = WorldServer(self)
        self.lab, self.settings = make_lab(folder / LAB, self.server.port, self.vm, settings)
        share_compiled(self.lab)
        self.prepare_cluster()
        self.bin = write_programs(folder / "bin")

    def forget_orders(self) -> None:
        """Forget what was seen, and what was ordered to go wrong."""
        self.calls: list[Call] = []
        self.changes: list[str] = []
        self.errors = []
        self.faults: list[Fault] = []
        self.kill_after: Callable[[str, int], bool] | None = None
        self.kill_before: Callable[[Call, int], bool] | None = None
        self.look: Callable[[Caller], None] = lambda _: None

    def close(self) -> None:
        self.server.stop()

    def prepare_cluster(self) -> None:
        """A k3s as it comes, with cert-manager, and what an owner has to have prepared."""
        cluster, settings = self.cluster, self.settings
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        addresses = [{"type": "InternalIP", "address": NODE_IP}, {"type": "Hostname", "address": "node-1"}]
        node = ready | {"allocatable": {"memory": "16308744Ki"}, "addresses": addresses}
        cluster.put("Node", "", "node-1", status=node)
        cluster.put("Namespace", "", "default")
        cluster.put("Namespace", "", "kube-system")
        cluster.put("CustomResourceDefinition", "", "ingressroutes.traefik.io")
        cluster.put("HelmChart", "kube-system", "traefik")
        address = {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}}
        cluster.put("Service", "kube-system", "traefik", spec={"type": "LoadBalancer"}, status=address)
        cluster.put("StorageClass", "", "local-path")
        cluster.put("ClusterIssuer", "", "letsencrypt", status=ready)
        if settings["tls_source"] == "secret":
            cluster.put("Namespace", "", settings["gitlab_namespace"])
            place = settings["gitlab_namespace"], settings["tls_secret_name"]
            data = {"tls.crt": "Y2VydGlmaWNhdGU=", "tls.key": "dGhlIG93bmVyJ3MgcHJpdmF0ZSBrZXk="}
            cluster.put("Secret", *place, type="kubernetes.io/tls", data=data)

    # Running the program

    def environment(self, **more: str) -> dict[str, str]:
        keep = {k: v for k, v in os.environ.items() if k in ("LANG", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM")}
        minutes = {f"LAB_WAIT_{what}_MINUTES": "1" for what in ("FLUX", "GITLAB", "RUNNER", "VERIFY")}
        ours = {
            "PATH": f"{self.bin}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.private),
            "XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"],
            "LAB_STAND_IN_PORT": str(self.server.port),
            "LAB_POLL_SECONDS": "0.01",
            "LAB_RETRY_SECONDS": "0",
        }
        return keep | ours | minutes | more

    def run(
        self,
        *arguments: str,
        cwd: Path | None = None,
        command: str = "up",
        program: Sequence[str | Path] = (),
        yes: bool = True,
        **environment: str,
    ) -> Run:
        """One run without a terminal; standard input is empty.

        Args:
            command: the program's.
            program: what is started instead of ./lab.
            yes: whether it is told to answer yes, as a run without a terminal has to be.
        """
        words = [command, *(["--yes"] if yes else []), *arguments]
        with subprocess.Popen(
            [*map(str, program or [self.lab / "lab"]), *words],
            cwd=cwd or self.folder,
            env=self.environment(**environment),
            text=True,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            self.running = process
            try:
                out, err = process.communicate(timeout=120)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                out, err = process.communicate()
                self.errors.append(f"the run did not end by itself; so far:\n{out}{err}")
            self.running = None
            return Run(process.returncode, out, err)

    def must_run(self, *arguments: str, **more: Any) -> Run:
        run = self.run(*arguments, **more)
        assert run.status == 0, run.text
        assert not self.errors, (self.errors, run.text)
        return run

    def terminal(self, *arguments: str, command: str = "up", **environment: str) -> Terminal:
        """One run of ./lab in a terminal."""
        return Terminal(self.lab / "lab", command, *arguments, cwd=self.folder, env=self.environment(**environment))

    # What the stand-ins ask

    def see(self, source: str, detail: str, arguments: Sequence[str] = ()) -> None:
        """Take note of a call, and let time pass.

        Raises:
            ConnectionAbortedError: the run was killed before the call; it is not to be carried out.
        """
        call = Call(source, detail, tuple(arguments))
        self.calls.append(call)
        self.cluster.seconds += 1
        self.pods.step()
        self.flux.step()
        self.gitlab.run_pipelines(bool(self.pods.running_runners()))
        if self.kill_before and self.kill_before(call, len(self.calls)):
            self.kill()
            raise ConnectionAbortedError(detail)

    def call(self, caller: Caller) -> Answer | None:
        """Answer a program; None where the run is killed for what it has changed."""
        name, detail, text = caller.name, " ".join(caller.arguments), caller.text()
        failed = 255 if name == "ssh" else 1
        with self.lock:
            try:
                self.see(name, detail, caller.arguments)
                self.look(caller)
                fault = self.fault_for(name, detail)
                late = fault is not None and fault.kind in ("lost", "half")
                if fault and not late:
                    return Answer(failed, err=f"{fault.kind}\n")
                before = self.fingerprint(reading=name == "kubectl" and bool(READING & set(caller.arguments[:2])))
                answer = self.programs.answer(caller, text)
            except ConnectionAbortedError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the test has to hear of it
                self.errors.append(f"{name} {detail}: {error!r}")
                return Answer(99, err=f"{error!r}\n")
            if self.changed_since(before, f"{name} {detail[:100]}"):
                return None
            return Answer(failed, err="error: unexpected EOF\n") if late else answer

    def fault_for(self, source: str, detail: str) -> Fault | None:
        return next((fault for fault in self.faults if fault.applies(source, detail)), None)

    # Changes, and kills after them

    @staticmethod
    def heads(repository: Path) -> dict[str, str]:
        return {p.name: p.read_text().strip() for p in sorted((repository / "refs" / "heads").glob("*")) if p.is_file()}

    def runner_files(self) -> str:
        """What a runner's container that starts now is started with."""
        folder = Path(self.settings["runner_home"] or "/nonexistent")
        files = [folder / name for name in (".env", "compose.yaml", "config.toml", "ca.crt")]
        return "".join(file.read_text() for file in files if file.exists())

    def fingerprint(self, *, reading: bool = False) -> str:
        """The state in short; of a call that only reads nothing, since it takes time and nothing can have changed."""
        if reading:
            return ""
        # Preflight's Jobs are gone at its end, and change nothing that lasts.
        objects = {
            "/".join(key): item | {"status": ""}
            for key, item in self.cluster.objects.items()
            if key[0] != "Pod" and not key[2].startswith("lab-inside-")
        }
        files = [(str(p), p.read_text() if p.is_file() else "", p.stat().st_mode) for p in sorted(self.vm.rglob("*"))]
        state = {
            "gitlab": {name: value for name, value in vars(self.gitlab).items() if isinstance(value, (list, dict))},
            "objects": objects,
            "releases": self.cluster.releases,
            "machine": [files, self.container.exists()],
            "heads": {str(one): self.heads(one) for one in self.gitlab.all_repositories()},
        }
        return hashlib.sha256(json.dumps(state, sort_keys=True, default=str).encode()).hexdigest()

    def changed_since(self, before: str, what: str) -> bool:
        """Note a change; true where the run is killed for it."""
        if not before or self.fingerprint() == before:
            return False
        self.changes.append(next((said for word, said in ROOT_TOKEN.items() if word in what), what))
        if self.kill_after and self.kill_after(what, len(self.changes)):
            self.kill()
            return True
        return False

    def kill(self) -> None:
        self.kill_after = self.kill_before = None
        if self.running:
            os.killpg(self.running.pid, signal.SIGKILL)

    # What the stand-ins ask of each other

    def gitlab_is_ready(self) -> bool:
        return self.runs(self.settings["gitlab_namespace"], "gitlab")

    def demo_runs(self) -> bool:
        return self.runs(self.settings["app_namespace"], "demo")

    def runs(self, namespace: str, name: str) -> bool:
        deployment = self.cluster.find("Deployment", namespace, name) or {}
        return bool(deployment.get("status", {}).get("readyReplicas"))

    # Saving and comparing

    def save(self, name: str) -> dict[str, Any]:
        """The whole state under a name, to start from again with restore."""
        for part in FOLDERS:
            shutil.copytree(self.folder / part, self.folder / "saved" / name / part, symlinks=True)
        parts = {
            "gitlab": vars(self.gitlab),
            "cluster": vars(self.cluster),
            "rest": {key: getattr(self, key) for key in ATTRIBUTES},
        }
        states = {part: {k: v for k, v in parts[part].items() if k not in ("repositories", "world")} for part in parts}
        return copy.deepcopy({"name": name} | states)

    def restore(self, saved: dict[str, Any]) -> None:
        """Back to a saved state; what was ordered to go wrong is forgotten."""
        for part in FOLDERS:
            shutil.rmtree(self.folder / part)
            shutil.copytree(self.folder / "saved" / saved["name"] / part, self.folder / part, symlinks=True)
        for target, part in ((self.gitlab, "gitlab"), (self.cluster, "cluster"), (self, "rest")):
            vars(target).update(copy.deepcopy(saved[part]))
        self.forget_orders()
        for left in self.private.iterdir():
            shutil.rmtree(left)
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir()

    def summary(self) -> dict[str, Any]:
        return summary(self)

    @staticmethod
    def commits(repository: Path) -> dict[str, list[str]]:
        return {name: git(repository, "log", "--format=%s", name).splitlines() for name in World.heads(repository)}


@contextlib.contextmanager
def world_in(folder: Path, **settings: Any) -> Iterator[World]:
    """A world for the length of a block."""
    world = World(folder, **settings)
    try:
        yield world
    finally:
        world.close()
