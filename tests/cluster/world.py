"""One lab on one real cluster: the control plane, Flux, a GitLab in front of it, the runner's machine, the owner's folder."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from extensions.facts import Lab
from tests.cluster import turns
from tests.cluster.api import Object, condition
from tests.cluster.cert_manager import CertManager
from tests.cluster.control_plane import ControlPlane, remove
from tests.cluster.flux_processes import NAMESPACE, FluxProcesses
from tests.cluster.gitlab_server import GitLabWorld, Server, Status
from tests.cluster.job_runner import JobRunner
from tests.cluster.machines import (
    name_everything,
    prepare_external_repository,
    prepare_issuer,
    start_gitlab,
    start_machines,
    start_storage_server,
)
from tests.cluster.namespaces import Surroundings
from tests.cluster.node_agent import NodeAgent
from tests.cluster.paths import BIN
from tests.cluster.processes import Processes
from tests.cluster.timing import allowed
from tests.support.gitlab_rb import SECTIONS
from tests.support.loopback import wait_for
from tests.support.rendering import recorded_answers

Found = TypeVar("Found")


@dataclass(frozen=True)
class Run:
    """How one run of a program of the lab ended.

    Attributes:
        status: its exit status; negative where a signal ended it.
        text: all that it printed.
        seconds: how long it took.
    """

    status: int
    text: str
    seconds: float


class World:
    """A cluster with everything around it that a lab needs.

    Args:
        folder: where all of it goes; made new.
        surroundings: the network and the files of this process.
        lab: the lab's folder, committed.
    """

    def __init__(self, folder: Path, surroundings: Surroundings, lab: Path) -> None:
        folder.mkdir(parents=True)
        folder.chmod(0o755)
        self.folder, self.lab, self.surroundings = folder, lab, surroundings
        self.answers = recorded_answers(lab)
        self.facts = Lab(self.answers)
        self.processes = Processes(folder / "log")
        self.plane = ControlPlane(folder / "plane", self.processes)
        self.api = self.plane.api
        self.gitlab = GitLabWorld(folder / "gitlab", self.facts, self.answers, self.api)
        jobs = JobRunner(
            self.api,
            self.plane.pki / "apiserver.crt",
            folder / "jobs",
            frozenset(SECTIONS.read_text(encoding="utf-8").split()),
        )
        self.agent = NodeAgent(self.api, self.gitlab.has_image, jobs)
        self.flux = FluxProcesses(self.plane, self.processes, folder / "flux")
        self.home, self.machine = folder / "home", folder / "machine"
        self.running: subprocess.Popen[str] | None = None
        self.external_fingerprint = ""
        self.is_built = False
        self.stopping = threading.Event()
        self.servers: list[Server] = []

    # Beginning and end

    def start(self) -> None:
        name_everything(self)
        self.plane.start()
        self.agent.start()
        start_gitlab(self)
        start_machines(self)
        start_storage_server(self)
        prepare_external_repository(self)
        if self.answers["tls_source"] == "cert-manager":
            prepare_issuer(self)
        if self.facts.installs_cert_manager:
            CertManager(self).start()
        self.flux.start()
        threading.Thread(target=self._pass_time, daemon=True).start()
        threading.Thread(target=self._watch_pushes, daemon=True).start()

    def stop(self) -> None:
        self.stopping.set()
        self.agent.stop()
        self.flux.stop()
        for server in self.servers:
            server.shutdown()
            server.server_close()
        self.processes.stop_all()
        self.api.close()
        remove(self.folder)

    @property
    def container(self) -> Path:
        """What the runner's container on its machine was started with."""
        return self.folder / "container up"

    # What goes on by itself

    def runner_online(self) -> bool:
        """Say whether a runner with a valid token runs, on its machine or in the cluster."""
        with self.gitlab.lock:
            tokens = [runner["token"] for runner in self.gitlab.gitlab.runners]
        if self.answers["runner_kind"] == "docker":
            started = self.container.read_text(encoding="utf-8") if self.container.exists() else ""
            return any(re.search(rf"^RUNNER_TOKEN\w*={re.escape(token)}$", started, re.MULTILINE) for token in tokens)
        pods = self.api.list("pods", "gitlab-runner")
        return any(condition(pod)[0] == "True" for pod in pods) and bool(tokens)

    def _pass_time(self) -> None:
        while not self.stopping.wait(0.3):
            try:
                self.gitlab.tick(self.runner_online)
            except OSError:
                continue

    def heads(self) -> dict[str, str]:
        """Return the commit of each branch of each repository, by `path branch`."""
        found = {}
        repositories = self.gitlab.gitlab.repositories
        for repository in self.gitlab.gitlab.all_repositories():
            path = str(repository.relative_to(repositories)).removesuffix(".git")
            for file in (repository / "refs" / "heads").rglob("*"):
                if file.is_file() and not file.name.endswith(".lock"):
                    found[f"{path} {file.relative_to(repository / 'refs' / 'heads')}"] = file.read_text().strip()
        return found

    def _watch_pushes(self) -> None:
        seen: dict[str, str] = {}
        while not self.stopping.wait(0.05):
            now = self.heads()
            for place, commit in now.items():
                if commit and seen.get(place) != commit:
                    path, branch = place.split(" ")
                    self.gitlab.tell_of_push(path, branch, commit)
            seen = now

    # The owner

    def environment(self, **more: str) -> dict[str, str]:
        keep = {k: v for k, v in os.environ.items() if k in ("LANG", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM")}
        return (
            keep
            | {
                "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin",
                "HOME": str(self.home),
                "XDG_RUNTIME_DIR": str(self.home),
                "KUBECONFIG": str(self.plane.kubeconfig),
                "LAB_POLL_SECONDS": "0.3",
                "LAB_WAIT_FLUX_MINUTES": "1",
                "LAB_WAIT_GITLAB_MINUTES": "3",
                "LAB_WAIT_RUNNER_MINUTES": "2",
                "LAB_WAIT_VERIFY_MINUTES": "3",
                "LAB_GIT_USERNAME": "flux",
                "LAB_GIT_PASSWORD_FILE": str(self.home / "flux-password"),
                "LAB_GIT_HOST_KEY": self.external_fingerprint,
            }
            | more
        )

    def begin(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a program of the lab without a terminal."""
        self.running = subprocess.Popen(
            arguments,
            cwd=self.lab,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return self.running

    def run(self, *arguments: str, seconds: float = 400, **environment: str) -> Run:
        """Run a program of the lab to its end.

        Raises:
            AssertionError: it did not end in time.
        """
        started = time.monotonic()
        with self.begin(*arguments, **environment) as process:
            try:
                text, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                text, _ = process.communicate()
                raise AssertionError(f"{' '.join(arguments)} did not end within {seconds} s:\n{text[-4000:]}") from None
        return Run(process.returncode, text, time.monotonic() - started)

    def bootstrap(self, *arguments: str, status: int = 0, **environment: str) -> Run:
        """Run the lab's program, and see it end as it should; before it, and after it, another test may be alone."""
        turns.give_way()
        run = self.run("./bootstrap.sh", "--yes", *arguments, seconds=400, **environment)
        assert run.status == status, f"{run.text}\n{json.dumps(self.processes.dead(), indent=1)}"
        turns.give_way()
        return run

    def build(self) -> World:
        """Run bootstrap.sh to its end, unless that was done before."""
        if not self.is_built:
            self.bootstrap()
            self.is_built = True
        return self

    def tag_sample(self, tag: str) -> None:
        """Tag the sample project, as its owner would by a push."""
        with self.gitlab.lock:
            project = self.gitlab.gitlab.project(self.facts.sample_project)
            body = {"tag_name": tag, "ref": "main"}
            status, answer = self.gitlab.gitlab.post_projects_one_repository_tags(project, {}, {}, body, "")
        assert status == 201, answer

    def next_sample_tag(self) -> str:
        """Return a tag that the sample project has not: other tests of the world have tagged it, too."""
        with self.gitlab.lock:
            project = self.gitlab.gitlab.project(self.facts.sample_project)
            taken = {one["name"] for one in self.gitlab.gitlab.tags if one["project"] == project["id"]}
        return next(name for name in (f"v1.0.{number}" for number in itertools.count()) if name not in taken)

    # The lab's repository

    @property
    def repository(self) -> Path:
        path = "external/lab" if self.answers["gitops_source"] == "external" else self.facts.project
        return self.gitlab.gitlab.repository(path)

    def git(self, *arguments: str, check: bool = True) -> str:
        """Run Git in the lab's folder as its owner."""
        done = subprocess.run(
            ["git", *arguments], cwd=self.lab, env=self.environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 or not check, f"git {' '.join(arguments)}: {done.stderr}"
        return done.stdout.strip()

    def push(self, message: str) -> str:
        """Commit what is in the lab's folder, push it as an owner whose rights GitLab does not question, return the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--no-verify", "--message", message)
        branch = self.answers["gitops_branch"]
        for _ in range(10):
            self.git("pull", "--quiet", "--rebase", str(self.repository), branch)
            if not self.git("push", "--quiet", str(self.repository), f"HEAD:{branch}", check=False):
                head = self.git("rev-parse", "HEAD")
                if self.tip() == head or self.git("merge-base", "--is-ancestor", head, self.tip(), check=False) == "":
                    return head
        raise AssertionError("the push did not arrive")

    def ask_flux(self, kind: str = "gitrepository", name: str = "flux-system") -> None:
        """Ask Flux to look at one of its objects now, as a webhook would."""
        ask = f"reconcile.fluxcd.io/requestedAt={time.time()}"
        self.plane.kubectl("annotate", "--overwrite", kind, name, f"--namespace={NAMESPACE}", ask)

    def tip(self) -> str:
        return Path(self.repository, "refs", "heads", self.answers["gitops_branch"]).read_text(encoding="utf-8").strip()

    def show(self, path: str) -> str:
        """Return a file as the repository's branch has it now."""
        command = ["git", "--git-dir", str(self.repository), "show", f"{self.answers['gitops_branch']}:{path}"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def git_of_repository(self, *arguments: str) -> str:
        """Return what Git says of the repository that Flux follows."""
        command = ["git", "--git-dir", str(self.repository), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    # Looking

    def wait(self, what: str, look: Callable[[], Found | None], seconds: float = 60) -> Found:
        """Return what *look* finds, and how things were where it does not in time.

        Args:
            what: what is waited for, in words.
            look: returns something when it is there.
            seconds: how long that may take on a machine that does nothing else.
        """
        try:
            return wait_for(what, look, seconds=allowed(seconds), pause=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.report()}") from None

    def report(self) -> str:
        """Return what an owner would look at: what is not ready, and what Flux said last."""
        lines = [f"{name} ended: {text}" for name, text in self.processes.dead().items()]
        for kind in ("gitrepositories", "kustomizations", "helmreleases", "imagerepositories", "imagepolicies"):
            for item in self.api.list(kind):
                status, message = condition(item)
                if status != "True":
                    lines.append(f"{kind} {item['metadata']['name']}: {status or 'no status'} {message}")
        for pod in self.api.list("pods"):
            seen = pod.get("status", {})
            for one in [*seen.get("initContainerStatuses", []), *seen.get("containerStatuses", [])]:
                ended = one.get("state", {}).get("terminated", {})
                if ended.get("exitCode"):
                    lines.append(
                        f"pod {pod['metadata']['name']}, {one['name']}: {ended.get('message', ended['exitCode'])}"
                    )
        return "\n".join(lines)

    def ready(self, kind: str, name: str, namespace: str = NAMESPACE) -> bool:
        """Say whether an object is Ready in its newest form."""
        item = self.api.get(kind, name, namespace)
        if item is None:
            return False
        seen = item.get("status", {}).get("observedGeneration", -1)
        return condition(item)[0] == "True" and seen == item["metadata"]["generation"]

    def pods(self, namespace: str, release: str) -> list[Object]:
        """Return a release's pods that are there to stay."""
        found = self.api.list("pods", namespace, labelSelector=f"app.kubernetes.io/instance={release}")
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def uids(self, namespace: str, release: str) -> set[str]:
        return {pod["metadata"]["uid"] for pod in self.pods(namespace, release)}

    def deployed_tag(self, name: str, namespace: str) -> str:
        """Return the image's tag of a Deployment."""
        item = self.api.get("deployments", name, namespace)
        if item is None:
            return ""
        image: str = item["spec"]["template"]["spec"]["containers"][0]["image"]
        return image.rpartition(":")[2]

    def statuses(self, commit: str) -> dict[str, Status]:
        """Return the newest of each status that Flux wrote onto a commit."""
        with self.gitlab.lock:
            return {status.name: status for status in self.gitlab.statuses if status.commit == commit}


@contextmanager
def world_of(surroundings: Surroundings, lab: Path, name: str) -> Iterator[World]:
    """A started world for the length of a block."""
    folder = Path(tempfile.mkdtemp(prefix=f"lab-world-{name}."))
    world = World(folder / "world", surroundings, lab)
    try:
        world.start()
        yield world
    finally:
        world.stop()
        remove(folder)
